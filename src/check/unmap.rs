//! What ends a mapping: munmap and its like, exit, exec.

use super::flushes;
use super::journal;
use super::log::set_ending;
use super::shadows::each_part;
use super::syncs::{beyond_end, report};
use crate::process;
use core::sync::atomic::Ordering;
use daxshim_core::check::Code;
use daxshim_core::check::journal::Moment;
use daxshim_core::check::lines::Dirty;
use daxshim_core::check::log::Ending;
use daxshim_core::report::Kind;

/// A range is about to be unmapped. Noted whether or not something is dirty: what never gets synced is
/// seen in the end, and then this says who let go of it.
#[inline]
pub fn unmapping(start: usize, end: usize, code: Code) {
    if super::on() {
        unmaps(start, end, code);
    }
}

#[cold]
#[inline(never)]
fn unmaps(start: usize, end: usize, code: Code) {
    each_part(start, end, |part| {
        if matches!(part.kind, Kind::Private | Kind::ReadOnly) {
            return;
        }
        beyond_end(&part);
        if !journal::on() {
            flushes::unmapping(&part);
        }
        if let Some(header) = part.shadow.header() {
            header.elsewhere.store(1, Ordering::Relaxed);
        }
        let range = (part.offset as u64, part.end() as u64);
        report(code, &part, range, part.length as u64, Dirty::default());
    });
}

/// The process is about to execute another program.
#[inline]
pub fn executing() {
    if super::on() && process::is_owner() {
        ending(Ending::Exec);
    }
}

/// It could not.
#[inline]
pub fn execution_failed() {
    if super::on() && process::is_owner() {
        set_ending(Ending::Unsaid);
    }
}

/// The process is about to end so.
#[cold]
#[inline(never)]
pub fn ending(how: Ending) {
    if journal::on() && how != Ending::Unsaid {
        journal::point(Moment::Ended);
    }
    each_part(0, usize::MAX, |part| {
        if !matches!(part.kind, Kind::Private | Kind::ReadOnly) {
            beyond_end(&part);
        }
    });
    if !journal::on() {
        flushes::ending();
    }
    set_ending(how);
}
