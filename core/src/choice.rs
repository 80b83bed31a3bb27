//! Which way a range is synced: its cache lines, or the kernel's dirty tags.
//!
//! Longer than other files: a third of it says why.
//!
//! # What the ways cost
//!
//! - *Lines*: a price for each line of the range, dirty or not. It is known beforehand.
//! - *Kernel* (msync, or the cheaper sync_file_range): a price for the call, and one for each page
//!   with a dirty tag in the range: its lines are written back and its mappings write-protected, so
//!   that the next store to it faults. With 2 MiB pages a tag is for 2 MiB, and so is its price.
//!   How many pages are tagged only the kernel knows; it shows in what a call took. The faults that
//!   follow are not seen there: they are counted now and then ([`Cost::faults`]), and their price is
//!   added in proportion to what the call took beyond the price of a call.
//!
//! Lines leave the tags set. So each tag is paid for once, by the first kernel sync after it was
//! set, and lines never make the kernel's work more in total than it would be without them; but they
//! can put it off, and heap it up for a single call.
//!
//! # How it is chosen
//!
//! The kernel is what the program would pay without us, so it is the default, and lines must prove
//! themselves. A [`Learner`] is for ranges of about one size in one file. On the *kernel*'s side each
//! call shows what the kernel costs; it changes to that of the *lines* as soon as these are cheaper on
//! average. There the kernel's price is not seen, and is asked for by a *sweep*: a slice of the range
//! goes to the kernel, the rest to lines. A slice that had tags is visited again at the calls that
//! follow, which show how many come anew with each call. While these say that the kernel would be
//! cheaper for the whole range, the slice grows: eightfold where no tags are left from before, and by
//! at most [`CAP`] times the price of the lines otherwise; when it is the whole range, that is the
//! kernel's side. As soon as they say that lines are cheaper, the sweep is given up.
//!
//! A call on the kernel's side that would pay for more than [`CAP`] times the price of its lines,
//! for tags that user flushes have left, begins a sweep too. How many they are is known at most (a
//! page may have been flushed many times): how much of it was found before tells the rest.
//!
//! # What it loses
//!
//! A sweep is expensive only where it finds tags. After one that was given up, the next begins when
//! the lines have cost [`SHARE`] times as much; at first sooner, after 1, 2, 4, … calls of lines, and
//! after [`LONGEST`] at the latest. So against lines alone a [`SHARE`]th of all cost is lost, and a
//! dozen sweeps. Against the kernel alone, what is lost at a sudden change is the lines of that many
//! calls, which are no more than those for which lines were right, and of the few that a sweep takes
//! over a range without tags (one for each power of eight). Both sides count as equal within a [`MARGIN`]th.
//! So whatever the pattern, the cost stays within a twentieth of the better of the two pure policies,
//! once the first dozen sweeps are over and as long as the pattern does not follow the learner.
//!
//! One that does, with dirty pages when the kernel comes and none when lines do, can make any learner
//! lose against one of the two. Here it is lines: a sweep that ends on the kernel's side halves the
//! exponent of what may go by until the next, so that what is lost against the kernel alone, which is
//! what the program would pay without us, stays below three quarters of it.
//!
//! Measurement is all relaxed atomics: threads that race can spoil an estimate, never a sync.

use crate::units::PAGE;
use core::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};

