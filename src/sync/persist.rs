//! Makes a range of memory durable for a program that asks for it by address: `daxshim_persist`.

use super::done::Done;
use super::msync::publish;
use super::plan::Request;
use super::quick;
use super::tell::{begin, tell};
use crate::check;
use crate::ground::memory::PAGE;
use crate::ground::page;
use crate::ground::process;
use crate::ground::real::Errno;
use crate::mappings::{Flush, stack_pointer};
use daxshim_core::config::FlushPolicy;
use daxshim_core::flush::{LINE, fence};
use daxshim_core::report;
use libc::MS_SYNC;

/// As msync(2) with MS_SYNC, for a range of bytes: of sync mappings just its lines are written back.
/// Counted as msync; no cancellation point.
pub fn persist(start: usize, length: usize) -> Result<(), Errno> {
    // As few instructions as for msync: see [`quick`](crate::sync::quick).
    if (1..=quick::LIMIT).contains(&length)
        && let Some(end) = start.checked_add(length)
        && !check::on()
        && quick::may_serve(process::config(), page::page().is_some())
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
    let by_parts = plan.is_some_and(|plan| plan.lines.is_some())
        && process::config().flush != FlushPolicy::Kernel;
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
            report::SyncCall::Msync,
            done,
            request.bytes(),
            started,
            outcome.is_err(),
        );
    }
    outcome
}
