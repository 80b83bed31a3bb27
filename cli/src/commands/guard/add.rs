//! `daxshim guard add`

use std::process::ExitCode;

use clap::Args;
use daxshim_core::host::shown;
use daxshim_guard::guard::{self, Lock};
use daxshim_guard::hold::Holding;

use super::{How, Which};
use crate::commands::exit_code;
use crate::output;

/// Hold more tagged files
///
/// A file that a loop device or the kernel itself writes to is refused: the hooks come too late for
/// them. Processes that have it open for writing are no hindrance: their writes are refused from now
/// on. A file that is held already is held as said now.
#[derive(Args)]
#[command(after_long_help = AFTER_HELP)]
pub struct Add {
    #[command(flatten)]
    which: Which,

    #[command(flatten)]
    how: How,
}

const AFTER_HELP: &str = "\
Examples:
  daxshim guard add /mnt/pmem/data
  daxshim guard add --mode audit --scan /mnt/pmem";

impl Add {
    pub fn execute(self) -> ExitCode {
        if self.which.is_empty() {
            output::failure(
                "nothing to add",
                "no file was given",
                "daxshim guard add FILE…, or --scan DIR, --all, --list FILE",
            );
            return ExitCode::from(2);
        }
        let there = Lock::take().and_then(|lock| Ok((lock, guard::running()?)));
        let (_lock, pinned) = match there {
            Ok(there) => there,
            Err(error) => {
                output::guard::error(&error);
                return ExitCode::FAILURE;
            }
        };
        let (paths, mut well) = self.which.paths();
        let mut holding = Holding::new(&pinned.maps, &[]);
        for path in &paths {
            match holding.hold(path, self.how.flags(pinned.about.flags)) {
                Ok(held) => output::say(&output::guard::held(&shown(path), &held)),
                Err(error) => {
                    output::guard::error(&error);
                    well = false;
                }
            }
        }
        exit_code(well)
    }
}
