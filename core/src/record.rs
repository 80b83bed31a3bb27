//! What a process knows of its mappings of tagged files, and who is flushing them now.
//!
//! # The principle
//!
//! *Every user flush rests on a record that is known to be complete; whatever could not be recorded, by
//! whomever, makes the record incomplete, and then the kernel does it.*
//!
//! - Who unmaps, moves or protects what is recorded does so in a [`Change`]: it is the only writer
//!   ([`Record::change`]), from before its system call until the record says what came of it. No reader
//!   finds anything meanwhile, so an order of events other than the kernel's can't be recorded.
//! - Who can't become the writer says so ([`Record::miss`]), before its system call: nothing is found any
//!   more, and the next writer begins by forgetting everything.
//! - A flush publishes itself first ([`Record::publish`]), looks a mapping up after, and says in its
//!   [`Place`] what it is about to touch. A change begins first and then waits for published flushes of
//!   its range ([`Record::drain`]). So no flush ever touches memory that is gone.
//! - A forked child has neither its parent's other threads nor their flushes nor the writer among them:
//!   all that is theirs is in [`Threads`], which the kernel empties for it (MADV_WIPEONFORK), however it
//!   was forked.
//!
//! A model check (`cargo test -p daxshim-core --features model`) tries every interleaving of these.
//!
//! Longer than other files: the principle stands where it is kept.

use crate::atomics::{
    AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering, array, const_unless_model, fence,
};
use crate::regions::{Busy, Region, Regions, Writing};
use crate::units::PAGE;

/// Places for flushes; a power of two. A model has few.
pub const PLACES: usize = if cfg!(feature = "model") { 2 } else { 128 };

/// Words of 64 bits with a bit for each place.
const WORDS: usize = PLACES.div_ceil(64);

/// Stacks, and with them thread pointers, are some pages apart: a thread begins to look for its
/// place at the pointer's page number.
pub const PLACE_SHIFT: u32 = 12;

/// How often a thread that waits for another one pauses before it gives up: seconds, see [`Thread::pause`].
const PATIENCE: usize = if cfg!(feature = "model") { 2 } else { 1 << 16 };

/// How often a change pauses for a flush that does not get on. A flush tells that it does at least each
/// [`PIECE`], which takes some 100 µs: what does not for so long (some 2 s) was left by somebody who is not
/// going on with it. Less would do for that, but where many want the processor a thread waits for its turn
/// that long, in the middle of a piece: 70 ms were not enough beside a build on two processors, and
/// what is unmapped then is a SIGSEGV in that flush.
pub const DRAIN_PATIENCE: usize = if cfg!(feature = "model") { 4 } else { 1 << 15 };

/// So often a pause is a yield; after that whoever is waited for is not running, and it is a short sleep.
pub const YIELDS: usize = 1 << 10;

/// Bytes that a flush may write back before it tells that it gets on, see [`Place::count`]: no multiple of
/// [`BATCH`] pages, after which the sum would be what it was.
pub const PIECE: usize = (BATCH as usize * 4 - 1) * PAGE;

/// A place for a thread that is flushing, and what the last flush there has found.
#[repr(C, align(64))]
pub struct Place {
    /// The thread, or 0.
    thread: AtomicUsize,
    /// The sequence number at which `[start, end)` was plainly flushable; 1, which is none, if it was not.
    sequence: AtomicUsize,
    /// What a flush that is published here touches is within `[start, end)`.
    start: AtomicUsize,
    end: AtomicUsize,
    /// See [`Place::count`].
    pages: AtomicU32,
    /// Stack pointer of who has published; [`NO_FRAME`] before and after.
    frame: AtomicUsize,
    /// Whether it was ever taken: see [`Record::ever_taken`].
    was_taken: AtomicBool,
    /// Whether a handler that has interrupted the flush here waits for the writer, see [`OverOwnFlush`].
    is_held_up: AtomicBool,
}

