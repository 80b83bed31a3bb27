//! sendfile(2), splice(2), copy_file_range(2): data that comes in without write(2), and extents
//! that may be shared on the way out.

use super::write::is_open_for_writing;
use crate::descriptors;
use crate::enforce::{Earlier, enforce};
use crate::subject;
use crate::trampoline::{Call, Step};
use daxshim_core::contract::{Effect, Operation, Subject};

/// sendfile(2).
pub extern "C" fn sendfile(call: &mut Call) -> Step {
    let [to, from, ..] = call.args;
    copy(from, to)
}

/// splice(2).
pub extern "C" fn splice(call: &mut Call) -> Step {
    let [from, _, to, ..] = call.args;
    copy(from, to)
}

/// copy_file_range(2). From a tagged file the answer is EXDEV, upon which programs copy the data:
/// a filesystem may do it by sharing extents.
pub extern "C" fn copy_file_range(call: &mut Call) -> Step {
    let [from, _, to, _, _, flags] = call.args;
    if flags as u32 != 0 {
        return Step::PASS;
    }
    let step = copy(from, to);
    if !step.is_pass() {
        return step;
    }
    enforce(
        Operation::ShareExtents,
        subject::of_descriptor(from as i32),
        || {
            if is_open_for_reading(from as i32) && is_open_for_writing(to as i32) {
                Earlier::Says(libc::EXDEV)
            } else {
                Earlier::Refuses
            }
        },
        || Effect::Changes,
    )
}

fn copy(from: usize, to: usize) -> Step {
    let (from, to) = (from as i32, to as i32);
    let (into, out_of) = (is_tagged(to), is_tagged(from));
    if let Some(into) = into {
        let step = enforce(
            Operation::CopyInto,
            into,
            || Earlier::refuses_if(!is_open_for_writing(to) || !is_open_for_reading(from)),
            || Effect::Changes,
        );
        if !step.is_pass() {
            return step;
        }
    }
    match out_of {
        Some(out_of) => enforce(
            Operation::Read,
            out_of,
            || Earlier::refuses_if(!is_open_for_reading(from)),
            || Effect::Changes,
        ),
        None => Step::PASS,
    }
}

fn is_tagged(fd: i32) -> Option<Subject> {
    (!descriptors::is_untagged(fd)).then(|| subject::of_descriptor(fd))
}

fn is_open_for_reading(fd: i32) -> bool {
    subject::open_flags(fd)
        .is_some_and(|flags| flags & libc::O_PATH == 0 && flags & libc::O_ACCMODE != libc::O_WRONLY)
}
