//! How a call names a file, and what the kernel says of it.

use crate::ground::descriptors::{self, Mapped, is_known_tagged};
use crate::ground::memory::{self, Room};
use crate::ground::real::{self, Errno, sys};
use core::ffi::{CStr, c_char};
use core::sync::atomic::{AtomicBool, Ordering};
use daxshim_core::dax;
use daxshim_core::line::Line;
use libc::AT_FDCWD;
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

    /// getxattr(2) of it: how long the value is, bytes.
    pub fn xattr(&self, name: &CStr, value: &mut [u8]) -> Result<usize, Errno> {
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

    /// Without getxattrat(2): through `/proc/thread-self/fd/AT/PATH`.
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

    /// By name_to_handle_at(2). `None` where the filesystem has no handles, or others than are known.
    #[inline(never)]
    pub fn generation_by_handle(&self, inode: u64) -> Option<u32> {
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

/// Whether it is proven that `fd` is still of the file that a mapping was made of from it, whose generation was this
/// then: nobody was seen to close it, and who closed it unseen has not opened this generation by chance (1 in 2^32).
pub fn is_still(fd: i32, known: Mapped, generation: Option<u32>) -> bool {
    let now = borrow(fd).and_then(dax::generation);
    dax::is_proof(generation, now) && descriptors::mapped(fd) == Some(known)
}

/// Room for `/proc/thread-self/fd/N/`.
const FD_PREFIX: usize = 40;

/// Writes `/proc/thread-self/fd/N/` so that it ends at [`FD_PREFIX`]; where it begins. `None` for
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
