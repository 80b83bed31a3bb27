//! Who stores to a page first after its last sync: stacks, and for each page of a file which of them.
//!
//! A file `blame.DEV.INO.SIZE` of the report directory, beside the shadow of that name: a [`Table`],
//! and from [`PAGES`] on a number for each page. Written like the log: relaxed atomics, no locks, from
//! a signal handler.

use super::lines::PAGE;
use super::log::{FRAMES, Stack};
use core::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering};

/// `Table::magic`.
pub const MAGIC: u64 = u64::from_le_bytes(*b"DAXBLAM\x01");

/// Names of such files begin with this.
pub const FILE_PREFIX: &str = "blame.";

/// Different writers that a table has room for.
pub const WRITERS: usize = 1024;

/// Where the pages' numbers begin, bytes.
pub const PAGES: usize = size_of::<Table>().next_multiple_of(PAGE);

/// A page's number: who stored to it is not known.
pub const UNKNOWN: u16 = 0;
/// A page's number: system calls store to it.
pub const BY_KERNEL: u16 = u16::MAX;

/// Bytes of the table of a file.
#[must_use]
pub const fn length(size: u64) -> u64 {
    PAGES as u64 + size.div_ceil(PAGE as u64) * size_of::<u16>() as u64
}

/// A stack that stored first to some page.
#[repr(C)]
pub struct Writer {
    /// 0 free, 1 being filled in, 2 valid.
    state: AtomicU8,
    stack_len: AtomicU8,
    padding: [u8; 2],
    /// Process ID.
    pub pid: AtomicU32,
    key: AtomicU64,
    stack: [AtomicU64; FRAMES],
}

impl Writer {
    /// Its addresses, innermost first; `None` if it is not whole.
    #[must_use]
    pub fn frames(&self) -> Option<impl Iterator<Item = u64> + '_> {
        let depth = usize::from(self.stack_len.load(Ordering::Relaxed));
        let valid = self.state.load(Ordering::Acquire) == 2;
        let frames = self.stack.iter().take(depth);
        valid.then(|| frames.map(|frame| frame.load(Ordering::Relaxed)))
    }

    /// Whether this is the writer's place, or was free and now is.
    fn claim(&self, stack: &Stack, pid: u32, key: u64) -> bool {
        let claimed = self
            .state
            .compare_exchange(0, 1, Ordering::Acquire, Ordering::Acquire);
        match claimed {
            Ok(_) => {
                for (cell, frame) in self.stack.iter().zip(stack.frames()) {
                    cell.store(*frame, Ordering::Relaxed);
                }
                let depth = stack.frames().len() as u8;
                self.stack_len.store(depth, Ordering::Relaxed);
                self.pid.store(pid, Ordering::Relaxed);
                self.key.store(key, Ordering::Relaxed);
                self.state.store(2, Ordering::Release);
                true
            }
            Err(2) => {
                self.key.load(Ordering::Relaxed) == key && self.pid.load(Ordering::Relaxed) == pid
            }
            Err(_) => false,
        }
    }
}

/// See the module.
#[repr(C)]
pub struct Table {
    /// [`MAGIC`].
    pub magic: AtomicU64,
    /// Pages opened without taking a stack, to save time or for want of room.
    pub unsampled: AtomicU64,
    /// The writers.
    pub writers: [Writer; WRITERS],
}

impl Table {
    /// The number of a writer, for a page. `None`: there is no room.
    pub fn writer(&self, stack: &Stack, pid: u32) -> Option<u16> {
        let key = stack.key();
        let mut writers = self.writers.iter();
        let place = writers.position(|writer| writer.claim(stack, pid, key))?;
        Some(place as u16 + 1)
    }

    /// The writer of a number.
    #[must_use]
    pub fn of_number(&self, number: u16) -> Option<&Writer> {
        self.writers.get(usize::from(number).checked_sub(1)?)
    }
}

/// The pages' numbers.
pub type Pages = [AtomicU16];

#[cfg(test)]
mod tests {
    use super::*;

    fn stack(frames: &[u64]) -> Stack {
        let mut stack = Stack::new();
        for frame in frames {
            assert!(stack.push(*frame));
        }
        stack
    }

    #[test]
    fn the_same_stack_of_a_process_has_one_number() {
        // SAFETY: all-zero is a valid, empty table.
        let table = unsafe { Box::<Table>::new_zeroed().assume_init() };
        assert_eq!(table.writer(&stack(&[1, 2]), 7), Some(1));
        assert_eq!(table.writer(&stack(&[1, 3]), 7), Some(2));
        assert_eq!(table.writer(&stack(&[1, 2]), 8), Some(3));
        assert_eq!(table.writer(&stack(&[1, 2]), 7), Some(1));
        let writer = table.of_number(2).unwrap();
        assert_eq!(writer.frames().unwrap().collect::<Vec<_>>(), [1, 3]);
        assert!(table.of_number(4).unwrap().frames().is_none());
        assert!(table.of_number(UNKNOWN).is_none() && table.of_number(BY_KERNEL).is_none());
        for place in 3..WRITERS as u64 {
            assert!(table.writer(&stack(&[9, place]), 7).is_some());
        }
        assert_eq!(table.writer(&stack(&[9, 0]), 7), None);
    }

    #[test]
    fn each_page_has_a_number() {
        assert_eq!(length(0), PAGES as u64);
        assert_eq!(length(PAGE as u64 + 1), PAGES as u64 + 4);
    }
}
