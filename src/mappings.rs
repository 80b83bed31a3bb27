//! Which addresses are mappings of tagged files, and who is flushing them now.
//!
//! Readers take no lock ([`Regions`]). A flush publishes itself first and looks mappings up after;
//! whoever takes a mapping away suspends it first and waits for published flushes after. So no
//! flush ever touches memory that is gone.

use crate::files;
use crate::memory::PAGE;
use crate::passes::{self, Passes};
use crate::process::event;
use crate::real::{SignalsBlocked, sys};
use core::arch::asm;
use core::mem::offset_of;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence};
use daxshim_core::regions::{Busy, Full, Region, Regions};
use daxshim_core::report::{Event, Kind};
use parking_lot::lock_api::RawMutex as _;

/// See the module; [`quick`](crate::quick) reads its sequence number.
pub static REGIONS: Regions = Regions::new();

/// Below [`LOWEST`] and from [`HIGHEST`] on nothing was ever recorded: for calls inside libc, most of which
/// are far from any tagged file.
pub static LOWEST: AtomicUsize = AtomicUsize::new(usize::MAX);
/// See [`LOWEST`].
pub static HIGHEST: AtomicUsize = AtomicUsize::new(0);

/// To be called before something is recorded there.
fn widen(start: usize, end: usize) {
    LOWEST.fetch_min(start, Ordering::Relaxed);
    HIGHEST.fetch_max(end, Ordering::Relaxed);
}

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
    const HUGE: usize = 1 << 12;
    const MAP_SYNC: usize = 1 << 13;
    /// Suspended too, by a call that takes the pages away or moves them: see [`take_away`].
    const LEAVING: usize = 1 << 14;
    const FILE_SHIFT: u32 = 16;
    /// From here on: one more than the number of the shadow that `DAXSHIM_CHECK` holds it against.
    const WATCHED: u32 = 32;
    const WATCHED_BITS: usize = 0xffff;
    /// From here on: the program's protection of it, where pages may be read-only at its back
    /// ([`check::blame`](crate::check::blame)); 0 where not.
    const LENT: u32 = 48;

    /// Of a new mapping: what it is, whether write-back can be left out, whether the file was open
    /// for writing, whether pages of 2 MiB may be mapped in it, and the file.
    pub fn new(
        kind: Kind,
        eadr: bool,
        file_writable: bool,
        huge: bool,
        file: files::Index,
    ) -> Attributes {
        let huge = if huge { Attributes::HUGE } else { 0 };
        let eadr = if eadr { Attributes::EADR } else { 0 };
        let read_only = if file_writable {
            0
        } else {
            Attributes::FILE_READ_ONLY
        };
        Attributes(
            kind as usize | eadr | read_only | huge | file.number() << Attributes::FILE_SHIFT,
        )
    }

    /// Of a mapping that is held against a shadow.
    pub fn watched_by(self, shadow: Option<usize>) -> Attributes {
        let number = shadow.map_or(0, |shadow| shadow + 1);
        Attributes(self.0 | number << Attributes::WATCHED)
    }

    /// Of a mapping for which the program itself has asked for MAP_SYNC.
    pub fn asked_for_sync(self, asked: bool) -> Attributes {
        Attributes(self.0 | if asked { Attributes::MAP_SYNC } else { 0 })
    }

    /// Whether stores to it are durable with their lines: the kernel granted MAP_SYNC, or it counts as
    /// if.
    pub fn is_map_sync(self) -> bool {
        self.kind().is_sync() || self.0 & Attributes::MAP_SYNC != 0
    }

    /// The shadow that it is held against.
    pub fn watched(self) -> Option<usize> {
        (self.0 >> Attributes::WATCHED & Attributes::WATCHED_BITS).checked_sub(1)
    }

    /// The program's protection, if pages may be read-only at its back.
    pub fn lent(self) -> Option<usize> {
        Some(self.0 >> Attributes::LENT).filter(|&protection| protection != 0)
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
    pub fn is_plainly_flushable(self) -> bool {
        self.kind().is_sync() && !self.is_eadr()
    }

    /// What the mapping is now.
    pub fn kind(self) -> Kind {
        if self.0 & (Attributes::SUSPENDED | Attributes::LEAVING) != 0 {
            Kind::Suspended
        } else {
            Kind::from_u8((self.0 & Attributes::KIND) as u8)
        }
    }

    /// Whether the file was open for writing when it was mapped.
    pub fn is_file_writable(self) -> bool {
        self.0 & Attributes::FILE_READ_ONLY == 0
    }

    /// Whether pages of 2 MiB may be mapped in it.
    pub fn is_huge(self) -> bool {
        self.0 & Attributes::HUGE != 0
    }

    /// Which file it is of.
    pub fn file(self) -> files::Index {
        files::Index::of(self.0 >> Attributes::FILE_SHIFT)
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
    widen(region.start, region.end);
    write(|regions| regions.insert(region));
}

/// Forgets a range.
pub fn forget(start: usize, length: usize) {
    if first_in(start, length).is_some() {
        let end = page_end(start, length);
        write(|regions| regions.rewrite(start, end, |_| None));
    }
}

/// Forgets what of a range was there at [`take_away`] and is gone now: another thread may have mapped
/// something there since.
pub fn forget_taken(start: usize, length: usize) {
    if first_in(start, length).is_some() {
        let end = page_end(start, length);
        let rest = |region| (!is_leaving(&region)).then_some(region);
        write(|regions| regions.rewrite(start, end, rest));
    }
}

/// Keeps flushes off a range that is about to change, and waits for those under way.
pub fn suspend(start: usize, length: usize) {
    let end = page_end(start, length);
    set(start, end, Attributes::SUSPENDED, true);
    drain();
}

/// As [`suspend`], for a call that unmaps the range or moves its pages elsewhere. What is mapped there
/// afterwards is told from it by this, as the kernel gives the addresses away before we can act.
pub fn take_away(start: usize, length: usize) {
    let end = page_end(start, length);
    set(start, end, Attributes::LEAVING, true);
    drain();
}

/// Ends [`take_away`] where the range stayed.
pub fn give_back(start: usize, length: usize) {
    set(start, page_end(start, length), Attributes::LEAVING, false);
}

fn is_leaving(region: &Region) -> bool {
    region.attributes & Attributes::LEAVING != 0
}

/// The generation of a file of which a mapping is recorded: that keeps the inode, so that its number
/// is no other's.
pub fn generation_of_mapped(device: u64, inode: u64) -> Option<u32> {
    if is_empty() {
        return None;
    }
    let index = files::find(device, inode)?;
    let start = index.file().whole()?;
    let region = REGIONS.at_or_after(start).ok()??;
    let attributes = Attributes::of(region);
    let is_there = region.start == start && attributes.file() == index && !is_leaving(&region);
    is_there.then(|| index.file().generation())?
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

/// From now on, pages of the range that are writable may be read-only at the program's back; its own
/// protection is `protection`.
pub fn lend(start: usize, end: usize, protection: usize) {
    change(start, end, |attributes| {
        attributes & !(usize::MAX << Attributes::LENT) | protection << Attributes::LENT
    });
}

/// Ends [`lend`], and waits for those who have looked at the range meanwhile.
pub fn take_back(start: usize, end: usize) {
    lend(start, end, 0);
    drain();
}

fn set(start: usize, end: usize, bit: usize, on: bool) {
    change(start, end, |attributes| match on {
        true => attributes | bit,
        false => attributes & !bit,
    });
}

fn change(start: usize, end: usize, of: impl Fn(usize) -> usize) {
    write(|regions| {
        regions.rewrite(start, end, |region| {
            let attributes = of(region.attributes);
            Some(Region {
                attributes,
                ..region
            })
        })
    });
}

/// mremap(2): what was recorded for `[from, from + from_length)` at [`take_away`] now holds at
/// `[to, to + to_length)`; the last part grows or shrinks with it.
pub fn relocate(from: usize, from_length: usize, to: usize, to_length: usize, keep_old: bool) {
    let (from_end, to_end) = (page_end(from, from_length), page_end(to, to_length));
    // A mapping of length 0 is the request for a second mapping of the same pages.
    let from_end = from_end.max(from + 1);
    let move_address = |address: usize| address.wrapping_sub(from).wrapping_add(to);
    widen(to, to_end);
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
            if !is_leaving(&region) {
                continue;
            }
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
                origin: move_address(region.origin),
                attributes: region.attributes & !Attributes::LEAVING,
            });
        }
        if !keep_old {
            let rest = |region| (!is_leaving(&region)).then_some(region);
            outcome = outcome.and(regions.rewrite(from, from_end, rest));
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

/// A place for a thread that is flushing, and what the last one there found.
#[repr(C, align(64))]
pub struct Flushing {
    /// The thread, or 0.
    thread: AtomicUsize,
    /// [`REGIONS`]' sequence number at which `[start, end)` was plainly flushable.
    sequence: AtomicUsize,
    start: AtomicUsize,
    end: AtomicUsize,
    /// Pages flushed here since the last were added to [`FLUSHED`]: [`PAGE_STEP`] each, so that the
    /// sum overflows after [`BATCH`] of them.
    pages: AtomicU32,
    /// So many msyncs of `pass_length` bytes may go to the kernel unasked: see [`Flush::let_pass`].
    passes: AtomicU32,
    pass_length: AtomicUsize,
    /// Whether it was ever taken: see [`EVER_TAKEN`].
    was_taken: AtomicBool,
}

/// A bit for each place that was ever taken, set before it first is: [`drain`] looks at no others, as
/// each is a cache line. The short way takes none that was not.
static EVER_TAKEN: [AtomicU64; PLACES / 64] = [const { AtomicU64::new(0) }; PLACES / 64];

impl Flushing {
    /// Sets its bit.
    #[cold]
    fn begin_to_be_taken(&self, i: usize) {
        if let Some(bits) = EVER_TAKEN.get(i / 64) {
            bits.fetch_or(1 << (i % 64), Ordering::SeqCst);
        }
        self.was_taken.store(true, Ordering::Release);
    }

    /// Where [`quick`](crate::quick) finds the fields.
    pub const THREAD: usize = offset_of!(Flushing, thread);
    /// See [`Flushing::THREAD`].
    pub const SEQUENCE: usize = offset_of!(Flushing, sequence);
    /// See [`Flushing::THREAD`].
    pub const START: usize = offset_of!(Flushing, start);
    /// See [`Flushing::THREAD`].
    pub const END: usize = offset_of!(Flushing, end);
    /// See [`Flushing::THREAD`].
    pub const PAGES: usize = offset_of!(Flushing, pages);
    /// See [`Flushing::THREAD`].
    pub const PASSES: usize = offset_of!(Flushing, passes);
    /// See [`Flushing::THREAD`].
    pub const PASS_LENGTH: usize = offset_of!(Flushing, pass_length);
}

/// Places in [`FLUSHES`]; a power of two.
pub const PLACES: usize = 128;

/// Stacks, and with them thread pointers, are some pages apart: a thread begins to look for its
/// place at the pointer's page number.
pub const PLACE_SHIFT: u32 = 12;

/// As many flushes at once as have a place here; further ones take the kernel's way.
pub static FLUSHES: [Flushing; PLACES] = [const {
    Flushing {
        thread: AtomicUsize::new(0),
        sequence: AtomicUsize::new(0),
        start: AtomicUsize::new(0),
        end: AtomicUsize::new(0),
        pages: AtomicU32::new(0),
        passes: AtomicU32::new(0),
        pass_length: AtomicUsize::new(0),
        was_taken: AtomicBool::new(false),
    }
}; PLACES];

/// Pages that a place adds to [`FLUSHED`] at once.
pub const BATCH: u64 = 64;
/// See [`Flushing`].
pub const PAGE_STEP: u32 = (1 << 31) / (BATCH as u32 / 2);

/// See [`pages_flushed`].
pub static FLUSHED: AtomicUsize = AtomicUsize::new(0);

/// Pages flushed from user space so far, in all mappings, but for the last few of each place; wraps.
pub fn pages_flushed() -> u64 {
    FLUSHED.load(Ordering::Relaxed) as u64
}

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
        let first = thread >> PLACE_SHIFT;
        for i in 0..PLACES {
            let number = first.wrapping_add(i) % PLACES;
            let place = FLUSHES.get(number)?;
            if !place.was_taken.load(Ordering::Acquire) {
                place.begin_to_be_taken(number);
            }
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

    /// The mapping that holds `address`, or the next above it. `None` also where a writer was in the
    /// way: the kernel's way is always right. What is plainly flushable is remembered for
    /// [`quick`](crate::quick).
    pub fn at_or_after(&self, address: usize) -> Option<Region> {
        let Ok((found, sequence)) = REGIONS.find(address) else {
            event(Event::MapBusy);
            return None;
        };
        if let Some(region) = found
            && Attributes::of(region).is_plainly_flushable()
        {
            let end = region.end.min(region.data_end);
            self.0.sequence.store(sequence, Ordering::Relaxed);
            self.0.start.store(region.start, Ordering::Relaxed);
            self.0.end.store(end, Ordering::Relaxed);
        }
        found
    }

    /// So many msyncs of `length` bytes may now go to the kernel at once, whatever they are of: that
    /// way is always right.
    pub fn let_pass(&self, length: usize, passes: u32) {
        self.0.pass_length.store(length, Ordering::Relaxed);
        self.0.passes.store(passes, Ordering::Relaxed);
    }

    /// What the thread's next long syncs may be spared: see [`passes`](crate::passes).
    pub fn passes(&self) -> Option<&'static Passes> {
        let number = ((&raw const *self.0 as usize) - (&raw const FLUSHES as usize)) / 64;
        passes::PLACES.get(number)
    }

    /// The sequence number at which the mapping was plainly flushable that was last looked up here.
    pub fn sequence(&self) -> usize {
        self.0.sequence.load(Ordering::Relaxed)
    }

    /// Counts pages whose dirty tags the kernel keeps though their lines are written back.
    pub fn count(&self, pages: usize) {
        FLUSHED.fetch_add(pages, Ordering::Relaxed);
    }

    /// Whether all of `[start, end)` is in one mapping that is plainly flushable. One load each where
    /// the place remembers it.
    #[inline]
    pub fn is_plain(&self, start: usize, end: usize) -> bool {
        let Flush(place) = self;
        let remembered = place.sequence.load(Ordering::Relaxed) == REGIONS.sequence()
            && place.start.load(Ordering::Relaxed) <= start
            && end <= place.end.load(Ordering::Relaxed);
        remembered
            || self.at_or_after(start).is_some_and(|region| {
                region.start <= start
                    && end <= region.end.min(region.data_end)
                    && Attributes::of(region).is_plainly_flushable()
            })
    }

    /// [`count`](Flush::count) of fewer than [`BATCH`] pages: added up here first, as by
    /// [`quick`](crate::quick).
    #[inline]
    pub fn count_few(&self, pages: usize) {
        let Flush(place) = self;
        let sum = place.pages.load(Ordering::Relaxed);
        let (sum, is_batch) = sum.overflowing_add(PAGE_STEP.wrapping_mul(pages as u32));
        place.pages.store(sum, Ordering::Relaxed);
        if is_batch {
            FLUSHED.fetch_add(BATCH as usize, Ordering::Relaxed);
        }
    }
}

impl Drop for Flush {
    fn drop(&mut self) {
        self.0.thread.store(0, Ordering::Release);
    }
}

/// Waits for the flushes that may have looked up what was just suspended.
pub fn drain() {
    let me = thread();
    // What was suspended before is seen by whoever publishes after.
    fence(Ordering::SeqCst);
    for (bits, flushes) in EVER_TAKEN.iter().zip(FLUSHES.chunks(64)) {
        let mut bits = bits.load(Ordering::SeqCst);
        while bits != 0 {
            if let Some(flush) = flushes.get(bits.trailing_zeros() as usize) {
                flush.wait(me);
            }
            bits &= bits - 1;
        }
    }
}

impl Flushing {
    /// Waits until whoever flushes here has done so.
    fn wait(&self, me: usize) {
        let mut tries = 0;
        loop {
            let thread = self.thread.load(Ordering::Acquire);
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
pub fn thread() -> usize {
    let pointer: usize;
    // SAFETY: on x86-64 the ABI keeps the thread pointer's own address at fs:0.
    unsafe {
        asm!("mov {}, fs:0", out(reg) pointer, options(nostack, preserves_flags, readonly, pure));
    }
    pointer
}
