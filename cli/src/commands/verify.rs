//! `daxshim verify`

use std::process::ExitCode;

use clap::Args;
use daxshim_core::host::{self, Verification};

use super::Files;
use crate::output;

/// Re-check what the tags of files rest on
///
/// Checks the tag, every precondition and the extents' fingerprint. Exit status 1 if a check fails.
/// The files may be in use meanwhile.
#[derive(Args)]
#[command(after_long_help = AFTER_HELP)]
pub struct Verify {
    #[command(flatten)]
    files: Files,

    /// Write one JSON document to standard output
    #[arg(long)]
    json: bool,
}

const AFTER_HELP: &str = "\
JSON: {\"schema\": 1, \"files\": [...]}, an object per file in the order given: path, passed,
checks (name, passed, detail).

Example:
  daxshim verify /mnt/pmem/data || echo 'do not trust it'";

impl Verify {
    pub fn execute(self) -> ExitCode {
        let mut verifications: Vec<Verification> = Vec::new();
        let code = self.files.each(|file| {
            let verification = host::verify(file)?;
            let passed = verification.passed;
            if self.json {
                verifications.push(verification);
            } else {
                output::say(&output::verify::text(&verification));
            }
            Ok(passed)
        });
        if self.json {
            output::json("files", &verifications);
        }
        code
    }
}