/// The part of the cost of lines that may go into sweeps: one in so many.
pub const SHARE: u64 = 64;
/// Calls after which a sweep begins at the latest.
pub const LONGEST: u64 = 1_024;
/// What one call pays for old tags at most, in prices of its lines.
pub const CAP: u64 = 4;
/// The difference that makes one way cheaper than the other: one in so many.
pub const MARGIN: u64 = 32;
/// See [`Range::patience`].
pub const PATIENCE: u64 = 2;
/// Fixed point of prices of a line: so many make a tick.
const FRACTION: u64 = 256;
/// Fixed point of [`Learner::refault`]: so many make one.
const ONE: u64 = 256;
/// Price of a tagged page with its fault, in calls on a clean range (measured: 9,500 to 10,500 instructions against 2,360).
const PAGE_CALLS: u64 = 4;
/// The same of a page of 2 MiB (measured: 141,000).
const HUGE_CALLS: u64 = 60;
/// Price of a fault, in halves of such calls (measured: 6,100 instructions against 2,360).
const FAULT_HALF_CALLS: u64 = 5;
/// Visits that show new tags, after one that found old ones.
const VISITS: u8 = 2;
/// How much a slice without tags grows.
const GROWTH: usize = 8;
/// Calls that a sweep waits for its range to come back.
const WAIT: u32 = 256;
/// Calls that may go to the kernel unlearnt, at most; at first so many; and at most if not even what they
/// take is looked at.
const PASSES: u32 = 128;
const FIRST_PASSES: u32 = 8;
const BLIND_PASSES: u32 = 24;
/// Samples after which averages become moving ones.
const WINDOW: u8 = 16;

/// What things cost on this machine, ticks; for all learners.
#[derive(Debug)]
pub struct Prices {
    /// Of a line, in 1/[`FRACTION`] ticks; 0 until calibrated.
    line: AtomicU64,
    /// Of a kernel's msync with nothing to do.
    call: AtomicU64,
    /// The least that a sync by the kernel ever took, msync or sync_file_range.
    least: AtomicU64,
}

impl Prices {
    /// Not calibrated.
    #[must_use]
    pub const fn new() -> Prices {
        Prices {
            line: AtomicU64::new(0),
            call: AtomicU64::new(0),
            least: AtomicU64::new(0),
        }
    }

    /// Whether [`calibrate`](Prices::calibrate) was called.
    #[must_use]
    pub fn are_known(&self) -> bool {
        self.line.load(Ordering::Relaxed) != 0
    }

    /// Sets first prices: what it took to write back `lines` clean lines, what an msync with
    /// nothing to do took, and the same of the way that is used.
    pub fn calibrate(&self, lines: u64, lines_took: u64, msync_took: u64, kernel_took: u64) {
        self.call.store(msync_took.max(1), Ordering::Relaxed);
        self.least
            .store(kernel_took.clamp(1, msync_took.max(1)), Ordering::Relaxed);
        let line = (lines_took * FRACTION).checked_div(lines).unwrap_or(0);
        self.line.store(line.max(1), Ordering::Relaxed);
    }

    /// What so many lines cost, ticks.
    #[must_use]
    pub fn of_lines(&self, lines: u64) -> u64 {
        lines.saturating_mul(self.line.load(Ordering::Relaxed)) / FRACTION
    }

    fn learn_least(&self, took: u64) {
        if took < self.least.load(Ordering::Relaxed) {
            self.least.store(took.max(1), Ordering::Relaxed);
        }
    }

    fn learn_line(&self, lines: u64, took: u64) {
        if let Some(sample) = (took * FRACTION).checked_div(lines) {
            let old = self.line.load(Ordering::Relaxed);
            let new = average(old, sample.clamp(old / 4, old.saturating_mul(4)), WINDOW);
            self.line.store(new.max(1), Ordering::Relaxed);
        }
    }
}

impl Default for Prices {
    fn default() -> Self {
        Self::new()
    }
}

/// What a call is about.
#[derive(Clone, Copy, Debug)]
pub struct Range {
    /// First address, page-aligned.
    pub start: usize,
    /// First address behind it, page-aligned.
    pub end: usize,
    /// Cache lines in a page; 0 where none need be written back (eADR).
    pub lines_in_page: u64,
    /// Bytes of the largest page that may be mapped here: what a slice is a multiple of.
    pub unit: usize,
    /// How much dearer than the kernel lines may be and still be taken: 1, or [`PATIENCE`] where the kernel's
    /// way is less sure (docs/kernel-race.md).
    pub patience: u64,
}

impl Range {
    fn pages(&self) -> u64 {
        pages(self.start, self.end)
    }

