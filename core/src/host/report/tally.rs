//! Counters of a process, or of several together.

use serde::{Serialize, Serializer};

use super::latency::{Buckets, Clock, Latency};
use crate::contract::Operation;
use crate::report::{Event, Kind, SyncCall, Unseen, Way};

/// What was refused, synced and mapped. Only what happened at least once has an entry.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Tally {
    /// Calls that the contract refuses, by operation.
    pub refusals: Vec<Refusal>,
    /// Sync calls on tagged files, by call and way.
    pub syncs: Vec<Sync>,
    /// Mappings of tagged files, by file and kind.
    pub mappings: Vec<Mapping>,
    /// Mappings that found no room in the report.
    pub mappings_left_out: u64,
    /// Things worth a warning.
    pub events: Vec<Counted>,
    /// Programs that were executed and run without the library.
    pub unseen: Vec<Execution>,
    /// Executions that found no room in the report.
    pub unseen_left_out: u64,
    /// Modules that make system calls of their own which are not all seen.
    pub modules: Vec<String>,
}

/// What became of the calls that attempt one operation.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Refusal {
    /// The operation.
    #[serde(serialize_with = "operation")]
    pub operation: Operation,
    /// Answered EPERM.
    pub refused: u64,
    /// Of these, what `DAXSHIM_COMPAT=1` would have let through.
    pub compat_would_allow: u64,
    /// Let through by `DAXSHIM_COMPAT=1`: truncate went on to the kernel, the others were answered 0.
    pub pretended: u64,
    /// Let through by `DAXSHIM_MODE=audit`; enforce would have refused.
    pub recorded: u64,
}

/// Calls of one kind carried out one way.
#[derive(Clone, Debug, Serialize)]
pub struct Sync {
    /// The system call.
    #[serde(serialize_with = "call")]
    pub call: SyncCall,
    /// How it was carried out.
    #[serde(serialize_with = "word")]
    pub way: Way,
    /// How often.
    pub calls: u64,
    /// Bytes asked for; 0 for fsync and fdatasync.
    pub bytes: u64,
    /// Cache lines written back.
    pub lines: u64,
    /// Calls that returned an error.
    pub errors: u64,
    /// Nanoseconds from entry to return.
    pub latency_ns: Option<Latency>,
    /// How many took how long.
    #[serde(skip)]
    pub buckets: Buckets,
}

/// Mappings of one file and kind.
#[derive(Clone, Debug, Serialize)]
pub struct Mapping {
    /// The path when first mapped.
    pub path: String,
    /// Whether msync on it may become a user flush, and why not.
    #[serde(serialize_with = "word")]
    pub kind: Kind,
    /// Whether msync on it may become a user flush.
    pub sync: bool,
    /// How often mapped.
    pub count: u64,
    /// Bytes of the largest mapping.
    pub largest: u64,
    /// Whether all of them begin where a 2 MiB page could.
    pub huge_aligned: bool,
    /// Device and inode, folded.
    #[serde(skip)]
    pub(super) file: u64,
}

/// An event and how often it happened.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Counted {
    /// The event.
    #[serde(serialize_with = "word")]
    pub event: Event,
    /// How often.
    pub count: u64,
}

/// Executions of a program that the library is not loaded into.
#[derive(Clone, Debug, Serialize)]
pub struct Execution {
    /// The program's file.
    pub program: String,
    /// Why the library is not in it.
    #[serde(serialize_with = "unseen")]
    pub reason: Unseen,
    /// How often.
    pub count: u64,
}

