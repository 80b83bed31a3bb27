use super::*;
use std::os::unix::fs::MetadataExt;

const SIZE: u64 = 3 * CHUNK as u64;

fn options(size: u64) -> PrepareOptions {
    PrepareOptions {
        size: Some(size),
        emulate: true,
    }
}

/// Goes on for a number of chunks, then stops.
fn stop_after(chunks: u32) -> impl FnMut(Progress) -> ControlFlow<()> {
    let mut left = chunks;
    move |_| match left {
        0 => ControlFlow::Break(()),
        _ => {
            left -= 1;
            ControlFlow::Continue(())
        }
    }
}

#[test]
fn an_interrupted_prepare_removes_the_file_it_created() {
    let dir = tempfile::tempdir_in("/dev/shm").unwrap();
    let path = dir.path().join("new");
    let error = prepare(&path, &options(SIZE), &mut stop_after(1)).unwrap_err();
    assert!(matches!(error.cause, Cause::Interrupted));
    assert!(!path.exists());
}

#[test]
fn an_interrupted_prepare_leaves_size_content_and_blocks_as_they_were() {
    let dir = tempfile::tempdir_in("/dev/shm").unwrap();
    let path = dir.path().join("sparse");
    let file = File::create(&path).unwrap();
    file.set_len(SIZE).unwrap();
    file.write_all_at(b"content", CHUNK as u64 + 5).unwrap();
    drop(file);
    let before = std::fs::metadata(&path).unwrap();
    let content = std::fs::read(&path).unwrap();
    let error = prepare(&path, &options(2 * SIZE), &mut stop_after(2)).unwrap_err();
    assert!(matches!(error.cause, Cause::Interrupted));
    let after = std::fs::metadata(&path).unwrap();
    assert_eq!(after.len(), before.len());
    assert_eq!(after.blocks(), before.blocks());
    assert_eq!(std::fs::read(&path).unwrap(), content);
}

#[test]
fn prepare_gives_way_to_a_process_that_opens_the_file() {
    let dir = tempfile::tempdir_in("/dev/shm").unwrap();
    let path = dir.path().join("wanted");
    File::create(&path).unwrap().set_len(SIZE).unwrap();
    let mut open = |_: Progress| {
        let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let answer = rustix::fs::open(&path, flags, Mode::empty());
        assert_eq!(answer.err(), Some(Errno::WOULDBLOCK));
        ControlFlow::Continue(())
    };
    let error = prepare(&path, &options(SIZE), &mut open).unwrap_err();
    assert!(matches!(error.cause, Cause::Disturbed), "{error:?}");
}

#[test]
fn progress_counts_to_its_total() {
    let dir = tempfile::tempdir_in("/dev/shm").unwrap();
    let mut seen = Vec::new();
    let prepared = prepare(&dir.path().join("new"), &options(SIZE + 1), &mut |p| {
        seen.push(p);
        ControlFlow::Continue(())
    })
    .unwrap();
    assert_eq!(prepared.written, SIZE + 1);
    assert!(seen.is_sorted_by_key(|p| p.done));
    let end = Progress {
        done: SIZE + 1,
        total: SIZE + 1,
    };
    assert_eq!(seen.last(), Some(&end));
}

#[test]
fn a_prepared_file_is_left_alone() {
    let dir = tempfile::tempdir_in("/dev/shm").unwrap();
    let path = dir.path().join("twice");
    let mut go_on = |_: Progress| ControlFlow::Continue(());
    prepare(&path, &options(SIZE), &mut go_on).unwrap();
    let again = prepare(&path, &PrepareOptions::default(), &mut go_on).unwrap();
    assert_eq!((again.created, again.written), (false, 0));
}
