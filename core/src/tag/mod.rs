//! The tag: a record in an extended attribute that says "this inode, of this size, with these
//! extents, is DAX-immutable".

pub mod change;
pub mod record;

pub use crate::dax::Identity;
pub use record::{Malformed, Record};

use rustix::fd::BorrowedFd;
use rustix::io::Errno;

use crate::contract::Subject;

/// The attribute of a real tag. Any process can read it; the kernel lets only CAP_SYS_ADMIN set or
/// remove it (measured on ext4, XFS and tmpfs), inside the shim or outside.
pub const XATTR: &core::ffi::CStr = c"security.dax_immutable";

/// The attribute of an emulated tag, honoured only with `DAXSHIM_EMULATE=1`.
pub const XATTR_EMULATED: &core::ffi::CStr = c"user.dax_immutable";

/// How long a process goes by the look that it took at a tag before, ticks of the time-stamp counter, where it maps a
/// file again by a descriptor that it has kept open: some 0.1 s, and less than [`GOES_BY`] on every CPU with clwb.
pub const HOLDS: u64 = 1 << 28;
/// See [`HOLDS`]: so long after a tag was taken off whoever has kept the file open may map it as tagged.
pub const GOES_BY: core::time::Duration = core::time::Duration::from_millis(500);

/// What an attribute of a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value {
    /// No such attribute, or a filesystem without attributes.
    Absent,
    /// A value that is not a tag of this version.
    Malformed(Malformed),
    /// A tag.
    Record(Record),
}

/// fgetxattr(2): reads [`XATTR`] or [`XATTR_EMULATED`].
///
/// # Errors
/// The errors of fgetxattr(2), save for the missing attribute (EBADF on an O_PATH descriptor).
pub fn read(fd: BorrowedFd<'_>, name: &core::ffi::CStr) -> Result<Value, Errno> {
    let mut buffer = [0_u8; Record::MAX_LEN];
    match rustix::fs::fgetxattr(fd, name, &mut buffer) {
        Ok(len) => Ok(match Record::parse(buffer.get(..len).unwrap_or(&[])) {
            Ok(record) => Value::Record(record),
            Err(malformed) => Value::Malformed(malformed),
        }),
        // Longer than any tag.
        Err(Errno::RANGE) => Ok(Value::Malformed(Malformed::Field)),
        Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::NOSYS) => Ok(Value::Absent),
        Err(errno) => Err(errno),
    }
}

impl Record {
    /// Whether the tag speaks of this inode. A copy of the attribute (root's `cp -a`) does not.
    /// Where either side does not know the generation, inode number and size must do.
    #[must_use]
    pub fn subject(&self, file: &Identity) -> Subject {
        let generations_differ = matches!(
            (self.generation, file.generation), (Some(a), Some(b)) if a != b
        );
        if self.inode != file.inode || self.size != file.size || generations_differ {
            Subject::Stale
        } else {
            Subject::Tagged
        }
    }

    /// Whether it was made for this very inode, whatever its size is now.
    #[must_use]
    pub fn is_own(&self, file: &Identity) -> bool {
        let same_size = Identity {
            size: self.size,
            ..*file
        };
        self.subject(&same_size) == Subject::Tagged
    }
}
