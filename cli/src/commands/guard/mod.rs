//! `daxshim guard`

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use daxshim_guard::set::flag;

use crate::output;

mod add;
pub mod along;
mod remove;
mod start;
mod status;
mod stop;

/// Hold tagged files in the kernel, for every process
///
/// What the library can't see (static programs, inline system calls, io_uring, set-ID programs, loop
/// devices, backup tools) is refused by a few BPF programs on the kernel's security hooks. No patch,
/// no module, no compiler; docs/guard.md says how, what it costs, and what gets past.
#[derive(Args)]
#[command(after_long_help = AFTER_HELP)]
pub struct Guard {
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "\
Needs root (CAP_BPF, CAP_PERFMON, and the right to write to /sys/fs/bpf) and a kernel with BTF, such
as those of Debian 12, Ubuntu 22.04 and RHEL 9 or newer.

Examples:
  daxshim guard start --all
  daxshim guard status
  daxshim guard add /mnt/pmem/data
  daxshim guard stop";

#[derive(Subcommand)]
enum Command {
    Start(start::Start),
    Stop(stop::Stop),
    Status(status::Status),
    Add(add::Add),
    Remove(remove::Remove),
}

impl Guard {
    pub fn execute(self) -> ExitCode {
        match self.command {
            Command::Start(start) => start.execute(),
            Command::Stop(stop) => stop.execute(),
            Command::Status(status) => status.execute(),
            Command::Add(add) => add.execute(),
            Command::Remove(remove) => remove.execute(),
        }
    }
}

/// How files are held.
#[derive(Args)]
struct How {
    /// enforce refuses, audit only counts what it would have refused
    #[arg(long, value_name = "MODE", value_parser = ["enforce", "audit"])]
    mode: Option<String>,

    /// Let through what changes nothing, as truncate to the present size
    #[arg(long)]
    compat: bool,

    /// Whether read(2) is allowed
    #[arg(long, value_name = "READS", value_parser = ["allow", "deny"])]
    reads: Option<String>,
}

impl How {
    /// As [`flag`]s; what is not said is taken from these.
    fn flags(&self, otherwise: u32) -> u32 {
        let mut flags = otherwise;
        let mut set = |bit: u32, wanted: Option<bool>| match wanted {
            Some(true) => flags |= bit,
            Some(false) => flags &= !bit,
            None => {}
        };
        set(
            flag::AUDIT,
            self.mode.as_deref().map(|mode| mode == "audit"),
        );
        set(flag::COMPAT, self.compat.then_some(true));
        set(
            flag::DENY_READS,
            self.reads.as_deref().map(|reads| reads == "deny"),
        );
        flags
    }
}

/// Which files, besides those that are named.
#[derive(Args)]
struct Which {
    /// Tagged files to hold
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,

    /// Hold the tagged files below DIR, on its filesystem (may be given several times)
    #[arg(long, value_name = "DIR")]
    scan: Vec<PathBuf>,

    /// Hold the tagged files of every filesystem that is mounted with DAX
    #[arg(long)]
    all: bool,

    /// Hold the files that FILE names, one a line; lines that begin with # do not count
    #[arg(long, value_name = "FILE")]
    list: Vec<PathBuf>,
}

impl Which {
    fn is_empty(&self) -> bool {
        self.files.is_empty() && self.scan.is_empty() && self.list.is_empty() && !self.all
    }

    /// Their paths, and whether all places could be looked at; what could not has been said.
    fn paths(&self) -> (Vec<PathBuf>, bool) {
        let mut paths = self.files.clone();
        let mut well = true;
        let mut directories = self.scan.clone();
        if self.all {
            directories.extend(
                daxshim_core::host::dax_mounts()
                    .into_iter()
                    .map(|m| m.point),
            );
        }
        for directory in &directories {
            match daxshim_guard::scan::tagged_below(directory) {
                Ok((found, unread)) => {
                    paths.extend(found);
                    for directory in unread {
                        cannot_read(&directory, "it, or a file in it, cannot be looked at");
                        well = false;
                    }
                }
                Err(error) => {
                    cannot_read(directory, &error.to_string());
                    well = false;
                }
            }
        }
        for list in &self.list {
            match daxshim_guard::scan::listed(list) {
                Ok(found) => paths.extend(found),
                Err(error) => {
                    cannot_read(list, &error.to_string());
                    well = false;
                }
            }
        }
        let mut seen = std::collections::HashSet::new();
        paths.retain(|path| seen.insert(path.clone()));
        (paths, well)
    }
}

fn cannot_read(path: &std::path::Path, why: &str) {
    let what = format!("cannot read {}", daxshim_core::host::shown(path));
    output::failure(&what, why, "check the path, and run as root");
}
