//! `daxshim explain`

use std::process::ExitCode;

use anstyle::Style;
use clap::Args;
use daxshim_core::check::Code;

use crate::output::{self, failure, say, styled};

/// Say what a code of `daxshim check` means, and how to do it right
#[derive(Args)]
pub struct Explain {
    /// Codes, as DAX001; without any, all are listed
    #[arg(value_name = "CODE")]
    codes: Vec<String>,
}

impl Explain {
    pub fn execute(self) -> ExitCode {
        if self.codes.is_empty() {
            let row = |code: &Code| {
                vec![
                    code.id().to_owned(),
                    code.level().word().to_owned(),
                    code.title().to_owned(),
                ]
            };
            say(&output::table(Code::ALL.iter().map(row).collect()));
            return ExitCode::SUCCESS;
        }
        let mut status = ExitCode::SUCCESS;
        for (i, name) in self.codes.iter().enumerate() {
            if i > 0 {
                say("");
            }
            match Code::parse(name) {
                Some(code) => page(code),
                None => {
                    failure(
                        &format!("there is no code {name}"),
                        "codes are DAX and three digits",
                        "daxshim explain lists them",
                    );
                    status = ExitCode::FAILURE;
                }
            }
        }
        status
    }
}

fn page(code: Code) {
    let head = format!("{}: {}", code.id(), code.title());
    say(&styled(Style::new().bold(), &head));
    say(&format!("{}; help: {}\n", code.level().word(), code.help()));
    say(code.explanation().trim_end());
}
