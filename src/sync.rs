//! What msync, fsync and fdatasync become.
//!
//! *Plan*: a range is split by mapping. *Choose*: user flush or kernel. *Carry out*: the lines of
//! the flushable parts, one fence, and the kernel's msync for the rest.

use crate::mappings::{Attributes, Flush};
use crate::memory::PAGE;
use crate::process;
use crate::real::{Errno, sys};
use crate::trampoline::{After, Call, Step};
use daxshim_core::config::{Config, FlushPolicy};
use daxshim_core::flush::{WriteBack, fence, lines_in};
use daxshim_core::regions::Region;
use daxshim_core::report::{self, Kind, Way, ticks};
use libc::{MS_INVALIDATE, MS_SYNC};

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

/// How a part is synced.
#[derive(Clone, Copy, PartialEq, Eq)]
enum How {
    /// Lines written back.
    User(WriteBack),
    /// The kernel's msync, on a tagged file.
    Kernel,
    /// The kernel's msync, on whatever else is there.
    Untagged,
}

impl How {
    fn is_user(self) -> bool {
        matches!(self, How::User(_))
    }
}

/// What a range consists of.
struct Plan {
    /// Bytes that can be flushed from user space.
    flushable: usize,
    /// Whether there is any tagged file in it.
    tagged: bool,
}

impl Request {
    /// `None`: the kernel refuses it, or owes nothing for it.
    #[inline]
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
            Some(region) => match self.write_back(region) {
                // Behind the end of the file a line would be SIGBUS.
                Some(how) if cursor < region.data_end => Part {
                    end: region.end.min(region.data_end).min(self.end),
                    how: How::User(how),
                },
                _ => kernel_until(region.end, How::Kernel),
            },
        }
    }

    fn write_back(&self, region: Region) -> Option<WriteBack> {
        let attributes = Attributes::of(region);
        let kind = attributes.kind();
        // MS_INVALIDATE on a locked page-cache mapping is EBUSY, which only the kernel knows.
        let flushable = kind.is_sync() && (kind == Kind::Sync || self.flags & MS_INVALIDATE == 0);
        flushable.then(|| {
            if attributes.is_eadr() {
                WriteBack::Nothing
            } else {
                process::write_back()
            }
        })
    }

    fn plan(&self, flush: &Flush) -> Plan {
        let (mut part, mut cursor) = (self.part(flush, self.start), self.start);
        let mut plan = Plan {
            flushable: 0,
            tagged: false,
        };
        loop {
            if part.how.is_user() {
                plan.flushable += part.end - cursor;
            }
            plan.tagged |= part.how != How::Untagged;
            cursor = part.end;
            if cursor >= self.end {
                return plan;
            }
            part = self.part(flush, cursor);
        }
    }

    fn bytes(&self) -> u64 {
        (self.end - self.start) as u64
    }

    /// The kernel's msync of a part, with its errors.
    fn kernel(&self, start: usize, end: usize) -> Result<(), Errno> {
        // Only a range of bytes begins within a page.
        let start = start & !(PAGE - 1);
        // SAFETY: msync changes no memory; the kernel checks the range.
        unsafe { sys!(SYS_msync, start, end - start, self.flags) }.map(|_| ())
    }

    /// Does it all, as the kernel would: in order of addresses; a hole is remembered, and the rest
    /// synced all the same; any other error ends it.
    fn carry_out(&self, flush: &Flush) -> (Way, u64, Result<(), Errno>) {
        let config = process::config();
        let skip = config.flush == FlushPolicy::None;
        let mut outcome = Ok(());
        let mut lines = 0;
        let mut kernel = false;
        let (mut part, mut cursor) = (self.part(flush, self.start), self.start);
        loop {
            let mut next = None;
            if let How::User(how) = part.how {
                if !skip {
                    // SAFETY: mapped, readable, before the end of the file; and it stays so while
                    // the caller's `Flush` lives.
                    unsafe { how.lines(cursor, part.end) };
                    if how != WriteBack::Nothing {
                        lines += lines_in(cursor, part.end);
                    }
                }
            } else {
                kernel = true;
                // Parts of the kernel's that follow each other are one call.
                while part.end < self.end {
                    let behind = self.part(flush, part.end);
                    if behind.how.is_user() {
                        next = Some(behind);
                        break;
                    }
                    part.end = behind.end;
                }
                match self.kernel(cursor, part.end) {
                    Err(libc::ENOMEM) => outcome = Err(libc::ENOMEM),
                    Err(errno) => {
                        outcome = Err(errno);
                        break;
                    }
                    Ok(()) => {}
                }
            }
            cursor = part.end;
            if cursor >= self.end {
                break;
            }
            part = next.unwrap_or_else(|| self.part(flush, cursor));
        }
        if !skip {
            fence();
            if config.deep {
                kernel = true;
                outcome = outcome.and(self.kernel(self.start, self.end));
            }
        }
        let way = match (skip, kernel) {
            (true, _) => Way::Skipped,
            (false, true) => Way::Mixed,
            (false, false) => Way::User,
        };
        (way, lines, outcome)
    }
}

/// Up to this many bytes a user flush costs less than the kernel's msync where at least one line
/// is dirty: 2,048 write-backs and little more against 9,800 instructions (XFS) and 11,300 (ext4)
/// with the store's refault, by the instruction clock; natively 1.6 µs clean against 2 µs and more.
const AUTO_LIMIT: usize = 128 << 10;

