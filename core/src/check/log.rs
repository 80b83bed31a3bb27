//! The log: what was found in a process, each kind of it once, with a count.
//!
//! A file `check.PID.N` of the report directory, mapped shared as the report page is, and written
//! like it: relaxed atomics, no locks, from any thread and any signal handler. What finds no room is
//! counted.

use super::Code;
use super::lines::Dirty;
use crate::maps::Mapping;
use crate::report::{PATH_LEN, store_bytes};
use core::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};

/// `Log::magic`.
pub const MAGIC: u64 = u64::from_le_bytes(*b"DAXCHCK\x01");

/// Names of log files begin with this; PID and a number follow.
pub const FILE_PREFIX: &str = "check.";

/// Frames of a stack that are kept.
pub const FRAMES: usize = 32;
/// Findings that a log has room for.
pub const ENTRIES: usize = 512;
/// Modules that a log has room for.
pub const MODULES: usize = 128;
/// Files that a log has room for.
pub const FILES: usize = 255;

/// [`Log::blameless`]: places in libc where the kernel is called could not be turned.
pub const NOT_TURNED: u64 = 1;
/// [`Log::blameless`]: no stack can be taken.
pub const NO_STACK: u64 = 2;
/// [`Log::blameless`]: SIGSEGV could not be taken.
pub const NO_SIGNAL: u64 = 3;

/// How a process ended, as far as it said so itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Ending {
    /// It said nothing: killed, or at work still.
    Unsaid,
    /// By exit(3), _exit(2) or the end of main.
    Exit,
    /// Replaced by another program, execve(2).
    Exec,
}

impl Ending {
    /// That of a [`Log`]'s field.
    #[must_use]
    pub const fn from_u8(value: u8) -> Ending {
        match value {
            1 => Ending::Exit,
            2 => Ending::Exec,
            _ => Ending::Unsaid,
        }
    }
}

/// A call stack: return addresses, innermost first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stack {
    frames: [u64; FRAMES],
    len: usize,
}

impl Default for Stack {
    fn default() -> Self {
        Self::new()
    }
}

impl Stack {
    /// An empty one.
    #[must_use]
    pub const fn new() -> Stack {
        Stack {
            frames: [0; FRAMES],
            len: 0,
        }
    }

    /// Adds a caller; whether there was room.
    pub fn push(&mut self, address: u64) -> bool {
        match self.frames.get_mut(self.len) {
            Some(frame) => {
                *frame = address;
                self.len += 1;
                true
            }
            None => false,
        }
    }

    /// Its addresses.
    #[must_use]
    pub fn frames(&self) -> &[u64] {
        self.frames.get(..self.len).unwrap_or(&[])
    }

    /// A number that other stacks hardly have.
    #[must_use]
    pub fn key(&self) -> u64 {
        // FNV-1a's prime: each address moves all higher bits.
        self.frames().iter().fold(0, |key, frame| {
            (key ^ frame)
                .wrapping_mul(0x0000_0100_0000_01b3)
                .rotate_left(23)
        })
    }
}

/// What was found, this time.
#[derive(Clone, Copy, Debug)]
pub struct Finding<'a> {
    /// Its code.
    pub code: Code,
    /// What the code does not say: an operation, a reason; else 0.
    pub detail: u8,
    /// `st_dev` of the file; 0 where it is not known.
    pub device: u64,
    /// `st_ino` of the file; 0 where it is not known.
    pub inode: u64,
    /// Path of the file; empty where it is not known.
    pub path: &'a [u8],
    /// Address of the mapping; 0 where none is concerned.
    pub address: u64,
    /// The part of the file that is concerned, bytes from the beginning.
    pub range: (u64, u64),
    /// Bytes that the call asked for.
    pub asked: u64,
    /// What of it differs.
    pub dirty: Dirty,
}

/// A kind of finding.
#[repr(C)]
pub struct Entry {
    /// 0 free, 1 being filled in, 2 valid.
    pub state: AtomicU8,
    /// [`Code`].
    pub code: AtomicU8,
    /// See [`Finding::detail`].
    pub detail: AtomicU8,
    /// Addresses in `stack`.
    pub stack_len: AtomicU8,
    /// Bytes of `path`.
    pub path_len: AtomicU8,
    padding: [u8; 3],
    key: AtomicU64,
    /// See [`Finding::device`].
    pub device: AtomicU64,
    /// See [`Finding::inode`].
    pub inode: AtomicU64,
    /// How often found.
    pub count: AtomicU64,
    /// When found last: CLOCK_MONOTONIC, ns, which all processes share.
    pub time: AtomicU64,
    /// Address of the mapping, the first time.
    pub address: AtomicU64,
    /// The lowest offset.
    pub start: AtomicU64,
    /// Behind the highest offset.
    pub end: AtomicU64,
    /// Bytes asked for, altogether.
    pub asked: AtomicU64,
    /// Dirty lines, altogether.
    pub lines: AtomicU64,
    /// Return addresses, innermost first.
    pub stack: [AtomicU64; FRAMES],
    /// Path of the file.
    pub path: [AtomicU8; PATH_LEN],
}

