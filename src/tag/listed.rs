//! What the kernel says of this process's mappings, where the record of them can't be relied on.

use crate::ground::memory::Room;
use crate::ground::real::sys;
use crate::tag::subject::{self, Place};
use daxshim_core::contract::Subject;
use daxshim_core::maps::Mapping;

/// Bytes of /proc/self/maps read together: more than a line has.
pub const TEXT: usize = 16 << 10;

/// Calls `visit` with each mapping. `None`: they could not be listed.
pub fn each_mapping(mut visit: impl FnMut(&Mapping)) -> Option<()> {
    let mut room = Room::map(TEXT)?;
    let text = room.bytes();
    let flags = libc::O_RDONLY | libc::O_CLOEXEC;
    let path = c"/proc/self/maps".as_ptr();
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

/// Whether a tagged file is mapped shared in `[start, end)`: as the kernel lists it, and by the tag of what is
/// at its path now, which a tagged file keeps.
pub fn subject_in(start: usize, end: usize) -> Subject {
    let mut subject = Subject::Untagged;
    let Some(mut room) = Room::map(libc::PATH_MAX as usize) else {
        return subject;
    };
    let _ = each_mapping(|mapping| {
        let is_there = mapping.start < end && start < mapping.end && mapping.is_shared();
        if is_there && mapping.inode != 0 && subject == Subject::Untagged {
            subject = of_path(mapping.path, room.bytes());
        }
    });
    subject
}

fn of_path(path: &[u8], room: &mut [u8]) -> Subject {
    let ended = path.iter().chain(&[0]);
    if path.len() >= room.len() {
        return Subject::Untagged;
    }
    for (to, from) in room.iter_mut().zip(ended) {
        *to = *from;
    }
    subject::of(Place::path(room.as_ptr() as usize, true))
}