/// See [`Place`].
pub const NO_FRAME: usize = usize::MAX;

/// Where assembly finds the fields of a [`Place`].
#[cfg(not(feature = "model"))]
pub mod offset {
    use super::{Place, Record, Threads};
    use core::mem::offset_of;

    /// Of the places in a [`Record`].
    pub const PLACES: usize = offset_of!(Record, threads) + offset_of!(Threads, places);
    /// Of [`Record::regions`].
    pub const REGIONS: usize = offset_of!(Record, regions);
    /// The thread that has published, or 0.
    pub const THREAD: usize = offset_of!(Place, thread);
    /// The sequence number at which the following range was plainly flushable.
    pub const SEQUENCE: usize = offset_of!(Place, sequence);
    /// Where it begins.
    pub const START: usize = offset_of!(Place, start);
    /// Where it ends.
    pub const END: usize = offset_of!(Place, end);
    /// See [`Place::count`].
    pub const PAGES: usize = offset_of!(Place, pages);
    /// Stack pointer of who has published.
    pub const FRAME: usize = offset_of!(Place, frame);
    const _: () = assert!(size_of::<Place>() == 64);
}

/// Pages that a place adds up before they are counted.
pub const BATCH: u64 = 64;
/// What a page adds to the sum of a place, which overflows after [`BATCH`] of them.
pub const PAGE_STEP: u32 = (1 << 31) / (BATCH as u32 / 2);

impl Place {
    const_unless_model! {
        fn new() -> Place {
            Place {
                thread: AtomicUsize::new(0),
                sequence: AtomicUsize::new(0),
                start: AtomicUsize::new(0),
                end: AtomicUsize::new(0),
                pages: AtomicU32::new(0),
                frame: AtomicUsize::new(0),
                was_taken: AtomicBool::new(false),
                is_held_up: AtomicBool::new(false),
            }
        }
    }

    /// Adds pages to the sum; how many are to be counted now, in whole batches of [`BATCH`]. It is also how
    /// a flush tells that it gets on, unless the pages are a multiple of those.
    #[must_use]
    #[inline]
    pub fn count(&self, pages: u32) -> usize {
        let added = u64::from(PAGE_STEP).wrapping_mul(u64::from(pages));
        let sum = added.wrapping_add(u64::from(self.pages.load(Ordering::Relaxed)));
        self.pages.store(sum as u32, Ordering::Relaxed);
        (sum >> 32).wrapping_mul(BATCH) as usize
    }

    /// The sequence number at which what was last looked up here was plainly flushable; one that the
    /// record never has, if it was not.
    #[must_use]
    pub fn sequence(&self) -> usize {
        self.sequence.load(Ordering::Relaxed)
    }

    fn touches(&self, start: usize, end: usize) -> bool {
        self.start.load(Ordering::Relaxed) < end && start < self.end.load(Ordering::Relaxed)
    }
}

/// What belongs to the threads of one process; zeroed memory is right for one that has none of them yet.
/// Pages of its own, as the kernel empties them for a forked child.
#[cfg_attr(not(feature = "model"), repr(C, align(4096)))]
pub struct Threads {
    places: [Place; PLACES],
    /// The thread that is the writer, or 0.
    writer: AtomicUsize,
    /// Whether this is the process that [`Record::settle`] was called in.
    is_settled: AtomicBool,
}

/// See the module.
#[repr(C)]
pub struct Record {
    threads: Threads,
    /// The mappings. Written to by [`Change`]s only.
    pub regions: Regions,
    /// A bit for each place that was ever taken, set before it first is: [`drain`](Record::drain) looks
    /// at no others, as each is a cache line.
    ever_taken: [AtomicU64; WORDS],
}

impl Default for Record {
    fn default() -> Self {
        Self::new()
    }
}

