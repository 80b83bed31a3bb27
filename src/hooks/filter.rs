//! prctl(2) and seccomp(2), where a program filters its own system calls or switches the time-stamp
//! counter off: never refused, only noted.

use crate::entry::slot::{Call, Step};
use crate::ground::memory::read_value;
use crate::ground::real::{self, Sealed};
use crate::tag::filters;
use libc::{PR_SET_SECCOMP, SECCOMP_MODE_FILTER, SECCOMP_MODE_STRICT};
use libc::{SECCOMP_SET_MODE_FILTER, SECCOMP_SET_MODE_STRICT};

/// linux/prctl.h; libc has no name for it.
const PR_SET_TSC: i32 = 26;
/// linux/prctl.h
const PR_TSC_ENABLE: i32 = 1;
/// SECCOMP_FILTER_FLAG_TSYNC
const TSYNC: usize = 1;
/// SECCOMP_FILTER_FLAG_NEW_LISTENER
const LISTENER: usize = 1 << 3;

/// prctl(2).
pub extern "C" fn prctl(call: &mut Call) -> Step {
    let [option, argument, program, ..] = call.args;
    match option as i32 {
        PR_SET_SECCOMP => match argument as u32 {
            SECCOMP_MODE_STRICT => filter(call),
            SECCOMP_MODE_FILTER => filter_by(call, program),
            _ => Step::PASS,
        },
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
    let [operation, _, program, ..] = call.args;
    match operation as u32 {
        SECCOMP_SET_MODE_STRICT => filter(call),
        SECCOMP_SET_MODE_FILTER => filter_by(call, program),
        _ => Step::PASS,
    }
}

/// A struct sock_fprog. Whoever asks the kernel whether it knows of filters has none.
fn filter_by(call: &mut Call, program: usize) -> Step {
    if !real::is_sealed() && read_value::<[usize; 2]>(program).is_none() {
        return Step::PASS;
    }
    filter(call)
}

fn filter(call: &mut Call) -> Step {
    match filters::set_up() {
        Sealed::Process => call.then(after_filter),
        Sealed::Child => call.then(after_filter_of_child),
    }
}

/// A positive answer may be a listener's descriptor, with the filter in force.
extern "C" fn after_filter(call: &Call, result: isize) -> isize {
    if is_failed(call, result) {
        real::unseal(Sealed::Process);
    }
    result
}

/// Where other threads stand in the way of SECCOMP_FILTER_FLAG_TSYNC, the answer is one of them.
fn is_failed(call: &Call, result: isize) -> bool {
    let [operation, flags, ..] = call.args;
    let is_of_all = call.number() == libc::SYS_seccomp as usize
        && operation as u32 == SECCOMP_SET_MODE_FILTER
        && flags & TSYNC != 0
        && flags & LISTENER == 0;
    result as i32 == -1 || is_of_all && result as i32 > 0
}

extern "C" fn after_filter_of_child(call: &Call, result: isize) -> isize {
    if is_failed(call, result) {
        real::unseal(Sealed::Child);
    }
    result
}
