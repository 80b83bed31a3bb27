//! Threads of this process.

use crate::ground::place::Place;

/// Whether there is but one, as far as /proc tells.
pub fn is_single_threaded() -> bool {
    // A directory has a link for each of its directories, and itself twice.
    Place::path(c"/proc/self/task".as_ptr() as usize, true)
        .stat()
        .is_ok_and(|stat| stat.st_nlink == 3)
}