    /// Its lines.
    #[must_use]
    pub fn lines(&self) -> u64 {
        self.pages() * self.lines_in_page
    }

    /// Their price, as it counts against the kernel's.
    fn price(&self, prices: &Prices) -> u64 {
        prices.of_lines(self.lines()) / self.patience.max(1)
    }

    /// `pages` in bytes, in whole units, at least one.
    fn whole_units(&self, pages: u64) -> usize {
        usize::try_from(pages)
            .unwrap_or(usize::MAX)
            .saturating_mul(PAGE)
            .max(1)
            .checked_next_multiple_of(self.unit.max(PAGE))
            .unwrap_or(usize::MAX)
    }

    /// The slice of so many bytes at about `offset` bytes from the start; its bounds are between
    /// units, or those of the range.
    fn slice(&self, offset: usize, bytes: usize) -> Slice {
        let start = (self.start + offset.min(self.end - self.start)) & !(self.unit.max(PAGE) - 1);
        Slice {
            start: start.max(self.start),
            end: start.saturating_add(bytes).min(self.end),
        }
    }

    /// The slice and so many bytes behind it, or before it where there are none.
    fn grown(&self, slice: Slice, bytes: usize) -> Slice {
        let Slice { mut start, mut end } = slice;
        if end < self.end {
            end = (end & !(self.unit.max(PAGE) - 1))
                .saturating_add(bytes)
                .min(self.end);
        } else {
            start = (start.saturating_sub(bytes) & !(self.unit.max(PAGE) - 1)).max(self.start);
        }
        Slice { start, end }
    }
}

fn pages(start: usize, end: usize) -> u64 {
    (end.saturating_sub(start) / PAGE) as u64
}

/// A part of a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slice {
    /// First address.
    pub start: usize,
    /// First address behind it.
    pub end: usize,
}

impl Slice {
    fn pages(self) -> u64 {
        pages(self.start, self.end)
    }
}

/// How a range is to be synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// Its lines.
    Lines,
    /// By the kernel.
    Kernel,
    /// A slice by the kernel, the rest of the range by its lines.
    Sweep(Slice),
}

/// What a sync took, ticks.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cost {
    /// The lines.
    pub lines: u64,
    /// The kernel.
    pub kernel: u64,
    /// Page faults of the process so far (getrusage(2)), before the kernel's sync, where
    /// [`Learner::wants_faults`].
    pub faults: Option<u64>,
}

const KERNEL: u8 = 0;
const LINES: u8 = 1;
const SWEEP: u8 = 2;

/// See the module. Zeroed memory is one that knows nothing.
#[derive(Debug)]
#[repr(align(64))]
pub struct Learner {
    /// KERNEL, LINES or SWEEP.
    side: AtomicU8,
    /// Samples in `kernel`, and the one before them that says nothing.
    samples: AtomicU8,
    /// Visits of the slice since it last grew; 0 if it has yet to.
    visits: AtomicU8,
    /// Sweeps given up since the kernel's side was last right; half of them for one that ended there.
    given_up: AtomicU8,
    /// See [`Learner::passes`].
    passes: AtomicU32,
    /// See [`Learner::pass_ticks`].
    price_of_lines: AtomicU64,
    /// Kernel syncs that clean something until faults are counted again, and how often they were.
    until_count: AtomicU8,
    counts: AtomicU8,
    /// Faults' part of the kernel's price, in 1/[`ONE`] of what a call took beyond its price.
    refault: AtomicU32,
    /// Where the next sweep begins.
    random: AtomicU32,
    /// Calls of lines until it does.
    until_sweep: AtomicU32,
    /// How much of what user flushes had left at most was not found, in 1/[`ONE`].
    not_found: AtomicU32,
    /// Faults of the process at the kernel's sync before; 0 if not counted.
    faults: AtomicU64,
    /// Average price of the range by the kernel, faults included, ticks.
    kernel: AtomicU64,
    /// Pages flushed from user space, as of the kernel's last sync of the range.
    flushed: AtomicU64,
    /// The slice; empty before the first visit.
    start: AtomicUsize,
    end: AtomicUsize,
    /// Bytes by which it grows.
    stride: AtomicUsize,
    /// What the visits have shown of new tags, ticks.
    fresh: AtomicU64,
    /// What the sweep has cost, ticks; with what the kernel's side cost in vain after it.
    spent: AtomicU64,
    /// What it found of old tags, ticks, and what there was at most; 0 where the lines led to it.
    found: AtomicU64,
    owed: AtomicU64,
}

