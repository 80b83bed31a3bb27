//! setxattr(2) and removexattr(2), every namespace.

use super::attributes::place_at;
use crate::entry::slot::{Call, Step};
use crate::ground::memory;
use crate::ground::place::Place;
use crate::ground::real::is_sealed;
use crate::tag::enforce::{Earlier, enforce};
use crate::tag::subject;
use core::ffi::c_char;
use daxshim_core::contract::{Effect, Operation, Subject};
use libc::{XATTR_CREATE, XATTR_REPLACE};

/// XATTR_NAME_MAX and its NUL, bytes (linux/limits.h).
const NAME_SIZE: usize = 256;
/// XATTR_SIZE_MAX (linux/limits.h).
const VALUE_MAX: usize = 65536;

/// setxattr(2).
pub extern "C" fn setxattr(call: &mut Call) -> Step {
    let [path, ..] = call.args;
    set(call, Place::path(path, true))
}

/// lsetxattr(2).
pub extern "C" fn lsetxattr(call: &mut Call) -> Step {
    let [path, ..] = call.args;
    set(call, Place::path(path, false))
}

/// fsetxattr(2).
pub extern "C" fn fsetxattr(call: &mut Call) -> Step {
    let [fd, ..] = call.args;
    set(call, Place::Descriptor(fd as i32))
}

/// removexattr(2).
pub extern "C" fn removexattr(call: &mut Call) -> Step {
    let [path, ..] = call.args;
    remove(call, Place::path(path, true))
}

/// lremovexattr(2).
pub extern "C" fn lremovexattr(call: &mut Call) -> Step {
    let [path, ..] = call.args;
    remove(call, Place::path(path, false))
}

/// fremovexattr(2).
pub extern "C" fn fremovexattr(call: &mut Call) -> Step {
    let [fd, ..] = call.args;
    remove(call, Place::Descriptor(fd as i32))
}

/// setxattrat(2), by number only.
pub extern "C" fn setxattrat(call: &mut Call) -> Step {
    let [at, path, flags, name, arguments, size] = call.args;
    // struct xattr_args: value, size, flags.
    if size < size_of::<[u64; 2]>() {
        return Step::PASS;
    }
    let (Some(place), Some([value, rest])) = (
        place_at(at, path, flags),
        memory::read_value::<[u64; 2]>(arguments),
    ) else {
        return Step::PASS;
    };
    let (size, flags) = (rest as u32 as usize, (rest >> 32) as usize);
    set_named(place, name, value as usize, size, flags)
}

/// removexattrat(2), by number only.
pub extern "C" fn removexattrat(call: &mut Call) -> Step {
    let [at, path, flags, name, ..] = call.args;
    match place_at(at, path, flags) {
        Some(place) => remove_named(place, name),
        None => Step::PASS,
    }
}

fn set(call: &Call, place: Place) -> Step {
    let [_, name, value, size, flags, _] = call.args;
    set_named(place, name, value, size, flags)
}

fn set_named(place: Place, name: usize, value: usize, size: usize, flags: usize) -> Step {
    let subject = match subject::of(place) {
        Subject::Untagged if forges(place, name, value, size) => Subject::Tagged,
        subject => subject,
    };
    let earlier = || {
        let unknown_flags = flags as i32 & !(XATTR_CREATE | XATTR_REPLACE) != 0;
        if place.is_path_only() || unknown_flags || is_refused_name(name) || size > VALUE_MAX {
            Earlier::Refuses
        } else {
            Earlier::says(memory::is_bad_somewhere(value, size).then_some(libc::EFAULT))
        }
    };
    enforce(Operation::SetXattr, subject, earlier, || Effect::Changes)
}

/// Whether it would make a tag that never saw its preconditions. A copy (root's `cp -a`) does not.
/// Most values are shorter or longer than any tag, and cost no look at the name.
fn forges(place: Place, name: usize, value: usize, size: usize) -> bool {
    if !subject::could_bind(size) {
        return false;
    }
    // Longer than the names of tags, of which it would be none.
    let mut buffer = [0; 32];
    memory::copy_string(name as *const c_char, &mut buffer)
        .is_some_and(|name| subject::would_bind(place, name, value, size))
}

fn remove(call: &Call, place: Place) -> Step {
    let [_, name, ..] = call.args;
    remove_named(place, name)
}

fn remove_named(place: Place, name: usize) -> Step {
    enforce(
        Operation::RemoveXattr,
        subject::of(place),
        || Earlier::refuses_if(place.is_path_only() || is_refused_name(name)),
        || Effect::Changes,
    )
}

/// Whether the kernel refuses the name before it looks at the file: unreadable, empty, too long.
fn is_refused_name(name: usize) -> bool {
    if is_sealed() {
        return name == 0;
    }
    memory::string_length(name, NAME_SIZE).is_none_or(|length| length == 0)
}
