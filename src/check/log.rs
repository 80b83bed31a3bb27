//! The process's log, and the file that a call was about.

use super::budget::clock;
use crate::ground::checking;
use crate::ground::memory;
use crate::ground::page;
use crate::ground::place::Place;
use crate::ground::process;
use core::ptr;
use core::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};
use daxshim_core::check::log::{self, Ending, Log};
use daxshim_core::line::Line;
use daxshim_core::report::PATH_LEN;
use rustix::io::Errno;

static LOG: AtomicPtr<Log> = AtomicPtr::new(ptr::null_mut());

/// The log, while checking.
pub fn log() -> Option<&'static Log> {
    // SAFETY: null, or a mapping of a whole Log that is never unmapped in this process.
    unsafe { LOG.load(Ordering::Acquire).as_ref() }
}

/// Makes it.
pub fn open() -> Result<(), Errno> {
    open_at(ptr::null_mut())
}

/// In a forked child: in place of the parent's.
pub fn reopen() -> Result<(), Errno> {
    open_at(LOG.swap(ptr::null_mut(), Ordering::AcqRel))
}

fn open_at(at: *mut Log) -> Result<(), Errno> {
    let mapping = page::report_file(log::FILE_PREFIX, size_of::<Log>(), at.cast())?;
    let new: *mut Log = mapping.cast();
    // SAFETY: a zeroed mapping of the right length; all its fields are atomics.
    let filled = unsafe { &*new };
    let length = size_of::<Log>() as u64;
    filled.pid.store(process::pid(), Ordering::Relaxed);
    filled.length.store(length, Ordering::Relaxed);
    filled.began.store(clock(), Ordering::Relaxed);
    // Last: whoever sees it sees the rest.
    filled.magic.store(log::MAGIC, Ordering::Release);
    LOG.store(new, Ordering::Release);
    Ok(())
}

/// Warns that nothing will be checked.
pub fn warn(errno: Errno) {
    ::log::warn!(
        "DAXSHIM_CHECK: nothing is checked, as no log can be made in DAXSHIM_REPORT: {errno}"
    );
}

/// Notes that nothing can be looked at from now on.
pub fn sealed() {
    if let Some(log) = log() {
        log.sealed.store(1, Ordering::Relaxed);
    }
}

/// Notes why nobody can be blamed.
pub fn blameless(why: u64) {
    if let Some(log) = log() {
        log.blameless.store(why, Ordering::Relaxed);
    }
}

/// Notes that no stack can be taken.
pub fn stackless() {
    if let Some(log) = log() {
        log.stackless.store(1, Ordering::Relaxed);
    }
}

/// Notes that something of the mappings could not be looked at.
pub fn unlooked() {
    if let Some(log) = log() {
        log.unlooked.fetch_add(1, Ordering::Relaxed);
    }
}

/// Notes how the process ends, unless the call that ends it fails.
pub fn set_ending(ending: Ending) {
    if let Some(log) = log() {
        log.ended.store(clock(), Ordering::Relaxed);
        log.ending.store(ending as u8, Ordering::Relaxed);
    }
}

/// The file that each thread looked at last: a refusal says which it was. Threads that share a
/// place may forget it for each other, no more.
struct Looked {
    thread: AtomicUsize,
    /// A descriptor and 1, or 0 and a path.
    descriptor: AtomicUsize,
    path: AtomicUsize,
}

static LOOKED: [Looked; 64] = [const {
    Looked {
        thread: AtomicUsize::new(0),
        descriptor: AtomicUsize::new(0),
        path: AtomicUsize::new(0),
    }
}; 64];

fn looked() -> Option<&'static Looked> {
    LOOKED.get((crate::mappings::thread() >> 12) % LOOKED.len())
}

/// A call looks at a file.
#[inline]
pub fn looked_at(place: &Place) {
    if checking::on()
        && let Some(looked) = looked()
    {
        let (descriptor, path) = match *place {
            Place::Descriptor(fd) => (fd as usize + 1, 0),
            Place::Path { path, .. } => (0, path as usize),
        };
        looked.descriptor.store(descriptor, Ordering::Relaxed);
        looked.path.store(path, Ordering::Relaxed);
        let thread = crate::mappings::thread();
        looked.thread.store(thread, Ordering::Relaxed);
    }
}

/// The path that this thread looked at last; its length.
pub fn last_looked_at(into: &mut [u8; PATH_LEN]) -> usize {
    let looked = looked()
        .filter(|looked| looked.thread.load(Ordering::Relaxed) == crate::mappings::thread());
    let Some(looked) = looked else { return 0 };
    match looked.descriptor.load(Ordering::Relaxed).checked_sub(1) {
        Some(fd) => path_of(fd as i32, into),
        None => {
            let path = looked.path.load(Ordering::Relaxed) as *const core::ffi::c_char;
            memory::copy_string(path, into).map_or(0, <[u8]>::len)
        }
    }
}

/// The path of a descriptor's file; its length in bytes.
pub fn path_of(fd: i32, into: &mut [u8; PATH_LEN]) -> usize {
    let mut link = Line::<32>::new();
    link.descriptor(fd, "")
        .map_or(0, |link| page::link_target(link, into))
}
