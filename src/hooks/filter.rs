//! prctl(2) and seccomp(2), where a program filters its own system calls or switches the time-stamp
//! counter off: never refused, only noted.

use crate::entry::slot::{Call, Step};
use crate::ground::real;
use crate::tag::filters;
use libc::{PR_SET_SECCOMP, SECCOMP_SET_MODE_FILTER, SECCOMP_SET_MODE_STRICT};

/// linux/prctl.h; libc has no name for it.
const PR_SET_TSC: i32 = 26;
/// linux/prctl.h
const PR_TSC_ENABLE: i32 = 1;

/// prctl(2).
pub extern "C" fn prctl(call: &mut Call) -> Step {
    let [option, argument, ..] = call.args;
    match option as i32 {
        PR_SET_SECCOMP => filter(call),
        // The kernel does this to one thread; to know to which, every look at the clock would have to ask.
        PR_SET_TSC if argument as i32 != PR_TSC_ENABLE => {
            filters::no_counter();
            Step::PASS
        }
        _ => Step::PASS,
    }
}

/// seccomp(2), by number only.
pub extern "C" fn seccomp(call: &mut Call) -> Step {
    let [operation, ..] = call.args;
    match operation as u32 {
        SECCOMP_SET_MODE_STRICT | SECCOMP_SET_MODE_FILTER => filter(call),
        _ => Step::PASS,
    }
}

fn filter(call: &mut Call) -> Step {
    filters::set_up();
    call.then(after_filter)
}

/// A positive answer may be a listener's descriptor, with the filter in force.
extern "C" fn after_filter(_: &Call, result: isize) -> isize {
    if result as i32 == -1 {
        real::unseal();
    }
    result
}
