//! The shadow of a file: what of it is durable, as far as its syncs tell.
//!
//! A file `shadow.DEV.INO.N` of the report directory, where N is the size, or the time of birth of a file that may
//! grow: a [`Header`]; from [`TAIL`] on a page, with
//! what is mapped behind the end of the file; and from [`DIGESTS`] on a [`Digest`] of each line of
//! the file, to the end of its last page. When the file is first mapped all of it counts as durable;
//! each sync then takes over the lines it makes durable, as they are when it begins. A line of the
//! file that is not as in the shadow was stored to and never synced.
//!
//! Where a sync's range was not compared ([`Header::skip`]), that is known of the lines outside it
//! only: inside, a difference may have been made durable since.

use super::lines::{Digest, LINE, PAGE};
use crate::report::PATH_LEN;
use core::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};

/// `Header::magic`.
pub const MAGIC: u64 = u64::from_le_bytes(*b"DAXSHAD\x01");

/// Names of shadow files begin with this.
pub const FILE_PREFIX: &str = "shadow.";

/// In the report directory: another directory, for what it has no room for.
pub const SPILL: &core::ffi::CStr = c"spill";

/// Where the last page's part behind the end of the file is kept, bytes: each byte in its place in
/// the page.
pub const TAIL: usize = PAGE;

/// Where the digests begin, bytes.
pub const DIGESTS: usize = 2 * PAGE;

/// The first page of a shadow.
#[repr(C)]
pub struct Header {
    /// [`MAGIC`]; 0 while the digests are being filled in.
    pub magic: AtomicU64,
    /// `st_dev`.
    pub device: AtomicU64,
    /// `st_ino`.
    pub inode: AtomicU64,
    /// Bytes of the file when it was first mapped, or since, where it was seen to be truncated.
    pub size: AtomicU64,
    /// 0, or the process that changes the digests.
    lock: AtomicU32,
    /// Bytes of `path`.
    pub path_len: AtomicU8,
    /// 1 once dirty lines may lie where this process has nothing mapped: unmapped, or another
    /// process's.
    pub elsewhere: AtomicU8,
    /// 1 if the file has a tag, or was named by `--watch`: it is meant to be durable.
    pub intended: AtomicU8,
    /// 1 once a process has it mapped that is not watched any more.
    pub unwatched: AtomicU8,
    /// 1 if it lies in the page cache, of which the kernel may write any page back at any time.
    pub paged: AtomicU8,
    /// 1 if it may grow: it has no tag.
    pub grows: AtomicU8,
    /// The range in which syncs were not compared; empty if `skip_start >= skip_end`.
    skip_start: AtomicU64,
    /// See `skip_start`.
    skip_end: AtomicU64,
    /// Syncs that were not compared, ever.
    pub skipped: AtomicU64,
    /// When it was made, ns since the epoch; 0 where the filesystem does not say. What was removed may leave
    /// its number to another file.
    pub birth: AtomicU64,
    /// msync(2) calls that made nothing durable, as they had not MS_SYNC.
    pub asyncs: AtomicU64,
    /// msync(2) calls, and the program's own flushes.
    pub msyncs: AtomicU64,
    /// fsync(2), fdatasync(2) and sync(2) calls.
    pub fsyncs: AtomicU64,
    /// Of `msyncs`, what those that were compared found.
    pub msyncs_found: FoundBy,
    /// Of `fsyncs`, what those that were compared found.
    pub fsyncs_found: FoundBy,
    /// The path when first mapped.
    pub path: [AtomicU8; PATH_LEN],
}

const _: () = assert!(size_of::<Header>() <= TAIL);

/// How many syncs found something to do.
#[repr(C)]
pub struct FoundBy {
    /// Syncs with dirty lines in their range.
    pub needed: AtomicU64,
    /// Syncs with none.
    pub idle: AtomicU64,
}

