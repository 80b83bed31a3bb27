//! What msync, fsync and fdatasync become.
//!
//! *Plan*: a range is split by mapping. *Choose*: user flush or kernel. *Carry out*: the lines of
//! the flushable parts, one fence, and the kernel's msync for the rest.

use crate::mappings::{self, Attributes, Flush};
use crate::memory::PAGE;
use crate::process;
use crate::real::{Errno, sys};
use crate::trampoline::{After, Call, Step};
use daxshim_core::config::FlushPolicy;
use daxshim_core::flush::{WriteBack, fence, lines_in};
use daxshim_core::regions::Region;
use daxshim_core::report::{self, Kind, Way, ticks};
use libc::{MS_ASYNC, MS_INVALIDATE, MS_SYNC};

/// Up to this many bytes a user flush costs less than the kernel's msync where at least one line
/// is dirty: 2,048 lines of four instructions against 9,800 (XFS) and 11,300 (ext4) with the
/// store's refault, by the instruction clock; natively 1.6 µs clean against 2 µs and more.
const USER_FLUSH_LIMIT: usize = 128 << 10;

/// What a call asks for, once it is known to be valid.
struct Request {
    start: usize,
    end: usize,
    flags: i32,
}

/// A part of a range.
struct Part {
    end: usize,
    /// How to write its lines back; `None`: the kernel's.
    user: Option<WriteBack>,
}

impl Request {
    /// `None`: the kernel refuses it, or owes nothing for it.
    fn of(call: &Call) -> Option<Request> {
        let [start, length, flags, ..] = call.args;
        let flags = flags as i32;
        let valid = flags & !(MS_ASYNC | MS_INVALIDATE | MS_SYNC) == 0
            && flags & (MS_ASYNC | MS_SYNC) == MS_SYNC
            && start % PAGE == 0
            && length != 0;
        let end = start.checked_add(length.checked_next_multiple_of(PAGE)?)?;
        valid.then_some(Request { start, end, flags })
    }

    /// The part that begins at `cursor`.
    fn part(&self, cursor: usize) -> Part {
        let kernel_until = |end: usize| Part {
            end: end.min(self.end),
            user: None,
        };
        match mappings::at_or_after(cursor) {
            None => kernel_until(self.end),
            Some(region) if region.start > cursor => kernel_until(region.start),
            Some(region) => match self.write_back(region) {
                // Behind the end of the file a line would be SIGBUS.
                Some(how) if cursor < region.data_end => Part {
                    end: region.end.min(region.data_end).min(self.end),
                    user: Some(how),
                },
                _ => kernel_until(region.end),
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

    /// Bytes that can be flushed from user space.
    fn flushable(&self) -> usize {
        let mut cursor = self.start;
        let mut bytes = 0;
        while cursor < self.end {
            let part = self.part(cursor);
            if part.user.is_some() {
                bytes += part.end - cursor;
            }
            cursor = part.end;
        }
        bytes
    }

    /// Whether user flush is the way, for this many flushable bytes.
    fn choose_user(&self, flushable: usize) -> bool {
        match process::config().flush {
            FlushPolicy::Auto => flushable <= USER_FLUSH_LIMIT,
            FlushPolicy::User | FlushPolicy::None => true,
            FlushPolicy::Kernel => false,
        }
    }

    fn bytes(&self) -> u64 {
        (self.end - self.start) as u64
    }

    /// The kernel's msync of a part, with its errors.
    fn kernel(&self, start: usize, end: usize) -> Result<(), Errno> {
        // SAFETY: msync changes no memory; the kernel checks the range.
        unsafe { sys!(SYS_msync, start, end - start, self.flags) }.map(|_| ())
    }

    /// Does it all, as the kernel would: in order of addresses; a hole is remembered, and the rest
    /// synced all the same; any other error ends it.
    fn carry_out(&self) -> (Way, u64, Result<(), Errno>) {
        let config = process::config();
        let skip = config.flush == FlushPolicy::None;
        let mut outcome = Ok(());
        let mut lines = 0;
        let mut kernel = false;
        let mut cursor = self.start;
        while cursor < self.end {
            let mut part = self.part(cursor);
            if let Some(how) = part.user {
                if !skip {
                    // SAFETY: mapped, readable, before the end of the file; and it stays so while
                    // the caller's `Flush` lives.
                    unsafe { how.lines(cursor, part.end) };
                    lines += lines_in(cursor, part.end);
                }
            } else {
                kernel = true;
                while part.end < self.end {
                    let next = self.part(part.end);
                    if next.user.is_some() {
                        break;
                    }
                    part.end = next.end;
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

/// msync(2).
pub fn msync(call: &mut Call) -> Step {
    let [start, length, ..] = call.args;
    if mappings::first_in(start, length).is_none() {
        return Step::PASS;
    }
    let Some(request) = Request::of(call) else {
        return Step::PASS;
    };
    let started = begin();
    if let Some(flush) = Flush::publish(request.start, request.end) {
        let flushable = request.flushable();
        if flushable > 0 && request.choose_user(flushable) {
            let (way, lines, outcome) = request.carry_out();
            drop(flush);
            if let Some(page) = process::page() {
                let elapsed = ticks().wrapping_sub(started);
                let failed = outcome.is_err();
                page.synced(
                    report::Call::Msync,
                    way,
                    request.bytes(),
                    lines,
                    elapsed,
                    failed,
                );
            }
            return match outcome {
                Ok(()) => call.answer_cancellable(0),
                Err(errno) => Step::fail(errno),
            };
        }
    }
    measured(call, after_msync)
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