/// A file that is mapped into the process, for its code.
#[repr(C)]
pub struct Module {
    /// First address; 0 where the place is free.
    pub start: AtomicU64,
    /// First address behind it.
    pub end: AtomicU64,
    /// Offset in the file, bytes.
    pub offset: AtomicU64,
    /// Bytes of `path`.
    pub path_len: AtomicU64,
    /// Path of the file.
    pub path: [AtomicU8; PATH_LEN],
}

/// A file that the process mapped and whose shadow it used.
#[repr(C)]
pub struct FileUse {
    /// `st_dev`; written last.
    pub device: AtomicU64,
    /// `st_ino`; 0 where the place is free.
    pub inode: AtomicU64,
    /// Inverted: zeros are an empty range.
    start: AtomicU64,
    end: AtomicU64,
}

/// See the module.
#[repr(C)]
pub struct Log {
    /// [`MAGIC`].
    pub magic: AtomicU64,
    /// `size_of::<Log>()`.
    pub length: AtomicU64,
    /// Process ID.
    pub pid: AtomicU32,
    /// [`Ending`].
    pub ending: AtomicU8,
    padding: [u8; 3],
    /// When it began, as [`Entry::time`].
    pub began: AtomicU64,
    /// When it said how it ends, as [`Entry::time`].
    pub ended: AtomicU64,
    /// Findings that found no room.
    pub left_out: AtomicU64,
    /// Findings whose stack was not taken, to save time: they count with the last of their kind.
    pub unsampled: AtomicU64,
    /// Files that have no shadow: no memory, or too many.
    pub unshadowed: AtomicU64,
    /// Times that what is mapped could not be looked at, wholly or in part.
    pub unlooked: AtomicU64,
    /// Answers at which large ranges were not compared, to save time.
    pub uncompared: AtomicU64,
    /// 1 from when nothing could be looked at any more.
    pub sealed: AtomicU64,
    /// Forked children that have no log.
    pub unwatched: AtomicU64,
    /// Why nobody is blamed, although that was asked: [`NOT_TURNED`] and the like; 0 where somebody is.
    pub blameless: AtomicU64,
    /// 1 where no stack can be taken.
    pub stackless: AtomicU64,
    /// Files mapped.
    pub files: [FileUse; FILES],
    /// Code.
    pub modules: [Module; MODULES],
    /// What was found.
    pub entries: [Entry; ENTRIES],
}

impl Log {
    /// Counts a finding of now, as [`Entry::time`]. Without a stack, it counts with the last finding of its
    /// code and file, if there is one.
    pub fn note(&self, finding: &Finding, stack: Option<&Stack>, now: u64) {
        let entry = match stack {
            Some(stack) => self.entry(finding, stack),
            None => {
                self.unsampled.fetch_add(1, Ordering::Relaxed);
                self.latest(finding)
                    .or_else(|| self.entry(finding, &Stack::new()))
            }
        };
        let Some(entry) = entry else {
            self.left_out.fetch_add(1, Ordering::Relaxed);
            return;
        };
        let (start, end) = finding.range;
        entry.count.fetch_add(1, Ordering::Relaxed);
        entry.time.fetch_max(now, Ordering::Relaxed);
        entry.start.fetch_min(start, Ordering::Relaxed);
        entry.end.fetch_max(end, Ordering::Relaxed);
        entry.asked.fetch_add(finding.asked, Ordering::Relaxed);
        entry
            .lines
            .fetch_add(finding.dirty.lines, Ordering::Relaxed);
    }

    fn latest(&self, finding: &Finding) -> Option<&Entry> {
        self.entries
            .iter()
            .take_while(|entry| entry.state.load(Ordering::Acquire) != 0)
            .filter(|entry| entry.is_of(finding))
            .max_by_key(|entry| entry.time.load(Ordering::Relaxed))
    }

    fn entry(&self, finding: &Finding, stack: &Stack) -> Option<&Entry> {
        let key = stack.key() ^ u64::from(finding.detail);
        self.entries
            .iter()
            .find(|entry| entry.claim(finding, stack, key))
    }

    /// Whether the code at an address is known.
    #[must_use]
    pub fn knows(&self, address: u64) -> bool {
        self.modules.iter().any(|module| module.contains(address))
    }

    /// Adds a mapping of code, unless it is there.
    pub fn add_module(&self, mapping: &Mapping<'_>) {
        if !mapping.is_executable() || mapping.path.is_empty() {
            return;
        }
        let (first, behind) = (mapping.start as u64, mapping.end as u64);
        for module in &self.modules {
            let claimed =
                module
                    .start
                    .compare_exchange(0, first, Ordering::Relaxed, Ordering::Relaxed);
            match claimed {
                Ok(_) => {
                    module.offset.store(mapping.offset, Ordering::Relaxed);
                    store_bytes(&module.path, mapping.path);
                    let len = mapping.path.len().min(PATH_LEN) as u64;
                    module.path_len.store(len, Ordering::Relaxed);
                    module.end.store(behind, Ordering::Release);
                    return;
                }
                Err(start) if start == first => return,
                Err(_) => {}
            }
        }
    }

