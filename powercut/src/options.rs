//! What is asked of a replay.

use std::path::PathBuf;

/// What to do with a trace.
#[derive(Clone, Debug)]
pub struct Options {
    /// The workload, as [`checkers::by_name`](crate::checkers::by_name) takes it.
    pub workload: String,
    /// Images per crash point.
    pub images: u64,
    /// Of the choice of what else was written back.
    pub seed: u64,
    /// Lines that the medium writes at once.
    pub atomic: u64,
    /// So many states lost are enough.
    pub stop: u64,
    /// So many states are enough.
    pub states: u64,
    /// At an acknowledgement, and with one writer, nothing of the file may be undecided, whatever it means.
    pub strict: bool,
    /// Only this crash point and image.
    pub only: Option<(u64, u64)>,
    /// Failures that are told.
    pub show: usize,
    /// Where whole images go, and how many, evenly over the crash points.
    pub export: Option<(PathBuf, u64)>,
}
