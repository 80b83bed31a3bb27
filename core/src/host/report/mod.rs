//! Reading what the library counted: report pages, one file per program image, and their sum.
//!
//! Nothing in a page is believed that is not checked: it was written by somebody else's process,
//! and perhaps by another version, or not to its end.

mod latency;
mod snapshot;
mod tally;

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;

pub use latency::{Bar, Buckets, Clock, Latency};
pub use tally::{Counted, Execution, Mapping, Refusal, Sync, Tally};

use crate::report::FILE_PREFIX;
use snapshot::Snapshot;

/// What all processes of a run did.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// A process and program image each, by process ID and age.
    pub programs: Vec<Program>,
    /// The sum.
    pub total: Tally,
    /// Files that could not be read.
    pub unreadable: Vec<Unreadable>,
    /// The length of a tick.
    #[serde(skip)]
    pub clock: Clock,
}

/// What one process did while it ran one program; an exec begins the next.
#[derive(Clone, Debug, Serialize)]
pub struct Program {
    /// Process ID, in the process's own namespace.
    pub pid: u32,
    /// Its parent's.
    pub parent: u32,
    /// 0, and one more for each exec that kept the PID.
    pub image: u32,
    /// /proc/PID/exe.
    pub program: String,
    /// Whether it still ran when this was read: the numbers are those of that moment.
    pub running: bool,
    /// `DAXSHIM_MODE`.
    pub mode: &'static str,
    /// `DAXSHIM_FLUSH`.
    pub flush: &'static str,
    /// `DAXSHIM_COMPAT`.
    pub compat: bool,
    /// `DAXSHIM_EMULATE`.
    pub emulate: bool,
    /// How lines are written back where there is no eADR.
    pub instruction: &'static str,
    /// Environment variables whose values were not understood.
    pub misunderstood: Vec<String>,
    /// Its counters.
    #[serde(flatten)]
    pub tally: Tally,
}

/// A report file that could not be read.
#[derive(Clone, Debug, Serialize)]
pub struct Unreadable {
    /// Its path.
    #[serde(serialize_with = "crate::host::json::path")]
    pub file: PathBuf,
    /// Why.
    pub reason: String,
}

/// The report files that are in a directory, by name.
///
/// # Errors
/// The errors of reading the directory.
pub fn report_files(directory: &Path) -> io::Result<BTreeSet<OsString>> {
    let mut names = BTreeSet::new();
    for entry in directory.read_dir()? {
        let name = entry?.file_name();
        if numbers(&name).is_some() {
            names.insert(name);
        }
    }
    Ok(names)
}

/// PID and number of the image, from a report file's name.
fn numbers(name: &OsStr) -> Option<(u32, u32)> {
    let (pid, image) = name.to_str()?.strip_prefix(FILE_PREFIX)?.split_once('.')?;
    Some((pid.parse().ok()?, image.parse().ok()?))
}

impl Report {
    /// Reads the report files of a directory, save for those named `before`.
    ///
    /// # Errors
    /// The errors of reading the directory; what is wrong with a file goes into `unreadable`.
    pub fn read(directory: &Path, before: &BTreeSet<OsString>) -> io::Result<Report> {
        let mut report = Report::default();
        let mut moments = Vec::new();
        let names = report_files(directory)?;
        for name in names.difference(before) {
            let Some((pid, image)) = numbers(name) else {
                continue;
            };
            let file = directory.join(name);
            match Snapshot::read(&file, image) {
                Ok(snapshot) => {
                    moments.push(snapshot.started);
                    let mut program = snapshot.program;
                    program.running = is_running(pid, name);
                    report.programs.push(program);
                }
                Err(flaw) => report.unreadable.push(Unreadable {
                    file,
                    reason: flaw.to_string(),
                }),
            }
        }
        let order = |program: &Program| (program.pid, program.image);
        report.programs.sort_by_key(order);
        let clock = Clock::since(moments.into_iter());
        report.clock = clock;
        for program in &mut report.programs {
            report.total.add(&program.tally);
            program.tally.finish(&clock);
        }
        report.total.finish(&clock);
        Ok(report)
    }

    /// Adds what another run did.
    pub fn add(&mut self, other: Report) {
        self.clock = self.clock.or(other.clock);
        self.total.add(&other.total);
        self.total.finish(&self.clock);
        self.programs.extend(other.programs);
        self.unreadable.extend(other.unreadable);
    }

    /// How many processes reported; each may have run several programs.
    #[must_use]
    pub fn processes(&self) -> usize {
        let pids: BTreeSet<u32> = self.programs.iter().map(|program| program.pid).collect();
        pids.len()
    }

    /// How many of the processes were forked or spawned by others that reported.
    #[must_use]
    pub fn forked(&self) -> usize {
        let pids: BTreeSet<u32> = self.programs.iter().map(|program| program.pid).collect();
        let first_images = self.programs.iter().filter(|program| program.image == 0);
        first_images
            .filter(|program| pids.contains(&program.parent))
            .count()
    }

    /// How many programs took the place of others that reported, by exec.
    #[must_use]
    pub fn executed(&self) -> usize {
        let later = self.programs.iter().filter(|program| program.image > 0);
        later.count()
    }
}

/// Whether the process still has its report file mapped.
fn is_running(pid: u32, name: &OsStr) -> bool {
    let Ok(maps) = std::fs::read(format!("/proc/{pid}/maps")) else {
        return false;
    };
    let name = name.as_encoded_bytes();
    maps.split(|&byte| byte == b'\n').any(|line| {
        line.strip_suffix(name)
            .is_some_and(|before| before.ends_with(b"/"))
    })
}

#[cfg(test)]
mod tests;
