//! One part of a sync: the cheapest way that is sufficient, and what is learnt of it.

use super::done::{Done, is_skipped};
use super::quick;
use crate::ground::descriptors;
use crate::ground::files;
use crate::ground::memory::{HUGE, PAGE};
use crate::ground::page::event;
use crate::ground::place::is_still;
use crate::ground::process;
use crate::ground::real::{Errno, is_sealed, sys};
use crate::ground::thread::is_alone;
use crate::mappings::{self, Attributes, Flush};
use crate::sync::spared::{Next, Spared};
use daxshim_core::choice::{Choice, Cost, PATIENCE, Prices, Range};
use daxshim_core::config::FlushPolicy;
use daxshim_core::dax;
use daxshim_core::flush::{LINE, WriteBack, lines_in};
use daxshim_core::record::PIECE;
use daxshim_core::regions::Region;
use daxshim_core::report::{Event, ticks};
use libc::{
    MS_SYNC, SYNC_FILE_RANGE_WAIT_AFTER, SYNC_FILE_RANGE_WAIT_BEFORE, SYNC_FILE_RANGE_WRITE,
};

static PRICES: Prices = Prices::new();

/// Ranges of fewer bytes do not ask how many pages user flushes have left tagged: at worst all of
/// theirs, which the kernel cleans in a millisecond.
const UNCOUNTED: usize = 1 << 20;

/// Part of a sync mapping, before the end of the file.
pub(super) struct Flushable {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) how: WriteBack,
    pub(super) region: Region,
}

/// The kernel's way.
pub(super) struct Kernel<'a> {
    /// From address to address: what was called, or the range way; it says which.
    pub(super) sync: &'a dyn Fn(usize, usize, &mut Done) -> Result<(), Errno>,
    /// Whether it leaves no more to chance for a part than for all.
    pub(super) is_as_safe_in_part: bool,
}

impl Flushable {
    /// Syncs it; the fence is the caller's.
    pub(super) fn sync(
        &self,
        flush: &Flush,
        done: &mut Done,
        kernel: &Kernel,
    ) -> Result<(), Errno> {
        if self.is_learnt() {
            if is_sealed() {
                // What is cheaper can't be measured.
                if !is_alone() {
                    event(Event::Contended);
                }
                return (kernel.sync)(self.start & !(PAGE - 1), self.end, done);
            }
            return self.learnt(flush, done, kernel);
        }
        self.lines(flush, done);
        Ok(())
    }

    pub(super) fn is_learnt(&self) -> bool {
        process::config().flush == FlushPolicy::Auto
            && self.end - self.start > quick::LIMIT
            && self.how != WriteBack::Nothing
    }

    pub(super) fn lines(&self, flush: &Flush, done: &mut Done) {
        self.lines_between(self.start, self.end, flush, done);
    }

    fn lines_between(&self, start: usize, end: usize, flush: &Flush, done: &mut Done) {
        done.by_lines = true;
        if is_skipped() || self.how == WriteBack::Nothing {
            return;
        }
        let mut from = start;
        while from < end {
            let to = end.min(from.saturating_add(PIECE));
            // SAFETY: mapped, readable, before the end of the file; and it stays so while `flush`
            // lives.
            unsafe { self.how.lines(from, to) };
            flush.count((to - from).div_ceil(PAGE));
            from = to;
        }
        done.lines += lines_in(start, end);
    }

    /// Lets the thread's next msyncs of as many bytes go to the kernel at once, if that is where they
    /// would go anyway: the range way, or by [`quick`](crate::sync::quick).
    #[inline]
    pub(super) fn spare_next(&self, flush: &Flush, spared: Option<&Spared>) {
        if let Some(spared) = spared
            && self.is_learnt()
        {
            self.spare_learnt(flush, spared);
        }
    }

    fn spare_learnt(&self, flush: &Flush, spared: &Spared) {
        let length = self.end - self.start;
        let file = Attributes::of(self.region).file();
        let learner = file.file().learner(length);
        let count = learner.passes();
        let is_known = || {
            let known = descriptors::mapped(file.file().descriptor());
            known.is_some_and(|known| known.file == file)
        };
        let next = if count == 0 {
            Next::Measured
        } else if is_alone() && is_known() {
            Next::ByRange {
                count,
                most: learner.pass_ticks(&PRICES),
                region: self.region,
                sequence: flush.sequence(),
                file,
            }
        } else {
            Next::ToKernel(learner.blind_passes())
        };
        spared.next(length, next);
    }

    /// The range way by a descriptor of the program's.
    pub(super) fn by_range(&self, start: usize, end: usize) -> Option<()> {
        let file = Attributes::of(self.region).file();
        let fd = file.file().descriptor();
        by_range(
            file,
            fd,
            start.wrapping_sub(self.region.origin),
            end - start,
        )
    }

    pub(super) fn flushed(&self) -> u64 {
        if self.end - self.start < UNCOUNTED {
            0
        } else {
            mappings::pages_flushed()
        }
    }

