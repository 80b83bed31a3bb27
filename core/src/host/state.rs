//! Which tags a file carries and what they are worth.

use std::ffi::CStr;

use rustix::fd::BorrowedFd;
use rustix::io::Errno;
use serde::Serialize;

use crate::contract::Subject;
use crate::tag::{self, Identity, Malformed, Record, Value};

/// What a tag is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Condition {
    /// It binds, and syncs may be done in user space.
    Tagged,
    /// It binds, but the extents have moved: every sync goes to the kernel.
    Broken,
    /// It speaks of another inode or size: binds nobody.
    Stale,
    /// Its value was not written by this daxshim: binds nobody.
    Malformed,
}

/// A tag as found on a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TagState {
    /// What it is worth.
    pub condition: Condition,
    /// Why it is not worth more.
    pub reason: Option<String>,
    /// Honoured only with `DAXSHIM_EMULATE=1`.
    pub emulated: bool,
    /// The attribute's name.
    pub attribute: &'static str,
    #[serde(skip)]
    pub(super) record: Option<Record>,
}

impl TagState {
    /// It is this file's own: EPERM is in force.
    #[must_use]
    pub fn binds(&self) -> bool {
        matches!(self.condition, Condition::Tagged | Condition::Broken)
    }

    pub(super) fn name(&self) -> &'static CStr {
        if self.attribute.starts_with("user.") {
            tag::XATTR_EMULATED
        } else {
            tag::XATTR
        }
    }

    /// Its record if it was made for this very inode, whatever its size is now.
    /// Whether somebody is taking it off, or was.
    pub(super) fn is_being_cleared(&self) -> bool {
        self.record.is_some_and(|record| record.clearing)
    }

    pub(super) fn own_record(&self, file: &Identity) -> Option<Record> {
        self.record.filter(|record| record.is_own(file))
    }
}

/// Every tag on the file, the one that counts most first. `extents` is the present fingerprint.
pub(super) fn read(
    fd: BorrowedFd<'_>,
    file: &Identity,
    extents: Option<u64>,
) -> Result<Vec<TagState>, Errno> {
    let mut tags = Vec::new();
    for name in [tag::XATTR, tag::XATTR_EMULATED] {
        let attribute = name.to_str().unwrap_or_default();
        let user = name == tag::XATTR_EMULATED;
        match tag::read(fd, name)? {
            Value::Absent => {}
            Value::Malformed(malformed) => tags.push(malformed_tag(malformed, attribute, user)),
            Value::Record(record) => {
                let (condition, reason) = judge(&record, file, extents);
                tags.push(TagState {
                    condition,
                    reason,
                    emulated: user || record.emulated,
                    attribute,
                    record: Some(record),
                });
            }
        }
    }
    // Stable: `security.` stays before `user.` where both are worth the same.
    tags.sort_by_key(|tag| !tag.binds());
    Ok(tags)
}

fn malformed_tag(malformed: Malformed, attribute: &'static str, user: bool) -> TagState {
    TagState {
        condition: Condition::Malformed,
        reason: Some(malformed.to_string()),
        emulated: user,
        attribute,
        record: None,
    }
}

fn judge(record: &Record, file: &Identity, extents: Option<u64>) -> (Condition, Option<String>) {
    if record.subject(file) != Subject::Tagged {
        let reason = if record.inode != file.inode {
            format!(
                "it was made for inode {}, this is {} (a copy)",
                record.inode, file.inode
            )
        } else if record.size != file.size {
            format!(
                "it was made for {} bytes, the file has {}",
                record.size, file.size
            )
        } else {
            "the inode was reused since".into()
        };
        return (Condition::Stale, Some(reason));
    }
    match (record.extents, extents) {
        (Some(then), Some(now)) if then != now => (
            Condition::Broken,
            Some("the extents are no longer those that were tagged".into()),
        ),
        _ => (Condition::Tagged, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: Identity = Identity {
        inode: 7,
        generation: Some(3),
        size: 4096,
    };
    const RECORD: Record = Record {
        inode: 7,
        generation: Some(3),
        size: 4096,
        extents: Some(1),
        emulated: false,
        nodefrag: false,
        dax: true,
        clearing: false,
    };

    #[test]
    fn the_condition_follows_inode_size_generation_and_extents() {
        let condition = |record: Record, extents| judge(&record, &FILE, extents).0;
        assert_eq!(condition(RECORD, Some(1)), Condition::Tagged);
        assert_eq!(condition(RECORD, None), Condition::Tagged);
        assert_eq!(condition(RECORD, Some(2)), Condition::Broken);
        for stale in [
            Record { inode: 8, ..RECORD },
            Record { size: 1, ..RECORD },
            Record {
                generation: Some(4),
                ..RECORD
            },
        ] {
            assert_eq!(condition(stale, Some(1)), Condition::Stale);
        }
    }

    #[test]
    fn a_grown_file_s_record_is_still_its_own_and_a_copy_s_is_not() {
        let tag = |record| TagState {
            condition: Condition::Stale,
            reason: None,
            emulated: false,
            attribute: "security.dax_immutable",
            record: Some(record),
        };
        let grown = Record { size: 1, ..RECORD };
        assert_eq!(tag(grown).own_record(&FILE), Some(grown));
        assert_eq!(tag(Record { inode: 8, ..RECORD }).own_record(&FILE), None);
    }
}
