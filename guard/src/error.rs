//! An error of the guard, in three parts.

use rustix::io::Errno;

/// What failed, why, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct Error {
    /// What failed, with the errno where there is one.
    pub what: String,
    /// Why.
    pub why: String,
    /// What to do.
    pub help: String,
}

impl Error {
    /// From the three parts.
    pub fn new(what: impl Into<String>, why: impl Into<String>, help: impl Into<String>) -> Error {
        Error {
            what: what.into(),
            why: why.into(),
            help: help.into(),
        }
    }

    /// A system call failed: the errno goes into the first part.
    pub fn system(what: &str, errno: Errno, help: impl Into<String>) -> Error {
        Error::new(what.to_owned(), format!("{errno}"), help)
    }
}
