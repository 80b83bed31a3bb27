//! Compares what is in a file with what is durable of it, by digests, and takes the digests over.

use super::budget;
use super::shadows::{Part, Shadow, wait};
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

/// Of a part, as many bytes as the file has. `None`: it can't be read, or there is no time.
pub(super) fn readable(part: &Part) -> Option<(*const u8, *mut Digest, usize)> {
    let length = part
        .length
        .min(part.shadow.size().saturating_sub(part.offset));
    let durable = part.shadow.digests(part.offset, length)?;
    if part.kind == Kind::Suspended || length > budget::FREE && !budget::allows() {
        return None;
    }
    // An untagged file may have been truncated from outside.
    if part.kind == Kind::Untagged && length > 0 && memory::is_bad(part.address + length - 1, 1) {
        return None;
    }
    Some((part.address as *const u8, durable, length))
}

/// The dirty lines of a part. `None` where that is not known.
pub fn compare(part: &Part) -> Option<Dirty> {
    let header = part.shadow.header()?;
    if header.is_uncertain(part.offset as u64, part.end() as u64) {
        return None;
    }
    let (live, durable, length) = readable(part)?;
    // SAFETY: mapped and readable, to the end of the file's last page, while `each_part` runs; there
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
