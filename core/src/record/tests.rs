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
