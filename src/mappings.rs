//! Which addresses are mappings of tagged files, and who is flushing them now.
//!
//! Readers take no lock ([`Regions`]). A flush publishes itself first and looks mappings up after;
//! whoever takes a mapping away suspends it first and waits for published flushes after. So no
//! flush ever touches memory that is gone.

use crate::memory::PAGE;
use crate::process::event;
use crate::real::{SignalsBlocked, sys};
use core::arch::asm;
use core::sync::atomic::{AtomicUsize, Ordering, fence};
use daxshim_core::regions::{Busy, Full, Region, Regions};
use daxshim_core::report::{Event, Kind};
use parking_lot::lock_api::RawMutex as _;

static REGIONS: Regions = Regions::new();

/// Held to change [`REGIONS`], with signals blocked, so never by an interrupted frame of the same
/// thread. Only ever tried: parking_lot's slow path allocates and parks, which a hook may not.
static WRITER: parking_lot::RawMutex = parking_lot::RawMutex::INIT;

/// How often a writer yields before it gives the change up.
const WRITER_TRIES: usize = 1 << 16;

/// What a region's attributes say.
#[derive(Clone, Copy)]
pub struct Attributes(usize);

impl Attributes {
    const KIND: usize = 0xff;
    const SUSPENDED: usize = 1 << 8;
    const NOT_INHERITED: usize = 1 << 9;
    const EADR: usize = 1 << 10;

    const FILE_READ_ONLY: usize = 1 << 11;

    /// Of a new mapping: what it is, whether write-back can be left out, and whether the file was
    /// open for writing.
    pub fn new(kind: Kind, eadr: bool, file_writable: bool) -> Attributes {
        let eadr = if eadr { Attributes::EADR } else { 0 };
        let read_only = if file_writable {
            0
        } else {
            Attributes::FILE_READ_ONLY
        };
        Attributes(kind as usize | eadr | read_only)
    }

    /// Of a region that was looked up.
    pub fn of(region: Region) -> Attributes {
        Attributes(region.attributes)
    }

    /// As a [`Region`] keeps them.
    pub fn bits(self) -> usize {
        self.0
    }

    /// Whether its lines may be written back, and need it: a sync mapping, not suspended, no eADR.
    /// One comparison, as the kinds that are sync mappings are the lowest.
    #[inline]
    pub fn is_plainly_flushable(self) -> bool {
        const HIGHEST: usize = Kind::Forced as usize;
        const { assert!(Kind::Forced.is_sync() && !Kind::ReadOnly.is_sync()) };
        self.0 & !Attributes::NOT_INHERITED <= HIGHEST
    }

    /// What the mapping is now.
    pub fn kind(self) -> Kind {
        if self.0 & Attributes::SUSPENDED != 0 {
            Kind::Suspended
        } else {
            Kind::from_u8((self.0 & Attributes::KIND) as u8)
        }
    }

    /// Whether the file was open for writing when it was mapped.
    pub fn is_file_writable(self) -> bool {
        self.0 & Attributes::FILE_READ_ONLY == 0
    }

    /// Whether write-back can be left out.
    pub fn is_eadr(self) -> bool {
        self.0 & Attributes::EADR != 0
    }
}

/// Whether no tagged file is mapped. One load: the fast path of the hooks on memory.
#[inline]
pub fn is_empty() -> bool {
    REGIONS.is_empty()
}

/// The mapping that holds `address`, or the next above it. `None` also where a writer was in the
/// way: the kernel's way is always right.
pub fn at_or_after(address: usize) -> Option<Region> {
    REGIONS.at_or_after(address).unwrap_or_else(|Busy| {
        event(Event::MapBusy);
        None
    })
}

