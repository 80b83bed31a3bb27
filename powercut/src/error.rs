//! What went wrong, why, and what to do.

use std::fmt;

/// An error of the rig itself: it says nothing about what is tested.
#[derive(Debug)]
pub struct Error {
    what: String,
    why: String,
    how: String,
}

impl Error {
    /// From its three parts.
    pub fn new(what: impl fmt::Display, why: impl fmt::Display, how: impl fmt::Display) -> Self {
        Self {
            what: what.to_string(),
            why: why.to_string(),
            how: how.to_string(),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}\n  {}", self.what, self.why, self.how)
    }
}
