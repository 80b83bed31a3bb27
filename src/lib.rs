//! libdaxshim.so: gives files tagged DAX-immutable their semantics in unmodified programs.
//!
//! Nothing but interposition and per-process state lives here; what can be decided or computed
//! without a preload is in `daxshim-core`. Imports run one way: hooks → state → core.
//!
//! To add a hook: a row in `core/src/symbols.rs`, a function of that name in `hooks/`, a program
//! of that name in `cdylib-tests/programs/hooks/`.

// Linked for what its build script says.
use daxshim_glibc as _;

mod ask;
mod check;
mod entry;
mod exec;
mod ground;
mod hooks;
mod mappings;
mod start;
mod sync;
mod tag;
