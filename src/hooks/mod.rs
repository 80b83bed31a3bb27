//! The hooks, a file per family. Each names the operation and its subject, asks the contract, and
//! passes on; a second idea belongs below.

mod advise;
pub mod aio;
pub mod attributes;
mod change;
pub mod check;
pub mod copy;
pub mod descriptors;
pub mod exec;
pub mod exports;
pub mod filter;
pub mod flags;
pub mod ioctl;
pub mod jump;
pub mod kernel_stores;
pub mod map;
pub mod names;
pub mod open;
pub mod pmem;
pub mod pmem2;
mod range;
pub mod read;
pub mod share;
pub mod size;
pub mod sync;
pub mod system;
pub mod times;
pub mod write;
pub mod xattr;
