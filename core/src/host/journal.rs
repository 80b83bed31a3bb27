//! Reading journals ([`crate::check::journal`]) while they are written.
//!
//! As with report pages, nothing is believed that is not checked.

use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

use crate::check::journal::{BEGIN, END, Entry, Journal, LINE, MAGIC, Moment, STACK, WORDS};

/// A cache line: its offset in the file, and its content as words.
pub type Line = (u64, [u64; WORDS]);

/// What was not durable at a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// When.
    pub moment: Moment,
    /// Process ID.
    pub pid: u32,
    /// What the sync makes durable, bytes; empty where it is none.
    pub range: (u64, u64),
    /// Return addresses, innermost first.
    pub stack: Vec<u64>,
    /// Lines that were not durable, in order of offsets.
    pub lines: Vec<Line>,
    /// Lines outside the range that were not durable and are not in `lines`.
    pub left_out: u64,
}

/// A journal that is being written.
pub struct Reader {
    journal: &'static Journal,
    /// `st_dev`, `st_ino`.
    pub file: (u64, u64),
    /// Bytes.
    pub size: u64,
    /// Its path when it was mapped.
    pub path: PathBuf,
    /// Whether it lies in the page cache.
    pub paged: bool,
    /// The record under way.
    begun: Option<Record>,
}

impl Reader {
    /// Opens one. `None`: it is not ready yet.
    ///
    /// # Errors
    /// The errors of opening and mapping it.
    pub fn open(path: &Path) -> io::Result<Option<Reader>> {
        // Whatever has been put there must neither be followed nor waited for.
        let file = File::options()
            .read(true)
            .write(true)
            .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
            .open(path)?;
        if file.metadata()?.len() < size_of::<Journal>() as u64 {
            return Ok(None);
        }
        // SAFETY: a new mapping at an address of the kernel's choice.
        let mapping = unsafe {
            mmap(
                std::ptr::null_mut(),
                size_of::<Journal>(),
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::SHARED,
                &file,
                0,
            )?
        };
        // SAFETY: as long as a journal, for which any bytes will do; unmapped by `drop` alone.
        let journal: &'static Journal = unsafe { &*mapping.cast() };
        let wide = |cell: &AtomicU64| cell.load(Ordering::Relaxed);
        let is_journal = journal.magic.load(Ordering::Acquire) == MAGIC
            && wide(&journal.length) == size_of::<Journal>() as u64;
        let len = usize::from(journal.path_len.load(Ordering::Relaxed));
        let bytes = journal.path.iter().take(len);
        let bytes: Vec<u8> = bytes.map(|byte| byte.load(Ordering::Relaxed)).collect();
        let reader = Reader {
            journal,
            file: (wide(&journal.device), wide(&journal.inode)),
            size: wide(&journal.size),
            path: PathBuf::from(std::ffi::OsStr::from_bytes(&bytes)),
            paged: journal.paged.load(Ordering::Relaxed) != 0,
            begun: None,
        };
        Ok(is_journal.then_some(reader))
    }