/// What a thread is, and how it waits.
pub trait Thread {
    /// A number that no other living thread of the process has, and not 0.
    fn number(&self) -> usize;
    /// Lets other threads run; the first [`YIELDS`] of a wait, numbered from 0, for a moment.
    fn pause(&self, number: usize);
    /// How often a change yields to a flush that does not get on, before it gives up.
    fn patience(&self) -> usize {
        DRAIN_PATIENCE
    }
    /// Whether it is known to be on its own stack, not on one for signal handlers.
    fn is_on_own_stack(&self) -> bool;
}

/// Flushes of a range did not end in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Undrained;

/// Why a wait for a flush ended before that did.
enum Cut {
    Undrained,
    /// It can't go on before somebody has changed something.
    HeldUp,
}

impl Record {
    const_unless_model! {
        /// Of no mapping.
        #[must_use]
        pub fn new() -> Record {
            Record {
                threads: Threads {
                    places: array!(Place::new()),
                    writer: AtomicUsize::new(0),
                    is_settled: AtomicBool::new(false),
                },
                regions: Regions::new(),
                ever_taken: array!(AtomicU64::new(0)),
            }
        }
    }

    /// The memory that must be empty in a forked child: whole pages.
    pub fn wiped_on_fork(&self) -> *const [u8] {
        core::ptr::slice_from_raw_parts((&raw const self.threads).cast(), size_of::<Threads>())
    }

    /// Whether [`settle`](Record::settle) was called in this very process: a child that was forked
    /// unseen must do first what every forked child does.
    #[must_use]
    #[inline]
    pub fn is_settled(&self) -> bool {
        self.threads.is_settled.load(Ordering::Relaxed)
    }

    /// From now on this is the process whose threads these are. Whether it was not so far.
    pub fn settle(&self) -> bool {
        !self.threads.is_settled.swap(true, Ordering::Relaxed)
    }

    /// In a forked child: no thread but this one is there, and what the parent's were at is cut short.
    pub fn forked(&self) {
        self.threads.writer.store(0, Ordering::Relaxed);
        for place in &self.threads.places {
            place.thread.store(0, Ordering::Relaxed);
        }
    }

    /// The first region in `[start, end)`, for who wants to change mappings: waits for a writer.
    ///
    /// # Errors
    /// [`Busy`]: it is not known what is there.
    pub fn first_in(
        &self,
        start: usize,
        end: usize,
        thread: &impl Thread,
    ) -> Result<Option<Region>, Busy> {
        let mut over_own_flush = None;
        for number in 0..PATIENCE {
            let before = self.regions.sequence();
            if let Ok(found) = self.regions.at_or_after(start) {
                return Ok(found.filter(|region| region.start < end));
            }
            let writer = self.threads.writer.load(Ordering::Acquire);
            // A writer that is at work has the lock from before the number changes until after.
            let is_cut_short = writer == 0 && self.regions.is_unsettled_at(before);
            // Only the next writer will put it right, or this thread is the writer.
            if self.regions.is_missed() || is_cut_short || writer == thread.number() {
                break;
            }
            over_own_flush.get_or_insert_with(|| OverOwnFlush::begin(self, thread.number()));
            thread.pause(number);
        }
        Err(Busy)
    }

