use super::*;

fn log() -> Box<Log> {
    // SAFETY: all-zero is a valid, empty log.
    unsafe { Box::<Log>::new_zeroed().assume_init() }
}

fn finding(code: Code, start: u64) -> Finding<'static> {
    Finding {
        code,
        detail: 0,
        device: 1,
        inode: 2,
        path: b"/x",
        address: 0x1000,
        range: (start, start + 64),
        asked: 4096,
        dirty: Dirty {
            lines: 1,
            ..Dirty::default()
        },
    }
}

fn stack(frames: &[u64]) -> Stack {
    let mut stack = Stack::new();
    for frame in frames {
        assert!(stack.push(*frame));
    }
    stack
}

fn counts(log: &Log) -> Vec<u64> {
    let used = log.entries.iter();
    used.map(|entry| entry.count.load(Ordering::Relaxed))
        .take_while(|&count| count > 0)
        .collect()
}

#[test]
fn the_same_from_the_same_place_is_one_entry() {
    let log = log();
    let here = stack(&[1, 2, 3]);
    log.note(&finding(Code::Redundant, 128), Some(&here), 1);
    log.note(&finding(Code::Redundant, 0), Some(&here), 2);
    log.note(&finding(Code::Redundant, 640), Some(&stack(&[1, 2, 4])), 3);
    log.note(&finding(Code::Amplified, 0), Some(&here), 4);
    assert_eq!(counts(&log), [2, 1, 1]);
    let [first, ..] = &log.entries;
    assert_eq!(first.start.load(Ordering::Relaxed), 0);
    assert_eq!(first.end.load(Ordering::Relaxed), 192);
    assert_eq!(first.asked.load(Ordering::Relaxed), 8192);
    assert_eq!(first.lines.load(Ordering::Relaxed), 2);
    assert_eq!(first.stack_len.load(Ordering::Relaxed), 3);
}

#[test]
fn without_a_stack_it_counts_with_the_last_of_its_kind() {
    let log = log();
    log.note(&finding(Code::Redundant, 0), None, 5);
    log.note(&finding(Code::Redundant, 0), Some(&stack(&[1])), 6);
    log.note(&finding(Code::Redundant, 0), Some(&stack(&[2])), 7);
    log.note(&finding(Code::Redundant, 0), None, 8);
    assert_eq!(counts(&log), [1, 1, 2]);
    assert_eq!(log.left_out.load(Ordering::Relaxed), 0);
    assert_eq!(log.unsampled.load(Ordering::Relaxed), 2);
}

#[test]
fn a_full_log_counts_what_it_leaves_out() {
    let log = log();
    for place in 0..ENTRIES as u64 + 3 {
        log.note(&finding(Code::Redundant, 0), Some(&stack(&[place])), 9);
    }
    assert_eq!(counts(&log).len(), ENTRIES);
    assert_eq!(log.left_out.load(Ordering::Relaxed), 3);
}

#[test]
fn who_maps_it_again_takes_the_note_back() {
    let log = log();
    let range = |entry: &Entry| {
        let start = entry.start.load(Ordering::Relaxed);
        (start, entry.end.load(Ordering::Relaxed))
    };
    let unmap = |start, end| {
        let of = Finding {
            range: (start, end),
            ..finding(Code::Unmapped, 0)
        };
        log.note(&of, Some(&stack(&[1])), 10);
    };
    let [first, second, ..] = &log.entries;
    unmap(0, 16384);
    log.note(&finding(Code::Redundant, 0), Some(&stack(&[1])), 11);
    log.holds(1, 3, (0, 16384));
    assert_eq!(range(first), (0, 16384));
    log.holds(1, 2, (12288, 65536));
    assert_eq!(range(first), (0, 12288));
    log.holds(1, 2, (4096, 8192));
    assert_eq!(range(first), (0, 4096));
    log.holds(1, 2, (0, 4096));
    assert!(range(first).0 >= range(first).1);
    unmap(8192, 12288);
    assert_eq!((range(first), range(second)), ((8192, 12288), (0, 64)));
    let [_, file, ..] = &log.files;
    assert_eq!(file.held(), (0, 65536));
}

#[test]
fn modules_and_files_are_listed_once() {
    let log = log();
    let module = crate::maps::Mapping::parse(b"1000-3000 r-xp 2000 0:0 1 /lib/a").unwrap();
    log.add_module(&module);
    log.add_module(&module);
    assert!(log.knows(0x1000) && log.knows(0x2fff) && !log.knows(0x3000));
    let used = log.modules.iter();
    let used = used.filter(|module| module.start.load(Ordering::Relaxed) != 0);
    assert_eq!(used.count(), 1);
    for (device, inode) in [(1, 5), (2, 5), (1, 5)] {
        log.add_file(device, inode);
    }
    let used = log.files.iter();
    let used = used.filter(|file| file.inode.load(Ordering::Relaxed) != 0);
    assert_eq!(used.count(), 2);
}
