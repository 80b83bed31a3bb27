//! Which page sizes a process's page table has, by PAGEMAP_SCAN on /proc/PID/pagemap (Linux 6.7,
//! admin-guide/mm/pagemap). smaps can't tell: its `FilePmdMapped` counts the page cache only.

#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic
    )
)]

use rustix::fd::BorrowedFd;
use rustix::io::Errno;
use rustix::ioctl;

/// PAGE_IS_PRESENT.
const IS_PRESENT: u64 = 1 << 3;
/// PAGE_IS_HUGE: by an entry above the lowest level.
const IS_HUGE: u64 = 1 << 6;

/// `struct page_region`: pages of equal kind that follow each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Pages {
    /// First address.
    pub start: u64,
    /// First address behind them.
    pub end: u64,
    categories: u64,
}

impl Pages {
    /// Whether they are mapped by entries above the lowest level: 2 MiB, or the page size of a
    /// hugetlbfs mapping.
    #[must_use]
    pub fn are_huge(&self) -> bool {
        self.categories & IS_HUGE != 0
    }
}

/// `struct pm_scan_arg`, linux/fs.h.
#[repr(C)]
struct Scan {
    size: u64,
    flags: u64,
    start: u64,
    end: u64,
    walk_end: u64,
    vec: u64,
    vec_len: u64,
    max_pages: u64,
    category_inverted: u64,
    category_mask: u64,
    category_anyof_mask: u64,
    return_mask: u64,
}

const PAGEMAP_SCAN: ioctl::Opcode = ioctl::opcode::read_write::<Scan>(b'f', 16);

/// ioctl PAGEMAP_SCAN: the pages of `[start, end)` that are present; addresses of whole pages.
/// Fills `into` and returns the part of it that was filled, and the address to go on at (`end` when
/// done). Changes nothing.
///
/// # Errors
/// ENOTTY before Linux 6.7; EINVAL, EFAULT for addresses that are not the process's.
pub fn scan<'a>(
    pagemap: BorrowedFd<'_>,
    start: u64,
    end: u64,
    into: &'a mut [Pages],
) -> Result<(&'a [Pages], u64), Errno> {
    let mut scan = Scan {
        size: size_of::<Scan>() as u64,
        flags: 0,
        start,
        end,
        walk_end: 0,
        vec: into.as_mut_ptr() as u64,
        vec_len: into.len() as u64,
        max_pages: 0,
        category_inverted: 0,
        category_mask: IS_PRESENT,
        category_anyof_mask: 0,
        return_mask: IS_PRESENT | IS_HUGE,
    };
    // SAFETY: PAGEMAP_SCAN reads and writes a struct pm_scan_arg, and fills the vector that it
    // names, which is `into`.
    let filled = unsafe { ioctl::ioctl(pagemap, Filler(&raw mut scan)) }?;
    Ok((into.get(..filled).unwrap_or_default(), scan.walk_end))
}

/// The ioctl whose answer counts what it filled.
struct Filler(*mut Scan);

// SAFETY: the number is that of a struct pm_scan_arg, and the pointer one to it.
unsafe impl ioctl::Ioctl for Filler {
    type Output = usize;

    const IS_MUTATING: bool = true;

    fn opcode(&self) -> ioctl::Opcode {
        PAGEMAP_SCAN
    }

    fn as_ptr(&mut self) -> *mut core::ffi::c_void {
        self.0.cast()
    }

    unsafe fn output_from_ptr(
        out: ioctl::IoctlOutput,
        _: *mut core::ffi::c_void,
    ) -> rustix::io::Result<usize> {
        Ok(usize::try_from(out).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn the_ioctl_has_the_kernel_s_number() {
        assert_eq!(PAGEMAP_SCAN, 0xc060_6610);
    }

    #[test]
    fn pages_that_were_touched_are_found_and_no_others() {
        let file = tempfile::tempfile_in("/dev/shm").unwrap();
        file.set_len(8 * 4096).unwrap();
        let (read_write, shared) = (
            rustix::mm::ProtFlags::READ | rustix::mm::ProtFlags::WRITE,
            rustix::mm::MapFlags::SHARED,
        );
        // SAFETY: a fresh mapping, unmapped below.
        let map = unsafe {
            rustix::mm::mmap(std::ptr::null_mut(), 8 * 4096, read_write, shared, &file, 0).unwrap()
        };
        for page in [1, 2, 5] {
            // SAFETY: inside the mapping and the file.
            unsafe { map.cast::<u8>().add(page * 4096).write(1) };
        }
        let pagemap = std::fs::File::open("/proc/self/pagemap").unwrap();
        let start = map as u64;
        let mut room = [Pages::default(); 1];
        let (mut found, mut cursor) = (Vec::new(), start);
        while cursor < start + 8 * 4096 {
            let (pages, next) = scan(pagemap.as_fd(), cursor, start + 8 * 4096, &mut room).unwrap();
            for pages in pages {
                assert!(!pages.are_huge());
                found.push(((pages.start - start) / 4096, (pages.end - start) / 4096));
            }
            assert!(next > cursor);
            cursor = next;
        }
        // SAFETY: ours, and nothing refers to it.
        unsafe { rustix::mm::munmap(map, 8 * 4096).unwrap() };
        assert_eq!(found, [(1, 3), (5, 6)]);
    }
}
