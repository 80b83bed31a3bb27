//! The subcommands, a file each: what each accepts and what it does with it.

use std::ffi::CStr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Args, Parser, Subcommand};
use daxshim_core::host::{Error, shown};

use crate::output;

mod ab;
mod check;
mod completions;
mod crash;
mod demo;
mod doctor;
mod explain;
mod guard;
mod inspect;
mod man;
mod options;
mod prepare;
mod run;
mod status;
mod tag;
mod untag;
mod verify;

/// Makes files DAX-immutable and runs unmodified programs on them.
///
/// A DAX-immutable file is fully allocated and written, and nothing about it can change but its
/// content, by stores to its mappings. Under libdaxshim.so, msync and fsync of such a file are
/// cache-line write-backs in the process; every other way to change the file gets EPERM.
#[derive(Parser)]
#[command(name = "daxshim", version, max_term_width = 100, after_help = AFTER_HELP)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Command,
}

const AFTER_HELP: &str = "\
Examples:
  daxshim demo
  daxshim doctor
  daxshim prepare /mnt/pmem/data --size 1G
  daxshim tag /mnt/pmem/data
  LD_PRELOAD=/usr/local/lib/libdaxshim.so program /mnt/pmem/data

Exit status: 0 success, 1 the operation failed, 2 wrong usage.";

#[derive(Subcommand)]
pub enum Command {
    Demo(demo::Demo),
    Doctor(doctor::Doctor),
    Prepare(prepare::Prepare),
    Tag(tag::Tag),
    Untag(untag::Untag),
    Status(status::Status),
    Verify(verify::Verify),
    Inspect(inspect::Inspect),
    Run(run::Run),
    Ab(ab::Ab),
    Check(check::Check),
    Crash(crash::Crash),
    Guard(guard::Guard),
    Explain(explain::Explain),
    Completions(completions::Completions),
    Man(man::Man),
}

/// Reads the command line. If there is nothing to do (help, wrong usage), that has been said and
/// the exit status is returned.
pub fn parse() -> Result<Arguments, ExitCode> {
    Arguments::try_parse().map_err(|error| {
        if error.kind() == ErrorKind::DisplayVersion {
            output::say(&version());
            return ExitCode::SUCCESS;
        }
        output::written(error.print());
        // As env(1) and timeout(1): what is below 125 is the program's.
        let command = std::env::args_os().nth(1);
        let runs_programs =
            command.is_some_and(|word| ["run", "ab", "check", "crash"].iter().any(|c| word == *c));
        match u8::try_from(error.exit_code()) {
            Ok(0) => ExitCode::SUCCESS,
            Ok(code) if !runs_programs => ExitCode::from(code),
            _ => ExitCode::from(crate::run::FAILED),
        }
    })
}

/// What was built of which sources, the library that it would preload, and the C library it runs on.
fn version() -> String {
    let library = match crate::run::library::find() {
        Ok(path) => shown(&path),
        Err(_) => "not found".into(),
    };
    // SAFETY: a C string that lives as long as the C library.
    let glibc = unsafe { CStr::from_ptr(libc::gnu_get_libc_version()) };
    format!(
        "daxshim {} ({})\nlibrary: {library}\nglibc: {}",
        env!("CARGO_PKG_VERSION"),
        env!("DAXSHIM_COMMIT"),
        glibc.to_string_lossy()
    )
}

impl Command {
    /// Does it; errors are on stderr when it returns.
    pub fn execute(self) -> ExitCode {
        match self {
            Command::Demo(demo) => demo.execute(),
            Command::Doctor(doctor) => doctor.execute(),
            Command::Prepare(prepare) => prepare.execute(),
            Command::Tag(tag) => tag.execute(),
            Command::Untag(untag) => untag.execute(),
            Command::Status(status) => status.execute(),
            Command::Verify(verify) => verify.execute(),
            Command::Inspect(inspect) => inspect.execute(),
            Command::Run(run) => run.execute(),
            Command::Ab(ab) => ab.execute(),
            Command::Check(check) => check.execute(),
            Command::Crash(crash) => crash.execute(),
            Command::Guard(guard) => guard.execute(),
            Command::Explain(explain) => explain.execute(),
            Command::Completions(completions) => completions.execute(),
            Command::Man(man) => man.execute(),
        }
    }
}

/// One or more files.
#[derive(Args)]
struct Files {
    /// Files to work on; after an error the next one is tried, and the exit status is 1
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

impl Files {
    /// Calls `action` for each file; it returns whether all is well with the file.
    fn each(&self, mut action: impl FnMut(&PathBuf) -> Result<bool, Error>) -> ExitCode {
        let mut well = true;
        for file in &self.files {
            match action(file) {
                Ok(passed) => well &= passed,
                Err(error) => {
                    output::error(&error);
                    well = false;
                }
            }
        }
        exit_code(well)
    }
}

fn exit_code(well: bool) -> ExitCode {
    if well {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
