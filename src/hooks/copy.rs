//! sendfile(2), splice(2), copy_file_range(2): data that comes in without write(2), and extents
//! that may be shared on the way out.

use super::write::is_open_for_writing;
use crate::entry::slot::{Call, Step};
use crate::ground::memory::read_value;
use crate::ground::place::{Place, open_flags};
use crate::ground::process;
use crate::ground::real::{Errno, is_sealed, sys, syscall};
use crate::tag::audit;
use crate::tag::enforce::{Earlier, enforce};
use crate::tag::subject;
use daxshim_core::contract::{Effect, Mode, Operation, Subject};

/// sendfile(2).
pub extern "C" fn sendfile(call: &mut Call) -> Step {
    let [to, from, offset, length, ..] = call.args;
    copy(from, to, || {
        // SAFETY: copies nothing; the kernel reads the offset, or answers EFAULT.
        let dry_run = unsafe { sys!(SYS_sendfile, to, from, offset, 0) };
        let negative = ((length as isize) < 0).then_some(libc::EINVAL);
        dry_run.err().filter(|_| !is_sealed()).or(negative)
    })
}

/// splice(2).
pub extern "C" fn splice(call: &mut Call) -> Step {
    let [from, from_offset, to, to_offset, _, flags] = call.args;
    copy(from, to, || {
        let (from_pipe, to_pipe) = (is_pipe(from as i32), is_pipe(to as i32));
        let bad = |offset: usize| offset != 0 && read_value::<i64>(offset).is_none();
        let negative = |offset| read_value::<i64>(offset).is_some_and(|offset| offset < 0);
        let appends = open_flags(to as i32).is_some_and(|flags| flags & libc::O_APPEND != 0);
        if flags as u32 & !SPLICE_FLAGS != 0 || !(from_pipe || to_pipe) {
            Some(libc::EINVAL)
        } else if (from_pipe && from_offset != 0) || (to_pipe && to_offset != 0) {
            Some(libc::ESPIPE)
        } else if bad(from_offset) || bad(to_offset) {
            Some(libc::EFAULT)
        } else if appends || negative(to_offset) {
            Some(libc::EINVAL)
        } else {
            None
        }
    })
}

/// SPLICE_F_MOVE, NONBLOCK, MORE, GIFT.
const SPLICE_FLAGS: u32 = 0xf;

/// copy_file_range(2). From a tagged file the answer is EXDEV, upon which programs copy the data:
/// a filesystem may do it by sharing extents.
pub extern "C" fn copy_file_range(call: &mut Call) -> Step {
    let [from, from_offset, to, to_offset, _, flags] = call.args;
    let dry_run = || {
        let args = [from, from_offset, to, to_offset, 0, flags];
        // SAFETY: copies nothing; the kernel reads the offsets, or answers EFAULT.
        let refused = unsafe { syscall(libc::SYS_copy_file_range, args) }.err();
        refused.filter(|_| !is_sealed())
    };
    let step = copy(from, to, dry_run);
    if !step.is_pass() || subject::of_descriptor(from as i32) != Subject::Tagged {
        return step;
    }
    if process::config().policy.mode == Mode::Audit {
        audit::letting_through();
        return step;
    }
    Step::fail(dry_run().unwrap_or(libc::EXDEV))
}

fn copy(from: usize, to: usize, earlier: impl Fn() -> Option<Errno>) -> Step {
    let (from, to) = (from as i32, to as i32);
    let look = |operation, subject| {
        enforce(
            operation,
            subject,
            || {
                if is_open_for_writing(to) && is_open_for_reading(from) {
                    Earlier::says(earlier())
                } else {
                    Earlier::Refuses
                }
            },
            || Effect::Changes,
        )
    };
    let step = look(Operation::CopyInto, subject::of_descriptor(to));
    if !step.is_pass() || !process::config().policy.deny_reads {
        return step;
    }
    look(Operation::Read, subject::of_descriptor(from))
}

fn is_pipe(fd: i32) -> bool {
    Place::Descriptor(fd)
        .stat()
        .is_ok_and(|stat| stat.st_mode & libc::S_IFMT == libc::S_IFIFO)
}

/// Whether the kernel gives data out through this descriptor at all.
pub fn is_open_for_reading(fd: i32) -> bool {
    // Where that can't be asked, a tagged file matters more than EBADF.
    open_flags(fd).map_or(is_sealed(), |flags| {
        flags & libc::O_PATH == 0 && flags & libc::O_ACCMODE != libc::O_WRONLY
    })
}
