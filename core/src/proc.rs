//! Reading /proc, /sys and directories without allocating, by descriptors that are ours for a moment.

use core::ffi::CStr;
use core::mem::MaybeUninit;
use core::ops::ControlFlow;

use rustix::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, RawFd};
use rustix::fs::{Mode, OFlags, RawDir};
use rustix::io::Errno;

/// An own descriptor. Closed by a raw system call, which no hook sees, when dropped.
#[derive(Debug)]
pub struct Own(RawFd);

impl Own {
    /// openat(2), always with O_CLOEXEC, O_NOCTTY and O_NONBLOCK: an error instead of waiting for
    /// somebody's lease.
    ///
    /// # Errors
    /// The errors of openat(2).
    pub fn open(at: BorrowedFd<'_>, path: &CStr, flags: OFlags) -> Result<Own, Errno> {
        let flags = flags | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK;
        rustix::fs::openat(at, path, flags, Mode::empty()).map(|fd| Own(fd.into_raw_fd()))
    }

    /// Takes over a descriptor that nobody else knows.
    #[must_use]
    pub const fn from_raw(fd: RawFd) -> Own {
        Own(fd)
    }
}

impl AsFd for Own {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: open until dropped.
        unsafe { BorrowedFd::borrow_raw(self.0) }
    }
}

impl AsRawFd for Own {
    fn as_raw_fd(&self) -> RawFd {
        self.0
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        // SAFETY: nobody else has it.
        unsafe { rustix::io::close(self.0) };
    }
}

/// Reads a file to its end, or until `visit` breaks off.
///
/// # Errors
/// The errors of read(2).
pub fn each_byte(
    fd: BorrowedFd<'_>,
    mut visit: impl FnMut(u8) -> ControlFlow<()>,
) -> Result<(), Errno> {
    let mut buffer = [0_u8; 1024];
    loop {
        let read = rustix::io::read(fd, &mut buffer)?;
        if read == 0 {
            return Ok(());
        }
        for &byte in buffer.iter().take(read) {
            if visit(byte).is_break() {
                return Ok(());
            }
        }
    }
}

/// Reads the beginning of a small file.
///
/// # Errors
/// The errors of openat(2) and read(2).
pub fn beginning<'b>(
    at: BorrowedFd<'_>,
    path: &CStr,
    into: &'b mut [u8],
) -> Result<&'b [u8], Errno> {
    let file = Own::open(at, path, OFlags::RDONLY)?;
    let read = rustix::io::read(&file, &mut *into)?;
    Ok(into.get(..read).unwrap_or(&[]))
}

/// Calls `visit` with the names in a directory whose entries have short names.
///
/// # Errors
/// The errors of openat(2) and getdents64(2).
pub fn each_entry(
    at: BorrowedFd<'_>,
    path: &CStr,
    mut visit: impl FnMut(&CStr),
) -> Result<(), Errno> {
    let directory = Own::open(at, path, OFlags::RDONLY | OFlags::DIRECTORY)?;
    let mut buffer = [MaybeUninit::<u8>::uninit(); 512];
    let mut entries = RawDir::new(&directory, &mut buffer);
    while let Some(entry) = entries.next() {
        visit(entry?.file_name());
    }
    Ok(())
}

/// A number in decimal digits, with nothing else.
#[must_use]
pub fn decimal<T: core::str::FromStr>(digits: &[u8]) -> Option<T> {
    core::str::from_utf8(digits).ok()?.parse().ok()
}
