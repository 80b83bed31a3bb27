//! What the kernel says of this process's mappings.

use crate::ground::memory::Room;
use crate::ground::real::sys;
use core::ops::ControlFlow;
use daxshim_core::maps::{self, Mapping};

/// Bytes of /proc/self/maps read together: more than a line has.
pub const TEXT: usize = 16 << 10;

/// Calls `visit` with each mapping. `None`: they could not be listed.
pub fn each_mapping(mut visit: impl FnMut(&Mapping)) -> Option<()> {
    let mut room = Room::map(TEXT)?;
    each_mapping_in(room.bytes(), |mapping| {
        visit(mapping);
        ControlFlow::Continue(())
    })
}

/// As [`each_mapping`], until `visit` breaks off, and without a mapping of our own: a path that `text` has no room
/// for is cut.
pub fn each_mapping_in(
    text: &mut [u8],
    visit: impl FnMut(&Mapping) -> ControlFlow<()>,
) -> Option<()> {
    let flags = libc::O_RDONLY | libc::O_CLOEXEC;
    let path = c"/proc/thread-self/maps".as_ptr();
    // SAFETY: a C string of ours.
    let fd = unsafe { sys!(SYS_openat, libc::AT_FDCWD, path, flags) }.ok()?;
    let read = |into: &mut [u8]| {
        // SAFETY: the buffer is ours, and so is the descriptor.
        unsafe { sys!(SYS_read, fd, into.as_mut_ptr(), into.len()) }.unwrap_or(0)
    };
    maps::each(text, read, visit);
    // SAFETY: opened above.
    let _ = unsafe { sys!(SYS_close, fd) };
    Some(())
}
