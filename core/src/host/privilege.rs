//! What the caller may do, and holding off signals while a file is between two states.

use nix::sys::signal::{SigSet, SigmaskHow};
use rustix::thread::CapabilitySet;
use serde::Serialize;

/// The caller's effective capabilities that matter here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Capabilities {
    /// CAP_LINUX_IMMUTABLE: set and clear tags.
    pub linux_immutable: bool,
    /// CAP_SYS_ADMIN: set and remove `security.` attributes.
    pub sys_admin: bool,
    /// CAP_LEASE: take leases on files of others.
    pub lease: bool,
    /// CAP_SYS_PTRACE: see what other users' processes have mapped.
    pub sys_ptrace: bool,
}

/// capget(2): the caller's effective capabilities; none where it cannot be asked.
#[must_use]
pub fn capabilities() -> Capabilities {
    let effective =
        rustix::thread::capabilities(None).map_or(CapabilitySet::empty(), |sets| sets.effective);
    Capabilities {
        linux_immutable: effective.contains(CapabilitySet::LINUX_IMMUTABLE),
        sys_admin: effective.contains(CapabilitySet::SYS_ADMIN),
        lease: effective.contains(CapabilitySet::LEASE),
        sys_ptrace: effective.contains(CapabilitySet::SYS_PTRACE),
    }
}

/// Holds off signals until dropped, so that CTRL-C leaves a file tagged or untagged, never half.
pub(super) struct Undisturbed(Option<SigSet>);

impl Undisturbed {
    pub(super) fn begin() -> Undisturbed {
        Undisturbed(SigSet::all().thread_swap_mask(SigmaskHow::SIG_BLOCK).ok())
    }
}

impl Drop for Undisturbed {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            let _ = before.thread_set_mask();
        }
    }
}
