//! The program that `daxshim demo` runs with the library and without: an ordinary one, that knows nothing of
//! daxshim. It is in the command, so that nothing has to be compiled or found; built with line numbers, as a
//! developer would have it, so that `daxshim check` can name them (Cargo.toml).

#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic
    )
)]

use std::ffi::OsString;
use std::io;
use std::path::Path;

mod bug;
mod log;
mod map;
mod store;

/// The source of the part with the bug, and its name in the debug information.
pub const BUG: (&str, &str) = ("demo/src/bug.rs", include_str!("bug.rs"));

/// The subcommand by which the command becomes this program.
pub const SUBCOMMAND: &str = "demo-program";

/// What the program can be told to do.
pub const PARTS: [&str; 5] = ["store", "forget", "log-wrong", "log-right", "log-check"];

/// Bytes of its file.
pub const SIZE: usize = 64 << 10;

/// The program, if that is what the command was called for: its exit status.
pub fn program(mut arguments: impl Iterator<Item = OsString>) -> Option<u8> {
    arguments
        .next()
        .filter(|word| word.as_os_str() == SUBCOMMAND)?;
    let words = (arguments.next(), arguments.next());
    let (Some(part), Some(file)) = words else {
        eprintln!("daxshim {SUBCOMMAND}: it is run by daxshim demo, with a part and a file");
        return Some(2);
    };
    Some(match run(&part.to_string_lossy(), Path::new(&file)) {
        Ok(status) => status,
        Err(error) => {
            eprintln!("demo: {}: {error}", Path::new(&file).display());
            1
        }
    })
}

fn run(part: &str, file: &Path) -> io::Result<u8> {
    match part {
        "store" => store::run(file),
        "forget" => bug::run(file),
        "log-wrong" => log::write(file, log::Order::Wrong),
        "log-right" => log::write(file, log::Order::Right),
        "log-check" => log::check(file),
        _ => Err(io::Error::other(format!("no part is named {part}"))),
    }
}