    /// By whichever way is cheaper, see [`daxshim_core::choice`].
    ///
    /// Where others may sync or fault at the same pages, what the kernel did may not be durable when it
    /// answers (docs/kernel-race.md). There lines are taken if they cost at most twice as much; and what went
    /// to the kernel all the same is followed by its lines, if these cost no more than it took.
    #[inline(never)]
    pub(super) fn learnt(
        &self,
        flush: &Flush,
        done: &mut Done,
        kernel: &Kernel,
    ) -> Result<(), Errno> {
        let is_alone = is_alone();
        let attributes = Attributes::of(self.region);
        let file = attributes.file().file();
        let learner = file.learner(self.end - self.start);
        if !PRICES.are_known() {
            self.calibrate(&|start, end| (kernel.sync)(start, end, &mut Done::default()));
        }
        // A range of bytes may begin and end within pages, which are mapped in whole.
        let range = Range {
            start: self.start & !(PAGE - 1),
            end: mappings::page_end(0, self.end),
            lines_in_page: (PAGE / LINE) as u64,
            unit: if attributes.is_huge() { HUGE } else { PAGE },
            patience: if is_alone { 1 } else { PATIENCE },
        };
        let flushed = self.flushed();
        let choice = learner.choose(&PRICES, &range, flushed);
        let mut cost = Cost::default();
        let mut outcome = Ok(());
        let (start, end) = match choice {
            Choice::Lines => (self.end, self.end),
            Choice::Kernel => {
                cost.faults = learner.wants_faults().then(faults);
                (range.start, range.end)
            }
            Choice::Sweep(slice) => (slice.start, slice.end),
        };
        if start < end {
            let before = ticks();
            outcome = (kernel.sync)(start, end, done);
            cost.kernel = ticks().wrapping_sub(before);
        }
        let is_followed = match choice {
            Choice::Lines => false,
            Choice::Kernel => !is_alone && is_cheaper_than(range.lines(), cost.kernel),
            Choice::Sweep(_) => !is_alone || !kernel.is_as_safe_in_part,
        };
        if choice == Choice::Lines {
            let before = ticks();
            self.lines(flush, done);
            cost.lines = ticks().wrapping_sub(before);
        } else if is_followed {
            self.lines(flush, done);
        } else {
            if !is_alone {
                event(Event::Contended);
            }
            if self.start < start {
                self.lines_between(self.start, start, flush, done);
            }
            if end < self.end {
                self.lines_between(end, self.end, flush, done);
            }
        }
        learner.learn(&PRICES, &range, choice, cost, flushed);
        outcome
    }

    /// As [`calibrate`](Flushable::calibrate), if that is owed and can be done here.
    pub(super) fn calibrate_by(&self, kernel: &dyn Fn(usize, usize) -> Result<(), Errno>) {
        if self.is_learnt() && !PRICES.are_known() {
            self.calibrate(kernel);
        }
    }

    /// Measures what lines and system calls cost here. Its syncs by the kernel clean the first page.
    #[cold]
    fn calibrate(&self, kernel: &dyn Fn(usize, usize) -> Result<(), Errno>) {
        let page = self.start & !(PAGE - 1);
        let end = self.start + quick::LIMIT;
        let mut took = [0; 3];
        for _ in 0..2 {
            let [lines, msync, asked] = &mut took;
            let started = ticks();
            // SAFETY: as in `lines`; the part is longer than that.
            unsafe { self.how.lines(self.start, end) };
            let flushed = ticks();
            // SAFETY: msync changes no memory.
            let _ = unsafe { sys!(SYS_msync, page, PAGE, MS_SYNC) };
            let synced = ticks();
            *lines = flushed.wrapping_sub(started);
            *msync = synced.wrapping_sub(flushed);
            let _ = kernel(page, page + PAGE);
            *asked = ticks().wrapping_sub(synced);
        }
        let [lines, msync, asked] = took;
        PRICES.calibrate(lines_in(self.start, end), lines, msync, asked);
    }
}

/// Whether so many lines cost less than so many ticks.
pub(super) fn is_cheaper_than(lines: u64, took: u64) -> bool {
    lines <= (quick::LIMIT / LINE) as u64 || PRICES.are_known() && PRICES.of_lines(lines) <= took
}

/// The range way by a descriptor of which a sync mapping of the file was made. `None` if it can't be
/// proven that it was the file's: that must then be synced otherwise.
///
/// The program may close its descriptor unseen (by an inline system call, or io_uring), and the number
/// may be another file's by then, so the inode's generation is asked for: *after* the sync, as what is
/// the file's then was so before, unless it was closed and opened again in between, which changes the
/// descriptor's entry. fstat(2) would cost more than the range way saves (1,180 instructions, and
/// FS_IOC_GETVERSION 640). The generation is a random number of 32 bits on ext4 and XFS; where a file
/// has a small one, which may be a counter's or an image maker's, this is not done. So a sync is lost
/// only if a close went past all hooks, *and* the number was handed out again, *and* that file has by
/// chance (1 in 2^32) the same generation, or while the sync lasts gives way to the mapped file, unseen
/// again.
pub(super) fn by_range(index: files::Index, fd: i32, offset: usize, length: usize) -> Option<()> {
    let generation = index.file().generation();
    if !dax::is_proof(generation, generation) {
        return None;
    }
    let before = descriptors::mapped(fd).filter(|before| before.file == index)?;
    sync_file_range(fd, offset, length).ok()?;
    is_still(fd, before, generation).then_some(())
}

/// sync_file_range(2), all flags.
pub(super) fn sync_file_range(fd: i32, offset: usize, length: usize) -> Result<(), Errno> {
    // SAFETY: takes no pointer.
    unsafe { sys!(SYS_sync_file_range, fd, offset, length, ALL) }.map(|_| ())
}

pub(super) const ALL: u32 =
    SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER;

/// Page faults of the process so far, getrusage(2).
pub(super) fn faults() -> u64 {
    let mut usage = core::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: the kernel fills it in, or leaves it zeroed.
    let usage = unsafe {
        let _ = sys!(SYS_getrusage, libc::RUSAGE_SELF, usage.as_mut_ptr());
        usage.assume_init()
    };
    usage.ru_minflt as u64
}
