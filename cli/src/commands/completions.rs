//! `daxshim completions`

use std::process::ExitCode;

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::Arguments;
use crate::output;

/// Write completions for a shell to standard output
///
/// Example: daxshim completions bash > /etc/bash_completion.d/daxshim
#[derive(Args)]
pub struct Completions {
    /// The shell
    shell: Shell,
}

impl Completions {
    pub fn execute(self) -> ExitCode {
        let mut script = Vec::new();
        clap_complete::generate(
            self.shell,
            &mut Arguments::command(),
            "daxshim",
            &mut script,
        );
        output::raw(&script);
        ExitCode::SUCCESS
    }
}
