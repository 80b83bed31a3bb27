//! Who was responsible for a line that is lost: how the sync that acknowledged it had treated it.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use crate::file::File;
use crate::trace::{Event, PAGE_LINES, Step};

/// Pages of a huge entry.
const HUGE: u64 = 512;

/// What became of a line in the sync that acknowledged it. More than one may hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Treated(u8);

impl Treated {
    /// Flushed by the program, or by the library in its name.
    pub const BY_PROGRAM: Self = Self(1);
    /// In the range of a sync call that reached the kernel.
    pub const IN_CALL: Self = Self(2);
    /// Flushed by the kernel.
    pub const BY_KERNEL: Self = Self(4);
    /// In an entry that the kernel met locked, by another write-back, and skipped.
    pub const SKIPPED: Self = Self(8);
    /// In an entry that another thread's write-back had in its hands when it was acknowledged.
    pub const UNDER_ANOTHER: Self = Self(16);
    /// In an entry that the kernel met locked, by no write-back (so by a page fault), and skipped.
    pub const SKIPPED_FOR_FAULT: Self = Self(32);

    const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Who lost it.
    pub fn culprit(self) -> Culprit {
        let passed_over = Self::SKIPPED
            .with(Self::UNDER_ANOTHER)
            .with(Self::SKIPPED_FOR_FAULT);
        if self.has(Self::BY_KERNEL) && !self.has(passed_over) {
            Culprit::Fence
        } else if self.has(Self::IN_CALL) {
            Culprit::Kernel
        } else if self.has(Self::BY_PROGRAM) {
            Culprit::Flush
        } else {
            Culprit::Nobody
        }
    }
}

impl fmt::Display for Treated {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        const NAMES: [(Treated, &str); 6] = [
            (Treated::BY_PROGRAM, "flushed by the process"),
            (Treated::IN_CALL, "given to the kernel"),
            (Treated::BY_KERNEL, "flushed by the kernel"),
            (
                Treated::SKIPPED,
                "skipped by the kernel (another sync had it)",
            ),
            (
                Treated::UNDER_ANOTHER,
                "in another sync's hands when acknowledged",
            ),
            (
                Treated::SKIPPED_FOR_FAULT,
                "skipped by the kernel (a page fault had it)",
            ),
        ];
        let names: Vec<_> = NAMES
            .iter()
            .filter(|(bit, _)| self.has(*bit))
            .map(|(_, name)| *name)
            .collect();
        if names.is_empty() {
            formatter.write_str("neither flushed nor given to the kernel")
        } else {
            formatter.write_str(&names.join(", "))
        }
    }
}

/// Who lost a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Culprit {
    /// The kernel was asked to sync it, and passed it over.
    Kernel,
    /// The kernel flushed it, and nobody fenced: sync_file_range leaves that to whom relies on it.
    Fence,
    /// The process flushed it by itself, and it is lost.
    Flush,
    /// It was acknowledged without having been synced at all.
    Nobody,
}

/// Which lines were treated how, first and last.
type Ranges = Vec<(Treated, u64, u64)>;

/// Takes note of who did what to which line.
#[derive(Default)]
pub struct Blame {
    /// Since a writer's transaction began.
    syncs: BTreeMap<u32, Ranges>,
    /// Entries that a write-back holds: first and last line, and whose it is.
    held: Vec<(u64, u64, Option<u32>)>,
    /// How the sync that acknowledged a line last had treated it.
    of_line: Vec<Treated>,
    /// Sync calls that reached the kernel, by number.
    calls: BTreeMap<u16, u64>,
    skipped: u64,
    skipped_for_faults: u64,
}

fn entry(page: u32, huge: bool) -> (u64, u64) {
    let page = u64::from(page);
    let (first, pages) = if huge {
        (page / HUGE * HUGE, HUGE)
    } else {
        (page, 1)
    };
    (first * PAGE_LINES, (first + pages) * PAGE_LINES - 1)
}

impl Blame {
    /// Takes note of an event.
    pub fn apply(&mut self, event: &Event<'_>, file: &File) {
        match *event {
            Event::Transaction { writer, .. } => self.of(writer).clear(),
            Event::Call {
                writer,
                number,
                first,
                pages,
            } => {
                *self.calls.entry(number).or_default() += 1;
                if let Some(first) = first {
                    let first = u64::from(first) * PAGE_LINES;
                    let last = pages.map_or(u64::MAX, |pages| {
                        (first + u64::from(pages) * PAGE_LINES).saturating_sub(1)
                    });
                    self.of(writer).push((Treated::IN_CALL, first, last));
                }
            }
            Event::Lines {
                writer,
                by_kernel,
                first,
                last,
            } => {
                let treated = if by_kernel {
                    Treated::BY_KERNEL
                } else {
                    Treated::BY_PROGRAM
                };
                let pieces = file.lines_within(first, last);
                self.of(writer)
                    .extend(pieces.iter().map(|(first, last)| (treated, *first, *last)));
            }
            Event::Kernel {
                writer,
                step,
                huge,
                page,
            } => self.step(writer, step, entry(page, huge)),
            _ => {}
        }
    }

    fn of(&mut self, writer: u32) -> &mut Ranges {
        self.syncs.entry(writer).or_default()
    }

