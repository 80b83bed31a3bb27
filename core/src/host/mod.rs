//! What the command does to files and learns from the machine: setting and clearing tags with
//! every precondition, preparing files, looking for who holds them. Allocates freely; no hook ever
//! comes here.

#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic
    )
)]

pub mod blame;
pub mod check;
mod doctor;
mod error;
mod file;
mod holders;
mod inspect;
pub mod journal;
mod json;
mod mount;
mod prepare;
mod privilege;
pub mod report;
mod state;
mod status;
mod tagging;
mod verify;

pub use doctor::{Advice, DaxMount, Emulation, Kernel, Machine, PmemDevice, PmemRegion, doctor};
pub use error::{Action, Cause, Error, shown};
pub use holders::{Holder, Holders, Unseen};
pub use inspect::{FlushReason, Inspection, Mapped, PageSizes, inspect_file, inspect_process};
pub use mount::{Mount, dax_mounts};
pub use prepare::{DaxOutcome, PrepareOptions, Prepared, Progress, prepare};
pub use privilege::{Capabilities, capabilities};
pub use state::{Condition, TagState};
pub use status::{DaxState, ExtentState, Status, status};
pub use tagging::{TagOptions, Tagged, Untagged, tag, untag};
pub use verify::{Check, Verification, verify};
