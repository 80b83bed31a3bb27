//! munmap(2), mremap(2), mprotect(2) and what else changes mappings that are there.

use super::range::{answer, forget_unmapped, is_mapped, is_no_place, is_no_range, kernel, replace};
use crate::check;
use crate::entry::slot::{Call, Step};
use crate::ground::memory::PAGE;
use crate::ground::real::{Errno, sys};
use crate::mappings::{self, Reasons, during, forget, forget_in, page_end, suspend_in};
use daxshim_core::check::Code;
use daxshim_core::regions::Writing;
use libc::{MAP_FAILED, MREMAP_DONTUNMAP, MREMAP_FIXED, MREMAP_MAYMOVE, PROT_READ, PROT_WRITE};

/// munmap(2). Where it fails, it has unmapped nothing.
pub extern "C" fn munmap(call: &mut Call) -> Step {
    let [address, length, ..] = call.args;
    if mappings::is_empty() || is_no_place(address, length) || !mappings::concerns(address, length)
    {
        return Step::PASS;
    }
    let (start, end) = (address, page_end(address, length));
    check::unmapping(start, end, Code::Unmapped);
    let own_protection = check::blame::restore(start, length);
    let result = during(
        (start, end),
        || kernel(call),
        |regions, result| match result {
            Ok(_) => forget_in(regions, start, end),
            Err(_) => Ok(()),
        },
    );
    if result.is_err() {
        check::blame::write_protect(start, end, own_protection as i32);
    }
    answer(result)
}

/// mremap(2).
pub extern "C" fn mremap(call: &mut Call) -> Step {
    let [old, old_length, new_length, flags, new, _] = call.args;
    let flags = flags as i32;
    let known = MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP;
    let is_fixed = flags & MREMAP_FIXED != 0;
    // Without these flags mremap takes no new address, and the register holds anything.
    if flags & (MREMAP_FIXED | MREMAP_DONTUNMAP) == 0 {
        let [_, _, _, _, new, _] = &mut call.args;
        *new = 0;
    }
    let refused = old % PAGE != 0
        || new_length == 0
        || flags & !known != 0
        || is_fixed && (is_no_place(new, new_length) || flags & MREMAP_MAYMOVE == 0);
    if mappings::is_empty() || refused {
        return Step::PASS;
    }
    // A mapping of length 0 is the request for a second mapping of the same pages.
    let from = (old, page_end(old, old_length.max(1)));
    let to = (new, page_end(new, new_length));
    let moves = mappings::concerns(old, old_length.max(1));
    let replaces = is_fixed && mappings::concerns(new, new_length);
    if !moves && !replaces {
        return call.then(after_untagged_mremap);
    }
    if moves && new_length < old_length {
        check::unmapping(page_end(old, new_length), from.1, Code::MappedOver);
    }
    let own_protection = check::blame::restore(old, old_length.max(1));
    if replaces {
        check::unmapping(to.0, to.1, Code::MappedOver);
        check::blame::restore(new, new_length);
    }
    let keeps_old = old_length == 0 || flags & MREMAP_DONTUNMAP != 0;
    let is_there = || is_mapped(old, PAGE);
    let was_there = is_fixed && is_there();
    let had_hole = replaces && !is_mapped(old, old_length.max(1));
    let settle = |regions: &Writing<'_>, result: &Result<usize, Errno>| match *result {
        Ok(at) => {
            // Of several mappings, each replaces what is where it goes: what is behind a hole stays (remap_move in mm/mremap.c).
            if had_hole {
                regions.lose();
            }
            mappings::relocate_in(regions, from, (at, page_end(at, new_length)), keeps_old)
        }
        // Of several mappings, the first may have been moved (remap_move in mm/mremap.c, from Linux 6.17 on):
        // then it is gone, or nobody can tell, as what was moved stays there as well.
        Err(_) if was_there && (keeps_old || !is_there()) => {
            regions.lose();
            forget_in(regions, to.0, to.1).and(forget_unmapped(regions, from.0, from.1))
        }
        // It may have unmapped already what was to make room (mremap_to in mm/mremap.c), and what
        // was too much.
        Err(_) if is_fixed => {
            let rest = page_end(old, new_length).min(from.1);
            forget_unmapped(regions, to.0, to.1).and(forget_unmapped(regions, rest, from.1))
        }
        Err(_) => Ok(()),
    };
    let result = match replaces {
        // Both ranges, and what is between them.
        true => during(
            (from.0.min(to.0), from.1.max(to.1)),
            || kernel(call),
            settle,
        ),
        false => during(from, || kernel(call), settle),
    };
    match result {
        Ok(start) => {
            check::holding(start, page_end(start, new_length));
            check::blame::write_protect(start, page_end(start, new_length), own_protection as i32);
        }
        Err(_) => check::blame::write_protect(from.0, from.1, own_protection as i32),
    }
    answer(result)
}

