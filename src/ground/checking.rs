//! Whether somebody looks at what the program does ([`check`](crate::check)), for the rooms beneath him: he
//! tells them, and is told by them what they can't call him for.

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

/// He begins; `missed` is called when the record of mappings has a gap.
pub fn begin(missed: fn()) {
    MISSED.store(missed as *mut (), Ordering::Release);
    ON.store(true, Ordering::Relaxed);
}

/// He looks no more.
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
