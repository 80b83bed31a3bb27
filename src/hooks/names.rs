//! link(2), rename(2), unlink(2): a tagged file keeps its names.

use crate::entry::slot::{Call, Step};
use crate::ground::place::Place;
use crate::ground::real::{Errno, sys};
use crate::tag::enforce::{Earlier, enforce};
use crate::tag::subject;
use daxshim_core::contract::{Effect, Operation, Subject};
use libc::{AT_EMPTY_PATH, AT_FDCWD, AT_SYMLINK_FOLLOW};
use libc::{RENAME_EXCHANGE, RENAME_NOREPLACE, RENAME_WHITEOUT};

/// link(2).
pub extern "C" fn link(call: &mut Call) -> Step {
    let [old, new, ..] = call.args;
    link_at(Place::path(old, false), AT_FDCWD, new)
}

/// linkat(2).
pub extern "C" fn linkat(call: &mut Call) -> Step {
    let [old_at, old, new_at, new, flags, _] = call.args;
    let flags = flags as i32;
    if flags & !(AT_SYMLINK_FOLLOW | AT_EMPTY_PATH) != 0 {
        return Step::PASS;
    }
    let old = Place::at(old_at as i32, old, flags & AT_SYMLINK_FOLLOW != 0)
        .or_empty(flags & AT_EMPTY_PATH != 0);
    link_at(old, new_at as i32, new)
}

fn link_at(old: Place, new_at: i32, new: usize) -> Step {
    enforce(
        Operation::Link,
        subject::of(old),
        || Earlier::says(new_name_error(new_at, new).or_else(|| other_device(&old, new_at, new))),
        || Effect::Changes,
    )
}

/// EXDEV where a link would lead to another filesystem.
#[inline(never)]
fn other_device(old: &Place, new_at: i32, new: usize) -> Option<Errno> {
    let there = Place::at(new_at, new, false).parent_device().ok()?;
    let here = old.stat().ok()?.st_dev;
    (here != there).then_some(libc::EXDEV)
}

/// What the kernel says of a new name before it looks at what is to be linked. It is asked by
/// linking the root directory there, which it never does.
fn new_name_error(at: i32, path: usize) -> Option<Errno> {
    // SAFETY: the kernel reads the path, or answers EFAULT.
    match unsafe { sys!(SYS_linkat, AT_FDCWD, c"/".as_ptr(), at, path, 0) } {
        Err(libc::EPERM | libc::EXDEV) | Ok(_) => None,
        Err(errno) => Some(errno),
    }
}

/// rename(2).
pub extern "C" fn rename(call: &mut Call) -> Step {
    let [old, new, ..] = call.args;
    rename_at(Place::path(old, false), Place::path(new, false), 0)
}

/// renameat(2).
pub extern "C" fn renameat(call: &mut Call) -> Step {
    rename_with(call, 0)
}

/// renameat2(2).
pub extern "C" fn renameat2(call: &mut Call) -> Step {
    let [_, _, _, _, flags, _] = call.args;
    rename_with(call, flags as u32)
}

fn rename_with(call: &Call, flags: u32) -> Step {
    let [old_at, old, new_at, new, ..] = call.args;
    rename_at(
        Place::at(old_at as i32, old, false),
        Place::at(new_at as i32, new, false),
        flags,
    )
}

fn rename_at(old: Place, new: Place, flags: u32) -> Step {
    let subject = match subject::of(old) {
        Subject::Untagged => subject::of(new),
        tagged => tagged,
    };
    enforce(
        Operation::Rename,
        subject,
        || Earlier::refuses_if(renames_nothing(&old, &new, flags)),
        || Effect::Changes,
    )
}

/// Whether the kernel refuses, or has nothing to do (both names are the same file), before it
/// comes to the inodes.
#[inline(never)]
fn renames_nothing(old: &Place, new: &Place, flags: u32) -> bool {
    let unknown = flags & !(RENAME_EXCHANGE | RENAME_NOREPLACE | RENAME_WHITEOUT) != 0;
    let contradictory =
        flags & RENAME_EXCHANGE != 0 && flags & (RENAME_NOREPLACE | RENAME_WHITEOUT) != 0;
    let Ok(from) = old.stat() else { return true };
    let onto = match new.stat() {
        Ok(_) if flags & RENAME_NOREPLACE != 0 => return true,
        Ok(to) => (to.st_dev, to.st_ino) == (from.st_dev, from.st_ino),
        Err(_) if flags & RENAME_EXCHANGE != 0 => return true,
        Err(errno) if errno != libc::ENOENT => return true,
        Err(_) => false,
    };
    let apart = match (old.parent_device(), new.parent_device()) {
        (Ok(from), Ok(to)) => from != to,
        (from, to) => is_of_kernel(from) || is_of_kernel(to),
    };
    let closed = || is_of_kernel(old.parent_access()) || is_of_kernel(new.parent_access());
    unknown || contradictory || onto || apart || closed()
}

/// Whether it is an error that the kernel will answer too: not that there was no room to ask.
fn is_of_kernel<T>(asked: Result<T, Errno>) -> bool {
    asked.is_err_and(|errno| errno != libc::ENOMEM)
}

/// unlink(2).
pub extern "C" fn unlink(call: &mut Call) -> Step {
    let [path, ..] = call.args;
    unlink_at(Place::path(path, false))
}

/// unlinkat(2).
pub extern "C" fn unlinkat(call: &mut Call) -> Step {
    let [at, path, flags, ..] = call.args;
    // The kernel refuses AT_REMOVEDIR for a file, and all flags that it does not know.
    if flags as i32 != 0 {
        return Step::PASS;
    }
    unlink_at(Place::at(at as i32, path, false))
}

/// remove(3), whose unlink(2) never leaves libc.
pub extern "C" fn remove(call: &mut Call) -> Step {
    unlink(call)
}

fn unlink_at(place: Place) -> Step {
    enforce(
        Operation::Unlink,
        subject::of(place),
        || Earlier::refuses_if(is_of_kernel(place.parent_access())),
        || Effect::Changes,
    )
}
