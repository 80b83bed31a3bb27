//! Setting and clearing tags, as far as the command and the kernel interface have it in common: the
//! preconditions with their errnos, and the steps from an untagged file to a tagged one and back.
//! Usable inside hooks.

#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic
    )
)]

use core::ffi::CStr;

use rustix::fd::BorrowedFd;
use rustix::fs::XattrFlags;
use rustix::io::Errno;
use rustix::thread::CapabilitySet;

use super::{Identity, Record, XATTR, XATTR_EMULATED};
use crate::dax::{self, Attributes};
use crate::extents::{self, Defect, Survey};
use crate::filesystem::{Filesystem, never_dax};

/// Why a tag is neither set nor cleared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Not a regular file.
    NotRegular,
    /// The caller lacks a capability.
    NoCapability(&'static str),
    /// FS_XFLAG_DAX is neither set on the inode nor being set now.
    DaxNotSet,
    /// The filesystem or its device can't do DAX.
    NoDax,
    /// Not every byte lies in an allocated, written extent of its own.
    Defect(Defect),
    /// Somebody else has the file open or mapped.
    Held,
    /// The extents changed while the tag was being set.
    Moved,
    /// A system call failed.
    System {
        /// The system call.
        call: &'static str,
        /// Its error.
        errno: Errno,
    },
}

impl Refusal {
    /// The errno of the contract's table.
    #[must_use]
    pub const fn errno(&self) -> Errno {
        match self {
            Refusal::NotRegular | Refusal::DaxNotSet | Refusal::Defect(_) => Errno::INVAL,
            Refusal::NoCapability(_) => Errno::PERM,
            Refusal::NoDax => Errno::OPNOTSUPP,
            Refusal::Held | Refusal::Moved => Errno::BUSY,
            Refusal::System { errno, .. } => *errno,
        }
    }
}

/// For `map_err`: the system call that failed.
fn call(call: &'static str) -> impl Fn(Errno) -> Refusal {
    move |errno| Refusal::System { call, errno }
}

/// Setting or clearing a tag in `security.`: CAP_LINUX_IMMUTABLE and CAP_SYS_ADMIN. For an emulated one in
/// `user.` the right to set the attribute is enough, which the kernel looks at.
///
/// # Errors
/// [`Refusal::NoCapability`].
pub fn may_change(security: bool) -> Result<(), Refusal> {
    if !security {
        return Ok(());
    }
    let effective =
        rustix::thread::capabilities(None).map_or(CapabilitySet::empty(), |sets| sets.effective);
    if !effective.contains(CapabilitySet::LINUX_IMMUTABLE) {
        Err(Refusal::NoCapability("CAP_LINUX_IMMUTABLE"))
    } else if !effective.contains(CapabilitySet::SYS_ADMIN) {
        Err(Refusal::NoCapability("CAP_SYS_ADMIN"))
    } else {
        Ok(())
    }
}

/// What can be said about DAX without changing the file; `is_being_set`: FS_XFLAG_DAX is set with
/// the tag.
///
/// # Errors
/// [`Refusal::DaxNotSet`], [`Refusal::NoDax`].
pub fn could_have_dax(fd: BorrowedFd<'_>, is_being_set: bool) -> Result<(), Refusal> {
    let attributes = match dax::attributes(fd) {
        Ok(attributes) => attributes,
        Err(Errno::NOTTY | Errno::OPNOTSUPP | Errno::NOSYS) => return Err(Refusal::NoDax),
        Err(errno) => return Err(call("ioctl FS_IOC_FSGETXATTR")(errno)),
    };
    if attributes.flags & dax::DAX == 0 && !is_being_set {
        return Err(Refusal::DaxNotSet);
    }
    let is_active = dax::is_active(fd).map_err(call("statx"))?;
    if !is_active && never_dax(fd) {
        return Err(Refusal::NoDax);
    }
    Ok(())
}

/// The extents, once everything is durable.
///
/// # Errors
/// The errors of fsync(2) and ioctl_fiemap(2).
pub fn look(fd: BorrowedFd<'_>, size: u64) -> Result<Survey, Refusal> {
    rustix::fs::fsync(fd).map_err(call("fsync"))?;
    extents::survey(fd, size, true).map_err(call("ioctl FIEMAP"))
}

/// Whether every byte lies in a written extent of the file's own.
///
/// # Errors
/// [`Refusal::Defect`].
pub fn sound(survey: &Survey) -> Result<(), Refusal> {
    survey
        .defect
        .map_or(Ok(()), |defect| Err(Refusal::Defect(defect)))
}

/// Inode flags that are set along with the tag.
#[derive(Clone, Copy, Debug)]
pub struct Flags {
    before: Option<Attributes>,
    /// Those that were not set before.
    pub set: u32,
}

impl Flags {
    /// FS_XFLAG_DAX if `dax`, and, on XFS, FS_XFLAG_NODEFRAG.
    ///
    /// # Errors
    /// [`Refusal::NoDax`] where the filesystem has no such flags.
    pub fn set(fd: BorrowedFd<'_>, dax: bool) -> Result<Flags, Refusal> {
        let mut wanted = if dax { dax::DAX } else { 0 };
        if Filesystem::of(fd) == Filesystem::Xfs {
            wanted |= dax::NODEFRAG;
        }
        if wanted == 0 {
            return Ok(Flags {
                before: None,
                set: 0,
            });
        }
        let before = dax::attributes(fd).map_err(call("ioctl FS_IOC_FSGETXATTR"))?;
        let set = wanted & !before.flags;
        if set != 0 {
            match dax::set_attributes(fd, before.with_flags(before.flags | set)) {
                Ok(()) => {}
                Err(Errno::NOTTY | Errno::OPNOTSUPP | Errno::INVAL) => return Err(Refusal::NoDax),
                Err(errno) => return Err(call("ioctl FS_IOC_FSSETXATTR")(errno)),
            }
        }
        Ok(Flags {
            before: Some(before),
            set,
        })
    }

