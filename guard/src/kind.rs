//! The two kinds of programs that can refuse, and which of them this kernel takes.

use std::fs;

use crate::bpf::Attach;

/// The kind of the programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `lsm`: the kernel was booted with bpf among its security modules.
    Lsm,
    /// `fmod_ret` on the functions that ask the modules.
    ModifyReturn,
}

impl Kind {
    /// What this kernel takes: `bpf` is in /sys/kernel/security/lsm, or not, or nobody can tell.
    #[must_use]
    pub fn here() -> Kind {
        let active = fs::read_to_string("/sys/kernel/security/lsm").unwrap_or_default();
        if active.trim().split(',').any(|name| name == "bpf") {
            Kind::Lsm
        } else {
            Kind::ModifyReturn
        }
    }

    /// The kernel's word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Kind::Lsm => "lsm",
            Kind::ModifyReturn => "fmod_ret",
        }
    }

    /// The function that a hook's program is attached to.
    #[must_use]
    pub fn function(self, hook: &str) -> String {
        format!("{}{hook}", self.prefix())
    }

    const fn prefix(self) -> &'static str {
        match self {
            Kind::Lsm => "bpf_lsm_",
            Kind::ModifyReturn => "security_",
        }
    }

    /// How its programs are attached.
    #[must_use]
    pub const fn attach(self) -> Attach {
        match self {
            Kind::Lsm => Attach::Lsm,
            Kind::ModifyReturn => Attach::ModifyReturn,
        }
    }

    /// Its number in [`crate::set::About`].
    #[must_use]
    pub const fn number(self) -> u32 {
        match self {
            Kind::Lsm => 1,
            Kind::ModifyReturn => 2,
        }
    }

    /// The kind with this number.
    #[must_use]
    pub const fn numbered(number: u32) -> Option<Kind> {
        match number {
            1 => Some(Kind::Lsm),
            2 => Some(Kind::ModifyReturn),
            _ => None,
        }
    }
}
