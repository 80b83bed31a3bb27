//! Goes through a trace, and at each crash point through some of the states that a power cut may leave there.

use std::collections::HashSet;
use std::path::Path;

use crate::blame::{Blame, Culprit, Treated};
use crate::checkers::{self, Checker};
use crate::choose::{Written, choose};
use crate::durable::{Change, Device, Undecided};
use crate::export;
use crate::file::{File, Layout};
use crate::options::Options;
use crate::report::{Failure, LostLine, Outcome};
use crate::trace::{Cause, Content, End, Event, Trace};

/// Lines of a failure that are told.
const TOLD_LINES: usize = 64;

struct Replay<'a> {
    options: &'a Options,
    device: Device,
    file: File,
    checker: Box<dyn Checker>,
    blame: Blame,
    outcome: Outcome,
    seen: HashSet<u64>,
    /// Of the crash points, for the choice of those that are exported.
    expected_points: u64,
}

/// Replays a trace. An error: it cannot be done, or the trace is wrong.
pub fn replay(trace: &Trace, options: &Options) -> Result<Outcome, String> {
    let mut layout = Layout::default();
    let mut points = 0;
    let mut last = Ok(End::Workload);
    for event in trace.events() {
        match event {
            Ok(Event::Extent {
                pages,
                device_page,
                file_page,
            }) => layout.add(pages, device_page, file_page),
            Ok(Event::Point { .. }) => points += 1,
            Ok(Event::End { how, .. }) => last = Ok(how),
            Ok(_) => {}
            Err(why) => last = Err(why),
        }
    }
    let ended = last?;
    if layout.is_empty() {
        return Err("it does not say where the file lies".to_owned());
    }
    let file = File::new(layout).map_err(|error| format!("no memory for the file: {error}"))?;
    let checker = checkers::by_name(&options.workload, &file)?;
    let mut replay = Replay {
        options,
        device: Device::new(trace.head().size),
        file,
        checker,
        blame: Blame::default(),
        outcome: Outcome::new(&options.workload, trace.head(), ended, options),
        seen: HashSet::new(),
        expected_points: points.min(options.states / options.images.max(1)),
    };
    replay.run(trace)?;
    let (skipped, for_faults) = replay.blame.skipped();
    replay.outcome.kernel_calls = replay.blame.calls().clone();
    replay.outcome.skipped = skipped;
    replay.outcome.skipped_for_faults = for_faults;
    replay.outcome.distinct = replay.seen.len() as u64;
    Ok(replay.outcome)
}