impl Tally {
    /// Adds what another process did. Latencies need [`Tally::finish`] afterwards.
    pub(super) fn add(&mut self, other: &Tally) {
        for refusal in &other.refusals {
            match self
                .refusals
                .iter_mut()
                .find(|known| known.operation == refusal.operation)
            {
                Some(known) => known.add(refusal),
                None => self.refusals.push(*refusal),
            }
        }
        for sync in &other.syncs {
            let same = |known: &&mut Sync| known.call == sync.call && known.way == sync.way;
            match self.syncs.iter_mut().find(same) {
                Some(known) => known.add(sync),
                None => self.syncs.push(sync.clone()),
            }
        }
        for mapping in &other.mappings {
            let same =
                |known: &&mut Mapping| known.file == mapping.file && known.kind == mapping.kind;
            match self.mappings.iter_mut().find(same) {
                Some(known) => known.add(mapping),
                None => self.mappings.push(mapping.clone()),
            }
        }
        self.mappings_left_out = self
            .mappings_left_out
            .saturating_add(other.mappings_left_out);
        for counted in &other.events {
            match self
                .events
                .iter_mut()
                .find(|known| known.event == counted.event)
            {
                Some(known) => known.count = known.count.saturating_add(counted.count),
                None => self.events.push(*counted),
            }
        }
        for execution in &other.unseen {
            let same = |known: &&mut Execution| {
                known.program == execution.program && known.reason == execution.reason
            };
            match self.unseen.iter_mut().find(same) {
                Some(known) => accumulate(&mut known.count, execution.count),
                None => self.unseen.push(execution.clone()),
            }
        }
        accumulate(&mut self.unseen_left_out, other.unseen_left_out);
        for module in &other.modules {
            if !self.modules.contains(module) {
                self.modules.push(module.clone());
            }
        }
    }

    /// Computes latencies and puts everything in table order.
    pub(super) fn finish(&mut self, clock: &Clock) {
        for sync in &mut self.syncs {
            sync.latency_ns = sync.buckets.latency(clock);
        }
        self.refusals.sort_by_key(|refusal| refusal.operation as u8);
        self.syncs
            .sort_by_key(|sync| (sync.call as u8, sync.way as u8));
        self.mappings
            .sort_by(|a, b| (&a.path, a.kind as u8).cmp(&(&b.path, b.kind as u8)));
        self.events.sort_by_key(|counted| counted.event as u8);
        self.unseen
            .sort_by(|a, b| (&a.program, a.reason).cmp(&(&b.program, b.reason)));
        self.modules.sort();
    }

    /// The sum of a counter of the sync calls that `which` picks.
    #[must_use]
    pub fn syncs_of(&self, which: impl Fn(&Sync) -> bool, counter: impl Fn(&Sync) -> u64) -> u64 {
        self.syncs
            .iter()
            .filter(|sync| which(sync))
            .fold(0, |sum, sync| sum.saturating_add(counter(sync)))
    }

    /// Whether no tagged file was touched.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.refusals.is_empty()
            && self.syncs.is_empty()
            && self.mappings.is_empty()
            && self.mappings_left_out == 0
            && self.events.is_empty()
    }

    /// How often an event happened.
    #[must_use]
    pub fn event(&self, event: Event) -> u64 {
        let found = self.events.iter().find(|counted| counted.event == event);
        found.map_or(0, |counted| counted.count)
    }
}

impl Refusal {
    fn add(&mut self, other: &Refusal) {
        accumulate(&mut self.refused, other.refused);
        accumulate(&mut self.compat_would_allow, other.compat_would_allow);
        accumulate(&mut self.pretended, other.pretended);
        accumulate(&mut self.recorded, other.recorded);
    }
}

impl Sync {
    fn add(&mut self, other: &Sync) {
        accumulate(&mut self.calls, other.calls);
        accumulate(&mut self.bytes, other.bytes);
        accumulate(&mut self.lines, other.lines);
        accumulate(&mut self.errors, other.errors);
        self.buckets.add(&other.buckets);
    }
}

impl Mapping {
    fn add(&mut self, other: &Mapping) {
        accumulate(&mut self.count, other.count);
        self.largest = self.largest.max(other.largest);
        self.huge_aligned &= other.huge_aligned;
    }
}

fn accumulate(sum: &mut u64, value: u64) {
    *sum = sum.saturating_add(value);
}

fn operation<S: Serializer>(operation: &Operation, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(operation.word())
}

fn call<S: Serializer>(call: &SyncCall, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(call.word())
}

fn unseen<S: Serializer>(unseen: &Unseen, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(unseen.words())
}

/// The name of a unit variant as documents have it: `NotGranted` is `not-granted`.
fn word<T: std::fmt::Debug, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    let mut word = String::new();
    for letter in format!("{value:?}").chars() {
        if letter.is_ascii_uppercase() && !word.is_empty() {
            word.push('-');
        }
        word.push(letter.to_ascii_lowercase());
    }
    serializer.serialize_str(&word)
}
