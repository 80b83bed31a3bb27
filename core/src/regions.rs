//! The interval map of mappings: which addresses belong to tagged files.
//!
//! One writer at a time (the caller's lock), any number of readers that never wait: a sequence
//! number tells a reader that a writer is at work, and after a few tries it gets [`Busy`] and
//! takes the kernel's way, which is always right. A writer may take its time: [`Regions::write`] lasts
//! as long as what it returns. Whoever can't be a writer calls [`Regions::miss`]: then every reader is
//! told [`Busy`], until the next writer has forgotten everything.
//!
//! Longer than other files, as looking up, adding and taking out rest on one layout.
//!
//! A sorted directory of leaves of up to [`LEAF`] entries: a change moves at most one leaf and the
//! directory.
//!
//! A lookup is five steps of a tree whose nodes have 8 or 16 children, three in the directory and two
//! in the leaf. In a node it *counts* the numbers that are not above the address ([`Keys`]) instead of
//! searching for the last: a binary search of 10,000 mappings has 14 branches that nobody can predict,
//! and each of its loads waits for the one before it. Start addresses are apart from the rest of the
//! entries, so that 8 of them are one cache line.
//!
//! All memory is inside the struct, so a zeroed `static` is an empty map; pages of it that were
//! never used cost nothing.

use crate::atomics::{
    AtomicU16, AtomicUsize, Ordering, array, const_unless_model, fence, spin_loop,
};

/// Numbers in a cache line; a model has few.
const LINE: usize = if cfg!(feature = "model") { 2 } else { 8 };
/// Entries of a leaf.
const LEAF: usize = LINE * LINE;
/// Nodes of the directory.
const NODES: usize = if cfg!(feature = "model") { 1 } else { 16 };
/// Leaves: room for 65,536 entries and more than 32,768 in the worst order of insertion by mmap,
/// vm.max_map_count being 65,530 by default.
const LEAVES: usize = NODES * LEAF;
/// How often a reader tries before it gives up.
const TRIES: usize = if cfg!(feature = "model") { 2 } else { 8 };

/// A mapping, or what is left of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    /// First address.
    pub start: usize,
    /// First address behind it.
    pub end: usize,
    /// First address of this mapping behind the page that holds the end of the file; may lie
    /// before, in, or behind the region. Beyond it any access is SIGBUS.
    pub data_end: usize,
    /// What the owner of the map wants to know of it.
    pub attributes: usize,
    /// Where the first byte of the file would be, were it mapped in whole; modulo 2^64.
    pub origin: usize,
}

impl Region {
    /// The part inside `[start, end)`.
    fn clip(self, start: usize, end: usize) -> Region {
        Region {
            start: self.start.max(start),
            end: self.end.min(end),
            ..self
        }
    }
}

/// A writer was at work all the time, or what is recorded can't be relied on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Busy;

/// No room: the region is not recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// How many of these are at most `number`.
#[inline(always)]
fn count<'a>(keys: impl IntoIterator<Item = &'a AtomicUsize>, number: usize) -> usize {
    // Of what is not there, 0, none is.
    let least = (!number).max(1);
    let mut n = 0usize;
    for key in keys {
        // A subtraction with borrow each. As a sum of comparisons LLVM gathers them in vectors, which
        // takes twice as long.
        let (_, is_above) = key.load(Ordering::Relaxed).overflowing_sub(least);
        n = n.wrapping_add(1).wrapping_sub(usize::from(is_above));
    }
    n
}

/// Up to [`LEAF`] ascending numbers, of which none is `usize::MAX`, in cache lines. Each is kept as its
/// complement: so zeroed memory has none, and what is not there counts as above them all.
#[repr(C, align(64))]
struct Keys([[AtomicUsize; LINE]; LINE]);

impl Keys {
    const_unless_model! {
        fn new() -> Keys {
            Keys(array!(array!(AtomicUsize::new(0))))
        }
    }

    fn head(&self) -> &AtomicUsize {
        let [[head, ..], ..] = &self.0;
        head
    }

    /// How many are at most `number`.
    #[inline(always)]
    fn rank(&self, number: usize) -> usize {
        let [first, [second, ..], ..] = &self.0;
        // As in nearly all programs: all are in the first line.
        if second.load(Ordering::Relaxed) == 0 {
            return count(first, number);
        }
        let lines = count(self.0.iter().map(|[head, ..]| head), number);
        let Some(before) = lines.checked_sub(1) else {
            return 0;
        };
        let last = self.0.get(before).map_or(0, |line| count(line, number));
        before * LINE + last
    }

