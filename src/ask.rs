//! The programmer's questions, as `include/daxshim.h` declares them.
//!
//! No hooks: they stand in front of nothing, and only programs that know of the shim call them. The
//! rules of a hook hold all the same: no allocation, no lock, nothing that can fault, so that they
//! may be asked anywhere, in a signal handler too. What the shim has not recorded (untagged files)
//! is read from /proc/thread-self/smaps: the process's own one is empty once its first thread has
//! ended.

use crate::ground::memory::{PAGE, Room};
use crate::ground::process::config;
use crate::ground::real::{Errno, is_sealed, set_errno, sys};
use crate::mappings::{self, Attributes, page_end};
use crate::sync;
use crate::tag::audit;
use core::ffi::{CStr, c_int, c_uchar, c_void};
use core::ops::ControlFlow;
use daxshim_core::config::FlushPolicy;
use daxshim_core::line::Line;
use daxshim_core::maps::{self, Mapping};
use daxshim_core::pagemap::{self, Pages};
use daxshim_core::regions::Busy;
use daxshim_core::report::Kind;
use rustix::fd::AsFd;
use rustix::fs::{AtFlags, CWD, Mode, OFlags, StatxAttributes, StatxFlags, openat, statx};

/// `DAXSHIM_MINCORE_…` of the header.
mod bit {
    pub const RESIDENT: u8 = 1 << 0;
    pub const DAX: u8 = 1 << 1;
    pub const SYNC: u8 = 1 << 2;
    pub const PTE: u8 = 1 << 3;
    pub const PMD: u8 = 1 << 4;
    pub const PUD: u8 = 1 << 5;
}

/// Bytes that an entry of the page table's third level maps, on x86-64 with 4 KiB pages.
const PUD: u64 = 1 << 30;

/// Whether all of the range is in shared mappings to which the kernel granted MAP_SYNC: 1 or 0.
#[unsafe(no_mangle)]
extern "C" fn daxshim_is_sync(address: *const c_void, length: usize) -> c_int {
    let Some((start, end)) = pages(address, length) else {
        return 0;
    };
    // Of another kind, the program itself may have asked for MAP_SYNC.
    c_int::from(all(start, end, |kind| (kind == Kind::Sync).then_some(true)))
}

/// Whether stores to the range need msync to be durable, as write-backs and a fence are not enough:
/// 1 or 0.
#[unsafe(no_mangle)]
extern "C" fn daxshim_needs_msync(address: *const c_void, length: usize) -> c_int {
    let Some((start, end)) = pages(address, length) else {
        return 1;
    };
    let kernel_wanted = config().flush == FlushPolicy::Kernel
        || config().force_pmem == Some(false)
        || audit::was_let_through();
    c_int::from(kernel_wanted || !all(start, end, |kind| Some(kind.is_sync())))
}

/// mincore(2), with more bits.
///
/// # Safety
/// `vector` has room for a byte per page, as for mincore(2).
#[unsafe(no_mangle)]
unsafe extern "C" fn daxshim_mincore(
    address: *mut c_void,
    length: usize,
    vector: *mut c_uchar,
) -> c_int {
    // SAFETY: the kernel checks both ranges.
    if let Err(errno) = unsafe { sys!(SYS_mincore, address, length, vector) } {
        set_errno(errno);
        return -1;
    }
    if length == 0 {
        return 0;
    }
    let (start, end) = (address as usize, page_end(address as usize, length));
    let count = (end - start) / PAGE;
    // SAFETY: the kernel has just written all of it, and the program lets nobody else do so.
    let vector = unsafe { core::slice::from_raw_parts_mut(vector, count) };
    for byte in &mut *vector {
        *byte &= bit::RESIDENT;
    }
    // What the kernel does not tell stays 0.
    let _ = mark_sizes(start, end, vector);
    let _ = mark_mappings(start, end, vector);
    0
}

/// Makes stores to a range of bytes durable: 0, or -1 with errno of msync(2).
#[unsafe(no_mangle)]
extern "C" fn daxshim_persist(address: *const c_void, length: usize) -> c_int {
    match sync::persist(address as usize, length) {
        Ok(()) => 0,
        Err(errno) => {
            set_errno(errno);
            -1
        }
    }
}

