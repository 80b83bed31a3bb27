//! Threads of this process, and who else is at what it has mapped.

use crate::ground::place::Place;
use core::ffi::c_char;
use core::sync::atomic::{AtomicBool, Ordering};

unsafe extern "C" {
    /// Where glibc's `__libc_single_threaded` is, 0 if there may be another thread of its making; null before
    /// glibc 2.32 (glibc/src/old.c).
    #[link_name = "daxshim_single_threaded"]
    static SINGLE_THREADED: *const c_char;
}

/// Whether there are others that libc does not know of.
static OTHERS: AtomicBool = AtomicBool::new(false);

/// Whether there is but one, as far as /proc tells.
pub fn is_single_threaded() -> bool {
    // A directory has a link for each of its directories, and itself twice.
    Place::path(c"/proc/self/task".as_ptr() as usize, true)
        .stat()
        .is_ok_and(|stat| stat.st_nlink == 3)
}

/// Whether nobody else is known to be at what is mapped here: no other thread, and no process that was forked
/// with it. Of processes that map a file by themselves nothing is known. Three loads.
#[inline]
pub fn is_alone() -> bool {
    // SAFETY: relocated before any code of ours runs, and constant from then on; a char of libc's, which it
    // may change at any moment.
    let is_single = unsafe { !SINGLE_THREADED.is_null() && SINGLE_THREADED.read_volatile() != 0 };
    is_single && !OTHERS.load(Ordering::Relaxed)
}

/// From now on there are others, whatever libc says.
pub fn not_alone() {
    OTHERS.store(true, Ordering::Relaxed);
}
