//! Which way a range is synced: its cache lines, or the kernel's dirty tags.
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
//! A [`Learner`] is for ranges of about one size in one file. It stands on one side: on the
//! *kernel*'s, where each call shows what the kernel costs, and it changes to lines as soon as these
//! are cheaper on average; or on that of the *lines*, where the kernel's price is not seen and must
//! be probed for. A probe has the kernel sync a slice of the range, once to be rid of old tags (this
//! says nothing of the price), and once more at a later call: what that took is what the kernel
//! alone would have taken there. If the slices say that the kernel is cheaper, the old tags are swept
//! away by a slice a call, none of which takes longer than the flush of the lines beside it, and the
//! learner changes to the kernel. On the kernel's side, a call that would pay for more tags than
//! that, which user flushes have left, is one of lines, and the learner changes. How many they are is
//! known at most (a page may have been flushed many times): the first time a sweep tells.
//!
//! # What it loses
//!
//! Whatever is spent beyond the price of the lines is paid from a purse into which goes a
//! [`SHARE`]th of what each call costs; no probe begins that the purse does not cover. So the loss
//! against lines alone is at most a [`SHARE`]th of all cost, the first two calls, and the last change
//! of side that was wrong; a change that was right refunds its price. The loss against the kernel
//! alone is what it takes to notice that it has become cheaper: some [`SHARE`] times the price of
//! a few slices. Both sides count as equal within a [`MARGIN`]th. Measurement is all relaxed
//! atomics: threads that race can spoil an estimate, never a sync.

use core::sync::atomic::{
    AtomicBool, AtomicI64, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering,
};

/// Bytes of a page.
pub const PAGE: usize = 4096;
/// The part of all cost that may go into probes: one in so many.
pub const SHARE: u64 = 64;
/// The difference that makes one way cheaper than the other: one in so many.
pub const MARGIN: u64 = 32;
/// Fixed point of prices of a line: so many make a tick.
const FRACTION: u64 = 256;
/// Fixed point of [`Learner::refault`]: so many make one.
const ONE: u64 = 256;
/// Price of a tagged page with its fault, in calls on a clean range, until one was measured
/// (measured: 9,500 to 10,500 instructions against 2,360).
const PAGE_CALLS: u64 = 4;
/// The same of a page of 2 MiB (measured: 141,000).
const HUGE_CALLS: u64 = 60;
/// Price of a fault, in halves of such calls (measured: 6,100 instructions against 2,360).
const FAULT_HALF_CALLS: u64 = 5;
/// Slices that a judgement rests on, where it does not need the whole range.
const SLICES: u64 = 8;
/// Visits of a slice, the first included.
const VISITS: u8 = 3;
/// Dirty pages that must be missing where they were to be expected.
const EVIDENCE: u64 = 3;
/// After so many times the pages that a judgement needs, half of what was seen is forgotten.
const MEMORY: u64 = 8;
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

    fn of_lines(&self, lines: u64) -> u64 {
        lines.saturating_mul(self.line.load(Ordering::Relaxed)) / FRACTION
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
}

impl Range {
    fn pages(&self) -> u64 {
        pages(self.start, self.end)
    }

    fn lines(&self) -> u64 {
        self.pages() * self.lines_in_page
    }

