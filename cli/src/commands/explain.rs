//! `daxshim explain`

use std::ffi::OsStr;
use std::process::ExitCode;

use anstyle::Style;
use clap::Args;
use clap::builder::{PossibleValue, StringValueParser, TypedValueParser};
use daxshim_core::check::Code;

use crate::output::{self, failure, say, styled};

/// Say what a code of `daxshim check` means, and how to do it right
#[derive(Args)]
pub struct Explain {
    /// Codes, as DAX001; without any, all are listed
    #[arg(value_name = "CODE", value_parser = AnyCode, hide_possible_values = true)]
    codes: Vec<String>,
}

/// Takes any word, so that one that is no code is answered as other errors are; shells complete the codes.
#[derive(Clone)]
struct AnyCode;

impl TypedValueParser for AnyCode {
    type Value = String;

    fn parse_ref(
        &self,
        command: &clap::Command,
        argument: Option<&clap::Arg>,
        value: &OsStr,
    ) -> Result<String, clap::Error> {
        StringValueParser::new().parse_ref(command, argument, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        let value = |code: &Code| PossibleValue::new(code.id()).help(code.title());
        Some(Box::new(Code::ALL.iter().map(value)))
    }
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
