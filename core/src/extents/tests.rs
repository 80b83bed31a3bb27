use super::*;
use proptest::prelude::*;

const BLOCK: u64 = 4096;

/// A filesystem that knows these extents and answers as FIEMAP does: whole extents that
/// overlap what was asked for, at most a page of them, the last one marked.
fn serve<const N: usize>(
    map: &[Extent],
) -> impl FnMut(u64, &mut Fiemap<N>) -> Result<usize, Errno> {
    move |start, page| {
        let wanted = map.iter().filter(|e| e.end() > start);
        let mut count = 0;
        for (slot, extent) in page.extents.iter_mut().zip(wanted) {
            *slot = *extent;
            count += 1;
        }
        if count > 0 && map.last() == Some(&page.extents[count - 1]) {
            page.extents[count - 1].flags |= flags::LAST;
        }
        Ok(count)
    }
}

fn blocks(logical: u64, physical: u64, length: u64, flags: u32) -> Extent {
    Extent::new(logical * BLOCK, physical * BLOCK, length * BLOCK, flags)
}

fn first_defect(size: u64, map: &[Extent]) -> Option<Defect> {
    survey_of(size, serve(map)).unwrap().defect
}

#[test]
fn the_request_is_laid_out_as_the_kernel_expects() {
    assert_eq!(size_of::<Extent>(), 56);
    assert_eq!(core::mem::offset_of!(Fiemap<FEW>, extents), 32);
    assert!(size_of::<Fiemap<FEW>>() <= 256);
    assert_eq!(FIEMAP, 0xc020_660b);
}

#[test]
fn a_written_extent_to_the_end_has_no_defect() {
    assert_eq!(first_defect(4 * BLOCK, &[blocks(0, 100, 4, 0)]), None);
}

#[test]
fn an_empty_file_has_no_defect() {
    let survey = survey_of(0, |_, _| Err(Errno::INVAL)).unwrap();
    assert_eq!(survey.defect, None);
    assert_eq!(survey.extents, 0);
}

#[test]
fn an_extent_beyond_the_size_counts_only_up_to_it() {
    let long = survey_of(BLOCK + 1, serve(&[blocks(0, 100, 64, 0)])).unwrap();
    let short = survey_of(BLOCK + 1, serve(&[blocks(0, 100, 2, 0)])).unwrap();
    assert_eq!(long, short);
    assert_eq!(long.defect, None);
    let unwritten_tail = [blocks(0, 100, 2, 0), blocks(2, 102, 9, flags::UNWRITTEN)];
    assert_eq!(first_defect(2 * BLOCK, &unwritten_tail), None);
}

#[test]
fn holes_are_found_at_the_start_in_the_middle_and_at_the_end() {
    let hole = |at: u64, length: u64| {
        Some(Defect {
            flaw: Flaw::Hole,
            offset: at * BLOCK,
            length: length * BLOCK,
        })
    };
    assert_eq!(
        first_defect(4 * BLOCK, &[blocks(1, 9, 3, 0)]),
        hole(0, 1),
        "start"
    );
    assert_eq!(
        first_defect(4 * BLOCK, &[blocks(0, 9, 1, 0), blocks(3, 12, 1, 0)]),
        hole(1, 2),
        "middle"
    );
    assert_eq!(
        first_defect(4 * BLOCK, &[blocks(0, 9, 3, 0)]),
        hole(3, 1),
        "end"
    );
    assert_eq!(first_defect(4 * BLOCK, &[]), hole(0, 4), "everything");
}

#[test]
fn every_flaw_has_its_name_and_harmless_flags_have_none() {
    for (set, flaw) in [
        (flags::UNWRITTEN, Flaw::Unwritten),
        (flags::SHARED, Flaw::Shared),
        (flags::DELALLOC | flags::UNKNOWN, Flaw::Delalloc),
        (flags::INLINE | flags::NOT_ALIGNED, Flaw::Inline),
        (flags::TAIL | flags::NOT_ALIGNED, Flaw::Inline),
        (flags::ENCODED, Flaw::Encoded),
        (flags::ENCRYPTED, Flaw::Encoded),
        (flags::NOT_ALIGNED, Flaw::Other(flags::NOT_ALIGNED)),
        (0x4000_0000, Flaw::Other(0x4000_0000)),
    ] {
        let map = [blocks(0, 9, 1, 0), blocks(1, 10, 1, set)];
        let expected = Defect {
            flaw,
            offset: BLOCK,
            length: BLOCK,
        };
        assert_eq!(first_defect(2 * BLOCK, &map), Some(expected), "{set:#x}");
    }
    assert_eq!(Flaw::of(flags::LAST | flags::MERGED), None);
}

#[test]
fn the_first_of_several_defects_is_reported() {
    let map = [
        blocks(0, 9, 1, flags::UNWRITTEN),
        blocks(1, 10, 1, flags::SHARED),
    ];
    assert_eq!(
        first_defect(3 * BLOCK, &map).map(|d| d.flaw),
        Some(Flaw::Unwritten)
    );
}