    /// The slice of about `pages` pages at about `offset` bytes from the start, in whole units.
    fn slice(&self, offset: usize, pages: u64) -> Slice {
        let unit = self.unit.max(PAGE);
        let start =
            ((self.start + offset.min(self.end - self.start)) & !(unit - 1)).max(self.start);
        let length = usize::try_from(pages)
            .unwrap_or(usize::MAX)
            .saturating_mul(PAGE)
            .checked_next_multiple_of(unit)
            .unwrap_or(usize::MAX);
        // The first and the last unit may be cut off by the range.
        let end = (start & !(unit - 1)).saturating_add(length).min(self.end);
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
    /// A slice by the kernel, then the lines of it all.
    LinesAndSlice(Slice),
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
    /// Samples at the present slice; 0 while it was not yet cleaned.
    visits: AtomicU8,
    /// Kernel syncs until faults are counted again, and how often they were.
    until_count: AtomicU8,
    counts: AtomicU8,
    /// Faults of the process at the kernel's sync before; 0 if not counted.
    faults: AtomicU64,
    /// Faults' part of the kernel's price, in 1/[`ONE`] of what a call took beyond its price.
    refault: AtomicU32,
    /// Where the next slice is taken.
    random: AtomicU32,
    /// Average price of the range by the kernel, faults included, ticks.
    kernel: AtomicU64,
    /// Price of a tagged page, with its fault; 0 until measured.
    page: AtomicU64,
    /// What may be spent beyond the price of lines, ticks.
    purse: AtomicI64,
    /// The slice that was cleaned and waits for its second visit; empty if none.
    slice_start: AtomicUsize,
    slice_end: AtomicUsize,
    /// Pages of slices since the last change of side, and what they took beyond the price of a call.
    seen: AtomicU64,
    beyond: AtomicU64,
    /// Bytes swept, and pages of the next sweep.
    swept: AtomicUsize,
    stride: AtomicU64,
    /// What was owed at most when the sweep began; 0 where slices led to it.
    swept_for: AtomicU64,
    /// How much of what was owed at most was found, in 1/[`ONE`], once it was tried.
    found: AtomicU32,
    is_tried: AtomicBool,
    /// Pages flushed from user space, as of the kernel's last sync of the range.
    flushed: AtomicU64,
}

impl Learner {
    /// Knows nothing.
    #[must_use]
    pub const fn new() -> Learner {
        Learner {
            side: AtomicU8::new(KERNEL),
            samples: AtomicU8::new(0),
            visits: AtomicU8::new(0),
            until_count: AtomicU8::new(0),
            counts: AtomicU8::new(0),
            faults: AtomicU64::new(0),
            refault: AtomicU32::new(0),
            random: AtomicU32::new(0),
            kernel: AtomicU64::new(0),
            page: AtomicU64::new(0),
            purse: AtomicI64::new(0),
            slice_start: AtomicUsize::new(0),
            slice_end: AtomicUsize::new(0),
            seen: AtomicU64::new(0),
            beyond: AtomicU64::new(0),
            swept: AtomicUsize::new(0),
            stride: AtomicU64::new(0),
            swept_for: AtomicU64::new(0),
            found: AtomicU32::new(0),
            is_tried: AtomicBool::new(false),
            flushed: AtomicU64::new(0),
        }
    }

    /// How to sync a range. `flushed`: pages flushed from user space so far, whatever their mapping.
    pub fn choose(&self, prices: &Prices, range: &Range, flushed: u64) -> Choice {
        let lines = prices.of_lines(range.lines());
        match self.side.load(Ordering::Relaxed) {
            KERNEL => {
                let owed = self.owed(prices, range, flushed);
                if owed == 0 || self.likely(owed) <= lines {
                    return Choice::Kernel;
                }
                if self.is_tried.load(Ordering::Relaxed) {
                    self.change_to(LINES);
                    return Choice::Lines;
                }
                // Many flushes of one page look like flushes of many pages: see what is there.
                self.change_to(SWEEP);
                self.swept_for.store(owed, Ordering::Relaxed);
                let stride = (lines / self.page_price(prices, range)).max(1);
                self.stride.store(stride, Ordering::Relaxed);
                Choice::LinesAndSlice(range.slice(0, stride))
            }
            // Not even a call that finds nothing to do would be cheaper.
            LINES if lines <= prices.least.load(Ordering::Relaxed) => Choice::Lines,
            LINES => self.probe(prices, range, lines),
            _ => {
                let swept = self.swept.load(Ordering::Relaxed);
                let stride = self.stride.load(Ordering::Relaxed).max(1);
                Choice::LinesAndSlice(range.slice(swept, stride))
            }
        }
    }

    /// What the tags that user flushes have left in the range cost at most.
    fn owed(&self, prices: &Prices, range: &Range, flushed: u64) -> u64 {
        let pages = flushed
            .wrapping_sub(self.flushed.load(Ordering::Relaxed))
            .min(range.pages());
        pages.saturating_mul(self.page_price(prices, range))
    }

