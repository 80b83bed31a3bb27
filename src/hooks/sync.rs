//! msync(2), fsync(2), fdatasync(2), sync_file_range(2).

use crate::check;
use crate::entry::slot::{Call, Step};
use crate::mappings;
use crate::sync::{self, after_fdatasync, after_fsync, after_sync_file_range};
use daxshim_core::report;

/// msync(2).
pub extern "C" fn msync(call: &mut Call) -> Step {
    if mappings::is_empty() {
        return Step::PASS;
    }
    let [start, length, flags, ..] = call.args;
    if check::on() && flags as i32 & !libc::MS_INVALIDATE & !libc::MS_ASYNC == 0 {
        check::asked_only(start, length);
    }
    sync::msync(call)
}

/// fsync(2).
pub extern "C" fn fsync(call: &mut Call) -> Step {
    sync::of_descriptor(call, report::SyncCall::Fsync, after_fsync)
}

/// fdatasync(2).
pub extern "C" fn fdatasync(call: &mut Call) -> Step {
    sync::of_descriptor(call, report::SyncCall::Fdatasync, after_fdatasync)
}

/// sync_file_range(2).
pub extern "C" fn sync_file_range(call: &mut Call) -> Step {
    sync::of_descriptor(call, report::SyncCall::SyncFileRange, after_sync_file_range)
}
