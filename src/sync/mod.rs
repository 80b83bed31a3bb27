//! What msync, fsync, fdatasync and sync_file_range become.
//!
//! *Plan*: a range is split by mapping. *Choose*: for each part of a sync mapping, the cheapest way
//! that is sufficient. *Carry out*: the parts in order of addresses, and one fence.
//!
//! The ways:
//!
//! - *lines*: write-back of every line of the part, and a fence.
//! - *range*: sync_file_range(2) with its three flags, and a fence. It needs a descriptor: what the
//!   program calls, or for msync the one that the file was mapped from, see [`by_range`].
//! - *kernel*: msync(2), or what was called.
//!
//! # Why the range way is durable
//!
//! With all three flags ksys_sync_file_range (fs/sync.c) starts write-out in WB_SYNC_ALL, and
//! ext4_dax_writepages and xfs_dax_writepages are dax_writeback_mapping_range (fs/dax.c): every DAX
//! entry with a dirty tag in the range is write-protected in all mappings of all processes, and its
//! lines written back by dax_flush: arch_wb_cache_pmem (arch/x86/lib/usercopy_64.c), which is clwb
//! without a fence behind it. What msync does beyond that:
//!
//! - it commits the metadata that leads to the data (ext4_sync_file, xfs_file_fsync): durable since
//!   the tag was set, as it then was synced and cannot change; MAP_SYNC says the same of whatever was
//!   stored through the mapping. Only the time of modification is left, which is not owed.
//! - it flushes the device (REQ_PREFLUSH, nvdimm_flush): a wmb(), which orders the write-backs, and
//!   with flush hints the memory controller's queues, which are inside the persistence domain (ADR).
//!   The first is the fence here: it comes later on the same CPU, or behind the locked instructions
//!   of a migration. The second is `DAXSHIM_DEEP`. A device that needs more than that, as
//!   virtio-pmem does, does not grant MAP_SYNC.
//!
//! So it is taken only for mappings that were granted MAP_SYNC and whose tag was valid.
//!
//! # Entry
//!
//! Every sync of a tagged file comes through [`msync`] or [`of_descriptor`], but for the short ones
//! that [`quick`](crate::sync::quick) does; [`may_be_quick`] says whether it may.

pub mod quick;
pub mod spared;

use crate::check;
use crate::entry::slot::{After, Call, Step};
use crate::ground::descriptors;
use crate::ground::files;
use crate::ground::memory::PAGE;
use crate::ground::page::{self};
use crate::ground::place::{Place, borrow};
use crate::ground::process;
use crate::ground::real::{Errno, is_sealed, sys, sys_of_program};
use crate::mappings::{self, Attributes, Flush, stack_pointer};
use crate::sync::spared::{ByRange, Next, Spared};
use crate::tag::audit::{self};
use crate::tag::subject;
use daxshim_core::choice::{Choice, Cost, Prices, Range};
use daxshim_core::config::{Config, FlushPolicy};
use daxshim_core::contract::Mode;
use daxshim_core::dax;
use daxshim_core::flush::{LINE, WriteBack, fence, lines_in};
use daxshim_core::record::PIECE;
use daxshim_core::regions::Region;
use daxshim_core::report::{self, Kind, Way, ticks};
use libc::{
    MS_ASYNC, MS_INVALIDATE, MS_SYNC, SYNC_FILE_RANGE_WAIT_AFTER, SYNC_FILE_RANGE_WAIT_BEFORE,
    SYNC_FILE_RANGE_WRITE,
};

/// What a call asks for, once it is known to be valid.
struct Request {
    start: usize,
    end: usize,
    flags: i32,
}

/// A part of a range.
#[derive(Clone, Copy)]
struct Part {
    end: usize,
    how: How,
}

/// How a part can be synced.
#[derive(Clone, Copy)]
enum How {
    /// Any way: lines by this instruction.
    Any(WriteBack, Region),
    /// The kernel's msync, on a tagged file.
    Kernel,
    /// The kernel's msync, on whatever else is there.
    Untagged,
}

impl How {
    fn is_any(self) -> bool {
        matches!(self, How::Any(..))
    }
}

