//! clwb, clflushopt, clflush, sfence (Intel SDM vol. 2; AMD APM vol. 3).

use core::arch::asm;
use core::arch::x86_64::__cpuid_count;

/// Bytes in a cache line. CPUID can say otherwise; no x86-64 CPU does.
pub const LINE: usize = 64;

/// What CPUID offers beyond clflush, which every x86-64 CPU has.
#[derive(Clone, Copy, Debug)]
pub struct Features {
    /// CPUID.7.0:EBX bit 24.
    pub clwb: bool,
    /// CPUID.7.0:EBX bit 23.
    pub clflushopt: bool,
}

/// Asks CPUID.
#[must_use]
pub fn features() -> Features {
    let ebx = match __cpuid_count(0, 0).eax {
        0..7 => 0,
        _ => __cpuid_count(7, 0).ebx,
    };
    Features {
        clwb: ebx & (1 << 24) != 0,
        clflushopt: ebx & (1 << 23) != 0,
    }
}

macro_rules! line_loop {
    ($name:ident $instruction:literal) => {
        #[doc = concat!("`", $instruction, "` on each line of `[first, end)`; `first` line-aligned.")]
        ///
        /// # Safety
        /// The lines must be mapped and readable, and the CPU must have the instruction.
        pub unsafe fn $name(first: usize, end: usize) {
            let mut line = first;
            while line < end {
                // SAFETY: the caller vouches for the line. No `nomem`: stores to the line must
                // stand before the instruction.
                unsafe { asm!(concat!($instruction, " [{}]"), in(reg) line, options(nostack, preserves_flags)) };
                line += LINE;
            }
        }
    };
}
line_loop!(clwb "clwb");
line_loop!(clflushopt "clflushopt");
line_loop!(clflush "clflush");

/// `sfence`: what was written back before it is in the persistence domain before any later store.
pub fn fence() {
    // SAFETY: orders memory, touches none.
    unsafe { asm!("sfence", options(nostack, preserves_flags)) };
}