/// The pages of a range that is not empty and ends before the address space does.
fn pages(address: *const c_void, length: usize) -> Option<(usize, usize)> {
    let start = address as usize;
    let end = start.checked_add(length)?;
    (length != 0 && end <= usize::MAX - PAGE).then(|| (start & !(PAGE - 1), page_end(end, 0)))
}

/// Whether every part of the range is what is asked for: by what the shim knows of mappings that it
/// recorded, or, where that is `None` or nothing is recorded, by MAP_SYNC.
fn all(start: usize, end: usize, known: impl Fn(Kind) -> Option<bool>) -> bool {
    let mut cursor = start;
    while cursor < end {
        let (until, answer) = match mappings::first_in(cursor, end - cursor) {
            Ok(Some(region)) if region.start <= cursor => {
                (region.end, known(Attributes::of(region).kind()))
            }
            Ok(Some(region)) => (region.start, None),
            Ok(None) | Err(Busy) => (end, None),
        };
        let until = until.min(end);
        if !answer.unwrap_or_else(|| is_granted(cursor, until)) {
            return false;
        }
        cursor = until;
    }
    true
}

/// Whether the kernel says that all of `[start, end)` is shared and MAP_SYNC.
#[cold]
#[inline(never)]
fn is_granted(start: usize, end: usize) -> bool {
    let mut cursor = start;
    let told = walk(start, end, false, &mut |found| {
        if found.start > cursor || !found.is_sync {
            return ControlFlow::Break(());
        }
        cursor = found.end;
        ControlFlow::Continue(())
    });
    told.is_ok() && cursor >= end
}

/// The bytes of `vector`, which begins with the page at `start`, for the pages of `[from, to)`.
fn bytes_of(vector: &mut [u8], start: usize, from: usize, to: usize) -> &mut [u8] {
    let page = |address: usize| (address.saturating_sub(start) / PAGE).min(vector.len());
    let (first, last) = (page(from), page(to));
    vector.get_mut(first..last).unwrap_or_default()
}

/// By which level of the page table each page is mapped: [`bit::PTE`] or [`bit::PMD`].
#[cold]
#[inline(never)]
fn mark_sizes(start: usize, end: usize, vector: &mut [u8]) -> Result<(), Errno> {
    if is_sealed() {
        return Err(libc::ENOSYS);
    }
    let path = c"/proc/thread-self/pagemap";
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let file = openat(CWD, path, flags, Mode::empty()).map_err(raw)?;
    let mut room = [Pages::default(); 8];
    let mut cursor = start as u64;
    while cursor < end as u64 {
        let (found, next) =
            pagemap::scan(file.as_fd(), cursor, end as u64, &mut room).map_err(raw)?;
        for pages in found {
            let size = if pages.are_huge() { bit::PMD } else { bit::PTE };
            for byte in bytes_of(vector, start, pages.start as usize, pages.end as usize) {
                *byte |= size;
            }
        }
        if next <= cursor {
            break;
        }
        cursor = next;
    }
    Ok(())
}

/// What is true of whole mappings: [`bit::DAX`], [`bit::SYNC`], and [`bit::PUD`] in place of
/// [`bit::PMD`] where the pages are that large.
#[cold]
#[inline(never)]
fn mark_mappings(start: usize, end: usize, vector: &mut [u8]) -> Result<(), Errno> {
    walk(start, end, true, &mut |found| {
        for byte in bytes_of(vector, start, found.start, found.end) {
            if found.is_dax {
                *byte |= bit::DAX;
            }
            if found.is_sync {
                *byte |= bit::SYNC;
            }
            if found.page_size >= PUD && *byte & bit::PMD != 0 {
                *byte = *byte & !bit::PMD | bit::PUD;
            }
        }
        ControlFlow::Continue(())
    })
}

/// A mapping as smaps shows it.
#[derive(Clone, Copy)]
struct Found {
    start: usize,
    end: usize,
    is_dax: bool,
    is_sync: bool,
    page_size: u64,
}

