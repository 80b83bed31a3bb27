//! `daxshim doctor`

use std::process::ExitCode;

use clap::Args;
use daxshim_core::host::{self, Machine};
use daxshim_guard::survey::survey;
use serde::Serialize;

use crate::output;
use crate::output::guard::Possible;
use crate::stacks;

/// Show what this machine offers
///
/// Persistent memory, DAX mounts, the instruction that writes cache lines back, eADR, kernel
/// features and capabilities; what is missing, and how to get it. Needs no privilege, changes
/// nothing. The exit status is 0 whatever is missing.
#[derive(Args)]
#[command(after_long_help = AFTER_HELP)]
pub struct Doctor {
    /// Write one JSON document to standard output
    #[arg(long)]
    json: bool,
}

const AFTER_HELP: &str = "\
JSON: {\"schema\": 1, \"machine\": {...}}:
  devices        name, size (bytes), dax, write_cache
  regions        name, persistence_domain
  mounts         point, source, filesystem, dax (mount option)
  flush          the instruction; eadr: whether it can be left out
  kernel         release, map_sync, getxattrat, tmpfs_user_xattr
  capabilities   linux_immutable, sys_admin, lease, sys_ptrace
  emulation      directory, attribute
  advice         missing, remedy
  guard          state (on, off, half), kind (lsm, fmod_ret), btf, bpffs, capable, lockdown, and what
                 is in the way: obstacle (what, why, help)
  stacks         whether the findings of daxshim check have the calls that led there
A value that cannot be told is null.";

#[derive(Serialize)]
struct WithGuard<'a> {
    #[serde(flatten)]
    machine: Machine,
    guard: Possible<'a>,
    stacks: bool,
}

impl Doctor {
    pub fn execute(self) -> ExitCode {
        let machine = host::doctor();
        let guard = survey();
        if self.json {
            let guard = output::guard::Possible::from(&guard);
            let stacks = stacks::missing().is_none();
            let machine = WithGuard {
                machine,
                guard,
                stacks,
            };
            output::json("machine", &machine);
        } else {
            output::say(&output::doctor::text(&machine, &guard));
        }
        ExitCode::SUCCESS
    }
}
