//! The environment variables that steer the library, and what to make of their values.

use crate::contract::{Mode, Policy};
use core::ffi::CStr;

/// `DAXSHIM_FLUSH`: what becomes of msync on a sync mapping.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum FlushPolicy {
    /// User flush or kernel sync, whichever is cheaper for the range.
    #[default]
    Auto,
    /// Always user flush.
    User,
    /// Always the kernel: the A leg of an A/B comparison.
    Kernel,
    /// Neither: what if flushes were free? Nothing is durable.
    None,
}

impl FlushPolicy {
    /// The word in `DAXSHIM_FLUSH` and in reports.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            FlushPolicy::Auto => "auto",
            FlushPolicy::User => "user",
            FlushPolicy::Kernel => "kernel",
            FlushPolicy::None => "none",
        }
    }

    /// The policy of a [`Page`](crate::report::Page) field.
    #[must_use]
    pub const fn from_u8(value: u8) -> FlushPolicy {
        match value {
            1 => FlushPolicy::User,
            2 => FlushPolicy::Kernel,
            3 => FlushPolicy::None,
            _ => FlushPolicy::Auto,
        }
    }
}

/// `DAXSHIM_CHECK`: whether misuse of mappings is looked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Checking {
    /// No.
    #[default]
    Off,
    /// Yes; large ranges are compared as often as time allows.
    Sampled,
    /// Yes, at each sync.
    Exact,
    /// What becomes durable is recorded for `daxshim crash` instead.
    Crash,
}

impl Mode {
    /// The word in `DAXSHIM_MODE` and in reports.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Mode::Enforce => "enforce",
            Mode::Audit => "audit",
            Mode::Off => "off",
        }
    }
}

/// Everything the environment says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// `DAXSHIM_MODE`, `DAXSHIM_COMPAT`, `DAXSHIM_READS`.
    pub policy: Policy,
    /// `DAXSHIM_FLUSH`.
    pub flush: FlushPolicy,
    /// `DAXSHIM_EMULATE`: honour emulated tags.
    pub emulate: bool,
    /// `DAXSHIM_DEEP`: the kernel's deep flush on top.
    pub deep: bool,
    /// `DAXSHIM_PREFAULT`: populate sync mappings when they are made.
    pub prefault: bool,
    /// `DAXSHIM_CHECK`.
    pub check: Checking,
    /// `DAXSHIM_BLAME`: with `check`, who stored first.
    pub blame: bool,
    /// `DAXSHIM_LOG`: 0 off, 1 error … 5 trace.
    pub log_level: u8,
    /// `PMEM_IS_PMEM_FORCE`: overrides what the kernel says of a mapping.
    pub force_pmem: Option<bool>,
    /// `PMEM_NO_CLWB`: do not use clwb.
    pub no_clwb: bool,
    /// `PMEM_NO_CLFLUSHOPT`: do not use clflushopt.
    pub no_clflushopt: bool,
    /// `PMEM_NO_FLUSH`: overrides eADR detection; true leaves the write-back out.
    pub no_flush: Option<bool>,
}

macro_rules! variables {
    ($($(#[$doc:meta])* $name:ident $text:literal $values:literal,)+) => {
        /// A variable with a closed set of values.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub enum Variable { $($(#[$doc])* $name,)+ }

        impl Variable {
            /// Every variable, in table order.
            pub const ALL: &'static [Variable] = &[$(Variable::$name),+];

            /// Its name in the environment.
            #[must_use]
            pub const fn name(self) -> &'static CStr {
                match self { $(Variable::$name => $text,)+ }
            }

            /// The values it takes, for messages.
            #[must_use]
            pub const fn values(self) -> &'static str {
                match self { $(Variable::$name => $values,)+ }
            }
        }
    };
}

variables! {
    /// Enforcement.
    Mode c"DAXSHIM_MODE" "enforce, audit or off",
    /// What becomes of msync.
    Flush c"DAXSHIM_FLUSH" "auto, user, kernel or none",
    /// Let through what changes nothing.
    Compat c"DAXSHIM_COMPAT" "0 or 1",
    /// Honour emulated tags.
    Emulate c"DAXSHIM_EMULATE" "0 or 1",
    /// Whether read(2) is allowed.
    Reads c"DAXSHIM_READS" "allow or deny",
    /// Add the kernel's deep flush.
    Deep c"DAXSHIM_DEEP" "0 or 1",
    /// Populate sync mappings when they are made.
    Prefault c"DAXSHIM_PREFAULT" "0 or 1",
    /// Look for misuse; needs `DAXSHIM_REPORT` (`daxshim check` and `crash` set both).
    Check c"DAXSHIM_CHECK" "0, 1, exact or crash",
    /// With `DAXSHIM_CHECK`: who stored first to what was never synced.
    Blame c"DAXSHIM_BLAME" "0 or 1",
    /// How much is logged.
    Log c"DAXSHIM_LOG" "error, warn, info, debug or trace",
    /// PMDK: override the detection of pmem.
    ForcePmem c"PMEM_IS_PMEM_FORCE" "0 or 1",
    /// PMDK: no clwb.
    NoClwb c"PMEM_NO_CLWB" "0 or 1",
    /// PMDK: no clflushopt.
    NoClflushopt c"PMEM_NO_CLFLUSHOPT" "0 or 1",
    /// PMDK: override eADR detection.
    NoFlush c"PMEM_NO_FLUSH" "0 or 1",
}