impl Learner {
    /// Knows nothing.
    #[must_use]
    pub const fn new() -> Learner {
        Learner {
            side: AtomicU8::new(KERNEL),
            samples: AtomicU8::new(0),
            visits: AtomicU8::new(0),
            given_up: AtomicU8::new(0),
            passes: AtomicU32::new(0),
            price_of_lines: AtomicU64::new(0),
            until_count: AtomicU8::new(0),
            counts: AtomicU8::new(0),
            refault: AtomicU32::new(0),
            random: AtomicU32::new(0),
            until_sweep: AtomicU32::new(0),
            not_found: AtomicU32::new(0),
            faults: AtomicU64::new(0),
            kernel: AtomicU64::new(0),
            flushed: AtomicU64::new(0),
            start: AtomicUsize::new(0),
            end: AtomicUsize::new(0),
            stride: AtomicUsize::new(0),
            fresh: AtomicU64::new(0),
            spent: AtomicU64::new(0),
            found: AtomicU64::new(0),
            owed: AtomicU64::new(0),
        }
    }

    /// How to sync a range. `flushed`: pages flushed from user space so far, whatever their range.
    pub fn choose(&self, prices: &Prices, range: &Range, flushed: u64) -> Choice {
        let lines = range.price(prices);
        match self.side.load(Ordering::Relaxed) {
            KERNEL => {
                let owed = self.owed(prices, range, flushed);
                if owed == 0 || self.likely(owed) <= lines.saturating_mul(CAP) {
                    return Choice::Kernel;
                }
                self.begin_sweep(owed);
                let pages = lines.saturating_mul(CAP) / page_price(prices, range);
                Choice::Sweep(range.slice(0, range.whole_units(pages)))
            }
            // Not even a call that finds nothing to do would be cheaper.
            LINES if lines <= prices.least.load(Ordering::Relaxed) => Choice::Lines,
            LINES => {
                let until = self.until_sweep.load(Ordering::Relaxed);
                if until > 0 {
                    self.until_sweep.store(until - 1, Ordering::Relaxed);
                    return Choice::Lines;
                }
                self.begin_sweep(0);
                let somewhere = self.next_random(range.end - range.start);
                Choice::Sweep(range.slice(somewhere, range.whole_units(1)))
            }
            _ => {
                let slice = Slice {
                    start: self.start.load(Ordering::Relaxed),
                    end: self.end.load(Ordering::Relaxed),
                };
                if slice.start < range.start || slice.end > range.end {
                    // Windows that move come back to it, or are looked at afresh.
                    let waited = self.until_sweep.load(Ordering::Relaxed);
                    if waited < WAIT {
                        self.until_sweep.store(waited + 1, Ordering::Relaxed);
                    } else {
                        self.change_to(LINES);
                    }
                    Choice::Lines
                } else if self.visits.load(Ordering::Relaxed) > 0 {
                    Choice::Sweep(slice)
                } else {
                    let stride = self.stride.load(Ordering::Relaxed);
                    Choice::Sweep(range.grown(slice, stride))
                }
            }
        }
    }

    /// How many calls may now go to the kernel unlearnt, as they would go there anyway, until one of
    /// them takes longer than [`pass_ticks`](Learner::pass_ticks): the more, the longer it has been the
    /// cheaper side; none where the last call was dearer than lines.
    #[must_use]
    pub fn passes(&self) -> u32 {
        // The faults between two calls that follow each other are being counted.
        if self.faults.load(Ordering::Relaxed) != 0 {
            return 0;
        }
        self.passes.load(Ordering::Relaxed)
    }