/// What a range consists of.
struct Plan {
    /// Whether any of it can be flushed from user space.
    flushable: bool,
    /// Whether there is any tagged file in it.
    tagged: bool,
}

/// What was done.
#[derive(Clone, Copy, Default)]
struct Done {
    lines: u64,
    by_lines: bool,
    by_range: bool,
    by_kernel: bool,
}

impl Done {
    fn way(self) -> Way {
        match (self.by_lines, self.by_range, self.by_kernel) {
            (true, false, false) => Way::User,
            (false, true, false) => Way::Range,
            (true, ..) => Way::Mixed,
            (false, ..) => Way::Kernel,
        }
    }
}

impl Request {
    /// `None`: the kernel refuses it, or owes nothing for it.
    fn of(call: &Call) -> Option<Request> {
        let [start, length, flags, ..] = call.args;
        let flags = flags as i32;
        if flags & !MS_INVALIDATE != MS_SYNC || start % PAGE != 0 || length == 0 {
            return None;
        }
        let end = start.checked_add(length)?.checked_add(PAGE - 1)? & !(PAGE - 1);
        Some(Request { start, end, flags })
    }

    /// The part that begins at `cursor`.
    fn part(&self, flush: &Flush, cursor: usize) -> Part {
        let kernel_until = |end: usize, how| Part {
            end: end.min(self.end),
            how,
        };
        match flush.at_or_after(cursor) {
            None => kernel_until(self.end, How::Untagged),
            Some(region) if region.start > cursor => kernel_until(region.start, How::Untagged),
            Some(region) => match write_back(region, self.flags) {
                // Behind the end of the file a line would be SIGBUS.
                Some(how) if cursor < region.data_end => Part {
                    end: region.end.min(region.data_end).min(self.end),
                    how: How::Any(how, region),
                },
                _ => kernel_until(region.end, How::Kernel),
            },
        }
    }

    fn plan(&self, flush: &Flush) -> Plan {
        let mut plan = Plan {
            flushable: false,
            tagged: false,
        };
        let mut cursor = self.start;
        while cursor < self.end {
            let part = self.part(flush, cursor);
            plan.flushable |= part.how.is_any();
            plan.tagged |= !matches!(part.how, How::Untagged);
            if plan.flushable {
                break;
            }
            cursor = part.end;
        }
        plan
    }

    fn bytes(&self) -> u64 {
        (self.end - self.start) as u64
    }

    /// The kernel's msync of a part, with its errors.
    fn kernel(&self, start: usize, end: usize) -> Result<(), Errno> {
        // Only a range of bytes begins within a page.
        let start = start & !(PAGE - 1);
        // SAFETY: msync changes no memory; the kernel checks the range.
        unsafe { sys_of_program!(SYS_msync, start, end - start, self.flags) }.map(|_| ())
    }

    /// A part in a sync mapping.
    fn sync(&self, part: &Flushable, flush: &Flush, done: &mut Done) -> Result<(), Errno> {
        part.sync(flush, done, &|start, end, done| {
            if part.by_range(start, end).is_some() {
                done.by_range = true;
                return Ok(());
            }
            done.by_kernel = true;
            self.kernel(start, end)
        })
    }

    /// Does it all, as the kernel would: in order of addresses; a hole is remembered, and the rest
    /// synced all the same; any other error ends it.
    fn carry_out(&self, flush: &Flush) -> (Done, Result<(), Errno>) {
        let mut outcome = Ok(());
        let mut done = Done::default();
        let (mut part, mut cursor) = (self.part(flush, self.start), self.start);
        loop {
            let mut next = None;
            let result = if let How::Any(how, region) = part.how {
                let part = Flushable {
                    start: cursor,
                    end: part.end,
                    how,
                    region,
                };
                self.sync(&part, flush, &mut done)
            } else {
                done.by_kernel = true;
                // Parts of the kernel's that follow each other are one call.
                while part.end < self.end {
                    let behind = self.part(flush, part.end);
                    if behind.how.is_any() {
                        next = Some(behind);
                        break;
                    }
                    part.end = behind.end;
                }
                self.kernel(cursor, part.end)
            };
            match result {
                Err(libc::ENOMEM) => outcome = Err(libc::ENOMEM),
                Err(errno) => {
                    outcome = Err(errno);
                    break;
                }
                Ok(()) => {}
            }
            cursor = part.end;
            if cursor >= self.end {
                break;
            }
            part = next.unwrap_or_else(|| self.part(flush, cursor));
        }
        if !is_skipped() {
            fence();
            if process::config().deep {
                done.by_kernel = true;
                outcome = outcome.and(self.kernel(self.start, self.end));
            }
        }
        (done, outcome)
    }
}

