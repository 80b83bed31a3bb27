//! The tagged files that were mapped, and what was learnt of syncing them.
//!
//! A file has its place for the life of the process, so that a region's number of it stays right
//! whatever becomes of the mapping. Lookups take no lock.

use core::sync::atomic::{AtomicI32, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use daxshim_core::choice::Learner;
use daxshim_core::tag;

/// Places; files beyond them share the first.
pub const FILES: usize = 256;
/// Classes of range sizes, one for each power of two; the last is for all above it, too.
const CLASSES: usize = 20;
/// The smallest size of the first class, as a power of two.
const FIRST_CLASS: u32 = 15;

const FREE: u8 = 0;
const CLAIMED: u8 = 1;
const TAKEN: u8 = 2;

/// A file.
pub struct File {
    state: AtomicU8,
    /// `st_dev`, `st_ino`.
    device: AtomicU64,
    inode: AtomicU64,
    /// Where it was last mapped in whole, or 0.
    whole: AtomicUsize,
    /// FS_IOC_GETVERSION of the inode that was last mapped, with [`GENERATION`]; 0: it has none.
    generation: AtomicU64,
    /// The descriptor that it was last mapped from; 0 at first, as a table of zeros takes no room in
    /// the library.
    descriptor: AtomicI32,
    /// When all that lets a mapping be flushed was last looked at and found, ticks; 0: never. The file's size then,
    /// bytes.
    found: AtomicU64,
    size: AtomicU64,
    learners: [Learner; CLASSES],
}

/// Says that there is a generation.
const GENERATION: u64 = 1 << 32;

static TABLE: [File; FILES] = [const {
    File {
        state: AtomicU8::new(FREE),
        device: AtomicU64::new(0),
        inode: AtomicU64::new(0),
        whole: AtomicUsize::new(0),
        generation: AtomicU64::new(0),
        descriptor: AtomicI32::new(0),
        found: AtomicU64::new(0),
        size: AtomicU64::new(0),
        learners: [const { Learner::new() }; CLASSES],
    }
}; FILES];

/// Which file.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Index(usize);

impl Index {
    /// The place that files without one share: not known by identity.
    pub const SHARED: Index = Index(0);

    /// As an attribute of a region has it.
    pub fn of(number: usize) -> Index {
        Index(number % FILES)
    }

    /// As an attribute of a region keeps it.
    pub fn number(self) -> usize {
        self.0
    }

    /// The file.
    pub fn file(self) -> &'static File {
        let [shared, ..] = &TABLE;
        TABLE.get(self.0).unwrap_or(shared)
    }
}

/// The place of a file, if it was ever mapped.
pub fn find(device: u64, inode: u64) -> Option<Index> {
    search(device, inode, false)
}

/// The place of a file that is mapped now.
pub fn mapped(device: u64, inode: u64) -> Index {
    search(device, inode, true).unwrap_or(Index::SHARED)
}

fn search(device: u64, inode: u64, make: bool) -> Option<Index> {
    let first = (inode ^ inode >> 10 ^ device) as usize;
    for i in 0..FILES {
        let index = Index::of(first.wrapping_add(i));
        if index == Index::SHARED {
            continue;
        }
        let file = index.file();
        let mut state = file.state.load(Ordering::Acquire);
        if state == FREE {
            if !make {
                return None;
            }
            let claim =
                file.state
                    .compare_exchange(FREE, CLAIMED, Ordering::Acquire, Ordering::Acquire);
            match claim {
                Ok(_) => {
                    file.device.store(device, Ordering::Relaxed);
                    file.inode.store(inode, Ordering::Relaxed);
                    file.state.store(TAKEN, Ordering::Release);
                    return Some(index);
                }
                Err(now) => state = now,
            }
        }
        // One that is being claimed this moment may be the same file: then it has two places, and
        // each is right.
        if state == TAKEN && file.is(device, inode) {
            return Some(index);
        }
    }
    None
}

impl File {
    /// Whether it is this one.
    pub fn is(&self, device: u64, inode: u64) -> bool {
        self.device.load(Ordering::Relaxed) == device && self.inode.load(Ordering::Relaxed) == inode
    }

    /// What was learnt of ranges of this length, bytes.
    pub fn learner(&self, length: usize) -> &Learner {
        let class = length
            .checked_ilog2()
            .unwrap_or(0)
            .saturating_sub(FIRST_CLASS) as usize;
        let [first, ..] = &self.learners;
        self.learners.get(class.min(CLASSES - 1)).unwrap_or(first)
    }

    /// Where it was last mapped in whole.
    pub fn whole(&self) -> Option<usize> {
        match self.whole.load(Ordering::Relaxed) {
            0 => None,
            start => Some(start),
        }
    }

    /// It was mapped in whole at `start`.
    pub fn set_whole(&self, start: usize) {
        self.whole.store(start, Ordering::Relaxed);
    }

    /// Its generation. It holds as long as a mapping keeps the inode.
    pub fn generation(&self) -> Option<u32> {
        let generation = self.generation.load(Ordering::Relaxed);
        (generation & GENERATION != 0).then_some(generation as u32)
    }

    /// It was mapped when its generation was this.
    pub fn set_generation(&self, generation: Option<u32>) {
        let generation = generation.map_or(0, |number| GENERATION | u64::from(number));
        self.generation.store(generation, Ordering::Relaxed);
    }

    /// Its tag, its extents and MAP_SYNC were looked at, ending now, and found in order.
    pub fn set_found(&self, size: u64, now: u64) {
        self.found.store(0, Ordering::Relaxed);
        self.size.store(size, Ordering::Relaxed);
        self.found.store(now, Ordering::Release);
    }

    /// They must be looked at again.
    pub fn forget_found(&self) {
        self.found.store(0, Ordering::Relaxed);
    }

    /// Its size and generation, if they were found so short a time ago that nobody has taken the tag off since:
    /// [`tag::HOLDS`].
    pub fn found(&self, now: u64) -> Option<(u64, u32)> {
        let found = self.found.load(Ordering::Acquire);
        let is_recent = found != 0 && now.wrapping_sub(found) <= tag::HOLDS;
        let size = self.size.load(Ordering::Relaxed);
        self.generation()
            .filter(|_| is_recent)
            .map(|generation| (size, generation))
    }

    /// `st_dev` and `st_ino`.
    pub fn identity(&self) -> (u64, u64) {
        (
            self.device.load(Ordering::Relaxed),
            self.inode.load(Ordering::Relaxed),
        )
    }

    /// The descriptor that its last sync mapping was made from; whose it is now, must be asked.
    pub fn descriptor(&self) -> i32 {
        self.descriptor.load(Ordering::Relaxed)
    }

    /// A sync mapping was made from this descriptor.
    pub fn set_descriptor(&self, fd: i32) {
        self.descriptor.store(fd, Ordering::Relaxed);
    }
}
