//! How a system call of a turned place ([`turn`](crate::entry::turn)) gets into Rust and out again.

use crate::entry::slot::{Call, Check, Slot, Step};
use crate::entry::trampoline::NUMBERS;
use crate::ground::descriptors;
use core::arch::naked_asm;
use core::mem::offset_of;
use core::sync::atomic::{AtomicBool, AtomicPtr, Ordering};

/// Of one system call that libc makes itself.
#[repr(C)]
pub struct SiteSlot {
    /// Number and hook.
    pub slot: Slot,
    /// For calls on a descriptor that need nothing but to know that it is untagged.
    untagged: Option<&'static descriptors::Table>,
    /// Whether libc's places of it were turned.
    pub turned: AtomicBool,
    /// Whether their `syscall` instructions are gone, so that every call is made here.
    pub makes_call: AtomicBool,
}

impl SiteSlot {
    /// Of a call that libc's places of were not turned yet.
    pub const fn new(check: Check, number: core::ffi::c_long, family: &'static str) -> SiteSlot {
        SiteSlot {
            slot: Slot::of_call(check, number, family),
            untagged: match family.as_bytes() {
                b"write" => Some(&descriptors::TABLE),
                _ => None,
            },
            turned: AtomicBool::new(false),
            makes_call: AtomicBool::new(false),
        }
    }
}

/// Where the number is in a [`SiteSlot`].
pub(super) const NUMBER: usize = offset_of!(SiteSlot, slot) + offset_of!(Slot, number);

/// Bytes below the stack pointer that the interrupted code may use (System V ABI, x86-64).
const RED_ZONE: usize = 128;
/// Bytes of [`site_enter`]'s frame: a [`Call`] and the registers xmm0 to xmm15.
const SITE_FRAME: usize = 96 + 256;
const _: () = assert!(size_of::<Call>() <= 96);

/// Where a turned place of libc's code arrives: r11 at its [`SiteSlot`], rcx at its `syscall`
/// instruction, the other registers as that instruction expects them. They leave as it would leave
/// them. A call that passes is made by libc's own instruction, so that a thread cancelled in it is
/// where libc expects it to be; for one that is made here, the unwind information leads there.
///
/// # Safety
/// Only to be jumped to by a stub.
#[unsafe(naked)]
pub unsafe extern "C" fn site_enter() {
    naked_asm!(
        ".cfi_startproc simple",
        ".cfi_def_cfa rsp, 0",
        ".cfi_register rip, rcx",
        // A descriptor known to be untagged.
        "mov rax, [r11 + {untagged}]",
        "test rax, rax",
        "jz 2f",
        "cmp edi, {limit}",
        "jae 2f",
        "movsxd rdi, edi",
        "test byte ptr [rax + 4 * rdi], {is_untagged}",
        "jz 2f",
        "mov eax, [r11 + {number}]",
        "jmp rcx",
        "2:",
        "lea rsp, [rsp - {red_zone}]",
        "push rcx",
        "push rbp",
        "mov rbp, rsp",
        ".cfi_def_cfa rbp, {red_zone} + 16",
        ".cfi_offset rip, -{red_zone} - 8",
        ".cfi_offset rbp, -{red_zone} - 16",
        "and rsp, -16",
        "sub rsp, {frame}",
        "mov [rsp], rdi",
        "mov [rsp + 8], rsi",
        "mov [rsp + 16], rdx",
        "mov [rsp + 24], r10",
        "mov [rsp + 32], r8",
        "mov [rsp + 40], r9",
        "mov [rsp + {slot}], r11",
        ".irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15",
        "movups [rsp + 96 + 16 * \\n], xmm\\n",
        ".endr",
        "mov rdi, rsp",
        "mov rsi, r11",
        "call {ask}",
        "mov rcx, [rbp + 8]",
        "test eax, eax",
        "jz 5f",
        "cmp eax, 2",
        "je 3f",
        // answer
        "mov rax, rdx",
        "jmp 4f",
        // around
        "3:",
        "mov r11, [rsp + {slot}]",
        "mov eax, [r11 + {number}]",
        "mov rdi, [rsp]",
        "mov rsi, [rsp + 8]",
        "mov rdx, [rsp + 16]",
        "mov r10, [rsp + 24]",
        "mov r8, [rsp + 32]",
        "mov r9, [rsp + 40]",
        "syscall",
        "mov rdi, rsp",
        "mov rsi, rax",
        "call {around}",
        // done: on behind libc's own instruction
        "4:",
        "mov rcx, [rbp + 8]",
        "add rcx, 2",
        "jmp 6f",
        // pass: on to it
        "5:",
        "mov r11, [rsp + {slot}]",
        "mov eax, [r11 + {number}]",
        "6:",
        ".irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15",
        "movups xmm\\n, [rsp + 96 + 16 * \\n]",
        ".endr",
        "mov rdi, [rsp]",
        "mov rsi, [rsp + 8]",
        "mov rdx, [rsp + 16]",
        "mov r10, [rsp + 24]",
        "mov r8, [rsp + 32]",
        "mov r9, [rsp + 40]",
        "mov rsp, rbp",
        "pop rbp",
        ".cfi_def_cfa rsp, {red_zone} + 8",
        ".cfi_same_value rbp",
        ".cfi_register rip, rcx",
        "lea rsp, [rsp + {red_zone} + 8]",
        ".cfi_def_cfa rsp, 0",
        "jmp rcx",
        ".cfi_endproc",
        untagged = const offset_of!(SiteSlot, untagged),
        is_untagged = const descriptors::UNTAGGED,
        limit = const descriptors::LIMIT,
        number = const NUMBER,
        red_zone = const RED_ZONE,
        frame = const SITE_FRAME,
        slot = const offset_of!(Call, slot),
        ask = sym ask_at_site,
        around = sym site_around,
    )
}

