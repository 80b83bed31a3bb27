//! `daxshim inspect`

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use daxshim_core::host;

use crate::output;

/// Show which mappings are DAX, MAP_SYNC and tagged, with which page size, and if user flush suffices
///
/// Of a process, its shared mappings of files that are DAX or tagged; of a file, its mappings in
/// every process that can be looked at. Processes of other users can only be looked at by root.
/// Changes nothing.
#[derive(Args)]
#[command(after_long_help = AFTER_HELP)]
pub struct Inspect {
    /// A process, or a file; a number is a process unless a file has that name (or is meant by
    /// ./NUMBER)
    #[arg(value_name = "PID|FILE")]
    target: OsString,

    /// Every mapping of a file that the process has: private ones and those of other files too
    #[arg(long)]
    all: bool,

    /// Write one JSON document to standard output
    #[arg(long)]
    json: bool,
}

const AFTER_HELP: &str = "\
A mapping is shown with the pages that are mapped at this moment: what was never touched has none.
Their sizes need Linux 6.7 or newer.

JSON: {\"schema\": 1, \"inspection\": {\"mappings\": [...], \"unseen\": [...]}}; docs/json.md has the
fields.

Exit status: 0 also if nothing is mapped; 1 for a process or file that is not there or not yours.

Examples:
  daxshim inspect 4711
  daxshim inspect /mnt/pmem/data
  daxshim inspect --json $(pidof program) | jq '.inspection.mappings[] | select(.sync | not)'";

/// What is looked at.
enum Target {
    Process(u64),
    File(PathBuf),
}

impl Target {
    fn of(given: OsString) -> Target {
        let path = PathBuf::from(given);
        let digits = path
            .to_str()
            .filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
        match digits.and_then(|text| text.parse().ok()) {
            Some(pid) if path.symlink_metadata().is_err() => Target::Process(pid),
            _ => Target::File(path),
        }
    }
}

impl Inspect {
    pub fn execute(self) -> ExitCode {
        let target = Target::of(self.target);
        let found = match &target {
            Target::Process(pid) => host::inspect_process(*pid, self.all),
            Target::File(path) => host::inspect_file(path),
        };
        let inspection = match found {
            Ok(inspection) => inspection,
            Err(error) => {
                output::error(&error);
                return ExitCode::FAILURE;
            }
        };
        if self.json {
            output::json("inspection", &inspection);
            return ExitCode::SUCCESS;
        }
        let nothing = match &target {
            Target::Process(pid) if self.all => format!("process {pid} maps no file"),
            Target::Process(pid) => format!(
                "process {pid} has no shared mapping of a file that is DAX or tagged (--all shows \
                 every mapping of a file)"
            ),
            Target::File(path) => format!("{}: mapped by no process", host::shown(path)),
        };
        output::say(&output::inspect::text(&inspection, &nothing));
        ExitCode::SUCCESS
    }
}
