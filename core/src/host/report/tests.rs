use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::atomic::Ordering;

use proptest::prelude::*;

use super::*;
use crate::contract::Operation;
use crate::report::{Event, Kind, MAGIC, PATH_LEN, Page, SyncCall, Way, store_bytes};

/// A page as the library makes it.
fn page(pid: u32, parent: u32) -> Box<Page> {
    let mut page = Box::<Page>::new_uninit();
    // SAFETY: all-zero is a valid, empty page.
    let page = unsafe {
        page.as_mut_ptr().write_bytes(0, 1);
        page.assume_init()
    };
    page.magic.store(MAGIC, Ordering::Relaxed);
    page.length
        .store(size_of::<Page>() as u64, Ordering::Relaxed);
    page.pid.store(pid, Ordering::Relaxed);
    page.parent.store(parent, Ordering::Relaxed);
    page.started_ns.store(1, Ordering::Relaxed);
    page.started_ticks.store(1, Ordering::Relaxed);
    store_bytes(&page.program, b"/bin/x");
    page.program_len.store(6, Ordering::Relaxed);
    page
}

fn bytes(page: &Page) -> &[u8] {
    // SAFETY: a page is nothing but integers without padding between them; nobody writes to it.
    unsafe { std::slice::from_raw_parts(std::ptr::from_ref(page).cast(), size_of::<Page>()) }
}

fn write(directory: &Path, name: &str, page: &Page) {
    fs::write(directory.join(name), bytes(page)).unwrap();
}

fn name(text: &mut [u8; PATH_LEN]) -> usize {
    text[..2].copy_from_slice(b"/f");
    2
}

#[test]
fn processes_are_summed() {
    let directory = tempfile::tempdir().unwrap();
    let (a, b, c) = (page(10, 1), page(11, 10), page(10, 1));
    for page in [&a, &b] {
        page.synced(SyncCall::Msync, Way::User, 4096, 64, 300, false);
        page.synced(SyncCall::Msync, Way::Kernel, 1 << 20, 0, 9000, true);
        page.event(Event::StaleTag);
        let writes = page.operation(Operation::Write).unwrap();
        writes.refused.store(2, Ordering::Relaxed);
        page.mapped(7, Kind::Emulated, 4096, true, name);
    }
    b.mapped(7, Kind::Emulated, 8192, false, name);
    c.mapped(7, Kind::ReadOnly, 8192, false, name);
    write(directory.path(), "daxshim.10.0", &a);
    write(directory.path(), "daxshim.11.0", &b);
    write(directory.path(), "daxshim.10.1", &c);
    write(directory.path(), "daxshim.9.0", &a);
    let report = Report::read(directory.path(), &BTreeSet::from(["daxshim.9.0".into()])).unwrap();
    assert_eq!(
        (
            report.programs.len(),
            report.processes(),
            report.forked(),
            report.executed()
        ),
        (3, 2, 1, 1)
    );
    assert!(report.unreadable.is_empty());
    let total = &report.total;
    assert_eq!(total.refusals[0].refused, 4);
    assert_eq!(total.event(Event::StaleTag), 2);
    assert_eq!(total.syncs.len(), 2);
    assert_eq!(total.syncs[0].way, Way::User);
    assert_eq!((total.syncs[0].calls, total.syncs[0].lines), (2, 128));
    assert_eq!(total.syncs[1].errors, 2);
    assert!(total.syncs[0].latency_ns.is_some());
    assert_eq!(total.mappings.len(), 2);
    let emulated = &total.mappings[0];
    assert_eq!(
        (emulated.count, emulated.largest, emulated.huge_aligned),
        (3, 8192, false)
    );
    assert_eq!(emulated.path, "/f");
}

#[test]
fn runs_are_summed() {
    let directory = tempfile::tempdir().unwrap();
    let page = page(10, 1);
    page.synced(SyncCall::Msync, Way::User, 4096, 64, 300, false);
    write(directory.path(), "daxshim.10.0", &page);
    let run = || Report::read(directory.path(), &BTreeSet::new()).unwrap();
    let mut sum = Report::default();
    sum.add(run());
    sum.add(run());
    assert_eq!(sum.programs.len(), 2);
    let sync = &sum.total.syncs[0];
    assert_eq!((sync.calls, sync.lines), (2, 128));
    assert!(sync.latency_ns.is_some());
    let bars = sync.buckets.bars(&sum.clock);
    assert_eq!(bars.iter().map(|bar| bar.calls).sum::<u64>(), 2);
}

