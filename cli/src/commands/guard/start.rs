//! `daxshim guard start`

use std::process::ExitCode;

use clap::Args;
use daxshim_core::host::shown;
use daxshim_guard::guard::{self, Options};
use daxshim_guard::hold::{self, Holding};

use super::{How, Which};
use crate::commands::exit_code;
use crate::output;

/// Start the guard
///
/// Loads the programs, attaches them, tries them on a scratch file of each filesystem with DAX, and
/// pins them below /sys/fs/bpf/daxshim: the guard outlives this command, and ends with daxshim guard
/// stop or the machine. If the kernel does not refuse what it should, all is taken down again.
#[derive(Args)]
#[command(after_long_help = AFTER_HELP)]
pub struct Start {
    #[command(flatten)]
    which: Which,

    #[command(flatten)]
    how: How,

    /// Ask at every open(2) too, and so keep acct(2) and NVMe targets off; open(2) of any file then
    /// costs a little more
    #[arg(long)]
    opens: bool,
}

const AFTER_HELP: &str = "\
While there is a guard, daxshim tag adds files to it and daxshim untag takes them out.
--mode, --compat and --reads are for the files given here and for all that are added later.

Examples:
  daxshim guard start --all
  daxshim guard start --mode audit --scan /mnt/pmem
  daxshim guard start --list /etc/daxshim/guard.list";

impl Start {
    pub fn execute(self) -> ExitCode {
        let options = Options {
            flags: self.how.flags(0),
            opens: self.opens,
            kind: None,
        };
        let mut tested = Vec::new();
        let started = guard::start(&options, |attached| {
            tested = hold::test_all(&attached.maps)?;
            Ok(())
        });
        let (pinned, cleared) = match started {
            Ok(started) => started,
            Err(error) => {
                output::guard::error(&error);
                return ExitCode::FAILURE;
            }
        };
        if cleared {
            output::note("removed what an interrupted start or stop had left");
        }
        output::say(&output::guard::started(&pinned));
        let (paths, mut well) = self.which.paths();
        let mut holding = Holding::new(&pinned.maps, &tested);
        for path in &paths {
            match holding.hold(path, options.flags) {
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
