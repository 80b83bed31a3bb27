//! How an intercepted call gets into Rust and out again.
//!
//! Every exported symbol is two instructions: load its [`Slot`], jump to [`enter`]. That one saves
//! the argument registers, asks the hook, and then does one of three things:
//!
//! - *pass*: restores the registers and jumps to the real function. No frame of ours is on the
//!   stack, so cancellation, longjmp and exceptions go through as if the hook were not there, and
//!   arguments nobody declared (variadic ones, a seventh on the stack) arrive untouched.
//! - *answer*: returns a value, if need be after a test for cancellation.
//! - *around*: calls the real function, then lets the hook see the result. The frame has unwind
//!   information and no personality routine, so a forced unwind (cancellation) passes through.
//!
//! redhook's `hook!` is not used for this: it resolves lazily behind a lock (rule 1 of a hook),
//! leaves a `catch_unwind` frame that aborts the program on cancellation (rule 4), and on a panic
//! calls the real function again.

use crate::entry::resolve::{TESTCANCEL, resolve_late};
use crate::entry::slot::{Call, Check, FRAME, Slot};
use crate::entry::vfork::vfork;
use crate::ground::descriptors;
use crate::ground::real::numbers::{ELSEWHERE, ITS_ARGUMENT, NONE};
use crate::ground::real::{SEALS, fail};
use core::arch::naked_asm;
use core::mem::offset_of;
use core::sync::atomic::{AtomicPtr, Ordering};

impl Slot {
    /// A slot whose real function is not known yet. `name` and its NUL, see there.
    pub const fn new(
        check: Check,
        number: core::ffi::c_long,
        name: &'static str,
        family: &'static str,
    ) -> Slot {
        Slot {
            entry: AtomicPtr::new(match number {
                ITS_ARGUMENT => by_number as *mut (),
                libc::SYS_dup => hand_out as *mut (),
                libc::SYS_vfork => vfork as *mut (),
                _ => enter as *mut (),
            }),
            real: AtomicPtr::new(if is_more_than_call(number) {
                late as *mut ()
            } else {
                early as *mut ()
            }),
            check,
            number: number as usize,
            name,
            family,
        }
    }

    /// Of a system call itself, which no function stands for.
    pub const fn of_call(check: Check, number: core::ffi::c_long, family: &'static str) -> Slot {
        Slot {
            real: AtomicPtr::new(early as *mut ()),
            ..Slot::new(check, number, "", family)
        }
    }

    /// Of a function that no symbol leads to, and that [`Slot::stand_for`] tells.
    pub const fn of_stand_in(check: Check, family: &'static str) -> Slot {
        Slot::new(check, ELSEWHERE, "", family)
    }

    /// Has a stand-in lead to `real`; whether it does now.
    pub fn stand_for(&self, real: *mut ()) -> bool {
        let free = late as *mut ();
        let claimed = self
            .real
            .compare_exchange(free, real, Ordering::AcqRel, Ordering::Acquire);
        claimed.is_ok() || claimed == Err(real)
    }

    /// Behind the hook comes the kernel, not libc's function, whose own system call is asked about, too.
    pub fn serve_by_kernel(&self) {
        self.real.store(early as *mut (), Ordering::Release);
    }

    /// The symbol needs no look any more.
    pub fn lead_straight(&self) {
        self.lead_to(straight as *mut ());
    }
}

/// Whether the kernel can't answer for a function by the system call of its row: there is none, or libc
/// passes some arguments on in other places, or does something about them itself.
const fn is_more_than_call(number: core::ffi::c_long) -> bool {
    matches!(
        number,
        NONE | ELSEWHERE
            | libc::SYS_preadv2
            | libc::SYS_pwritev2
            | libc::SYS_fchmodat
            | libc::SYS_fcntl
            | libc::SYS_pkey_mprotect
    )
}