/// The rows that concern libc itself by their system calls' numbers.
pub static SITES_BY_NUMBER: [AtomicPtr<SiteSlot>; NUMBERS] =
    [const { AtomicPtr::new(core::ptr::null_mut()) }; NUMBERS];

/// As [`site_enter`], but with the number in rax, and r11 free.
///
/// # Safety
/// Only to be jumped to by a stub.
#[unsafe(naked)]
pub unsafe extern "C" fn site_by_number() {
    naked_asm!(
        ".cfi_startproc simple",
        ".cfi_def_cfa rsp, 0",
        ".cfi_register rip, rcx",
        "cmp rax, {numbers}",
        "jae 2f",
        "lea r11, [rip + {sites}]",
        "mov r11, [r11 + 8 * rax]",
        "test r11, r11",
        "jnz {enter}",
        "2:",
        "jmp rcx",
        ".cfi_endproc",
        numbers = const NUMBERS,
        sites = sym SITES_BY_NUMBER,
        enter = sym site_enter,
    )
}

/// libc's function that makes a system call in which a thread can be cancelled.
pub static CANCELLABLE: AtomicPtr<()> = AtomicPtr::new(core::ptr::null_mut());

/// Bytes of [`cancellable_enter`]'s frame: a [`Call`], and its own two first arguments behind it.
const CANCELLABLE_FRAME: usize = 104;
const _: () = assert!(size_of::<Call>() <= 88 && CANCELLABLE_FRAME % 16 == 8);

