//! `daxshim guard stop`

use std::process::ExitCode;

use clap::Args;
use daxshim_guard::guard::{self, Stopped};

use crate::output;

/// Stop the guard
///
/// Lets every file go and takes the programs down. Tags stay: the library goes on to honour them.
/// Without a guard there is nothing to do.
#[derive(Args)]
pub struct Stop {}

impl Stop {
    pub fn execute(self) -> ExitCode {
        match guard::stop() {
            Ok(stopped) => {
                output::say(match stopped {
                    Stopped::None => "guard: there is none",
                    Stopped::Guard => "guard: stopped",
                    Stopped::Leftovers => {
                        "guard: removed what an interrupted start or stop had left"
                    }
                });
                ExitCode::SUCCESS
            }
            Err(error) => {
                output::guard::error(&error);
                ExitCode::FAILURE
            }
        }
    }
}