    fn step(&mut self, writer: Option<u32>, step: Step, (first, last): (u64, u64)) {
        let is_held = self.held.iter().position(|held| held.0 == first);
        match step {
            Step::Locked => self.held.push((first, last, writer)),
            Step::Flushed => {
                is_held.map(|place| self.held.swap_remove(place));
            }
            Step::Skipped => {
                let treated = if is_held.is_some() {
                    Treated::SKIPPED
                } else {
                    self.skipped_for_faults += 1;
                    Treated::SKIPPED_FOR_FAULT
                };
                self.skipped += 1;
                if let Some(writer) = writer {
                    self.of(writer).push((treated, first, last));
                }
            }
            Step::Tags | Step::Flushes | Step::Meets | Step::Waited => {}
        }
    }

    /// The writer has acknowledged these lines.
    pub fn acknowledged(&mut self, writer: u32, lines: &[u64]) {
        let ranges = self.syncs.get(&writer).map_or(&[][..], Vec::as_slice);
        let within = |line: u64, first: u64, last: u64| (first..=last).contains(&line);
        for &line in lines {
            let mut treated = Treated::default();
            for (how, first, last) in ranges {
                if within(line, *first, *last) {
                    treated = treated.with(*how);
                }
            }
            for (first, last, holder) in &self.held {
                if within(line, *first, *last) && *holder != Some(writer) {
                    treated = treated.with(Treated::UNDER_ANOTHER);
                }
            }
            let place = line as usize;
            if place >= self.of_line.len() {
                self.of_line.resize(place + 1, Treated::default());
            }
            self.of_line[place] = treated;
        }
    }

    /// How the sync that acknowledged the line last had treated it.
    pub fn line(&self, line: u64) -> Treated {
        self.of_line.get(line as usize).copied().unwrap_or_default()
    }

    /// Sync calls that reached the kernel, by number.
    pub fn calls(&self) -> &BTreeMap<u16, u64> {
        &self.calls
    }

    /// Locked entries that the kernel took for gone, and how many of these no write-back held.
    pub fn skipped(&self) -> (u64, u64) {
        (self.skipped, self.skipped_for_faults)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file::Layout;
    use crate::trace::hand::Hand;

    /// A file of four pages at page 10 of the device.
    fn blame(hand: Hand) -> Blame {
        let mut layout = Layout::default();
        layout.add(4, 10, 0);
        let file = File::new(layout).expect("a file");
        let mut blame = Blame::default();
        let trace = hand.end();
        for event in trace.events() {
            let event = event.expect("event");
            blame.apply(&event, &file);
            if let Event::Ack { writer, .. } = event {
                blame.acknowledged(writer, &[70]);
            }
        }
        blame
    }

    fn treated(hand: Hand) -> Treated {
        blame(hand.ack(0, 1)).line(70)
    }

    fn begun() -> Hand {
        Hand::new(64).transaction(0, 1, 'p')
    }

    const LOCKED: u16 = 2;
    const FLUSHED: u16 = 4;
    const SKIPPED: u16 = 7;

    #[test]
    fn nobody() {
        let treated = treated(begun());
        assert_eq!(treated, Treated::default());
        assert_eq!(treated.culprit(), Culprit::Nobody);
    }

    #[test]
    fn the_process() {
        let treated = treated(begun().lines(0, false, 10 * 64, 12 * 64));
        assert_eq!(treated, Treated::BY_PROGRAM);
        assert_eq!(treated.culprit(), Culprit::Flush);
    }

    #[test]
    fn another_writers_flush_is_not_ones_own() {
        assert_eq!(
            treated(begun().lines(1, false, 10 * 64, 12 * 64)),
            Treated::default()
        );
    }

    #[test]
    fn an_earlier_transactions_flush_is_not_this_ones() {
        let hand = Hand::new(64)
            .transaction(0, 1, 'p')
            .lines(0, false, 640, 768);
        assert_eq!(treated(hand.transaction(0, 2, 'p')), Treated::default());
    }

    #[test]
    fn the_kernel_flushed_it() {
        let treated = treated(begun().call(0, 1, 1).lines(0, true, 11 * 64, 11 * 64 + 63));
        assert_eq!(treated, Treated::IN_CALL.with(Treated::BY_KERNEL));
        assert_eq!(treated.culprit(), Culprit::Fence);
    }

    #[test]
    fn a_call_on_another_page_is_none() {
        assert_eq!(treated(begun().call(0, 2, 1)), Treated::default());
        assert_eq!(treated(begun().call(0, 0, 0xffff_ffff)), Treated::IN_CALL);
        assert_eq!(treated(begun().call(0, 0xffff_ffff, 5)), Treated::default());
    }

    #[test]
    fn skipped_while_another_sync_had_it() {
        let hand = begun()
            .kernel(1, LOCKED, 1)
            .call(0, 1, 1)
            .kernel(0, SKIPPED, 1);
        let expected = Treated::IN_CALL
            .with(Treated::SKIPPED)
            .with(Treated::UNDER_ANOTHER);
        let treated = treated(hand);
        assert_eq!(treated, expected);
        assert_eq!(treated.culprit(), Culprit::Kernel);
    }

    #[test]
    fn skipped_while_a_fault_had_it() {
        let hand = begun().kernel(1, LOCKED, 1).kernel(1, FLUSHED, 1);
        let skipped = blame(hand.call(0, 1, 1).kernel(0, SKIPPED, 1).ack(0, 1));
        assert_eq!(
            skipped.line(70),
            Treated::IN_CALL.with(Treated::SKIPPED_FOR_FAULT)
        );
        assert_eq!(skipped.skipped(), (1, 1));
    }

    #[test]
    fn a_huge_entry_is_all_of_its_pages() {
        let hand = begun().kernel(1, LOCKED | 0x100, 300).call(0, 1, 1);
        assert_eq!(treated(hand), Treated::IN_CALL.with(Treated::UNDER_ANOTHER));
    }
}
