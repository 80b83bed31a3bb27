//! `daxshim tag`

use std::process::ExitCode;

use clap::Args;
use daxshim_core::host::{self, TagOptions, shown};

use super::Files;
use super::guard::along::Along;
use crate::output;

/// Tag files DAX-immutable
///
/// Sets the extended attribute security.dax_immutable after checking every precondition, and
/// FS_XFLAG_DAX along with it (on XFS also FS_XFLAG_NODEFRAG). If a precondition fails, the file
/// stays as it was.
#[derive(Args)]
#[command(after_long_help = AFTER_HELP)]
pub struct Tag {
    #[command(flatten)]
    files: Files,

    /// Set an emulated tag, for development where there is no DAX
    ///
    /// The attribute is user.dax_immutable; only programs with DAXSHIM_EMULATE=1 honour it. On tmpfs
    /// the flush path is used too; elsewhere every sync goes to the kernel.
    #[arg(long)]
    emulate: bool,
}

const AFTER_HELP: &str = "\
Preconditions, with the error where one fails:
  a regular file                                                     EINVAL
  CAP_LINUX_IMMUTABLE, and CAP_SYS_ADMIN to set the attribute; to set
  an emulated tag, the right to write to the file                    EPERM
  a filesystem and device with DAX, unless --emulate is given        EOPNOTSUPP
  every byte in an allocated, written, unshared extent               EINVAL
  nobody else has the file open for writing or mapped                EBUSY

A file that is tagged already is left alone. A stale tag (of a copy, or of another size) is
replaced; a broken one (the extents have moved) is refused: untag, prepare, tag. Where there is a
guard (daxshim guard), the file is added to it.

Examples:
  daxshim prepare /mnt/pmem/data --size 1G && daxshim tag /mnt/pmem/data
  daxshim prepare --emulate /dev/shm/data --size 64M && daxshim tag --emulate /dev/shm/data";

impl Tag {
    pub fn execute(self) -> ExitCode {
        let options = TagOptions {
            emulate: self.emulate,
            set_dax: true,
        };
        // An emulated tag is nothing to the kernel.
        let guard = (!self.emulate).then(Along::find).flatten();
        self.files.each(|file| {
            let tagged = host::tag(file, &options)?;
            let held = guard.as_ref().map(|guard| guard.hold(file)).transpose();
            let text = output::tagging::tagged(&shown(file), &tagged);
            match held {
                Ok(None) => output::say(&text),
                Ok(Some(_)) => output::say(&format!("{text}; held by the guard")),
                Err(error) => {
                    output::say(&text);
                    output::guard::error(&error);
                    return Ok(false);
                }
            }
            Ok(true)
        })
    }
}
