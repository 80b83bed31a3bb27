//! Everything there is to say about a run: the documented JSON (docs/json.md), and what the text
//! is made from.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use daxshim_core::host::report::Report;
use nix::sys::signal::Signal;
use serde::Serialize;

use super::conclusion::Conclusion;
use super::program::Unseen;
use super::strict::Guarded;
use crate::output;

/// Version of the JSON document.
pub const SCHEMA: u32 = 1;

/// A finished run.
#[derive(Serialize)]
pub struct Outcome {
    /// Changes when a field changes its meaning or goes.
    pub schema: u32,
    /// Version of daxshim.
    pub version: &'static str,
    /// The program and its arguments.
    pub command: Vec<String>,
    /// How the program ended.
    pub ended: Ended,
    /// Whether syncs were accelerated, and why not.
    pub conclusion: Conclusion,
    /// Programs that ran without the shim.
    pub unseen: Vec<Unseen>,
    /// With `--strict`: what the kernel refused, past the shim.
    pub guard: Option<Guarded>,
    /// Variables of the environment that were complained about before the program started.
    #[serde(skip)]
    pub misunderstood: Vec<String>,
    /// What the processes reported.
    #[serde(flatten)]
    pub report: Report,
}

/// How the program ended.
#[derive(Clone, Copy, Serialize)]
pub struct Ended {
    /// The exit status of `daxshim run`: the program's, or 128 and the signal's number.
    pub exit_status: u8,
    /// The signal that ended it.
    pub signal: Option<i32>,
}

impl Outcome {
    /// The document.
    pub fn json(&self) -> String {
        output::document(self)
    }
}

impl From<ExitStatus> for Ended {
    fn from(status: ExitStatus) -> Ended {
        let signal = status.signal();
        let number = status
            .code()
            .or(signal.map(|signal| 128 + signal))
            .unwrap_or(255);
        Ended {
            exit_status: u8::try_from(number).unwrap_or(255),
            signal,
        }
    }
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.signal {
            None => write!(f, "exit status {}", self.exit_status),
            Some(number) => match Signal::try_from(number) {
                Ok(signal) => write!(f, "killed by {signal} (exit status {})", self.exit_status),
                // A real-time one.
                Err(_) => write!(
                    f,
                    "killed by signal {number} (exit status {})",
                    self.exit_status
                ),
            },
        }
    }
}
