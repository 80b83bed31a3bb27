//! Whose tag: from the descriptor or path of a call to the contract's subject.

use crate::check;
use crate::ground::descriptors::{Look, is_known_tagged};
use crate::ground::memory::{self, Room};
use crate::ground::process::{self, event};
use crate::ground::real::{self, Errno, sys};
use crate::mappings;
use crate::tag::dax_devices;
use core::ffi::{CStr, c_char};
use core::sync::atomic::{AtomicBool, Ordering};
use daxshim_core::contract::{Mode, Subject};
use daxshim_core::line::Line;
use daxshim_core::report::Event;
use daxshim_core::tag::{Identity, Record, XATTR, XATTR_EMULATED};
use daxshim_core::{dax, extents};
use libc::{AT_FDCWD, ENODATA, ENOTSUP};
use rustix::fd::BorrowedFd;

/// How a call names a file.
#[derive(Clone, Copy)]
pub enum Place {
    /// A descriptor.
    Descriptor(i32),
    /// A path, from a directory.
    Path {
        /// The directory's descriptor or AT_FDCWD.
        at: i32,
        /// As the program gave it; may be invalid.
        path: *const c_char,
        /// Whether a symlink at the end is followed.
        follow: bool,
        /// Whether an empty path means `at` itself (AT_EMPTY_PATH).
        empty: bool,
    },
}

/// What is used of stat(2)'s struct, in a third of its 144 bytes, as most hooks have one on the program's
/// stack.
#[derive(Clone, Copy)]
pub struct Stat {
    /// The filesystem.
    pub st_dev: u64,
    /// Inode number.
    pub st_ino: u64,
    /// Bytes.
    pub st_size: i64,
    /// Of a device file, the device.
    pub st_rdev: u64,
    /// Links.
    pub st_nlink: u32,
    /// Type and permissions.
    pub st_mode: u32,
    /// Owner.
    pub st_uid: u32,
    /// Group.
    pub st_gid: u32,
}

impl Place {
    /// A path from the working directory.
    pub fn path(path: usize, follow: bool) -> Place {
        Place::at(AT_FDCWD, path, follow)
    }

    /// A path from a directory.
    pub fn at(at: i32, path: usize, follow: bool) -> Place {
        Place::Path {
            at,
            path: path as *const c_char,
            follow,
            empty: false,
        }
    }

    /// With AT_EMPTY_PATH if `empty`.
    pub fn or_empty(self, is_empty: bool) -> Place {
        match self {
            Place::Path {
                at, path, follow, ..
            } => Place::Path {
                at,
                path,
                follow,
                empty: is_empty,
            },
            descriptor => descriptor,
        }
    }

    /// Directory descriptor, path and AT_ flags, for calls that take all three.
    pub fn at_path(self) -> (i32, *const c_char, i32) {
        let (at, path) = match self {
            Place::Descriptor(fd) => (fd, c"".as_ptr()),
            Place::Path { at, path, .. } => (at, path),
        };
        (at, path, self.at_flags())
    }

    /// Whether it is a descriptor, or named as one: by AT_EMPTY_PATH and no path.
    pub fn is_descriptor(self) -> bool {
        match self {
            Place::Descriptor(_) => true,
            Place::Path { path, empty, .. } => {
                empty && (path.is_null() || memory::read_value(path as usize) == Some(0_u8))
            }
        }
    }

    fn at_flags(self) -> i32 {
        match self {
            Place::Descriptor(_) => libc::AT_EMPTY_PATH,
            Place::Path { follow, empty, .. } => {
                (if follow { 0 } else { libc::AT_SYMLINK_NOFOLLOW })
                    | (if empty { libc::AT_EMPTY_PATH } else { 0 })
            }
        }
    }

