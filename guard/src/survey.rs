//! Whether a guard is possible here, without trying: for `daxshim doctor`.

use std::fs;
use std::path::Path;

use crate::Error;
use crate::bpf;
use crate::btf::Btf;
use crate::guard::{self, BPFFS, State};
use crate::kind::Kind;
use crate::programs::{HOOKS, Presence};

/// What this machine and this caller have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Survey {
    /// The kind that would be taken.
    pub kind: Kind,
    /// The kernel describes its types.
    pub btf: bool,
    /// bpffs is mounted where guards are pinned.
    pub bpffs: bool,
    /// The caller has CAP_BPF and CAP_PERFMON, or CAP_SYS_ADMIN.
    pub capable: bool,
    /// `none`, `integrity`, `confidentiality`; `None` where the kernel does not say.
    pub lockdown: Option<String>,
    /// `on`, `off`, `half`; `None` where the caller may not look.
    pub state: Option<&'static str>,
    /// The first thing that is in the way.
    pub obstacle: Option<Error>,
}

/// Looks; changes nothing.
#[must_use]
pub fn survey() -> Survey {
    let kind = Kind::here();
    let btf = Btf::of_kernel();
    let has_all = |btf: &Btf| {
        let always = HOOKS
            .iter()
            .filter(|hook| hook.presence == Presence::Always);
        let missing = always
            .map(|hook| kind.function(hook.name))
            .find(|name| btf.function(name).is_none());
        missing.map_or(Ok(()), |name| {
            Err(Error::new(
                "no guard is possible",
                format!("the kernel has no function {name}"),
                "use a kernel with CONFIG_BPF_LSM=y, as those of Debian 12, Ubuntu 22.04 and RHEL 9 are",
            ))
        })
    };
    let lockdown = lockdown();
    let locked = (lockdown.as_deref() == Some("confidentiality")).then(|| {
        Error::new(
            "no guard is possible",
            "the kernel is locked down for confidentiality: no program may read its memory",
            "boot with lockdown=integrity, or without it",
        )
    });
    let (capable, bpffs) = (bpf::is_capable(), has_bpffs());
    let obstacle = match &btf {
        Err(error) => Some(error.clone()),
        Ok(btf) => has_all(btf).err(),
    };
    let obstacle = obstacle
        .or(locked)
        .or_else(|| {
            (!bpffs).then(|| {
                Error::new(
                    "a guard can't be pinned",
                    format!("no bpffs is mounted on {BPFFS}"),
                    format!("mount -t bpf bpf {BPFFS}, as root; systemd does so at boot"),
                )
            })
        })
        .or_else(|| {
            (!capable).then(|| {
                Error::new(
                    "a guard can't be started by this user",
                    "CAP_BPF and CAP_PERFMON are missing",
                    "run daxshim guard start as root; what it holds is held for everybody",
                )
            })
        });
    Survey {
        kind,
        btf: btf.is_ok(),
        bpffs,
        capable,
        lockdown,
        state: match guard::state() {
            Ok(State::On(_)) => Some("on"),
            Ok(State::Off) => Some("off"),
            Ok(State::Half(_)) => Some("half"),
            Err(_) => None,
        },
        obstacle,
    }
}

fn has_bpffs() -> bool {
    rustix::fs::statfs(Path::new(BPFFS))
        .is_ok_and(|statfs| statfs.f_type as u32 == guard::BPF_FS_MAGIC)
}

/// The word in brackets of /sys/kernel/security/lockdown.
fn lockdown() -> Option<String> {
    let text = fs::read_to_string("/sys/kernel/security/lockdown").ok()?;
    chosen(&text).map(str::to_owned)
}

fn chosen(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once('[')?;
    Some(rest.split_once(']')?.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_word_in_brackets_is_the_one_in_force() {
        assert_eq!(
            chosen("none [integrity] confidentiality\n"),
            Some("integrity")
        );
        assert_eq!(chosen("none integrity"), None);
        assert_eq!(chosen(""), None);
    }

    #[test]
    fn this_machine_can_be_looked_at() {
        let survey = survey();
        assert_eq!(survey.btf, Path::new(crate::btf::PATH).exists());
        if !survey.btf || !survey.bpffs || !survey.capable {
            assert!(survey.obstacle.is_some());
        }
    }
}
