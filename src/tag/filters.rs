//! Programs that put themselves under a system call filter, and those that are under one from the start.
//!
//! A filter may kill for any call that its author did not think of, so from then on the shim makes none,
//! [`real::is_sealed`]: nothing is looked at any more, and what was known stays. A filter is never taken
//! off.

use crate::check;
use crate::ground::memory::on_own_stack;
use crate::ground::opened::each_descriptor;
use crate::ground::page::event;
use crate::ground::process;
use crate::ground::real::{self, Sealed, SignalsBlocked, sys};
use crate::mappings;
use crate::tag::subject;
use core::ffi::CStr;
use core::sync::atomic::{AtomicUsize, Ordering};
use daxshim_core::proc::decimal;
use daxshim_core::report::{Event, read_instead};
use daxshim_core::seccomp::Status;

/// Whether the process is under filters of which nobody knows what they kill for; learnt with calls that the
/// dynamic loader makes in every program. `tried` is the value of
/// [`HARMLESS`](daxshim_core::seccomp::HARMLESS). Where there is no /proc to tell of filters, it is
/// believed, whatever its number; without it, any filter is possible.
pub fn are_untried(tried: Option<&CStr>) -> bool {
    let tried = tried.map(CStr::to_bytes);
    match Status::of_self() {
        Ok(status) => !status.is_harmless(tried),
        Err(_) => tried.and_then(decimal::<u32>).is_none(),
    }
}

/// Once, by the constructor: seals the process if it has inherited a filter (`is_filtered`).
pub fn begin(is_filtered: bool) {
    if is_filtered {
        no_counter();
        real::seal(Sealed::Process);
    } else if is_counter_off() {
        no_counter();
    }
}

/// PR_SET_TSC is inherited over execve(2).
fn is_counter_off() -> bool {
    // linux/prctl.h
    const PR_GET_TSC: i32 = 25;
    const PR_TSC_SIGSEGV: i32 = 2;
    let mut mode = 0_i32;
    // SAFETY: the kernel writes an int.
    let asked = unsafe { sys!(SYS_prctl, PR_GET_TSC, &raw mut mode, 0, 0, 0) };
    asked.is_ok() && mode == PR_TSC_SIGSEGV
}

/// Right before the call that sets up a filter; who is under it then. What is open of tagged files is looked up
/// while that can still be done.
#[cold]
#[inline(never)]
pub fn set_up() -> Sealed {
    // A child of fork(2) that nobody was told of finds out now that it is none of vfork(2)'s.
    let _ = mappings::is_complete();
    if is_child() {
        real::seal(Sealed::Child);
        return Sealed::Child;
    }
    if !real::is_sealed() {
        event(Event::Sealed);
        check::sealing();
        let blocked = SignalsBlocked::new();
        let _ = on_own_stack(remember_tagged);
        drop(blocked);
        // Strict mode switches the time-stamp counter off.
        no_counter();
    }
    real::seal(Sealed::Process);
    Sealed::Process
}

/// Whether a child of vfork(2) is running here.
fn is_child() -> bool {
    /// Which thread's memory the last child had that filtered itself: a second filter is told by that, as the
    /// child can't ask any more. Its parent's thread waits meanwhile.
    static THREAD: AtomicUsize = AtomicUsize::new(0);
    if !real::is_sealed() {
        let is_child = real::children() != 0 && !process::is_owner();
        if is_child {
            THREAD.store(mappings::thread(), Ordering::Relaxed);
        }
        return is_child;
    }
    real::is_child_sealed() && THREAD.load(Ordering::Relaxed) == mappings::thread()
}

/// The time-stamp counter is about to be switched off, in one thread at least and its children.
pub fn no_counter() {
    read_instead(real::monotonic_ns);
}

fn remember_tagged() {
    if !subject::can_bind() {
        return;
    }
    let _ = each_descriptor(subject::remember);
}