    /// stat(2) of it.
    #[inline(never)]
    pub fn stat(&self) -> Result<Stat, Errno> {
        let (at, path, flags) = self.at_path();
        let mut stat = core::mem::MaybeUninit::<libc::stat>::uninit();
        // SAFETY: the kernel fills `stat` in whole, or fails.
        let stat = unsafe {
            sys!(SYS_newfstatat, at, path, stat.as_mut_ptr(), flags)?;
            stat.assume_init_ref()
        };
        Ok(Stat {
            st_dev: stat.st_dev,
            st_ino: stat.st_ino,
            st_size: stat.st_size,
            st_rdev: stat.st_rdev,
            st_nlink: stat.st_nlink as u32,
            st_mode: stat.st_mode,
            st_uid: stat.st_uid,
            st_gid: stat.st_gid,
        })
    }

    /// Whether it is a descriptor with O_PATH (or none at all), on which calls that need an open
    /// file answer EBADF.
    pub fn is_path_only(self) -> bool {
        let Place::Descriptor(fd) = self else {
            return false;
        };
        open_flags(fd).is_none_or(|flags| flags & libc::O_PATH != 0)
    }

    /// Whether the caller may do this to it (`W_OK` …), by its effective IDs.
    pub fn access(self, wanted: i32) -> Result<(), Errno> {
        let (at, path, flags) = self.at_path();
        let flags = flags | libc::AT_EACCESS;
        // SAFETY: the kernel reads the path, or answers EFAULT.
        match unsafe { sys!(SYS_faccessat2, at, path, wanted, flags) } {
            // A kernel before 5.8, or a seccomp filter of that age, knows nothing against it.
            Ok(_) | Err(libc::ENOSYS | libc::EPERM) => Ok(()),
            Err(errno) => Err(errno),
        }
    }

    /// Looks at the directory that holds it.
    #[inline(never)]
    fn parent<T>(self, look: impl FnOnce(Place) -> Result<T, Errno>) -> Result<T, Errno> {
        let Place::Path { at, path, .. } = self else {
            return Err(libc::EINVAL);
        };
        let mut room = Room::map(libc::PATH_MAX as usize).ok_or(libc::ENOMEM)?;
        let buffer = room.bytes();
        let name = memory::copy_string(path, buffer).ok_or(libc::EFAULT)?;
        if name.is_empty() {
            return Err(libc::ENOENT);
        }
        let cut = name.iter().rposition(|&b| b == b'/').map_or(0, |i| i + 1);
        let directory: *const c_char = match buffer.get_mut(cut) {
            Some(end) if cut > 0 => {
                *end = 0;
                buffer.as_ptr().cast()
            }
            _ => c".".as_ptr(),
        };
        look(Place::at(at, directory as usize, true))
    }

    /// Whether entries may be made and removed in the directory that holds it.
    pub fn parent_access(self) -> Result<(), Errno> {
        self.parent(|directory| directory.access(libc::W_OK | libc::X_OK))
    }

    /// `st_dev` of the directory that holds it.
    pub fn parent_device(self) -> Result<u64, Errno> {
        self.parent(|directory| directory.stat().map(|stat| stat.st_dev))
    }

    fn xattr(&self, name: &CStr, value: &mut [u8]) -> Result<usize, Errno> {
        let (name, buffer, len) = (name.as_ptr(), value.as_mut_ptr(), value.len());
        match *self {
            Place::Descriptor(fd) => {
                // SAFETY: name and buffer are ours.
                let result = unsafe { sys!(SYS_fgetxattr, fd, name, buffer, len) };
                match result {
                    // O_PATH, or nothing at all: ask by name.
                    Err(libc::EBADF) => xattr_by_name(fd, name, buffer, len),
                    other => other,
                }
            }
            Place::Path {
                at: AT_FDCWD,
                path,
                follow,
                empty: false,
                // SAFETY: name and buffer are ours; the kernel reads the path, or answers EFAULT.
            } => unsafe {
                if follow {
                    sys!(SYS_getxattr, path, name, buffer, len)
                } else {
                    sys!(SYS_lgetxattr, path, name, buffer, len)
                }
            },
            Place::Path {
                at, path, empty, ..
            } => self.xattr_at(at, path, empty, name, buffer, len),
        }
    }

