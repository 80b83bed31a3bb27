//! What a sync has done so far, and whether it does anything.

use crate::ground::process;
use daxshim_core::config::FlushPolicy;
use daxshim_core::report::Way;

/// What was done.
#[derive(Clone, Copy, Default)]
pub(super) struct Done {
    pub(super) lines: u64,
    pub(super) by_lines: bool,
    pub(super) by_range: bool,
    pub(super) by_kernel: bool,
}

impl Done {
    pub(super) fn way(self) -> Way {
        match (self.by_lines, self.by_range, self.by_kernel) {
            (true, false, false) => Way::User,
            (false, true, false) => Way::Range,
            (true, ..) => Way::Mixed,
            (false, ..) => Way::Kernel,
        }
    }
}

/// `DAXSHIM_FLUSH=none`.
pub(super) fn is_skipped() -> bool {
    process::config().flush == FlushPolicy::None
}
