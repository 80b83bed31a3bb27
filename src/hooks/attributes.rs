//! chmod(2) and chown(2) in all their forms.

use super::size::idle_if;
use crate::entry::slot::{Call, Step};
use crate::ground::place::{Place, Stat};
use crate::ground::real::is_sealed;
use crate::tag::enforce::{Earlier, enforce};
use crate::tag::subject;
use daxshim_core::contract::Operation;
use libc::{AT_EMPTY_PATH, AT_SYMLINK_NOFOLLOW, S_ISGID, S_ISUID};

/// chmod(2).
pub extern "C" fn chmod(call: &mut Call) -> Step {
    let [path, mode, ..] = call.args;
    set_mode(Place::path(path, true), mode)
}

/// lchmod(3).
pub extern "C" fn lchmod(call: &mut Call) -> Step {
    let [path, mode, ..] = call.args;
    set_mode(Place::path(path, false), mode)
}

/// fchmod(2).
pub extern "C" fn fchmod(call: &mut Call) -> Step {
    let [fd, mode, ..] = call.args;
    set_mode(Place::Descriptor(fd as i32), mode)
}

/// The system call of fchmodat(2), which takes no flags.
pub extern "C" fn fchmodat_no_flags(call: &mut Call) -> Step {
    let [at, path, mode, ..] = call.args;
    set_mode(Place::at(at as i32, path, true), mode)
}

/// fchmodat(2).
pub extern "C" fn fchmodat(call: &mut Call) -> Step {
    let [at, path, mode, flags, ..] = call.args;
    match place_at(at, path, flags) {
        Some(place) => set_mode(place, mode),
        None => Step::PASS,
    }
}

/// fchmodat2(2), by number only.
pub extern "C" fn fchmodat2(call: &mut Call) -> Step {
    fchmodat(call)
}

/// chown(2).
pub extern "C" fn chown(call: &mut Call) -> Step {
    let [path, user, group, ..] = call.args;
    set_owner(Place::path(path, true), user, group)
}

/// lchown(2).
pub extern "C" fn lchown(call: &mut Call) -> Step {
    let [path, user, group, ..] = call.args;
    set_owner(Place::path(path, false), user, group)
}

/// fchown(2).
pub extern "C" fn fchown(call: &mut Call) -> Step {
    let [fd, user, group, ..] = call.args;
    set_owner(Place::Descriptor(fd as i32), user, group)
}

/// fchownat(2).
pub extern "C" fn fchownat(call: &mut Call) -> Step {
    let [at, path, user, group, flags, ..] = call.args;
    match place_at(at, path, flags) {
        Some(place) => set_owner(place, user, group),
        None => Step::PASS,
    }
}

/// The place of a call with AT_ flags; `None` where the kernel refuses the flags.
pub fn place_at(at: usize, path: usize, flags: usize) -> Option<Place> {
    let flags = flags as i32;
    let known = flags & !(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) == 0;
    known.then(|| {
        Place::at(at as i32, path, flags & AT_SYMLINK_NOFOLLOW == 0)
            .or_empty(flags & AT_EMPTY_PATH != 0)
    })
}

fn set_mode(place: Place, mode: usize) -> Step {
    let same =
        |stat: Stat| stat.st_mode & 0o7777 == mode as u32 & 0o7777 && is_allowed(stat.st_uid);
    enforce(
        Operation::SetMode,
        subject::of(place),
        || Earlier::refuses_if(place.is_path_only()),
        || idle_if(is_so(&place, same)),
    )
}

fn set_owner(place: Place, user: usize, group: usize) -> Step {
    let (user, group) = (user as u32, group as u32);
    // chown takes set-ID bits away, whatever the owner is.
    let same = |stat: Stat| {
        (user == u32::MAX || user == stat.st_uid)
            && (group == u32::MAX || group == stat.st_gid)
            && stat.st_mode & (S_ISUID | S_ISGID) == 0
            && is_allowed(stat.st_uid)
    };
    enforce(
        Operation::SetOwner,
        subject::of(place),
        || Earlier::refuses_if(place.is_path_only()),
        || idle_if(is_so(&place, same)),
    )
}

/// In a frame of its own, as nearly no call comes here.
#[inline(never)]
fn is_so(place: &Place, same: impl FnOnce(Stat) -> bool) -> bool {
    place.stat().is_ok_and(same)
}

/// Whether the kernel would let the caller change attributes at all of what `owner` owns. (Somebody else with
/// CAP_FOWNER is refused: that is what happens without compat too.)
pub fn is_allowed(owner: u32) -> bool {
    if is_sealed() {
        return false;
    }
    let user = rustix::process::geteuid();
    user.is_root() || user.as_raw() == owner
}
