//! A finding as it is reported: the documented JSON (docs/json.md), and what text and SARIF are made
//! from.

use daxshim_core::check::{Code, Level};
use serde::Serialize;

use super::policy::Policy;
use crate::run::outcome::Ended;

/// Version of the JSON document.
pub const SCHEMA: u32 = 1;

/// Everything that a run showed.
#[derive(Serialize)]
pub struct Findings {
    /// Changes when a field changes its meaning or goes.
    pub schema: u32,
    /// Version of daxshim.
    pub version: &'static str,
    /// The program and its arguments.
    pub command: Vec<String>,
    /// How the program ended.
    pub ended: Ended,
    /// The exit status of `daxshim check`.
    pub exit_status: u8,
    /// What was found, gravest first.
    pub findings: Vec<Finding>,
    /// The files whose mappings were watched, by path; each once.
    pub watched: Vec<String>,
    /// The suppressions that no finding needed.
    pub unused_suppressions: Vec<String>,
    /// What was not looked at.
    pub limits: Limits,
    /// Whether a cheaper sync policy would do, by file.
    pub policies: Vec<Policy>,
    /// Whether a watched file was synced.
    #[serde(skip)]
    pub syncs: bool,
    /// What `--watch` said.
    #[serde(skip)]
    pub watch: Vec<String>,
    /// Whether it is no failure that nothing was watched.
    #[serde(skip)]
    pub allow_nothing: bool,
    /// Whose sources matter: those below.
    #[serde(skip)]
    pub source_root: std::path::PathBuf,
}

/// What was not looked at.
#[derive(Default, Serialize)]
pub struct Limits {
    /// Findings for which a log had no room.
    pub left_out: u64,
    /// Findings that were counted without taking their stack.
    pub without_stack: u64,
    /// Syncs that were not compared.
    pub syncs_not_compared: u64,
    /// Mapped files that were not watched.
    pub files_not_watched: u64,
    /// With `--blame`: times that pages were stored to and by whom was not noted, to save time.
    pub stores_without_stack: u64,
    /// With `--blame`: pages that the kernel stores to, of which nobody is named.
    pub pages_of_kernel: u64,
    /// Times that what is mapped could not be looked at.
    pub mappings_not_looked_at: u64,
    /// Answers at which large ranges were not compared.
    pub answers_not_compared: u64,
    /// Processes that were not watched from some moment on, as they filter their system calls.
    pub processes_sealed: u64,
    /// Forked children of which nothing was looked at, as there was no room for their logs.
    pub children_not_watched: u64,
    /// Watched files that were not there any more when all was over, by path: what of them was never synced is not
    /// known.
    pub files_gone: Vec<String>,
    /// Processes in which no stack can be taken: their glibc is too old.
    pub processes_without_stacks: u64,
    /// With `--blame`: processes in which nobody is blamed.
    pub processes_without_blame: u64,
    /// Why.
    pub why_without_blame: Option<&'static str>,
}

/// One finding.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    /// `DAX001`.
    #[serde(serialize_with = "as_id")]
    pub code: Code,
    /// `error`, `warning` or `note`.
    #[serde(serialize_with = "as_word")]
    pub level: Level,
    /// The title.
    pub title: &'static str,
    /// What is special here, if anything.
    pub detail: Option<String>,
    /// What to change.
    pub help: &'static str,
    /// The file, where it is known.
    pub file: Option<String>,
    /// Offsets in it: the first byte concerned and the one behind the last.
    pub bytes: Option<(u64, u64)>,
    /// Address of the mapping.
    pub address: Option<u64>,
    /// How often.
    pub count: u64,
    /// Dirty cache lines, or pages, added up over all times.
    pub lines: u64,
    /// What these are: what the kernel or the CPU may write back by itself.
    pub unit: Unit,
    /// Bytes that the calls asked for, added up over all times.
    pub asked: u64,
    /// The process; none where it concerns the run.
    pub process: Option<u32>,
    /// Who called, innermost first.
    pub stack: Vec<Frame>,
    /// Who stored first to pages with these lines, since the last sync of each; most pages first.
    pub written_first: Vec<Writer>,
    /// Whether a suppression covers it.
    pub suppressed: bool,
}

/// What may be written back alone, at any time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    /// A cache line, by the CPU: pmem.
    Line,
    /// A page, by the kernel: the page cache.
    Page,
}

fn as_id<S: serde::Serializer>(code: &Code, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(code.id())
}

fn as_word<S: serde::Serializer>(level: &Level, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(level.word())
}

impl Finding {
    /// One of the whole run.
    pub fn of_run(code: Code, detail: String) -> Finding {
        Finding {
            code,
            level: code.level(),
            title: code.title(),
            detail: Some(detail),
            help: code.help(),
            file: None,
            bytes: None,
            address: None,
            count: 1,
            lines: 0,
            unit: Unit::Line,
            asked: 0,
            process: None,
            stack: Vec::new(),
            written_first: Vec::new(),
            suppressed: false,
        }
    }
}

/// Who stored first, of `--blame`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Writer {
    /// The process.
    pub process: u32,
    /// Pages of 4 KiB.
    pub pages: u64,
    /// Who stored, innermost first.
    pub stack: Vec<Frame>,
}

/// A function on a stack.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Frame {
    /// Return address; of an inlined function that of the function it is inlined into.
    pub address: u64,
    /// File of the code; none where no file is mapped there.
    pub module: Option<String>,
    /// Where in it, bytes.
    pub offset: u64,
    /// Demangled name.
    pub function: Option<String>,
    /// Source file.
    pub source: Option<String>,
    /// Line in it.
    pub line: Option<u32>,
    /// Whether it is inlined into the next.
    pub inlined: bool,
}

/// Where a frame is, as people tell it.
#[derive(PartialEq, Eq)]
pub enum Place<'a> {
    /// A line of a function.
    Line(Option<&'a str>, &'a str, u32),
    /// An offset in a module.
    Code(Option<&'a str>, u64),
}

impl Frame {
    /// Where it is: by its line, where that is known.
    pub fn place(&self) -> Place<'_> {
        match (&self.source, self.line) {
            (Some(source), Some(line)) => Place::Line(self.function.as_deref(), source, line),
            _ => Place::Code(self.module.as_deref(), self.offset),
        }
    }
}
