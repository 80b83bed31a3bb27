//! How much time checking may take.
//!
//! Without `exact`, what is optional (comparing large ranges, taking stacks) is done only while
//! it has cost less CPU time than a thirty-second part of the time since the process began, and a head start:
//! what is small is compared in full, and no program runs much longer.

use crate::ground::process;
use crate::ground::real::sys;
use core::sync::atomic::{AtomicU64, Ordering};
use daxshim_core::config::Checking;

/// Bytes that are compared at any time: some µs.
pub const FREE: usize = 128 << 10;

/// The head start, ns.
const HEAD_START: u64 = 20_000_000;
/// One part in so many is ours.
const SHARE: u64 = 32;

/// See [`start`], ns.
static STARTED: AtomicU64 = AtomicU64::new(0);
/// CPU time of ours, ns: what others of the machine take meanwhile is nobody's.
static SPENT: AtomicU64 = AtomicU64::new(0);

/// Time begins.
pub fn start() {
    STARTED.store(clock(), Ordering::Relaxed);
}

/// Whether something that takes its time may be done now.
pub fn allows() -> bool {
    let beyond = SPENT.load(Ordering::Relaxed).saturating_sub(HEAD_START);
    let elapsed = || clock().saturating_sub(STARTED.load(Ordering::Relaxed));
    is_exact() || beyond == 0 || beyond < elapsed() / SHARE
}

/// The time, ns, by the kernel: the program may have switched the CPU's counter off, prctl(PR_SET_TSC).
pub fn clock() -> u64 {
    now(libc::CLOCK_MONOTONIC)
}

/// Whether time does not matter.
pub fn is_exact() -> bool {
    process::config().check == Checking::Exact
}

/// Does it, on account.
pub fn spend<T>(work: impl FnOnce() -> T) -> T {
    let started = now(libc::CLOCK_THREAD_CPUTIME_ID);
    let result = work();
    let spent = now(libc::CLOCK_THREAD_CPUTIME_ID).saturating_sub(started);
    SPENT.fetch_add(spent, Ordering::Relaxed);
    result
}

/// A clock, ns.
fn now(clock: libc::clockid_t) -> u64 {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: a timespec of ours.
    let _ = unsafe { sys!(SYS_clock_gettime, clock, &raw mut now) };
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}
