//! libdaxshim.so: gives files tagged DAX-immutable their semantics in unmodified programs.
//!
//! Nothing but interposition and per-process state lives here; what can be decided or computed
//! without a preload is in `daxshim-core`. Imports run one way: hooks → state → core.
//!
//! To add a hook: a row in `core/src/symbols.rs`, a function of that name in `hooks/`, a program
//! of that name in `cdylib-tests/programs/`.

mod ask;
mod check;
mod dax_devices;
mod descriptors;
mod eadr;
mod enforce;
mod environment;
mod files;
mod filters;
mod hooks;
mod listed;
mod logger;
mod mappings;
mod memory;
mod modules;
mod opened;
mod passes;
mod plain;
mod process;
mod quick;
mod real;
mod scratch;
mod sites;
mod subject;
mod sync;
mod tagging;
mod trampoline;
mod unseen;
mod vfork;
