//! Cache-line write-back: the one place that knows instructions.

#[cfg(target_arch = "aarch64")]
mod aarch64;
#[cfg(target_arch = "x86_64")]
mod x86_64;
#[cfg(target_arch = "aarch64")]
use aarch64 as arch;
#[cfg(target_arch = "x86_64")]
use x86_64 as arch;

use crate::config::Config;

pub use arch::{LINE, fence};

/// How a line reaches the persistence domain. Ordered from best to worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum WriteBack {
    /// eADR: stores are durable once visible; only the fence is left.
    Nothing,
    /// clwb: writes back, keeps the line; ordered by a fence.
    Clwb,
    /// clflushopt: writes back and evicts; ordered by a fence.
    Clflushopt,
    /// clflush: writes back and evicts, one at a time.
    Clflush,
}

impl WriteBack {
    /// The word in reports.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            WriteBack::Nothing => "none (eADR)",
            WriteBack::Clwb => arch::WORDS[0],
            WriteBack::Clflushopt => arch::WORDS[1],
            WriteBack::Clflush => arch::WORDS[2],
        }
    }

    /// The instruction of a [`Page`](crate::report::Page) field.
    #[must_use]
    pub const fn from_u8(value: u8) -> WriteBack {
        match value {
            0 => WriteBack::Nothing,
            1 => WriteBack::Clwb,
            2 => WriteBack::Clflushopt,
            _ => WriteBack::Clflush,
        }
    }

    /// The best instruction of this CPU that the environment does not forbid. Asks CPUID: call it
    /// once.
    #[must_use]
    pub fn choose(config: &Config) -> WriteBack {
        let cpu = arch::features();
        if cpu.clwb && !config.no_clwb {
            WriteBack::Clwb
        } else if cpu.clflushopt && !config.no_clflushopt {
            WriteBack::Clflushopt
        } else {
            WriteBack::Clflush
        }
    }

    /// Writes back every line that intersects `[start, end)`; addresses in bytes. No fence.
    ///
    /// # Safety
    /// Every page of the range must be mapped and readable: these instructions fault like loads.
    #[inline]
    pub unsafe fn lines(self, start: usize, end: usize) {
        let first = line_of(start, LINE);
        // SAFETY: the caller's promise; rounding down stays in the same page.
        unsafe {
            if self == WriteBack::Clwb {
                return arch::clwb(first, end);
            }
            match self {
                WriteBack::Nothing | WriteBack::Clwb => {}
                WriteBack::Clflushopt => arch::clflushopt(first, end),
                WriteBack::Clflush => arch::clflush(first, end),
            }
        }
    }
}

/// The first address of the line, of so many bytes (a power of two), that holds `address`.
const fn line_of(address: usize, line: usize) -> usize {
    address & !(line - 1)
}

/// Lines that intersect `[start, end)`.
#[must_use]
pub const fn lines_in(start: usize, end: usize) -> u64 {
    if end <= start {
        return 0;
    }
    (((end - 1) / LINE) - (start / LINE) + 1) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_counted_by_intersection() {
        assert_eq!(lines_in(0, 0), 0);
        assert_eq!(lines_in(64, 1), 0);
        assert_eq!(lines_in(0, 1), 1);
        assert_eq!(lines_in(63, 65), 2);
        assert_eq!(lines_in(64, 128), 1);
        assert_eq!(lines_in(0, 4096), 64);
    }

    #[test]
    fn a_line_begins_at_or_before_each_address_in_it() {
        for line in [16, 64, 128] {
            for address in 0..1_000 {
                let first = line_of(address, line);
                assert!(first.is_multiple_of(line) && first <= address && address < first + line);
            }
        }
        assert_eq!(line_of(usize::MAX, 64), usize::MAX - 63);
    }

    #[test]
    fn forbidden_instructions_are_not_chosen() {
        let mut config = Config {
            no_clwb: true,
            ..Config::default()
        };
        assert_ne!(WriteBack::choose(&config), WriteBack::Clwb);
        config.no_clflushopt = true;
        assert_eq!(WriteBack::choose(&config), WriteBack::Clflush);
    }

    #[test]
    fn data_survives_each_instruction() {
        let data: Vec<u8> = (0..10_000u32).map(|i| i as u8).collect();
        let start = data.as_ptr() as usize;
        let mut ways = vec![WriteBack::Nothing, WriteBack::Clflush];
        let cpu = arch::features();
        if cpu.clwb {
            ways.push(WriteBack::Clwb);
        }
        if cpu.clflushopt {
            ways.push(WriteBack::Clflushopt);
        }
        for way in ways {
            // SAFETY: the range is the vector's own.
            unsafe { way.lines(start + 1, start + data.len()) };
            fence();
            assert!(data.iter().enumerate().all(|(i, &b)| b == i as u8));
        }
    }
}
