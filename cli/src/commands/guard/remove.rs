//! `daxshim guard remove`

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use daxshim_core::host::shown;
use daxshim_guard::guard::{self, Lock};
use daxshim_guard::hold;

use crate::commands::exit_code;
use crate::output;

/// Let files go
///
/// Their tags stay, and the library goes on to honour them; what it cannot see is not refused any
/// more. A file that is not held is left alone.
#[derive(Args)]
pub struct Remove {
    /// Files to let go; after an error the next one is tried, and the exit status is 1
    #[arg(required_unless_present = "stale", value_name = "FILE")]
    files: Vec<PathBuf>,

    /// Take out entries of files that are gone: they hold nobody
    #[arg(long)]
    stale: bool,
}

impl Remove {
    pub fn execute(self) -> ExitCode {
        // A guard that is not whole lets files go too.
        let there = Lock::take().and_then(|lock| Ok((lock, guard::state()?)));
        let (_lock, pinned) = match there {
            Ok((lock, guard::State::On(pinned))) => (lock, pinned),
            Ok(_) => {
                output::say("guard: there is none");
                return ExitCode::SUCCESS;
            }
            Err(error) => {
                output::guard::error(&error);
                return ExitCode::FAILURE;
            }
        };
        let mut well = true;
        for file in &self.files {
            match hold::release(&pinned.maps, file) {
                Ok(before) => output::say(&output::guard::released(&shown(file), before.as_ref())),
                Err(error) => {
                    output::guard::error(&error);
                    well = false;
                }
            }
        }
        if self.stale {
            match hold::release_stale(&pinned.maps) {
                Ok(count) => {
                    let entries = if count == 1 { "entry" } else { "entries" };
                    output::say(&format!(
                        "guard: took out {count} {entries} of files that are gone"
                    ));
                }
                Err(error) => {
                    output::guard::error(&error);
                    well = false;
                }
            }
        }
        exit_code(well)
    }
}