    /// Becomes the writer. `None`: not in time; then [`miss`](Record::miss) was called. Never interrupted
    /// by a signal handler that would want to become it, as signals are blocked, and else it misses.
    pub fn change(&self, thread: &impl Thread) -> Option<Change<'_>> {
        let me = thread.number();
        let mut over_own_flush = None;
        for number in 0..PATIENCE {
            let taken =
                self.threads
                    .writer
                    .compare_exchange(0, me, Ordering::Acquire, Ordering::Relaxed);
            match taken {
                Ok(_) => {
                    return Some(Change {
                        _lock: Lock(&self.threads.writer),
                        writing: self.regions.write(),
                    });
                }
                // Others have waited for it long enough.
                Err(writer) if writer == me || self.regions.is_missed() => break,
                Err(_) => {
                    over_own_flush
                        .get_or_insert_with(|| OverOwnFlush::begin(self, thread.number()));
                    thread.pause(number);
                }
            }
        }
        self.miss();
        None
    }

    /// Becomes the writer as by [`change`](Record::change), and waits for flushes as by [`drain`](Record::drain). Gives
    /// way to handlers that have interrupted one of these and want to become the writer.
    pub fn change_drained(
        &self,
        (start, end): (usize, usize),
        thread: &impl Thread,
    ) -> (Option<Change<'_>>, Result<(), Undrained>) {
        let mut round = 0;
        loop {
            let change = self.change(thread);
            let gives_way = change.is_some() && round < PATIENCE;
            // A flush that is held up is not waited for, so each round has all of it.
            let mut patience = thread.patience();
            match self.wait_for_all(start, end, thread, gives_way, &mut patience) {
                Ok(()) => return (change, Ok(())),
                Err(Cut::Undrained) => return (change, Err(Undrained)),
                Err(Cut::HeldUp) => drop(change),
            }
            thread.pause(round);
            round += 1;
        }
    }

    /// See the module.
    pub fn miss(&self) {
        self.regions.miss();
    }

    /// A place of the thread's, published. `None` if there is none. `frame` is its stack pointer: a place
    /// that the same thread published further down its stack was left by a longjmp, and is free.
    #[inline]
    pub fn publish(&self, frame: usize, thread: &impl Thread) -> Option<&Place> {
        let me = thread.number();
        let first = me >> PLACE_SHIFT;
        for i in 0..PLACES {
            let number = first.wrapping_add(i) % PLACES;
            let place = self.threads.places.get(number)?;
            if !place.was_taken.load(Ordering::Acquire) {
                self.begin_to_take(place, number);
            }
            // SeqCst: the lookups that follow must not be older than this.
            let taken = place
                .thread
                .compare_exchange(0, me, Ordering::SeqCst, Ordering::Relaxed);
            let is_ours = match taken {
                Ok(_) => true,
                Err(owner) => {
                    owner == me
                        && place.frame.load(Ordering::Relaxed) <= frame
                        && thread.is_on_own_stack()
                }
            };
            if is_ours {
                // loom takes a SeqCst exchange for AcqRel.
                #[cfg(feature = "model")]
                fence(Ordering::SeqCst);
                place.frame.store(frame, Ordering::Relaxed);
                return Some(place);
            }
        }
        None
    }

    /// Sets its bit.
    #[cold]
    fn begin_to_take(&self, place: &Place, number: usize) {
        if let Some(bits) = self.ever_taken.get(number / 64) {
            bits.fetch_or(1 << (number % 64), Ordering::SeqCst);
        }
        place.frame.store(NO_FRAME, Ordering::Relaxed);
        place.was_taken.store(true, Ordering::Release);
    }

    /// The places where a thread's flush is, and those that it has interrupted.
    fn own(&self, me: usize) -> impl Iterator<Item = &Place> {
        /// More flushes than interrupt each other.
        const DEPTH: usize = 4;
        let first = me >> PLACE_SHIFT;
        let number = move |i: usize| first.wrapping_add(i) % PLACES;
        (0..DEPTH.min(PLACES))
            .filter_map(move |i| self.threads.places.get(number(i)))
            .filter(move |place| place.thread.load(Ordering::Relaxed) == me)
    }

    /// Whether the thread may have a flush that it has interrupted itself.
    #[inline]
    pub fn has_published(&self, thread: &impl Thread) -> bool {
        self.own(thread.number()).next().is_some()
    }

    /// The thread leaves what is deeper in its stack than `target`, and with it the flushes there.
    pub fn leave(&self, target: usize, thread: &impl Thread) {
        for place in self.own(thread.number()) {
            // A place that is being published or withdrawn has no frame, which is above every other.
            if place.frame.load(Ordering::Relaxed) < target {
                place.is_held_up.store(false, Ordering::Relaxed);
                self.withdraw(place);
            }
        }
    }

    /// Ends what [`publish`](Record::publish) began.
    #[inline]
    pub fn withdraw(&self, place: &Place) {
        // In this order: a place without a thread has no frame.
        place.frame.store(NO_FRAME, Ordering::Relaxed);
        place.thread.store(0, Ordering::Release);
    }

    /// The mapping that holds `address`, or the next above it, and what of it may be touched
    /// (`reach`: first address and the one behind), until another is asked for. What is plainly flushable
    /// is remembered for the place's next flush.
    ///
    /// # Errors
    /// [`Busy`]: the kernel's way it is.
    pub fn look_up(
        &self,
        place: &Place,
        address: usize,
        is_plain: impl FnOnce(&Region) -> bool,
    ) -> Result<Option<Region>, Busy> {
        let (found, sequence) = self.regions.find(address)?;
        if let Some(region) = found {
            let end = region.end.min(region.data_end);
            let plainly_at = if is_plain(&region) { sequence } else { 1 };
            self.reach(place, (region.start, end), plainly_at, sequence)?;
        }
        Ok(found)
    }

    /// The flush is about to touch `[start, end)`, which was looked up piece by piece.
    ///
    /// # Errors
    /// [`Busy`]: something has changed since `sequence`.
    pub fn look_up_all(
        &self,
        place: &Place,
        range: (usize, usize),
        sequence: usize,
    ) -> Result<(), Busy> {
        self.reach(place, range, 1, sequence)
    }

    fn reach(
        &self,
        place: &Place,
        (start, end): (usize, usize),
        plainly_at: usize,
        sequence: usize,
    ) -> Result<(), Busy> {
        place.sequence.store(1, Ordering::Relaxed);
        place.start.store(start, Ordering::Relaxed);
        place.end.store(end, Ordering::Relaxed);
        place.sequence.store(plainly_at, Ordering::Relaxed);
        // Either a change sees what is touched here, or this sees the change.
        fence(Ordering::SeqCst);
        match self.regions.sequence() == sequence {
            true => Ok(()),
            false => Err(Busy),
        }
    }

    /// What is touched by the flush that is published in this place is not said yet: anything.
    #[inline]
    pub fn reach_anywhere(&self, place: &Place) {
        place.sequence.store(1, Ordering::Relaxed);
        place.start.store(0, Ordering::Relaxed);
        place.end.store(usize::MAX, Ordering::Relaxed);
        // As in `reach`.
        fence(Ordering::SeqCst);
    }

    /// The flush that is published in this place touches nothing until [`reach_anywhere`](Record::reach_anywhere),
    /// and nobody need wait for it.
    pub fn reach_nowhere(&self, place: &Place) {
        place.sequence.store(1, Ordering::Relaxed);
        place.start.store(0, Ordering::Relaxed);
        place.end.store(0, Ordering::Release);
    }

    /// Whether all of `[start, end)` is in the mapping that the place remembers as plainly flushable.
    #[inline]
    pub fn remembers(&self, place: &Place, start: usize, end: usize) -> bool {
        place.sequence.load(Ordering::Relaxed) == self.regions.sequence()
            && place.start.load(Ordering::Relaxed) <= start
            && end <= place.end.load(Ordering::Relaxed)
    }

    /// The number of a place.
    pub fn number(&self, place: &Place) -> usize {
        let first = (&raw const self.threads.places).cast::<Place>() as usize;
        ((&raw const *place as usize) - first) / size_of::<Place>()
    }

    /// Waits for flushes of `[start, end)` that may have looked up what a change has just made
    /// impossible to find. Not for one of this very thread, which a signal handler has interrupted: it
    /// can't end before we do.
    ///
    /// # Errors
    /// [`Undrained`]: one did not end in time. Nobody waits for that one again.
    pub fn drain(&self, start: usize, end: usize, thread: &impl Thread) -> Result<(), Undrained> {
        let mut patience = thread.patience();
        let waited = self.wait_for_all(start, end, thread, false, &mut patience);
        waited.map_err(|_| Undrained)
    }

    fn wait_for_all(
        &self,
        start: usize,
        end: usize,
        thread: &impl Thread,
        gives_way: bool,
        patience: &mut usize,
    ) -> Result<(), Cut> {
        // What was changed before is seen by whoever publishes after.
        fence(Ordering::SeqCst);
        let mut outcome = Ok(());
        for (word, places) in self.ever_taken.iter().zip(self.threads.places.chunks(64)) {
            let mut bits = word.load(Ordering::SeqCst);
            while bits != 0 {
                if let Some(place) = places.get(bits.trailing_zeros() as usize) {
                    match place.wait(start, end, thread, gives_way, patience) {
                        Err(Cut::HeldUp) => return Err(Cut::HeldUp),
                        waited => outcome = outcome.and(waited),
                    }
                }
                bits &= bits - 1;
            }
        }
        outcome
    }
}

