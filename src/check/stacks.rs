//! Runs on a stack of our own what needs much of one: the program's may be all but full, or an alternate one of a few KiB.
//!
//! Wrong unwind information may make the unwinder fault: that ends the unwinding and nothing else.

use super::log::log;
use super::stack;
use crate::ground::real::{sys, sys_of_program, yield_now};
use core::arch::naked_asm;
use core::cell::UnsafeCell;
use core::ffi::c_void;
use core::sync::atomic::{AtomicU8, Ordering};
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
static USES: [AtomicU8; 8] = [const { AtomicU8::new(FREE) }; 8];

/// What a room is used for.
const FREE: u8 = 0;
/// Work that nothing ends but itself.
const WORK: u8 = 1;
/// Unwinding, which a fault may end.
const UNWINDING: u8 = 2;

/// In a forked child: the other threads are gone.
pub fn forked() {
    for used in &USES {
        used.store(FREE, Ordering::Relaxed);
    }
}

/// The stack that led here, or to the present signal. `None` where there is none to be had.
pub fn stack() -> Option<Stack> {
    let mut stack = Stack::new();
    // SAFETY: `unwind` gets the stack it expects.
    unsafe { on_room(UNWINDING, unwind, (&raw mut stack).cast()) };
    (!stack.frames().is_empty()).then_some(stack)
}

extern "C" fn unwind(stack: *mut c_void) {
    // SAFETY: what `stack` handed on.
    let stack = unsafe { &mut *stack.cast::<Stack>() };
    stack::fill(stack);
    if let Some(log) = log() {
        stack::note_modules(log, stack);
    }
}

/// Does the work on a stack of ours, while no handler runs that might leave it or need more.
pub fn spacious(mut work: impl FnMut()) {
    extern "C" fn run<F: FnMut()>(work: *mut c_void) {
        // SAFETY: what `spacious` handed on.
        unsafe { (*work.cast::<F>())() }
    }
    fn runner<F: FnMut()>(_: &F) -> extern "C" fn(*mut c_void) {
        run::<F>
    }
    let _handlers = HandlersHeld::new();
    let run = runner(&work);
    let work = (&raw mut work).cast();
    // SAFETY: `run` gets the closure that it was made for.
    if !unsafe { on_room(WORK, run, work) } {
        run(work);
    }
}

/// Calls `work` with `argument` on a room; whether there was one.
///
/// # Safety
/// As for [`call_on`].
unsafe fn on_room(usage: u8, work: extern "C" fn(*mut c_void), argument: *mut c_void) -> bool {
    for _ in 0..PATIENCE {
        for (room, used) in ROOMS.iter().zip(&USES) {
            let order = (Ordering::Acquire, Ordering::Relaxed);
            if used.compare_exchange(FREE, usage, order.0, order.1).is_ok() {
                // SAFETY: the end of a room that is ours, aligned; the rest by the caller's promise.
                unsafe {
                    let top = room.0.get().cast::<u8>().add(ROOM);
                    call_on(top, work, argument);
                }
                used.store(FREE, Ordering::Release);
                return true;
            }
        }
        yield_now();
    }
    false
}

/// Signals of this thread but those of faults are held back until this is dropped.
struct HandlersHeld(Option<u64>);

impl HandlersHeld {
    fn new() -> HandlersHeld {
        let faults = [libc::SIGSEGV, libc::SIGBUS, libc::SIGTRAP];
        let all = faults
            .iter()
            .fold(!0, |all, fault| all & !(1u64 << (fault - 1)));
        let mut before = 0u64;
        let how = libc::SIG_BLOCK;
        // SAFETY: both masks are ours and eight bytes long.
        let held = unsafe { sys!(SYS_rt_sigprocmask, how, &raw const all, &raw mut before, 8) };
        HandlersHeld(held.ok().map(|_| before))
    }
}

impl Drop for HandlersHeld {
    fn drop(&mut self) {
        let Some(before) = &self.0 else { return };
        let (how, none) = (libc::SIG_SETMASK, core::ptr::null_mut::<u64>());
        // Also where another thread has sealed the process meanwhile: held back for good would be worse.
        // SAFETY: the mask is ours and eight bytes long.
        let _ = unsafe { sys_of_program!(SYS_rt_sigprocmask, how, &raw const *before, none, 8) };
    }
}

/// Where a fault on one of the stacks has to go on: instruction, and the value of rbp.
pub fn way_out(stack_pointer: usize) -> Option<(usize, usize)> {
    let (top, _) = ROOMS
        .iter()
        .map(|room| room.0.get() as usize + ROOM)
        .zip(&USES)
        .filter(|(_, used)| used.load(Ordering::Relaxed) == UNWINDING)
        .find(|&(top, _)| (top - ROOM..top).contains(&stack_pointer))?;
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