    fn xattr_at(
        &self,
        at: i32,
        path: *const c_char,
        empty: bool,
        name: *const c_char,
        value: *mut u8,
        len: usize,
    ) -> Result<usize, Errno> {
        // Linux 6.13: one call does it, without looking at the path. libc has no name for it yet.
        const SYS_GETXATTRAT: libc::c_long = 464;
        static MISSING: AtomicBool = AtomicBool::new(false);
        if !MISSING.load(Ordering::Relaxed) {
            let args = XattrArgs {
                value: value as u64,
                size: len as u32,
                flags: 0,
            };
            // SAFETY: name, args and buffer are ours; the kernel reads the path, or answers EFAULT.
            let result = unsafe {
                crate::ground::real::syscall(
                    SYS_GETXATTRAT,
                    [
                        at as usize,
                        path as usize,
                        self.at_flags() as usize,
                        name as usize,
                        &raw const args as usize,
                        size_of::<XattrArgs>(),
                    ],
                )
            };
            match result {
                // EPERM: a seccomp filter older than the call.
                Err(libc::ENOSYS | libc::EPERM) => MISSING.store(true, Ordering::Relaxed),
                // AT_EMPTY_PATH and an O_PATH descriptor.
                Err(libc::EBADF) if empty => return xattr_by_name(at, name, value, len),
                other => return other,
            }
        }
        self.xattr_at_before_6_13(name, value, len)
    }

    /// Without getxattrat(2): through `/proc/self/fd/AT/PATH`.
    #[cold]
    #[inline(never)]
    fn xattr_at_before_6_13(
        &self,
        name: *const c_char,
        value: *mut u8,
        len: usize,
    ) -> Result<usize, Errno> {
        let Place::Path {
            at,
            path,
            follow,
            empty,
        } = *self
        else {
            return Err(libc::EINVAL);
        };
        let mut room = Room::map(FD_PREFIX + libc::PATH_MAX as usize).ok_or(libc::ENOMEM)?;
        let buffer = room.bytes();
        let prefix = proc_prefix(at, buffer);
        let Some(room) = buffer.get_mut(FD_PREFIX..) else {
            return Err(libc::ENAMETOOLONG);
        };
        let given = match memory::copy_string(path, room) {
            Some(given) => given,
            None if empty && path.is_null() => b"",
            None => return Err(libc::EFAULT),
        };
        let by_descriptor = match given.first() {
            None if empty => return Place::at_or_cwd(at).xattr_raw(name, value, len),
            None => return Err(libc::ENOENT),
            Some(b'/') => None,
            Some(_) => prefix,
        };
        let from = by_descriptor.unwrap_or(FD_PREFIX);
        let found = buffer.get(from..).map_or(core::ptr::null(), <[u8]>::as_ptr);
        Place::path(found as usize, follow).xattr_raw(name, value, len)
    }

    fn at_or_cwd(at: i32) -> Place {
        if at == AT_FDCWD {
            Place::path(c".".as_ptr() as usize, true)
        } else {
            Place::Descriptor(at)
        }
    }

    fn xattr_raw(self, name: *const c_char, value: *mut u8, len: usize) -> Result<usize, Errno> {
        // SAFETY: both come from `xattr`, where they are a C string and a slice of ours.
        let (name, value) = unsafe {
            (
                CStr::from_ptr(name),
                core::slice::from_raw_parts_mut(value, len),
            )
        };
        self.xattr(name, value)
    }

    /// FS_IOC_GETVERSION. Where the call has only a path the file is not opened to ask: this process maps it
    /// and so has asked before, or its handle says it.
    fn generation(&self, stat: &Stat) -> Option<u32> {
        match self {
            Place::Descriptor(fd) => borrow(*fd).and_then(dax::generation),
            Place::Path { .. } if stat.st_mode & libc::S_IFMT == libc::S_IFREG => {
                mappings::generation_of_mapped(stat.st_dev, stat.st_ino)
                    .or_else(|| self.generation_by_handle(stat.st_ino))
            }
            Place::Path { .. } => None,
        }
    }

