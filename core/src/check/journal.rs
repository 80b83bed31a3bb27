//! The journal of `daxshim crash`: what was not durable when something happened to a file, and what
//! of it then became durable.
//!
//! A file `journal.DEV.INO.SIZE` of the report directory, mapped shared: a ring of cells that the
//! processes of a run write, one at a time, and the command reads while they run. A record is
//!
//! - a cell [`BEGIN`]: the moment, the process, and the range that the sync makes durable;
//! - cells [`STACK`]: return addresses, innermost first;
//! - cells [`LINE`], in order of offsets: each line that is not durable, as it is. Inside the range
//!   all of them; outside perhaps a part;
//! - a cell [`END`]: how many lines outside the range were not durable, altogether.
//!
//! The first record has the moment [`Moment::Mapped`] and holds every line that is not zero: the
//! file when it was first mapped, all of it durable. So whoever reads the ring from the beginning
//! knows what was durable at each record.

use crate::report::PATH_LEN;
use core::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};

/// `Journal::magic`.
pub const MAGIC: u64 = u64::from_le_bytes(*b"DAXJRNL\x01");

/// Names of journals begin with this.
pub const FILE_PREFIX: &str = "journal.";

/// Cells of the ring.
pub const CELLS: usize = 1 << 15;

/// Words of a cell, and of a cache line: what the CPU stores at once, and so what a power cut
/// leaves whole.
pub const WORDS: usize = 8;

/// [`Cell`] of this kind: see the module.
pub const BEGIN: u8 = 1;
/// See the module.
pub const STACK: u8 = 2;
/// See the module.
pub const LINE: u8 = 3;
/// See the module.
pub const END: u8 = 4;

/// When a record was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Moment {
    /// The file was mapped for the first time.
    Mapped = 1,
    /// msync(2) began.
    Msync,
    /// fsync(2), fdatasync(2) or sync_file_range(2) began.
    Fsync,
    /// sync(2) or syncfs(2) began.
    Sync,
    /// Something was about to be written or sent to a socket or a pipe.
    Acknowledged,
    /// The process was about to end, or to execute another program.
    Ended,
    /// pmem_drain(3) or the like, of libpmem or libpmem2, began.
    Drain,
}

impl Moment {
    /// That of a cell.
    #[must_use]
    pub const fn from_u64(value: u64) -> Option<Moment> {
        Some(match value {
            1 => Moment::Mapped,
            2 => Moment::Msync,
            3 => Moment::Fsync,
            4 => Moment::Sync,
            5 => Moment::Acknowledged,
            6 => Moment::Ended,
            7 => Moment::Drain,
            _ => return None,
        })
    }

    /// Whether it makes something durable.
    #[must_use]
    pub const fn is_sync(self) -> bool {
        matches!(
            self,
            Moment::Msync | Moment::Fsync | Moment::Sync | Moment::Drain
        )
    }
}

/// A part of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// [`BEGIN`], [`STACK`], [`LINE`] or [`END`].
    pub kind: u8,
    /// `LINE`: the offset in the file, bytes. `STACK`: how many addresses. `END`: lines outside the
    /// range. Less than 2^56.
    pub number: u64,
    /// `BEGIN`: moment, process, start and end of the range. `LINE`: the content.
    pub words: [u64; WORDS],
}

const KIND_SHIFT: u32 = 56;

/// An entry, in the ring.
#[repr(C)]
struct Cell {
    what: AtomicU64,
    words: [AtomicU64; WORDS],
}

/// See the module.
#[repr(C)]
pub struct Journal {
    /// [`MAGIC`]; last.
    pub magic: AtomicU64,
    /// `size_of::<Journal>()`.
    pub length: AtomicU64,
    /// `st_dev` of the file.
    pub device: AtomicU64,
    /// `st_ino` of the file.
    pub inode: AtomicU64,
    /// Bytes of the file.
    pub size: AtomicU64,
    /// 1 once the first record is complete.
    pub ready: AtomicU8,
    /// Bytes of `path`.
    pub path_len: AtomicU8,
    /// 1 if the file lies in the page cache.
    pub paged: AtomicU8,
    /// 1 once the file was mapped in another size, and another journal goes on.
    pub superseded: AtomicU8,
    /// [`Journal::close`].
    closed: AtomicU32,
    /// Entries written, ever.
    written: AtomicU64,
    /// Entries read, ever.
    read: AtomicU64,
    /// The path when first mapped.
    pub path: [AtomicU8; PATH_LEN],
    cells: [Cell; CELLS],
}

impl Journal {
    /// Adds an entry; whether there was room. One writer at a time.
    pub fn push(&self, entry: &Entry) -> bool {
        let written = self.written.load(Ordering::Relaxed);
        let full = written.wrapping_sub(self.read.load(Ordering::Acquire)) >= CELLS as u64;
        let Some(cell) = self.cells.get(written as usize % CELLS).filter(|_| !full) else {
            return false;
        };
        let what = u64::from(entry.kind) << KIND_SHIFT | entry.number;
        cell.what.store(what, Ordering::Relaxed);
        for (cell, word) in cell.words.iter().zip(entry.words) {
            cell.store(word, Ordering::Relaxed);
        }
        self.written.store(written + 1, Ordering::Release);
        true
    }

    /// Takes the oldest entry out. One reader.
    pub fn pop(&self) -> Option<Entry> {
        let read = self.read.load(Ordering::Relaxed);
        let is_empty = self.written.load(Ordering::Acquire) == read;
        let cell = self
            .cells
            .get(read as usize % CELLS)
            .filter(|_| !is_empty)?;
        let what = cell.what.load(Ordering::Relaxed);
        let mut words = [0; WORDS];
        for (word, cell) in words.iter_mut().zip(&cell.words) {
            *word = cell.load(Ordering::Relaxed);
        }
        self.read.store(read + 1, Ordering::Release);
        Some(Entry {
            kind: (what >> KIND_SHIFT) as u8,
            number: what & ((1 << KIND_SHIFT) - 1),
            words,
        })
    }

    /// Entries read so far: it grows while somebody reads.
    pub fn progress(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }

    /// Nothing is added from now on: it would not be complete, or nobody would read it.
    pub fn close(&self) {
        self.closed.store(1, Ordering::Release);
    }

    /// Whether it is closed.
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire) != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn journal() -> Box<Journal> {
        // SAFETY: all-zero is a valid, empty journal.
        unsafe { Box::<Journal>::new_zeroed().assume_init() }
    }

    fn line(number: u64) -> Entry {
        Entry {
            kind: LINE,
            number,
            words: [number; WORDS],
        }
    }

    #[test]
    fn what_is_pushed_is_popped_in_order() {
        let journal = journal();
        assert_eq!(journal.pop(), None);
        // More than once around.
        for first in 0..3 * CELLS as u64 {
            assert!(journal.push(&line(first)) && journal.push(&line(first + 1)));
            assert_eq!(journal.pop(), Some(line(first)));
            assert_eq!(journal.pop(), Some(line(first + 1)));
            assert_eq!(journal.pop(), None);
        }
    }

    #[test]
    fn a_full_ring_takes_nothing_until_it_is_read() {
        let journal = journal();
        let room = (0..).take_while(|&i| journal.push(&line(i))).count();
        assert_eq!(room, CELLS);
        assert_eq!(journal.pop(), Some(line(0)));
        assert!(journal.push(&line(9)) && !journal.push(&line(9)));
    }
}