impl FoundBy {
    /// A sync was compared; whether it found dirty lines.
    pub fn count(&self, dirty: bool) {
        let counter = if dirty { &self.needed } else { &self.idle };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

impl Header {
    /// Bytes of the shadow of a file of `size` bytes.
    #[must_use]
    pub const fn shadow_length(size: u64) -> u64 {
        let lines = size.next_multiple_of(PAGE as u64) / LINE as u64;
        DIGESTS as u64 + lines * size_of::<Digest>() as u64
    }

    /// Whether its content is meant to be durable: it has a tag or was named, or somebody syncs it. What is
    /// mapped only to be shared (a lock file) is neither.
    #[must_use]
    pub fn is_meant(&self) -> bool {
        let syncs = [&self.msyncs, &self.fsyncs, &self.asyncs];
        let syncs = syncs.map(|cell| cell.load(Ordering::Relaxed));
        self.intended.load(Ordering::Relaxed) != 0 || syncs != [0; 3]
    }

    /// Takes the lock for a process; whether it was free.
    pub fn try_lock(&self, pid: u32) -> bool {
        self.lock
            .compare_exchange(0, pid, Ordering::Acquire, Ordering::Relaxed)
            .is_ok()
    }

    /// Gives the lock back.
    pub fn unlock(&self) {
        self.lock.store(0, Ordering::Release);
    }

    /// A sync of `start..end` (offsets) was not compared.
    pub fn skip(&self, start: u64, end: u64) {
        self.skipped.fetch_add(1, Ordering::Relaxed);
        if self.skipped_range().is_none() {
            self.skip_start.store(u64::MAX, Ordering::Relaxed);
            self.skip_end.store(0, Ordering::Relaxed);
        }
        self.skip_start.fetch_min(start, Ordering::Relaxed);
        self.skip_end.fetch_max(end, Ordering::Relaxed);
    }

    /// A sync of `start..end` was compared and taken over: where it covers what was not, all is
    /// known again.
    pub fn compared(&self, start: u64, end: u64) {
        if let Some((skip_start, skip_end)) = self.skipped_range() {
            let (covers_start, covers_end) = (start <= skip_start, end >= skip_end);
            if covers_start && end > skip_start {
                self.skip_start.store(end, Ordering::Relaxed);
            }
            if covers_end && start < skip_end && !(covers_start && end > skip_start) {
                self.skip_end.store(start, Ordering::Relaxed);
            }
        }
    }

    /// Whether comparing a sync of `start..end` would leave nothing uncertain. Anything less tells
    /// nothing: in the range that was skipped, neither what is dirty nor since when is known.
    #[must_use]
    pub fn resolves(&self, start: u64, end: u64) -> bool {
        self.skipped_range()
            .is_none_or(|(skip_start, skip_end)| start <= skip_start && skip_end <= end)
    }

    /// The range in which a difference may be durable. All of it, for good, once a process may sync it that
    /// is not watched.
    #[must_use]
    pub fn skipped_range(&self) -> Option<(u64, u64)> {
        if self.unwatched.load(Ordering::Relaxed) != 0 {
            return Some((0, u64::MAX));
        }
        let start = self.skip_start.load(Ordering::Relaxed);
        let end = self.skip_end.load(Ordering::Relaxed);
        (start < end).then_some((start, end))
    }

    /// Whether `start..end` reaches into what was not compared.
    #[must_use]
    pub fn is_uncertain(&self, start: u64, end: u64) -> bool {
        self.skipped_range()
            .is_some_and(|(skip_start, skip_end)| start < skip_end && skip_start < end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Box<Header> {
        // SAFETY: all-zero is a valid header.
        unsafe { Box::<Header>::new_zeroed().assume_init() }
    }

    #[test]
    fn what_was_skipped_is_uncertain_until_it_is_compared() {
        let header = header();
        assert!(!header.is_uncertain(0, u64::MAX));
        header.skip(4096, 8192);
        header.skip(12288, 16384);
        assert_eq!(header.skipped_range(), Some((4096, 16384)));
        assert!(header.is_uncertain(8192, 8256) && !header.is_uncertain(0, 4096));
        assert!(!header.resolves(0, 8192) && header.resolves(4096, 16384));
        header.compared(0, 8192);
        assert_eq!(header.skipped_range(), Some((8192, 16384)));
        header.compared(12288, 20480);
        assert_eq!(header.skipped_range(), Some((8192, 12288)));
        // In the middle: the rest is as uncertain as before.
        header.compared(9000, 9001);
        assert_eq!(header.skipped_range(), Some((8192, 12288)));
        header.compared(0, 65536);
        assert_eq!(header.skipped_range(), None);
        header.skip(0, 64);
        assert_eq!(header.skipped_range(), Some((0, 64)));
        assert_eq!(header.skipped.load(Ordering::Relaxed), 3);
    }

    #[test]
    fn what_is_not_watched_any_more_stays_uncertain() {
        let header = header();
        header.unwatched.store(1, Ordering::Relaxed);
        header.compared(0, u64::MAX - 1);
        assert!(header.is_uncertain(0, 64) && !header.resolves(0, 4096));
        assert_eq!(header.skipped_range(), Some((0, u64::MAX)));
    }

    #[test]
    fn a_file_that_nobody_tags_or_syncs_is_not_meant_to_be_durable() {
        let (one, two, three) = (header(), header(), header());
        assert!(!one.is_meant());
        one.msyncs.store(1, Ordering::Relaxed);
        two.fsyncs.store(1, Ordering::Relaxed);
        three.intended.store(1, Ordering::Relaxed);
        assert!(one.is_meant() && two.is_meant() && three.is_meant());
    }

    #[test]
    fn the_lock_is_one_process_s() {
        let header = header();
        assert!(header.try_lock(7));
        assert!(!header.try_lock(7) && !header.try_lock(8));
        header.unlock();
        assert!(header.try_lock(8));
    }
}
