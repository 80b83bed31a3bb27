//! write(2) and its kin: a tagged file's data changes by mmap only.

use crate::check;
use crate::entry::slot::{After, Call, Step};
use crate::ground::descriptors;
use crate::ground::memory;
use crate::ground::place::open_flags;
use crate::tag::enforce::{Earlier, enforce};
use crate::tag::subject;
use daxshim_core::contract::{Effect, Operation};
use libc::{O_ACCMODE, O_PATH, O_RDONLY};

/// write(2).
pub extern "C" fn write(call: &mut Call) -> Step {
    let [_, buffer, length, ..] = call.args;
    change(call, here, 0, || bad_buffer(buffer, length))
}

/// pwrite(2).
pub extern "C" fn pwrite(call: &mut Call) -> Step {
    let [_, buffer, length, offset, ..] = call.args;
    change(call, at, 0, || {
        negative(offset)
            .or_else(|| too_far(offset, length))
            .or_else(|| bad_buffer(buffer, length))
    })
}

/// writev(2).
pub extern "C" fn writev(call: &mut Call) -> Step {
    let [_, vector, count, ..] = call.args;
    change(call, here, 0, || bad_vector(vector, count))
}

/// pwritev(2).
pub extern "C" fn pwritev(call: &mut Call) -> Step {
    let [_, vector, count, offset, ..] = call.args;
    change(call, at, 0, || {
        negative(offset).or_else(|| bad_vector_at(offset, vector, count))
    })
}

/// pwritev2(2), whose offset may be -1: the present one.
pub extern "C" fn pwritev2(call: &mut Call) -> Step {
    let [_, vector, count, offset, ..] = call.args;
    let refused = || negative(offset).filter(|_| offset as isize != -1);
    let flags = vectored_flags(call);
    let after = if offset as isize == -1 { here } else { at };
    change(call, after, flags, || {
        refused()
            .or_else(|| bad_vector_at(offset, vector, count))
            .or_else(|| unknown_flags(flags))
    })
}

/// The flags of preadv2(2) and pwritev2(2): by number there is another half of the offset before them,
/// which the kernel does not look at.
pub fn vectored_flags(call: &Call) -> u32 {
    let [_, _, _, _, fifth, sixth] = call.args;
    (if call.is_by_number() { sixth } else { fifth }) as u32
}

/// What the kernel says of RWF_ flags, before the file is asked.
pub fn unknown_flags(flags: u32) -> Option<i32> {
    // linux/fs.h, up to Linux 6.18.
    const APPEND: u32 = 0x10;
    const NOAPPEND: u32 = 0x20;
    const KNOWN: u32 = 0x1ff;
    if flags & !KNOWN != 0 {
        Some(libc::EOPNOTSUPP)
    } else if flags & APPEND != 0 && flags & NOAPPEND != 0 {
        Some(libc::EINVAL)
    } else {
        None
    }
}

/// `written`: what is told of a write that was durable when it returned, and `flags` are those of the call.
fn change(
    call: &mut Call,
    written: After,
    flags: u32,
    arguments: impl FnOnce() -> Option<i32>,
) -> Step {
    let [fd, ..] = call.args;
    let fd = fd as i32;
    if descriptors::is_untagged(fd) {
        return Step::PASS;
    }
    check::answering(fd);
    let step = enforce(
        Operation::Write,
        subject::of_descriptor(fd),
        || {
            if is_open_for_writing(fd) {
                Earlier::says(arguments())
            } else {
                Earlier::Refuses
            }
        },
        || Effect::Changes,
    );
    match step.is_pass() && check::is_written_through(fd, flags) {
        true => call.then(written),
        false => step,
    }
}

/// After a write at an offset.
extern "C" fn at(call: &Call, result: isize) -> isize {
    let [fd, _, _, offset, ..] = call.args;
    if result > 0 {
        check::written_through(fd as i32, Some(offset), result as usize);
    }
    result
}

/// After a write where the descriptor was.
extern "C" fn here(call: &Call, result: isize) -> isize {
    let [fd, ..] = call.args;
    if result > 0 {
        check::written_through(fd as i32, None, result as usize);
    }
    result
}

/// Whether the kernel lets data through this descriptor at all.
pub fn is_open_for_writing(fd: i32) -> bool {
    open_flags(fd).is_some_and(|flags| flags & O_PATH == 0 && flags & O_ACCMODE != O_RDONLY)
}

/// What the kernel says of an offset.
pub fn negative(offset: usize) -> Option<i32> {
    ((offset as i64) < 0).then_some(libc::EINVAL)
}

/// What the kernel says of an offset that is not negative, where the data would end.
fn too_far(offset: usize, length: usize) -> Option<i32> {
    let end = (offset as i64).checked_add(i64::try_from(length).unwrap_or(0));
    end.is_none().then_some(libc::EINVAL)
}

/// What the kernel says of a buffer.
pub fn bad_buffer(buffer: usize, length: usize) -> Option<i32> {
    let leaves_user_space = (length as isize) < 0;
    (leaves_user_space || memory::is_bad(buffer, length)).then_some(libc::EFAULT)
}

/// What the kernel says of an array of buffers.
pub fn bad_vector(vector: usize, count: usize) -> Option<i32> {
    // The kernel takes an unsigned long; libc an int.
    memory::vector_error(vector, count as i32 as usize)
}

/// What the kernel says of an array of buffers, and of where its data would end.
fn bad_vector_at(offset: usize, vector: usize, count: usize) -> Option<i32> {
    let length = || {
        (0..count as i32 as usize)
            .map_while(|i| memory::read_value(vector + i * size_of::<[usize; 2]>()))
            .fold(0usize, |sum, [_, length]: [usize; 2]| {
                sum.saturating_add(length)
            })
            .min(MAX_RW_COUNT)
    };
    let is_near_the_end = (offset as i64) > i64::MAX - MAX_RW_COUNT as i64;
    let too_far = || is_near_the_end.then(|| too_far(offset, length())).flatten();
    bad_vector(vector, count).or_else(too_far)
}

/// Most bytes that one call reads or writes (include/linux/fs.h).
const MAX_RW_COUNT: usize = 0x7fff_f000;
