//! vfork(2), clone(2), unshare(2): what is known of descriptors is known for a process, and these
//! leave a part of one with descriptors of its own.

use crate::check;
use crate::entry::slot::{Call, Step};
use crate::ground::descriptors;
use crate::ground::memory::read_value;
use crate::ground::{process, real, thread};
use crate::mappings;
use libc::{CLONE_FILES, CLONE_THREAD, CLONE_VFORK, CLONE_VM};

/// vfork(2) where libc itself makes the call: when the parent goes on is not seen there. The symbol
/// leads to [`vfork`](crate::entry::vfork::vfork), which sees it.
pub extern "C" fn vfork(_: &mut Call) -> Step {
    process::doubt_ownership();
    Step::PASS
}

/// clone(2), with the flags as third argument.
pub extern "C" fn clone(call: &mut Call) -> Step {
    let [_, stack, flags, _, parent_tid, _] = call.args;
    check::cloning(stack, [parent_tid, call.seventh()]);
    let step = cloned(flags as u64);
    let borrows = CLONE_VM | CLONE_VFORK;
    if flags as i32 & (borrows | CLONE_THREAD) != borrows {
        return step;
    }
    // As vfork(2): the child runs elsewhere, so that this call comes back in the parent alone.
    real::child_begins();
    call.then(after_borrowed)
}

extern "C" fn after_borrowed(_: &Call, result: isize) -> isize {
    real::child_has_ended();
    result
}

/// The system call of clone(2), by number only.
pub extern "C" fn clone_call(call: &mut Call) -> Step {
    let [flags, stack, parent_tid, child_tid, ..] = call.args;
    check::cloning(stack, [parent_tid, child_tid]);
    cloned(flags as u64)
}

/// clone3(2), by number only, with a struct clone_args.
pub extern "C" fn clone3(call: &mut Call) -> Step {
    let [arguments, ..] = call.args;
    let read = read_value::<[usize; 7]>(arguments);
    if read.is_none() {
        // What it says can't be known, where the kernel could read it.
        descriptors::distrust();
        thread::not_alone();
    }
    let [flags, pidfd, child_tid, parent_tid, _, stack, length] = read.unwrap_or_default();
    check::cloning(stack.wrapping_add(length), [pidfd, child_tid]);
    check::cloning(0, [parent_tid, 0]);
    cloned(flags as u64)
}

/// unshare(2).
pub extern "C" fn unshare(call: &mut Call) -> Step {
    let [flags, ..] = call.args;
    if flags as i32 & CLONE_FILES != 0 {
        descriptors::distrust();
    }
    Step::PASS
}

/// Memory is shared, and with it what is known; descriptors are not.
fn cloned(flags: u64) -> Step {
    if flags & CLONE_VFORK as u64 == 0 && (flags & CLONE_VM as u64 != 0 || !mappings::is_empty()) {
        thread::not_alone();
    }
    if flags & (CLONE_VM | CLONE_FILES) as u64 == CLONE_VM as u64 {
        descriptors::distrust();
    }
    Step::PASS
}
