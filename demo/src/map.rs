//! A file, mapped.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::ptr::NonNull;

pub const PAGE: usize = 4096;

/// A file of [`SIZE`](crate::SIZE) bytes, mapped shared. By libc's functions, as other programs call them.
pub struct Map {
    pub file: File,
    start: NonNull<u8>,
}

impl Map {
    pub fn of(path: &Path) -> io::Result<Map> {
        let file = File::options().read(true).write(true).open(path)?;
        if file.metadata()?.len() != crate::SIZE as u64 {
            return Err(io::Error::other("not a file of this program's"));
        }
        // SAFETY: a new mapping, at an address that the kernel chooses.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                crate::SIZE,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                file.as_raw_fd(),
                0,
            )
        };
        match NonNull::new(start.cast::<u8>()) {
            Some(start) if start.as_ptr().cast() != libc::MAP_FAILED => Ok(Map { file, start }),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// Stores `bytes` at `offset`: what does not fit is left out.
    #[inline(always)]
    pub fn store(&self, offset: usize, bytes: &[u8]) {
        for (at, &byte) in (offset..crate::SIZE).zip(bytes) {
            // SAFETY: within the mapping. Volatile: others have the file mapped, too.
            unsafe { self.start.add(at).write_volatile(byte) };
        }
    }

    /// The bytes from `offset` on, zeros where there are none.
    pub fn load<const N: usize>(&self, offset: usize) -> [u8; N] {
        std::array::from_fn(|index| match offset.saturating_add(index) {
            // SAFETY: within the mapping.
            at if at < crate::SIZE => unsafe { self.start.add(at).read_volatile() },
            _ => 0,
        })
    }

    /// msync(2) of the page that has `offset`.
    #[inline(always)]
    pub fn sync(&self, offset: usize) -> io::Result<()> {
        let page = (offset - offset % PAGE).min(crate::SIZE - PAGE);
        // SAFETY: a page of the mapping.
        match unsafe { libc::msync(self.start.add(page).as_ptr().cast(), PAGE, libc::MS_SYNC) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        // SAFETY: nobody else has the mapping.
        unsafe { libc::munmap(self.start.as_ptr().cast(), crate::SIZE) };
    }
}