/// On to the real function, unasked.
///
/// # Safety
/// Only to be jumped to by an exported symbol, which leaves r11 at the [`Slot`].
#[unsafe(naked)]
unsafe extern "C" fn straight() {
    naked_asm!("jmp [r11 + {real}]", real = const offset_of!(Slot, real))
}

/// The real function, then [`descriptors::forget`] of what it returns: all that dup(2) needs. [`enter`] would cost
/// more than the call itself.
///
/// # Safety
/// As for [`straight`].
#[unsafe(naked)]
unsafe extern "C" fn hand_out() {
    naked_asm!(
        ".cfi_startproc",
        "sub rsp, 8",
        ".cfi_def_cfa_offset 16",
        "mov [rsp], rdi",
        "call [r11 + {real}]",
        "cmp dword ptr [rip + {seals}], 0",
        "jne 3f",
        "cmp eax, {limit}",
        "jae 2f",
        "mov ecx, eax",
        "lea rdx, [rip + {table}]",
        "mov esi, [rdx + 4 * rcx]",
        "and esi, {version}",
        "add esi, {next_version}",
        "mov [rdx + 4 * rcx], esi",
        "2:",
        "add rsp, 8",
        ".cfi_remember_state",
        ".cfi_def_cfa_offset 8",
        "ret",
        ".cfi_restore_state",
        // sealed
        "3:",
        "mov rdi, [rsp]",
        "mov [rsp], rax",
        "mov esi, eax",
        "call {duplicated}",
        "mov rax, [rsp]",
        "jmp 2b",
        ".cfi_endproc",
        real = const offset_of!(Slot, real),
        seals = sym SEALS,
        duplicated = sym descriptors::duplicated,
        limit = const descriptors::LIMIT,
        table = sym descriptors::TABLE,
        version = const descriptors::FORGOTTEN as i32,
        next_version = const descriptors::NEXT_VERSION,
    )
}

/// Where every exported symbol jumps to, with r11 at its [`Slot`].
///
/// # Safety
/// Only to be jumped to by an exported symbol, with its caller's registers and stack.
#[unsafe(naked)]
pub unsafe extern "C" fn enter() {
    naked_asm!(
        ".cfi_startproc",
        "sub rsp, {frame}",
        ".cfi_def_cfa_offset {frame} + 8",
        "mov [rsp], rdi",
        "mov [rsp + 8], rsi",
        "mov [rsp + 16], rdx",
        "mov [rsp + 24], rcx",
        "mov [rsp + 32], r8",
        "mov [rsp + 40], r9",
        "mov [rsp + {rax}], rax",
        "mov [rsp + {slot}], r11",
        "mov rdi, rsp",
        "call [r11 + {check}]",
        "cmp eax, 1",
        "je 3f",
        "cmp eax, 3",
        "je 4f",
        "test eax, eax",
        "mov r11, [rsp + {slot}]",
        "mov rdi, [rsp]",
        "mov rsi, [rsp + 8]",
        "mov rcx, [rsp + 24]",
        "mov r8, [rsp + 32]",
        "mov r9, [rsp + 40]",
        "mov rdx, [rsp + 16]",
        "jnz 2f",
        // pass
        "mov rax, [rsp + {rax}]",
        "add rsp, {frame}",
        ".cfi_remember_state",
        ".cfi_def_cfa_offset 8",
        "jmp [r11 + {real}]",
        ".cfi_restore_state",
        // around
        "2:",
        "mov rax, [rsp + {rax}]",
        "call [r11 + {real}]",
        "mov rdi, rsp",
        "mov rsi, rax",
        "call [rsp + {after}]",
        "add rsp, {frame}",
        ".cfi_remember_state",
        ".cfi_def_cfa_offset 8",
        "ret",
        ".cfi_restore_state",
        // answer, at a cancellation point
        "4:",
        "mov [rsp + {note}], rdx",
        "call [rip + {testcancel}]",
        "mov rdx, [rsp + {note}]",
        // answer
        "3:",
        "mov rax, rdx",
        "add rsp, {frame}",
        ".cfi_def_cfa_offset 8",
        "ret",
        ".cfi_endproc",
        frame = const FRAME,
        rax = const offset_of!(Call, rax),
        slot = const offset_of!(Call, slot),
        note = const offset_of!(Call, note),
        testcancel = sym TESTCANCEL,
        after = const offset_of!(Call, after),
        check = const offset_of!(Slot, check),
        real = const offset_of!(Slot, real),
    )
}