    /// What is owed, as experience has it.
    fn likely(&self, owed: u64) -> u64 {
        if self.is_tried.load(Ordering::Relaxed) {
            scale(owed, u64::from(self.found.load(Ordering::Relaxed)), ONE)
        } else {
            owed
        }
    }

    /// Of so much that was owed at most, so much was found.
    fn learn_owed(&self, owed: u64, found: u64) {
        if owed == 0 {
            return;
        }
        let sample = scale(found, ONE, owed).min(ONE);
        let old = u64::from(self.found.load(Ordering::Relaxed));
        let new = if self.is_tried.swap(true, Ordering::Relaxed) {
            average(old, sample, 4)
        } else {
            sample
        };
        self.found.store(new as u32, Ordering::Relaxed);
    }

    fn probe(&self, prices: &Prices, range: &Range, lines: u64) -> Choice {
        let waiting = Slice {
            start: self.slice_start.load(Ordering::Relaxed),
            end: self.slice_end.load(Ordering::Relaxed),
        };
        if waiting.start < waiting.end {
            // Windows that move come back to it.
            return if range.start <= waiting.start && waiting.end <= range.end {
                Choice::LinesAndSlice(waiting)
            } else {
                Choice::Lines
            };
        }
        let page = self.page_price(prices, range);
        // Mostly there is nothing to think about.
        if self.purse.load(Ordering::Relaxed) <= signed(page) {
            return Choice::Lines;
        }
        let enough = self.evidence(prices, range, lines);
        let slice = if enough >= range.pages() {
            range.slice(0, range.pages())
        } else {
            let somewhere = self.next_random(range.end - range.start);
            range.slice(somewhere, (enough / SLICES).max(1))
        };
        let price = slice.pages().saturating_mul(page);
        if self.purse.load(Ordering::Relaxed) > i64::try_from(price).unwrap_or(i64::MAX) {
            Choice::LinesAndSlice(slice)
        } else {
            Choice::Lines
        }
    }

    /// Whether faults should be counted before the kernel's sync that comes next.
    #[must_use]
    pub fn wants_faults(&self) -> bool {
        self.side.load(Ordering::Relaxed) == KERNEL && self.until_count.load(Ordering::Relaxed) == 0
    }

    /// What a choice of [`choose`](Learner::choose) took; `flushed` as there.
    pub fn learn(&self, prices: &Prices, range: &Range, choice: Choice, cost: Cost, flushed: u64) {
        let lines = match choice {
            Choice::Kernel => prices.of_lines(range.lines()),
            _ => {
                prices.learn_line(range.lines(), cost.lines);
                cost.lines
            }
        };
        if choice != Choice::Lines {
            prices
                .least
                .fetch_min(cost.kernel.max(1), Ordering::Relaxed);
        }
        match choice {
            Choice::Lines => self.pay(prices, range, lines, 0),
            Choice::Kernel => {
                self.learn_faults(prices, cost);
                let least = prices.least.load(Ordering::Relaxed);
                let beyond = self.effective(prices, cost.kernel).saturating_sub(least);
                self.learn_owed(self.owed(prices, range, flushed), beyond);
                self.flushed.store(flushed, Ordering::Relaxed);
                self.learn_kernel(prices, range, cost, lines);
            }
            Choice::LinesAndSlice(slice) => {
                let kernel = self.effective(prices, cost.kernel);
                self.pay(prices, range, lines, kernel);
                if self.side.load(Ordering::Relaxed) == SWEEP {
                    self.learn_sweep(prices, range, slice, kernel, lines);
                } else {
                    self.learn_slice(prices, range, slice, kernel, lines);
                }
                if self.side.load(Ordering::Relaxed) == KERNEL {
                    self.flushed.store(flushed, Ordering::Relaxed);
                }
            }
        }
    }

