//! `daxshim check`: looks at what a program does to its mappings, as it happens.
//!
//! Off unless `DAXSHIM_CHECK` says otherwise; then each event below costs one load. On, watched
//! files (tagged, on DAX and mapped shared, or as `DAXSHIM_WATCH` says) have a shadow of what is durable
//! ([`daxshim_core::check::shadow`]), and what is found goes into the log
//! ([`daxshim_core::check::log`]). Whether lines were *never* synced is not decided here: the
//! command compares shadow and file when all is over. For `daxshim crash` nothing is judged, and what
//! becomes durable is recorded ([`journal`]).

mod acknowledge;
pub mod blame;
mod budget;
mod compare;
mod facts;
mod flushes;
mod grown;
mod journal;
mod judge;
mod log;
mod note;
mod shadow_file;
mod shadows;
mod stack;
mod stacks;
mod syncs;
mod unmap;
mod watch;

use crate::ground::checking;
use crate::ground::process;
use crate::ground::real;
use core::sync::atomic::Ordering;
use daxshim_core::config::Checking;

pub use crate::ground::checking::on;
pub use acknowledge::{answering, is_looked_at};
pub use facts::{kind_of_untagged, mapped, refused, truncated, truncating};
pub use flushes::{drained, flushed};
pub use log::looked_at;
pub use syncs::{
    all_files, asked_only, file_range_sync_begins, file_sync_begins, is_written_through,
    sync_begins, sync_failed, written_through,
};
pub use unmap::{ending, executing, execution_failed, holding, unmapping};
pub use watch::watch;

/// Begins, if the environment says so and there is a report directory. Once, by the constructor.
pub fn start() {
    if process::config().check == Checking::Off {
        return;
    }
    stack::start();
    budget::start();
    match log::open() {
        Ok(()) => {
            if !stack::is_usable() {
                log::stackless();
            }
            checking::begin(missed);
        }
        Err(errno) => log::warn(errno),
    }
}

/// A thread or process is about to be made, with a stack that ends at `stack` if that is not 0, and words
/// that the kernel stores to then and at its end.
#[inline]
pub fn cloning(stack: usize, words: [usize; 2]) {
    if on() {
        blame::cloning(stack, words);
    }
}

/// The record of mappings is about to be lost, or has a gap: of what this process has mapped, neither stores
/// nor syncs can be told any more.
fn missed() {
    blame::give_up();
    shadows::unwatch();
    log::unlooked();
}

/// The program is about to put itself under a filter of system calls, which may kill it for any of ours:
/// nothing is looked at from now on, and that is said. Pages that were taken are the program's again, and
/// so is SIGSEGV: nothing of that may need a system call later.
#[cold]
#[inline(never)]
pub fn sealing() {
    if on() {
        blame::sealing();
        checking::end();
        shadows::unwatch();
        log::sealed();
    }
}

/// In a forked child: a log of its own; the shadows are everybody's.
pub fn forked() {
    if real::is_sealed() {
        checking::end();
    }
    if on() {
        watch::forked();
        shadows::forked();
        grown::forked();
        flushes::forked();
        stacks::forked();
        blame::forked();
        let parent = log::log();
        if log::reopen().is_err() {
            // The parent says it, as this child has nowhere to.
            if let Some(parent) = parent {
                parent.unwatched.fetch_add(1, Ordering::Relaxed);
            }
            blame::give_up();
            shadows::unwatch();
            checking::end();
        }
        watch::log_files();
    }
}