    /// The same, where what they take is not looked at.
    #[must_use]
    pub fn blind_passes(&self) -> u32 {
        self.passes().min(BLIND_PASSES)
    }

    /// What one of these may take, ticks: more, and they should end, as lines may be cheaper now.
    /// Without the faults that follow.
    #[must_use]
    pub fn pass_ticks(&self, prices: &Prices) -> u64 {
        let lines = self.price_of_lines.load(Ordering::Relaxed);
        let refault = u64::from(self.refault.load(Ordering::Relaxed));
        scale(lines, ONE, ONE + refault).max(2 * prices.least.load(Ordering::Relaxed))
    }

    /// What the tags that user flushes have left in the range cost at most.
    fn owed(&self, prices: &Prices, range: &Range, flushed: u64) -> u64 {
        let pages = flushed
            .wrapping_sub(self.flushed.load(Ordering::Relaxed))
            .min(range.pages());
        pages.saturating_mul(page_price(prices, range))
    }

    /// What is owed, as experience has it.
    fn likely(&self, owed: u64) -> u64 {
        let not_found = u64::from(self.not_found.load(Ordering::Relaxed)).min(ONE);
        scale(owed, ONE - not_found, ONE)
    }

    /// Of so much that was owed at most, so much was found.
    fn learn_owed(&self, owed: u64, found: u64) {
        if owed > 0 {
            let sample = ONE - scale(found, ONE, owed).min(ONE);
            let old = u64::from(self.not_found.load(Ordering::Relaxed));
            let new = if sample > old {
                sample
            } else {
                average(old, sample, 4)
            };
            self.not_found.store(new as u32, Ordering::Relaxed);
        }
    }

    /// Whether faults should be counted before the kernel's sync that comes next.
    #[must_use]
    pub fn wants_faults(&self) -> bool {
        self.side.load(Ordering::Relaxed) == KERNEL && self.until_count.load(Ordering::Relaxed) == 0
    }

    /// What a choice of [`choose`](Learner::choose) took; `flushed` as there.
    pub fn learn(&self, prices: &Prices, range: &Range, choice: Choice, cost: Cost, flushed: u64) {
        match choice {
            Choice::Lines => prices.learn_line(range.lines(), cost.lines),
            Choice::Kernel => {
                prices.learn_least(cost.kernel);
                self.learn_faults(prices, cost);
                self.learn_owed(
                    self.owed(prices, range, flushed),
                    self.beyond(prices, cost.kernel),
                );
                self.learn_kernel(prices, range, cost);
            }
            Choice::Sweep(slice) => {
                prices.learn_least(cost.kernel);
                self.learn_sweep(prices, range, slice, cost.kernel);
            }
        }
        if self.side.load(Ordering::Relaxed) == KERNEL {
            self.flushed.store(flushed, Ordering::Relaxed);
        }
    }

    fn learn_kernel(&self, prices: &Prices, range: &Range, cost: Cost) {
        let lines = range.price(prices);
        let kernel = self.effective(prices, cost.kernel);
        let samples = self.samples.load(Ordering::Relaxed);
        // The first pays for tags that others have left.
        let mean = match samples {
            0 | 1 => kernel,
            _ => {
                let old = self.kernel.load(Ordering::Relaxed);
                // An outlier is no proof.
                let most = old.max(lines).saturating_mul(8);
                average(old, kernel.min(most), samples.min(WINDOW))
            }
        };
        self.kernel.store(mean, Ordering::Relaxed);
        self.samples
            .store((samples + 1).min(WINDOW), Ordering::Relaxed);
        let spent = self.spent.load(Ordering::Relaxed);
        if spent > 0 {
            // Once it has paid for itself, the sweep was right.
            let spent = spent.saturating_add(kernel).saturating_sub(lines);
            self.spent.store(spent, Ordering::Relaxed);
        }
        let passes = if samples == 0 || kernel > lines {
            0
        } else {
            let before = self.passes.load(Ordering::Relaxed);
            (2 * before).clamp(FIRST_PASSES, PASSES)
        };
        self.passes.store(passes, Ordering::Relaxed);
        self.price_of_lines.store(lines, Ordering::Relaxed);
        if samples + 1 == WINDOW {
            self.given_up.store(0, Ordering::Relaxed);
            self.spent.store(0, Ordering::Relaxed);
        }
        let enough = match samples {
            0 => false,
            1 => mean > lines.saturating_mul(4),
            _ => mean > lines + lines / MARGIN,
        };
        if enough {
            self.give_up(lines);
        }
    }