impl Place {
    /// Waits until whoever flushes here has done with `[start, end)`. Who has lost its patience with one
    /// flush has none for the next.
    fn wait(
        &self,
        start: usize,
        end: usize,
        thread: &impl Thread,
        gives_way: bool,
        left: &mut usize,
    ) -> Result<(), Cut> {
        let me = thread.number();
        let mut last = self.pages.load(Ordering::Relaxed);
        let mut pauses = 0;
        loop {
            let owner = self.thread.load(Ordering::Acquire);
            if owner == 0 || owner == me || !self.touches(start, end) {
                return Ok(());
            }
            let now = self.pages.load(Ordering::Relaxed);
            *left = match now == last {
                true => left.saturating_sub(1),
                false => thread.patience(),
            };
            last = now;
            if *left == 0 {
                // It has nothing that anybody would wait for. In a model it goes on.
                if cfg!(not(feature = "model")) {
                    self.sequence.store(1, Ordering::Relaxed);
                    self.end.store(0, Ordering::Relaxed);
                }
                return Err(Cut::Undrained);
            }
            if gives_way && self.is_held_up.load(Ordering::Relaxed) {
                return Err(Cut::HeldUp);
            }
            thread.pause(pauses);
            pauses += 1;
        }
    }
}

/// While this lives, a thread waits for the writer, which may itself wait for a flush that the thread has
/// interrupted: whoever waits for one of its flushes is told so. Where a longjmp skips its end, somebody gives way for
/// nothing.
struct OverOwnFlush<'a> {
    record: &'a Record,
    me: usize,
    /// Not the one that a handler has interrupted, which waits for the same and still will.
    is_first: bool,
}

