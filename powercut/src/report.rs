//! What came of a run, for people and for programs.

use std::collections::{BTreeMap, HashSet};
use std::fmt::Write;

use serde::Serialize;

use crate::blame::{Culprit, Treated};
use crate::options::Options;
use crate::trace::{Cause, End, Head};

/// A line that is lost.
#[derive(Debug, Serialize)]
pub struct LostLine {
    /// Of the file.
    pub line: u64,
    /// Of the device.
    pub device_line: u64,
    /// What it holds in this state.
    pub holds: String,
    /// What is durable of it.
    pub durable: String,
    /// Whether the power cut left something else there than is durable.
    pub written: bool,
    /// What the sync that acknowledged it had done with it.
    pub treated: String,
    /// Who lost it.
    pub culprit: Culprit,
}

/// A state in which something is lost.
#[derive(Debug, Serialize)]
pub struct Failure {
    /// Which crash point.
    pub point: u64,
    /// Which of its images.
    pub image: u64,
    /// What the crash point is before or behind.
    pub cause: Cause,
    /// What is lost.
    pub what: String,
    /// Undecided lines that were written back, and all of them.
    pub written: usize,
    /// See `written`.
    pub undecided: usize,
    /// Those lines.
    pub lines: Vec<LostLine>,
}

/// What came of a run.
#[derive(Debug, Serialize)]
pub struct Outcome {
    /// What was checked.
    pub workload: String,
    /// Number of the run in its guest.
    pub run: u64,
    /// Of the choice of crash points.
    pub run_seed: u64,
    /// Of the choice of what else was written back.
    pub seed: u64,
    /// Whether the workload came to its end, or the trace was full.
    pub ended: &'static str,
    /// Crash points, by what they are before or behind.
    pub points: BTreeMap<Cause, u64>,
    /// Acknowledgements.
    pub acknowledged: u64,
    /// States that were checked.
    pub states: u64,
    /// Of these, such that differ in the file or in what was acknowledged.
    pub distinct: u64,
    /// In which something was lost.
    pub lost: u64,
    /// Crash points with such a state.
    pub lost_points: u64,
    /// Those states, by who lost something in them: one may count for several.
    pub culprits: BTreeMap<Culprit, u64>,
    /// Lost lines, over all of those states, by what the sync had done with them.
    pub treated: BTreeMap<String, u64>,
    /// Acknowledgements of a single writer at which lines of the file were undecided.
    pub not_durable_at_acks: u64,
    /// Undecided lines over all crash points, and of the file.
    pub undecided: u64,
    /// See `undecided`.
    pub undecided_of_file: u64,
    /// Most of them at once.
    pub undecided_most: u64,
    /// Sync calls that reached the kernel, by number.
    pub kernel_calls: BTreeMap<u16, u64>,
    /// Locked entries that the kernel skipped.
    pub skipped: u64,
    /// Of these, such that no write-back held.
    pub skipped_for_faults: u64,
    /// Whole images that were written.
    pub exported: u64,
    /// The first ones.
    pub failures: Vec<Failure>,
}

impl Outcome {
    /// Of a run of which nothing is known yet.
    pub fn new(workload: &str, head: Head, ended: End, options: &Options) -> Self {
        Self {
            workload: workload.to_owned(),
            run: head.run,
            run_seed: head.seed,
            seed: options.seed,
            ended: match ended {
                End::Workload => "workload",
                End::Points => "points",
                End::Size => "size",
            },
            points: BTreeMap::new(),
            acknowledged: 0,
            states: 0,
            distinct: 0,
            lost: 0,
            lost_points: 0,
            culprits: BTreeMap::new(),
            treated: BTreeMap::new(),
            not_durable_at_acks: 0,
            undecided: 0,
            undecided_of_file: 0,
            undecided_most: 0,
            kernel_calls: BTreeMap::new(),
            skipped: 0,
            skipped_for_faults: 0,
            exported: 0,
            failures: Vec::new(),
        }
    }

    /// A crash point with so many undecided lines.
    pub fn point(&mut self, cause: Cause, undecided: u64, of_file: u64) {
        *self.points.entry(cause).or_default() += 1;
        self.undecided += undecided;
        self.undecided_of_file += of_file;
        self.undecided_most = self.undecided_most.max(undecided);
    }

    /// The lines that are lost in a state.
    pub fn blame(&mut self, treated: &[Treated], culprits: &HashSet<Culprit>) {
        for culprit in culprits {
            *self.culprits.entry(*culprit).or_default() += 1;
        }
        for one in treated {
            *self.treated.entry(one.to_string()).or_default() += 1;
        }
    }

    /// States in which something was lost that the kernel had not been asked to sync.
    pub fn not_the_kernels(&self) -> u64 {
        let of = |culprit| self.culprits.get(&culprit).copied().unwrap_or(0);
        of(Culprit::Flush)
            .max(of(Culprit::Nobody))
            .max(of(Culprit::Fence))
    }

    /// For people.
    pub fn text(&self) -> String {
        let points: u64 = self.points.values().sum();
        let mut text = format!(
            "{} states ({} distinct) at {points} crash points, {} acknowledgements: {} lost",
            self.states, self.distinct, self.acknowledged, self.lost
        );
        for (culprit, states) in &self.culprits {
            let by = match culprit {
                Culprit::Kernel => "in the kernel's hands",
                Culprit::Fence => "flushed by the kernel and not fenced",
                Culprit::Flush => "flushed by the process",
                Culprit::Nobody => "not synced",
            };
            let _ = write!(text, ", {states} of them {by}");
        }
        if self.not_durable_at_acks > 0 {
            let _ = write!(
                text,
                "; at {} acknowledgements lines were not durable",
                self.not_durable_at_acks
            );
        }
        for failure in &self.failures {
            let _ = write!(
                text,
                "\n  point {} ({:?}), image {}: {}",
                failure.point, failure.cause, failure.image, failure.what
            );
            for line in failure.lines.iter().take(1) {
                let _ = write!(text, "\n    line {}: {}", line.line, line.treated);
            }
        }
        text
    }
}
