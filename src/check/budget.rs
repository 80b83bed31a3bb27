//! How much time checking may take.
//!
//! Without `exact`, what is optional (comparing large ranges, taking stacks) is done only while
//! it has cost less than a sixteenth of the time since the process began, and a head start: short
//! programs are compared in full, long ones run at most so much longer.

use crate::process;
use core::sync::atomic::{AtomicU64, Ordering};
use daxshim_core::config::Checking;
use daxshim_core::report::ticks;

/// Bytes that are compared at any time: some µs.
pub const FREE: usize = 128 << 10;

/// The head start, ticks: a tenth of a second.
const HEAD_START: u64 = 1 << 28;
/// One part in so many is ours.
const SHARE: u64 = 16;

static STARTED: AtomicU64 = AtomicU64::new(0);
static SPENT: AtomicU64 = AtomicU64::new(0);

/// Time begins.
pub fn start() {
    STARTED.store(ticks(), Ordering::Relaxed);
}

/// Whether something that takes its time may be done now.
pub fn allows() -> bool {
    let elapsed = ticks().wrapping_sub(STARTED.load(Ordering::Relaxed));
    let allowed = elapsed / SHARE + HEAD_START;
    is_exact() || SPENT.load(Ordering::Relaxed) < allowed
}

/// Whether time does not matter.
pub fn is_exact() -> bool {
    process::config().check == Checking::Exact
}

/// Does it, on account.
pub fn spend<T>(work: impl FnOnce() -> T) -> T {
    let started = ticks();
    let result = work();
    SPENT.fetch_add(ticks().wrapping_sub(started), Ordering::Relaxed);
    result
}