#[test]
fn what_is_no_page_is_named_and_does_no_harm() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let good = page(1, 0);
    write(directory.path(), "daxshim.1.0", &good);
    fs::write(at("daxshim.2.0"), b"").unwrap();
    fs::write(at("daxshim.3.0"), vec![0; size_of::<Page>()]).unwrap();
    fs::write(at("daxshim.4.0"), &bytes(&good)[..5000]).unwrap();
    fs::write(at("daxshim.5.0"), vec![0xff; size_of::<Page>()]).unwrap();
    let other = page(6, 0);
    other
        .magic
        .store(u64::from_le_bytes(*b"DAXSHIM\x63"), Ordering::Relaxed);
    write(directory.path(), "daxshim.6.0", &other);
    let longer = page(7, 0);
    longer.length.store(12, Ordering::Relaxed);
    write(directory.path(), "daxshim.7.0", &longer);
    fs::create_dir(at("daxshim.8.0")).unwrap();
    std::os::unix::fs::symlink("daxshim.1.0", at("daxshim.9.0")).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        at("daxshim.10.0"),
        rustix::fs::FileType::Fifo,
        0o600.into(),
        0,
    )
    .unwrap();
    fs::write(at("daxshim.x.0"), b"not ours").unwrap();
    fs::write(at("readme"), b"not ours").unwrap();
    let report = Report::read(directory.path(), &BTreeSet::new()).unwrap();
    assert_eq!(report.programs.len(), 1);
    let mut reasons: Vec<(String, &str)> = report
        .unreadable
        .iter()
        .map(|file| {
            (
                file.file
                    .file_name()
                    .unwrap()
                    .to_string_lossy()
                    .into_owned(),
                &*file.reason,
            )
        })
        .collect();
    reasons.sort();
    let expected = [
        ("daxshim.10.0", "not a regular file"),
        ("daxshim.2.0", "before it had begun"),
        ("daxshim.3.0", "before it had begun"),
        ("daxshim.4.0", "truncated"),
        ("daxshim.5.0", "not written by"),
        ("daxshim.6.0", "another version"),
        ("daxshim.7.0", "another version"),
        ("daxshim.8.0", "not a regular file"),
        ("daxshim.9.0", "cannot be read"),
    ];
    assert_eq!(reasons.len(), expected.len(), "{reasons:?}");
    for ((name, reason), (expected_name, expected_reason)) in reasons.iter().zip(expected) {
        assert_eq!(name, expected_name);
        assert!(reason.contains(expected_reason), "{name}: {reason}");
    }
}

#[test]
fn a_long_path_shows_that_its_beginning_is_missing() {
    let directory = tempfile::tempdir().unwrap();
    let page = page(1, 0);
    store_bytes(&page.program, &[b'p'; PATH_LEN]);
    page.program_len.store(255, Ordering::Relaxed);
    write(directory.path(), "daxshim.1.0", &page);
    let report = Report::read(directory.path(), &BTreeSet::new()).unwrap();
    assert!(report.programs[0].program.starts_with("…p"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn garbage_behind_the_magic_is_read_without_panic(
        garbage in proptest::collection::vec(any::<(usize, u64)>(), 0..4000),
        length in 0..=size_of::<Page>(),
        whole in any::<bool>(),
    ) {
        let directory = tempfile::tempdir().unwrap();
        let valid = page(1, 0);
        let mut file = bytes(&valid).to_vec();
        for (place, value) in garbage {
            let place = 16 + place % (file.len() - 24);
            file[place..place + 8].copy_from_slice(&value.to_le_bytes());
        }
        if !whole {
            file.truncate(length);
        }
        fs::write(directory.path().join("daxshim.1.0"), &file).unwrap();
        let report = Report::read(directory.path(), &BTreeSet::new()).unwrap();
        prop_assert_eq!(report.programs.len() + report.unreadable.len(), 1);
        prop_assert!(!whole || report.programs.len() == 1);
        prop_assert!(serde_json::to_string(&report).is_ok());
    }
}
