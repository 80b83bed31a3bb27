//! clwb, clflushopt, clflush, sfence (Intel SDM vol. 2; AMD APM vol. 3).

pub use crate::units::LINE;
use core::arch::asm;
use core::arch::x86_64::__cpuid_count;

/// What [`WriteBack`](super::WriteBack) is called here.
pub const WORDS: [&str; 3] = ["clwb", "clflushopt", "clflush"];

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

/// Bytes written back by one round of the unrolled loop: msync comes in these.
const ROUND: usize = 4096;

macro_rules! line_loop {
    ($name:ident $instruction:literal) => {
        #[doc = concat!("`", $instruction, "` on each line of `[first, end)`; `first` line-aligned.")]
        ///
        /// # Safety
        /// The lines must be mapped and readable, and the CPU must have the instruction.
        pub unsafe fn $name(first: usize, end: usize) {
            let mut line = first;
            let rounds_end = first + (end.saturating_sub(first) & !(ROUND - 1));
            while line != rounds_end {
                // SAFETY: the caller vouches for the lines. No `nomem`: stores to them must stand
                // before the instruction.
                unsafe {
                    asm!(
                        ".set .Ldaxshim_offset, 0",
                        ".rept {round} / {line}",
                        concat!($instruction, " [{at} + .Ldaxshim_offset]"),
                        ".set .Ldaxshim_offset, .Ldaxshim_offset + {line}",
                        ".endr",
                        at = in(reg) line,
                        round = const ROUND,
                        line = const LINE,
                        options(nostack, preserves_flags)
                    );
                }
                line += ROUND;
            }
            while line < end {
                // SAFETY: as above.
                unsafe {
                    asm!(
                        concat!($instruction, " [{}]"),
                        in(reg) line,
                        options(nostack, preserves_flags)
                    );
                }
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
