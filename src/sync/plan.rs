//! How a range is split by mapping, and what is done about each part.

use super::done::{Done, is_skipped};
use super::part::{Flushable, Kernel, is_cheaper_than};
use crate::entry::slot::Call;
use crate::ground::files;
use crate::ground::memory::PAGE;
use crate::ground::page::event;
use crate::ground::process;
use crate::ground::real::{Errno, sys_of_program};
use crate::ground::thread::is_alone;
use crate::mappings::{Attributes, Flush};
use daxshim_core::flush::{WriteBack, fence, lines_in};
use daxshim_core::regions::Region;
use daxshim_core::report::{Event, Kind, ticks};
use libc::{MS_INVALIDATE, MS_SYNC};

/// What a call asks for, once it is known to be valid.
pub(super) struct Request {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) flags: i32,
}

/// A part of a range.
#[derive(Clone, Copy)]
pub(super) struct Part {
    pub(super) end: usize,
    pub(super) how: How,
}

/// How a part can be synced.
#[derive(Clone, Copy)]
pub(super) enum How {
    /// Any way: lines by this instruction.
    Any(WriteBack, Region),
    /// The kernel's msync, on a tagged file.
    Kernel,
    /// The kernel's msync, on whatever else is there.
    Untagged,
}

/// What a range consists of.
#[derive(Default)]
pub(super) struct Plan {
    /// Whether there is any tagged file in it.
    pub(super) tagged: bool,
    /// Whether the kernel must sync any of it.
    pub(super) has_rest: bool,
    /// The lines of what can be flushed from user space; `None`: nothing can.
    pub(super) lines: Option<u64>,
    /// Whether all of it can be flushed from user space and is a file's from end to end; and how then.
    pub(super) whole: Option<WriteBack>,
}

impl Request {
    /// `None`: the kernel refuses it, or owes nothing for it.
    pub(super) fn of(call: &Call) -> Option<Request> {
        let [start, length, flags, ..] = call.args;
        let flags = flags as i32;
        if flags & !MS_INVALIDATE != MS_SYNC || start % PAGE != 0 || length == 0 {
            return None;
        }
        let end = start.checked_add(length)?.checked_add(PAGE - 1)? & !(PAGE - 1);
        Some(Request { start, end, flags })
    }

    /// The part that begins at `cursor`.
    #[inline]
    pub(super) fn part(&self, flush: &Flush, cursor: usize) -> Part {
        let kernel_until = |end: usize, how| Part {
            end: end.min(self.end),
            how,
        };
        match flush.at_or_after(cursor) {
            None => kernel_until(self.end, How::Untagged),
            Some(region) if region.start > cursor => kernel_until(region.start, How::Untagged),
            Some(region) => match write_back(region, self.flags) {
                // A line behind the end of the file would be SIGBUS.
                Some(how) if cursor < region.data_end => Part {
                    end: region.end.min(region.data_end).min(self.end),
                    how: How::Any(how, region),
                },
                _ => kernel_until(region.end, How::Kernel),
            },
        }
    }

    #[cold]
    #[inline(never)]
    pub(super) fn plan(&self, flush: &Flush) -> Plan {
        let mut plan = Plan::default();
        let mut first: Option<(files::Index, usize)> = None;
        let mut is_one_file = true;
        let mut cursor = self.start;
        while cursor < self.end {
            let part = self.part(flush, cursor);
            plan.tagged |= !matches!(part.how, How::Untagged);
            match part.how {
                How::Any(how, region) => {
                    plan.lines = Some(plan.lines.unwrap_or(0) + lines_in(cursor, part.end));
                    let this = (Attributes::of(region).file(), region.origin);
                    is_one_file &= *first.get_or_insert(this) == this;
                    // What needs no write-back suffers none from it.
                    if plan.whole.is_none() || how != WriteBack::Nothing {
                        plan.whole = Some(how);
                    }
                }
                How::Kernel | How::Untagged => plan.has_rest = true,
            }
            cursor = part.end;
        }
        plan.whole = plan.whole.filter(|_| is_one_file && !plan.has_rest);
        plan
    }

    /// All of it by the kernel, once; and the lines of what can be flushed, where others may be there and these
    /// cost no more than the kernel took (docs/kernel-race.md).
    #[cold]
    #[inline(never)]
    pub(super) fn once(&self, flush: &Flush, lines: u64) -> (Done, Result<(), Errno>) {
        let mut done = Done {
            by_kernel: true,
            ..Done::default()
        };
        let before = ticks();
        let outcome = self.kernel(self.start, self.end);
        if !is_cheaper_than(lines, ticks().wrapping_sub(before)) {
            event(Event::Contended);
            return (done, outcome);
        }
        let mut cursor = self.start;
        while cursor < self.end {
            let part = self.part(flush, cursor);
            if let How::Any(how, region) = part.how {
                let part = Flushable {
                    start: cursor,
                    end: part.end,
                    how,
                    region,
                };
                part.lines(flush, &mut done);
            }
            cursor = part.end;
        }
        fence();
        (done, outcome)
    }

    pub(super) fn bytes(&self) -> u64 {
        (self.end - self.start) as u64
    }

    /// The kernel's msync of a part, with its errors.
    pub(super) fn kernel(&self, start: usize, end: usize) -> Result<(), Errno> {
        // Only a range of bytes begins within a page.
        let start = start & !(PAGE - 1);
        // SAFETY: msync changes no memory; the kernel checks the range.
        unsafe { sys_of_program!(SYS_msync, start, end - start, self.flags) }.map(|_| ())
    }

    /// A part in a sync mapping.
    pub(super) fn sync(
        &self,
        part: &Flushable,
        flush: &Flush,
        done: &mut Done,
    ) -> Result<(), Errno> {
        let by_kernel = |start: usize, end: usize, done: &mut Done| {
            // Where others may be there the kernel gets what was called.
            if is_alone() && part.by_range(start, end).is_some() {
                done.by_range = true;
                return Ok(());
            }
            done.by_kernel = true;
            self.kernel(start, end)
        };
        let kernel = Kernel {
            sync: &by_kernel,
            is_as_safe_in_part: true,
        };
        part.sync(flush, done, &kernel)
    }

    /// Does it all, as the kernel would: in order of addresses; a hole is remembered, and the rest
    /// synced all the same; any other error ends it.
    #[inline(never)]
    pub(super) fn carry_out(&self, flush: &Flush) -> (Done, Result<(), Errno>) {
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
                    if matches!(behind.how, How::Any(..)) {
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
pub(super) fn write_back(region: Region, flags: i32) -> Option<WriteBack> {
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
