//! The interval map of mappings: which addresses belong to tagged files.
//!
//! One writer at a time (the caller's lock), any number of readers that never wait: a sequence
//! number tells a reader that it raced with a writer, and after a few tries it gets [`Busy`] and
//! takes the kernel's way, which is always right. A sorted directory of leaves of up to [`LEAF`]
//! entries: lookups are two binary searches, a change moves at most one leaf and the directory.
//!
//! All memory is inside the struct, so a zeroed `static` is an empty map; pages of it that were
//! never used cost nothing.

use core::sync::atomic::{AtomicU16, AtomicUsize, Ordering, fence};

/// Entries of a leaf.
const LEAF: usize = 64;
/// Leaves: room for 65,536 entries and more than 32,768 in the worst order of insertion by mmap,
/// vm.max_map_count being 65,530 by default.
const LEAVES: usize = 1024;
/// How often a reader tries before it gives up.
const TRIES: usize = 8;

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
    const NOWHERE: Region = Region {
        start: 0,
        end: 0,
        data_end: 0,
        attributes: 0,
        origin: 0,
    };

    /// The part inside `[start, end)`.
    fn clip(self, start: usize, end: usize) -> Region {
        Region {
            start: self.start.max(start),
            end: self.end.min(end),
            ..self
        }
    }
}

/// A writer was at work all the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Busy;

/// No room: the region is not recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

struct Cell([AtomicUsize; 5]);

impl Cell {
    const fn new() -> Cell {
        Cell([const { AtomicUsize::new(0) }; 5])
    }

    fn start(&self) -> usize {
        let [start, ..] = &self.0;
        start.load(Ordering::Relaxed)
    }

    fn get(&self) -> Region {
        let [start, end, data_end, attributes, origin] = &self.0;
        Region {
            start: start.load(Ordering::Relaxed),
            end: end.load(Ordering::Relaxed),
            data_end: data_end.load(Ordering::Relaxed),
            attributes: attributes.load(Ordering::Relaxed),
            origin: origin.load(Ordering::Relaxed),
        }
    }

    fn set(&self, region: Region) {
        let [start, end, data_end, attributes, origin] = &self.0;
        start.store(region.start, Ordering::Relaxed);
        end.store(region.end, Ordering::Relaxed);
        data_end.store(region.data_end, Ordering::Relaxed);
        attributes.store(region.attributes, Ordering::Relaxed);
        origin.store(region.origin, Ordering::Relaxed);
    }
}

/// A leaf in use: its length and its cells. Cells behind the length are zero, so that no address
/// is in them.
#[derive(Clone, Copy)]
struct Leaf<'a> {
    len: &'a AtomicUsize,
    cells: &'a [Cell; LEAF],
}

impl Leaf<'_> {
    fn len(&self) -> usize {
        self.len.load(Ordering::Relaxed).min(LEAF)
    }

    fn get(&self, i: usize) -> Option<Region> {
        (i < self.len())
            .then(|| self.cells.get(i).map(Cell::get))
            .flatten()
    }

    fn put(&self, i: usize, region: Region) {
        if let Some(cell) = self.cells.get(i) {
            cell.set(region);
        }
    }

    fn set_len(&self, len: usize) {
        for cell in self.cells.iter().take(self.len()).skip(len) {
            cell.set(Region::NOWHERE);
        }
        self.len.store(len, Ordering::Relaxed);
    }

    /// How many entries begin at or before `address`.
    fn rank(&self, address: usize) -> usize {
        partition(self.len(), |i| {
            self.cells
                .get(i)
                .is_some_and(|cell| cell.start() <= address)
        })
    }
}

