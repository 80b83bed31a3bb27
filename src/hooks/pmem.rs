//! libpmem's flushes, for `DAXSHIM_CHECK` only. What it does by msync(2) is seen there: pmem_msync(3), and
//! pmem_deep_drain(3) and pmem_deep_persist(3) on files.
//!
//! In libpmem itself some of these functions call others, in some versions through their symbols: each
//! hook holds whether or not the others are asked, too.

use crate::check;
use crate::entry::slot::{Call, Step};

/// The copying functions' flag for leaving out the drain (libpmem.h).
const NODRAIN: usize = 1 << 0;
/// Their flag for leaving out the flush (libpmem.h).
const NOFLUSH: usize = 1 << 5;

/// pmem_flush(3), pmem_deep_flush(3).
pub extern "C" fn pmem_flush(call: &mut Call) -> Step {
    let [address, length, ..] = call.args;
    check::flushed(address, length, call.return_address());
    Step::PASS
}

/// pmem_drain(3).
pub extern "C" fn pmem_drain(_: &mut Call) -> Step {
    check::drained();
    Step::PASS
}

/// pmem_persist(3).
pub extern "C" fn pmem_persist(call: &mut Call) -> Step {
    pmem_flush(call);
    check::drained();
    Step::PASS
}

/// pmem_memcpy(3), pmem_memmove(3), pmem_memset(3): with flags.
pub extern "C" fn pmem_copy(call: &mut Call) -> Step {
    let [_, _, _, flags, ..] = call.args;
    if flags & NOFLUSH != 0 {
        return Step::PASS;
    }
    match flags & NODRAIN {
        0 => pmem_copy_persist(call),
        _ => pmem_copy_nodrain(call),
    }
}

/// pmem_memcpy_nodrain(3) and its like.
pub extern "C" fn pmem_copy_nodrain(call: &mut Call) -> Step {
    call.then(after_copy)
}

/// pmem_memcpy_persist(3) and its like.
pub extern "C" fn pmem_copy_persist(call: &mut Call) -> Step {
    call.then(after_copy_and_drain)
}

extern "C" fn after_copy(call: &Call, result: isize) -> isize {
    let [address, _, length, ..] = call.args;
    check::flushed(address, length, call.return_address());
    result
}

extern "C" fn after_copy_and_drain(call: &Call, result: isize) -> isize {
    after_copy(call, result);
    check::drained();
    result
}
