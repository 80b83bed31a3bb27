//! The tagged files that were mapped: by which descriptor the kernel can be asked about them, and
//! what was learnt of syncing them.
//!
//! A file has its place for the life of the process, so that a region's number of it stays right
//! whatever becomes of the mapping. Lookups take no lock.

use crate::descriptors;
use crate::real::sys;
use core::sync::atomic::{AtomicI32, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use daxshim_core::choice::Learner;

/// Places; files beyond them share the first.
const FILES: usize = 256;
/// Classes of range sizes: each is for sizes up to twice those of the one before.
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
    /// The descriptor that it was last mapped from, and one more; 0 if that is not good any more.
    descriptor: AtomicI32,
    /// Where it was last mapped in whole, or 0.
    whole: AtomicUsize,
    learners: [Learner; CLASSES],
}

static TABLE: [File; FILES] = [const {
    File {
        state: AtomicU8::new(FREE),
        device: AtomicU64::new(0),
        inode: AtomicU64::new(0),
        descriptor: AtomicI32::new(0),
        whole: AtomicUsize::new(0),
        learners: [const { Learner::new() }; CLASSES],
    }
}; FILES];

/// Which file.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Index(usize);

impl Index {
    /// The place that files without one share: known neither by descriptor nor by identity.
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

/// The place of a file that is mapped from `fd` now.
pub fn mapped(device: u64, inode: u64, fd: i32) -> Index {
    let Some(index) = search(device, inode, true) else {
        return Index::SHARED;
    };
    // Of higher numbers nobody notes when they are closed.
    if usize::try_from(fd).is_ok_and(|fd| fd < descriptors::LIMIT) {
        index.file().descriptor.store(fd + 1, Ordering::Release);
    }
    index
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
    fn is(&self, device: u64, inode: u64) -> bool {
        self.device.load(Ordering::Relaxed) == device && self.inode.load(Ordering::Relaxed) == inode
    }

    /// What was learnt of ranges of this length, bytes.
    pub fn learner(&self, length: usize) -> &Learner {
        let class = length
            .checked_ilog2()
            .unwrap_or(0)
            .saturating_sub(FIRST_CLASS) as usize
            / 2;
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

    /// The descriptor that it was mapped from, if that is still of this file: the program may have
    /// closed it, and another file may have its number now.
    pub fn descriptor(&'static self) -> Option<Descriptor> {
        let noted = self.descriptor.load(Ordering::Acquire);
        let fd = noted.checked_sub(1).filter(|fd| *fd >= 0)?;
        let version = descriptors::version(fd);
        if self.is_open_at(fd) {
            return Some(Descriptor {
                fd,
                version,
                file: self,
            });
        }
        self.forget_descriptor(fd);
        None
    }

    fn is_open_at(&self, fd: i32) -> bool {
        let mut stat = core::mem::MaybeUninit::<libc::stat>::uninit();
        // SAFETY: the kernel fills `stat` in whole, or fails.
        unsafe {
            sys!(SYS_fstat, fd, stat.as_mut_ptr()).is_ok() && {
                let stat = stat.assume_init();
                self.is(stat.st_dev, stat.st_ino)
            }
        }
    }

    fn forget_descriptor(&self, fd: i32) {
        let noted = fd.wrapping_add(1);
        let _ = self
            .descriptor
            .compare_exchange(noted, 0, Ordering::AcqRel, Ordering::Relaxed);
    }
}

/// A descriptor of the program's that was of the file a moment ago.
pub struct Descriptor {
    fd: i32,
    version: u8,
    file: &'static File,
}

impl Descriptor {
    /// The number.
    pub fn fd(&self) -> i32 {
        self.fd
    }

    /// Whether the number was neither closed nor handed out since. What a call did to it in between
    /// it did to the file; a close that goes past the hooks (an inline system call) would have to
    /// fall between two system calls of ours.
    pub fn was_open(&self) -> bool {
        let same = descriptors::version(self.fd) == self.version;
        if !same {
            self.forget();
        }
        same
    }

    /// It is of no use.
    pub fn forget(&self) {
        self.file.forget_descriptor(self.fd);
    }
}
