//! Opening a file for the command, and the lease that tells whether somebody else has it.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

use super::error::{Cause, call};
use super::holders::{self, Holders};
use super::mount::{self, Mount};
use crate::dax;
use crate::filesystem::Filesystem;
use crate::lease::{F_SETSIG, Hold};
use crate::tag::Identity;

/// A regular file, freshly opened, with what the rest needs to know about it.
pub(super) struct Opened {
    pub(super) file: File,
    pub(super) path: PathBuf,
    pub(super) device: u64,
    pub(super) identity: Identity,
    pub(super) mount: Option<Mount>,
}

impl Opened {
    /// Opens a regular file; anything else is refused without being opened (a device might act
    /// on it, a FIFO would wait).
    pub(super) fn open(path: &Path, access: OFlags) -> Result<Opened, Cause> {
        let flags = OFlags::CLOEXEC | OFlags::NOCTTY;
        let look =
            rustix::fs::open(path, flags | OFlags::PATH, Mode::empty()).map_err(call("open"))?;
        let stat = rustix::fs::fstat(&look).map_err(call("fstat"))?;
        regular(stat.st_mode)?;
        // Not through /proc/self/fd: `look` must not pin the inode, or FS_XFLAG_DAX could not
        // take effect. O_NONBLOCK: an error instead of waiting for another process's lease.
        drop(look);
        let opened = rustix::fs::open(path, flags | access | OFlags::NONBLOCK, Mode::empty());
        let file = opened.map_err(|errno| match errno {
            // Under somebody's lease, or a program that runs.
            Errno::WOULDBLOCK | Errno::TXTBSY => {
                Cause::Held(holders::scan(stat.st_dev, stat.st_ino, path, None))
            }
            errno => call("open")(errno),
        })?;
        let now = rustix::fs::fstat(&file).map_err(call("fstat"))?;
        regular(now.st_mode)?;
        if (now.st_dev, now.st_ino) != (stat.st_dev, stat.st_ino) {
            return Err(Cause::Replaced);
        }
        Opened::of(File::from(file), path)
    }

    /// Around a file that is open already.
    pub(super) fn of(file: File, path: &Path) -> Result<Opened, Cause> {
        let stat = rustix::fs::fstat(&file).map_err(call("fstat"))?;
        let identity = dax::identity(file.as_fd()).map_err(call("fstat"))?;
        let mount = mount::of(file.as_fd());
        Ok(Opened {
            file,
            path: path.to_owned(),
            device: stat.st_dev,
            identity,
            mount,
        })
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// Bytes.
    pub(super) fn size(&self) -> u64 {
        self.identity.size
    }

    pub(super) fn filesystem(&self) -> &str {
        self.mount.as_ref().map_or("", |m| m.filesystem.as_str())
    }

    pub(super) fn is_xfs(&self) -> bool {
        self.filesystem() == "xfs"
    }

    /// Who has it open or mapped, this process's own descriptor left out.
    pub(super) fn holders(&self) -> Holders {
        holders::scan(
            self.device,
            self.identity.inode,
            &self.path,
            Some(self.file.as_raw_fd()),
        )
    }

    /// fcntl(2) F_SETLEASE on the fresh descriptor: what it proves about everybody else. The lease
    /// holds off new opens until it is given back or the file is closed.
    pub(super) fn lease(&self) -> Lease<'_> {
        Lease {
            fd: self.fd(),
            hold: Hold::take(Filesystem::of(self.fd()), |kind| set_lease(self.fd(), kind)),
        }
    }
}

/// A lease, given back when dropped.
pub(super) struct Lease<'a> {
    fd: BorrowedFd<'a>,
    pub(super) hold: Hold,
}

impl Lease<'_> {
    /// Whether nobody is waiting to open the file (fcntl(2) F_GETLEASE).
    pub(super) fn is_undisturbed(&self) -> bool {
        if self.hold != Hold::Alone {
            return true;
        }
        // SAFETY: F_GETLEASE takes no argument and touches no memory.
        let state = unsafe { libc::fcntl(self.fd.as_raw_fd(), libc::F_GETLEASE) };
        state == libc::F_WRLCK
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        let _ = set_lease(self.fd, libc::F_UNLCK);
    }
}

