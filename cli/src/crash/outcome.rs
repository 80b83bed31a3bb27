//! What a run came to: the documented JSON (docs/json.md), and what the text is made from.

use daxshim_core::check::journal::Moment;
use serde::Serialize;

use super::checker::Verdict;
use super::states::Side;
use crate::check::finding::Frame;
use crate::output;
use crate::run::outcome::Ended;

/// Version of the JSON document.
pub const SCHEMA: u32 = 1;

/// A run and its states.
#[derive(Serialize)]
pub struct Outcome {
    /// Changes when a field changes its meaning or goes.
    pub schema: u32,
    /// Version of daxshim.
    pub version: &'static str,
    /// The program and its arguments.
    pub command: Vec<String>,
    /// The checker's command line.
    pub verify: String,
    /// How the program ended.
    pub ended: Ended,
    /// The exit status of `daxshim crash`.
    pub exit_status: u8,
    /// What points and states were chosen by.
    pub seed: u64,
    /// What was written whole or not at all, bytes; where that differs, the largest.
    pub atomic: u64,
    /// States wanted of each file.
    pub states_wanted: usize,
    /// States that were verified.
    pub verified: usize,
    /// Of these, those that failed.
    pub failed: usize,
    /// The signal that ended verification early.
    pub interrupted: Option<i32>,
    /// Whether a sync may not have been seen: states may then be ones that could not have been.
    pub unseen_syncs: bool,
    /// Files that could not be watched.
    pub not_watched: u64,
    /// Files that were watched.
    pub files: Vec<File>,
    /// Failed states, by place.
    pub failures: Vec<Failure>,
}

/// A file that was watched.
#[derive(Serialize)]
pub struct File {
    /// Its path.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// Points that there were: syncs, answers and ends at which something was not durable.
    pub points: u64,
    /// Of these, those that states were built at.
    pub points_used: usize,
    /// States that were built.
    pub states: usize,
    /// Whether recording ended before the program did.
    pub ended_early: bool,
    /// What was written whole or not at all, bytes.
    pub atomic: u64,
    /// Syncs of it: calls of msync, or where there are none those of fsync and its like.
    pub syncs: u64,
    /// Of these, those that found nothing dirty: no state is built of them.
    pub idle_syncs: u64,
    /// Whether it may hold what an earlier run has left in it.
    pub used: bool,
}

/// Failed states of a place.
#[derive(Clone, Serialize)]
pub struct Failure {
    /// Its path.
    pub file: String,
    /// `msync`, `fsync`, `sync`, `drain`, `answer`, `end`.
    pub moment: &'static str,
    /// `start` or `end` of it.
    pub side: Side,
    /// What the sync makes durable, of the example; none where it is no sync.
    pub bytes: Option<(u64, u64)>,
    /// Process of the example.
    pub process: u32,
    /// Who called, innermost first.
    pub stack: Vec<Frame>,
    /// States at this place.
    pub states: usize,
    /// Of these, those that failed.
    pub failed: usize,
    /// One of them.
    pub example: Example,
}

/// A state that failed.
#[derive(Clone, Serialize)]
pub struct Example {
    /// Of the file's, from 1 on.
    pub state: usize,
    /// Its point, of the file's, from 1 on.
    pub point: u64,
    /// Lines that were not durable and are there as they were, or in part.
    pub written: u64,
    /// Of these, those that are there in part.
    pub torn: u64,
    /// Lines that were not durable and are not there.
    pub lost: u64,
    /// Where `written` are, bytes; the first ones.
    pub written_ranges: Vec<(u64, u64)>,
    /// Where `lost` are, bytes; the first ones.
    pub lost_ranges: Vec<(u64, u64)>,
    /// Lines that were not durable beyond those that were recorded; they are lost, too.
    pub left_out: u64,
    /// What the checker came to.
    pub checker: Verdict,
    /// The image, if it could be kept.
    pub image: Option<String>,
}

/// The word for a moment.
pub fn word(moment: Moment) -> &'static str {
    match moment {
        Moment::Mapped => "map",
        Moment::Msync => "msync",
        Moment::Fsync => "fsync",
        Moment::Sync => "sync",
        Moment::Acknowledged => "answer",
        Moment::Ended => "end",
        Moment::Drain => "drain",
    }
}

/// Ranges that hold a list of lines in ascending order; at most so many.
pub fn ranges(lines: impl Iterator<Item = u64>, most: usize) -> Vec<(u64, u64)> {
    const LINE: u64 = daxshim_core::check::lines::LINE as u64;
    let mut ranges: Vec<(u64, u64)> = Vec::new();
    for at in lines {
        let count = ranges.len();
        match ranges.last_mut() {
            Some((_, end)) if *end == at => *end = at + LINE,
            _ if count == most => break,
            _ => ranges.push((at, at + LINE)),
        }
    }
    ranges
}

impl Outcome {
    /// Whether there is something of the run that no state was built from.
    pub fn is_in_part(&self) -> bool {
        let ended_early = self.files.iter().any(|file| file.ended_early);
        ended_early || self.not_watched > 0 || self.unseen_syncs
    }

    /// The document.
    pub fn json(&self) -> String {
        output::document(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_touch_are_one_range() {
        let of = |lines: &[u64], most| ranges(lines.iter().copied(), most);
        assert_eq!(of(&[0, 64, 192, 256], 9), [(0, 128), (192, 320)]);
        assert_eq!(of(&[0, 64, 192, 256], 1), [(0, 128)]);
        assert_eq!(of(&[], 9), []);
    }
}
