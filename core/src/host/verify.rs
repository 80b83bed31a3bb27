//! Re-checks what a tag rests on.

use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use serde::Serialize;

use super::error::{Action, Cause, Error, call};
use super::file::Opened;
use super::state::{self, Condition};
use crate::dax;
use crate::extents;

/// One thing that a tag rests on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What was checked.
    pub name: &'static str,
    /// Whether it holds.
    pub passed: bool,
    /// What was found.
    pub detail: String,
}

/// All checks of one file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Verification {
    /// As the user named it.
    #[serde(serialize_with = "super::json::path")]
    pub path: PathBuf,
    /// Each of them holds.
    pub passed: bool,
    /// In order.
    pub checks: Vec<Check>,
}

/// Checks a tagged file against every precondition of the contract and its recorded extents. It
/// may be in use meanwhile. Writes dirty pages (FIEMAP_FLAG_SYNC), changes nothing.
///
/// # Errors
/// [`Error`]: it cannot be opened for reading or is not a regular file. A check that fails is no
/// error.
pub fn verify(path: &Path) -> Result<Verification, Error> {
    checks(path)
        .map(|checks| Verification {
            path: path.to_owned(),
            passed: checks.iter().all(|check| check.passed),
            checks,
        })
        .map_err(|cause| Error::new(Action::Verify, path, cause))
}

fn checks(path: &Path) -> Result<Vec<Check>, Cause> {
    let mut checks = Vec::new();
    let mut check = |name, passed, detail: String| {
        checks.push(Check {
            name,
            passed,
            detail,
        });
    };
    let opened = Opened::open(path, OFlags::RDONLY)?;
    let survey = extents::survey(opened.fd(), opened.size(), true).map_err(call("ioctl FIEMAP"))?;
    let tag = state::read(opened.fd(), &opened.identity, survey.fingerprint)
        .map_err(call("fgetxattr"))?
        .into_iter()
        .next();
    match &tag {
        None => check("tag", false, "not tagged".into()),
        Some(tag) => check(
            "tag",
            tag.binds(),
            match (&tag.reason, tag.condition) {
                (Some(reason), condition) if condition != Condition::Broken => {
                    format!("{} {}: {reason}", tag.attribute, word(condition))
                }
                _ => format!(
                    "{}, made for this inode{}",
                    tag.attribute,
                    if tag.emulated { ", emulated" } else { "" }
                ),
            },
        ),
    }
    check(
        "extents",
        survey.defect.is_none(),
        match survey.defect {
            Some(defect) => Cause::Defect(defect).to_string(),
            None => format!("all {} bytes allocated, written, unshared", opened.size()),
        },
    );
    let record = tag.as_ref().and_then(|tag| tag.record);
    if let Some(record) = record.filter(|_| tag.as_ref().is_some_and(|tag| tag.binds())) {
        let unmoved = record.extents == survey.fingerprint;
        let detail = match (record.extents, survey.fingerprint) {
            (Some(then), Some(now)) if then != now => {
                format!("fingerprint {now:016x}, tagged with {then:016x}")
            }
            (Some(now), Some(_)) => format!("fingerprint {now:016x}, as tagged"),
            _ => "this filesystem keeps no extents to compare".into(),
        };
        check(
            "extents unmoved",
            unmoved || record.extents.is_none() || survey.fingerprint.is_none(),
            detail,
        );
    }
    if !tag.as_ref().is_some_and(|tag| tag.emulated) {
        let flags = dax::attributes(opened.fd()).map_or(0, |attributes| attributes.flags);
        let set = |flag: u32| if flags & flag != 0 { "set" } else { "not set" }.to_string();
        check("FS_XFLAG_DAX", flags & dax::DAX != 0, set(dax::DAX));
        let active = dax::is_active(opened.fd()).map_err(call("statx"))?;
        let detail = match (&opened.mount, active) {
            (_, true) => "the kernel uses DAX for it".into(),
            (Some(mount), false) => mount.why_no_dax(),
            (None, false) => "STATX_ATTR_DAX is 0".into(),
        };
        check("DAX active", active, detail);
        if opened.is_xfs() {
            let set_text = set(dax::NODEFRAG);
            check("FS_XFLAG_NODEFRAG", flags & dax::NODEFRAG != 0, set_text);
        }
    }
    Ok(checks)
}

fn word(condition: Condition) -> &'static str {
    match condition {
        Condition::Tagged => "valid",
        Condition::Broken => "broken",
        Condition::Stale => "stale",
        Condition::Malformed => "malformed",
    }
}
