//! vfork(2), made here as libc makes it: its child shares the parent's memory but not its
//! descriptors, and only where the call is made is it seen that the parent goes on.

use crate::ground::real::{CHILDREN, fail};
use core::arch::naked_asm;

/// vfork(2). The return address is kept in a register, as the child uses the parent's stack.
///
/// # Safety
/// Only to be jumped to by the exported symbol.
#[unsafe(naked)]
pub unsafe extern "C" fn vfork() {
    naked_asm!(
        ".cfi_startproc",
        "pop rdi",
        ".cfi_def_cfa_offset 0",
        ".cfi_register rip, rdi",
        "lock inc qword ptr [rip + {children}]",
        "mov eax, {number}",
        "syscall",
        "push rdi",
        ".cfi_def_cfa_offset 8",
        ".cfi_offset rip, -8",
        "test eax, eax",
        "jz 2f",
        // As `real::child_has_ended`: with the last one all seals of children go.
        "mov esi, eax",
        "mov rax, [rip + {children}]",
        "5:",
        "lea rdx, [rax - 1]",
        "xor ecx, ecx",
        "cmp eax, 1",
        "cmovbe rdx, rcx",
        "lock cmpxchg [rip + {children}], rdx",
        "jne 5b",
        "mov eax, esi",
        "test eax, eax",
        "js 3f",
        "2:",
        "ret",
        "3:",
        "neg eax",
        "mov edi, eax",
        "jmp {fail}",
        ".cfi_endproc",
        children = sym CHILDREN,
        number = const libc::SYS_vfork,
        fail = sym fail,
    )
}