/// Whether user flush is the way, for this many flushable bytes.
fn choose_user(flushable: usize) -> bool {
    match process::config().flush {
        FlushPolicy::Auto => flushable <= AUTO_LIMIT,
        FlushPolicy::User | FlushPolicy::None => true,
        FlushPolicy::Kernel => false,
    }
}

/// Up to this many bytes there is nothing to do but to flush: no report, no deep flush.
pub fn plain_flush_limit(config: &Config, is_counted: bool) -> usize {
    match config.flush {
        FlushPolicy::Auto if !config.deep && !is_counted => AUTO_LIMIT,
        FlushPolicy::User if !config.deep && !is_counted => usize::MAX,
        _ => 0,
    }
}

/// msync(2).
pub fn msync(call: &mut Call) -> Step {
    let Some(request) = Request::of(call) else {
        return Step::PASS;
    };
    let flush = Flush::publish();
    // The common case, a short range in the mapping of last time, without the general one's
    // bookkeeping.
    if let Some(flush) = &flush
        && let Some(region) = flush.last(request.start)
        && request.end <= region.end.min(region.data_end)
        && Attributes::of(region).is_plainly_flushable()
        && request.flags == MS_SYNC
        && request.end - request.start <= process::plain_flush_limit()
    {
        // SAFETY: mapped, readable, before the end of the file; and it stays so while `flush`
        // lives.
        unsafe { process::write_back().lines(request.start, request.end) };
        fence();
        return Step::answer_cancellable(0);
    }
    by_parts(call, flush)
}

/// Any range, under any policy: several mappings, holes, parts behind the end of the file; counted
/// if there is a report.
#[cold]
#[inline(never)]
fn by_parts(call: &mut Call, flush: Option<Flush>) -> Step {
    let started = begin();
    let Some(request) = Request::of(call) else {
        return Step::PASS;
    };
    let Some(flush) = flush else {
        return measured(call, after_msync);
    };
    let plan = request.plan(&flush);
    if !plan.tagged {
        return Step::PASS;
    }
    if plan.flushable == 0 || !choose_user(plan.flushable) {
        return measured(call, after_msync);
    }
    let (way, lines, outcome) = request.carry_out(&flush);
    drop(flush);
    if let Some(page) = process::page() {
        let elapsed = ticks().wrapping_sub(started);
        let (bytes, failed) = (request.bytes(), outcome.is_err());
        page.synced(report::Call::Msync, way, bytes, lines, elapsed, failed);
    }
    match outcome {
        Ok(()) => Step::answer_cancellable(0),
        Err(errno) => Step::fail(errno),
    }
}

/// As msync(2) with MS_SYNC, for a range of bytes: of sync mappings just its lines are written back.
/// Counted as msync; no cancellation point.
pub fn persist(start: usize, length: usize) -> Result<(), Errno> {
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
    let flush = Flush::publish();
    if let Some(flush) = &flush
        && let Some(region) = flush.last(start)
        && end <= region.end.min(region.data_end)
        && Attributes::of(region).is_plainly_flushable()
        && length <= process::plain_flush_limit()
    {
        // SAFETY: as in `msync`.
        unsafe { process::write_back().lines(start, end) };
        fence();
        return Ok(());
    }
    let plan = flush.as_ref().map(|flush| request.plan(flush));
    let is_tagged = plan.as_ref().is_none_or(|plan| plan.tagged);
    let by_user = plan.is_some_and(|plan| plan.flushable > 0 && choose_user(plan.flushable));
    let (way, lines, outcome) = match flush.filter(|_| by_user) {
        Some(flush) => request.carry_out(&flush),
        None => (Way::Kernel, 0, request.kernel(start, end)),
    };
    if is_tagged && let Some(page) = process::page() {
        let elapsed = ticks().wrapping_sub(started);
        let (bytes, failed) = (request.bytes(), outcome.is_err());
        page.synced(report::Call::Msync, way, bytes, lines, elapsed, failed);
    }
    outcome
}

/// fsync(2) and fdatasync(2): the kernel's, counted.
pub fn of_descriptor(call: &mut Call, after: After) -> Step {
    // Without a report there is nothing to do for which a tag would have to be looked up.
    if process::page().is_none() {
        return Step::PASS;
    }
    let [fd, ..] = call.args;
    match crate::subject::tag_of_descriptor(fd as i32) {
        Some(_) => measured(call, after),
        None => Step::PASS,
    }
}

/// The time, where a report wants it.
fn begin() -> u64 {
    if process::page().is_some() {
        ticks()
    } else {
        0
    }
}

/// The kernel's way, counted if there is a report.
fn measured(call: &mut Call, after: After) -> Step {
    if process::page().is_none() {
        return Step::PASS;
    }
    call.note = ticks() as usize;
    call.then(after)
}

fn count(call: &Call, kind: report::Call, bytes: u64, result: isize) -> isize {
    if let Some(page) = process::page() {
        let elapsed = ticks().wrapping_sub(call.note as u64);
        // int in the low half of the register.
        let failed = result as i32 == -1;
        page.synced(kind, Way::Kernel, bytes, 0, elapsed, failed);
    }
    result
}

extern "C" fn after_msync(call: &Call, result: isize) -> isize {
    let bytes = Request::of(call).map_or(0, |request| request.bytes());
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
