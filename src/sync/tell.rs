//! Tells the report what a sync did, and check that it failed.

use super::done::{Done, is_skipped};
use super::plan::Request;
use crate::check;
use crate::entry::slot::{After, Call, Step};
use crate::ground::page;
use crate::ground::real::Errno;
use daxshim_core::report::{self, Way, ticks};

/// Counts what was done, and answers.
pub(super) fn finish(
    call: report::SyncCall,
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

pub(super) fn tell(call: report::SyncCall, done: Done, bytes: u64, started: u64, failed: bool) {
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

/// The time, where a report wants it.
pub(super) fn begin() -> u64 {
    if page::page().is_some() { ticks() } else { 0 }
}

/// The kernel's way, counted if there is a report.
pub(super) fn measured(call: &mut Call, after: After) -> Step {
    if page::page().is_none() {
        return Step::PASS;
    }
    call.note = ticks() as usize;
    call.then(after)
}

pub(super) fn count(call: &Call, kind: report::SyncCall, bytes: u64, result: isize) -> isize {
    if let Some(page) = page::page() {
        let elapsed = ticks().wrapping_sub(call.note as u64);
        // int in the low half of the register.
        let failed = result as i32 == -1;
        page.synced(kind, Way::Kernel, bytes, 0, elapsed, failed);
    }
    result
}

pub(super) extern "C" fn after_msync(call: &Call, result: isize) -> isize {
    let request = Request::of(call);
    if let Some(request) = request.as_ref().filter(|_| result as i32 == -1) {
        check::sync_failed(request.start, request.end);
    }
    let bytes = request.map_or(0, |request| request.bytes());
    count(call, report::SyncCall::Msync, bytes, result)
}

/// After fsync.
pub extern "C" fn after_fsync(call: &Call, result: isize) -> isize {
    count(call, report::SyncCall::Fsync, 0, result)
}

/// After fdatasync.
pub extern "C" fn after_fdatasync(call: &Call, result: isize) -> isize {
    count(call, report::SyncCall::Fdatasync, 0, result)
}

/// After sync_file_range.
pub extern "C" fn after_sync_file_range(call: &Call, result: isize) -> isize {
    count(call, report::SyncCall::SyncFileRange, 0, result)
}
