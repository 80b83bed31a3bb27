//! Options that every command that runs programs under the shim has.

use std::ffi::OsString;
use std::path::Path;

use clap::Args;

use crate::run::before::{self, Before};
use crate::run::environment::Environment;
use crate::run::{Failure, filters, library, watching};

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

/// What check and crash look at, and what they begin with.
#[derive(Args)]
pub struct WatchOptions {
    /// Which files are watched: tagged,dax (always), shared for every file that is mapped shared and writable, or a
    /// pattern: of a file's name, or with a slash of its path. May be repeated
    ///
    /// No tag and no privilege is needed, and nothing is refused on files without a tag. Elsewhere than on DAX a
    /// file lies in the page cache, of which the kernel may write back any page at any time, or none.
    #[arg(long, value_name = "WHAT")]
    pub watch: Vec<OsString>,

    /// Run this by sh -c before the program, without the shim: to make fresh files
    #[arg(long, value_name = "CMD")]
    pub setup: Option<OsString>,

    /// Put watched files back as they were before: those that the command line or a --watch pattern names
    #[arg(long)]
    pub restore: bool,
}

impl WatchOptions {
    /// Tells the library.
    pub fn set(&self, environment: &mut Environment) -> Result<(), Failure> {
        if !self.watch.is_empty() {
            environment.set(watching::VARIABLE, watching::variable(&self.watch)?);
        }
        Ok(())
    }

    /// What `--watch` said, for people.
    pub fn words(&self) -> Vec<String> {
        crate::run::words(&self.watch)
    }

    /// Keeps what will be put back, and sets up.
    pub fn begin(&self, command: &[OsString]) -> Result<Before, Failure> {
        let mut before = match self.restore {
            true => Before::keep(command, &watching::patterns(&self.watch))?,
            false => Before::untouched(),
        };
        before.is_set_up = self.setup.is_some();
        if let Some(setup) = &self.setup
            && let Err(failure) = before::set_up(setup)
        {
            before.put_back(None);
            return Err(failure);
        }
        Ok(before)
    }
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