fn set_lease(fd: BorrowedFd<'_>, kind: i32) -> Result<(), Errno> {
    // SAFETY: both commands take an int and touch no memory.
    let answer = unsafe {
        libc::fcntl(fd.as_raw_fd(), F_SETSIG, libc::SIGURG);
        libc::fcntl(fd.as_raw_fd(), libc::F_SETLEASE, kind)
    };
    if answer == 0 {
        Ok(())
    } else {
        Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO))
    }
}

fn regular(mode: u32) -> Result<(), Cause> {
    Err(Cause::NotRegular(match FileType::from_raw_mode(mode) {
        FileType::RegularFile => return Ok(()),
        FileType::Directory => "a directory",
        FileType::BlockDevice => "a block device",
        FileType::CharacterDevice => "a character device (device-DAX needs no shim)",
        FileType::Fifo => "a FIFO",
        FileType::Socket => "a socket",
        FileType::Symlink => "a symbolic link",
        FileType::Unknown => "of unknown type",
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_tells_alone_from_read_and_written() {
        let file = tempfile::NamedTempFile::new_in("/dev/shm").unwrap();
        let path = file.into_temp_path();
        let opened = Opened::open(&path, OFlags::RDONLY).unwrap();
        assert_eq!(opened.lease().hold, Hold::Alone);
        let reader = File::open(&path).unwrap();
        assert_eq!(opened.lease().hold, Hold::NoWriters);
        let writer = File::options().write(true).open(&path).unwrap();
        assert_eq!(opened.lease().hold, Hold::Shared);
        drop((reader, writer));
        assert_eq!(opened.lease().hold, Hold::Alone);
    }

    #[test]
    fn a_mapping_whose_descriptor_is_closed_still_holds_the_file() {
        let path = tempfile::NamedTempFile::new_in("/dev/shm")
            .unwrap()
            .into_temp_path();
        let file = File::options().read(true).write(true).open(&path).unwrap();
        file.set_len(4096).unwrap();
        // SAFETY: a fresh mapping, unmapped below.
        let map = unsafe {
            rustix::mm::mmap(
                std::ptr::null_mut(),
                4096,
                rustix::mm::ProtFlags::READ | rustix::mm::ProtFlags::WRITE,
                rustix::mm::MapFlags::SHARED,
                &file,
                0,
            )
        }
        .unwrap();
        drop(file);
        let opened = Opened::open(&path, OFlags::RDONLY).unwrap();
        assert_eq!(opened.lease().hold, Hold::Shared);
        let own = i32::try_from(std::process::id()).unwrap();
        let holders = opened.holders();
        assert!(holders.known.iter().any(|h| h.pid == own && h.mapped));
        // SAFETY: nobody else knows the mapping.
        unsafe { rustix::mm::munmap(map, 4096) }.unwrap();
        assert_eq!(opened.lease().hold, Hold::Alone);
        assert!(opened.holders().known.is_empty());
    }

    #[test]
    fn a_file_under_somebody_s_lease_or_running_counts_as_held() {
        let path = tempfile::NamedTempFile::new_in("/dev/shm")
            .unwrap()
            .into_temp_path();
        let first = Opened::open(&path, OFlags::RDONLY).unwrap();
        let lease = first.lease();
        assert_eq!(lease.hold, Hold::Alone);
        let second = Opened::open(&path, OFlags::RDWR);
        assert!(matches!(second, Err(Cause::Held(_))));
        assert!(!lease.is_undisturbed());
        let running = Opened::open(&std::env::current_exe().unwrap(), OFlags::RDWR);
        let Err(Cause::Held(holders)) = running else {
            panic!("a running program was opened for writing");
        };
        let own = i32::try_from(std::process::id()).unwrap();
        assert!(holders.known.iter().any(|h| h.pid == own && h.mapped));
    }

    #[test]
    fn what_is_not_a_regular_file_is_not_opened() {
        for path in ["/", "/dev/null"] {
            assert!(matches!(
                Opened::open(Path::new(path), OFlags::RDONLY),
                Err(Cause::NotRegular(_))
            ));
        }
    }
}
