//! Options that every command that runs programs under the shim has.

use std::path::Path;

use clap::Args;

use crate::run::environment::Environment;
use crate::run::{filters, library};

/// How the shim treats tagged files.
#[derive(Args)]
pub struct ShimOptions {
    /// What is refused on tagged files: enforce answers EPERM, audit only counts, off touches
    /// nothing (DAXSHIM_MODE) [default: enforce]
    #[arg(long, value_name = "MODE", value_parser = ["enforce", "audit", "off"])]
    mode: Option<String>,

    /// Let through what changes nothing, as truncate to the present size (DAXSHIM_COMPAT=1)
    #[arg(long)]
    compat: bool,

    /// Populate sync mappings when they are made, so that no store faults later (DAXSHIM_PREFAULT=1)
    #[arg(long)]
    prefault: bool,

    /// Honour emulated tags, for development without DAX (DAXSHIM_EMULATE=1)
    #[arg(long)]
    emulate: bool,

    /// Whether read(2) of tagged files is allowed (DAXSHIM_READS) [default: allow]
    #[arg(long, value_name = "READS", value_parser = ["allow", "deny"])]
    reads: Option<String>,
}

impl ShimOptions {
    /// The command's environment with the library preloaded and these options set.
    pub fn environment(&self, library: &Path) -> Environment {
        let mut environment = Environment::inherited();
        let preload = library::preload(library, environment.get("LD_PRELOAD"));
        environment.set("LD_PRELOAD", preload);
        filters::tell(&mut environment);
        let values = [
            ("DAXSHIM_MODE", self.mode.as_deref()),
            ("DAXSHIM_READS", self.reads.as_deref()),
            ("DAXSHIM_COMPAT", self.compat.then_some("1")),
            ("DAXSHIM_PREFAULT", self.prefault.then_some("1")),
            ("DAXSHIM_EMULATE", self.emulate.then_some("1")),
        ];
        for (name, value) in values {
            if let Some(value) = value {
                environment.set(name, value);
            }
        }
        environment
    }
}
