//! Which files are tagged, and what that refuses.

pub mod audit;
pub mod dax_devices;
pub mod enforce;
pub mod filters;
mod held;
pub mod listed;
pub mod subject;
pub mod tagging;