/// The first index in `0..len` for which `before` is false.
fn partition(len: usize, before: impl Fn(usize) -> bool) -> usize {
    let (mut low, mut high) = (0, len);
    while low < high {
        let middle = low + (high - low) / 2;
        if before(middle) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    low
}

/// The map.
#[repr(C)]
pub struct Regions {
    /// Odd while a writer is at work; moves on with each change.
    sequence: AtomicUsize,
    /// Leaves in use.
    len: AtomicUsize,
    /// First address of each leaf in use, ascending.
    first: [AtomicUsize; LEAVES],
    /// The leaf at each place of the directory; behind `len`, the free ones. Kept as an offset
    /// from the place (modulo LEAVES), so that zeroed memory lists every leaf as free.
    order: [AtomicU16; LEAVES],
    /// Entries of each leaf.
    lengths: [AtomicUsize; LEAVES],
    cells: [[Cell; LEAF]; LEAVES],
}

impl Default for Regions {
    fn default() -> Self {
        Self::new()
    }
}

impl Regions {
    /// An empty map.
    #[must_use]
    pub const fn new() -> Regions {
        Regions {
            sequence: AtomicUsize::new(0),
            len: AtomicUsize::new(0),
            first: [const { AtomicUsize::new(0) }; LEAVES],
            order: [const { AtomicU16::new(0) }; LEAVES],
            lengths: [const { AtomicUsize::new(0) }; LEAVES],
            cells: [const { [const { Cell::new() }; LEAF] }; LEAVES],
        }
    }

    /// Whether nothing is recorded. One load.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Where the sequence number and the number of leaves in use are in the struct: for whoever must
    /// ask in a few instructions whether what it learnt still holds.
    pub const SEQUENCE: usize = core::mem::offset_of!(Regions, sequence);
    /// See [`Regions::SEQUENCE`]. 0 where nothing is recorded.
    pub const LEN: usize = core::mem::offset_of!(Regions, len);

    /// The region that holds `address`, or else the next one above it.
    ///
    /// # Errors
    /// [`Busy`]: a writer was at work at each try.
    pub fn at_or_after(&self, address: usize) -> Result<Option<Region>, Busy> {
        self.find(address).map(|(found, _)| found)
    }

    /// As [`at_or_after`](Regions::at_or_after), with the sequence number at which it holds.
    ///
    /// # Errors
    /// [`Busy`]: a writer was at work at each try.
    pub fn find(&self, address: usize) -> Result<(Option<Region>, usize), Busy> {
        for _ in 0..TRIES {
            let before = self.sequence.load(Ordering::Acquire);
            if before & 1 == 0 {
                let found = self.search(address);
                fence(Ordering::Acquire);
                if self.sequence.load(Ordering::Relaxed) == before {
                    return Ok((found, before));
                }
            }
            core::hint::spin_loop();
        }
        Err(Busy)
    }

    /// Records a region in place of whatever was there.
    ///
    /// One writer at a time.
    ///
    /// # Errors
    /// [`Full`]: it is not recorded, and nothing is recorded at its addresses.
    pub fn insert(&self, region: Region) -> Result<(), Full> {
        self.write(|| {
            let cleared = self.replace_each(region.start, region.end, &|_| None);
            if region.start < region.end {
                self.add(region)?;
            }
            cleared
        })
    }

    /// Replaces the part of each region inside `[start, end)` by what `change` makes of it (which
    /// must keep `start` and `end`), or removes it on `None`. Parts outside stay as they are.
    ///
    /// One writer at a time.
    ///
    /// # Errors
    /// [`Full`]: a split found no room; what is not recorded any more falls to the kernel.
    pub fn rewrite(
        &self,
        start: usize,
        end: usize,
        change: impl Fn(Region) -> Option<Region>,
    ) -> Result<(), Full> {
        match self.search(start) {
            Some(region) if region.start < end => {
                self.write(|| self.replace_each(start, end, &change))
            }
            _ => Ok(()),
        }
    }

    /// Ends a write that a fork cut short: in the child, whose copy may be torn, everything is
    /// forgotten and so falls to the kernel.
    pub fn recover_after_fork(&self) {
        if self.sequence.load(Ordering::Relaxed) & 1 == 1 {
            self.len.store(0, Ordering::Relaxed);
            for order in &self.order {
                order.store(0, Ordering::Relaxed);
            }
            for length in 0..LEAVES {
                if let Some(leaf) = self.numbered(length).filter(|leaf| leaf.len() > 0) {
                    // A torn leaf may have live cells behind its length.
                    leaf.len.store(LEAF, Ordering::Relaxed);
                    leaf.set_len(0);
                }
            }
            self.sequence.fetch_add(1, Ordering::Release);
        }
    }

    fn write<T>(&self, change: impl FnOnce() -> T) -> T {
        let sequence = self.sequence.load(Ordering::Relaxed);
        self.sequence
            .store(sequence.wrapping_add(1), Ordering::Relaxed);
        fence(Ordering::Release);
        let result = change();
        self.sequence
            .store(sequence.wrapping_add(2), Ordering::Release);
        result
    }

    fn len(&self) -> usize {
        self.len.load(Ordering::Relaxed).min(LEAVES)
    }

    fn first(&self, place: usize) -> usize {
        self.first
            .get(place)
            .map_or(usize::MAX, |first| first.load(Ordering::Relaxed))
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

    fn leaf(&self, place: usize) -> Option<Leaf<'_>> {
        (place < self.len())
            .then(|| self.numbered(self.leaf_number(place)))
            .flatten()
    }

    fn numbered(&self, number: usize) -> Option<Leaf<'_>> {
        let (len, cells) = (self.lengths.get(number)?, self.cells.get(number)?);
        Some(Leaf { len, cells })
    }

    /// The place of the leaf where `address` belongs.
    fn place(&self, address: usize) -> usize {
        partition(self.len(), |place| self.first(place) <= address).saturating_sub(1)
    }

    fn search(&self, address: usize) -> Option<Region> {
        let place = self.place(address);
        let leaf = self.leaf(place)?;
        let rank = leaf.rank(address);
        if let Some(region) = rank.checked_sub(1).and_then(|i| leaf.get(i))
            && region.end > address
        {
            return Some(region);
        }
        leaf.get(rank)
            .or_else(|| self.leaf(place + 1).and_then(|next| next.get(0)))
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
            self.remove(region.start);
            let parts = [
                Some(region.clip(0, start)),
                change(region.clip(start, end)),
                Some(region.clip(end, usize::MAX)),
            ];
            for part in parts.into_iter().flatten() {
                if part.start < part.end {
                    outcome = outcome.and(self.add(part));
                }
            }
            from = region.end;
        }
        outcome
    }

    /// Adds a region where there is none.
    fn add(&self, region: Region) -> Result<(), Full> {
        if self.is_empty() {
            self.open_leaf(0, region.start)?;
        }
        let place = self.place(region.start);
        let Some(leaf) = self.leaf(place) else {
            return Err(Full);
        };
        let rank = leaf.rank(region.start);
        let len = leaf.len();
        if len < LEAF {
            for i in (rank..len).rev() {
                if let Some(moved) = leaf.get(i) {
                    leaf.put(i + 1, moved);
                }
            }
            leaf.put(rank, region);
            leaf.set_len(len + 1);
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
                upper.set_len(len - half);
                leaf.set_len(half);
            }
        }
        self.add(region)
    }

    /// Removes the region that begins at `start`.
    fn remove(&self, start: usize) {
        let place = self.place(start);
        let Some(leaf) = self.leaf(place) else { return };
        let Some(rank) = leaf.rank(start).checked_sub(1) else {
            return;
        };
        let len = leaf.len();
        for i in rank + 1..len {
            if let Some(moved) = leaf.get(i) {
                leaf.put(i - 1, moved);
            }
        }
        leaf.set_len(len.saturating_sub(1));
        if leaf.len() == 0 {
            self.close_leaf(place);
        } else {
            self.refresh_first(place);
        }
    }

    fn refresh_first(&self, place: usize) {
        if let (Some(first), Some(region)) = (
            self.first.get(place),
            self.leaf(place).and_then(|leaf| leaf.get(0)),
        ) {
            first.store(region.start, Ordering::Relaxed);
        }
    }

    /// Moves a directory entry.
    fn move_place(&self, from: usize, to: usize) {
        let (first, number) = (self.first(from), self.leaf_number(from));
        if let Some(slot) = self.first.get(to) {
            slot.store(first, Ordering::Relaxed);
        }
        self.set_leaf_number(to, number);
    }

    /// Puts a free leaf at `place`, moving the others up.
    fn open_leaf(&self, place: usize, start: usize) -> Result<(), Full> {
        let len = self.len();
        if len == LEAVES {
            return Err(Full);
        }
        let free = self.leaf_number(len);
        for i in (place..len).rev() {
            self.move_place(i, i + 1);
        }
        self.set_leaf_number(place, free);
        if let (Some(first), Some(leaf)) = (self.first.get(place), self.numbered(free)) {
            first.store(start, Ordering::Relaxed);
            leaf.set_len(0);
        }
        self.len.store(len + 1, Ordering::Relaxed);
        Ok(())
    }

    /// Takes the leaf at `place` out, moving the others down; it becomes the first free one.
    fn close_leaf(&self, place: usize) {
        let len = self.len();
        let freed = self.leaf_number(place);
        for i in place + 1..len {
            self.move_place(i, i - 1);
        }
        self.set_leaf_number(len.saturating_sub(1), freed);
        self.len.store(len.saturating_sub(1), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    /// The same thing, an entry for each page.
    #[derive(Default)]
    struct Naive(BTreeMap<usize, (usize, usize)>);

    #[derive(Clone, Debug)]
    enum Step {
        Insert(usize, usize, usize),
        Remove(usize, usize),
        Mark(usize, usize, usize),
    }

    fn steps(span: usize, count: usize) -> impl Strategy<Value = Vec<Step>> {
        let step =
            (0..span, 1..40usize, 0..8usize, 0..3u8).prop_map(|(start, len, attributes, kind)| {
                match kind {
                    0 => Step::Insert(start, start + len, attributes),
                    1 => Step::Remove(start, start + len),
                    _ => Step::Mark(start, start + len, attributes),
                }
            });
        proptest::collection::vec(step, 0..count)
    }

    fn boxed() -> Box<Regions> {
        // SAFETY: all-zero is an empty map, as the module says.
        unsafe { Box::<Regions>::new_zeroed().assume_init() }
    }

    fn apply(map: &Regions, naive: &mut Naive, step: &Step) {
        match *step {
            Step::Insert(start, end, attributes) => {
                map.insert(Region {
                    start,
                    end,
                    data_end: end - 1,
                    attributes,
                    origin: start,
                })
                .unwrap();
                naive
                    .0
                    .extend((start..end).map(|page| (page, (end - 1, attributes))));
            }
            Step::Remove(start, end) => {
                map.rewrite(start, end, |_| None).unwrap();
                naive.0.retain(|page, _| !(start..end).contains(page));
            }
            Step::Mark(start, end, attributes) => {
                map.rewrite(start, end, |region| {
                    assert!(start <= region.start && region.end <= end);
                    Some(Region {
                        attributes,
                        ..region
                    })
                })
                .unwrap();
                for (_, value) in naive.0.range_mut(start..end) {
                    value.1 = attributes;
                }
            }
        }
    }

    fn check(map: &Regions, naive: &Naive, span: usize) {
        for page in 0..span {
            let found = map.at_or_after(page).unwrap();
            let expected = naive.0.range(page..).next();
            assert_eq!(
                found.map(|r| r.start.max(page)),
                expected.map(|(&p, _)| p),
                "next from {page}"
            );
            if let (Some(region), Some((_, &(data_end, attributes)))) = (found, expected) {
                assert_eq!((region.data_end, region.attributes), (data_end, attributes));
                for inside in region.start.max(page)..region.end {
                    assert_eq!(naive.0.get(&inside), Some(&(data_end, attributes)));
                }
            }
        }
        assert_eq!(map.is_empty(), naive.0.is_empty());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn behaves_like_a_map_of_pages(steps in steps(600, 120)) {
            let (map, mut naive) = (boxed(), Naive::default());
            for step in &steps {
                apply(&map, &mut naive, step);
            }
            check(&map, &naive, 700);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(6))]
        #[test]
        fn behaves_when_leaves_split_and_empty(steps in steps(40_000, 2_000)) {
            let (map, mut naive) = (boxed(), Naive::default());
            for page in (0..40_000).step_by(50) {
                apply(&map, &mut naive, &Step::Insert(page, page + 1, page));
            }
            for step in &steps {
                apply(&map, &mut naive, step);
            }
            apply(&map, &mut naive, &Step::Remove(10_000, 30_000));
            check(&map, &naive, 41_000);
        }
    }

    #[test]
    fn holds_as_many_mappings_as_a_process_can_have() {
        for descending in [false, true] {
            let map = boxed();
            for i in 0..65_536 {
                let start = if descending { 70_000 - i } else { i } * 4;
                let region = Region {
                    start,
                    end: start + 1,
                    data_end: 0,
                    attributes: i,
                    origin: 0,
                };
                assert_eq!(map.insert(region), Ok(()));
            }
            map.rewrite(0, usize::MAX, |_| None).unwrap();
            assert!(map.is_empty());
        }
    }

    #[test]
    fn too_many_mappings_are_refused_and_the_others_kept() {
        let map = boxed();
        let region = |start| Region {
            start,
            end: start + 1,
            data_end: 0,
            attributes: 0,
            origin: 0,
        };
        let accepted = (0..70_000)
            .take_while(|i| map.insert(region(i * 2)).is_ok())
            .count();
        assert_eq!(accepted, LEAF * LEAVES);
        for i in 0..accepted {
            assert_eq!(map.at_or_after(i * 2), Ok(Some(region(i * 2))));
        }
    }

    #[test]
    fn readers_see_whole_regions_while_a_writer_works() {
        let map = boxed();
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                for round in 0..20_000usize {
                    let start = (round * 37) % 500;
                    let region = Region {
                        start,
                        end: start + 20,
                        data_end: start + 20,
                        attributes: start + 20,
                        origin: 0,
                    };
                    map.insert(region).unwrap();
                    map.rewrite(start + 5, start + 6, |_| None).unwrap();
                }
            });
            let mut found = 0usize;
            while !writer.is_finished() || found == 0 {
                for address in 0..520 {
                    if let Ok(Some(region)) = map.at_or_after(address) {
                        assert!(region.end > address && region.start < region.end);
                        assert_eq!(region.data_end, region.attributes);
                        found += 1;
                    }
                }
            }
        });
    }
}
