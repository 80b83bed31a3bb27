//! Whether [`check`](crate::check) looks at what the program does, for the rooms below it. check switches this on, and
//! leaves the function here that those rooms call when the record of mappings has a gap.

use core::ptr;
use core::sync::atomic::{AtomicBool, AtomicPtr, Ordering};

static ON: AtomicBool = AtomicBool::new(false);
/// What is called when the record of mappings has a gap; null: nothing.
static MISSED: AtomicPtr<()> = AtomicPtr::new(ptr::null_mut());

/// Whether there is anything to be looked at.
#[inline]
pub fn on() -> bool {
    ON.load(Ordering::Relaxed)
}

/// Check begins; `missed` is called when the record of mappings has a gap.
pub fn begin(missed: fn()) {
    MISSED.store(missed as *mut (), Ordering::Release);
    ON.store(true, Ordering::Relaxed);
}

/// Check ends.
pub fn end() {
    ON.store(false, Ordering::Relaxed);
}

/// The record of mappings is about to be lost, or has a gap.
#[cold]
#[inline(never)]
pub fn missed() {
    let missed = MISSED.load(Ordering::Acquire);
    if on() && !missed.is_null() {
        // SAFETY: what `begin` was given.
        let missed: fn() = unsafe { core::mem::transmute(missed) };
        missed();
    }
}
