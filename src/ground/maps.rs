//! What the kernel says of this process's mappings.

use crate::ground::memory::Room;
use crate::ground::real::sys;
use daxshim_core::maps::Mapping;

/// Bytes of /proc/self/maps read together: more than a line has.
pub const TEXT: usize = 16 << 10;

/// Calls `visit` with each mapping. `None`: they could not be listed.
pub fn each_mapping(mut visit: impl FnMut(&Mapping)) -> Option<()> {
    let mut room = Room::map(TEXT)?;
    let text = room.bytes();
    let flags = libc::O_RDONLY | libc::O_CLOEXEC;
    let path = c"/proc/thread-self/maps".as_ptr();
    // SAFETY: a C string of ours.
    let fd = unsafe { sys!(SYS_openat, libc::AT_FDCWD, path, flags) }.ok()?;
    let mut filled = 0;
    while let Some(free) = text.get_mut(filled..) {
        // SAFETY: the buffer is ours, and so is the descriptor.
        let read = unsafe { sys!(SYS_read, fd, free.as_mut_ptr(), free.len()) };
        let Some(read) = read.ok().filter(|&read| read > 0) else {
            break;
        };
        filled += read;
        let lines = text.get(..filled)?;
        let whole = lines
            .iter()
            .rposition(|&byte| byte == b'\n')
            .map_or(0, |at| at + 1);
        for line in lines.get(..whole)?.split(|&byte| byte == b'\n') {
            if let Some(mapping) = Mapping::parse(line) {
                visit(&mapping);
            }
        }
        text.copy_within(whole..filled, 0);
        filled -= whole;
    }
    // SAFETY: opened above.
    let _ = unsafe { sys!(SYS_close, fd) };
    Some(())
}
