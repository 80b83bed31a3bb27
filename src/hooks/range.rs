//! Ranges of mappings: what changes them is made here, while nobody flushes them.

use crate::check;
use crate::entry::slot::{Call, Step};
use crate::ground::memory::PAGE;
use crate::ground::real::{Errno, sys, syscall_of_program};
use crate::mappings::{during, forget_in};
use core::ffi::c_long;
use daxshim_core::check::Code;
use daxshim_core::regions::{Full, Writing};
use daxshim_core::report::Kind;

/// First address, and the first behind it.
pub(super) type Range = (usize, usize);

/// Whether the kernel has nothing to do for a range, or refuses it before it looks at what is mapped there.
pub(super) fn is_no_range(address: usize, length: usize) -> bool {
    !address.is_multiple_of(PAGE) || length == 0 || address.checked_add(length).is_none()
}

/// Likewise, for calls that first check that the range ends where addresses do.
pub(super) fn is_no_place(address: usize, length: usize) -> bool {
    // TASK_SIZE_MAX with five levels of page tables (arch/x86/include/asm/page_64.h).
    const LAST: usize = 1 << 56;
    is_no_range(address, length) || address + length > LAST
}

/// What the program has called, made here.
pub(super) fn kernel(call: &Call) -> Result<usize, Errno> {
    // SAFETY: the program's own call; the kernel checks it all.
    unsafe { syscall_of_program(call.number() as c_long, call.args) }
}

pub(super) fn answer(result: Result<usize, Errno>) -> Step {
    match result {
        Ok(value) => Step::answer(value as isize),
        Err(errno) => Step::fail(errno),
    }
}

/// A mapping is put over whatever is there.
pub(super) fn replace(
    (start, end): Range,
    map: impl FnOnce() -> Result<usize, Errno>,
) -> Result<usize, Errno> {
    check::unmapping(start, end, Code::MappedOver);
    check::blame::restore(start, end - start);
    during((start, end), map, |regions, result| match result {
        Ok(_) => forget_in(regions, start, end),
        Err(_) => forget_unmapped(regions, start, end),
    })
}

/// Forgets, in a change, what of a range is not mapped any more: the kernel may have emptied it before it failed to make
/// the new mapping there.
pub(super) fn forget_unmapped(regions: &Writing<'_>, start: usize, end: usize) -> Result<(), Full> {
    regions.rewrite(start, end, |region| {
        is_mapped(region.start, region.end - region.start).then_some(region)
    })
}

/// Whether all of a range is mapped.
pub(super) fn is_mapped(start: usize, length: usize) -> bool {
    // SAFETY: syncs nothing; it tells whether there is a hole (mm/msync.c).
    unsafe { sys!(SYS_msync, start, length, libc::MS_ASYNC) }.is_ok()
}

/// Whether a mapping is none of a tagged file's that could be stored to.
pub(super) fn is_watched_only(kind: Kind) -> bool {
    matches!(kind, Kind::Untagged | Kind::Private)
}
