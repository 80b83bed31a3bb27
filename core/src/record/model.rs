//! The record under loom: every interleaving of two or three threads of a few operations each, with as
//! many preemptions as [`check`] says. Memory is a cell that loom watches: touched by a flush while it is
//! being unmapped, it fails the model.

use super::*;
use loom::cell::UnsafeCell;
use loom::sync::{Arc, Mutex};

/// A thread, by its number.
#[derive(Clone, Copy)]
struct Me(usize);

/// Places are found by the number's upper bits.
const FIRST: Me = Me(1 << PLACE_SHIFT);
const SECOND: Me = Me(2 << PLACE_SHIFT);
const THIRD: Me = Me(3 << PLACE_SHIFT);

impl Thread for Me {
    fn number(&self) -> usize {
        self.0
    }

    fn pause(&self, _: usize) {
        loom::thread::yield_now();
    }

    fn is_on_own_stack(&self) -> bool {
        true
    }
}

const FLUSHABLE: usize = 1;
/// A region of four addresses, which are all the memory there is.
const REGION: Region = Region {
    start: 4,
    end: 8,
    data_end: 8,
    attributes: FLUSHABLE,
    origin: 4,
};

/// A process with one mapping.
struct Process {
    record: Record,
    /// What is mapped at each address of the region.
    memory: [UnsafeCell<()>; 4],
    /// The kernel's: only one thread at a time changes what is mapped.
    mmap_lock: Mutex<()>,
}

impl Process {
    fn new() -> Arc<Process> {
        let process = Process {
            record: Record::new(),
            memory: core::array::from_fn(|_| UnsafeCell::new(())),
            mmap_lock: Mutex::new(()),
        };
        let change = process.record.change(&FIRST).unwrap();
        change.insert(REGION).unwrap();
        drop(change);
        Arc::new(process)
    }

    fn cell(&self, address: usize) -> &UnsafeCell<()> {
        &self.memory[address - REGION.start]
    }

    /// msync of an address: by lines, if it is found. Whether it was.
    fn flush(&self, me: Me, frame: usize, address: usize) -> bool {
        let Some(place) = self.record.publish(frame, &me) else {
            return false;
        };
        let touched = self.record.remembers(place, address, address + 1) || {
            // As daxshim_persist does: msync says before that it may touch anything.
            let is_plain = |region: &Region| region.attributes == FLUSHABLE;
            let found = self.record.look_up(place, address, is_plain);
            matches!(found, Ok(Some(region))
                if region.start <= address && region.attributes == FLUSHABLE)
        };
        if touched {
            self.cell(address).with(|_| ());
        }
        self.record.withdraw(place);
        touched
    }

    fn unmap(&self, start: usize, end: usize) {
        let _lock = self.mmap_lock.lock().unwrap();
        for address in start..end {
            self.cell(address).with_mut(|_| ());
        }
    }

    /// A call that takes `[start, end)` away, or makes it unreadable, as the hooks carry it out; whether it
    /// did. Where a flush does not end in the model's patience, it is still at it when the model ends.
    fn take(&self, me: Me, start: usize, end: usize, becomes: Option<usize>) -> bool {
        let (change, drained) = self.record.change_drained((start, end), &me);
        if drained.is_err() {
            core::mem::forget(change);
            return false;
        }
        self.unmap(start, end);
        if let Some(change) = change {
            let settled = change.rewrite(start, end, |region| {
                Some(Region {
                    attributes: becomes?,
                    ..region
                })
            });
            assert_eq!(settled, Ok(()));
        }
        true
    }

    /// Whether a call that maps an untagged file over an address concerns us.
    fn concerns(&self, me: Me, address: usize) -> bool {
        !self.record.regions.is_empty()
            && self.record.first_in(address, address + 1, &me) != Ok(None)
    }
}

fn check(preemptions: usize, model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.max_branches = 20_000;
    builder.check(model);
}

#[test]
fn a_region_that_is_split_is_never_nothing_there() {
    check(1, || {
        let process = Process::new();
        let other = process.clone();
        let maps = loom::thread::spawn(move || assert!(other.concerns(SECOND, 7)));
        process.take(FIRST, 4, 5, Some(FLUSHABLE));
        maps.join().unwrap();
    });
}

