//! `daxshim guard remove`

use std::process::ExitCode;

use clap::Args;
use daxshim_core::host::shown;
use daxshim_guard::guard::{self, Lock};
use daxshim_guard::hold;

use crate::commands::{Files, exit_code};
use crate::output;

/// Let files go
///
/// Their tags stay, and the library goes on to honour them; what it cannot see is not refused any
/// more. A file that is not held is left alone.
#[derive(Args)]
pub struct Remove {
    #[command(flatten)]
    files: Files,
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
        for file in self.files.paths() {
            match hold::release(&pinned.maps, file) {
                Ok(before) => output::say(&output::guard::released(&shown(file), before.as_ref())),
                Err(error) => {
                    output::guard::error(&error);
                    well = false;
                }
            }
        }
        exit_code(well)
    }
}
