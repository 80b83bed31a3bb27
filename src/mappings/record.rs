//! The record itself, and how this thread is known to it.

use crate::ground::checking;
use crate::ground::process;
use crate::ground::real::{sleep_shortly, sys, yield_now};
use core::arch::asm;
use core::ops::Range;
use daxshim_core::record::{self, Record};

/// See the room's head; [`quick`](crate::sync::quick) looks into it.
pub static RECORD: Record = Record::new();

/// Whether no tagged file is mapped. One load: the fast path of the hooks on memory.
#[inline]
pub fn is_empty() -> bool {
    RECORD.regions.is_empty()
}

/// How this thread is known to the record, and waits.
pub(super) struct Me;

impl record::Thread for Me {
    fn number(&self) -> usize {
        thread()
    }

    fn pause(&self, number: usize) {
        if number < record::YIELDS {
            yield_now();
        } else {
            sleep_shortly();
        }
    }

    fn patience(&self) -> usize {
        // A thread that compares a file for `daxshim check` shows no progress meanwhile.
        const SECONDS: usize = 1 << 18;
        match checking::on() {
            true => SECONDS,
            false => record::DRAIN_PATIENCE,
        }
    }

    fn is_on_own_stack(&self) -> bool {
        signal_stack().is_some_and(|stack| stack.is_empty())
    }
}

/// A child that was forked past libc's handlers does what they would have done. To be called before
/// anything is recorded or flushed.
#[inline]
pub(super) fn settle() {
    if !RECORD.is_settled() && process::is_set_up() {
        forked_unseen();
    }
}

#[cold]
#[inline(never)]
fn forked_unseen() {
    if RECORD.settle() {
        // SAFETY: this is a forked child, whose handlers did not run.
        unsafe { process::forked_past_handlers() };
    }
}

/// The stack of signal handlers that the thread is on; none if it is on its own. `None` if the kernel can't
/// be asked.
pub(super) fn signal_stack() -> Option<Range<usize>> {
    let mut stack = core::mem::MaybeUninit::<libc::stack_t>::uninit();
    // SAFETY: the kernel fills it in whole, or fails.
    let stack = unsafe {
        sys!(SYS_sigaltstack, 0, stack.as_mut_ptr()).ok()?;
        stack.assume_init()
    };
    let start = stack.ss_sp as usize;
    Some(match stack.ss_flags & libc::SS_ONSTACK {
        0 => 0..0,
        _ => start..start.saturating_add(stack.ss_size),
    })
}

/// The stack pointer of about here.
#[inline(always)]
pub fn stack_pointer() -> usize {
    let pointer: usize;
    // SAFETY: reads a register.
    unsafe {
        asm!("mov {}, rsp", out(reg) pointer, options(nostack, nomem, preserves_flags));
    }
    pointer
}

/// A number that no other living thread of the process has: the thread pointer.
pub fn thread() -> usize {
    let pointer: usize;
    // SAFETY: on x86-64 the ABI keeps the thread pointer's own address at fs:0.
    unsafe {
        asm!("mov {}, fs:0", out(reg) pointer, options(nostack, preserves_flags, readonly, pure));
    }
    pointer
}
