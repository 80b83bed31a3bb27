//! Calls that close descriptors or hand them out: never refused, only noted.

use crate::descriptors::{forget, forget_range, forget_result};
use crate::trampoline::{Call, Step};
use libc::{CLOSE_RANGE_CLOEXEC, F_DUPFD, F_DUPFD_CLOEXEC};

/// dup(2).
pub extern "C" fn dup(call: &mut Call) -> Step {
    call.then(forget_result)
}

/// dup2(2): closes the new number, if it is open and not the old one.
pub extern "C" fn dup2(call: &mut Call) -> Step {
    let [_, new, ..] = call.args;
    forget(new as i32);
    call.then(forget_result)
}

/// dup3(2).
pub extern "C" fn dup3(call: &mut Call) -> Step {
    dup2(call)
}

/// fcntl(2): F_DUPFD and F_DUPFD_CLOEXEC.
pub extern "C" fn fcntl(call: &mut Call) -> Step {
    let [_, command, ..] = call.args;
    match command as i32 {
        F_DUPFD | F_DUPFD_CLOEXEC => call.then(forget_result),
        _ => Step::PASS,
    }
}

/// close(2).
pub extern "C" fn close(call: &mut Call) -> Step {
    let [fd, ..] = call.args;
    forget(fd as i32);
    Step::PASS
}

/// close_range(2).
pub extern "C" fn close_range(call: &mut Call) -> Step {
    let [first, last, flags, ..] = call.args;
    if flags as u32 & CLOSE_RANGE_CLOEXEC == 0 {
        forget_range(first as u32, last as u32);
    }
    Step::PASS
}
