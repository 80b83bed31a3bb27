//! `daxshim untag`

use std::process::ExitCode;

use clap::Args;
use daxshim_core::host::{self, shown};

use super::Files;
use super::guard::along::Along;
use crate::output;

/// Clear the tag of files
///
/// Removes the tag, be it valid, stale, broken, malformed or emulated, and puts back the inode
/// flags that `daxshim tag` had set. A file without a tag is left alone. Where there is a guard (daxshim
/// guard), the file is taken out of it first.
#[derive(Args)]
#[command(after_long_help = AFTER_HELP)]
pub struct Untag {
    #[command(flatten)]
    files: Files,
}

const AFTER_HELP: &str = "\
Preconditions, with the error where one fails:
  CAP_LINUX_IMMUTABLE, and CAP_SYS_ADMIN to remove the attribute; to
  clear an emulated tag, the right to write to the file              EPERM
  no process maps the file; one that cannot be looked at counts as
  mapping it                                                         EBUSY

Example:
  daxshim untag /mnt/pmem/data";

impl Untag {
    pub fn execute(self) -> ExitCode {
        let guard = Along::find();
        self.files.each(|file| {
            let held = guard.as_ref().and_then(|guard| guard.release(file));
            let untagged = host::untag(file).inspect_err(|_| {
                if let (Some(guard), Some(held)) = (&guard, held) {
                    guard.hold_again(held);
                }
            })?;
            let text = output::tagging::untagged(&shown(file), &untagged);
            let let_go = if held.is_some() {
                "; let go by the guard"
            } else {
                ""
            };
            output::say(&format!("{text}{let_go}"));
            Ok(true)
        })
    }
}
