//! msync(2).

use super::done::{Done, is_skipped};
use super::part::{Flushable, by_range};
use super::plan::{How, Request};
use super::quick;
use super::tell::{after_msync, begin, finish, measured};
use crate::check;
use crate::entry::slot::{Call, Step};
use crate::ground::memory::PAGE;
use crate::ground::process;
use crate::ground::real::Errno;
use crate::ground::thread::is_alone;
use crate::mappings::{self, Flush};
use crate::sync::spared::{ByRange, Spared};
use crate::tag::audit;
use daxshim_core::config::FlushPolicy;
use daxshim_core::flush::fence;
use daxshim_core::report::{self, ticks};
use libc::{MS_ASYNC, MS_INVALIDATE, MS_SYNC};

/// So many msyncs that the kernel must get anyway are passed on to it without a look at what they consist of.
const UNPLANNED: u32 = 24;

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
#[inline(always)]
pub(super) fn publish(frame: usize) -> Option<Flush> {
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
    let length = request.end - request.start;
    if spared.is_some_and(|spared| spared.kernel(request.start, length)) {
        drop(flush);
        return measured(call, after_msync);
    }
    if spared.is_some_and(|spared| is_spared(&request, spared)) {
        drop(flush);
        fence();
        let done = Done {
            by_range: true,
            ..Done::default()
        };
        return finish(
            report::SyncCall::Msync,
            done,
            request.bytes(),
            started,
            Ok(()),
        );
    }
    let config = process::config();
    let first = request.part(&flush, request.start);
    let part = match first.how {
        // Nearly all calls are of this kind.
        How::Any(how, region)
            if first.end == request.end && config.flush != FlushPolicy::Kernel && !config.deep =>
        {
            Flushable {
                start: request.start,
                end: request.end,
                how,
                region,
            }
        }
        How::Untagged if first.end == request.end => return Step::PASS,
        _ => match in_several(&request, &flush, spared) {
            Several::One(part) => part,
            Several::None => return Step::PASS,
            Several::AsCalled => return measured(call, after_msync),
            Several::Once(lines) => {
                return told(&request, started, request.once(&flush, lines), flush);
            }
            Several::Each => return told(&request, started, request.carry_out(&flush), flush),
        },
    };
    let mut done = Done::default();
    let outcome = request.sync(&part, &flush, &mut done);
    part.spare_next(&flush, spared);
    if !is_skipped() {
        fence();
    }
    told(&request, started, (done, outcome), flush)
}

/// How a range is synced that is in several mappings, or reaches beyond one.
enum Several {
    /// There is nothing of ours in it.
    None,
    /// By the kernel, as called.
    AsCalled,
    /// As one.
    One(Flushable),
    /// By the kernel once, and then so many lines if they are cheap.
    Once(u64),
    /// Each part as it is.
    Each,
}

/// What the kernel would be called for in any case it is called for once: its price is the call's, not the pages'.
#[cold]
#[inline(never)]
fn in_several(request: &Request, flush: &Flush, spared: Option<&Spared>) -> Several {
    let config = process::config();
    let sequence = mappings::RECORD.regions.sequence();
    let plan = request.plan(flush);
    if !plan.tagged {
        return Several::None;
    }
    let Some(lines) = plan.lines.filter(|_| config.flush != FlushPolicy::Kernel) else {
        return Several::AsCalled;
    };
    let is_short = !plan.has_rest && request.bytes() <= quick::LIMIT as u64;
    if config.flush != FlushPolicy::Auto || config.deep || is_short {
        return Several::Each;
    }
    if let Some(how) = plan.whole
        && let How::Any(_, region) = request.part(flush, request.start).how
        && flush.reach(request.start, request.end, sequence).is_some()
    {
        return Several::One(Flushable {
            start: request.start,
            end: request.end,
            how,
            region,
        });
    }
    if !is_alone() {
        return Several::Once(lines);
    }
    if let Some(spared) = spared {
        let length = request.end - request.start;
        spared.to_kernel_at(request.start, length, sequence, UNPLANNED);
    }
    Several::AsCalled
}

fn told(
    request: &Request,
    started: u64,
    (done, outcome): (Done, Result<(), Errno>),
    flush: Flush,
) -> Step {
    drop(flush);
    if outcome.is_err() {
        check::sync_failed(request.start, request.end);
    }
    finish(
        report::SyncCall::Msync,
        done,
        request.bytes(),
        started,
        outcome,
    )
}

/// Syncs a range the range way, if that was said of the next few.
#[inline]
fn is_spared(request: &Request, spared: &Spared) -> bool {
    is_alone()
        && spared
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
