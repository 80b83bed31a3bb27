//! `daxshim man`

use std::process::ExitCode;

use clap::{Args, CommandFactory};
use clap_mangen::Man as Page;

use super::{Arguments, exit_code};
use crate::output;

/// Write the manual page to standard output
///
/// Example: daxshim man > /usr/local/share/man/man1/daxshim.1
#[derive(Args)]
pub struct Man {
    /// Write the page of a subcommand instead, e.g. tag
    subcommand: Option<String>,
}

impl Man {
    pub fn execute(self) -> ExitCode {
        let mut command = Arguments::command();
        command.build();
        if let Some(name) = &self.subcommand {
            match command.find_subcommand(name) {
                Some(found) => {
                    let found = found.clone().name(format!("daxshim-{name}"));
                    command = found.disable_help_subcommand(true);
                }
                None => {
                    output::failure(
                        &format!("there is no subcommand {name}"),
                        "the page can only be made for one that exists",
                        "daxshim --help lists them",
                    );
                    return exit_code(false);
                }
            }
        }
        let mut page = Vec::new();
        match Page::new(command).render(&mut page) {
            Ok(()) => {
                output::raw(&page);
                exit_code(true)
            }
            Err(_) => exit_code(false),
        }
    }
}
