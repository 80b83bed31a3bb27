//! Registers wider than xmm, which other libraries' functions may use.

use core::arch::naked_asm;
use core::sync::atomic::{AtomicU32, Ordering};

/// Bytes of an xsave area that ends with the widest registers that the CPU and kernel have; 0: none wider than
/// xmm.
static WIDE_AREA: AtomicU32 = AtomicU32::new(0);

/// Where ymm's upper halves, k registers, zmm's upper halves, and zmm16 to zmm31 stand in xcr0 (Intel SDM vol.
/// 1, 13.1).
const WIDE: [u32; 4] = [2, 5, 6, 7];

/// Once, by the constructor, where [`keep_wide`] is needed.
pub fn look_at_wide_registers() {
    use core::arch::x86_64::{__cpuid, __cpuid_count};
    const OSXSAVE: u32 = 1 << 27;
    if __cpuid(1).ecx & OSXSAVE == 0 {
        return;
    }
    let ends = WIDE.map(|component| {
        let found = __cpuid_count(0xd, component);
        found.eax + found.ebx
    });
    let end = ends.into_iter().max().unwrap_or(0);
    WIDE_AREA.store(end.next_multiple_of(64), Ordering::Relaxed);
}

/// Calls a function of another library, which may use what the CPU has, and preserves what a place that was
/// turned must and [`site_enter`](crate::entry::site::site_enter) does not. On the stack are some 2.7 KB more with AVX-512.
///
/// # Safety
/// As for a call of `function` with `argument`.
#[unsafe(naked)]
pub unsafe extern "C" fn keep_wide(
    function: unsafe extern "C" fn(*mut core::ffi::c_void),
    argument: *mut core::ffi::c_void,
) {
    naked_asm!(
        ".cfi_startproc",
        "push rbp",
        ".cfi_def_cfa_offset 16",
        ".cfi_offset rbp, -16",
        "mov rbp, rsp",
        ".cfi_def_cfa_register rbp",
        "push rbx",
        ".cfi_offset rbx, -24",
        "push rbx",
        "mov r8, rdi",
        "mov rdi, rsi",
        "mov ecx, [rip + {area}]",
        "test ecx, ecx",
        "jz 2f",
        "sub rsp, rcx",
        "and rsp, -64",
        "mov rbx, rsp",
        "xor eax, eax",
        "xor edx, edx",
        ".irp n, 0, 1, 2, 3, 4, 5, 6, 7",
        "mov [rbx + 512 + 8 * \\n], rax",
        ".endr",
        "mov eax, {wide}",
        "xsave64 [rbx]",
        "call r8",
        "mov eax, {wide}",
        "xor edx, edx",
        "xrstor64 [rbx]",
        "jmp 3f",
        "2:",
        "call r8",
        "3:",
        "mov rbx, [rbp - 8]",
        "mov rsp, rbp",
        "pop rbp",
        ".cfi_def_cfa rsp, 8",
        "ret",
        ".cfi_endproc",
        area = sym WIDE_AREA,
        wide = const 1 << WIDE[0] | 1 << WIDE[1] | 1 << WIDE[2] | 1 << WIDE[3],
    )
}
