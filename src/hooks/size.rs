//! ftruncate(2), truncate(2), fallocate(2).

use super::write::is_open_for_writing;
use crate::check;
use crate::entry::slot::{After, Call, Step};
use crate::ground::descriptors;
use crate::ground::place::Place;
use crate::ground::real::{is_sealed, sys};
use crate::tag::enforce::{Earlier, enforce};
use crate::tag::subject;
use daxshim_core::contract::{Effect, Operation, Subject};
use libc::{FALLOC_FL_KEEP_SIZE, W_OK};

/// ftruncate(2).
pub extern "C" fn ftruncate(call: &mut Call) -> Step {
    let [fd, length, ..] = call.args;
    let (fd, length) = (fd as i32, length as i64);
    if descriptors::is_untagged(fd) && !check::on() {
        return Step::PASS;
    }
    let step = enforce(
        Operation::Resize,
        subject::of_descriptor(fd),
        || Earlier::refuses_if(length < 0 || !is_open_for_writing(fd)),
        || resize_effect(Place::Descriptor(fd), length),
    );
    passed(call, step, Place::Descriptor(fd), length, after_ftruncate)
}

/// truncate(2).
pub extern "C" fn truncate(call: &mut Call) -> Step {
    let [path, length, ..] = call.args;
    let (place, length) = (Place::path(path, true), length as i64);
    let step = enforce(
        Operation::Resize,
        subject::of(place),
        || Earlier::refuses_if(length < 0 || place.access(W_OK).is_err()),
        || resize_effect(place, length),
    );
    passed(call, step, place, length, after_truncate)
}

/// A truncation that is not refused here.
fn passed(call: &mut Call, step: Step, place: Place, length: i64, after: After) -> Step {
    if let (true, Ok(length)) = (step.is_pass(), usize::try_from(length))
        && let Some(before) = check::truncating(place, length)
    {
        call.note = before;
        return call.then(after);
    }
    step
}

extern "C" fn after_ftruncate(call: &Call, result: isize) -> isize {
    let [fd, length, ..] = call.args;
    check::truncated(Place::Descriptor(fd as i32), call.note, length, result == 0);
    result
}

extern "C" fn after_truncate(call: &Call, result: isize) -> isize {
    let [path, length, ..] = call.args;
    check::truncated(Place::path(path, true), call.note, length, result == 0);
    result
}

/// A truncation to the present size changes nothing, unless it clears set-ID bits.
#[inline(never)]
fn resize_effect(place: Place, length: i64) -> Effect {
    let falls = libc::S_ISUID | libc::S_ISGID;
    idle_if(
        place
            .stat()
            .is_ok_and(|stat| stat.st_size == length && stat.st_mode & falls == 0),
    )
}

/// fallocate(2).
pub extern "C" fn fallocate(call: &mut Call) -> Step {
    let [fd, mode, offset, length, ..] = call.args;
    let (fd, mode) = (fd as i32, mode as i32);
    let (offset, length) = (offset as i64, length as i64);
    if descriptors::is_untagged(fd) {
        return Step::PASS;
    }
    let refused = || offset < 0 || length <= 0 || !is_open_for_writing(fd) || is_unknown(fd, mode);
    let effect = |subject| {
        // A tagged file has no holes; only a broken tag leaves doubt.
        let allocates = mode & !FALLOC_FL_KEEP_SIZE == 0 && subject == Subject::Tagged;
        idle_if(allocates && is_inside(fd, offset.saturating_add(length)))
    };
    let subject = subject::of_descriptor(fd);
    enforce(
        Operation::Allocate,
        subject,
        || Earlier::refuses_if(refused()),
        || effect(subject),
    )
}

#[inline(never)]
fn is_inside(fd: i32, end: i64) -> bool {
    Place::Descriptor(fd)
        .stat()
        .is_ok_and(|stat| end <= stat.st_size)
}

/// Whether the kernel refuses the mode, if it may be asked: that comes before it finds that no file can be so
/// long, which is EFBIG.
fn is_unknown(fd: i32, mode: i32) -> bool {
    // SAFETY: takes no pointer, and nothing is allocated there.
    let dry_run = unsafe { sys!(SYS_fallocate, fd, mode, i64::MAX, 1) };
    dry_run != Err(libc::EFBIG) && !is_sealed()
}

/// [`Effect::Idle`] if so.
pub fn idle_if(idle: bool) -> Effect {
    if idle { Effect::Idle } else { Effect::Changes }
}
