//! The report page, and files in the report directory.

use crate::ground::allocate::allocate;
use crate::ground::memory::Room;
use crate::ground::process::{config, misunderstood, pid, report_directory_name, write_back};
use crate::ground::real;
use core::ffi::{CStr, c_void};
use core::ptr;
use core::sync::atomic::{AtomicPtr, AtomicU8, Ordering};
use daxshim_core::line::Line;
use daxshim_core::report::{self, Event, Page};
use rustix::fd::OwnedFd;
use rustix::fs::{OFlags, ftruncate, openat, readlinkat_raw};
use rustix::mm::{MapFlags, ProtFlags};

static PAGE: AtomicPtr<Page> = AtomicPtr::new(ptr::null_mut());

/// The report page, if there is to be a report.
#[inline]
pub fn page() -> Option<&'static Page> {
    // SAFETY: null, or a mapping of a whole Page that is never unmapped in this process (a forked
    // child gets its own before it runs anything else).
    unsafe { PAGE.load(Ordering::Acquire).as_ref() }
}

/// Counts something worth a warning.
pub fn event(event: Event) {
    if let Some(page) = page() {
        page.event(event);
    }
}

/// In a forked child: the parent's page is the parent's.
pub fn forked() {
    let page = PAGE.swap(ptr::null_mut(), Ordering::AcqRel);
    if !page.is_null() && !real::is_sealed() {
        // A failure leaves the child without a report, as a full directory would the parent.
        let _ = open_page(page);
    }
}

/// Makes this process's report file and maps it: in a forked child over its parent's page `at`, so
/// that no address is taken that the program has left free.
pub fn open_page(at: *mut Page) -> Result<(), rustix::io::Errno> {
    let page: *mut Page = report_file(report::FILE_PREFIX, size_of::<Page>(), at.cast())?.cast();
    // SAFETY: a zeroed mapping of the right length; all its fields are atomics, for which any
    // bytes will do.
    fill_in(unsafe { &*page }, pid());
    PAGE.store(page, Ordering::Release);
    Ok(())
}

/// The directory that `DAXSHIM_REPORT` names.
pub fn report_directory() -> Result<OwnedFd, rustix::io::Errno> {
    let directory = report_directory_name().ok_or(rustix::io::Errno::NOENT)?;
    let flags = OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::RDONLY;
    openat(rustix::fs::CWD, directory, flags, 0.into())
}

/// A new file in the report directory, `length` zero bytes long, mapped at `at` or, if that is null,
/// anywhere.
pub fn report_file(
    prefix: &str,
    length: usize,
    at: *mut c_void,
) -> Result<*mut c_void, rustix::io::Errno> {
    let file = new_file(&report_directory()?, prefix, pid())?;
    match allocate(&file, 0, length as u64) {
        Err(rustix::io::Errno::OPNOTSUPP) => ftruncate(&file, length as u64)?,
        other => other?,
    }
    let protection = ProtFlags::READ | ProtFlags::WRITE;
    let placed = if at.is_null() {
        MapFlags::SHARED
    } else {
        MapFlags::SHARED | MapFlags::FIXED
    };
    // SAFETY: a new mapping at an address of the kernel's choice, or in place of our own.
    unsafe { rustix::mm::mmap(at, length, protection, placed, &file, 0) }
}

/// `PREFIX.PID.N`: an exec keeps the PID, so N is the first number that is free.
fn new_file(directory: &OwnedFd, prefix: &str, pid: u32) -> Result<OwnedFd, rustix::io::Errno> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let mut number = 0u32;
    loop {
        let mut name = Line::<48>::new();
        let name = name
            .c_str(format_args!("{prefix}{pid}.{number}"))
            .ok_or(rustix::io::Errno::NAMETOOLONG)?;
        match openat(directory, name, flags, 0o600.into()) {
            Err(rustix::io::Errno::EXIST) if number < 100_000 => number += 1,
            other => return other,
        }
    }
}

fn fill_in(page: &Page, pid: u32) {
    let config = config();
    let number = |cell: &AtomicU8, value: u8| cell.store(value, Ordering::Relaxed);
    page.pid.store(pid, Ordering::Relaxed);
    let parent = rustix::process::getppid().map_or(0, |pid| pid.as_raw_nonzero().get());
    page.parent.store(parent.unsigned_abs(), Ordering::Relaxed);
    number(&page.mode, config.policy.mode as u8);
    number(&page.flush, config.flush as u8);
    number(&page.compat, u8::from(config.policy.compat));
    number(&page.emulate, u8::from(config.emulate));
    number(&page.write_back, write_back() as u8);
    page.misunderstood.store(misunderstood(), Ordering::Relaxed);
    let mut program = [0u8; report::PATH_LEN];
    let len = link_target(c"/proc/thread-self/exe", &mut program);
    report::store_bytes(&page.program, &program);
    number(&page.program_len, len as u8);
    page.started_ns
        .store(real::monotonic_ns(), Ordering::Relaxed);
    page.started_ticks.store(report::ticks(), Ordering::Relaxed);
    page.length
        .store(size_of::<Page>() as u64, Ordering::Relaxed);
    // Last: whoever sees it sees the rest.
    page.magic.store(report::MAGIC, Ordering::Release);
}

/// The end of a symlink's target that fits; its length in bytes.
pub fn link_target(link: &CStr, into: &mut [u8; report::PATH_LEN]) -> usize {
    let Some(mut room) = Room::map(libc::PATH_MAX as usize) else {
        return 0;
    };
    let target = room.bytes();
    let Ok(len) = readlinkat_raw(rustix::fs::CWD, link, &mut *target) else {
        return 0;
    };
    let tail = target
        .get(len.saturating_sub(into.len())..len)
        .unwrap_or(&[]);
    for (to, from) in into.iter_mut().zip(tail) {
        *to = *from;
    }
    tail.len()
}