extern "C" fn after_untagged_mremap(call: &Call, result: isize) -> isize {
    let [_, _, new_length, ..] = call.args;
    if result != MAP_FAILED as isize {
        forget(result as usize, new_length);
    }
    result
}

/// What mprotect(2) changes of the reasons to keep flushes off: an own key stays (mm/mprotect.c).
const PROTECTION: Reasons = Reasons::UNREADABLE;

/// mprotect(2).
pub extern "C" fn mprotect(call: &mut Call) -> Step {
    protect(call, PROTECTION, Reasons::NONE)
}

/// pkey_mprotect(2): a key other than the default one may deny access at any moment; -1 keeps what is
/// there.
pub extern "C" fn pkey_mprotect(call: &mut Call) -> Step {
    let [_, _, _, key, ..] = call.args;
    match key as i32 {
        -1 => protect(call, PROTECTION, Reasons::NONE),
        key => protect(
            call,
            PROTECTION.and(Reasons::KEY),
            Reasons::KEY.only_if(key != 0),
        ),
    }
}

/// Whether loads are allowed on every x86-64: by PROT_WRITE too (access_error in arch/x86/mm/fault.c; fio
/// maps with that alone), but where the CPU has protection keys not by PROT_EXEC alone
/// (__execute_only_pkey in arch/x86/mm/pkeys.c).
pub(super) fn is_readable(protection: i32) -> bool {
    protection & (PROT_READ | PROT_WRITE) != 0
}

/// Of `reasons`, `key` holds afterwards, and what the protection says.
fn protect(call: &mut Call, reasons: Reasons, key: Reasons) -> Step {
    let [address, length, protection, ..] = call.args;
    let protection = protection as i32;
    if mappings::is_empty() || is_no_range(address, length) || !mappings::concerns(address, length)
    {
        return Step::PASS;
    }
    let now = key.and(Reasons::UNREADABLE.only_if(!is_readable(protection)));
    let range = (address, page_end(address, length));
    let own_protection = check::blame::restore(address, length);
    // From readable to readable.
    if now == Reasons::NONE && !mappings::is_suspended(address, length, reasons) {
        return call.then(after_made_readable);
    }
    let result = during(
        range,
        || kernel(call),
        |regions, result| match result {
            Ok(_) => suspend_in(regions, range, reasons, now),
            // Nothing was changed.
            Err(libc::EINVAL) => Ok(()),
            // Of several mappings, the first may have been.
            Err(_) => suspend_in(regions, range, Reasons::NONE, now),
        },
    );
    match result {
        Ok(_) => check::blame::write_protect(range.0, range.1, protection),
        Err(_) => check::blame::write_protect(range.0, range.1, own_protection as i32),
    }
    answer(result)
}

extern "C" fn after_made_readable(call: &Call, result: isize) -> isize {
    let [address, length, protection, ..] = call.args;
    if result as i32 == 0 {
        check::blame::write_protect(address, page_end(address, length), protection as i32);
    }
    result
}

/// remap_file_pages(2). What it maps is shared, and not MAP_SYNC (mm/mmap.c).
pub extern "C" fn remap_file_pages(call: &mut Call) -> Step {
    let [address, length, ..] = call.args;
    if !mappings::concerns(address, length) {
        return Step::PASS;
    }
    // The kernel rounds both down (mm/mmap.c).
    let range = (address & !(PAGE - 1), page_end(address, length));
    answer(replace(range, || kernel(call)))
}

/// shmat(2): with SHM_REMAP over whatever is there. Its length is the segment's.
pub extern "C" fn shmat(call: &mut Call) -> Step {
    let [segment, address, flags, ..] = call.args;
    let flags = flags as i32;
    if mappings::is_empty() || flags & libc::SHM_REMAP == 0 || address == 0 {
        return Step::PASS;
    }
    let start = match flags & libc::SHM_RND {
        0 => address,
        _ => address & !(PAGE - 1),
    };
    let length = match segment_length(segment) {
        Ok(length) => length,
        // A sealed process can't ask for the length: any is possible.
        Err(libc::ENOSYS) => usize::MAX - start,
        // There is no such segment, or the caller may not ask about it, and so not attach it either.
        Err(_) => return Step::PASS,
    };
    if is_no_range(start, PAGE) || !mappings::concerns(start, length) {
        return Step::PASS;
    }
    answer(replace((start, page_end(start, length)), || kernel(call)))
}

/// Bytes of a System V shared memory segment, shmctl(2).
fn segment_length(segment: usize) -> Result<usize, Errno> {
    let mut found = core::mem::MaybeUninit::<libc::shmid_ds>::uninit();
    // SAFETY: the kernel fills it in whole, or fails.
    unsafe {
        sys!(SYS_shmctl, segment, libc::IPC_STAT, found.as_mut_ptr())?;
        Ok(found.assume_init().shm_segsz)
    }
}
