//! Whose tag: from the descriptor or path of a call to the contract's subject.

use crate::check;
use crate::ground::descriptors::{Look, is_known_tagged};
use crate::ground::memory;
use crate::ground::page::event;
use crate::ground::place::{Place, Stat, borrow, open_flags};
use crate::ground::process;
use crate::ground::real::{self, Errno};
use crate::mappings;
use crate::tag::dax_devices;
use core::ffi::CStr;
use daxshim_core::contract::{Mode, Subject};
use daxshim_core::report::Event;
use daxshim_core::tag::{Identity, Record, XATTR, XATTR_EMULATED};
use daxshim_core::{dax, extents};
use libc::{ENODATA, ENOTSUP};

/// A tag that was believed, and what it binds.
#[derive(Clone, Copy)]
pub struct Tag {
    /// The record.
    pub record: Record,
    /// From `user.dax_immutable`, or marked so.
    pub emulated: bool,
    /// What the inode said of itself when the tag was held against it.
    pub file: Facts,
}

impl Tag {
    /// To be filled in.
    const NONE: Tag = Tag {
        record: Record::EMPTY,
        emulated: false,
        file: Facts {
            device: 0,
            owner: 0,
            generation: None,
        },
    };
}

/// What the look for a tag has learnt of the file besides.
#[derive(Clone, Copy)]
pub struct Facts {
    /// `st_dev`.
    pub device: u64,
    /// `st_uid`.
    pub owner: u32,
    /// FS_IOC_GETVERSION, where the file has it and could be asked.
    pub generation: Option<u32>,
}

/// What reading an attribute led to.
enum Reading {
    Nothing,
    Valid,
    Unreadable,
}

/// In a frame of its own, which holds the value only while it is read.
#[inline(never)]
fn read_attribute(place: &Place, name: &CStr, emulated: bool, tag: &mut Tag) -> Reading {
    let mut value = [0; Record::MAX_LEN];
    match place.xattr(name, &mut value) {
        Ok(len) => match tag.record.read(value.get(..len).unwrap_or(&[])) {
            Ok(()) => {
                tag.emulated = emulated || tag.record.emulated;
                Reading::Valid
            }
            Err(_) => {
                event(Event::MalformedTag);
                Reading::Nothing
            }
        },
        Err(libc::ERANGE) => {
            event(Event::MalformedTag);
            Reading::Nothing
        }
        Err(ENODATA | ENOTSUP) => Reading::Nothing,
        Err(_) => Reading::Unreadable,
    }
}

fn read(place: &Place, tag: &mut Tag) -> Reading {
    let emulate = process::config().emulate;
    match read_attribute(place, XATTR, false, tag) {
        Reading::Valid if tag.emulated && !emulate => Reading::Nothing,
        Reading::Nothing if emulate => read_attribute(place, XATTR_EMULATED, true, tag),
        other => other,
    }
}

/// FS_IOC_GETVERSION. Where the call has only a path the file is not opened to ask: this process maps it
/// and so has asked before, or its handle says it.
fn generation(place: &Place, stat: &Stat) -> Option<u32> {
    match place {
        Place::Descriptor(fd) => borrow(*fd).and_then(dax::generation),
        Place::Path { .. } if stat.st_mode & libc::S_IFMT == libc::S_IFREG => {
            mappings::generation_of_mapped(stat.st_dev, stat.st_ino)
                .or_else(|| place.generation_by_handle(stat.st_ino))
        }
        Place::Path { .. } => None,
    }
}

/// Whether the record speaks of this file; notes what else that has told. In a frame of its own, as
/// [`read_attribute`].
#[inline(never)]
fn is_of(place: &Place, tag: &mut Tag) -> Result<bool, Errno> {
    let stat = place.stat()?;
    tag.file = Facts {
        device: stat.st_dev,
        owner: stat.st_uid,
        generation: generation(place, &stat),
    };
    let identity = Identity {
        inode: stat.st_ino,
        generation: tag.file.generation,
        size: stat.st_size as u64,
    };
    Ok(tag.record.subject(&identity) == Subject::Tagged)
}

/// Whether any tag can be in force in this process. Asked first by calls that cost less than a look for a tag.
pub fn can_bind() -> bool {
    let config = process::config();
    let by_kernel_s_word = !config.emulate && config.force_pmem != Some(true);
    config.policy.mode != Mode::Off && (!by_kernel_s_word || dax_devices::may_exist())
}

/// What looking for a tag led to.
#[derive(PartialEq, Eq)]
enum Found {
    Nothing,
    /// One that is in force.
    Tag,
    /// Nothing could be learnt (the file may not even exist).
    Unknown,
}

/// Looks for the tag in force on a file, and fills it in. Not in a frame between those of its callers and of
/// what it calls.
#[inline(always)]
fn find(place: &Place, tag: &mut Tag) -> Found {
    if real::is_sealed() {
        return Found::Unknown;
    }
    check::looked_at(place);
    if !can_bind() {
        return Found::Nothing;
    }
    match read(place, tag) {
        Reading::Nothing => return Found::Nothing,
        Reading::Unreadable => return Found::Unknown,
        Reading::Valid => {}
    }
    match is_of(place, tag) {
        Ok(true) => Found::Tag,
        Ok(false) => {
            event(Event::StaleTag);
            Found::Nothing
        }
        Err(_) => {
            event(Event::UnreadableTag);
            Found::Unknown
        }
    }
}