/// The first mapping of a tagged file in `[start, start + length)`. For calls that change mappings:
/// to them a writer in the way must not look like nothing there, so they wait for it.
pub fn first_in(start: usize, length: usize) -> Option<Region> {
    if is_empty() {
        return None;
    }
    let end = page_end(start, length);
    for _ in 0..WRITER_TRIES {
        match REGIONS.at_or_after(start) {
            Ok(found) => return found.filter(|region| region.start < end),
            Err(Busy) => yield_now(),
        }
    }
    event(Event::MapBusy);
    None
}

/// The end of the pages that `[start, start + length)` touches.
pub fn page_end(start: usize, length: usize) -> usize {
    start
        .saturating_add(length)
        .checked_next_multiple_of(PAGE)
        .unwrap_or(usize::MAX)
}

fn write(change: impl FnOnce(&Regions) -> Result<(), Full>) {
    let _signals = SignalsBlocked::new();
    let mut tries = 0;
    while !WRITER.try_lock() {
        tries += 1;
        if tries == WRITER_TRIES {
            event(Event::LockTimeout);
            return;
        }
        yield_now();
    }
    if change(&REGIONS).is_err() {
        event(Event::MapFull);
    }
    // SAFETY: locked by this thread, above.
    unsafe { WRITER.unlock() };
}

/// Records a new mapping in place of whatever was there.
pub fn insert(region: Region) {
    write(|regions| regions.insert(region));
}

/// Forgets a range.
pub fn forget(start: usize, length: usize) {
    if first_in(start, length).is_some() {
        let end = page_end(start, length);
        write(|regions| regions.rewrite(start, end, |_| None));
    }
}

/// Keeps flushes off a range that is about to change, and waits for those under way.
pub fn suspend(start: usize, length: usize) {
    let end = page_end(start, length);
    set(start, end, Attributes::SUSPENDED, true);
    drain();
}

/// Ends [`suspend`] where the range stayed as it was or is readable again.
pub fn resume(start: usize, length: usize) {
    set(start, page_end(start, length), Attributes::SUSPENDED, false);
}

/// MADV_DONTFORK and MADV_DOFORK: whether a forked child will have the range.
pub fn set_inherited(start: usize, length: usize, inherited: bool) {
    let end = page_end(start, length);
    set(start, end, Attributes::NOT_INHERITED, !inherited);
}

fn set(start: usize, end: usize, bit: usize, on: bool) {
    write(|regions| {
        regions.rewrite(start, end, |region| {
            let attributes = if on {
                region.attributes | bit
            } else {
                region.attributes & !bit
            };
            Some(Region {
                attributes,
                ..region
            })
        })
    });
}

/// mremap(2): what was recorded for `[from, from + from_length)` now holds at
/// `[to, to + to_length)`; the last part grows or shrinks with it.
pub fn relocate(from: usize, from_length: usize, to: usize, to_length: usize, keep_old: bool) {
    let (from_end, to_end) = (page_end(from, from_length), page_end(to, to_length));
    // A mapping of length 0 is the request for a second mapping of the same pages.
    let from_end = from_end.max(from + 1);
    let move_address = |address: usize| address.wrapping_sub(from).wrapping_add(to);
    write(|regions| {
        let mut outcome = Ok(());
        // Parts beyond these are forgotten, and so fall to the kernel.
        let mut moved: [Option<Region>; 16] = [None; 16];
        let mut cursor = from;
        for slot in &mut moved {
            let next = regions.at_or_after(cursor).ok().flatten();
            let Some(region) = next.filter(|region| region.start < from_end) else {
                break;
            };
            cursor = region.end;
            let is_last = region.end >= from_end;
            let end = if is_last { from_end } else { region.end };
            *slot = Some(Region {
                start: move_address(region.start.max(from)),
                end: if is_last {
                    to_end
                } else {
                    move_address(end).min(to_end)
                },
                data_end: move_address(region.data_end),
                attributes: region.attributes & !Attributes::SUSPENDED,
            });
        }
        if !keep_old {
            outcome = outcome.and(regions.rewrite(from, from_end, |_| None));
        }
        outcome = outcome.and(regions.rewrite(to, to_end, |_| None));
        for region in moved.into_iter().flatten() {
            if region.start < region.end {
                outcome = outcome.and(regions.insert(region));
            }
        }
        outcome
    });
}

