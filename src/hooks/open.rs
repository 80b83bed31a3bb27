//! open(2), openat(2), creat(2): refused only with O_TRUNC.

use super::descriptors::forget_result;
use crate::entry::slot::{Call, Step};
use crate::ground::memory;
use crate::ground::place::Place;
use crate::ground::process;
use crate::ground::real::{Errno, sys};
use crate::tag::enforce::{Earlier, enforce};
use crate::tag::subject;
use daxshim_core::contract::{Effect, Mode, Operation};
use libc::{AT_FDCWD, O_ACCMODE, O_CREAT, O_DIRECTORY, O_EXCL, O_NOFOLLOW, O_PATH, O_TRUNC};
use libc::{O_CLOEXEC, O_TMPFILE, O_WRONLY, R_OK, W_OK};

/// open(2).
pub extern "C" fn open(call: &mut Call) -> Step {
    let [path, flags, ..] = call.args;
    open_at(call, AT_FDCWD, path, flags as i32)
}

/// `__open_2`, the fortified open(2), which takes no mode.
pub extern "C" fn open_2(call: &mut Call) -> Step {
    let [_, flags, ..] = call.args;
    if needs_mode(flags) {
        return Step::PASS;
    }
    open(call)
}

/// openat(2).
pub extern "C" fn openat(call: &mut Call) -> Step {
    let [at, path, flags, ..] = call.args;
    open_at(call, at as i32, path, flags as i32)
}

/// `__openat_2`, the fortified openat(2), which takes no mode.
pub extern "C" fn openat_2(call: &mut Call) -> Step {
    let [_, _, flags, ..] = call.args;
    if needs_mode(flags) {
        return Step::PASS;
    }
    openat(call)
}

/// Whether glibc ends the program that calls a fortified open with these flags.
fn needs_mode(flags: usize) -> bool {
    let flags = flags as i32;
    flags & O_CREAT != 0 || flags & O_TMPFILE == O_TMPFILE
}

/// creat(2).
pub extern "C" fn creat(call: &mut Call) -> Step {
    let [path, ..] = call.args;
    open_at(call, AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC)
}

/// openat2(2), by number only. How it resolves the path only the kernel knows, so it finds the file
/// first, by O_PATH, which nobody who watches the file is told of.
pub extern "C" fn openat2(call: &mut Call) -> Step {
    let [at, path, how, size, ..] = call.args;
    let Some([flags, _, resolve]) =
        memory::read_value::<[u64; 3]>(how).filter(|_| size >= size_of::<[u64; 3]>())
    else {
        return Step::PASS;
    };
    // Flags that are unknown, a mode without O_CREAT, more at the end of `how` than the kernel knows: all
    // of this it says before it looks at the path, of which the empty one is refused next.
    // SAFETY: the kernel reads `how`, or answers EFAULT; the path is ours.
    let dry_run = || unsafe { sys!(SYS_openat2, at, c"".as_ptr(), how, size) };
    let flags = flags as i32;
    let probe = [(O_PATH | O_CLOEXEC | flags & O_NOFOLLOW) as u64, 0, resolve];
    // SAFETY: the kernel reads the path, or answers EFAULT; `probe` is ours.
    let find = || unsafe { sys!(SYS_openat2, at, path, &raw const probe, size_of_val(&probe)) };
    truncate(call, flags, find, dry_run)
}

/// open_by_handle_at(2). Only the kernel knows whose handle it is, so it finds the file first, by
/// O_PATH, which nobody who watches the file is told of.
pub extern "C" fn open_by_handle_at(call: &mut Call) -> Step {
    let [mount, handle, flags, ..] = call.args;
    // SAFETY: the kernel reads the handle, or answers EFAULT.
    let find = || unsafe { sys!(SYS_open_by_handle_at, mount, handle, O_PATH | O_CLOEXEC) };
    truncate(call, flags as i32, find, || dry_run(flags as i32))
}

/// An open of the file that `find` gives a descriptor of, ours to close, with arguments that `dry_run`
/// would open nothing by.
fn truncate(
    call: &mut Call,
    flags: i32,
    find: impl FnOnce() -> Result<usize, Errno>,
    dry_run: impl FnOnce() -> Result<usize, Errno>,
) -> Step {
    if flags & O_TRUNC != 0 && flags & O_PATH == 0 && process::config().policy.mode != Mode::Off {
        let Ok(fd) = find() else { return Step::PASS };
        let place = Place::at(fd as i32, c"".as_ptr() as usize, true).or_empty(true);
        let step = enforce(
            Operation::Truncate,
            subject::of(Place::Descriptor(fd as i32)),
            || Earlier::refuses_if(is_refused_anyway(place, flags, dry_run)),
            || Effect::Changes,
        );
        // SAFETY: `find` has just opened it.
        let _ = unsafe { sys!(SYS_close, fd) };
        if !step.is_pass() {
            return step;
        }
    }
    call.then(forget_result)
}

fn open_at(call: &mut Call, at: i32, path: usize, flags: i32) -> Step {
    if flags & O_TRUNC != 0 && flags & O_PATH == 0 {
        let place = Place::at(at, path, flags & O_NOFOLLOW == 0);
        let step = enforce(
            Operation::Truncate,
            subject::of(place),
            || Earlier::refuses_if(is_refused_anyway(place, flags, || dry_run(flags))),
            || Effect::Changes,
        );
        if !step.is_pass() {
            return step;
        }
    }
    call.then(forget_result)
}

/// An open that the kernel refuses with ENOENT, if it has nothing against the flags.
fn dry_run(flags: i32) -> Result<usize, Errno> {
    // SAFETY: the path is ours, and empty.
    unsafe { sys!(SYS_openat, AT_FDCWD, c"".as_ptr(), flags, 0) }
}

/// Whether the kernel would not open this file anyway.
fn is_refused_anyway(
    place: Place,
    flags: i32,
    dry_run: impl FnOnce() -> Result<usize, Errno>,
) -> bool {
    // O_TRUNC needs the right to write, whatever the access mode.
    let wanted = if flags & O_ACCMODE == O_WRONLY {
        W_OK
    } else {
        R_OK | W_OK
    };
    flags & (O_CREAT | O_EXCL) == O_CREAT | O_EXCL
        || flags & O_DIRECTORY != 0
        || dry_run() != Err(libc::ENOENT)
        || place.access(wanted).is_err()
}
