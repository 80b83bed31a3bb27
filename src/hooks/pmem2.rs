//! libpmem2's flushes, for `DAXSHIM_CHECK` only. They are functions without names, which
//! pmem2_get_flush_fn(3) and others answer; what the program gets asks here first. Where a mapping's
//! granularity is a page they call msync(2), as pmem2_deep_flush(3) does everywhere, are seen there, and
//! stay as they are.

use super::pmem;
use crate::entry::resolve::pmem2_is_by_page;
use crate::entry::slot::{After, Call, Slot, Step};

/// pmem2_get_flush_fn(3).
pub extern "C" fn pmem2_get_flush_fn(call: &mut Call) -> Step {
    instead(call, after_get_flush)
}

extern "C" fn after_get_flush(_: &Call, result: isize) -> isize {
    stand_in(FLUSHES, result)
}

/// pmem2_get_drain_fn(3).
pub extern "C" fn pmem2_get_drain_fn(call: &mut Call) -> Step {
    instead(call, after_get_drain)
}

extern "C" fn after_get_drain(_: &Call, result: isize) -> isize {
    stand_in(DRAINS, result)
}

/// pmem2_get_persist_fn(3).
pub extern "C" fn pmem2_get_persist_fn(call: &mut Call) -> Step {
    instead(call, after_get_persist)
}

extern "C" fn after_get_persist(_: &Call, result: isize) -> isize {
    stand_in(PERSISTS, result)
}

/// pmem2_get_memcpy_fn(3), pmem2_get_memmove_fn(3), pmem2_get_memset_fn(3).
pub extern "C" fn pmem2_get_copy_fn(call: &mut Call) -> Step {
    instead(call, after_get_copy)
}

extern "C" fn after_get_copy(_: &Call, result: isize) -> isize {
    stand_in(COPIES, result)
}

fn instead(call: &mut Call, after: After) -> Step {
    let [map, ..] = call.args;
    match is_by_page(map) {
        true => Step::PASS,
        false => call.then(after),
    }
}

fn is_by_page(map: usize) -> bool {
    // SAFETY: what the program hands to a function that will follow it all the same.
    unsafe { pmem2_is_by_page(map) }
}

/// A function that asks its hook and then goes on to the one that was answered. With too many of them one
/// stays unseen.
fn stand_in(all: &'static [StandIn], result: isize) -> isize {
    let real = result as *mut ();
    let found = all.iter().find(|stand_in| stand_in.slot.stand_for(real));
    found.map_or(result, |found| found.entry as *const () as isize)
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

/// Exported by nobody: handed out in the place of functions that have no name.
macro_rules! stand_ins {
    ($($(#[$doc:meta])* $list:ident $function:ident [$($place:ident)+];)+) => {$(
        $(#[$doc])*
        static $list: &[StandIn] = &[$(StandIn { slot: &$list::$place::SLOT, entry: $list::$place::entry }),+];

        #[allow(non_snake_case)]
        mod $list {$(
            pub mod $place {
                use crate::entry::slot::{ENTRY, Slot};

                pub static SLOT: Slot =
                    Slot::of_stand_in(crate::hooks::pmem2::$function, "pmem2");

                #[unsafe(naked)]
                pub unsafe extern "C" fn entry() {
                    core::arch::naked_asm!(
                        "lea r11, [rip + {slot}]",
                        "jmp [r11 + {entry}]",
                        slot = sym SLOT,
                        entry = const ENTRY,
                    )
                }
            }
        )+}
    )+};
}

/// See [`stand_in`].
struct StandIn {
    slot: &'static Slot,
    entry: unsafe extern "C" fn(),
}

stand_ins! {
    /// What pmem2_get_flush_fn answers.
    FLUSHES flush [a b c d];
    /// What pmem2_get_drain_fn answers.
    DRAINS drain [a b c d];
    /// What pmem2_get_persist_fn answers.
    PERSISTS persist [a b c d];
    /// What pmem2_get_memcpy_fn, pmem2_get_memmove_fn and pmem2_get_memset_fn answer.
    COPIES copy [a b c d e f g h i j k l];
}
