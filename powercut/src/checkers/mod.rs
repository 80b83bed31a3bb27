//! What must be in the file after a power cut: each workload's own.

use crate::file::File;
use crate::trace::Cause;

mod blocks;
mod database;
mod library;
mod log;
mod race;
mod slots;
mod stores;

/// What is lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    /// For people.
    pub what: String,
    /// The lines of the file, where they can be told.
    pub lines: Vec<u64>,
}

/// Knows what the workload writes, and so what must be there when it has acknowledged it.
pub trait Checker {
    /// A line of the file holds something else now.
    fn changed(&mut self, file: &File, line: u64);
    /// The writer takes its transaction for durable. An error: the workload is not the one it should be.
    fn acknowledged(&mut self, file: &File, writer: u32, number: u64) -> Result<(), String>;
    /// The lines of the file that a transaction writes.
    fn lines_of(&self, writer: u32, number: u64) -> Vec<u64>;
    /// Whether such a state says anything: some workloads survive a power cut only between transactions.
    fn is_checked(&self, _cause: Cause, _image: u64) -> bool {
        true
    }
    /// Whether the file holds all that was acknowledged, and nothing that cannot be.
    fn check(&mut self, file: &File) -> Result<(), Loss>;
}

/// By the name of a workload and what follows it: `log`, `slots:WRITERS`, `slots:WRITERS:interleaved`, `race`,
/// `blocks`, `lmdb`, `tdb`, `gdbm`.
pub fn by_name(name: &str, file: &File) -> Result<Box<dyn Checker>, String> {
    let mut parts = name.split(':');
    let kind = parts.next().unwrap_or_default();
    let parts: Vec<_> = parts.collect();
    match (kind, parts.as_slice()) {
        ("log", []) => Ok(Box::new(log::Log::new(file)?)),
        ("slots", [writers]) => Ok(Box::new(slots::Slots::new(file, writers, false)?)),
        ("slots", [writers, "interleaved"]) => {
            Ok(Box::new(slots::Slots::new(file, writers, true)?))
        }
        ("lmdb" | "tdb" | "gdbm", []) => Ok(Box::new(database::Database::new(kind)?)),
        ("blocks", []) => Ok(Box::new(blocks::Blocks::new(file))),
        ("race", []) => Ok(Box::new(race::Race::new(file)?)),
        _ => Err(format!("there is no workload '{name}'")),
    }
}

/// The word at a byte of the file.
fn word(content: &[u8], at: usize) -> u64 {
    content
        .get(at..at + 8)
        .and_then(|bytes| bytes.try_into().ok())
        .map_or(0, u64::from_le_bytes)
}
