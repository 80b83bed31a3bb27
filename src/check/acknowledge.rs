//! Looks at what is dirty when the program answers: when it writes to a socket or a pipe.

use super::compare::compare;
use super::flushes;
use super::journal;
use super::judge::report;
use super::log::log;
use super::shadows::each_stretch;
use super::stacks;
use super::syncs;
use crate::ground::checking;
use crate::ground::place::Place;
use crate::mappings;
use core::sync::atomic::Ordering;
use daxshim_core::check::Code;
use daxshim_core::check::journal::Moment;
use daxshim_core::check::lines::Dirty;

/// Whether writes to a descriptor have to be looked at each time: somebody is answered by it, or it may be of a
/// watched file.
#[inline]
pub fn is_looked_at(fd: i32) -> bool {
    checking::on() && (is_channel(fd) || syncs::is_watched(fd))
}

#[cold]
#[inline(never)]
fn is_channel(fd: i32) -> bool {
    let stat = Place::Descriptor(fd).stat();
    stat.is_ok_and(|stat| matches!(stat.st_mode & libc::S_IFMT, libc::S_IFSOCK | libc::S_IFIFO))
}

/// Something is about to be written or sent through a descriptor.
#[inline]
pub fn answering(fd: i32) {
    if checking::on() && fd != libc::STDERR_FILENO && !mappings::is_empty() {
        answers(fd);
    }
}

#[cold]
#[inline(never)]
fn answers(fd: i32) {
    if !crate::ground::process::is_own() || !is_channel(fd) {
        return;
    }
    if journal::on() {
        journal::point(Moment::Acknowledged);
        return;
    }
    stacks::spacious(look);
}

/// Whether something is dirty.
fn look() {
    flushes::answering();
    each_stretch(0, usize::MAX, |stretch| {
        if !stretch.is_meant() {
            return;
        }
        let Some(dirty) = compare(&stretch) else {
            if let Some(log) = log() {
                log.uncompared.fetch_add(1, Ordering::Relaxed);
            }
            return;
        };
        if dirty.is_empty() {
            return;
        }
        let shifted = Dirty::default().with(dirty, stretch.offset as u64);
        let range = (shifted.first, shifted.end);
        report(Code::Acknowledged, &stretch, range, 0, shifted);
    });
}
