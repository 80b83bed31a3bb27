//! msync of a short range in the mapping where the thread's place last found one: the lines, a
//! fence, and back. A long range of which it was just learnt that the kernel is cheaper goes straight
//! to the kernel, as [`spared`](super::spared) says; everything else to where the
//! symbol led before.
//!
//! Short ranges are never learnt about: up to [`LIMIT`] lines cost less than the kernel's msync even
//! where nothing is dirty, and that call is what must be cheap. So these few instructions are all
//! there is. They do what [`sync::msync`](crate::sync::msync) does: publish the flush
//! ([`Flush`](crate::mappings::Flush)), and only then ask whether what the place remembers still
//! holds.

use crate::entry::resolve::TESTCANCEL;
use crate::entry::slot::Slot;
use crate::ground::memory::PAGE;
use crate::ground::process;
use crate::mappings::{FLUSHED, RECORD};
use crate::sync::spared::{SPARED, Spared};
use core::arch::naked_asm;
use core::mem::offset_of;
use core::sync::atomic::{AtomicPtr, Ordering};
use daxshim_core::config::{Config, FlushPolicy};
use daxshim_core::contract::Mode;
use daxshim_core::flush::{LINE, WriteBack};
use daxshim_core::record::{BATCH, NO_FRAME, PAGE_STEP, PLACE_SHIFT, PLACES, offset};
use daxshim_core::regions::Regions;

/// Bytes up to which lines always cost less than the kernel: 512 lines are 530 instructions, and
/// natively 0.4 µs clean; sync_file_range, the cheapest call, takes 1,126 instructions with nothing
/// to do.
pub const LIMIT: usize = 32 << 10;

/// Whether msync of a short range is nothing but lines and a fence.
pub fn may_serve(config: &Config, is_counted: bool) -> bool {
    matches!(config.flush, FlushPolicy::Auto | FlushPolicy::User)
        && config.policy.mode == Mode::Enforce
        && !config.deep
        && !is_counted
        && process::write_back() == WriteBack::Clwb
}

/// Where the symbol led before.
static OTHERWISE: AtomicPtr<()> = AtomicPtr::new(core::ptr::null_mut());

/// Has msync come here first. Only where a flush is `clwb` and a fence and nothing else: no report,
/// no deep flush.
pub fn arm(msync: &Slot) {
    OTHERWISE.store(msync.leads_to(), Ordering::Release);
    msync.lead_to(enter as *mut ());
}

/// A place is 64 bytes, and so is what it is spared.
const PLACE: u32 = 6;
const _: () = assert!(Spared::SIZE == 1 << PLACE);
const _: () = assert!(PLACES.is_power_of_two() && PLACE < PLACE_SHIFT && NO_FRAME == usize::MAX);

/// See the module.
///
/// # Safety
/// Only to be jumped to by the exported symbol, which leaves r11 at the [`Slot`].
#[unsafe(naked)]
unsafe extern "C" fn enter() {
    naked_asm!(
        ".cfi_startproc",
        "cmp edx, {ms_sync}",
        "jne 9f",
        "cmp rsi, {limit}",
        "ja 5f",
        "test edi, {page} - 1",
        "jnz 9f",
        "cmp qword ptr [rip + {record} + {len}], 0",
        "je 9f",
        // rcx: the end. Not above the start for length 0 and where it overflows.
        "lea rcx, [rdi + rsi + {page} - 1]",
        "and rcx, -{page}",
        "cmp rdi, rcx",
        "jae 9f",
        // r8: the thread's place, published.
        ".macro daxshim_place first, offset",
        "mov r9, fs:[0]",
        "mov r8, r9",
        "shr r8, {place_shift} - {place}",
        "and r8d, ({places} - 1) << {place}",
        "lea rax, [rip + \\first + \\offset]",
        "add r8, rax",
        ".endm",
        "daxshim_place {record}, {record_places}",
        "xor eax, eax",
        "lock cmpxchg [r8 + {thread}], r9",
        "jne 9f",
        "mov [r8 + {frame}], rsp",
        "mov rax, [rip + {record} + {map_sequence}]",
        "cmp rax, [r8 + {sequence}]",
        "jne 8f",
        "cmp rdi, [r8 + {start}]",
        "jb 8f",
        "cmp rcx, [r8 + {end}]",
        "ja 8f",
        "2:",
        ".set .Ldaxshim_quick, 0",
        ".rept {page} / {line}",
        "clwb [rdi + .Ldaxshim_quick]",
        ".set .Ldaxshim_quick, .Ldaxshim_quick + {line}",
        ".endr",
        "add dword ptr [r8 + {pages}], {page_step}",
        "jc 7f",
        "3:",
        "add rdi, {page}",
        "cmp rdi, rcx",
        "jne 2b",
        "sfence",
        "mov qword ptr [r8 + {frame}], -1",
        "mov qword ptr [r8 + {thread}], 0",
        // msync is a cancellation point.
        "sub rsp, 8",
        ".cfi_def_cfa_offset 16",
        "call [rip + {testcancel}]",
        "add rsp, 8",
        ".cfi_def_cfa_offset 8",
        "xor eax, eax",
        "ret",
        // A long range: to the kernel, if that was said of the next few of this length.
        "5:",
        "daxshim_place {spared}, 0",
        "movzx eax, word ptr [r8 + {to_kernel}]",
        "test eax, eax",
        "jz 9f",
        "cmp rsi, [r8 + {spared_length}]",
        "jne 9f",
        "dec eax",
        "mov [r8 + {to_kernel}], ax",
        "jmp [r11 + {real}]",
        "7:",
        "lock add qword ptr [rip + {flushed}], {batch}",
        "jmp 3b",
        "8:",
        "mov qword ptr [r8 + {frame}], -1",
        "mov qword ptr [r8 + {thread}], 0",
        "9:",
        "jmp [rip + {otherwise}]",
        ".purgem daxshim_place",
        ".cfi_endproc",
        ms_sync = const libc::MS_SYNC,
        limit = const LIMIT,
        page = const PAGE,
        line = const LINE,
        record = sym RECORD,
        record_places = const offset::PLACES,
        len = const offset::REGIONS + Regions::LEN,
        map_sequence = const offset::REGIONS + Regions::SEQUENCE,
        place_shift = const PLACE_SHIFT,
        place = const PLACE,
        places = const PLACES,
        thread = const offset::THREAD,
        sequence = const offset::SEQUENCE,
        start = const offset::START,
        end = const offset::END,
        pages = const offset::PAGES,
        spared = sym SPARED,
        to_kernel = const Spared::TO_KERNEL,
        spared_length = const Spared::LENGTH,
        frame = const offset::FRAME,
        real = const offset_of!(Slot, real),
        page_step = const PAGE_STEP,
        batch = const BATCH,
        flushed = sym FLUSHED,
        testcancel = sym TESTCANCEL,
        otherwise = sym OTHERWISE,
    )
}
