//! vfork(2), made here as libc makes it: its child shares the parent's memory but not its
//! descriptors, and only where the call is made is it seen that the parent goes on.

use crate::ground::process::VFORKED;
use crate::ground::real::fail;
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
        "lock inc dword ptr [rip + {vforked}]",
        "mov eax, {number}",
        "syscall",
        "push rdi",
        ".cfi_def_cfa_offset 8",
        ".cfi_offset rip, -8",
        "test eax, eax",
        "jz 2f",
        "lock dec dword ptr [rip + {vforked}]",
        "test eax, eax",
        "js 3f",
        "2:",
        "ret",
        "3:",
        "neg eax",
        "mov edi, eax",
        "jmp {fail}",
        ".cfi_endproc",
        vforked = sym VFORKED,
        number = const libc::SYS_vfork,
        fail = sym fail,
    )
}