#[test]
fn what_is_flushed_is_not_unmapped_meanwhile() {
    check(3, || {
        let process = Process::new();
        let other = process.clone();
        let unmaps = loom::thread::spawn(move || other.take(SECOND, 4, 8, None));
        process.flush(FIRST, 100, 5);
        // What was remembered by then.
        process.flush(FIRST, 100, 5);
        unmaps.join().unwrap();
    });
}

#[test]
fn two_changes_and_a_flush_are_in_one_order() {
    check(2, || {
        let process = Process::new();
        let (one, two) = (process.clone(), process.clone());
        // All of it: what splits a region is looked at by others, and would be hours here.
        let protects = loom::thread::spawn(move || one.take(SECOND, 4, 8, Some(0)));
        let unmaps = loom::thread::spawn(move || two.take(THIRD, 4, 8, None));
        process.flush(FIRST, 100, 5);
        protects.join().unwrap();
        unmaps.join().unwrap();
        assert!(!process.flush(FIRST, 100, 5));
    });
}

#[test]
fn what_nobody_could_record_is_flushed_by_nobody() {
    check(3, || {
        let process = Process::new();
        // A writer that does not end while this model lasts.
        core::mem::forget(process.record.change(&THIRD));
        let other = process.clone();
        let unmaps = loom::thread::spawn(move || {
            other.take(SECOND, 4, 8, None);
            assert!(!other.flush(SECOND, 100, 5));
        });
        process.flush(FIRST, 100, 5);
        unmaps.join().unwrap();
        assert!(process.record.regions.is_missed());
        assert!(!process.flush(FIRST, 100, 5));
    });
}

#[test]
fn what_was_missed_is_forgotten_by_the_next_writer() {
    check(3, || {
        let process = Process::new();
        let other = process.clone();
        let misses = loom::thread::spawn(move || {
            other.record.miss();
            let drained = other.record.drain(5, 6, &SECOND).is_ok();
            if drained {
                other.unmap(5, 6);
            }
        });
        process.take(FIRST, 7, 8, None);
        process.flush(FIRST, 100, 5);
        misses.join().unwrap();
        drop(process.record.change(&FIRST));
        assert!(!process.record.regions.is_missed());
        assert!(!process.flush(FIRST, 100, 5));
    });
}

#[test]
fn a_flush_that_a_longjmp_left_is_found_by_its_thread_and_by_no_other_range() {
    check(3, || {
        let process = Process::new();
        let left = process.record.publish(100, &FIRST).unwrap();
        process.record.reach_anywhere(left);
        process.record.look_up(left, 5, |_| true).unwrap();
        let other = process.clone();
        let changes = loom::thread::spawn(move || {
            // Of another range nobody waits for it.
            assert_eq!(other.record.drain(20, 21, &SECOND), Ok(()));
        });
        // Nested in it: another place.
        let nested = process.record.publish(90, &FIRST).unwrap();
        assert_ne!(process.record.number(nested), process.record.number(left));
        process.record.withdraw(nested);
        // Above it on the stack: it is gone.
        let again = process.record.publish(100, &FIRST).unwrap();
        assert_eq!(process.record.number(again), process.record.number(left));
        process.record.withdraw(again);
        changes.join().unwrap();
        assert_eq!(process.record.drain(4, 8, &SECOND), Ok(()));
    });
}

/// loom has no processes: a forked child is one in whose memory the other threads do not go on.
#[test]
fn a_forked_child_finds_nothing_of_what_was_cut_short() {
    check(3, || {
        let process = Process::new();
        let change = process.record.change(&SECOND).unwrap();
        change.rewrite(4, 5, Some).unwrap();
        core::mem::forget(change);
        let _ = process.record.publish(100, &THIRD);
        process.record.forked();
        assert!(!process.flush(FIRST, 100, 5));
        let other = process.clone();
        let maps = loom::thread::spawn(move || {
            let change = other.record.change(&SECOND).unwrap();
            change.insert(REGION).unwrap();
        });
        process.flush(FIRST, 100, 5);
        maps.join().unwrap();
        // What was cut short was forgotten, and that is known.
        assert!(!process.record.regions.is_complete());
        assert!(process.flush(FIRST, 100, 5));
        process.take(FIRST, 4, 8, None);
        assert_eq!(process.record.first_in(4, 8, &FIRST), Ok(None));
    });
}
