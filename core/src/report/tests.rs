use super::*;

#[test]
fn buckets_are_contiguous_and_narrow() {
    assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    for i in 0..BUCKETS {
        assert_eq!(bucket(bucket_floor(i)), i);
        if i + 1 < BUCKETS {
            assert_eq!(bucket(bucket_floor(i + 1) - 1), i);
            let width = bucket_floor(i + 1) - bucket_floor(i);
            assert!(width == 1 || width * 8 <= bucket_floor(i));
        }
    }
}

#[test]
fn a_page_counts_each_file_and_kind_once() {
    // SAFETY: all-zero is a valid, empty page.
    let page = unsafe { Box::<Page>::new_zeroed().assume_init() };
    let name = |text: &mut [u8; PATH_LEN]| {
        text[..2].copy_from_slice(b"/x");
        2
    };
    page.mapped(1, Kind::Sync, 10, true, name);
    page.mapped(1, Kind::Sync, 30, false, |_| panic!("known already"));
    page.mapped(1, Kind::Broken, 20, true, name);
    assert_eq!(page.mappings[0].count.load(Ordering::Relaxed), 2);
    assert_eq!(page.mappings[0].largest.load(Ordering::Relaxed), 30);
    assert_eq!(page.mappings[0].huge_aligned.load(Ordering::Relaxed), 0);
    assert_eq!(page.mappings[1].count.load(Ordering::Relaxed), 1);
    for file in 0..100 {
        page.mapped(file + 10, Kind::Sync, 1, true, name);
    }
    assert_eq!(page.mappings_left_out.load(Ordering::Relaxed), 38);
}

#[test]
fn a_page_counts_each_unseen_program_once() {
    // SAFETY: all-zero is a valid, empty page.
    let page = unsafe { Box::<Page>::new_zeroed().assume_init() };
    for (reason, path) in [
        (Unseen::Static, &b"/x"[..]),
        (Unseen::Static, b"/x"),
        (Unseen::Machine, b"/x"),
        (Unseen::Static, b"/x/y"),
    ] {
        page.unseen(reason, path).begin();
    }
    page.unseen(Unseen::Static, b"/x/y").failed();
    let counts: Vec<_> = page
        .unseen
        .iter()
        .filter(|slot| slot.state.load(Ordering::Relaxed) == 2)
        .map(|slot| slot.count.load(Ordering::Relaxed))
        .collect();
    assert_eq!(counts, [2, 1, 0]);
    for number in 0..40u8 {
        page.unseen(Unseen::Static, &[number]).begin();
    }
    assert_eq!(page.unseen_left_out.load(Ordering::Relaxed), 11);
}

#[test]
fn kinds_survive_their_number() {
    for &kind in Kind::ALL {
        assert_eq!(Kind::from_u8(kind as u8), kind);
    }
    assert_eq!(Kind::from_u8(255), Kind::Suspended);
}