/// Whether an open file has a tag in force, which is then filled in; asks the kernel once in an untagged
/// descriptor's life.
#[inline(always)]
fn find_of_descriptor(fd: i32, tag: &mut Tag) -> bool {
    if fd < 0 || crate::ground::descriptors::is_untagged(fd) {
        return false;
    }
    let look = Look::begin(fd);
    match find(&Place::Descriptor(fd), tag) {
        Found::Tag => {
            look.found_tagged();
            true
        }
        Found::Nothing => {
            if !check::is_looked_at(fd) {
                look.found_untagged();
            }
            false
        }
        Found::Unknown => false,
    }
}

/// The tag of an open file.
pub fn tag_of_descriptor(fd: i32) -> Option<Tag> {
    let mut tag = Tag::NONE;
    find_of_descriptor(fd, &mut tag).then_some(tag)
}

/// Whether an open file has a tag in force.
#[inline(never)]
pub fn is_tagged(fd: i32) -> bool {
    let mut tag = Tag::NONE;
    find_of_descriptor(fd, &mut tag)
}

/// The subject of a call that changes data through a descriptor.
pub fn of_descriptor(fd: i32) -> Subject {
    if real::is_sealed() {
        return known(fd);
    }
    subject(is_tagged(fd))
}

/// What is known of a descriptor without asking, in a sealed process.
#[cold]
fn known(fd: i32) -> Subject {
    if is_known_tagged(fd) {
        Subject::Tagged
    } else {
        Subject::Untagged
    }
}

/// Looks up a descriptor while that can still be done: what is tagged, and open for writing, so that a call
/// to change it would not be EBADF, stays known.
pub fn remember(fd: i32) {
    let look = Look::begin(fd);
    let is_writable = open_flags(fd).is_some_and(|flags| {
        flags & libc::O_PATH == 0 && flags & libc::O_ACCMODE != libc::O_RDONLY
    });
    if is_writable && is_tagged(fd) {
        look.found_writable();
    }
}

/// The subject of a call that changes metadata. Not hot, so it never relies on what was seen
/// before: a file may be tagged while it is open for reading.
pub fn of(place: Place) -> Subject {
    if let Place::Descriptor(fd) = place
        && real::is_sealed()
    {
        return known(fd);
    }
    subject(is_tagged_at(&place))
}

#[inline(never)]
fn is_tagged_at(place: &Place) -> bool {
    let mut tag = Tag::NONE;
    find(place, &mut tag) == Found::Tag
}

/// The owner of a file on which a tag is in force; not hot either.
#[inline(never)]
pub fn owner_of_tagged(place: &Place) -> Option<u32> {
    let mut tag = Tag::NONE;
    (find(place, &mut tag) == Found::Tag).then_some(tag.file.owner)
}

/// The tag that is in force on a file; not hot either.
#[inline(always)]
pub fn tag_at(place: Place) -> Option<Tag> {
    let mut tag = Tag::NONE;
    (find(&place, &mut tag) == Found::Tag).then_some(tag)
}

/// Whether a value of this length, bytes, could be a tag that binds.
pub fn could_bind(size: usize) -> bool {
    (Record::MIN_LEN..=Record::MAX_LEN).contains(&size) && can_bind()
}

/// Whether a value of the tag's attribute would bind the file: whoever could set it would have a
/// tag without its preconditions.
#[inline(never)]
pub fn would_bind(place: Place, name: &[u8], value: usize, size: usize) -> bool {
    let emulate = process::config().emulate;
    let is_real = name == XATTR.to_bytes();
    if !(is_real || emulate && name == XATTR_EMULATED.to_bytes()) {
        return false;
    }
    let mut tag = Tag::NONE;
    read_value(&mut tag.record, value, size)
        && (emulate || !tag.record.emulated)
        && is_of(&place, &mut tag) == Ok(true)
}

/// A record from the program's memory.
#[inline(never)]
fn read_value(record: &mut Record, value: usize, size: usize) -> bool {
    let mut bytes = [0; Record::MAX_LEN];
    bytes
        .get_mut(..size)
        .is_some_and(|bytes| memory::copy(value, bytes) && record.read(bytes).is_ok())
}

/// Enforcement does not look at the extents: [`Subject::Broken`] answers as [`Subject::Tagged`].
pub fn subject(is_tagged: bool) -> Subject {
    match is_tagged {
        true => Subject::Tagged,
        false => Subject::Untagged,
    }
}

/// Whether the extents are still those of the tag.
pub fn extents_match(fd: i32, tag: &Tag) -> bool {
    let Some(expected) = tag.record.extents else {
        return true;
    };
    borrow(fd)
        .is_some_and(|fd| extents::fingerprint(fd, tag.record.size, false) == Ok(Some(expected)))
}