impl<'a> OverOwnFlush<'a> {
    fn begin(record: &'a Record, me: usize) -> OverOwnFlush<'a> {
        let mut is_first = true;
        for place in record.own(me) {
            is_first &= !place.is_held_up.swap(true, Ordering::Relaxed);
        }
        OverOwnFlush {
            record,
            me,
            is_first,
        }
    }
}

impl Drop for OverOwnFlush<'_> {
    fn drop(&mut self) {
        for place in self.record.own(self.me).filter(|_| self.is_first) {
            place.is_held_up.store(false, Ordering::Relaxed);
        }
    }
}

/// A thread is the writer, until this is dropped. No reader finds anything meanwhile.
pub struct Change<'a> {
    // Dropped in this order.
    writing: Writing<'a>,
    _lock: Lock<'a>,
}

impl<'a> core::ops::Deref for Change<'a> {
    type Target = Writing<'a>;

    fn deref(&self) -> &Writing<'a> {
        &self.writing
    }
}

struct Lock<'a>(&'a AtomicUsize);

impl Drop for Lock<'_> {
    fn drop(&mut self) {
        let Lock(writer) = self;
        writer.store(0, Ordering::Release);
    }
}

#[cfg(all(test, feature = "model"))]
mod model;

#[cfg(all(test, not(feature = "model")))]
mod tests;
