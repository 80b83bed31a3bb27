//! The slots of scripts/powercut.d/workloads/slots.h: many writers, each with lines of its own. A line holds what the
//! last acknowledged transaction that writes it wrote, or, where the writer's next one writes it too, anything.

use super::{Checker, Loss, word};
use crate::file::File;
use crate::trace::LINE;

/// Most lines that a transaction writes.
const MOST: u64 = 2048;

fn mix(mut x: u64) -> u64 {
    x ^= x >> 30;
    x = x.wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x ^= x >> 27;
    x = x.wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ x >> 31
}

/// A sequence of numbers: splitmix64.
struct Sequence(u64);

impl Sequence {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0) % end
    }
}

/// What a line holds when a transaction has written it.
fn content(number: u64, writer: u64, line: u64) -> [u8; LINE] {
    let mut hash = mix(number
        .wrapping_mul(1_000_003)
        .wrapping_add(writer * 65_537)
        .wrapping_add(line));
    let mut words = [number, writer, line, 0, 0, 0, 0, 0];
    for (i, word) in (0..).zip(&mut words[3..7]) {
        hash = mix(hash.wrapping_add(i));
        *word = hash;
    }
    words[7] = mix(number ^ hash ^ line << 20 ^ writer << 50);
    let mut bytes = [0; LINE];
    for (to, word) in bytes.chunks_exact_mut(8).zip(words) {
        to.copy_from_slice(&word.to_le_bytes());
    }
    bytes
}

/// Which line belongs to whom.
struct Layout {
    lines: u64,
    writers: u64,
    interleaved: bool,
}

impl Layout {
    fn slots(&self) -> u64 {
        self.lines / self.writers
    }

    fn line(&self, writer: u64, slot: u64) -> u64 {
        if self.interleaved {
            slot * self.writers + writer
        } else {
            writer * self.slots() + slot
        }
    }

    /// Writer and slot.
    fn owner(&self, line: u64) -> Option<(u64, u64)> {
        let (writer, slot) = if self.interleaved {
            (line % self.writers, line / self.writers)
        } else {
            (line / self.slots(), line % self.slots())
        };
        (writer < self.writers && slot < self.slots()).then_some((writer, slot))
    }

    /// The slots that a transaction writes; one may come twice.
    fn transaction(&self, writer: u64, number: u64) -> Vec<u64> {
        let slots = self.slots();
        let mut sequence = Sequence(mix(writer.wrapping_mul(7919).wrapping_add(number)));
        let mut count = match sequence.below(100) {
            ..60 => 1,
            60..85 => 2 + sequence.below(15),
            85..97 => 17 + sequence.below(180),
            _ => 200 + sequence.below(MOST - 200),
        };
        let together = sequence.below(2) == 1;
        let window = if together {
            count
        } else {
            64 << sequence.below(8)
        };
        let window = window.min(slots);
        count = count.min(slots);
        let first = sequence.below(slots - window + 1);
        (0..count)
            .map(|i| {
                first
                    + if together {
                        i % window
                    } else {
                        sequence.below(window)
                    }
            })
            .collect()
    }
}

/// All writers' slots.
pub struct Slots {
    layout: Layout,
    /// Per writer: its last acknowledged transaction.
    acknowledged: Vec<u64>,
    /// Per line: the last acknowledged transaction that writes it, and the next one's number where that does.
    holds: Vec<u64>,
    next: Vec<u64>,
    is_wrong: Vec<bool>,
    wrong: usize,
}

impl Slots {
    /// All of them zero.
    pub fn new(file: &File, writers: &str, interleaved: bool) -> Result<Self, String> {
        let lines = (file.size() / LINE) as u64;
        let writers: u64 = writers
            .parse()
            .map_err(|_| format!("'{writers}' writers"))?;
        if writers == 0 || writers > 256 || lines / writers == 0 {
            return Err(format!("{writers} writers in {lines} lines"));
        }
        let mut slots = Self {
            layout: Layout {
                lines,
                writers,
                interleaved,
            },
            acknowledged: vec![0; writers as usize],
            holds: vec![0; lines as usize],
            next: vec![0; lines as usize],
            is_wrong: vec![false; lines as usize],
            wrong: 0,
        };
        for writer in 0..writers {
            slots.expect_next(file, writer);
        }
        Ok(slots)
    }

    fn expect_next(&mut self, file: &File, writer: u64) {
        let number = self.acknowledged[writer as usize] + 1;
        for slot in self.layout.transaction(writer, number) {
            let line = self.layout.line(writer, slot);
            self.next[line as usize] = number;
            self.changed(file, line);
        }
    }

    fn is_right(&self, file: &File, line: u64, writer: u64) -> bool {
        let place = line as usize;
        if self.next[place] == self.acknowledged[writer as usize] + 1 {
            return true;
        }
        match self.holds[place] {
            0 => file.line(line).iter().all(|byte| *byte == 0),
            number => file.line(line) == content(number, writer, line),
        }
    }
}