    /// The next record that is complete.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Option<Record> {
        while let Some(entry) = self.journal.pop() {
            if let Some(record) = self.take(&entry) {
                return Some(record);
            }
        }
        None
    }

    fn take(&mut self, entry: &Entry) -> Option<Record> {
        match entry.kind {
            BEGIN => {
                let [moment, pid, start, end, ..] = entry.words;
                self.begun = Moment::from_u64(moment).map(|moment| Record {
                    moment,
                    pid: pid as u32,
                    range: (start, end),
                    stack: Vec::new(),
                    lines: Vec::new(),
                    left_out: 0,
                });
            }
            STACK => {
                let count = (entry.number as usize).min(WORDS);
                let begun = self.begun.as_mut()?;
                begun.stack.extend(entry.words.iter().take(count));
            }
            // Behind the end of the file there is nothing to build.
            LINE if entry.number < self.size => {
                let begun = self.begun.as_mut()?;
                begun.lines.push((entry.number, entry.words));
            }
            END => {
                let mut record = self.begun.take()?;
                let (start, end) = record.range;
                let outside = record.lines.iter();
                let outside = outside.filter(|(at, _)| !(start..end).contains(at)).count();
                record.left_out = entry.number.saturating_sub(outside as u64);
                return Some(record);
            }
            _ => {}
        }
        None
    }

    /// Whether the writers gave it up: what happened after the last record is not in it.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.journal.is_closed()
    }

    /// Whether another journal of the file goes on where this ends.
    #[must_use]
    pub fn is_superseded(&self) -> bool {
        self.journal.superseded.load(Ordering::Relaxed) != 0
    }

    /// Nobody reads it any more: whoever still runs need not write.
    pub fn close(&self) {
        self.journal.close();
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mapping: *const Journal = self.journal;
        // SAFETY: mapped by `open`, and `self` held the only reference.
        let _ = unsafe { munmap(mapping.cast_mut().cast(), size_of::<Journal>()) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(kind: u8, number: u64, words: [u64; WORDS]) -> Entry {
        Entry {
            kind,
            number,
            words,
        }
    }

    fn journal(directory: &Path) -> Reader {
        let path = directory.join("journal.1.2.3");
        std::fs::write(&path, [0; 10]).unwrap();
        assert!(Reader::open(&path).unwrap().is_none());
        std::fs::write(&path, vec![0; size_of::<Journal>()]).unwrap();
        let unready = Reader::open(&path).unwrap();
        assert!(unready.is_none());
        let mut bytes = vec![0; size_of::<Journal>()];
        bytes[..8].copy_from_slice(&MAGIC.to_le_bytes());
        bytes[8..16].copy_from_slice(&(size_of::<Journal>() as u64).to_le_bytes());
        bytes[32..40].copy_from_slice(&4096u64.to_le_bytes());
        std::fs::write(&path, bytes).unwrap();
        Reader::open(&path).unwrap().unwrap()
    }

    #[test]
    fn a_record_is_read_when_it_is_complete() {
        let directory = tempfile::tempdir().unwrap();
        let mut reader = journal(directory.path());
        assert_eq!(reader.size, 4096);
        let push = |kind, number, words| assert!(reader.journal.push(&entry(kind, number, words)));
        push(BEGIN, 0, [Moment::Msync as u64, 7, 64, 128, 0, 0, 0, 0]);
        push(STACK, 2, [11, 12, 13, 0, 0, 0, 0, 0]);
        push(LINE, 0, [1; WORDS]);
        push(LINE, 64, [2; WORDS]);
        // Behind the end.
        push(LINE, 4096, [3; WORDS]);
        assert_eq!(reader.next(), None);
        assert!(reader.journal.push(&entry(END, 5, [0; WORDS])));
        let record = reader.next().unwrap();
        assert_eq!((record.moment, record.pid), (Moment::Msync, 7));
        assert_eq!(record.range, (64, 128));
        assert_eq!(record.stack, [11, 12]);
        assert_eq!(record.lines, [(0, [1; WORDS]), (64, [2; WORDS])]);
        assert_eq!(record.left_out, 4);
    }

    #[test]
    fn what_has_no_beginning_is_no_record() {
        let directory = tempfile::tempdir().unwrap();
        let mut reader = journal(directory.path());
        let push = |kind, number, words| assert!(reader.journal.push(&entry(kind, number, words)));
        push(LINE, 0, [1; WORDS]);
        push(END, 1, [0; WORDS]);
        push(BEGIN, 0, [99, 7, 0, 0, 0, 0, 0, 0]);
        push(END, 1, [0; WORDS]);
        push(77, 1, [0; WORDS]);
        assert_eq!(reader.next(), None);
        assert!(!reader.is_closed());
        reader.close();
        assert!(reader.is_closed());
    }
}
