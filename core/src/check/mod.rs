//! What `daxshim check` finds, and what the library keeps for it: the table of findings ([`codes`]),
//! the shadow of what is durable ([`shadow`]), the log of findings ([`log`]), and how cache lines are
//! compared ([`lines`]); which files are watched ([`watch`]); who stored first ([`blame`]). For `daxshim crash`, the [`journal`] of what becomes durable.
//!
//! Shadows and logs are files of the report directory, mapped shared: they outlive the process
//! however it ends, and all processes of a run see the same shadow.

pub mod blame;
pub mod codes;
pub mod journal;
pub mod lines;
pub mod log;
pub mod shadow;
pub mod watch;

pub use codes::{Code, Level};
