//! What ends a mapping: munmap and its like, exit, exec. Of a file's offsets that are mapped more than
//! once, only the last mapping's end counts: until then they can be synced.

use super::blame;
use super::flushes;
use super::journal;
use super::judge::{beyond_end, report};
use super::log::set_ending;
use super::shadows::{self, Shadow, each_stretch};
use super::stacks;
use super::watch;
use crate::ground::checking;
use crate::ground::process;
use core::sync::atomic::Ordering;
use daxshim_core::check::Code;
use daxshim_core::check::journal::Moment;
use daxshim_core::check::lines::Dirty;
use daxshim_core::check::log::Ending;

/// A range is about to be unmapped. Noted whether or not something is dirty: what never gets synced is
/// seen in the end, and then this says who let go of it.
#[inline]
pub fn unmapping(start: usize, end: usize, code: Code) {
    if checking::on() {
        stacks::spacious(|| unmaps(start, end, code));
    }
}

#[cold]
#[inline(never)]
fn unmaps(start: usize, end: usize, code: Code) {
    let complete = each_stretch(start, end, |stretch| {
        if !stretch.is_shared() {
            return;
        }
        beyond_end(&stretch);
        if !journal::on() {
            flushes::unmapping(&stretch);
        }
        stretch.each_unshared(start, end, |from, to| {
            if let Some(header) = stretch.shadow.header() {
                header.elsewhere.store(1, Ordering::Relaxed);
            }
            let range = (from as u64, to as u64);
            report(code, &stretch, range, (to - from) as u64, Dirty::default());
        });
    });
    if !complete {
        for header in shadows::all().filter_map(Shadow::header) {
            header.elsewhere.store(1, Ordering::Relaxed);
        }
    }
}

/// A range was just mapped.
#[inline]
pub fn holding(start: usize, end: usize) {
    if checking::on() {
        watch::holding(start, end);
    }
}

/// The process is about to execute another program.
#[inline]
pub fn executing() {
    if checking::on() {
        blame::executing();
        if process::is_owner() {
            ending(Ending::Exec);
        }
    }
}

/// The execution that [`executing`] was told of has failed.
#[inline]
pub fn execution_failed() {
    if checking::on() {
        blame::execution_failed();
        if process::is_owner() {
            set_ending(Ending::Unsaid);
        }
    }
}

/// The process is about to end so.
#[cold]
#[inline(never)]
pub fn ending(how: Ending) {
    if journal::on() && how != Ending::Unsaid {
        journal::point(Moment::Ended);
    }
    each_stretch(0, usize::MAX, |stretch| {
        if stretch.is_shared() {
            beyond_end(&stretch);
        }
    });
    if !journal::on() {
        flushes::ending();
    }
    set_ending(how);
}
