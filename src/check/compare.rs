//! Compares what is in a file with what is durable of it, by digests, and takes the digests over.

use super::budget;
use super::shadows::{Shadow, Stretch, wait};
use crate::ground::memory;
use crate::ground::process;
use daxshim_core::check::lines::{self, Digest, Dirty};
use daxshim_core::report::Kind;

/// Does it while no other process or thread changes the digests. `None`: it could not be locked.
pub(super) fn locked<T>(shadow: &Shadow, work: impl FnOnce() -> T) -> Option<T> {
    let header = shadow.header()?;
    let pid = process::owner();
    wait(|| header.try_lock(pid))?;
    let result = work();
    header.unlock();
    Some(result)
}

/// Of a stretch, as many bytes as the file has. `None`: it can't be read, or there is no time.
pub(super) fn readable(stretch: &Stretch) -> Option<(*const u8, *mut Digest, usize)> {
    let length = stretch
        .length
        .min(stretch.shadow.size().saturating_sub(stretch.offset));
    let durable = stretch.shadow.digests(stretch.offset, length)?;
    if stretch.kind == Kind::Suspended || length > budget::FREE && !budget::allows() {
        return None;
    }
    // An untagged file may have been truncated from outside.
    if stretch.kind == Kind::Untagged
        && length > 0
        && memory::is_bad(stretch.address + length - 1, 1)
    {
        return None;
    }
    Some((stretch.address as *const u8, durable, length))
}

/// The dirty lines of a stretch. `None` where that is not known.
pub fn compare(stretch: &Stretch) -> Option<Dirty> {
    let header = stretch.shadow.header()?;
    if header.is_uncertain(stretch.offset as u64, stretch.end() as u64) {
        return None;
    }
    let (live, durable, length) = readable(stretch)?;
    // SAFETY: mapped and readable, to the end of the file's last page, while `each_stretch` runs; there
    // is a digest of each line.
    timed(length, || unsafe { lines::compare(live, durable, length) }).into()
}

pub(super) fn timed<T>(length: usize, work: impl FnOnce() -> T) -> T {
    if length > budget::FREE {
        budget::spend(work)
    } else {
        work()
    }
}
