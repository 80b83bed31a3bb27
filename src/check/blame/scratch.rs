//! Stacks for the unwinder: the program's may be all but full, or an alternate one of a few KiB.
//!
//! If the unwinder faults, by unwind information that is wrong, that ends it and nothing else.

use super::super::log::log;
use super::super::stack;
use crate::real::sys;
use core::arch::naked_asm;
use core::cell::UnsafeCell;
use core::ffi::c_void;
use core::sync::atomic::{AtomicBool, Ordering};
use daxshim_core::check::log::Stack;

/// Bytes of a stack.
const ROOM: usize = 64 << 10;
/// Where, below its top, the frame to go back to is kept.
const KEPT: usize = 16;

/// How often a free one is looked for.
const PATIENCE: usize = 1000;

#[repr(C, align(4096))]
struct Room(UnsafeCell<[u8; ROOM]>);

// SAFETY: only who has taken it touches it.
unsafe impl Sync for Room {}

static ROOMS: [Room; 8] = [const { Room(UnsafeCell::new([0; ROOM])) }; 8];
static TAKEN: [AtomicBool; 8] = [const { AtomicBool::new(false) }; 8];

/// In a forked child: the other threads are gone.
pub fn forked() {
    for taken in &TAKEN {
        taken.store(false, Ordering::Relaxed);
    }
}

/// The stack that led to the present signal. `None` where there is none to be had.
pub fn stack() -> Option<Stack> {
    for _ in 0..PATIENCE {
        for (room, taken) in ROOMS.iter().zip(&TAKEN) {
            if !taken.swap(true, Ordering::Acquire) {
                let mut stack = Stack::new();
                // SAFETY: the end of a room that is ours, aligned; `unwind` gets the stack it expects.
                unsafe {
                    let top = room.0.get().cast::<u8>().add(ROOM);
                    call_on(top, unwind, (&raw mut stack).cast());
                }
                taken.store(false, Ordering::Release);
                return (!stack.frames().is_empty()).then_some(stack);
            }
        }
        // SAFETY: takes nothing.
        let _ = unsafe { sys!(SYS_sched_yield) };
    }
    None
}

extern "C" fn unwind(stack: *mut c_void) {
    // SAFETY: what `stack` handed on.
    let stack = unsafe { &mut *stack.cast::<Stack>() };
    *stack = stack::here();
    if let Some(log) = log() {
        stack::note_modules(log, stack);
    }
}

/// Where a fault on one of the stacks has to go on: instruction, and the value of rbp.
pub fn way_out(stack_pointer: usize) -> Option<(usize, usize)> {
    let top = ROOMS
        .iter()
        .map(|room| room.0.get() as usize + ROOM)
        .find(|&top| (top - ROOM..top).contains(&stack_pointer))?;
    // SAFETY: inside a room; `call_on` has put it there.
    let frame = unsafe { ((top - KEPT) as *const usize).read() };
    Some((leave as *const () as usize, frame))
}

/// Calls `work` with `argument` on the stack that ends at `top`.
///
/// # Safety
/// Nobody else may use that stack; `work` must be safe to call so.
#[unsafe(naked)]
unsafe extern "C" fn call_on(
    top: *mut u8,
    work: extern "C" fn(*mut c_void),
    argument: *mut c_void,
) {
    naked_asm!(
        ".cfi_startproc",
        "push rbp",
        ".cfi_def_cfa_offset 16",
        ".cfi_offset rbp, -16",
        "mov rbp, rsp",
        ".cfi_def_cfa_register rbp",
        "push rbx",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        "mov [rdi - {kept}], rbp",
        "lea rsp, [rdi - 2 * {kept}]",
        "mov rdi, rdx",
        "call rsi",
        "jmp {leave}",
        ".cfi_endproc",
        kept = const KEPT,
        leave = sym leave,
    )
}

/// The end of [`call_on`].
///
/// # Safety
/// Only to be jumped to, with rbp at that function's frame.
#[unsafe(naked)]
unsafe extern "C" fn leave() {
    naked_asm!(
        "mov rbx, [rbp - 8]",
        "mov r12, [rbp - 16]",
        "mov r13, [rbp - 24]",
        "mov r14, [rbp - 32]",
        "mov r15, [rbp - 40]",
        "mov rsp, rbp",
        "pop rbp",
        "ret",
    )
}
