//! The file whose tag is set or cleared: by which descriptor, and who else has it.

use crate::ground::memory::Room;
use crate::ground::opened::{self, Opened, each_descriptor, is_anonymous};
use crate::ground::place::{Place, Stat};
use crate::ground::real::{Errno, sys};
use daxshim_core::filesystem::Filesystem;
use daxshim_core::fnv::Fnv64;
use daxshim_core::holders::{self, Found, Holding, Target};
use daxshim_core::lease::{F_SETSIG, Hold};
use daxshim_core::line::Line;
use daxshim_core::proc::Own;
use rustix::fd::{AsFd, AsRawFd, BorrowedFd};
use rustix::fs::CWD;
use rustix::thread::CapabilitySet;

/// A descriptor to work on. If the program has one, that: opening the file would wake who watches it or has
/// a lease on it, and closing it drop the program's record locks.
pub(super) enum File {
    /// The program's.
    Program(i32),
    /// Ours, of a file that the program has not open: so it has no locks and no leases.
    Own(Own),
}

impl AsRawFd for File {
    fn as_raw_fd(&self) -> i32 {
        match self {
            File::Program(fd) => *fd,
            File::Own(file) => file.as_raw_fd(),
        }
    }
}

impl AsFd for File {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: not -1: the program's call by it was answered, or it was found or opened.
        unsafe { BorrowedFd::borrow_raw(self.as_raw_fd()) }
    }
}

impl File {
    pub(super) fn of(place: Place) -> Result<File, Errno> {
        match place {
            Place::Descriptor(fd) if !place.is_path_only() => Ok(File::Program(fd)),
            _ => File::by_path(place),
        }
    }

    /// EBUSY where there is no descriptor yet, and opening one might wake somebody in this process.
    fn by_path(place: Place) -> Result<File, Errno> {
        let stat = place.stat()?;
        match opened::of_file(&stat) {
            Opened::Readable(fd) | Opened::Writable(fd) => Ok(File::Program(fd)),
            Opened::No if watches() => Err(libc::EBUSY),
            Opened::No => File::open(place, &stat),
        }
    }

    fn open(place: Place, before: &Stat) -> Result<File, Errno> {
        let flags = libc::O_RDONLY | libc::O_CLOEXEC | libc::O_NONBLOCK | libc::O_NOCTTY;
        let (at, path, at_flags) = place.at_path();
        let mut link = Line::<32>::new();
        let opened = if place.is_descriptor() {
            let link = link.c_str(format_args!("/proc/thread-self/fd/{at}"));
            let link = link.ok_or(libc::EBADF)?.as_ptr();
            // SAFETY: the path is ours.
            unsafe { sys!(SYS_openat, libc::AT_FDCWD, link, flags) }
        } else {
            let follow = match at_flags & libc::AT_SYMLINK_NOFOLLOW {
                0 => 0,
                _ => libc::O_NOFOLLOW,
            };
            // SAFETY: the kernel reads the path, or answers EFAULT.
            unsafe { sys!(SYS_openat, at, path, flags | follow) }
        };
        let file = match opened {
            Ok(fd) => Own::from_raw(fd as i32),
            // Under somebody's lease.
            Err(libc::EWOULDBLOCK) => return Err(libc::EBUSY),
            Err(errno) => return Err(errno),
        };
        let now = Place::Descriptor(file.as_raw_fd()).stat()?;
        if (now.st_dev, now.st_ino) == (before.st_dev, before.st_ino) {
            Ok(File::Own(file))
        } else {
            Err(libc::EBUSY)
        }
    }
}

/// Whether the program may watch files.
pub(super) fn watches() -> bool {
    let mut watches = false;
    // inotify(7), fanotify(7)
    const WATCHES: [&[u8]; 2] = [b"anon_inode:inotify", b"anon_inode:[fanotify]"];
    let is_known = each_descriptor(|fd| watches |= is_anonymous(fd, &WATCHES));
    watches || !is_known
}

/// What a lease proves about others. One on our own descriptor is held until this is dropped.
pub(super) struct Lease<'a> {
    pub(super) file: &'a File,
    pub(super) hold: Hold,
}