    fn len(&self) -> usize {
        self.rank(usize::MAX)
    }

    fn key(&self, i: usize) -> Option<&AtomicUsize> {
        self.0.as_flattened().get(i)
    }

    fn get(&self, i: usize) -> Option<usize> {
        let key = self.key(i)?.load(Ordering::Relaxed);
        (key != 0).then_some(!key)
    }

    fn put(&self, i: usize, number: usize) {
        if let Some(key) = self.key(i) {
            key.store(!number, Ordering::Relaxed);
        }
    }

    fn clear(&self, i: usize) {
        if let Some(key) = self.key(i) {
            key.store(0, Ordering::Relaxed);
        }
    }
}

/// An entry but for its start.
#[repr(C, align(32))]
struct Cell([AtomicUsize; 4]);

impl Cell {
    const_unless_model! {
        fn new() -> Cell {
            Cell(array!(AtomicUsize::new(0)))
        }
    }
}

/// Entries in ascending order.
#[repr(C)]
struct Leaf {
    starts: Keys,
    cells: [Cell; LEAF],
}

impl Leaf {
    const_unless_model! {
        fn new() -> Leaf {
            Leaf {
                starts: Keys::new(),
                cells: array!(Cell::new()),
            }
        }
    }

    fn end(&self, i: usize) -> usize {
        self.cells
            .get(i)
            .map_or(0, |Cell([end, ..])| end.load(Ordering::Relaxed))
    }

    #[inline(always)]
    fn get(&self, i: usize) -> Option<Region> {
        let start = self.starts.get(i)?;
        let Cell([end, data_end, attributes, origin]) = self.cells.get(i)?;
        Some(Region {
            start,
            end: end.load(Ordering::Relaxed),
            data_end: data_end.load(Ordering::Relaxed),
            attributes: attributes.load(Ordering::Relaxed),
            origin: origin.load(Ordering::Relaxed),
        })
    }

    fn put(&self, i: usize, region: Region) {
        if let Some(Cell([end, data_end, attributes, origin])) = self.cells.get(i) {
            self.starts.put(i, region.start);
            end.store(region.end, Ordering::Relaxed);
            data_end.store(region.data_end, Ordering::Relaxed);
            attributes.store(region.attributes, Ordering::Relaxed);
            origin.store(region.origin, Ordering::Relaxed);
        }
    }

    fn truncate(&self, len: usize) {
        for i in len..LEAF {
            self.starts.clear(i);
        }
    }
}

/// Of the sequence number: a writer is at work.
const WRITING: usize = 1;
/// Of the sequence number: what happened could not be recorded.
const MISSED: usize = 2;
/// What each change adds to the sequence number.
const STEP: usize = 4;
/// Of the number of leaves: more is mapped than is recorded.
const LOST: usize = 1 << 32;

/// The map.
#[repr(C)]
pub struct Regions {
    /// [`WRITING`], [`MISSED`], and a number that moves on with each change.
    sequence: AtomicUsize,
    /// Leaves in use when no writer was at work last: while one moves things about, the map is no less
    /// empty than it was. With [`LOST`] it is never empty again.
    occupied: AtomicUsize,
    /// Leaves in use, and [`LOST`].
    len: AtomicUsize,
    /// First address of each leaf in use, ascending.
    first: [Keys; NODES],
    /// The leaf at each place of the directory; behind `len`, the free ones. Kept as an offset
    /// from the place (modulo LEAVES), so that zeroed memory lists every leaf as free.
    order: [AtomicU16; LEAVES],
    leaves: [Leaf; LEAVES],
}

impl Default for Regions {
    fn default() -> Self {
        Self::new()
    }
}

impl Regions {
    const_unless_model! {
        /// An empty map.
        #[must_use]
        pub fn new() -> Regions {
            Regions {
                sequence: AtomicUsize::new(0),
                occupied: AtomicUsize::new(0),
                len: AtomicUsize::new(0),
                first: array!(Keys::new()),
                order: array!(AtomicU16::new(0)),
                leaves: array!(Leaf::new()),
            }
        }
    }