/// How lines of a region are written back, if they may be.
fn write_back(region: Region, flags: i32) -> Option<WriteBack> {
    let attributes = Attributes::of(region);
    let kind = attributes.kind();
    // MS_INVALIDATE on a locked page-cache mapping is EBUSY, which only the kernel knows.
    let flushable = kind.is_sync() && (kind == Kind::Sync || flags & MS_INVALIDATE == 0);
    flushable.then(|| {
        if attributes.is_eadr() {
            WriteBack::Nothing
        } else {
            process::write_back()
        }
    })
}

/// `DAXSHIM_FLUSH=none`.
fn is_skipped() -> bool {
    process::config().flush == FlushPolicy::None
}

static PRICES: Prices = Prices::new();

/// Ranges of fewer bytes do not ask how many pages user flushes have left tagged: at worst all of
/// theirs, which the kernel cleans in a millisecond.
const UNCOUNTED: usize = 1 << 20;

/// Bytes of a huge page.
const HUGE: usize = 2 << 20;

/// Part of a sync mapping, before the end of the file.
struct Flushable {
    start: usize,
    end: usize,
    how: WriteBack,
    region: Region,
}

/// The kernel's way, from address to address: what was called, or the range way; it says which.
type Kernel<'a> = &'a dyn Fn(usize, usize, &mut Done) -> Result<(), Errno>;

impl Flushable {
    /// Syncs it; the fence is the caller's.
    fn sync(&self, flush: &Flush, done: &mut Done, kernel: Kernel) -> Result<(), Errno> {
        if self.is_learnt() {
            if is_sealed() {
                // What is cheaper can't be measured.
                return kernel(self.start & !(PAGE - 1), self.end, done);
            }
            return self.learnt(flush, done, kernel);
        }
        self.lines(flush, done);
        Ok(())
    }

    fn is_learnt(&self) -> bool {
        process::config().flush == FlushPolicy::Auto
            && self.end - self.start > quick::LIMIT
            && self.how != WriteBack::Nothing
    }

    fn lines(&self, flush: &Flush, done: &mut Done) {
        self.lines_between(self.start, self.end, flush, done);
    }

    fn lines_between(&self, start: usize, end: usize, flush: &Flush, done: &mut Done) {
        done.by_lines = true;
        if is_skipped() || self.how == WriteBack::Nothing {
            return;
        }
        for from in (start..end).step_by(PIECE) {
            let to = from.saturating_add(PIECE).min(end);
            // SAFETY: mapped, readable, before the end of the file; and it stays so while `flush`
            // lives.
            unsafe { self.how.lines(from, to) };
            flush.count((to - from).div_ceil(PAGE));
        }
        done.lines += lines_in(start, end);
    }