    fn begin_sweep(&self, owed: u64) {
        self.change_to(SWEEP);
        self.start.store(0, Ordering::Relaxed);
        self.end.store(0, Ordering::Relaxed);
        self.visits.store(0, Ordering::Relaxed);
        self.spent.store(0, Ordering::Relaxed);
        self.found.store(0, Ordering::Relaxed);
        self.owed.store(owed, Ordering::Relaxed);
    }

    fn learn_sweep(&self, prices: &Prices, range: &Range, slice: Slice, took: u64) {
        let lines = range.price(prices);
        let beyond = self.beyond(prices, took);
        let spent = self.spent.load(Ordering::Relaxed);
        self.spent.store(
            spent.saturating_add(self.effective(prices, took)),
            Ordering::Relaxed,
        );
        let visits = self.visits.load(Ordering::Relaxed);
        if visits == 0 {
            let before = Slice {
                start: self.start.swap(slice.start, Ordering::Relaxed),
                end: self.end.swap(slice.end, Ordering::Relaxed),
            };
            let found = self.found.load(Ordering::Relaxed);
            self.found
                .store(found.saturating_add(beyond), Ordering::Relaxed);
            let eightfold = slice.pages().saturating_mul(GROWTH as u64 - 1);
            let new = slice.pages().saturating_sub(before.pages());
            let affordable = scale(lines.saturating_mul(CAP), new, beyond);
            let stride = if beyond == 0 {
                eightfold
            } else {
                affordable.min(slice.pages())
            };
            self.stride
                .store(range.whole_units(stride), Ordering::Relaxed);
            if beyond > 0 {
                self.fresh.store(0, Ordering::Relaxed);
                self.visits.store(1, Ordering::Relaxed);
                return;
            }
        } else {
            let fresh = self.fresh.load(Ordering::Relaxed).saturating_add(beyond);
            self.fresh.store(fresh, Ordering::Relaxed);
            // At least so much a call, whatever the visits to come show.
            let all = scale(fresh, range.pages(), slice.pages()) / u64::from(VISITS);
            if all.saturating_add(prices.least.load(Ordering::Relaxed)) > lines {
                self.give_up(lines);
                return;
            }
            if visits < VISITS {
                self.visits.store(visits + 1, Ordering::Relaxed);
                return;
            }
            self.visits.store(0, Ordering::Relaxed);
        }
        if slice.start <= range.start && range.end <= slice.end {
            let found = self.found.load(Ordering::Relaxed);
            self.learn_owed(self.owed.load(Ordering::Relaxed), found);
            let given_up = self.given_up.load(Ordering::Relaxed);
            self.given_up.store(given_up / 2, Ordering::Relaxed);
            self.change_to(KERNEL);
        }
    }

    /// Lines are cheaper.
    fn give_up(&self, lines: u64) {
        self.change_to(LINES);
        let spent = self.spent.load(Ordering::Relaxed);
        let given_up = self.given_up.load(Ordering::Relaxed).min(63);
        self.given_up.store(given_up + 1, Ordering::Relaxed);
        let calls = scale(spent, SHARE, lines).min(1 << given_up).min(LONGEST);
        self.until_sweep.store(calls as u32, Ordering::Relaxed);
    }

    /// What a call took, faults included, beyond the price of a call; 0 within noise of that.
    fn beyond(&self, prices: &Prices, took: u64) -> u64 {
        let least = prices.least.load(Ordering::Relaxed);
        if took < least + least / 2 {
            0
        } else {
            self.effective(prices, took) - least
        }
    }

