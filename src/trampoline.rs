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

use core::arch::naked_asm;
use core::mem::offset_of;
use core::sync::atomic::AtomicPtr;

/// What the hook wants done. Returned in two registers.
#[repr(C)]
pub struct Step {
    kind: usize,
    value: isize,
}

impl Step {
    /// On to the real function.
    pub const PASS: Step = Step { kind: 0, value: 0 };

    /// Whether it is [`Step::PASS`].
    pub const fn is_pass(&self) -> bool {
        self.kind == 0
    }

    /// Return `value` to the program.
    pub const fn answer(value: isize) -> Step {
        Step { kind: 1, value }
    }

    /// As [`Step::answer`], but where the real function would have been a cancellation point, be
    /// one: a thread that calls nothing else must stay cancellable.
    pub const fn answer_cancellable(value: isize) -> Step {
        Step { kind: 3, value }
    }

    /// Return -1 with errno set.
    pub fn fail(errno: i32) -> Step {
        crate::real::set_errno(errno);
        Step::answer(-1)
    }
}

/// A hook: looks at the call and says what is to be done.
pub type Check = extern "C" fn(&mut Call) -> Step;

/// What runs behind the real function of an *around*; its value goes to the program. It must
/// preserve errno.
pub type After = extern "C" fn(&Call, isize) -> isize;

/// Of one exported symbol.
#[repr(C)]
pub struct Slot {
    /// The next definition of the symbol; [`early`] until the constructor has run.
    pub real: AtomicPtr<()>,
    /// The hook.
    pub check: Check,
    /// The system call that serves until the constructor has run.
    pub number: usize,
}

impl Slot {
    /// A slot whose real function is not known yet.
    pub const fn new(check: Check, number: core::ffi::c_long) -> Slot {
        Slot {
            real: AtomicPtr::new(early as *mut ()),
            check,
            number: number as usize,
        }
    }
}

/// The registers of a call, on the stack of [`enter`].
#[repr(C)]
pub struct Call {
    /// rdi, rsi, rdx, rcx, r8, r9.
    pub args: [usize; 6],
    rax: usize,
    slot: *const Slot,
    after: Option<After>,
    /// Room for a hook to hand something to its `After`.
    pub note: usize,
}

impl Call {
    /// Calls the real function, then `after`.
    pub fn then(&mut self, after: After) -> Step {
        self.after = Some(after);
        Step { kind: 2, value: 0 }
    }
}

/// Bytes of [`enter`]'s frame: it holds a [`Call`], and keeps the stack aligned to 16.
const FRAME: usize = 88;
const _: () = assert!(size_of::<Call>() <= FRAME && FRAME % 16 == 8);

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
        testcancel = sym crate::real::TESTCANCEL,
        after = const offset_of!(Call, after),
        check = const offset_of!(Slot, check),
        real = const offset_of!(Slot, real),
    )
}

/// Serves calls that come before the constructor: straight down to the kernel.
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
        fail = sym early_failure,
    )
}

extern "C" fn early_failure(errno: i32) -> isize {
    crate::real::set_errno(errno);
    -1
}

macro_rules! export_hooks {
    ($($family:ident::$function:ident [$($symbol:ident)+] $syscall:ident => [$($operation:ident)+];)+) => {
        $($(
            mod $symbol {
                use crate::trampoline::{Slot, enter};

                pub static SLOT: Slot =
                    Slot::new(crate::hooks::$family::$function, libc::$syscall);

                #[unsafe(naked)]
                #[unsafe(no_mangle)]
                unsafe extern "C" fn $symbol() {
                    core::arch::naked_asm!(
                        "lea r11, [rip + {slot}]",
                        "jmp {enter}",
                        slot = sym SLOT,
                        enter = sym enter,
                    )
                }
            }
        )+)+

        /// Every exported symbol (with its terminating NUL) and its slot.
        pub static SLOTS: &[(&str, &Slot)] = &[
            $($((concat!(stringify!($symbol), "\0"), &$symbol::SLOT)),+),+
        ];
    };
}
daxshim_core::for_each_hook!(export_hooks);
