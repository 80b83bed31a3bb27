//! What daxshim decides, records and measures, without any preloading: everything here can be
//! tested in an ordinary process. The library (`src/`) and the command (`cli/`) both stand on it.
//!
//! Modules outside the `host` feature are called from inside hooks: they neither allocate, nor
//! lock, nor panic, and go to the kernel by rustix's raw system calls only.

pub mod atomics;
pub mod check;
pub mod choice;
pub mod config;
pub mod contract;
pub mod dax;
pub mod extents;
pub mod filesystem;
pub mod flush;
pub mod fnv;
pub mod holders;
pub mod lease;
pub mod line;
pub mod loader;
pub mod maps;
pub mod pagemap;
pub mod preload;
pub mod proc;
pub mod record;
pub mod regions;
pub mod report;
pub mod requests;
#[cfg(target_arch = "x86_64")]
pub mod seccomp;
#[cfg(target_arch = "x86_64")]
pub mod sites;
pub mod symbols;
pub mod tag;
pub mod units;

#[cfg(feature = "host")]
pub mod host;
