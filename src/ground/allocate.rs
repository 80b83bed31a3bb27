//! Room for what is reported, in files of our own.

use rustix::fd::OwnedFd;
use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;
use rustix::process::{Resource, getrlimit};

/// fallocate(2). Allocated, not merely sized: a store on a full filesystem would be SIGBUS. Nothing beyond the
/// limit of file sizes that the program is under, at which the kernel would end it by SIGXFSZ (setrlimit(2)).
///
/// # Errors
/// Those of fallocate(2); EFBIG for the limit.
pub fn allocate(file: &OwnedFd, offset: u64, length: u64) -> Result<(), Errno> {
    let end = offset.saturating_add(length);
    if getrlimit(Resource::Fsize)
        .current
        .is_some_and(|limit| limit < end)
    {
        return Err(Errno::FBIG);
    }
    fallocate(file, FallocateFlags::empty(), offset, length)
}
