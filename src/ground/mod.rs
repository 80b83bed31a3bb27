//! What everything stands on: system calls, memory, descriptors, and what the process is set up with.

pub mod descriptors;
pub mod files;
pub mod logger;
pub mod memory;
pub mod opened;
pub mod plain;
pub mod process;
pub mod real;
