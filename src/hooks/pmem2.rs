//! libpmem2's flushes, for `DAXSHIM_CHECK` only. They are functions without names, which
//! pmem2_get_flush_fn(3) and others answer; what the program gets asks here first. Where a mapping's
//! granularity is a page they call msync(2), as pmem2_deep_flush(3) does everywhere, are seen there, and
//! stay as they are.

use super::pmem;
use crate::entry::trampoline::{self, Call, StandIn, Step};
use crate::ground::real;

/// pmem2_get_flush_fn(3).
pub extern "C" fn pmem2_get_flush_fn(call: &mut Call) -> Step {
    instead(call, after_get_flush)
}

extern "C" fn after_get_flush(_: &Call, result: isize) -> isize {
    stand_in(trampoline::FLUSHES, result)
}

/// pmem2_get_drain_fn(3).
pub extern "C" fn pmem2_get_drain_fn(call: &mut Call) -> Step {
    instead(call, after_get_drain)
}

extern "C" fn after_get_drain(_: &Call, result: isize) -> isize {
    stand_in(trampoline::DRAINS, result)
}

/// pmem2_get_persist_fn(3).
pub extern "C" fn pmem2_get_persist_fn(call: &mut Call) -> Step {
    instead(call, after_get_persist)
}

extern "C" fn after_get_persist(_: &Call, result: isize) -> isize {
    stand_in(trampoline::PERSISTS, result)
}

/// pmem2_get_memcpy_fn(3), pmem2_get_memmove_fn(3), pmem2_get_memset_fn(3).
pub extern "C" fn pmem2_get_copy_fn(call: &mut Call) -> Step {
    instead(call, after_get_copy)
}

extern "C" fn after_get_copy(_: &Call, result: isize) -> isize {
    stand_in(trampoline::COPIES, result)
}

fn instead(call: &mut Call, after: trampoline::After) -> Step {
    let [map, ..] = call.args;
    match is_by_page(map) {
        true => Step::PASS,
        false => call.then(after),
    }
}

fn is_by_page(map: usize) -> bool {
    // SAFETY: what the program hands to a function that will follow it all the same.
    unsafe { real::pmem2_is_by_page(map) }
}

/// With too many of them one stays unseen.
fn stand_in(all: &'static [StandIn], result: isize) -> isize {
    let real = result as *mut ();
    trampoline::stand_in(all, real).unwrap_or(real) as isize
}

/// pmem2_flush_fn.
pub extern "C" fn flush(call: &mut Call) -> Step {
    pmem::pmem_flush(call)
}

/// pmem2_drain_fn.
pub extern "C" fn drain(call: &mut Call) -> Step {
    pmem::pmem_drain(call)
}

/// pmem2_persist_fn.
pub extern "C" fn persist(call: &mut Call) -> Step {
    pmem::pmem_persist(call)
}

/// pmem2_memcpy_fn, pmem2_memmove_fn, pmem2_memset_fn: flags as libpmem's.
pub extern "C" fn copy(call: &mut Call) -> Step {
    pmem::pmem_copy(call)
}