    /// By name_to_handle_at(2). `None` where the filesystem has no handles, or others than are known.
    #[inline(never)]
    fn generation_by_handle(&self, inode: u64) -> Option<u32> {
        let (at, path, flags) = self.at_path();
        let follow = match flags & libc::AT_SYMLINK_NOFOLLOW {
            0 => libc::AT_SYMLINK_FOLLOW,
            _ => 0,
        };
        let flags = flags & libc::AT_EMPTY_PATH | follow;
        let (mut handle, mut mount) = (dax::Handle::default(), 0_i32);
        let (to, mount) = (&raw mut handle, &raw mut mount);
        // SAFETY: the kernel reads the path, or answers EFAULT; it fills as much of the handle as that has
        // room for, and an int.
        unsafe { sys!(SYS_name_to_handle_at, at, path, to, mount, flags) }.ok()?;
        handle.generation(inode)
    }
}

/// struct xattr_args of setxattrat(2) and getxattrat(2).
#[repr(C)]
struct XattrArgs {
    value: u64,
    size: u32,
    flags: u32,
}

/// The flags a descriptor was opened with; `None` if it is not open.
pub fn open_flags(fd: i32) -> Option<i32> {
    // SAFETY: F_GETFL takes no pointer.
    match unsafe { sys!(SYS_fcntl, fd, libc::F_GETFL) } {
        Ok(flags) => Some(flags as i32),
        // What is then still asked about is open for writing, if it is known.
        Err(_) if real::is_sealed() && is_known_tagged(fd) => Some(libc::O_RDWR),
        Err(_) => None,
    }
}

/// A descriptor of the program's, for the length of a call. None in a sealed process: it is there to be
/// asked about.
pub fn borrow(fd: i32) -> Option<BorrowedFd<'static>> {
    // SAFETY: not -1, which is all that the type itself needs; a number that is not open is EBADF.
    (fd >= 0 && !real::is_sealed()).then(|| unsafe { BorrowedFd::borrow_raw(fd) })
}

/// Room for `/proc/self/fd/N/`.
const FD_PREFIX: usize = 32;

/// Writes `/proc/self/fd/N/` so that it ends at [`FD_PREFIX`]; where it begins. `None` for
/// AT_FDCWD, which needs no prefix.
fn proc_prefix(fd: i32, into: &mut [u8]) -> Option<usize> {
    let mut line = Line::<FD_PREFIX>::new();
    let text = line.descriptor(fd, "/")?.to_bytes();
    let begin = FD_PREFIX.checked_sub(text.len())?;
    into.get_mut(begin..FD_PREFIX)?.copy_from_slice(text);
    Some(begin)
}

#[cold]
#[inline(never)]
fn xattr_by_name(fd: i32, name: *const c_char, value: *mut u8, len: usize) -> Result<usize, Errno> {
    let mut line = Line::<FD_PREFIX>::new();
    let path = line.descriptor(fd, "");
    let path = path.ok_or(libc::EBADF)?.as_ptr();
    // SAFETY: all three are ours or the caller's.
    unsafe { sys!(SYS_getxattr, path, name, value, len) }
}

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

/// What looking for a tag has told of a file besides.
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

/// Whether the record speaks of this file; notes what else that has told. In a frame of its own, as
/// [`read_attribute`].
#[inline(never)]
fn is_of(place: &Place, tag: &mut Tag) -> Result<bool, Errno> {
    let stat = place.stat()?;
    tag.file = Facts {
        device: stat.st_dev,
        owner: stat.st_uid,
        generation: place.generation(&stat),
    };
    let identity = Identity {
        inode: stat.st_ino,
        generation: tag.file.generation,
        size: stat.st_size as u64,
    };
    Ok(tag.record.subject(&identity) == Subject::Tagged)
}

/// Whether any tag can be in force in this process. For calls to which a look would be dear.
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
            if !check::is_answered_through(fd) {
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
