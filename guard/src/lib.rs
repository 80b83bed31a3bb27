//! The guard: tagged files held by the kernel, for every process.
//!
//! A preloaded library can't hold static programs, inline system calls, io_uring, set-ID programs,
//! loop devices and backup tools. The kernel can: a few BPF programs on its security hooks look up
//! the inode in a hash map and answer EPERM.
//!
//! | module | is |
//! |---|---|
//! | [`btf`] | the reader of `/sys/kernel/btf/vmlinux`: where fields lie, what functions take |
//! | [`emit`] | a small emitter of BPF instructions, with labels |
//! | [`kind`] | how programs are attached |
//! | [`programs`] | the hooks as a table, and the program of each |
//! | [`bpf`] | bpf(2) |
//! | [`runs`] | which processes belong to `daxshim run --strict` |
//! | [`set`] | the maps: who is held, what was refused |
//! | [`guard`] | loading, attaching, pinning, taking down |
//! | [`selftest`] | whether the kernel really refuses |
//! | [`hold`] | holding files, and letting them go |
//! | [`survey`] | whether a guard is possible here |
//! | [`look`] | who uses a file already, past the hooks |
//! | [`kernel`] | the same of the kernel's own users |
//!
//! # Why no crate does this
//!
//! libbpf-rs vendors libbpf and libelf in C; aya and aya-obj (24 and 12 packages) load objects that
//! clang has made; btf-rs is LGPL. All that is needed of them are a dozen commands of one system call,
//! the offsets of some twenty fields, and two hundred instructions, which this crate writes itself: no
//! compiler but rustc, and no binary in the repository.
//!
//! # Licence of the programs
//!
//! The kernel asks programs that read its memory for a licence compatible with the GPL. They say
//! [`bpf::LICENSE`].

#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic
    )
)]

pub mod bpf;
pub mod btf;
pub mod emit;
pub mod error;
pub mod guard;
pub mod hold;
pub mod kernel;
pub mod kind;
pub mod look;
pub mod programs;
pub mod runs;
pub mod scan;
pub mod selftest;
pub mod set;
pub mod survey;

pub use error::Error;
