//! read(2) and its kin: refused only with `DAXSHIM_READS=deny`, rule 3 of the proposal read
//! literally. Otherwise their symbols lead straight on.

use super::copy::is_open_for_reading;
use super::write::{bad_buffer, bad_vector, negative, unknown_flags, vectored_flags};
use crate::entry::slot::{Call, Step};
use crate::ground::descriptors;
use crate::tag::enforce::{Earlier, enforce};
use crate::tag::subject;
use daxshim_core::contract::{Effect, Operation};

/// read(2).
pub extern "C" fn read(call: &mut Call) -> Step {
    let [fd, buffer, length, ..] = call.args;
    look(fd, || bad_buffer(buffer, length))
}

/// pread(2).
pub extern "C" fn pread(call: &mut Call) -> Step {
    let [fd, buffer, length, offset, ..] = call.args;
    look(fd, || {
        negative(offset).or_else(|| bad_buffer(buffer, length))
    })
}

/// readv(2).
pub extern "C" fn readv(call: &mut Call) -> Step {
    let [fd, vector, count, ..] = call.args;
    look(fd, || bad_vector(vector, count))
}

/// preadv(2).
pub extern "C" fn preadv(call: &mut Call) -> Step {
    let [fd, vector, count, offset, ..] = call.args;
    look(fd, || {
        negative(offset).or_else(|| bad_vector(vector, count))
    })
}

/// preadv2(2), whose offset may be -1: the present one.
pub extern "C" fn preadv2(call: &mut Call) -> Step {
    let [fd, vector, count, offset, ..] = call.args;
    let refused = || negative(offset).filter(|_| offset as isize != -1);
    let flags = vectored_flags(call);
    look(fd, || {
        refused()
            .or_else(|| bad_vector(vector, count))
            .or_else(|| unknown_flags(flags))
    })
}

fn look(fd: usize, arguments: impl FnOnce() -> Option<i32>) -> Step {
    let fd = fd as i32;
    if !crate::ground::process::config().policy.deny_reads || descriptors::is_untagged(fd) {
        return Step::PASS;
    }
    enforce(
        Operation::Read,
        subject::of_descriptor(fd),
        || {
            if is_open_for_reading(fd) {
                Earlier::says(arguments())
            } else {
                Earlier::Refuses
            }
        },
        || Effect::Changes,
    )
}