    fn learn_faults(&self, prices: &Prices, cost: Cost) {
        let Some(faults) = cost.faults else {
            if self.beyond(prices, cost.kernel) > 0 {
                let left = self.until_count.load(Ordering::Relaxed);
                self.until_count
                    .store(left.saturating_sub(1), Ordering::Relaxed);
            }
            return;
        };
        // Counted at two calls that follow each other.
        let before = self.faults.load(Ordering::Relaxed);
        let least = prices.least.load(Ordering::Relaxed);
        let beyond = cost.kernel.saturating_sub(least);
        if self.beyond(prices, cost.kernel) == 0 {
            // Nothing was cleaned: nothing will fault.
            self.faults.store(0, Ordering::Relaxed);
            self.until_count.store(1, Ordering::Relaxed);
            return;
        }
        if before == 0 {
            self.faults.store(faults.max(1), Ordering::Relaxed);
            return;
        }
        let price = prices.call.load(Ordering::Relaxed) * FAULT_HALF_CALLS / 2;
        let price = faults.saturating_sub(before).saturating_mul(price);
        // Others' faults are counted too; no page is cleaned for less than half a call.
        let sample = scale(price, ONE, beyond).min(FAULT_HALF_CALLS * ONE);
        let counts = self.counts.load(Ordering::Relaxed);
        let old = u64::from(self.refault.load(Ordering::Relaxed));
        let new = average(old, sample, (counts + 1).min(4));
        self.refault
            .store(u32::try_from(new).unwrap_or(u32::MAX), Ordering::Relaxed);
        self.counts.store((counts + 1).min(6), Ordering::Relaxed);
        // Ever more seldom: it changes with the size of pages only.
        self.until_count
            .store(1 << counts.min(6), Ordering::Relaxed);
        self.faults.store(0, Ordering::Relaxed);
    }

    /// With the faults that will follow.
    fn effective(&self, prices: &Prices, took: u64) -> u64 {
        let beyond = took.saturating_sub(prices.least.load(Ordering::Relaxed));
        took + beyond.saturating_mul(u64::from(self.refault.load(Ordering::Relaxed))) / ONE
    }

    fn change_to(&self, side: u8) {
        self.side.store(side, Ordering::Relaxed);
        self.samples.store(0, Ordering::Relaxed);
        self.passes.store(0, Ordering::Relaxed);
        self.until_sweep.store(0, Ordering::Relaxed);
    }

    /// A number below `limit`: so that no pattern of the program's can fall in step with the slices.
    fn next_random(&self, limit: usize) -> usize {
        let next = self
            .random
            .load(Ordering::Relaxed)
            .wrapping_mul(1_664_525)
            .wrapping_add(1_013_904_223);
        self.random.store(next, Ordering::Relaxed);
        ((limit as u128 * u128::from(next)) >> 32) as usize
    }
}

impl Default for Learner {
    fn default() -> Self {
        Self::new()
    }
}

/// Price of a tagged page, with its fault.
fn page_price(prices: &Prices, range: &Range) -> u64 {
    let call = prices.call.load(Ordering::Relaxed);
    let price = match pages(0, range.unit) {
        0 | 1 => call * PAGE_CALLS,
        unit => call * HUGE_CALLS / unit,
    };
    price.max(1)
}

/// `value * by / of`.
fn scale(value: u64, by: u64, of: u64) -> u64 {
    if let Some(product) = value.checked_mul(by) {
        return product / of.max(1);
    }
    let scaled = u128::from(value) * u128::from(by) / u128::from(of.max(1));
    u64::try_from(scaled).unwrap_or(u64::MAX)
}

/// The average of `n` samples, of which `old` is that of all but the last.
fn average(old: u64, sample: u64, n: u8) -> u64 {
    let n = u64::from(n.max(1));
    if sample >= old {
        old + (sample - old) / n
    } else {
        old - (old - sample) / n
    }
}

#[cfg(test)]
mod tests;