impl Lease<'_> {
    pub(super) fn on(file: &File) -> Lease<'_> {
        let filesystem = Filesystem::of(file.as_fd());
        let hold = match file {
            File::Own(own) => Hold::take(filesystem, |kind| set_lease(own.as_raw_fd(), kind)),
            // A lease for reading is granted where nobody has it open for writing.
            File::Program(fd) if filesystem.proves_leases() && try_lease(*fd, libc::F_RDLCK) => {
                Hold::NoWriters
            }
            File::Program(_) => Hold::Unknown,
        };
        Lease { file, hold }
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        if let File::Own(own) = self.file {
            let _ = set_lease(own.as_raw_fd(), libc::F_UNLCK);
        }
    }
}

/// `<asm-generic/fcntl.h>`
const F_GETSIG: i32 = 11;

fn set_lease(fd: i32, kind: i32) -> Result<(), rustix::io::Errno> {
    // SAFETY: both commands take an int and touch no memory.
    let answer = unsafe {
        let _ = sys!(SYS_fcntl, fd, F_SETSIG, libc::SIGURG);
        sys!(SYS_fcntl, fd, libc::F_SETLEASE, kind)
    };
    answer
        .map(|_| ())
        .map_err(rustix::io::Errno::from_raw_os_error)
}

/// Whether another process could write to the file, or anybody change it through a mapping: one of
/// this process too, as nothing is known of those made before the tag.
pub(super) fn may_change_elsewhere(file: &File) -> bool {
    let me = rustix::process::getpid().as_raw_nonzero().get();
    let counts = |pid, holding: Holding| holding.shared || (holding.writes && pid != me);
    is_held(file, counts, !may_look_everywhere())
}

/// Whether somebody holds the file so that it `counts`; `unseen` says whether those do who can't be
/// looked at.
#[inline(never)]
pub(super) fn is_held(file: &File, counts: impl Fn(i32, Holding) -> bool, unseen: bool) -> bool {
    let Ok(stat) = Place::Descriptor(file.as_raw_fd()).stat() else {
        return true;
    };
    let target = Target {
        device: stat.st_dev,
        inode: stat.st_ino,
        path: path_of(file),
    };
    let mut is_held = false;
    let own = match file {
        File::Own(own) => Some(own.as_raw_fd()),
        File::Program(_) => None,
    };
    let scanned = holders::scan(&target, own, &mut |found| {
        is_held |= match found {
            Found::Process(pid, holding) => counts(pid, holding),
            Found::Unseen(_) => unseen,
            Found::Loop(_) => true,
        };
    });
    is_held || scanned.is_err()
}

/// CAP_SYS_PTRACE: who can't be looked at in spite of it (from a parent namespace, say) is not
/// hidden for want of privilege.
pub(super) fn may_look_everywhere() -> bool {
    rustix::thread::capabilities(None)
        .is_ok_and(|sets| sets.effective.contains(CapabilitySet::SYS_PTRACE))
}

/// Whether the program's descriptor (with its duplicates) is the only one of the file: then nobody maps
/// the file by another.
pub(super) fn is_only_one(file: &File) -> bool {
    matches!(file, File::Program(fd) if try_lease(*fd, libc::F_WRLCK))
}

/// Whether a lease would be granted on the program's descriptor. Not asked where the program itself uses
/// what that would take away: its own lease, or the descriptor's owner or signal.
fn try_lease(fd: i32, kind: i32) -> bool {
    let is = |command: i32, answer: i32| {
        // SAFETY: these commands take no argument.
        let now = unsafe { sys!(SYS_fcntl, fd, command) };
        now.is_ok_and(|now| now as i32 == answer)
    };
    // The program's own says it too.
    if is(libc::F_GETLEASE, kind) {
        return true;
    }
    let is_unused = is(libc::F_GETLEASE, libc::F_UNLCK) && is(libc::F_GETOWN, 0) && is(F_GETSIG, 0);
    let is_granted = is_unused && set_lease(fd, kind).is_ok();
    if is_granted {
        // The owner goes with it.
        let _ = set_lease(fd, libc::F_UNLCK);
    }
    if is_unused {
        // SAFETY: the command takes an int.
        let _ = unsafe { sys!(SYS_fcntl, fd, F_SETSIG, 0) };
    }
    is_granted
}

pub(super) fn path_of(file: &File) -> Fnv64 {
    let mut link = Line::<32>::new();
    let mut room = Room::map(libc::PATH_MAX as usize);
    let path = room.as_mut().map(Room::bytes).unwrap_or_default();
    let len = link
        .c_str(format_args!("/proc/thread-self/fd/{}", file.as_raw_fd()))
        .and_then(|link| rustix::fs::readlinkat_raw(CWD, link, &mut *path).ok());
    Fnv64::of(len.and_then(|len| path.get(..len)).unwrap_or(&[]))
}