    fn learn_kernel(&self, prices: &Prices, range: &Range, cost: Cost, lines: u64) {
        let kernel = self.effective(prices, cost.kernel);
        let samples = self.samples.load(Ordering::Relaxed);
        // The first pays for tags that others have left.
        let mean = match samples {
            0 | 1 => kernel,
            _ => {
                let old = self.kernel.load(Ordering::Relaxed);
                average(old, kernel.min(old.saturating_mul(8)), samples.min(WINDOW))
            }
        };
        self.kernel.store(mean, Ordering::Relaxed);
        self.samples
            .store((samples + 1).min(WINDOW), Ordering::Relaxed);
        if samples > 0 {
            let excess = kernel.saturating_sub(lines);
            self.pay(prices, range, kernel.min(lines), excess);
            self.refund(lines.saturating_sub(kernel));
        }
        let enough = match samples {
            0 => false,
            1 => mean > lines.saturating_mul(4),
            _ => mean > lines + lines / MARGIN,
        };
        if enough {
            self.change_to(LINES);
        }
    }

    fn learn_slice(&self, prices: &Prices, range: &Range, slice: Slice, took: u64, lines: u64) {
        let visits = self.visits.load(Ordering::Relaxed);
        self.visits.store(visits + 1, Ordering::Relaxed);
        if visits == 0 {
            // Old tags: says what a page costs, if all were tagged.
            self.learn_page(prices, range, took / slice.pages().max(1));
            self.slice_start.store(slice.start, Ordering::Relaxed);
            self.slice_end.store(slice.end, Ordering::Relaxed);
            return;
        }
        if visits + 1 >= VISITS {
            self.forget_slice();
        }
        let least = prices.least.load(Ordering::Relaxed);
        let enough = self.evidence(prices, range, lines);
        let (mut seen, mut beyond) = (
            self.seen.load(Ordering::Relaxed) + slice.pages(),
            self.beyond.load(Ordering::Relaxed) + took.saturating_sub(least),
        );
        // At worst: as many dirty pages were seen as two standard deviations would hide.
        let granule = self.granule(prices, range);
        let hidden = 2 * beyond.saturating_mul(granule).isqrt() + 2 * granule;
        let kernel = least.saturating_add(scale(beyond + hidden, range.pages(), seen));
        if kernel < lines {
            let is_whole = slice.pages() >= range.pages();
            self.change_to(if is_whole { KERNEL } else { SWEEP });
            let stride = (lines / self.page_price(prices, range)).max(1);
            self.stride.store(stride, Ordering::Relaxed);
            return;
        }
        // What was long ago counts less and less.
        if seen >= enough.saturating_mul(MEMORY) {
            (seen, beyond) = (seen / 2, beyond / 2);
        }
        self.seen.store(seen, Ordering::Relaxed);
        self.beyond.store(beyond, Ordering::Relaxed);
    }

    /// Pages that must have been looked at before the kernel is believed to be cheaper: enough for
    /// [`EVIDENCE`] dirty ones among them if it were just as dear as the lines.
    fn evidence(&self, prices: &Prices, range: &Range, lines: u64) -> u64 {
        let gain = lines.saturating_sub(prices.least.load(Ordering::Relaxed));
        let expected = self.granule(prices, range).saturating_mul(EVIDENCE);
        scale(expected, range.pages(), gain.max(1))
    }

    /// Price of the largest page that may be tagged here.
    fn granule(&self, prices: &Prices, range: &Range) -> u64 {
        pages(0, range.unit.max(PAGE)).saturating_mul(self.page_price(prices, range))
    }

