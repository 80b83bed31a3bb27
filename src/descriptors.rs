//! What a descriptor is: known to be untagged, known to have been mapped from, or not known. A byte
//! for each.
//!
//! "Untagged" is believed. A tagged file is looked at afresh at every refusal, so a recycled number
//! never gets a false EPERM; and it is the untagged ones whose calls must cost nothing. Of which file a
//! sync mapping was made is remembered too, but only as a guess that whoever acts on it proves.
//!
//! Entries are dropped before the kernel closes a number and again when a call hands one out, so
//! that a close that went past us (inside libc, by another thread) can't leave a stale answer.

use crate::files;
use core::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};

/// Descriptors with an entry: the kernel's default fs.nr_open. Higher ones are looked at each time.
pub const LIMIT: usize = 1 << 20;

/// Bit 0: untagged. Bit 1: a sync mapping was made from it, [`FILES`] says of which file. The others: a
/// version, so that a look that began before a close can't be recorded after it.
pub const UNTAGGED: u8 = 1;
/// See [`UNTAGGED`].
const MAPPED: u8 = 2;
/// See [`UNTAGGED`].
pub const NEXT_VERSION: u8 = 4;
/// What is left of an entry that is forgotten, before it gets its next version.
pub const FORGOTTEN: u8 = !(UNTAGGED | MAPPED);

/// An entry for each descriptor.
pub type Table = [AtomicU8; LIMIT];

/// See the module; bit 0 is looked at by [`site_enter`](crate::trampoline::site_enter) too.
pub static TABLE: Table = [const { AtomicU8::new(0) }; LIMIT];

/// The number of the file, [`files::Index`], where the entry says so.
static FILES: [AtomicU8; LIMIT] = [const { AtomicU8::new(0) }; LIMIT];

/// One more than the highest descriptor ever looked at: the part of the table worth looking at.
static HIGHEST: AtomicUsize = AtomicUsize::new(0);

/// Whether all threads of the process have the same descriptors.
static TRUSTED: AtomicBool = AtomicBool::new(true);

fn entry(fd: i32) -> Option<&'static AtomicU8> {
    usize::try_from(fd).ok().and_then(|fd| TABLE.get(fd))
}

/// Whether `fd` is known to be untagged. The fast path of every hook on a descriptor.
#[inline]
pub fn is_untagged(fd: i32) -> bool {
    entry(fd).is_some_and(|entry| entry.load(Ordering::Relaxed) & UNTAGGED != 0)
}

/// The file of which a sync mapping was made from a descriptor. Two of the same descriptor are equal
/// if nobody was seen to close it in between, nor to be handed it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Mapped {
    /// The file.
    pub file: files::Index,
    /// The whole entry.
    entry: u8,
}

/// The file of which a sync mapping was made from `fd`, if nobody was seen to close it since.
pub fn mapped(fd: i32) -> Option<Mapped> {
    let entry = entry(fd)?.load(Ordering::Acquire);
    let number = FILES.get(usize::try_from(fd).ok()?)?;
    (entry & MAPPED != 0).then(|| Mapped {
        file: files::Index::of(number.load(Ordering::Relaxed).into()),
        entry,
    })
}

/// A look at a descriptor has begun.
pub struct Look {
    fd: i32,
    version: u8,
}

impl Look {
    /// To be called before the kernel is asked about `fd`.
    pub fn begin(fd: i32) -> Look {
        let version = entry(fd).map_or(0, |entry| {
            // Before the kernel is asked: a file that is tagged meanwhile must be forgotten then.
            HIGHEST.fetch_max(fd as usize + 1, Ordering::SeqCst);
            entry.load(Ordering::Acquire)
        });
        Look { fd, version }
    }

    /// It is untagged; recorded unless the number was closed or handed out meanwhile. Not by a
    /// child of vfork(2), whose descriptors are not those of this table.
    pub fn found_untagged(self) {
        self.found(UNTAGGED);
    }

    /// A sync mapping of this file was made from it. Recorded as above.
    pub fn found_mapped(self, file: files::Index) {
        if let Some(number) = usize::try_from(self.fd).ok().and_then(|fd| FILES.get(fd)) {
            number.store(file.number() as u8, Ordering::Relaxed);
            self.found(MAPPED);
        }
    }

    fn found(self, what: u8) {
        if let Some(entry) = entry(self.fd)
            && crate::process::is_own()
        {
            // SeqCst: `distrust` either sees that the look began, or is seen.
            if !TRUSTED.load(Ordering::SeqCst) {
                return;
            }
            let _ = entry.compare_exchange(
                self.version,
                self.version | what,
                Ordering::AcqRel,
                Ordering::Relaxed,
            );
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

/// The descriptor that a call returned, as its `After`.
pub extern "C" fn forget_result(_: &crate::trampoline::Call, result: isize) -> isize {
    // int in the low half of the register.
    forget(result as i32);
    result
}