    /// Lets the thread's next msyncs of as many bytes go to the kernel at once, if that is where they
    /// would go anyway: the range way, or by [`quick`](crate::sync::quick).
    fn spare_next(&self, flush: &Flush, spared: Option<&Spared>) {
        let Some(spared) = spared.filter(|_| self.is_learnt()) else {
            return;
        };
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
        } else if is_known() {
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
    fn by_range(&self, start: usize, end: usize) -> Option<()> {
        let file = Attributes::of(self.region).file();
        let fd = file.file().descriptor();
        by_range(
            file,
            fd,
            start.wrapping_sub(self.region.origin),
            end - start,
        )
    }

    fn flushed(&self) -> u64 {
        if self.end - self.start < UNCOUNTED {
            0
        } else {
            mappings::pages_flushed()
        }
    }

    /// By whichever way is cheaper, see [`daxshim_core::choice`].
    #[inline(never)]
    fn learnt(&self, flush: &Flush, done: &mut Done, kernel: Kernel) -> Result<(), Errno> {
        let attributes = Attributes::of(self.region);
        let file = attributes.file().file();
        let learner = file.learner(self.end - self.start);
        if !PRICES.are_known() {
            self.calibrate(kernel);
        }
        // A range of bytes may begin and end within pages, which are mapped in whole.
        let range = Range {
            start: self.start & !(PAGE - 1),
            end: mappings::page_end(0, self.end),
            lines_in_page: (PAGE / LINE) as u64,
            unit: if attributes.is_huge() { HUGE } else { PAGE },
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
            outcome = kernel(start, end, done);
            cost.kernel = ticks().wrapping_sub(before);
        }
        if choice == Choice::Lines {
            let before = ticks();
            self.lines(flush, done);
            cost.lines = ticks().wrapping_sub(before);
        } else {
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

    /// What lines and system calls cost here. By the kernel's syncs the first page becomes clean.
    #[cold]
    fn calibrate(&self, kernel: Kernel) {
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
            let _ = kernel(page, page + PAGE, &mut Done::default());
            *asked = ticks().wrapping_sub(synced);
        }
        let [lines, msync, asked] = took;
        PRICES.calibrate(lines_in(self.start, end), lines, msync, asked);
    }
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
fn by_range(index: files::Index, fd: i32, offset: usize, length: usize) -> Option<()> {
    let generation = index.file().generation();
    if !dax::is_proof(generation, generation) {
        return None;
    }
    let before = descriptors::mapped(fd).filter(|before| before.file == index)?;
    sync_file_range(fd, offset, length).ok()?;
    let now = borrow(fd).and_then(dax::generation);
    (dax::is_proof(generation, now) && descriptors::mapped(fd) == Some(before)).then_some(())
}

/// sync_file_range(2), all flags.
fn sync_file_range(fd: i32, offset: usize, length: usize) -> Result<(), Errno> {
    // SAFETY: takes no pointer.
    unsafe { sys!(SYS_sync_file_range, fd, offset, length, ALL) }.map(|_| ())
}

const ALL: u32 = SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER;

/// Page faults of the process so far, getrusage(2).
fn faults() -> u64 {
    let mut usage = core::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: the kernel fills it in, or leaves it zeroed.
    let usage = unsafe {
        let _ = sys!(SYS_getrusage, libc::RUSAGE_SELF, usage.as_mut_ptr());
        usage.assume_init()
    };
    usage.ru_minflt as u64
}

/// Whether msync of a short range is nothing but lines and a fence: see [`quick`](crate::sync::quick).
pub fn may_be_quick(config: &Config, is_counted: bool) -> bool {
    matches!(config.flush, FlushPolicy::Auto | FlushPolicy::User)
        && config.policy.mode == Mode::Enforce
        && !config.deep
        && !is_counted
        && process::write_back() == WriteBack::Clwb
}

/// Whether the kernel would do nothing for it but find it right: an msync of no bytes, or one that is not
/// MS_SYNC and of what is recorded from end to end (msync(2) in mm/msync.c).
fn owes_nothing(call: &Call) -> bool {
    let [start, length, flags, ..] = call.args;
    let flags = flags as i32;
    let known = MS_ASYNC | MS_INVALIDATE | MS_SYNC;
    if flags & !known != 0 || flags & MS_ASYNC != 0 && flags & MS_SYNC != 0 || start % PAGE != 0 {
        return false;
    }
    let is_idle = length == 0 || flags & (MS_SYNC | MS_INVALIDATE) == 0;
    let end = start
        .checked_add(length)
        .filter(|end| *end <= usize::MAX - PAGE);
    is_idle && end.is_some_and(|end| mappings::is_covered(start, mappings::page_end(end, 0)))
}

/// A published flush. `None`: there is no place, or what was let through has made the record worthless.
#[inline]
fn publish(frame: usize) -> Option<Flush> {
    if audit::was_let_through() {
        return None;
    }
    Flush::publish(frame)
}

/// msync(2).
pub fn msync(call: &mut Call) -> Step {
    let started = begin();
    let Some(request) = Request::of(call) else {
        return if owes_nothing(call) {
            Step::answer_cancellable(0)
        } else {
            Step::PASS
        };
    };
    check::sync_begins(request.start, request.end);
    let Some(flush) = publish(call.frame()) else {
        return match mappings::first_in(request.start, request.end - request.start) {
            Ok(None) => Step::PASS,
            _ => measured(call, after_msync),
        };
    };
    let spared = Spared::of(&flush);
    if spared.is_some_and(|spared| is_spared(&request, spared)) {
        drop(flush);
        fence();
        let done = Done {
            by_range: true,
            ..Done::default()
        };
        return finish(report::Call::Msync, done, request.bytes(), started, Ok(()));
    }
    let config = process::config();
    let first = request.part(&flush, request.start);
    if let How::Any(how, region) = first.how
        && first.end == request.end
        && config.flush != FlushPolicy::Kernel
        && !config.deep
    {
        // Nearly all calls are of this kind.
        let part = Flushable {
            start: request.start,
            end: request.end,
            how,
            region,
        };
        let mut done = Done::default();
        let outcome = request.sync(&part, &flush, &mut done);
        part.spare_next(&flush, spared);
        if !is_skipped() {
            fence();
        }
        drop(flush);
        if outcome.is_err() {
            check::sync_failed(request.start, request.end);
        }
        return finish(report::Call::Msync, done, request.bytes(), started, outcome);
    }
    let plan = request.plan(&flush);
    if !plan.tagged {
        return Step::PASS;
    }
    if !plan.flushable || config.flush == FlushPolicy::Kernel {
        return measured(call, after_msync);
    }
    let (done, outcome) = request.carry_out(&flush);
    drop(flush);
    if outcome.is_err() {
        check::sync_failed(request.start, request.end);
    }
    finish(report::Call::Msync, done, request.bytes(), started, outcome)
}

/// Syncs a range the range way, if that was said of the next few.
#[inline]
fn is_spared(request: &Request, spared: &Spared) -> bool {
    spared
        .range(request.start, request.end)
        .is_some_and(|range| spare_by_range(request, spared, &range))
}

#[inline(never)]
fn spare_by_range(request: &Request, spared: &Spared, range: &ByRange) -> bool {
    let before = ticks();
    let done = by_range(
        range.file,
        range.file.file().descriptor(),
        range.offset,
        request.end - request.start,
    );
    if done.is_none() || ticks().wrapping_sub(before) > range.most {
        spared.end();
    }
    done.is_some()
}

/// Counts what was done, and answers.
fn finish(
    call: report::Call,
    done: Done,
    bytes: u64,
    started: u64,
    outcome: Result<(), Errno>,
) -> Step {
    tell(call, done, bytes, started, outcome.is_err());
    match outcome {
        Ok(()) => Step::answer_cancellable(0),
        Err(errno) => Step::fail(errno),
    }
}

fn tell(call: report::Call, done: Done, bytes: u64, started: u64, failed: bool) {
    if let Some(page) = page::page() {
        let elapsed = ticks().wrapping_sub(started);
        let way = if is_skipped() && !done.by_kernel {
            Way::Skipped
        } else {
            done.way()
        };
        page.synced(call, way, bytes, done.lines, elapsed, failed);
    }
}

/// As msync(2) with MS_SYNC, for a range of bytes: of sync mappings just its lines are written back.
/// Counted as msync; no cancellation point.
pub fn persist(start: usize, length: usize) -> Result<(), Errno> {
    // As few instructions as for msync: see [`quick`](crate::sync::quick).
    if (1..=quick::LIMIT).contains(&length)
        && let Some(end) = start.checked_add(length)
        && !check::on()
        && may_be_quick(process::config(), page::page().is_some())
        && let Some(flush) = Flush::publish_remembered(stack_pointer())
        && flush.is_plain(start, end)
    {
        // SAFETY: mapped, readable, before the end of the file; and it stays so while `flush`
        // lives.
        unsafe { process::write_back().lines(start, end) };
        flush.count((end - 1) / PAGE - start / PAGE + 1);
        fence();
        return Ok(());
    }
    persist_by_parts(start, length)
}

/// In a frame of its own, which the short way does without.
#[inline(never)]
fn persist_by_parts(start: usize, length: usize) -> Result<(), Errno> {
    let started = begin();
    let end = start.checked_add(length).ok_or(libc::ENOMEM)?;
    if length == 0 {
        return Ok(());
    }
    let request = Request {
        start,
        end,
        flags: MS_SYNC,
    };
    let behind = end.checked_next_multiple_of(LINE).unwrap_or(usize::MAX);
    check::sync_begins(start & !(LINE - 1), behind);
    let flush = publish(stack_pointer());
    let plan = flush.as_ref().map(|flush| request.plan(flush));
    let is_tagged = plan.as_ref().is_none_or(|plan| plan.tagged);
    let by_parts =
        plan.is_some_and(|plan| plan.flushable) && process::config().flush != FlushPolicy::Kernel;
    let (done, outcome) = match flush.filter(|_| by_parts) {
        Some(flush) => request.carry_out(&flush),
        None => {
            let done = Done {
                by_kernel: true,
                ..Done::default()
            };
            (done, request.kernel(start, end))
        }
    };
    if is_tagged {
        tell(
            report::Call::Msync,
            done,
            request.bytes(),
            started,
            outcome.is_err(),
        );
    }
    outcome
}

/// fsync(2), fdatasync(2), and sync_file_range(2) with all its flags: of a file whose every page is
/// in a sync mapping of this process the lines, where that is cheaper, which write back what other
/// processes have stored too; or else the range way, if it has a sync mapping at all.
pub fn of_descriptor(call: &mut Call, kind: report::Call, after: After) -> Step {
    let started = begin();
    let [fd, ..] = call.args;
    let fd = fd as i32;
    if kind == report::Call::SyncFileRange {
        check::file_range_sync_begins(call.args, ALL);
    } else {
        check::file_sync_begins(fd);
    }
    if fd < 0 || descriptors::is_untagged(fd) {
        return Step::PASS;
    }
    if page::page().is_none() && Spared::of_thread().is_some_and(|spared| spared.call(fd)) {
        return Step::PASS;
    }
    if let Some(step) = whole_file(call, kind, fd, started) {
        return step;
    }
    // Without a report there is nothing to do for which a tag would have to be looked up.
    if page::page().is_none() {
        return Step::PASS;
    }
    match subject::is_tagged(fd) {
        true => measured(call, after),
        false => Step::PASS,
    }
}

/// `None`: the kernel's, as called.
fn whole_file(call: &Call, kind: report::Call, fd: i32, started: u64) -> Option<Step> {
    let config = process::config();
    if mappings::is_empty() || config.flush == FlushPolicy::Kernel || config.deep {
        return None;
    }
    let known = descriptors::mapped(fd).map(|known| known.file);
    let mut stat = None;
    let index = match known {
        Some(index) => index,
        None => {
            let now = Place::Descriptor(fd).stat().ok()?;
            stat = Some(now);
            files::find(now.st_dev, now.st_ino)?
        }
    };
    let start = index.file().whole()?;
    let flush = publish(call.frame())?;
    let sequence = mappings::RECORD.regions.sequence();
    // What is mapped of the file at this moment may be another part, or another file.
    let region = flush.at_or_after(start)?;
    let of_file = |region: &Region| {
        let attributes = Attributes::of(*region);
        attributes.file() == index && region.origin == start
    };
    if !of_file(&region) || !Attributes::of(region).kind().is_sync() {
        return None;
    }
    // Of a descriptor that is thought to be known too: it may have been closed unseen.
    let stat = match stat {
        Some(stat) => stat,
        None => Place::Descriptor(fd).stat().ok()?,
    };
    if !index.file().is(stat.st_dev, stat.st_ino) {
        return None;
    }
    let size = usize::try_from(stat.st_size).ok()?;
    let end = mappings::page_end(start, size);
    let (first, last) = span(call, kind, start, end)?;
    let by_kernel = |start: usize, end: usize, done: &mut Done| {
        done.by_range = true;
        let offset = start.wrapping_sub(region.origin);
        sync_file_range(fd, offset, end - start)
    };
    let mut done = Done::default();
    let covering = covering(&flush, first, last, &of_file)
        .filter(|_| flush.reach(first, last, sequence).is_some());
    let outcome = match covering {
        Some(how) => {
            let part = Flushable {
                start: first,
                end: last,
                how,
                region,
            };
            let outcome = part.sync(&flush, &mut done, &by_kernel);
            if part.is_learnt()
                && let Some(spared) = Spared::of(&flush)
            {
                let learner = index.file().learner(last - first);
                spared.let_calls(learner.blind_passes(), fd);
            }
            outcome
        }
        None if is_skipped() => return None,
        None => by_kernel(first, last, &mut done),
    };
    drop(flush);
    // What the range way can't do (a filter that forbids it, an error of the device) is told by the
    // call itself; so is EBADF on O_PATH, where lines do no harm.
    // From which no mapping is made.
    let may_be_path_only = || known.is_none() && Place::Descriptor(fd).is_path_only();
    if outcome.is_err() || done.by_lines && may_be_path_only() {
        return None;
    }
    if !is_skipped() {
        fence();
    }
    Some(finish(kind, done, 0, started, Ok(())))
}

/// The addresses that a call is about, if the file is mapped at `[start, end)`. `None` if it is not
/// for us to answer.
fn span(call: &Call, kind: report::Call, start: usize, end: usize) -> Option<(usize, usize)> {
    if kind != report::Call::SyncFileRange {
        return (start < end).then_some((start, end));
    }
    let [_, offset, length, flags, ..] = call.args;
    if flags as u32 != ALL {
        return None;
    }
    // Offsets are signed; the kernel tells what is wrong with these.
    let in_file = |offset: usize| offset <= isize::MAX as usize;
    if !in_file(offset) || !in_file(length) {
        return None;
    }
    let behind = match length {
        0 => end - start,
        length => offset.checked_add(length)?.min(end - start),
    };
    let first = start.checked_add(offset & !(PAGE - 1))?;
    let last = mappings::page_end(start, behind).min(end);
    (in_file(offset.wrapping_add(length)) && first < last).then_some((first, last))
}

/// How the lines of `[first, last)` are written back, if all of it is in sync mappings of the file,
/// each page where it would be were the file mapped in one piece.
fn covering(
    flush: &Flush,
    first: usize,
    last: usize,
    of_file: &dyn Fn(&Region) -> bool,
) -> Option<WriteBack> {
    let mut found = None;
    let mut cursor = first;
    while cursor < last {
        let region = flush.at_or_after(cursor)?;
        let holds = region.start <= cursor && cursor < region.data_end && of_file(&region);
        found = Some(write_back(region, MS_SYNC).filter(|_| holds)?);
        cursor = region.end.min(region.data_end);
    }
    found
}

/// The time, where a report wants it.
fn begin() -> u64 {
    if page::page().is_some() { ticks() } else { 0 }
}

/// The kernel's way, counted if there is a report.
fn measured(call: &mut Call, after: After) -> Step {
    if page::page().is_none() {
        return Step::PASS;
    }
    call.note = ticks() as usize;
    call.then(after)
}

fn count(call: &Call, kind: report::Call, bytes: u64, result: isize) -> isize {
    if let Some(page) = page::page() {
        let elapsed = ticks().wrapping_sub(call.note as u64);
        // int in the low half of the register.
        let failed = result as i32 == -1;
        page.synced(kind, Way::Kernel, bytes, 0, elapsed, failed);
    }
    result
}

extern "C" fn after_msync(call: &Call, result: isize) -> isize {
    let request = Request::of(call);
    if let Some(request) = request.as_ref().filter(|_| result as i32 == -1) {
        check::sync_failed(request.start, request.end);
    }
    let bytes = request.map_or(0, |request| request.bytes());
    count(call, report::Call::Msync, bytes, result)
}

/// After fsync.
pub extern "C" fn after_fsync(call: &Call, result: isize) -> isize {
    count(call, report::Call::Fsync, 0, result)
}

/// After fdatasync.
pub extern "C" fn after_fdatasync(call: &Call, result: isize) -> isize {
    count(call, report::Call::Fdatasync, 0, result)
}

/// After sync_file_range.
pub extern "C" fn after_sync_file_range(call: &Call, result: isize) -> isize {
    count(call, report::Call::SyncFileRange, 0, result)
}
