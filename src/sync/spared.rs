//! Lets long msyncs pass unmeasured: the next few of a length go where the last of that length went. The cheaper the
//! kernel has been, the more of them pass ([`Learner::passes`](daxshim_core::choice::Learner::passes)); the first that
//! takes longer than lines would ends it.
//!
//! One record for each of the [`Record`](daxshim_core::record::Record)'s places. Only the place's owner writes where its
//! next msyncs go, so the fields belong together.

use crate::ground::files;
use crate::mappings::{self, Flush};
use core::mem::offset_of;
use core::sync::atomic::{AtomicI32, AtomicU16, AtomicU64, AtomicUsize, Ordering};
use daxshim_core::record;
use daxshim_core::regions::Region;

/// See the module.
#[repr(C, align(64))]
pub struct Spared {
    /// So many msyncs of `length` bytes may go to the kernel at once, whatever they are of: that way is
    /// always right. [`quick`](super::quick) counts them down.
    to_kernel: AtomicU16,
    /// So many may go the range way, in the region that `[start, end)` was at `sequence`.
    by_range: AtomicU16,
    /// So many syncs of `descriptor`, whatever that is, may be made as they are.
    calls: AtomicU16,
    file: AtomicU16,
    descriptor: AtomicI32,
    length: AtomicUsize,
    sequence: AtomicUsize,
    start: AtomicUsize,
    end: AtomicUsize,
    origin: AtomicUsize,
    most: AtomicU64,
}

const _: () = assert!(size_of::<Spared>() == Spared::SIZE && files::FILES <= 1 << 16);

/// One for each place.
pub static SPARED: [Spared; record::PLACES] = [const {
    Spared {
        to_kernel: AtomicU16::new(0),
        by_range: AtomicU16::new(0),
        calls: AtomicU16::new(0),
        file: AtomicU16::new(0),
        descriptor: AtomicI32::new(0),
        length: AtomicUsize::new(0),
        sequence: AtomicUsize::new(0),
        start: AtomicUsize::new(0),
        end: AtomicUsize::new(0),
        origin: AtomicUsize::new(0),
        most: AtomicU64::new(0),
    }
}; record::PLACES];

/// Where the next msyncs of a length go.
#[derive(Clone, Copy)]
pub enum Next {
    /// To the way that each one's measurement chooses.
    Measured,
    /// So many to the kernel at once.
    ToKernel(u32),
    /// The range way.
    ByRange {
        /// So many.
        count: u32,
        /// What one of them may take, ticks: if it takes more, it is the last.
        most: u64,
        /// In this region.
        region: Region,
        /// The region as it was at this sequence number.
        sequence: usize,
        /// Of this file.
        file: files::Index,
    },
}

/// An msync that may go the range way.
pub struct ByRange {
    /// Of this file.
    pub file: files::Index,
    /// From here in it.
    pub offset: usize,
    /// What it may take, ticks: if it takes more, [`Spared::end`].
    pub most: u64,
}

fn short(count: u32) -> u16 {
    u16::try_from(count).unwrap_or(u16::MAX)
}

impl Spared {
    /// Bytes of one.
    pub const SIZE: usize = 64;
    /// Where assembly finds how many go to the kernel.
    pub const TO_KERNEL: usize = offset_of!(Spared, to_kernel);
    /// Where it finds the length.
    pub const LENGTH: usize = offset_of!(Spared, length);

    /// The record of a flush's place.
    pub fn of(flush: &Flush) -> Option<&'static Spared> {
        SPARED.get(flush.number())
    }

    /// The record of this thread's place, if that is where the thread begins to look for one.
    pub fn of_thread() -> Option<&'static Spared> {
        let first = mappings::thread() >> record::PLACE_SHIFT;
        SPARED.get(first % record::PLACES)
    }

    /// Says where the next msyncs of `length` bytes go; what was said of others holds no more.
    pub fn next(&self, length: usize, next: Next) {
        let (to_kernel, by_range) = match next {
            Next::Measured => (0, 0),
            Next::ToKernel(count) => (count, 0),
            Next::ByRange {
                count,
                most,
                region,
                sequence,
                file,
            } => {
                self.sequence.store(sequence, Ordering::Relaxed);
                self.start.store(region.start, Ordering::Relaxed);
                let end = region.end.min(region.data_end);
                self.end.store(end, Ordering::Relaxed);
                self.origin.store(region.origin, Ordering::Relaxed);
                self.file.store(file.number() as u16, Ordering::Relaxed);
                self.most.store(most, Ordering::Relaxed);
                (0, count)
            }
        };
        self.length.store(length, Ordering::Relaxed);
        self.to_kernel.store(short(to_kernel), Ordering::Relaxed);
        self.by_range.store(short(by_range), Ordering::Relaxed);
    }

    /// So many of this one msync to the kernel, also of a short one, of whose length others may be lines; as long as
    /// the record is what it was at `sequence`.
    pub fn to_kernel_at(&self, start: usize, length: usize, sequence: usize, count: u32) {
        self.next(length, Next::ToKernel(count));
        self.start.store(start, Ordering::Relaxed);
        self.sequence.store(sequence, Ordering::Relaxed);
    }

    /// Whether this msync may go to the kernel: one less will afterwards. By any thread, as for [`Spared::call`].
    pub fn kernel(&self, start: usize, length: usize) -> bool {
        let left = self.to_kernel.load(Ordering::Relaxed);
        let may = left != 0
            && self.start.load(Ordering::Relaxed) == start
            && self.length.load(Ordering::Relaxed) == length
            && self.sequence.load(Ordering::Relaxed) == mappings::RECORD.regions.sequence();
        if may {
            self.to_kernel.store(left - 1, Ordering::Relaxed);
        }
        may
    }

    /// Whether this msync may go the range way: one less will afterwards.
    pub fn range(&self, start: usize, end: usize) -> Option<ByRange> {
        let left = self.by_range.load(Ordering::Relaxed);
        if left == 0
            || end - start != self.length.load(Ordering::Relaxed)
            || self.sequence.load(Ordering::Relaxed) != mappings::RECORD.regions.sequence()
            || start < self.start.load(Ordering::Relaxed)
            || end > self.end.load(Ordering::Relaxed)
        {
            return None;
        }
        self.by_range.store(left - 1, Ordering::Relaxed);
        Some(ByRange {
            file: files::Index::of(usize::from(self.file.load(Ordering::Relaxed))),
            offset: start.wrapping_sub(self.origin.load(Ordering::Relaxed)),
            most: self.most.load(Ordering::Relaxed),
        })
    }

    /// No more msyncs may go the range way.
    pub fn end(&self) {
        self.by_range.store(0, Ordering::Relaxed);
    }

    /// The next `count` syncs of this descriptor may go to the kernel as they are.
    pub fn let_calls(&self, count: u32, descriptor: i32) {
        self.descriptor.store(descriptor, Ordering::Relaxed);
        self.calls.store(short(count), Ordering::Relaxed);
    }

    /// Whether this sync may: one less will afterwards. By any thread, as that way is always right.
    pub fn call(&self, descriptor: i32) -> bool {
        let left = self.calls.load(Ordering::Relaxed);
        let may = left != 0 && self.descriptor.load(Ordering::Relaxed) == descriptor;
        if may {
            self.calls.store(left - 1, Ordering::Relaxed);
        }
        may
    }
}
