//! `daxshim status`

use std::os::unix::fs::MetadataExt;
use std::process::ExitCode;

use clap::Args;
use daxshim_core::host::{self, Status as FileStatus};
use serde::Serialize;

use super::Files;
use crate::output;
use crate::output::guard::{FileGuard, of_file};

/// Show tag, DAX state, extents and users of files
///
/// Changes nothing. Processes of other users can only be looked at by root.
#[derive(Args)]
#[command(after_long_help = AFTER_HELP)]
pub struct Status {
    #[command(flatten)]
    files: Files,

    /// Write one JSON document to standard output
    #[arg(long)]
    json: bool,
}

const AFTER_HELP: &str = "\
JSON: {\"schema\": 1, \"files\": [...]}, an object per file in the order given:
  path, inode, generation, size (bytes)
  tag       null for a file without one, else: condition (tagged, broken, stale, malformed),
            reason, emulated, attribute
  dax       active (STATX_ATTR_DAX), flag (FS_XFLAG_DAX), nodefrag, mount (point, source,
            filesystem, dax, device_dax, device)
  extents   count, fingerprint, match_tag, huge (bytes for 2 MiB pages), defect (kind, offset,
            length of the first range that keeps it from being tagged)
  holders   known (pid, name, open, writes, mapped, sync), loops, unseen (pid, name)
  guard     held, mode (enforce, audit), refused: whether the kernel holds it (daxshim guard)
A value that cannot be told is null.

Examples:
  daxshim status /mnt/pmem/data
  daxshim status --json /mnt/pmem/* | jq '.files[] | select(.tag == null) | .path'";

#[derive(Serialize)]
struct WithGuard {
    #[serde(flatten)]
    status: FileStatus,
    guard: Option<FileGuard>,
}

impl Status {
    pub fn execute(self) -> ExitCode {
        let mut statuses: Vec<WithGuard> = Vec::new();
        let mut first = true;
        let code = self.files.each(|file| {
            let status = host::status(file)?;
            let device = std::fs::metadata(file).map_or(0, |metadata| metadata.dev());
            let guard = of_file(device, status.inode, status.generation);
            if self.json {
                statuses.push(WithGuard { status, guard });
            } else {
                if !std::mem::take(&mut first) {
                    output::say("");
                }
                output::say(&output::status::text(&status, guard));
            }
            Ok(true)
        });
        if self.json {
            output::json("files", &statuses);
        }
        code
    }
}