/// Room for the longest line: a path and what stands before it. Newlines in a path take four bytes;
/// a mapping whose line is longer for that is passed over.
const LONGEST: usize = libc::PATH_MAX as usize + 128;

/// Shows every mapping that intersects `[start, end)` in order of addresses, until it is told to
/// stop. Files are asked about DAX only if `want_dax`.
fn walk(
    start: usize,
    end: usize,
    want_dax: bool,
    show: &mut dyn FnMut(Found) -> ControlFlow<()>,
) -> Result<(), Errno> {
    if is_sealed() {
        return Err(libc::ENOSYS);
    }
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let file = openat(CWD, c"/proc/thread-self/smaps", flags, Mode::empty()).map_err(raw)?;
    let mut room = Room::map(LONGEST).ok_or(libc::ENOMEM)?;
    let buffer = room.bytes();
    let (mut held, mut is_rest) = (0, false);
    let mut current = None;
    loop {
        let room = buffer.get_mut(held..).unwrap_or_default();
        let read = rustix::io::read(&file, room).map_err(raw)?;
        if read == 0 {
            return Ok(());
        }
        held += read;
        let mut lines = buffer.get_mut(..held).unwrap_or_default();
        while let Some(length) = lines.iter().position(|&byte| byte == b'\n') {
            let (line, behind) = lines.split_at_mut_checked(length + 1).unwrap_or_default();
            lines = behind;
            if core::mem::take(&mut is_rest) {
                continue;
            }
            if let Some(newline) = line.last_mut() {
                *newline = 0;
            }
            match maps::Line::parse(line.get(..length).unwrap_or_default()) {
                maps::Line::Mapping(mapping) if mapping.start >= end => return Ok(()),
                maps::Line::Mapping(mapping) => {
                    current = (mapping.end > start).then(|| Found {
                        start: mapping.start.max(start),
                        end: mapping.end.min(end),
                        is_dax: want_dax && is_dax(&mapping, line),
                        is_sync: false,
                        page_size: 0,
                    });
                }
                maps::Line::PageSize(size) => {
                    if let Some(found) = &mut current {
                        found.page_size = size;
                    }
                }
                maps::Line::Sync(is_sync) => {
                    if let Some(found) = current.take()
                        && show(Found { is_sync, ..found }).is_break()
                    {
                        return Ok(());
                    }
                }
                maps::Line::Other => {}
            }
        }
        let left = lines.len();
        if left == LONGEST {
            // Neither this line nor those that belong to it are understood.
            (held, is_rest, current) = (0, true, None);
        } else {
            buffer.copy_within(held - left..held, 0);
            held = left;
        }
    }
}

/// STATX_ATTR_DAX of a mapping's file: by its path, which ends `line` and has a NUL behind it, or,
/// where another file is there now, through map_files, for those who may.
fn is_dax(mapping: &Mapping<'_>, line: &[u8]) -> bool {
    let ask = |path: &CStr| {
        let flags = AtFlags::STATX_DONT_SYNC | AtFlags::NO_AUTOMOUNT;
        let stat = statx(CWD, path, flags, StatxFlags::INO).ok()?;
        let device = rustix::fs::makedev(stat.stx_dev_major, stat.stx_dev_minor);
        let is_it = (device, stat.stx_ino) == (mapping.device, mapping.inode);
        is_it.then(|| stat.stx_attributes.contains(StatxAttributes::DAX))
    };
    if mapping.inode == 0 {
        return false;
    }
    let path = line.get(line.len() - 1 - mapping.path.len()..);
    path.and_then(|path| ask(CStr::from_bytes_until_nul(path).ok()?))
        .or_else(|| {
            let mut line = Line::<64>::new();
            let (start, end) = (mapping.start, mapping.end);
            ask(line.c_str(format_args!("/proc/self/map_files/{start:x}-{end:x}"))?)
        })
        .unwrap_or(false)
}

fn raw(errno: rustix::io::Errno) -> Errno {
    errno.raw_os_error()
}
