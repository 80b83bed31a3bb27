//! What everything stands on: system calls, memory, descriptors, and what the process is set up with.

pub mod allocate;
pub mod checking;
pub mod descriptors;
pub mod files;
pub mod loaded;
pub mod logger;
pub mod maps;
pub mod memory;
pub mod opened;
pub mod page;
pub mod place;
pub mod plain;
pub mod process;
pub mod real;
pub mod thread;
