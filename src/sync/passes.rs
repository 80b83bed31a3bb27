//! Long syncs that go where the last of their kind went, unmeasured: the cheaper the kernel has been, the
//! more of them ([`Learner::passes`](daxshim_core::choice::Learner::passes)), until one of them takes
//! longer than lines would.
//!
//! A place for each of the [`Record`](daxshim_core::record::Record)'s, and its owner's: so what is in it belongs
//! together.

use crate::ground::files;
use crate::mappings;
use core::sync::atomic::{AtomicI32, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use daxshim_core::record;
use daxshim_core::regions::Region;

/// See the module.
#[repr(align(64))]
pub struct Passes {
    /// msyncs of `length` bytes in the region that `[start, end)` was at `sequence`.
    ranges: AtomicU32,
    /// Syncs of `descriptor`, whatever that is: what is called is always right.
    calls: AtomicU32,
    descriptor: AtomicI32,
    file: AtomicU32,
    length: AtomicUsize,
    sequence: AtomicUsize,
    start: AtomicUsize,
    end: AtomicUsize,
    origin: AtomicUsize,
    most: AtomicU64,
}

/// See the module.
pub static PLACES: [Passes; record::PLACES] = [const {
    Passes {
        ranges: AtomicU32::new(0),
        calls: AtomicU32::new(0),
        descriptor: AtomicI32::new(0),
        file: AtomicU32::new(0),
        length: AtomicUsize::new(0),
        sequence: AtomicUsize::new(0),
        start: AtomicUsize::new(0),
        end: AtomicUsize::new(0),
        origin: AtomicUsize::new(0),
        most: AtomicU64::new(0),
    }
}; record::PLACES];

/// An msync that may go the range way.
pub struct Pass {
    /// Of this file.
    pub file: files::Index,
    /// From here in it.
    pub offset: usize,
    /// What it may take, ticks: if it takes more, [`Passes::end`].
    pub most: u64,
}

impl Passes {
    /// The next `passes` msyncs of `length` bytes in this region may go the range way.
    pub fn let_ranges(
        &self,
        (passes, most): (u32, u64),
        length: usize,
        (region, sequence): (Region, usize),
        file: files::Index,
    ) {
        self.length.store(length, Ordering::Relaxed);
        self.sequence.store(sequence, Ordering::Relaxed);
        self.start.store(region.start, Ordering::Relaxed);
        let end = region.end.min(region.data_end);
        self.end.store(end, Ordering::Relaxed);
        self.origin.store(region.origin, Ordering::Relaxed);
        self.file.store(file.number() as u32, Ordering::Relaxed);
        self.most.store(most, Ordering::Relaxed);
        self.ranges.store(passes, Ordering::Relaxed);
    }

    /// Whether this msync may: one less will afterwards.
    pub fn range(&self, start: usize, end: usize) -> Option<Pass> {
        let left = self.ranges.load(Ordering::Relaxed);
        if left == 0
            || end - start != self.length.load(Ordering::Relaxed)
            || self.sequence.load(Ordering::Relaxed) != mappings::RECORD.regions.sequence()
            || start < self.start.load(Ordering::Relaxed)
            || end > self.end.load(Ordering::Relaxed)
        {
            return None;
        }
        self.ranges.store(left - 1, Ordering::Relaxed);
        Some(Pass {
            file: files::Index::of(self.file.load(Ordering::Relaxed) as usize),
            offset: start.wrapping_sub(self.origin.load(Ordering::Relaxed)),
            most: self.most.load(Ordering::Relaxed),
        })
    }

    /// No more msyncs may.
    pub fn end(&self) {
        self.ranges.store(0, Ordering::Relaxed);
    }

    /// The next `passes` syncs of this descriptor may go to the kernel as they are.
    pub fn let_calls(&self, passes: u32, descriptor: i32) {
        self.descriptor.store(descriptor, Ordering::Relaxed);
        self.calls.store(passes, Ordering::Relaxed);
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

    /// That of this thread, if its place is where it begins to look for one.
    pub fn of_thread() -> Option<&'static Passes> {
        let first = mappings::thread() >> record::PLACE_SHIFT;
        PLACES.get(first % record::PLACES)
    }
}