    /// The process uses a file.
    pub fn add_file(&self, device: u64, inode: u64) {
        self.file(device, inode);
    }

    /// The process can store to `start..end` of a file from now on. Who unmapped that before was not the
    /// last to have it: its note is taken back. Where that leaves two parts of the note, the shorter
    /// one goes too, as a note has one range.
    pub fn holds(&self, device: u64, inode: u64, (start, end): (u64, u64)) {
        if let Some(file) = self.file(device, inode) {
            file.hold(start, end);
        }
        let used = |entry: &&Entry| entry.state.load(Ordering::Acquire) != 0;
        for entry in self.entries.iter().take_while(used) {
            if entry.is_unmapping(device, inode) {
                entry.take_back(start, end);
            }
        }
    }

    fn file(&self, device: u64, inode: u64) -> Option<&FileUse> {
        for file in &self.files {
            let claimed =
                file.inode
                    .compare_exchange(0, inode, Ordering::Relaxed, Ordering::Relaxed);
            match claimed {
                Ok(_) => {
                    file.device.store(device, Ordering::Release);
                    return Some(file);
                }
                Err(known) if known == inode && file.device.load(Ordering::Acquire) == device => {
                    return Some(file);
                }
                Err(_) => {}
            }
        }
        None
    }
}

impl FileUse {
    fn hold(&self, start: u64, end: u64) {
        self.start.fetch_max(!start, Ordering::Relaxed);
        self.end.fetch_max(end, Ordering::Relaxed);
    }

    /// From the lowest offset that it could ever store to by a mapping to behind the highest.
    #[must_use]
    pub fn held(&self) -> (u64, u64) {
        let start = !self.start.load(Ordering::Relaxed);
        (start, self.end.load(Ordering::Relaxed))
    }
}

impl Module {
    fn contains(&self, address: u64) -> bool {
        // The end is written last.
        let end = self.end.load(Ordering::Acquire);
        address < end && self.start.load(Ordering::Relaxed) <= address
    }
}

impl Entry {
    fn is_of(&self, finding: &Finding) -> bool {
        self.state.load(Ordering::Acquire) == 2
            && self.code.load(Ordering::Relaxed) == finding.code as u8
            && self.detail.load(Ordering::Relaxed) == finding.detail
            && self.device.load(Ordering::Relaxed) == finding.device
            && self.inode.load(Ordering::Relaxed) == finding.inode
    }

    fn is_unmapping(&self, device: u64, inode: u64) -> bool {
        let code = self.code.load(Ordering::Relaxed);
        (code == Code::Unmapped as u8 || code == Code::MappedOver as u8)
            && self.state.load(Ordering::Acquire) == 2
            && self.device.load(Ordering::Relaxed) == device
            && self.inode.load(Ordering::Relaxed) == inode
    }

    /// Its range loses `start..end`. The next finding may widen it again.
    fn take_back(&self, start: u64, end: u64) {
        let from = self.start.load(Ordering::Relaxed);
        let to = self.end.load(Ordering::Relaxed);
        if end <= from || to <= start {
            return;
        }
        let (below, above) = (start.saturating_sub(from), to.saturating_sub(end));
        if below == 0 && above == 0 {
            self.start.store(u64::MAX, Ordering::Relaxed);
            self.end.store(0, Ordering::Relaxed);
        } else if below >= above {
            self.end.store(start, Ordering::Relaxed);
        } else {
            self.start.store(end, Ordering::Relaxed);
        }
    }

    /// Whether this is the entry of the finding, or was free and now is. Two threads that find the
    /// same thing for the first time at once may each get one: the reader adds them up.
    fn claim(&self, finding: &Finding, stack: &Stack, key: u64) -> bool {
        match self
            .state
            .compare_exchange(0, 1, Ordering::Acquire, Ordering::Acquire)
        {
            Ok(_) => {
                self.fill_in(finding, stack, key);
                self.state.store(2, Ordering::Release);
                true
            }
            Err(2) => self.key.load(Ordering::Relaxed) == key && self.is_of(finding),
            Err(_) => false,
        }
    }

    fn fill_in(&self, finding: &Finding, stack: &Stack, key: u64) {
        self.code.store(finding.code as u8, Ordering::Relaxed);
        self.detail.store(finding.detail, Ordering::Relaxed);
        self.device.store(finding.device, Ordering::Relaxed);
        self.inode.store(finding.inode, Ordering::Relaxed);
        self.address.store(finding.address, Ordering::Relaxed);
        self.key.store(key, Ordering::Relaxed);
        self.start.store(u64::MAX, Ordering::Relaxed);
        for (cell, frame) in self.stack.iter().zip(stack.frames()) {
            cell.store(*frame, Ordering::Relaxed);
        }
        self.stack_len
            .store(stack.frames().len() as u8, Ordering::Relaxed);
        store_bytes(&self.path, finding.path);
        self.path_len
            .store(finding.path.len().min(PATH_LEN) as u8, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
