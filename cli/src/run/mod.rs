//! What `daxshim run` is made of: finding program and library, launching, reporting.

use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::process::ExitCode;
use std::{fmt, io};

use daxshim_core::host::shown;

use crate::output;

pub use crate::output::warning as warn;

pub mod before;
pub mod conclusion;
pub mod destination;
pub mod directory;
pub mod environment;
pub mod filters;
pub mod launch;
pub mod library;
pub mod lookup;
pub mod outcome;
pub mod program;
pub mod signals;
pub mod strict;
pub mod text;
pub mod watching;

/// daxshim itself failed.
pub const FAILED: u8 = 125;
/// The program is there but cannot be executed.
pub const NOT_EXECUTABLE: u8 = 126;
/// There is no such program.
pub const NOT_FOUND: u8 = 127;

/// Why there is nothing to run, or nothing to report, in the three parts of an error.
#[derive(Debug)]
pub struct Failure {
    /// The exit status.
    pub status: u8,
    /// What failed.
    pub what: String,
    /// Why.
    pub why: String,
    /// What to do.
    pub help: String,
}

impl Failure {
    /// A failure of daxshim itself.
    pub fn own(what: String, why: impl fmt::Display, help: impl fmt::Display) -> Failure {
        Failure {
            status: FAILED,
            what,
            why: why.to_string(),
            help: help.to_string(),
        }
    }

    /// To stderr.
    pub fn show(&self) {
        output::failure(&self.what, &self.why, &self.help);
    }

    /// Shows what could not be written; `status`, unless that is 0 and something could not: a failure must not hide
    /// that of the program.
    pub fn after_writing(status: u8, written: impl IntoIterator<Item = Result<(), Failure>>) -> u8 {
        let failures = written.into_iter().filter_map(Result::err);
        match failures.inspect(Failure::show).count() {
            0 => status,
            _ if status == 0 => FAILED,
            _ => status,
        }
    }

    /// What a command ends with; a failure is shown.
    pub fn exit_code(result: Result<u8, Failure>) -> ExitCode {
        ExitCode::from(result.unwrap_or_else(|failure| {
            failure.show();
            failure.status
        }))
    }
}

/// The program of a command line; `command` is daxshim's own that is to run it.
pub fn program_of<'a>(words: &'a [OsString], command: &str) -> Result<&'a OsStr, Failure> {
    let nothing = || {
        Failure::own(
            "nothing to run".into(),
            "no program was given",
            format!("daxshim {command} -- PROGRAM ARGUMENT…"),
        )
    };
    words.first().map(OsString::as_os_str).ok_or_else(nothing)
}

/// A command line for people.
pub fn words(command: &[OsString]) -> Vec<String> {
    let words = command.iter().map(|word| word.to_string_lossy());
    words.map(Cow::into_owned).collect()
}

/// The program was started, and its end cannot be waited for.
pub fn cannot_wait(error: io::Error) -> Failure {
    Failure::own(
        "cannot wait for the program".into(),
        error,
        "this is a fault of daxshim; please report it",
    )
}

/// A name for a message.
fn named(name: &OsStr) -> String {
    shown(std::path::Path::new(name))
}
