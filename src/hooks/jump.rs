//! longjmp(3): a signal handler that jumps out of a flush leaves it for good.

use crate::entry::slot::{Call, Step};
use crate::mappings;

/// longjmp(3) and its kin.
pub extern "C" fn longjmp(call: &mut Call) -> Step {
    let [target, ..] = call.args;
    mappings::jumping(|| stack_pointer_of(target));
    Step::PASS
}

/// The stack pointer that a jmp_buf of glibc's leads to (sysdeps/x86_64/__longjmp.S): its seventh word,
/// which is kept mangled (PTR_DEMANGLE of sysdeps/unix/sysv/linux/x86/pointer_guard.h).
fn stack_pointer_of(target: usize) -> usize {
    const JB_RSP: usize = 6;
    const ROTATED: u32 = 0x11;
    let guard: usize;
    // SAFETY: the word is read by the real function next; the guard is at fs:0x30 in every thread of glibc's.
    unsafe {
        core::arch::asm!("mov {}, fs:0x30", out(reg) guard, options(nostack, preserves_flags, readonly, pure));
        let mangled = (target as *const usize).add(JB_RSP).read();
        mangled.rotate_right(ROTATED) ^ guard
    }
}
