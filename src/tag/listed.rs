//! Asks /proc/self/maps whose a mapping is, where the record of mappings can't be relied on.

use crate::ground::maps::each_mapping;
use crate::ground::memory::Room;
use crate::ground::place::Place;
use crate::tag::subject;
use daxshim_core::contract::Subject;

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
