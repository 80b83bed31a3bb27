//! What a descriptor is: known to be untagged or tagged, known to have been mapped from, or not known.
//! A word for each.
//!
//! "Untagged" is believed. A tagged file is looked at afresh at every refusal, so a recycled number
//! never gets a false EPERM; and it is the untagged ones whose calls must cost nothing. That a tag was
//! found is remembered for where no look is possible any more (a process that filters its system
//! calls). Of which file a sync mapping was made is remembered too, but only as a guess that whoever
//! acts on it proves.
//!
//! Entries are dropped before the kernel closes a number and again when a call hands one out, so
//! that a close that went past us (inside libc, by another thread) can't leave a stale answer.

use crate::ground::files;
use crate::ground::real;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};

/// Descriptors with an entry: the kernel's default fs.nr_open. Higher ones are looked at each time.
pub const LIMIT: usize = 1 << 20;

/// Bit 0: known to be untagged; alone in the byte that the assembly of
/// [`trampoline`](crate::entry::trampoline) tests.
pub const UNTAGGED: u32 = 1;
/// Bit 1: a tag in force was found.
const TAGGED: u32 = 1 << 1;
/// Bit 2: a sync mapping was made from it, of the file in [`FILE`].
const MAPPED: u32 = 1 << 2;
/// Bits 3 to 10: the number of that file, [`files::Index`].
const FILE: u32 = 0xff << FILE_SHIFT;
const FILE_SHIFT: u32 = 3;
const _: () = assert!(files::FILES <= 1 << FILE.count_ones());

/// Bit 11: open for writing, if the process was sealed since.
const WRITABLE: u32 = 1 << 11;

/// The rest is a version, so that a look that began before a close can't be recorded after it: one
/// million closes of the number would have to fit in between, 0.2 s at least.
pub const NEXT_VERSION: u32 = 1 << 12;
/// What is left of an entry that is forgotten, before it gets its next version.
pub const FORGOTTEN: u32 = !(NEXT_VERSION - 1);

/// An entry for each descriptor. Pages of it that nobody looks at take no room.
pub type Table = [AtomicU32; LIMIT];

/// See the module; [`UNTAGGED`] is looked at by [`site_enter`](crate::entry::site::site_enter) too.
pub static TABLE: Table = [const { AtomicU32::new(0) }; LIMIT];

/// One more than the highest descriptor ever looked at: the part of the table worth looking at.
static HIGHEST: AtomicUsize = AtomicUsize::new(0);

/// Whether all threads of the process have the same descriptors.
static TRUSTED: AtomicBool = AtomicBool::new(true);

fn entry(fd: i32) -> Option<&'static AtomicU32> {
    usize::try_from(fd).ok().and_then(|fd| TABLE.get(fd))
}

fn knows(fd: i32, what: u32) -> bool {
    entry(fd).is_some_and(|entry| entry.load(Ordering::Relaxed) & what != 0)
}

/// Whether `fd` is known to be untagged. The fast path of every hook on a descriptor.
#[inline]
pub fn is_untagged(fd: i32) -> bool {
    knows(fd, UNTAGGED)
}

/// Whether `fd` was tagged and open for writing when the process was sealed. The tag may be gone since, by
/// another process; who can ask the kernel, asks it.
pub fn is_known_tagged(fd: i32) -> bool {
    knows(fd, TAGGED) && knows(fd, WRITABLE)
}

/// `new`, which may be an error's -1, was just made a duplicate of `old`. It is forgotten; but a sealed process,
/// which can't look, knows of it what it knew of the first.
pub extern "C" fn duplicated(old: i32, new: i32) {
    if old == new {
        return;
    }
    let is_known = real::is_sealed() && is_known_tagged(old);
    forget(new);
    if is_known && let Some(entry) = entry(new) {
        HIGHEST.fetch_max(new as usize + 1, Ordering::SeqCst);
        entry.fetch_or(TAGGED | WRITABLE, Ordering::AcqRel);
    }
}

/// The file of which a sync mapping was made from a descriptor. Two of the same descriptor are equal
/// if nobody was seen to close it in between, nor to be handed it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Mapped {
    /// The file.
    pub file: files::Index,
    version: u32,
}

/// The file of which a sync mapping was made from `fd`, if nobody was seen to close it since.
pub fn mapped(fd: i32) -> Option<Mapped> {
    let entry = entry(fd)?.load(Ordering::Acquire);
    (entry & MAPPED != 0).then(|| Mapped {
        file: files::Index::of(((entry & FILE) >> FILE_SHIFT) as usize),
        version: entry & FORGOTTEN,
    })
}

/// A look at a descriptor has begun.
pub struct Look {
    fd: i32,
    version: u32,
}

impl Look {
    /// To be called before the kernel is asked about `fd`.
    pub fn begin(fd: i32) -> Look {
        let version = entry(fd).map_or(0, |entry| {
            // Before the kernel is asked: a file that is tagged meanwhile must be forgotten then.
            HIGHEST.fetch_max(fd as usize + 1, Ordering::SeqCst);
            entry.load(Ordering::Acquire) & FORGOTTEN
        });
        Look { fd, version }
    }

    /// It is untagged; recorded unless the number was closed or handed out meanwhile. Not by a
    /// child of vfork(2), whose descriptors are not those of this table.
    pub fn found_untagged(self) {
        self.found(TAGGED, UNTAGGED);
    }

    /// It has a tag in force. Recorded as above.
    pub fn found_tagged(self) {
        self.found(UNTAGGED, TAGGED);
    }

    /// It is open for writing. Recorded as above.
    pub fn found_writable(self) {
        self.found(0, WRITABLE);
    }

    /// A sync mapping of this file was made from it. Recorded as above.
    pub fn found_mapped(self, file: files::Index) {
        self.found(FILE, MAPPED | (file.number() as u32) << FILE_SHIFT);
    }

    /// `what` holds, and no longer what stands in the bits of `instead`.
    fn found(self, instead: u32, what: u32) {
        if let Some(entry) = entry(self.fd)
            && crate::ground::process::is_own()
        {
            // SeqCst: `distrust` either sees that the look began, or is seen.
            if !TRUSTED.load(Ordering::SeqCst) {
                return;
            }
            let learnt = |now: u32| {
                let next = now & !instead | what;
                (now & FORGOTTEN == self.version && next != now).then_some(next)
            };
            let _ = entry.fetch_update(Ordering::AcqRel, Ordering::Relaxed, learnt);
        }
    }
}

/// Forgets `fd`: it is about to be closed, or was just handed out.
///
/// Not a read-modify-write: when two threads close one number at once, either version will do.
#[inline]
pub fn forget(fd: i32) {
    if let Some(entry) = entry(fd) {
        let next = (entry.load(Ordering::Relaxed) & FORGOTTEN).wrapping_add(NEXT_VERSION);
        entry.store(next, Ordering::Release);
    }
}

/// Threads no longer have the same descriptors: from now on each is looked at each time.
pub fn distrust() {
    TRUSTED.store(false, Ordering::SeqCst);
    forget_range(0, u32::MAX);
}

/// Forgets `first..=last`.
pub fn forget_range(first: u32, last: u32) {
    let end = (last as usize)
        .saturating_add(1)
        .min(HIGHEST.load(Ordering::SeqCst));
    for fd in first as usize..end {
        forget(fd as i32);
    }
}