impl Replay<'_> {
    fn run(&mut self, trace: &Trace) -> Result<(), String> {
        let mut changes: Vec<Change> = Vec::new();
        let mut events = trace.events();
        let mut point = 0;
        loop {
            let position = events.position();
            let Some(event) = events.next() else {
                return Ok(());
            };
            let event = event?;
            changes.clear();
            self.device
                .apply(&event, &mut changes)
                .map_err(|why| format!("at byte {position}: {why}"))?;
            for change in &changes {
                if let Some(line) = self.file.line_at(change.line) {
                    let content = self.device.durable_line(change.line);
                    self.file.set_line(line, content);
                    self.checker.changed(&self.file, line);
                }
            }
            self.blame.apply(&event, &self.file);
            match event {
                Event::Ack { writer, number } => {
                    let lines = self.checker.lines_of(writer, number);
                    self.checker.acknowledged(&self.file, writer, number)?;
                    self.blame.acknowledged(writer, &lines);
                    self.outcome.acknowledged += 1;
                }
                Event::Point { cause } => {
                    let last = self.options.only.is_some_and(|(only, _)| point >= only);
                    if self.options.only.is_none_or(|(only, _)| point == only) {
                        self.crash(point, cause)?;
                    }
                    point += 1;
                    if last || self.is_enough() {
                        return Ok(());
                    }
                }
                _ => {}
            }
        }
    }

    fn is_enough(&self) -> bool {
        self.outcome.lost >= self.options.stop || self.outcome.states >= self.options.states
    }

    fn crash(&mut self, point: u64, cause: Cause) -> Result<(), String> {
        let undecided = self.device.undecided();
        let of_file = undecided
            .iter()
            .filter(|one| self.file.line_at(one.line).is_some())
            .count();
        self.outcome
            .point(cause, undecided.len() as u64, of_file as u64);
        if self.options.strict && cause == Cause::Ack && of_file > 0 {
            self.outcome.not_durable_at_acks += 1;
        }
        let mut was_lost = false;
        for image in 0..self.options.images {
            if self.options.only.is_some_and(|(_, only)| image != only) {
                continue;
            }
            if image > 0 && undecided.is_empty() {
                break;
            }
            if !self.checker.is_checked(cause, image) {
                continue;
            }
            was_lost |= self.state(point, cause, image, &undecided)?;
        }
        self.outcome.lost_points += u64::from(was_lost);
        Ok(())
    }

    /// One state. Whether something is lost in it.
    fn state(
        &mut self,
        point: u64,
        cause: Cause,
        image: u64,
        undecided: &[Undecided],
    ) -> Result<bool, String> {
        let durable = |line| Content::try_from(self.device.durable_line(line)).unwrap_or([0; 64]);
        let written = choose(
            undecided,
            durable,
            self.options.seed,
            point,
            image,
            self.options.atomic,
        );
        self.put(&written, |written| written.content);
        self.outcome.states += 1;
        self.seen.insert(
            self.file.digest()
                ^ self
                    .outcome
                    .acknowledged
                    .wrapping_mul(0x2545_f491_4f6c_dd1d),
        );
        let checked = self.checker.check(&self.file);
        let failure = checked.err().map(|loss| {
            self.outcome.lost += 1;
            let treated: Vec<Treated> = loss
                .lines
                .iter()
                .map(|line| self.blame.line(*line))
                .collect();
            let culprits: HashSet<Culprit> =
                treated.iter().map(|treated| treated.culprit()).collect();
            self.outcome.blame(&treated, &culprits);
            let told = loss.lines.iter().take(TOLD_LINES);
            let lines = told
                .map(|line| self.lost_line(*line, &written))
                .collect::<Vec<_>>();
            Failure {
                point,
                image,
                cause,
                what: loss.what,
                written: written.len(),
                undecided: undecided.len(),
                lines,
            }
        });
        let result = self.export(point, image, &written);
        // Back to what is durable.
        let device = &self.device;
        for written in &written {
            if let Some(line) = self.file.line_at(written.line) {
                self.file.set_line(line, device.durable_line(written.line));
                self.checker.changed(&self.file, line);
            }
        }
        result?;
        let is_lost = failure.is_some();
        if let Some(failure) = failure
            && self.outcome.failures.len() < self.options.show
        {
            self.outcome.failures.push(failure);
        }
        Ok(is_lost)
    }

    fn put(&mut self, all: &[Written], content: impl Fn(&Written) -> Content) {
        for written in all {
            if let Some(line) = self.file.line_at(written.line) {
                self.file.set_line(line, &content(written));
                self.checker.changed(&self.file, line);
            }
        }
    }

    fn lost_line(&self, line: u64, written: &[Written]) -> LostLine {
        let device_line = self.file.device_line(line).unwrap_or_default();
        let durable = self.device.durable_line(device_line as u32);
        LostLine {
            line,
            device_line,
            holds: hex(self.file.line(line)),
            durable: hex(durable),
            written: written.iter().any(|one| u64::from(one.line) == device_line),
            treated: self.blame.line(line).to_string(),
            culprit: self.blame.line(line).culprit(),
        }
    }

    fn export(&mut self, point: u64, image: u64, written: &[Written]) -> Result<(), String> {
        let Some((directory, count)) = &self.options.export else {
            return Ok(());
        };
        // Evenly over the crash points, each of another kind of image, as soon as there is one.
        let done = self.outcome.exported;
        let due = self.expected_points * (2 * done + 1) / (2 * (*count).max(1));
        let is_wanted = self.options.only.is_some()
            || (done < *count
                && point >= due
                && image == (self.options.seed + self.outcome.run + done) % self.options.images);
        if !is_wanted {
            return Ok(());
        }
        let stem: &Path = &directory.join(format!("point-{point}-image-{image}"));
        export::image(stem, self.device.durable(), written, self.file.content())
            .map_err(|error| format!("cannot write {}.image: {error}", stem.display()))?;
        self.outcome.exported += 1;
        Ok(())
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::hand::Hand;

    fn options() -> Options {
        Options {
            workload: "race".to_owned(),
            images: 4,
            seed: 1,
            atomic: 1,
            stop: u64::MAX,
            states: u64::MAX,
            strict: false,
            only: None,
            show: 5,
            export: None,
        }
    }

    /// A file of 2 MiB at page 10; its first line is the first writer's.
    fn begun() -> Hand {
        Hand::new(1024).extent(512, 10, 0).transaction(0, 1, 'm')
    }

    fn counter(value: u8) -> [u8; 64] {
        let mut content = [0; 64];
        content[0] = value;
        content
    }

    const LINE_OF_FILE: u32 = 10 * 64;
    const BEHIND_ACK: u16 = 2;

    fn flushed(hand: Hand, value: u8) -> Hand {
        hand.record(2, 0, 0, LINE_OF_FILE, 1 << 24, &counter(value))
    }

    #[test]
    fn what_was_flushed_and_fenced_is_there() {
        let hand = flushed(begun().stored_content(LINE_OF_FILE, &counter(1)), 1);
        let trace = hand.fence(0, 1).ack(0, 1).point(BEHIND_ACK).end();
        let outcome = replay(&trace, &options()).expect("a sound trace");
        assert_eq!(
            (outcome.lost, outcome.states, outcome.acknowledged),
            (0, 1, 1)
        );
    }

    #[test]
    fn what_was_not_fenced_is_lost_where_it_was_not_written_back() {
        let hand = begun().lines(0, false, LINE_OF_FILE.into(), LINE_OF_FILE.into());
        let hand = flushed(hand.stored_content(LINE_OF_FILE, &counter(1)), 1);
        let trace = hand.ack(0, 1).point(BEHIND_ACK).end();
        let outcome = replay(&trace, &options()).expect("a sound trace");
        assert!(outcome.lost >= 1 && outcome.lost < outcome.states);
        let failure = &outcome.failures[0];
        assert_eq!((failure.point, failure.image), (0, 0));
        assert_eq!(failure.lines[0].culprit, Culprit::Flush);
        assert_eq!(outcome.culprits[&Culprit::Flush], outcome.lost);
    }

    #[test]
    fn one_state_is_made_again() {
        let hand = begun().stored_content(LINE_OF_FILE, &counter(1));
        let trace = hand
            .point(1)
            .ack(0, 1)
            .point(BEHIND_ACK)
            .point(BEHIND_ACK)
            .end();
        let only = Options {
            only: Some((2, 0)),
            ..options()
        };
        let outcome = replay(&trace, &only).expect("a sound trace");
        assert_eq!((outcome.states, outcome.lost), (1, 1));
        assert_eq!(outcome.failures[0].point, 2);
    }

    #[test]
    fn strict_minds_what_is_not_durable_whatever_it_means() {
        let other_line = LINE_OF_FILE + 5;
        let trace = begun().stored(other_line, 3).point(BEHIND_ACK).end();
        let strict = Options {
            strict: true,
            ..options()
        };
        let outcome = replay(&trace, &strict).expect("a sound trace");
        assert_eq!((outcome.lost, outcome.not_durable_at_acks), (0, 1));
    }

    #[test]
    fn traces_that_are_wrong() {
        let why = |trace: &Trace| replay(trace, &options()).expect_err("an error");
        assert!(why(&Hand::new(4).end()).contains("where the file lies"));
        let cut = Trace::new(begun().ack(0, 1).bytes()).expect("a head");
        assert!(why(&cut).contains("cut short"));
        let trace = begun().fence(0, 3).end();
        assert!(why(&trace).contains("makes 3 lines durable"));
        let trace = begun().ack(7, 1).end();
        assert!(why(&trace).contains("no writer 7"));
    }
}
