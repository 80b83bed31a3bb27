//! Inode flags: FS_IOC_GETFLAGS and FS_IOC_SETFLAGS, FS_IOC_FSGETXATTR and FS_IOC_FSSETXATTR,
//! file_getattr(2) and file_setattr(2). FS_XFLAG_DAX_IMMUTABLE among them is the tag.

use super::attributes::{is_allowed, place_at};
use crate::entry::slot::{Call, Step};
use crate::ground::memory;
use crate::ground::place::Place;
use crate::ground::process;
use crate::tag::enforce::{Earlier, enforce};
use crate::tag::subject::{self, Tag};
use crate::tag::tagging::{self, InodeFlags};
use daxshim_core::contract::{Effect, Mode, Operation, Subject};

/// FS_IOC_SETFLAGS.
pub fn set_flags(fd: i32, argument: usize) -> Step {
    match memory::read_value(argument) {
        Some(flags) => set(&Place::Descriptor(fd), &InodeFlags::Flags(flags)),
        None => Step::PASS,
    }
}

/// FS_IOC_FSSETXATTR.
pub fn set_attributes(fd: i32, argument: usize) -> Step {
    match memory::read_value(argument) {
        Some(flags) => set(&Place::Descriptor(fd), &InodeFlags::Attributes(flags)),
        None => Step::PASS,
    }
}

/// file_setattr(2), by number only.
pub extern "C" fn file_setattr(call: &mut Call) -> Step {
    let [at, path, argument, size, flags, _] = call.args;
    match (place_at(at, path, flags), read_file_attr(argument, size)) {
        (Some(place), Some(flags)) => set(&place, &InodeFlags::File(flags)),
        _ => Step::PASS,
    }
}

/// struct file_attr; `None` where the kernel refuses it: shorter than its first version, longer
/// than a page, or with something behind that the kernel does not know.
fn read_file_attr(argument: usize, size: usize) -> Option<[u64; 3]> {
    const FIRST: usize = size_of::<[u64; 3]>();
    let rest_is_zero = || {
        (FIRST..size)
            .all(|offset| argument.checked_add(offset).and_then(memory::read_value) == Some(0_u8))
    };
    ((FIRST..=memory::PAGE).contains(&size) && rest_is_zero())
        .then(|| memory::read_value(argument))
        .flatten()
}

/// FS_IOC_GETFLAGS.
pub fn get_flags(call: &mut Call, fd: i32) -> Step {
    get(call, Place::Descriptor(fd), |(_, flags)| flags)
}

/// FS_IOC_FSGETXATTR.
pub fn get_attributes(call: &mut Call, fd: i32) -> Step {
    get(call, Place::Descriptor(fd), |(xflags, _)| xflags)
}

/// file_getattr(2), by number only.
pub extern "C" fn file_getattr(call: &mut Call) -> Step {
    let [at, path, _, _, flags, _] = call.args;
    match place_at(at, path, flags) {
        Some(place) => get(call, place, |(xflags, _)| xflags),
        None => Step::PASS,
    }
}

/// Asks the kernel, and adds what the tag shows.
fn get(call: &mut Call, place: Place, which: fn((u32, u32)) -> u32) -> Step {
    let shown = subject::tag_at(place).map_or(0, |tag| which(tagging::shown_with(&tag)));
    if shown == 0 {
        return Step::PASS;
    }
    call.note = shown as usize;
    call.then(after_get)
}

/// The flags are what the third argument begins with, whichever of the calls it was.
extern "C" fn after_get(call: &Call, result: isize) -> isize {
    let [_, _, flags, ..] = call.args;
    if result as i32 == 0
        && let Some(present) = memory::read_value::<u32>(flags)
    {
        memory::write_value(flags, present | call.note as u32);
    }
    result
}

// In its callers' frames, as none has room for two.
#[inline(always)]
fn set(place: &Place, wanted: &InodeFlags) -> Step {
    if process::config().policy.mode == Mode::Off {
        return Step::PASS;
    }
    match subject::tag_at(*place) {
        Some(tag) => change(place, wanted, &tag),
        None if wanted.is_immutable() => make(place, wanted),
        None => Step::PASS,
    }
}

/// On an untagged file: sets the tag along.
#[inline(never)]
fn make(&place: &Place, &wanted: &InodeFlags) -> Step {
    let Ok(stat) = place.stat() else {
        return Step::PASS;
    };
    let is_regular = stat.st_mode & libc::S_IFMT == libc::S_IFREG;
    match wanted.present(place) {
        // A kernel without file_setattr(2).
        Err(libc::ENOSYS) => Step::PASS,
        _ if !is_regular => Step::fail(libc::EINVAL),
        Ok(_) => answer(tagging::set(place, wanted)),
        // A filesystem without inode flags.
        Err(libc::ENOTTY) if !process::config().emulate => Step::fail(libc::EOPNOTSUPP),
        // What the kernel would say of any flags.
        Err(_) => Step::PASS,
    }
}

/// On a tagged file: clears the tag; or leaves it, then nothing else may change either. Where the
/// flags stay as they are the answer is 0 and the kernel is not asked, as it would move ctime.
#[inline(never)]
fn change(&place: &Place, &wanted: &InodeFlags, tag: &Tag) -> Step {
    let Ok(present) = wanted.present(place) else {
        return Step::PASS;
    };
    let shown = present.shown(tag);
    let clears =
        (shown.is_immutable() && !wanted.is_immutable()) || (shown.has_dax() && !wanted.has_dax());
    if clears {
        return answer(tagging::clear(place, wanted, tag));
    }
    let is_bound = process::config().policy.mode == Mode::Enforce;
    let may = || place.stat().is_ok_and(|stat| is_allowed(stat.st_uid));
    if !shown.are(&wanted) {
        let step = enforce(
            Operation::SetFlags,
            Subject::Tagged,
            || Earlier::Nothing,
            || Effect::Changes,
        );
        if !step.is_pass() {
            return step;
        }
    } else if is_bound && may() {
        return Step::answer(0);
    }
    // The kernel knows nothing of the tag.
    let stripped = wanted.stripped(tag);
    if stripped.are(&wanted) {
        Step::PASS
    } else {
        answer(stripped.set(place))
    }
}

fn answer(result: Result<(), i32>) -> Step {
    match result {
        Ok(()) => Step::answer(0),
        Err(errno) => Step::fail(errno),
    }
}
