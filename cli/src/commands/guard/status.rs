//! `daxshim guard status`

use std::process::ExitCode;

use clap::Args;
use daxshim_guard::guard;

use crate::output;

/// Show whether there is a guard, what it holds, and who was refused
///
/// Changes nothing. Needs root: others may not look below /sys/fs/bpf/daxshim. The exit status is 0
/// if there is a guard and it is whole, else 1.
#[derive(Args)]
#[command(after_long_help = AFTER_HELP)]
pub struct Status {
    /// Write one JSON document to standard output
    #[arg(long)]
    json: bool,
}

const AFTER_HELP: &str = "\
The last 1,024 refusals are kept; --json shows all of them, the text the last 20.

JSON: {\"schema\": 1, \"guard\": {...}}:
  state      on, damaged (hooks are missing), half (an interrupted start or stop), off
  kind       lsm, fmod_ret; hooks, missing
  files      path, device, inode, generation, mode, compat, reads, refused, audited, stale
  refused    so many refusals so far; refusals: the last of them, the oldest first: number, pid, tid,
             name, operation, call, detail, audited, path, device, inode
  left       directories of an interrupted start or stop
A value that cannot be told is null.";

impl Status {
    pub fn execute(self) -> ExitCode {
        let shown = guard::state().and_then(|state| output::guard::Shown::of(&state));
        match shown {
            Ok(shown) => {
                if self.json {
                    output::json("guard", &shown);
                } else {
                    output::say(&output::guard::text(&shown));
                }
                if shown.is_whole() {
                    ExitCode::SUCCESS
                } else {
                    ExitCode::FAILURE
                }
            }
            Err(error) => {
                output::guard::error(&error);
                ExitCode::FAILURE
            }
        }
    }
}
