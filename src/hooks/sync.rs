//! msync(2), fsync(2), fdatasync(2).

use crate::mappings;
use crate::sync::{self, after_fdatasync, after_fsync};
use crate::trampoline::{Call, Step};

/// msync(2).
pub extern "C" fn msync(call: &mut Call) -> Step {
    if mappings::is_empty() {
        return Step::PASS;
    }
    sync::msync(call)
}

/// fsync(2).
pub extern "C" fn fsync(call: &mut Call) -> Step {
    sync::of_descriptor(call, after_fsync)
}

/// fdatasync(2).
pub extern "C" fn fdatasync(call: &mut Call) -> Step {
    sync::of_descriptor(call, after_fdatasync)
}
