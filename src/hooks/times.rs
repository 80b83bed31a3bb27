//! utimensat(2) in all its forms. With compat they answer 0 and set nothing.

use crate::entry::slot::{Call, Step};
use crate::ground::memory;
use crate::ground::place::Place;
use crate::ground::real::is_sealed;
use crate::tag::enforce::{Earlier, enforce};
use crate::tag::subject;
use daxshim_core::contract::Operation;
use libc::{AT_EMPTY_PATH, AT_SYMLINK_NOFOLLOW, UTIME_NOW, UTIME_OMIT, timespec, timeval};

/// utime(2).
pub extern "C" fn utime(call: &mut Call) -> Step {
    let [path, times, ..] = call.args;
    set(Place::path(path, true), times, readable::<libc::utimbuf>)
}

/// utimes(2).
pub extern "C" fn utimes(call: &mut Call) -> Step {
    let [path, times, ..] = call.args;
    set(Place::path(path, true), times, microseconds)
}

/// lutimes(3).
pub extern "C" fn lutimes(call: &mut Call) -> Step {
    let [path, times, ..] = call.args;
    set(Place::path(path, false), times, microseconds)
}

/// futimes(3).
pub extern "C" fn futimes(call: &mut Call) -> Step {
    let [fd, times, ..] = call.args;
    set(Place::Descriptor(fd as i32), times, microseconds)
}

/// futimesat(2).
pub extern "C" fn futimesat(call: &mut Call) -> Step {
    let [at, path, times, ..] = call.args;
    set(at_or_itself(at, path, true), times, microseconds)
}

/// futimens(3).
pub extern "C" fn futimens(call: &mut Call) -> Step {
    let [fd, times, ..] = call.args;
    set(Place::Descriptor(fd as i32), times, nanoseconds)
}

/// utimensat(2).
pub extern "C" fn utimensat(call: &mut Call) -> Step {
    let [at, path, times, flags, ..] = call.args;
    let flags = flags as i32;
    // A descriptor without a path takes no flags.
    if flags & !(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) != 0 || path == 0 && flags != 0 {
        return Step::PASS;
    }
    let place = at_or_itself(at, path, flags & AT_SYMLINK_NOFOLLOW == 0);
    set(
        place.or_empty(flags & AT_EMPTY_PATH != 0),
        times,
        nanoseconds,
    )
}

/// Without a path, the descriptor itself.
fn at_or_itself(at: usize, path: usize, follow: bool) -> Place {
    if path == 0 {
        Place::Descriptor(at as i32)
    } else {
        Place::at(at as i32, path, follow)
    }
}

fn set(place: Place, times: usize, earlier: fn(usize) -> Earlier) -> Step {
    let owner = subject::owner_of_tagged(&place);
    let is_allowed = || owner.is_some_and(super::attributes::is_allowed);
    let subject = match owner {
        None if is_sealed() => subject::of(place),
        owner => subject::subject(owner.is_some()),
    };
    enforce(
        Operation::SetTimes,
        subject,
        || match (place.is_path_only(), times) {
            (true, _) => Earlier::Refuses,
            (false, 0) => Earlier::Nothing,
            // The times can't be read.
            (false, _) if is_sealed() => Earlier::Nothing,
            (false, times) => earlier(times),
        },
        || super::size::idle_if(is_allowed()),
    )
}

/// Unreadable times are EFAULT in the kernel; where libc reads them first, it crashes.
fn readable<T: Copy>(times: usize) -> Earlier {
    Earlier::refuses_if(memory::read_value::<T>(times).is_none())
}

fn microseconds(times: usize) -> Earlier {
    match memory::read_value::<[timeval; 2]>(times) {
        Some(times) => Earlier::refuses_if(
            times
                .iter()
                .any(|time| !(0..1_000_000).contains(&time.tv_usec)),
        ),
        None => Earlier::Refuses,
    }
}

fn nanoseconds(times: usize) -> Earlier {
    let Some(times) = memory::read_value::<[timespec; 2]>(times) else {
        return Earlier::Refuses;
    };
    let special = |time: &timespec| matches!(time.tv_nsec, UTIME_NOW | UTIME_OMIT);
    let valid = |time: &timespec| special(time) || (0..1_000_000_000).contains(&time.tv_nsec);
    let nothing_to_do = times.iter().all(|time| time.tv_nsec == UTIME_OMIT);
    Earlier::refuses_if(nothing_to_do || !times.iter().all(valid))
}