#[test]
fn only_congruent_whole_windows_count_for_2_mib_pages() {
    let aligned = Extent::new(0, 4 * HUGE, 3 * HUGE, 0);
    assert_eq!(huge_bytes(&aligned), 3 * HUGE);
    assert_eq!(huge_bytes(&Extent::new(0, BLOCK, 3 * HUGE, 0)), 0);
    let askew = Extent::new(BLOCK, 4 * HUGE + BLOCK, 3 * HUGE, 0);
    assert_eq!(huge_bytes(&askew), 2 * HUGE);
    assert_eq!(huge_bytes(&Extent::new(0, 0, HUGE - 1, 0)), 0);
}

#[test]
fn a_filesystem_without_fiemap_has_no_fingerprint() {
    for errno in [Errno::OPNOTSUPP, Errno::NOTTY] {
        assert_eq!(fingerprint_of(BLOCK, |_, _| Err(errno)), Ok(None));
    }
    assert_eq!(fingerprint_of(BLOCK, |_, _| Err(Errno::IO)), Err(Errno::IO));
}

#[test]
fn a_filesystem_that_repeats_itself_does_not_hang_the_walk() {
    let stuck = |_: u64, page: &mut Fiemap<BATCH>| {
        page.extents[0] = blocks(0, 9, 1, 0);
        Ok(1)
    };
    let survey = survey_of(4 * BLOCK, stuck).unwrap();
    assert_eq!(survey.extents, 1);
    assert_eq!(survey.defect.map(|d| d.flaw), Some(Flaw::Hole));
}

#[test]
fn a_sparse_file_is_seen_through_real_system_calls() {
    for dir in ["/dev/shm", "."] {
        let file = tempfile::tempfile_in(dir).unwrap();
        file.set_len(64 * BLOCK).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, &[1; 4096], 8 * BLOCK).unwrap();
        let survey = survey(file.as_fd(), 64 * BLOCK, true).unwrap();
        let defect = survey.defect.unwrap();
        assert_eq!((defect.flaw, defect.offset), (Flaw::Hole, 0), "{dir}");
        let mut ends = Vec::new();
        defects(file.as_fd(), 64 * BLOCK, true, |d| {
            ends.push(d.offset + d.length);
            ControlFlow::Continue(())
        })
        .unwrap();
        assert_eq!(ends.last(), Some(&(64 * BLOCK)), "{dir}");
        assert!(ends.contains(&(8 * BLOCK)), "{dir}");
    }
}

/// Maps of sound and flawed extents with holes between them.
fn maps() -> impl Strategy<Value = Vec<Extent>> {
    let run = (0u64..3, 0u64..50, 1u64..40, 0usize..6);
    proptest::collection::vec(run, 0..60).prop_map(|runs| {
        let kinds = [0, 0, 0, 0, flags::UNWRITTEN, flags::SHARED];
        let mut logical = 0;
        let mut physical = 1000;
        runs.into_iter()
            .map(|(hole, gap, length, kind)| {
                logical += hole;
                physical += gap;
                let extent = blocks(logical, physical, length, kinds[kind]);
                logical += length;
                physical += length;
                extent
            })
            .collect()
    })
}

proptest! {
    #[test]
    fn splitting_extents_changes_nothing(
        map in maps(),
        cuts in proptest::collection::vec(0u64..2400, 0..80),
        size in 0u64..(2400 * 4096),
    ) {
        let mut split = map.clone();
        for cut in cuts {
            let at = cut * BLOCK;
            if let Some(i) = split.iter().position(|e| e.logical < at && at < e.end()) {
                let whole = split[i];
                let head = at - whole.logical;
                split[i].length = head;
                split.insert(i + 1, Extent::new(
                    at, whole.physical + head, whole.length - head, whole.flags,
                ));
            }
        }
        prop_assert_eq!(
            survey_of(size, serve(&map)).unwrap(),
            survey_of(size, serve(&split)).unwrap()
        );
        prop_assert_eq!(
            fingerprint_of(size, serve(&map)).unwrap(),
            survey_of(size, serve(&split)).unwrap().fingerprint
        );
    }

    #[test]
    fn moving_one_block_changes_the_fingerprint(map in maps(), pick in any::<usize>()) {
        prop_assume!(!map.is_empty());
        let size = map.last().unwrap().end();
        let mut moved = map.clone();
        let i = pick % moved.len();
        moved[i].physical += 10_000 * BLOCK;
        prop_assert_ne!(
            fingerprint_of(size, serve(&map)).unwrap(),
            fingerprint_of(size, serve(&moved)).unwrap()
        );
    }

    #[test]
    fn a_defect_is_found_exactly_where_a_naive_look_finds_one(map in maps(), size in 1u64..2400) {
        let naive = (0..size).find(|block| {
            !map.iter().any(|e| {
                e.flags == 0 && (e.logical..e.end()).contains(&(block * BLOCK))
            })
        });
        let found = first_defect(size * BLOCK, &map);
        prop_assert_eq!(found.map(|d| d.offset), naive.map(|b| b * BLOCK));
    }
}