    fn learn_sweep(&self, prices: &Prices, range: &Range, slice: Slice, took: u64, lines: u64) {
        let least = prices.least.load(Ordering::Relaxed);
        let found = self.beyond.load(Ordering::Relaxed) + took.saturating_sub(least);
        self.beyond.store(found, Ordering::Relaxed);
        let stride = slice.pages();
        let next = if took > lines {
            stride / 2
        } else if took < lines / 2 {
            stride.saturating_mul(2)
        } else {
            stride
        };
        self.stride.store(next.max(1), Ordering::Relaxed);
        let swept = self.swept.load(Ordering::Relaxed) + (slice.end - slice.start);
        self.swept.store(swept, Ordering::Relaxed);
        // A part of a sweep for what others may have left is enough to see that it was so.
        let slices = self.visits.load(Ordering::Relaxed).saturating_add(1);
        self.visits.store(slices, Ordering::Relaxed);
        let owed = self.swept_for.load(Ordering::Relaxed);
        let all = scale(found, range.pages(), pages(0, swept).max(1));
        if owed > 0 && u64::from(slices) == SLICES && all > lines.saturating_mul(2) {
            self.learn_owed(owed, all);
            self.swept_for.store(0, Ordering::Relaxed);
            self.change_to(LINES);
        } else if swept >= range.end - range.start {
            self.learn_owed(self.swept_for.swap(0, Ordering::Relaxed), found);
            self.change_to(KERNEL);
        }
    }

    fn learn_page(&self, prices: &Prices, range: &Range, sample: u64) {
        let old = self.page_price(prices, range);
        // A slice of which little was tagged makes it look cheap: it falls slowly, and not far.
        let new = if sample > old {
            sample
        } else {
            average(old, sample, 4 * WINDOW).max(first_page_price(prices, range) / 2)
        };
        self.page.store(new.max(1), Ordering::Relaxed);
    }

    fn learn_faults(&self, prices: &Prices, cost: Cost) {
        let Some(faults) = cost.faults else {
            let left = self.until_count.load(Ordering::Relaxed);
            self.until_count
                .store(left.saturating_sub(1), Ordering::Relaxed);
            return;
        };
        // Counted at two calls that follow each other.
        let before = self.faults.load(Ordering::Relaxed);
        let least = prices.least.load(Ordering::Relaxed);
        let beyond = cost.kernel.saturating_sub(least);
        if beyond == 0 {
            // Nothing was cleaned: nothing will fault.
            self.faults.store(0, Ordering::Relaxed);
            self.until_count.store(WINDOW, Ordering::Relaxed);
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

    fn page_price(&self, prices: &Prices, range: &Range) -> u64 {
        match self.page.load(Ordering::Relaxed) {
            0 => first_page_price(prices, range),
            price => price,
        }
    }

    fn pay(&self, prices: &Prices, range: &Range, income: u64, expense: u64) {
        let all = range.pages().saturating_mul(self.page_price(prices, range));
        // A purse that fills for ever would one day pay for a long run of losses.
        let most = prices.of_lines(range.lines()).max(all).saturating_mul(2);
        let purse = self.purse.load(Ordering::Relaxed);
        let filled = purse
            .saturating_add(signed(income / SHARE))
            .min(signed(most).max(purse));
        self.purse
            .store(filled.saturating_sub(signed(expense)), Ordering::Relaxed);
    }

    /// A change that was right pays its price back.
    fn refund(&self, saved: u64) {
        let purse = self.purse.load(Ordering::Relaxed);
        if purse < 0 {
            let purse = purse.saturating_add(signed(saved)).min(0);
            self.purse.store(purse, Ordering::Relaxed);
        }
    }

    fn change_to(&self, side: u8) {
        self.side.store(side, Ordering::Relaxed);
        self.samples.store(0, Ordering::Relaxed);
        self.swept.store(0, Ordering::Relaxed);
        self.seen.store(0, Ordering::Relaxed);
        self.beyond.store(0, Ordering::Relaxed);
        self.forget_slice();
    }

    fn forget_slice(&self) {
        self.visits.store(0, Ordering::Relaxed);
        self.slice_start.store(0, Ordering::Relaxed);
        self.slice_end.store(0, Ordering::Relaxed);
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

/// Price of a tagged page, with its fault, before one was measured.
fn first_page_price(prices: &Prices, range: &Range) -> u64 {
    let call = prices.call.load(Ordering::Relaxed);
    let price = match pages(0, range.unit) {
        0 | 1 => call * PAGE_CALLS,
        unit => call * HUGE_CALLS / unit,
    };
    price.max(1)
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
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
