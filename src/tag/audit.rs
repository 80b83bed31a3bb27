//! Remembers that audit mode has let a change through: from then on a sync owes more than the data.

use crate::mappings;
use core::ptr;
use core::sync::atomic::{AtomicBool, AtomicPtr, Ordering};
use rustix::mm::{MapFlags, ProtFlags};

/// Under audit: whether something was let through that a tagged file refuses. Shared with forked children,
/// as what any of them changes is changed for all; null in other modes.
static LET_THROUGH: AtomicPtr<AtomicBool> = AtomicPtr::new(ptr::null_mut());

fn let_through() -> Option<&'static AtomicBool> {
    // SAFETY: null, or a mapping that is never unmapped; zeros are `false`.
    unsafe { LET_THROUGH.load(Ordering::Acquire).as_ref() }
}

/// Whether something was let through that a tagged file refuses: then a sync owes more than the data.
#[inline]
pub fn was_let_through() -> bool {
    let_through().is_some_and(|was| was.load(Ordering::Acquire))
}

/// Something is about to be let through that a tagged file refuses (audit).
#[cold]
pub fn letting_through() {
    if let Some(was) = let_through() {
        was.store(true, Ordering::SeqCst);
    }
    mappings::give_up();
}

/// Where [`letting_through`] is noted: without memory for it nothing is flushed from user space at all.
pub fn prepare_to_let_through() {
    static ALWAYS: AtomicBool = AtomicBool::new(true);
    let protection = ProtFlags::READ | ProtFlags::WRITE;
    let length = size_of::<AtomicBool>();
    // SAFETY: a new mapping at an address of the kernel's choice.
    let page = unsafe {
        rustix::mm::mmap_anonymous(ptr::null_mut(), length, protection, MapFlags::SHARED)
    };
    let always = (&raw const ALWAYS).cast_mut();
    LET_THROUGH.store(page.map_or(always, |page| page.cast()), Ordering::Release);
}