/// In a forked child: the other threads, and with them their locks and flushes, are gone, and so
/// are mappings under MADV_DONTFORK.
pub fn forked() {
    if WRITER.is_locked() {
        // SAFETY: by a thread that does not exist here; this one never forks while it holds it.
        unsafe { WRITER.unlock() };
    }
    REGIONS.recover_after_fork();
    for flush in &FLUSHES {
        flush.thread.store(0, Ordering::Relaxed);
    }
    if !is_empty() {
        write(|regions| {
            regions.rewrite(0, usize::MAX, |region| {
                (region.attributes & Attributes::NOT_INHERITED == 0).then_some(region)
            })
        });
    }
}

/// A thread that is flushing.
#[repr(align(64))]
struct Flushing {
    /// The thread, or 0.
    thread: AtomicUsize,
    /// Where it found its last mapping.
    hint: AtomicUsize,
}

/// As many flushes at once as have a place here; further ones take the kernel's way.
static FLUSHES: [Flushing; 128] = [const {
    Flushing {
        thread: AtomicUsize::new(0),
        hint: AtomicUsize::new(0),
    }
}; 128];

/// How often a change of a mapping yields to a flush of another thread. A flush of a whole DIMM
/// takes seconds; a longjmp out of a signal handler leaves one published for ever.
const DRAIN_TRIES: usize = 1 << 22;

/// A published flush; mappings looked up through it stay as they are while it lives.
pub struct Flush(&'static Flushing);

impl Flush {
    /// Publishes one. `None` if there is no place.
    #[inline]
    pub fn publish() -> Option<Flush> {
        let thread = thread();
        // Stacks, and with them thread pointers, are some pages apart.
        let first = thread >> 12;
        for i in 0..FLUSHES.len() {
            let place = FLUSHES.get(first.wrapping_add(i) % FLUSHES.len())?;
            // SeqCst: the lookups that follow must not be older than this.
            if place
                .thread
                .compare_exchange(0, thread, Ordering::SeqCst, Ordering::Relaxed)
                .is_ok()
            {
                return Some(Flush(place));
            }
        }
        None
    }

    /// The mapping that holds `address`, if it is the one this thread flushed last.
    #[inline]
    pub fn last(&self, address: usize) -> Option<Region> {
        REGIONS.hinted(address, &self.0.hint)
    }

    /// As [`at_or_after`], remembered for [`Flush::last`].
    pub fn at_or_after(&self, address: usize) -> Option<Region> {
        REGIONS.leave_hint(address, &self.0.hint);
        at_or_after(address)
    }
}

impl Drop for Flush {
    fn drop(&mut self) {
        self.0.thread.store(0, Ordering::Release);
    }
}

/// Waits for the flushes that may have looked up what was just suspended.
fn drain() {
    let me = thread();
    // What was suspended before is seen by whoever publishes after.
    fence(Ordering::SeqCst);
    for flush in &FLUSHES {
        let mut tries = 0;
        loop {
            let thread = flush.thread.load(Ordering::Acquire);
            // A flush of this very thread is one that a signal handler interrupted: it can't end
            // before we do.
            if thread == 0 || thread == me {
                break;
            }
            tries += 1;
            if tries == DRAIN_TRIES {
                event(Event::DrainTimeout);
                break;
            }
            yield_now();
        }
    }
}

fn yield_now() {
    // SAFETY: takes nothing.
    let _ = unsafe { sys!(SYS_sched_yield) };
}

/// A number that no other living thread of the process has: the thread pointer.
fn thread() -> usize {
    let pointer: usize;
    // SAFETY: on x86-64 the ABI keeps the thread pointer's own address at fs:0.
    unsafe {
        asm!("mov {}, fs:0", out(reg) pointer, options(nostack, preserves_flags, readonly, pure));
    }
    pointer
}