/// The variables whose values were not understood; each then has its default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Misunderstood(pub u32);

impl Misunderstood {
    fn note(&mut self, variable: Variable) {
        self.0 |= 1 << (variable as u32);
    }

    /// The variables, in table order.
    pub fn iter(self) -> impl Iterator<Item = Variable> {
        Variable::ALL
            .iter()
            .copied()
            .filter(move |&v| self.0 & (1 << (v as u32)) != 0)
    }
}

impl Config {
    /// Reads the environment through `lookup`. An empty value counts as unset.
    pub fn read<'a>(lookup: impl Fn(&CStr) -> Option<&'a [u8]>) -> (Config, Misunderstood) {
        let mut config = Config {
            log_level: 2,
            ..Config::default()
        };
        let mut misunderstood = Misunderstood::default();
        for &variable in Variable::ALL {
            let value = lookup(variable.name()).filter(|value| !value.is_empty());
            if let Some(value) = value
                && config.set(variable, value).is_none()
            {
                misunderstood.note(variable);
            }
        }
        (config, misunderstood)
    }

    fn set(&mut self, variable: Variable, value: &[u8]) -> Option<()> {
        match variable {
            Variable::Mode => {
                self.policy.mode = match value {
                    b"enforce" => Mode::Enforce,
                    b"audit" => Mode::Audit,
                    b"off" => Mode::Off,
                    _ => return None,
                }
            }
            Variable::Flush => {
                self.flush = match value {
                    b"auto" => FlushPolicy::Auto,
                    b"user" => FlushPolicy::User,
                    b"kernel" => FlushPolicy::Kernel,
                    b"none" => FlushPolicy::None,
                    _ => return None,
                }
            }
            Variable::Compat => self.policy.compat = switch(value)?,
            Variable::Emulate => self.emulate = switch(value)?,
            Variable::Reads => {
                self.policy.deny_reads = match value {
                    b"allow" => false,
                    b"deny" => true,
                    _ => return None,
                }
            }
            Variable::Deep => self.deep = switch(value)?,
            Variable::Prefault => self.prefault = switch(value)?,
            Variable::Check => {
                self.check = match value {
                    b"0" => Checking::Off,
                    b"1" => Checking::Sampled,
                    b"exact" => Checking::Exact,
                    b"crash" => Checking::Crash,
                    _ => return None,
                }
            }
            Variable::Blame => self.blame = switch(value)?,
            Variable::Log => {
                self.log_level = match value {
                    b"error" => 1,
                    b"warn" => 2,
                    b"info" => 3,
                    b"debug" => 4,
                    b"trace" => 5,
                    _ => return None,
                }
            }
            Variable::ForcePmem => self.force_pmem = Some(switch(value)?),
            Variable::NoClwb => self.no_clwb = switch(value)?,
            Variable::NoClflushopt => self.no_clflushopt = switch(value)?,
            Variable::NoFlush => self.no_flush = Some(switch(value)?),
        }
        Some(())
    }
}

fn switch(value: &[u8]) -> Option<bool> {
    match value {
        b"0" => Some(false),
        b"1" => Some(true),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&CStr, &'static str)]) -> (Config, Misunderstood) {
        Config::read(|name| {
            pairs
                .iter()
                .find(|(n, _)| *n == name)
                .map(|(_, v)| v.as_bytes())
        })
    }

    #[test]
    fn an_empty_environment_gives_the_defaults() {
        let (config, misunderstood) = read(&[]);
        assert_eq!(config.policy, Policy::default());
        assert_eq!(config.flush, FlushPolicy::Auto);
        assert!(!config.emulate && !config.deep);
        assert_eq!(misunderstood.iter().count(), 0);
        assert_eq!(read(&[(c"DAXSHIM_MODE", "")]), read(&[]));
    }

    #[test]
    fn every_documented_value_is_understood() {
        for &variable in Variable::ALL {
            for value in variable.values().split([',', ' ']) {
                if value.is_empty() || value == "or" {
                    continue;
                }
                let (_, misunderstood) = read(&[(variable.name(), value)]);
                assert_eq!(misunderstood.iter().count(), 0, "{variable:?}={value}");
            }
        }
    }

    #[test]
    fn an_unknown_value_is_noted_and_leaves_the_default() {
        for &variable in Variable::ALL {
            for value in ["bogus", "2", "Enforce", "yes", "\u{fffd}"] {
                let (config, misunderstood) = read(&[(variable.name(), value)]);
                assert_eq!(config, read(&[]).0, "{variable:?}={value}");
                assert_eq!(misunderstood.iter().collect::<Vec<_>>(), [variable]);
            }
        }
    }
}