    /// Whether nothing is recorded, nor was lost. One load. What a writer is about to add does not count yet: nobody
    /// else knows of it.
    #[must_use]
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.occupied.load(Ordering::Acquire) == 0
    }

    /// Where the sequence number, and the number that is 0 where nothing is recorded, are in the struct:
    /// for whoever must ask in a few instructions whether what it learnt still holds.
    pub const SEQUENCE: usize = core::mem::offset_of!(Regions, sequence);
    /// See [`Regions::SEQUENCE`].
    pub const LEN: usize = core::mem::offset_of!(Regions, occupied);

    /// The region that holds `address`, or else the next one above it.
    ///
    /// # Errors
    /// See [`find`](Regions::find).
    #[inline]
    pub fn at_or_after(&self, address: usize) -> Result<Option<Region>, Busy> {
        self.find(address).map(|(found, _)| found)
    }

    /// As [`at_or_after`](Regions::at_or_after), as far as anything is known: also where something was
    /// missed, or while a writer is at work, of whom it may be one half.
    #[must_use]
    pub fn recall(&self, address: usize) -> Option<Region> {
        match self.find(address) {
            Ok((found, _)) => found,
            Err(Busy) => self.search(address),
        }
    }

    /// The sequence number: what was found at it still holds while it is the same.
    #[must_use]
    #[inline]
    pub fn sequence(&self) -> usize {
        self.sequence.load(Ordering::Relaxed)
    }

    /// As [`at_or_after`](Regions::at_or_after), with the sequence number at which it holds.
    ///
    /// # Errors
    /// [`Busy`]: a writer was at work at each try, or something was missed.
    #[inline]
    pub fn find(&self, address: usize) -> Result<(Option<Region>, usize), Busy> {
        for _ in 0..TRIES {
            let before = self.sequence.load(Ordering::Acquire);
            if before & MISSED != 0 {
                break;
            }
            let found = self.search(address);
            fence(Ordering::Acquire);
            if before & WRITING == 0 && self.sequence.load(Ordering::Relaxed) == before {
                return Ok((found, before));
            }
            spin_loop();
        }
        Err(Busy)
    }

    /// Begins to write. The caller holds its lock, and only one writer is at work at a time. If something
    /// was missed, or the last writer is gone in the middle (with a thread that a fork left behind), it
    /// begins by forgetting everything.
    pub fn write(&self) -> Writing<'_> {
        let before = self.sequence.fetch_or(WRITING, Ordering::Relaxed);
        fence(Ordering::Release);
        let writing = Writing(self);
        if before & (WRITING | MISSED) != 0 {
            self.clear();
            self.sequence.fetch_and(!MISSED, Ordering::Relaxed);
        }
        writing
    }

    /// Something happens to mappings that can't be recorded: from now on every reader is told [`Busy`],
    /// until the next writer.
    pub fn miss(&self) {
        self.sequence.fetch_or(MISSED, Ordering::SeqCst);
        self.occupied.fetch_or(LOST, Ordering::SeqCst);
    }

    /// In a change: something is mapped that is not recorded, or not any more.
    fn lose(&self) {
        let len = self.len.load(Ordering::Relaxed);
        self.len.store(len | LOST, Ordering::Relaxed);
    }

    /// Whether all that is mapped is recorded.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.occupied.load(Ordering::Acquire) & LOST == 0
    }

    /// Whether something was missed, and nobody has written since.
    #[must_use]
    pub fn is_missed(&self) -> bool {
        self.sequence() & MISSED != 0
    }

    /// Whether a writer is at work, or was when it was cut short, or something was missed.
    #[must_use]
    pub fn is_unsettled(&self) -> bool {
        self.sequence() & (WRITING | MISSED) != 0
    }

    /// Whether it has been so since the sequence number was this.
    #[must_use]
    pub fn is_unsettled_at(&self, sequence: usize) -> bool {
        self.is_unsettled() && self.sequence() == sequence
    }

    /// Forgets everything, in whatever state it is.
    fn clear(&self) {
        self.len.store(LOST, Ordering::Relaxed);
        for order in &self.order {
            // Pages that were never used stay so.
            if order.load(Ordering::Relaxed) != 0 {
                order.store(0, Ordering::Relaxed);
            }
        }
        let starts = self.leaves.iter().map(|leaf| &leaf.starts);
        for Keys(lines) in self.first.iter().chain(starts) {
            for key in lines.as_flattened() {
                if key.load(Ordering::Relaxed) != 0 {
                    key.store(0, Ordering::Relaxed);
                }
            }
        }
    }

    fn len(&self) -> usize {
        self.len_and_lost().0
    }

    /// Leaves in use; [`LOST`] or 0.
    fn len_and_lost(&self) -> (usize, usize) {
        let len = self.len.load(Ordering::Relaxed);
        ((len & !LOST).min(LEAVES), len & LOST)
    }

    /// The node of the directory that has a place, and where in it.
    fn node(&self, place: usize) -> Option<(&Keys, usize)> {
        Some((self.first.get(place / LEAF)?, place % LEAF))
    }

    fn set_first(&self, place: usize, start: usize) {
        if let Some((keys, i)) = self.node(place) {
            keys.put(i, start);
        }
    }

    fn leaf_number(&self, place: usize) -> usize {
        self.order.get(place).map_or(0, |order| {
            (place + usize::from(order.load(Ordering::Relaxed))) % LEAVES
        })
    }

    fn set_leaf_number(&self, place: usize, number: usize) {
        if let Some(order) = self.order.get(place) {
            let offset = (number + LEAVES - place) % LEAVES;
            order.store(offset as u16, Ordering::Relaxed);
        }
    }

    fn leaf(&self, place: usize) -> Option<&Leaf> {
        (place < self.len())
            .then(|| self.leaves.get(self.leaf_number(place)))
            .flatten()
    }

    /// The place of the leaf where `address` belongs.
    #[inline(always)]
    fn place(&self, address: usize) -> usize {
        // As in nearly all programs.
        if self.len() <= 1 {
            return 0;
        }
        let used = self.first.iter().take(self.len().div_ceil(LEAF));
        let node = count(used.map(Keys::head), address).saturating_sub(1);
        let rank = self.first.get(node).map_or(0, |keys| keys.rank(address));
        (node * LEAF + rank).saturating_sub(1)
    }

    #[inline(always)]
    fn search(&self, address: usize) -> Option<Region> {
        let place = self.place(address);
        let leaf = self.leaf(place)?;
        let rank = leaf.starts.rank(address);
        let (leaf, i) = match rank.checked_sub(1) {
            Some(i) if leaf.end(i) > address => (leaf, i),
            _ if leaf.starts.get(rank).is_some() => (leaf, rank),
            _ => (self.leaf(place + 1)?, 0),
        };
        leaf.get(i)
    }

    fn replace_each(
        &self,
        start: usize,
        end: usize,
        change: &dyn Fn(Region) -> Option<Region>,
    ) -> Result<(), Full> {
        let mut from = start;
        let mut outcome = Ok(());
        while from < end {
            let Some(region) = self.search(from).filter(|region| region.start < end) else {
                break;
            };
            from = region.end;
            if start <= region.start && region.end <= end {
                // All of it: nothing has to be split, or put in order.
                match change(region) {
                    Some(changed) => self.update(changed),
                    None => self.remove(region.start),
                }
                continue;
            }
            self.remove(region.start);
            outcome = outcome.and(self.add_part(region.clip(0, start)));
            if let Some(changed) = change(region.clip(start, end)) {
                outcome = outcome.and(self.add_part(changed));
            }
            outcome = outcome.and(self.add_part(region.clip(end, usize::MAX)));
        }
        outcome
    }

    /// Writes what is left of a region, if anything is.
    fn add_part(&self, part: Region) -> Result<(), Full> {
        match part.start < part.end {
            true => self.add(&part),
            false => Ok(()),
        }
    }

    /// Adds a region where there is none.
    #[allow(clippy::len_zero, reason = "`is_empty` is what others see of it")]
    fn add(&self, region: &Region) -> Result<(), Full> {
        if self.len() == 0 {
            self.open_leaf(0, region.start)?;
        }
        let place = self.place(region.start);
        let Some(leaf) = self.leaf(place) else {
            return Err(Full);
        };
        let rank = leaf.starts.rank(region.start);
        let len = leaf.starts.len();
        if len < LEAF {
            for i in (rank..len).rev() {
                if let Some(moved) = leaf.get(i) {
                    leaf.put(i + 1, moved);
                }
            }
            leaf.put(rank, *region);
            self.refresh_first(place);
            return Ok(());
        }
        // Mappings come in ascending or descending order: there, leave the full leaf full.
        if rank == len {
            self.open_leaf(place + 1, region.start)?;
        } else if rank == 0 {
            self.open_leaf(place, region.start)?;
        } else {
            let half = len / 2;
            let middle = leaf.get(half).map_or(region.start, |r| r.start);
            self.open_leaf(place + 1, middle)?;
            if let Some(upper) = self.leaf(place + 1) {
                for i in half..len {
                    if let Some(moved) = leaf.get(i) {
                        upper.put(i - half, moved);
                    }
                }
                leaf.truncate(half);
            }
        }
        self.add(region)
    }

    /// Writes the region anew that begins and ends where this one does.
    fn update(&self, region: Region) {
        if let Some(leaf) = self.leaf(self.place(region.start))
            && let Some(rank) = leaf.starts.rank(region.start).checked_sub(1)
        {
            leaf.put(rank, region);
        }
    }

    /// Removes the region that begins at `start`.
    fn remove(&self, start: usize) {
        let place = self.place(start);
        let Some(leaf) = self.leaf(place) else { return };
        let Some(rank) = leaf.starts.rank(start).checked_sub(1) else {
            return;
        };
        let len = leaf.starts.len();
        for i in rank + 1..len {
            if let Some(moved) = leaf.get(i) {
                leaf.put(i - 1, moved);
            }
        }
        leaf.starts.clear(len.saturating_sub(1));
        if len <= 1 {
            self.close_leaf(place);
        } else {
            self.refresh_first(place);
        }
    }

    fn refresh_first(&self, place: usize) {
        if let Some(start) = self.leaf(place).and_then(|leaf| leaf.starts.get(0)) {
            self.set_first(place, start);
        }
    }

    /// Moves a directory entry.
    fn move_place(&self, from: usize, to: usize) {
        if let Some(start) = self.node(from).and_then(|(keys, i)| keys.get(i)) {
            self.set_first(to, start);
        }
        self.set_leaf_number(to, self.leaf_number(from));
    }

    /// Puts a free leaf at `place`, moving the others up.
    fn open_leaf(&self, place: usize, start: usize) -> Result<(), Full> {
        let (len, lost) = self.len_and_lost();
        if len == LEAVES {
            return Err(Full);
        }
        let free = self.leaf_number(len);
        for i in (place..len).rev() {
            self.move_place(i, i + 1);
        }
        self.set_leaf_number(place, free);
        self.set_first(place, start);
        self.len.store((len + 1) | lost, Ordering::Relaxed);
        Ok(())
    }

    /// Takes the leaf at `place` out, moving the others down; it becomes the first free one.
    fn close_leaf(&self, place: usize) {
        let (len, lost) = self.len_and_lost();
        let last = len.saturating_sub(1);
        let freed = self.leaf_number(place);
        for i in place..last {
            self.move_place(i + 1, i);
        }
        self.set_leaf_number(last, freed);
        if let Some((keys, i)) = self.node(last) {
            keys.clear(i);
        }
        self.len.store(last | lost, Ordering::Relaxed);
    }
}