/// Serves calls that come before the constructor, and those of [`Slot::serve_by_kernel`]: straight down to
/// the kernel.
///
/// # Safety
/// Only reached through [`enter`], which leaves r11 at the [`Slot`].
#[unsafe(naked)]
unsafe extern "C" fn early() {
    naked_asm!(
        "mov rax, [r11 + {number}]",
        "mov r10, rcx",
        "syscall",
        "cmp rax, -4096",
        "ja 2f",
        "ret",
        "2:",
        "neg eax",
        "mov edi, eax",
        "jmp {fail}",
        number = const offset_of!(Slot, number),
        fail = sym fail,
    )
}

/// Finds the function, and goes on to it: that of a library that was loaded after the constructor had run,
/// or one of libc's before it has.
///
/// # Safety
/// As for [`early`].
#[unsafe(naked)]
unsafe extern "C" fn late() {
    naked_asm!(
        ".cfi_startproc",
        "sub rsp, 56",
        ".cfi_def_cfa_offset 64",
        "mov [rsp], rdi",
        "mov [rsp + 8], rsi",
        "mov [rsp + 16], rdx",
        "mov [rsp + 24], rcx",
        "mov [rsp + 32], r8",
        "mov [rsp + 40], r9",
        "mov rdi, r11",
        "call {resolve}",
        "mov r11, rax",
        "mov rdi, [rsp]",
        "mov rsi, [rsp + 8]",
        "mov rdx, [rsp + 16]",
        "mov rcx, [rsp + 24]",
        "mov r8, [rsp + 32]",
        "mov r9, [rsp + 40]",
        "add rsp, 56",
        ".cfi_def_cfa_offset 8",
        "jmp r11",
        ".cfi_endproc",
        resolve = sym resolve_late,
    )
}

/// The rows of the table by their system calls' numbers; empty until the constructor has run.
static BY_NUMBER: [AtomicPtr<Slot>; NUMBERS] =
    [const { AtomicPtr::new(core::ptr::null_mut()) }; NUMBERS];

/// More than the numbers that x86-64 has.
pub(super) const NUMBERS: usize = 512;

/// Has syscall(2) ask these rows; of those with the same number, the last.
pub fn ask_by_number(rows: impl Iterator<Item = &'static Slot>) {
    for row in rows {
        if let Some(entry) = BY_NUMBER.get(row.number) {
            entry.store((row as *const Slot).cast_mut(), Ordering::Release);
        }
    }
}

/// Where `syscall` leads: to the hook of the number's row, with the arguments where it expects
/// them and the kernel as the real function; without a row straight to the kernel, as libc does it.
///
/// # Safety
/// Only to be jumped to by the exported symbol.
#[unsafe(naked)]
pub unsafe extern "C" fn by_number() {
    naked_asm!(
        // The kernel takes the number as an int.
        "mov eax, edi",
        "mov rdi, rsi",
        "mov rsi, rdx",
        "mov rdx, rcx",
        "mov rcx, r8",
        "mov r8, r9",
        "mov r9, [rsp + 8]",
        "cmp rax, {numbers}",
        "jae 2f",
        "lea r11, [rip + {by_number}]",
        "mov r11, [r11 + 8 * rax]",
        "test r11, r11",
        "jnz {enter}",
        "2:",
        "mov r10, rcx",
        "syscall",
        "cmp rax, -4096",
        "ja 3f",
        "ret",
        "3:",
        "neg eax",
        "mov edi, eax",
        "jmp {fail}",
        numbers = const NUMBERS,
        by_number = sym BY_NUMBER,
        enter = sym enter,
        fail = sym fail,
    )
}
