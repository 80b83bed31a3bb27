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
            map.write()
                .insert(Region {
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
            map.write().rewrite(start, end, |_| None).unwrap();
            naive.0.retain(|page, _| !(start..end).contains(page));
        }
        Step::Mark(start, end, attributes) => {
            map.write()
                .rewrite(start, end, |region| {
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
            assert_eq!(map.write().insert(region), Ok(()));
        }
        map.write().rewrite(0, usize::MAX, |_| None).unwrap();
        assert!(map.is_empty());
    }
}

/// A region of one byte.
fn region(start: usize) -> Region {
    Region {
        start,
        end: start + 1,
        data_end: 0,
        attributes: 0,
        origin: 0,
    }
}

#[test]
fn too_many_mappings_are_refused_and_the_others_kept() {
    let map = boxed();
    let accepted = (0..70_000)
        .take_while(|i| map.write().insert(region(i * 2)).is_ok())
        .count();
    assert_eq!(accepted, LEAF * LEAVES);
    for i in 0..accepted {
        assert_eq!(map.at_or_after(i * 2), Ok(Some(region(i * 2))));
    }
}

/// A map of many regions.
fn full() -> Box<Regions> {
    let map = boxed();
    for i in 0..10_000 {
        map.write().insert(region(i * 7_919 % 10_000 * 2)).unwrap();
    }
    map
}

/// What it forgot is not there, and it knows that it lacks something.
fn is_usable(map: &Regions) {
    assert!(!map.is_empty() && !map.is_complete());
    assert_eq!(map.at_or_after(0), Ok(None));
    for i in 0..10_000 {
        map.write().insert(region(i * 4 + 1)).unwrap();
    }
    for i in 0..10_000 {
        assert_eq!(map.at_or_after(i * 4), Ok(Some(region(i * 4 + 1))));
    }
    assert_eq!(map.at_or_after(usize::MAX), Ok(None));
}

#[test]
fn the_next_writer_forgets_what_a_fork_cut_short() {
    let map = full();
    core::mem::forget(map.write());
    map.len.store(3, Ordering::Relaxed);
    assert_eq!(map.at_or_after(0), Err(Busy));
    drop(map.write());
    is_usable(&map);
}

#[test]
fn what_was_missed_is_everything_until_the_next_writer() {
    let map = full();
    map.miss();
    assert!(map.is_missed() && !map.is_empty());
    assert_eq!(map.at_or_after(0), Err(Busy));
    drop(map.write());
    assert!(!map.is_missed());
    is_usable(&map);
}

#[test]
fn what_is_missed_while_a_writer_works_is_not_forgotten_with_it() {
    let map = full();
    let writing = map.write();
    map.miss();
    drop(writing);
    assert!(map.is_missed());
    assert_eq!(map.at_or_after(0), Err(Busy));
}

#[test]
fn a_map_is_not_empty_while_its_only_region_is_split() {
    let map = boxed();
    map.write()
        .insert(Region {
            end: 10,
            ..region(0)
        })
        .unwrap();
    let writing = map.write();
    writing
        .rewrite(4, 5, |region| {
            assert!(!map.is_empty());
            Some(region)
        })
        .unwrap();
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
                map.write().insert(region).unwrap();
                map.write().rewrite(start + 5, start + 6, |_| None).unwrap();
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