    /// Takes off again what was set.
    pub fn restore(&self, fd: BorrowedFd<'_>) {
        if let (Some(before), true) = (self.before, self.set != 0) {
            let _ = dax::set_attributes(fd, before);
        }
    }
}

/// The tag that is to be set.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// An emulated one.
    pub emulate: bool,
    /// [`Record::nodefrag`].
    pub nodefrag: bool,
    /// [`Record::dax`].
    pub dax: bool,
}

/// Checks the extents, sets the attribute, checks that nothing moved meanwhile; else the attribute
/// is taken off again. Another tag of the file goes with it.
///
/// # Errors
/// [`Refusal::Defect`], [`Refusal::Moved`], [`Refusal::NoCapability`]; those of fsetxattr(2).
pub fn set(fd: BorrowedFd<'_>, file: &Identity, plan: Plan) -> Result<Survey, Refusal> {
    let survey = look(fd, file.size)?;
    sound(&survey)?;
    let mut record = Record {
        inode: file.inode,
        generation: file.generation,
        size: file.size,
        extents: survey
            .fingerprint
            .filter(|_| !(plan.emulate && Filesystem::of(fd).moves_on_write())),
        emulated: false,
        nodefrag: plan.nodefrag,
        dax: plan.dax,
        clearing: false,
    };
    let name = write_attribute(fd, plan.emulate, &mut record)?;
    let now = extents::survey(fd, file.size, true).map_err(call("ioctl FIEMAP"));
    let identity = dax::identity(fd).map_err(call("fstat"));
    let unmoved = match (now, identity) {
        (Ok(now), Ok(identity)) if now == survey && identity == *file => Ok(()),
        (Err(refusal), _) | (_, Err(refusal)) => Err(refusal),
        _ => Err(Refusal::Moved),
    };
    let durable = unmoved.and_then(|()| rustix::fs::fsync(fd).map_err(call("fsync")));
    if let Err(refusal) = durable {
        let _ = rustix::fs::fremovexattr(fd, name);
        return Err(refusal);
    }
    for other in [XATTR, XATTR_EMULATED] {
        if other != name {
            let _ = rustix::fs::fremovexattr(fd, other);
        }
    }
    Ok(survey)
}

/// fsetxattr(2): the moment from which the file is tagged.
fn write_attribute(
    fd: BorrowedFd<'_>,
    emulate: bool,
    record: &mut Record,
) -> Result<&'static CStr, Refusal> {
    if emulate {
        match write(fd, XATTR_EMULATED, record) {
            Ok(()) => return Ok(XATTR_EMULATED),
            // tmpfs before Linux 6.6 has no `user.` attributes.
            Err(Errno::OPNOTSUPP) => {
                may_change(true)?;
                record.emulated = true;
            }
            Err(errno) => return Err(call("fsetxattr")(errno)),
        }
    }
    write(fd, XATTR, record).map_err(call("fsetxattr"))?;
    Ok(XATTR)
}

/// fsetxattr(2): sets the attribute to this record.
///
/// # Errors
/// The errors of fsetxattr(2).
pub fn write(fd: BorrowedFd<'_>, name: &CStr, record: &Record) -> Result<(), Errno> {
    let text = record.to_text();
    rustix::fs::fsetxattr(fd, name, text.as_bytes(), XattrFlags::empty())
}

/// Puts back the inode flags that the record says were set with the tag.
///
/// # Errors
/// The errors of ioctl_xfs_fssetxattr(2).
pub fn take_off(fd: BorrowedFd<'_>, record: &Record) -> Result<(), Refusal> {
    let mut flags = 0;
    if record.dax {
        flags |= dax::DAX;
    }
    if record.nodefrag {
        flags |= dax::NODEFRAG;
    }
    if flags == 0 {
        return Ok(());
    }
    let before = dax::attributes(fd).map_err(call("ioctl FS_IOC_FSGETXATTR"))?;
    let after = before.with_flags(before.flags & !flags);
    // An emulated tag has FS_XFLAG_DAX in its record only.
    if after == before {
        return Ok(());
    }
    dax::set_attributes(fd, after).map_err(call("ioctl FS_IOC_FSSETXATTR"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn real_tags_need_capabilities_and_emulated_ones_none() {
        for capability in [CapabilitySet::LINUX_IMMUTABLE, CapabilitySet::SYS_ADMIN] {
            // Capabilities are a thread's own.
            let asked = std::thread::spawn(move || {
                let mut sets = rustix::thread::capabilities(None).unwrap();
                sets.effective.remove(capability);
                rustix::thread::set_capabilities(None, sets).unwrap();
                (may_change(true), may_change(false))
            });
            let (real, emulated) = asked.join().unwrap();
            assert!(matches!(real, Err(Refusal::NoCapability(_))), "{real:?}");
            assert_eq!(emulated, Ok(()));
        }
    }
}