impl Checker for Slots {
    fn changed(&mut self, file: &File, line: u64) {
        let Some((writer, _)) = self.layout.owner(line) else {
            return;
        };
        let is_wrong = !self.is_right(file, line, writer);
        let was_wrong = std::mem::replace(&mut self.is_wrong[line as usize], is_wrong);
        self.wrong = self.wrong + usize::from(is_wrong) - usize::from(was_wrong);
    }

    fn acknowledged(&mut self, file: &File, writer: u32, number: u64) -> Result<(), String> {
        let writer = u64::from(writer);
        let last = self
            .acknowledged
            .get_mut(writer as usize)
            .ok_or_else(|| format!("there is no writer {writer}"))?;
        if number != *last + 1 {
            return Err(format!(
                "writer {writer} acknowledges {number} behind {last}"
            ));
        }
        *last = number;
        let written = self.layout.transaction(writer, number);
        for slot in &written {
            self.holds[self.layout.line(writer, *slot) as usize] = number;
        }
        for slot in &written {
            self.changed(file, self.layout.line(writer, *slot));
        }
        self.expect_next(file, writer);
        Ok(())
    }

    fn lines_of(&self, writer: u32, number: u64) -> Vec<u64> {
        let writer = u64::from(writer);
        let slots = self.layout.transaction(writer, number).into_iter();
        slots.map(|slot| self.layout.line(writer, slot)).collect()
    }

    fn check(&mut self, file: &File) -> Result<(), Loss> {
        if self.wrong == 0 {
            return Ok(());
        }
        let lines: Vec<u64> = (0..self.layout.lines)
            .filter(|line| self.is_wrong[*line as usize])
            .collect();
        let first = lines.first().copied().unwrap_or_default();
        let writer = self.layout.owner(first).map_or(0, |(writer, _)| writer);
        Err(Loss {
            what: format!(
                "{} lines are wrong, the first being line {first} of writer {writer}: it holds transaction {}, and {} was acknowledged there (the writer's last: {})",
                lines.len(),
                word(file.line(first), 0),
                self.holds[first as usize],
                self.acknowledged[writer as usize],
            ),
            lines,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file;

    fn scene(interleaved: bool) -> (File, Slots) {
        let mut layout = file::Layout::default();
        layout.add(64, 9, 0);
        let file = File::new(layout).expect("a file");
        let slots = Slots::new(&file, "2", interleaved).expect("slots");
        (file, slots)
    }

    fn write(file: &mut File, slots: &mut Slots, writer: u32, number: u64) -> Vec<u64> {
        let lines = slots.lines_of(writer, number);
        for line in &lines {
            file.set_line(*line, &content(number, writer.into(), *line));
            slots.changed(file, *line);
        }
        lines
    }

    /// scripts/powercut.d/workloads/slots.h, asked for the same: gcc -D SLOTS_PRINT slots.h prints these.
    #[test]
    fn transactions_are_those_of_the_workload() {
        let layout = Layout {
            lines: 4096,
            writers: 2,
            interleaved: false,
        };
        let first: Vec<_> = (1..=6)
            .map(|number| layout.transaction(1, number))
            .collect();
        let told: Vec<_> = first.iter().map(|slots| (slots.len(), slots[0])).collect();
        assert_eq!(told, VECTORS);
        assert_eq!(word(&content(5, 1, 77), 56), SUM);
    }

    include!("slots_vectors.rs");

    #[test]
    fn what_is_acknowledged_must_be_there() {
        for interleaved in [false, true] {
            let (mut file, mut slots) = scene(interleaved);
            for number in 1..50 {
                write(&mut file, &mut slots, 1, number);
                assert_eq!(slots.check(&file), Ok(()), "{number} is under way");
                slots.acknowledged(&file, 1, number).expect("the next");
                assert_eq!(slots.check(&file), Ok(()), "{number} is there");
            }
            assert!(slots.acknowledged(&file, 1, 51).is_err());
        }
    }

    #[test]
    fn a_lost_line_is_named() {
        let (mut file, mut slots) = scene(false);
        let lines = write(&mut file, &mut slots, 0, 1);
        slots.acknowledged(&file, 0, 1).expect("the first");
        // Not one that the next transaction writes.
        let next = slots.lines_of(0, 2);
        let line = *lines
            .iter()
            .find(|line| !next.contains(line))
            .expect("a line");
        file.set_line(line, &[0; 64]);
        slots.changed(&file, line);
        assert_eq!(slots.check(&file).expect_err("lost").lines, [line]);
    }

    #[test]
    fn a_line_that_nobody_wrote_is_zero() {
        let (mut file, mut slots) = scene(false);
        let under_way = slots.lines_of(0, 1);
        let line = (0..100)
            .find(|line| !under_way.contains(line))
            .expect("a line");
        file.set_line(line, &content(9, 0, line));
        slots.changed(&file, line);
        assert!(slots.check(&file).is_err());
    }
}