/// Called in the place of [`CANCELLABLE`], with its arguments: where the thread's cancellation is noted,
/// the number, the call's own six. Returns what the kernel would. A call that passes is made by that
/// function, in which a thread may be cancelled, and without a frame of ours.
///
/// # Safety
/// Only to be called by libc.
#[unsafe(naked)]
pub unsafe extern "C" fn cancellable_enter() {
    naked_asm!(
        ".cfi_startproc",
        "cmp rsi, {numbers}",
        "jae 6f",
        "lea r11, [rip + {sites}]",
        "mov r11, [r11 + 8 * rsi]",
        "test r11, r11",
        "jz 6f",
        // A descriptor known to be untagged.
        "mov rax, [r11 + {untagged}]",
        "test rax, rax",
        "jz 2f",
        "cmp edx, {limit}",
        "jae 2f",
        "mov r10d, edx",
        "test byte ptr [rax + 4 * r10], {is_untagged}",
        "jnz 6f",
        "2:",
        "mov rax, [rsp + 8]",
        "mov r10, [rsp + 16]",
        "sub rsp, {frame}",
        ".cfi_def_cfa_offset {frame} + 8",
        "mov [rsp], rdx",
        "mov [rsp + 8], rcx",
        "mov [rsp + 16], r8",
        "mov [rsp + 24], r9",
        "mov [rsp + 32], rax",
        "mov [rsp + 40], r10",
        "mov [rsp + {slot}], r11",
        "mov [rsp + 88], rdi",
        "mov [rsp + 96], rsi",
        "mov rdi, rsp",
        "mov rsi, r11",
        "call {ask}",
        "mov rdi, [rsp + 88]",
        "cmp eax, 2",
        "je 3f",
        "test eax, eax",
        "jz 4f",
        // answer, but for a thread that was cancelled
        "test byte ptr [rdi], {cancelled}",
        "jnz 4f",
        "mov rax, rdx",
        "jmp 5f",
        // around
        "3:",
        "mov rsi, [rsp + 96]",
        "mov rdx, [rsp]",
        "mov rcx, [rsp + 8]",
        "mov r8, [rsp + 16]",
        "mov r9, [rsp + 24]",
        "push [rsp + 40]",
        ".cfi_adjust_cfa_offset 8",
        "push [rsp + 40]",
        ".cfi_adjust_cfa_offset 8",
        "call [rip + {real}]",
        "add rsp, 16",
        ".cfi_adjust_cfa_offset -16",
        "mov rdi, rsp",
        "mov rsi, rax",
        "call {around}",
        "jmp 5f",
        // pass
        "4:",
        "mov rsi, [rsp + 96]",
        "mov rdx, [rsp]",
        "mov rcx, [rsp + 8]",
        "mov r8, [rsp + 16]",
        "mov r9, [rsp + 24]",
        "add rsp, {frame}",
        ".cfi_remember_state",
        ".cfi_def_cfa_offset 8",
        "6:",
        "jmp [rip + {real}]",
        ".cfi_restore_state",
        "5:",
        "add rsp, {frame}",
        ".cfi_def_cfa_offset 8",
        "ret",
        ".cfi_endproc",
        numbers = const NUMBERS,
        sites = sym SITES_BY_NUMBER,
        untagged = const offset_of!(SiteSlot, untagged),
        is_untagged = const descriptors::UNTAGGED,
        limit = const descriptors::LIMIT,
        frame = const CANCELLABLE_FRAME,
        slot = const offset_of!(Call, slot),
        ask = sym ask_at_site,
        // CANCELED_BITMASK of glibc's nptl/descr.h.
        cancelled = const 8,
        real = sym CANCELLABLE,
        around = sym site_around,
    )
}

/// Asks the hook. Its answer is what the kernel would give, an error a negative number; errno is
/// left to libc.
extern "C" fn ask_at_site(call: &mut Call, site: &SiteSlot) -> Step {
    let errno = crate::ground::real::errno();
    call.after = None;
    let mut step = (site.slot.check)(call);
    if step.value == -1 {
        step.value = -(crate::ground::real::errno() as isize);
    }
    if step.is_pass() && site.makes_call.load(Ordering::Relaxed) {
        step = Step::AROUND;
    }
    crate::ground::real::set_errno(errno);
    step
}

/// Behind a call that was made here; `result` as the kernel gave it.
extern "C" fn site_around(call: &Call, result: isize) -> isize {
    if let Some(after) = call.after {
        after(
            call,
            if (-4095..0).contains(&result) {
                -1
            } else {
                result
            },
        );
    }
    result
}
