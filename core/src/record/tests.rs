use super::*;
use core::cell::Cell;
use core::time::Duration;

/// A thread, and the time that it has waited at least: yields take none where nobody else wants the
/// processor.
#[derive(Default)]
struct Waiting(usize, Cell<Duration>);

impl Thread for Waiting {
    fn number(&self) -> usize {
        self.0
    }

    fn pause(&self, number: usize) {
        if number >= YIELDS {
            self.1.set(self.1.get() + Duration::from_micros(20));
        }
    }

    fn is_on_own_stack(&self) -> bool {
        true
    }
}

#[test]
fn a_flush_that_does_not_get_its_turn_is_waited_for() {
    // SAFETY: all-zero is a record of no mapping (Regions, Threads), too large for a test's stack.
    let record = unsafe { Box::<Record>::new_zeroed().assume_init() };
    let (flushing, changing) = (Waiting(1, Cell::default()), Waiting(2, Cell::default()));
    let place = record.publish(0, &flushing).unwrap();
    record.reach_anywhere(place);
    assert_eq!(record.drain(0, 4096, &changing), Err(Undrained));
    let waited = changing.1.get();
    assert!(waited >= Duration::from_millis(500), "{waited:?}");
    assert_eq!(record.drain(0, 4096, &changing), Ok(()), "once alone");
    assert_eq!(changing.1.get(), waited);
}

/// A thread that lets others run.
struct Yielding(usize);

impl Thread for Yielding {
    fn number(&self) -> usize {
        self.0
    }

    fn pause(&self, _: usize) {
        std::thread::yield_now();
    }

    fn is_on_own_stack(&self) -> bool {
        true
    }
}

/// Whoever waits for a flush whose thread looks for a mapping, or changes one, in a handler: each would wait for the
/// other.
fn waits_for_an_interrupted_flush(handler: impl Fn(&Record, &Yielding) + Sync) {
    // SAFETY: as above.
    let record = unsafe { Box::<Record>::new_zeroed().assume_init() };
    let (flushing, changing) = (Yielding(1), Yielding(2));
    let place = record.publish(0, &flushing).unwrap();
    record.reach_anywhere(place);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while record.threads.writer.load(Ordering::Relaxed) == 0 {
                std::thread::yield_now();
            }
            handler(&record, &flushing);
            record.withdraw(place);
        });
        let (change, drained) = record.change_drained((0, 4096), &changing);
        assert!(change.is_some());
        assert_eq!(drained, Ok(()));
    });
    assert!(!record.regions.is_missed());
}

#[test]
fn a_change_above_an_interrupted_flush_is_given_way() {
    waits_for_an_interrupted_flush(|record, flushing| {
        assert!(record.change(flushing).is_some());
    });
}

#[test]
fn a_look_above_an_interrupted_flush_is_given_way() {
    waits_for_an_interrupted_flush(|record, flushing| {
        assert!(record.first_in(0, 4096, flushing).is_ok());
    });
}
