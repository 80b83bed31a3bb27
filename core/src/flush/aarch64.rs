//! dc cvap, dc cvac, dsb (Arm Architecture Reference Manual, C5 and D7). The names are those of the
//! x86-64 instructions that they stand for.

pub use crate::units::LINE;
use core::arch::asm;

/// What [`WriteBack`](super::WriteBack) is called here.
pub const WORDS: [&str; 3] = ["dc cvap", "dc cvac", "dc cvac"];

/// What the CPU offers beyond dc cvac, which every CPU has.
#[derive(Clone, Copy, Debug)]
pub struct Features {
    /// dc cvap: to the point of persistence (HWCAP_DCPOP).
    pub clwb: bool,
    /// Nothing of the kind.
    pub clflushopt: bool,
}

/// Asks the auxiliary vector.
#[must_use]
pub fn features() -> Features {
    // SAFETY: reads what the kernel handed to the process.
    let hwcap = unsafe { libc::getauxval(libc::AT_HWCAP) };
    Features {
        clwb: hwcap & libc::HWCAP_DCPOP != 0,
        clflushopt: false,
    }
}

/// Bytes of the shortest line of any data cache: CTR_EL0.DminLine, the logarithm of words.
fn line() -> usize {
    let ctr: usize;
    // SAFETY: Linux lets EL0 read it, or answers in its place.
    unsafe { asm!("mrs {}, ctr_el0", out(reg) ctr, options(nomem, nostack, preserves_flags)) };
    4 << (ctr >> 16 & 0xf)
}

macro_rules! line_loop {
    ($name:ident $instruction:literal) => {
        #[doc = concat!("`", $instruction, "` on each line of `[first, end)`.")]
        ///
        /// # Safety
        /// The lines must be mapped and readable, and the CPU must have the instruction.
        pub unsafe fn $name(first: usize, end: usize) {
            let step = line();
            let mut line = super::line_of(first, step);
            while line < end {
                // SAFETY: the caller vouches for the lines. No `nomem`: stores to them must stand
                // before the instruction.
                unsafe {
                    asm!(concat!($instruction, ", {}"), in(reg) line, options(nostack, preserves_flags));
                }
                line += step;
            }
        }
    };
}
// As its encoding, for assemblers that are not told of Armv8.2.
line_loop!(clwb "sys #3, c7, c12, #1");
line_loop!(clflushopt "dc cvac");
line_loop!(clflush "dc cvac");

/// `dsb`: what was written back before it has reached its point before anything later.
pub fn fence() {
    // SAFETY: orders memory, touches none.
    unsafe { asm!("dsb sy", options(nostack, preserves_flags)) };
}