/// A change under way: ends when this is dropped. Until then no reader finds anything.
pub struct Writing<'a>(&'a Regions);

impl Writing<'_> {
    /// The region that holds `address`, or else the next one above it.
    #[must_use]
    pub fn at_or_after(&self, address: usize) -> Option<Region> {
        self.0.search(address)
    }

    /// Records a region in place of whatever was there.
    ///
    /// # Errors
    /// [`Full`]: it is not recorded, and nothing is recorded at its addresses.
    pub fn insert(&self, region: Region) -> Result<(), Full> {
        let cleared = self.rewrite(region.start, region.end, |_| None);
        if region.start < region.end
            && let Err(full) = self.0.add(&region)
        {
            self.0.lose();
            return Err(full);
        }
        cleared
    }

    /// Something is mapped that is not recorded, or will not be any more.
    pub fn lose(&self) {
        self.0.lose();
    }

    /// Replaces the part of each region inside `[start, end)` by what `change` makes of it (which
    /// must keep `start` and `end`), or removes it on `None`. Parts outside stay as they are.
    ///
    /// # Errors
    /// [`Full`]: a split found no room; what is not recorded any more falls to the kernel.
    pub fn rewrite(
        &self,
        start: usize,
        end: usize,
        change: impl Fn(Region) -> Option<Region>,
    ) -> Result<(), Full> {
        let rewritten = self.0.replace_each(start, end, &change);
        if rewritten.is_err() {
            self.0.lose();
        }
        rewritten
    }
}

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        let Writing(regions) = self;
        let len = regions.len.load(Ordering::Relaxed);
        regions.occupied.store(len, Ordering::Release);
        let before = regions
            .sequence
            .fetch_add(STEP - WRITING, Ordering::Release);
        // Somebody has missed something meanwhile.
        if before & MISSED != 0 {
            regions.occupied.fetch_or(LOST, Ordering::SeqCst);
        }
    }
}

#[cfg(all(test, not(feature = "model")))]
mod tests;
