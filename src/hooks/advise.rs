//! madvise(2) and process_madvise(2): advice that takes pages away, or data.

use super::range::{answer, is_no_range, is_watched_only, kernel};
use crate::entry::slot::{Call, Step};
use crate::ground::memory::{PAGE, on_own_stack, read_value, vector_error};
use crate::ground::real::{Errno, SignalsBlocked, is_sealed, sys};
use crate::mappings::{
    self, Attributes, MADV_GUARD_INSTALL, MADV_GUARD_REMOVE, Reasons, during, page_end,
    set_inherited, suspend, suspend_in,
};
use crate::tag::enforce::{Earlier, enforce};
use crate::tag::listed::subject_in;
use daxshim_core::contract::{Effect, Operation, Subject};

/// madvise(2), of [`ADVICE`](crate::entry::shortcut::ADVICE).
pub extern "C" fn madvise(call: &mut Call) -> Step {
    let [address, length, advice, ..] = call.args;
    let range = (address, page_end(address, length));
    match advice as i32 {
        MADV_GUARD_INSTALL | MADV_GUARD_REMOVE
            if !is_no_range(address, length) && mappings::concerns(address, length) =>
        {
            let installs = advice as i32 == MADV_GUARD_INSTALL;
            let now = Reasons::GUARD.only_if(installs);
            answer(during(
                range,
                || kernel(call),
                |regions, result| match result {
                    Ok(_) => suspend_in(regions, range, Reasons::GUARD, now),
                    Err(libc::EINVAL) if !mappings::knows_guards() => Ok(()),
                    // Of several mappings, the first may have been guarded.
                    Err(_) => suspend_in(regions, range, Reasons::NONE, now),
                },
            ))
        }
        advice => advise(address, length, advice, || None),
    }
}

/// process_madvise(2), which from Linux 6.13 on takes any advice about the calling process itself;
/// about others it knows none that concerns us. Refused as a whole where a part is.
pub extern "C" fn process_madvise(call: &mut Call) -> Step {
    let [pidfd, vector, count, advice, flags, _] = call.args;
    if mappings::is_empty() || vector_error(vector, count).is_some() {
        return Step::PASS;
    }
    // SAFETY: advises nothing.
    let earlier = || unsafe { sys!(SYS_process_madvise, pidfd, 0, 0, advice, flags) }.err();
    let range = |i| read_value::<[usize; 2]>(vector + i * size_of::<[usize; 2]>());
    if count != 0 && is_sealed() && matters(advice as i32) {
        // Which ranges, can't be asked.
        mappings::give_up();
    }
    (0..count)
        .map_while(range)
        .map(|[address, length]| advise(address, length, advice as i32, earlier))
        .find(|step| !step.is_pass())
        .unwrap_or(Step::PASS)
}

/// Whether the record has something to learn from such advice.
fn matters(advice: i32) -> bool {
    matches!(
        advice,
        MADV_GUARD_INSTALL | libc::MADV_DONTFORK | libc::MADV_DOFORK | libc::MADV_REMOVE
    )
}

/// One range. `earlier` is what the kernel has against the call as a whole.
fn advise(address: usize, length: usize, advice: i32, earlier: impl Fn() -> Option<Errno>) -> Step {
    let may_remove = advice == libc::MADV_REMOVE && !mappings::is_complete();
    if is_no_range(address, length) || !(may_remove || mappings::concerns(address, length)) {
        return Step::PASS;
    }
    match advice {
        libc::MADV_REMOVE => enforce(
            Operation::Punch,
            subject_of(address, length),
            || match earlier() {
                None => Earlier::refuses_if(remove_is_refused(address, length)),
                says => Earlier::says(says),
            },
            || Effect::Changes,
        ),
        // A guard page faults whoever touches it, whatever the protection.
        MADV_GUARD_INSTALL => {
            if earlier().is_none() {
                suspend(address, length, Reasons::GUARD);
            }
            Step::PASS
        }
        libc::MADV_DONTFORK => {
            set_inherited(address, length, false);
            Step::PASS
        }
        libc::MADV_DOFORK => {
            set_inherited(address, length, true);
            Step::PASS
        }
        _ => Step::PASS,
    }
}

fn subject_of(address: usize, length: usize) -> Subject {
    match mappings::first_in(address, length) {
        Ok(Some(region)) if !is_watched_only(Attributes::of(region).kind()) => Subject::Tagged,
        Ok(_) if mappings::is_complete() => Subject::Untagged,
        // It can't ask.
        _ if is_sealed() => Subject::Untagged,
        _ => {
            let _signals = SignalsBlocked::new();
            let end = page_end(address, length);
            on_own_stack(|| subject_in(address, end)).unwrap_or(Subject::Untagged)
        }
    }
}

/// Whether the kernel has nothing to do, finds the range too long, or the file open for reading
/// only.
fn remove_is_refused(address: usize, length: usize) -> bool {
    let too_long = address
        .checked_add(length)
        .is_none_or(|end| end > usize::MAX - PAGE);
    let read_only = mappings::first_in(address, length)
        .ok()
        .flatten()
        .is_some_and(|region| !Attributes::of(region).is_file_writable());
    length == 0 || too_long || read_only || is_locked(address, length)
}

/// Whether memory of a range is locked (madvise_remove in mm/madvise.c): MADV_COLD is refused for that too,
/// and changes nothing but which pages are thought to be in use.
fn is_locked(address: usize, length: usize) -> bool {
    // SAFETY: no data is changed; without a length nothing is.
    let advise = |length| unsafe { sys!(SYS_madvise, address, length, libc::MADV_COLD) };
    // Linux 5.4 knows it.
    advise(0).is_ok() && advise(length) == Err(libc::EINVAL)
}
