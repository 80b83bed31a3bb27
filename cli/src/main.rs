//! The `daxshim` command: makes files DAX-immutable and tells what the machine offers.

#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic
    )
)]

use std::process::ExitCode;

// Linked for what its build script says.
use daxshim_glibc as _;

mod ab;
mod check;
mod commands;
mod copy;
mod crash;
mod output;
mod run;
mod shim;
mod stacks;

fn main() -> ExitCode {
    if let Some(status) = daxshim_demo::program(std::env::args_os().skip(1)) {
        return ExitCode::from(status);
    }
    shim::shake_off();
    output::outlive_limits();
    let code = match commands::parse() {
        Ok(arguments) => arguments.command.execute(),
        Err(code) => code,
    };
    // Whatever else there was to say, a result that is not there is no success.
    if code == ExitCode::SUCCESS && output::was_lost() {
        return ExitCode::FAILURE;
    }
    code
}
