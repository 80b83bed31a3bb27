//! `daxshim prepare`

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::Args;
use daxshim_core::host::{self, Cause, DaxOutcome, PrepareOptions, Progress, shown};
use parse_size::Config;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use super::exit_code;
use crate::output::{self, progress::Bar};

/// Make a file fit for a tag
///
/// Allocates every block, zeroes by writing what was never written, unshares what other files
/// share, sets FS_XFLAG_DAX, and lays the file out for 2 MiB mappings where the filesystem can. What
/// the file contains stays.
#[derive(Args)]
#[command(after_long_help = AFTER_HELP)]
pub struct Prepare {
    /// The file; it is created if it does not exist
    file: PathBuf,

    /// Size to create the file with or to grow it to
    ///
    /// In bytes, or with K, M, G, T (powers of 1024; KiB and KB mean the same).
    #[arg(long, value_name = "N", value_parser = parse_size, allow_hyphen_values = true)]
    size: Option<u64>,

    /// Prepare it for an emulated tag: DAX is neither needed nor touched
    #[arg(long)]
    emulate: bool,
}

const AFTER_HELP: &str = "\
Errors:
  EPERM   the file is tagged: untag it first
  EBUSY   another process has it open
  EINVAL  --size is smaller than the file, or the filesystem compresses or encrypts it
  ENOSPC  the filesystem is full; the file is as it was
CTRL-C stops it; the file keeps its content, and one that was created is removed.

Examples:
  daxshim prepare /mnt/pmem/data --size 1G
  daxshim prepare /mnt/pmem/existing.db
  daxshim prepare --emulate /dev/shm/data --size 64M";

fn parse_size(text: &str) -> Result<u64, String> {
    let parsed = Config::new().with_binary().parse_size(text);
    match parsed.map(|size| (size, i64::try_from(size))) {
        Ok((size, Ok(_))) => Ok(size),
        Ok((_, Err(_))) | Err(parse_size::Error::PosOverflow) => {
            Err("larger than any file can be".into())
        }
        Err(_) if text.starts_with('-') => Err("no file is smaller than 0 bytes".into()),
        Err(_) => Err("not a number of bytes: 4096, 64M, 1.5G (K, M, G, T)".into()),
    }
}

impl Prepare {
    pub fn execute(self) -> ExitCode {
        let options = PrepareOptions {
            size: self.size,
            emulate: self.emulate,
        };
        let stop = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            // Without the handler, the signal just ends the program.
            let _ = signal_hook::flag::register(signal, Arc::clone(&stop));
        }
        let bar = Bar::new(&self.file);
        let mut show = |progress: Progress| {
            bar.show(progress);
            if stop.load(Ordering::Relaxed) {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        };
        let result = host::prepare(&self.file, &options, &mut show);
        bar.finish();
        match result {
            Ok(prepared) => {
                output::say(&output::prepare::text(&shown(&self.file), &prepared));
                if let DaxOutcome::Unavailable(reason) = &prepared.dax {
                    output::note(&format!(
                        "DAX is not available for it: {reason}; only an emulated tag is possible \
                         (daxshim tag --emulate)"
                    ));
                }
                exit_code(true)
            }
            Err(error) => {
                output::error(&error);
                match error.cause {
                    // As a shell reports SIGINT.
                    Cause::Interrupted => ExitCode::from(130),
                    _ => exit_code(false),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_in_powers_of_1024() {
        for (text, size) in [
            ("4096", Ok(4096)),
            ("1K", Ok(1024)),
            ("64M", Ok(64 << 20)),
            ("64MiB", Ok(64 << 20)),
            ("1GB", Ok(1 << 30)),
        ] {
            assert_eq!(parse_size(text), size, "{text}");
        }
        for (text, why) in [
            ("", "not a number"),
            ("1X", "not a number"),
            ("-5", "smaller than 0"),
            ("16E", "larger"),
            ("99E", "larger"),
        ] {
            let error = parse_size(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
