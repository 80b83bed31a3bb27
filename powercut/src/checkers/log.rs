//! The log of scripts/powercut.d/workloads/log.h: every record that the head counts is there, whole, and the head
//! counts every record that was acknowledged.

use super::{Checker, Loss, word};
use crate::file::File;
use crate::trace::LINE;

const MAGIC: u64 = 0xdaff;
const SIZE: usize = 4 << 20;
const HEAD: usize = 4096;
const PAYLOAD: usize = 176;
/// Number, payload, sum.
const RECORD: usize = 8 + PAYLOAD + 8;
const RECORD_LINES: u64 = (RECORD / LINE) as u64;
const CAPACITY: u64 = ((SIZE - HEAD) / RECORD) as u64;

/// The log.
pub struct Log {
    acknowledged: u64,
    /// The number of the record that is whole at each place; 0: none is.
    numbers: Vec<u64>,
}

impl Log {
    /// An empty one.
    pub fn new(file: &File) -> Result<Self, String> {
        if file.size() < SIZE {
            return Err(format!(
                "a log has {SIZE} bytes, and the file {}",
                file.size()
            ));
        }
        Ok(Self {
            acknowledged: 0,
            numbers: vec![0; CAPACITY as usize],
        })
    }
}

/// FNV-1a of number and payload.
fn sum(number: u64, payload: &[u8]) -> u64 {
    payload
        .iter()
        .fold(1_469_598_103_934_665_603 ^ number, |sum, byte| {
            (sum ^ u64::from(*byte)).wrapping_mul(1_099_511_628_211)
        })
}

fn place_of(number: u64) -> u64 {
    (number - 1) % CAPACITY
}

fn first_line(place: u64) -> u64 {
    (HEAD / LINE) as u64 + place * RECORD_LINES
}

impl Checker for Log {
    fn changed(&mut self, file: &File, line: u64) {
        let Some(place) = line.checked_sub(first_line(0)) else {
            return;
        };
        let place = place / RECORD_LINES;
        if place >= CAPACITY {
            return;
        }
        let start = first_line(place) as usize * LINE;
        let record = &file.content()[start..start + RECORD];
        let number = word(record, 0);
        let is_whole = word(record, 8 + PAYLOAD) == sum(number, &record[8..8 + PAYLOAD]);
        self.numbers[place as usize] = if is_whole { number } else { 0 };
    }

    fn acknowledged(&mut self, _: &File, _: u32, number: u64) -> Result<(), String> {
        self.acknowledged = number;
        Ok(())
    }

    fn lines_of(&self, _: u32, number: u64) -> Vec<u64> {
        let first = first_line(place_of(number));
        std::iter::once(0)
            .chain(first..first + RECORD_LINES)
            .collect()
    }

    fn check(&mut self, file: &File) -> Result<(), Loss> {
        let head = |what: String| Loss {
            what,
            lines: vec![0],
        };
        if word(file.content(), 0) != MAGIC {
            return Err(head("the head is gone".to_owned()));
        }
        let counted = word(file.content(), 8);
        if counted < self.acknowledged {
            return Err(head(format!(
                "{} records were acknowledged, and the head counts {counted}",
                self.acknowledged
            )));
        }
        // At the place of the next one may be anything.
        let oldest = (counted + 2).saturating_sub(CAPACITY).max(1);
        let wrong: Vec<u64> = (oldest..=counted)
            .filter(|number| self.numbers[place_of(*number) as usize] != *number)
            .collect();
        let Some(first) = wrong.first() else {
            return Ok(());
        };
        Err(Loss {
            what: format!(
                "the head counts {counted} records, of which {} are not there, the first being {first} ({} acknowledged)",
                wrong.len(),
                self.acknowledged
            ),
            lines: wrong
                .iter()
                .flat_map(|number| {
                    let first = first_line(place_of(*number));
                    first..first + RECORD_LINES
                })
                .collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file::Layout;

    fn record(number: u64) -> Vec<u8> {
        let payload: Vec<u8> = (0..PAYLOAD as u64)
            .map(|i| (number.wrapping_mul(31).wrapping_add(i)) as u8)
            .collect();
        let mut record = number.to_le_bytes().to_vec();
        record.extend_from_slice(&payload);
        record.extend_from_slice(&sum(number, &payload).to_le_bytes());
        record
    }

    struct Scene {
        file: File,
        log: Log,
    }

    impl Scene {
        fn new() -> Self {
            let mut layout = Layout::default();
            layout.add((SIZE / 4096) as u32, 5, 0);
            let file = File::new(layout).expect("a file");
            let log = Log::new(&file).expect("a log");
            let mut scene = Self { file, log };
            scene.head(0);
            scene
        }

        fn line(&mut self, line: u64, content: &[u8]) {
            self.file.set_line(line, content);
            self.log.changed(&self.file, line);
        }

        fn head(&mut self, records: u64) {
            let mut head = [0; 64];
            head[..8].copy_from_slice(&MAGIC.to_le_bytes());
            head[8..16].copy_from_slice(&records.to_le_bytes());
            self.line(0, &head);
        }

        fn write(&mut self, number: u64) {
            for (line, content) in (first_line(place_of(number))..).zip(record(number).chunks(64)) {
                self.line(line, content);
            }
        }

        fn is_whole(&mut self) -> bool {
            self.log.check(&self.file).is_ok()
        }
    }

    #[test]
    fn a_record_that_is_not_counted_may_be_torn() {
        let mut scene = Scene::new();
        scene.write(1);
        scene.line(65, &[9; 64]);
        assert!(scene.is_whole());
        scene.head(1);
        assert!(!scene.is_whole());
        scene.write(1);
        assert!(scene.is_whole());
    }

    #[test]
    fn what_was_acknowledged_is_counted() {
        let mut scene = Scene::new();
        scene.write(1);
        scene.head(1);
        scene.log.acknowledged(&scene.file, 0, 2).expect("a number");
        let loss = scene.log.check(&scene.file).expect_err("one is lost");
        assert_eq!(loss.lines, [0]);
    }

    #[test]
    fn the_ring_goes_round() {
        let mut scene = Scene::new();
        for number in 1..=CAPACITY + 5 {
            scene.write(number);
        }
        scene.head(CAPACITY + 5);
        assert!(scene.is_whole());
        // The place of the next may hold anything, the one behind it not.
        scene.line(first_line(place_of(CAPACITY + 6)), &[1; 64]);
        assert!(scene.is_whole());
        scene.line(first_line(place_of(CAPACITY + 7)), &[1; 64]);
        assert!(!scene.is_whole());
    }

    #[test]
    fn lines_of_a_record() {
        let scene = Scene::new();
        assert_eq!(scene.log.lines_of(0, 2), [0, 67, 68, 69]);
    }
}
