//! Holding files: looked at, tested on their filesystem, put into the set, looked at again.

use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use daxshim_core::host::{self, Holder, dax_mounts, shown};
use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::Error;
use crate::look::look;
use crate::selftest::{self, Failure, key_of};
use crate::set::{CAPACITY, Entry, Key, Maps, flag};

/// [`flag`]s that the caller chooses.
pub const CHOSEN: u32 = flag::AUDIT | flag::COMPAT | flag::DENY_READS;

/// Tests the guard on every filesystem with DAX where a scratch file can be.
///
/// # Errors
/// It does not pass, or there is no such filesystem.
pub fn test_all(maps: &Maps) -> Result<Vec<PathBuf>, Error> {
    let mut tested = Vec::new();
    let mut devices = Vec::new();
    let mut why = None;
    for mount in dax_mounts() {
        if devices.contains(&mount.device) {
            continue;
        }
        match selftest::test(maps, &mount.point) {
            Ok(()) => {
                devices.push(mount.device);
                tested.push(mount.point);
            }
            Err(Failure::Untested(error)) => why = Some(error),
            Err(Failure::Useless(error)) => return Err(error),
        }
    }
    if !tested.is_empty() {
        return Ok(tested);
    }
    Err(why.unwrap_or_else(|| {
        Error::new(
            "cannot start the guard",
            "no filesystem with DAX is mounted, so there is nothing to hold and nothing to test it on",
            "mount one first (daxshim doctor says what is missing)",
        )
    }))
}

/// What came of a file that was to be held.
#[derive(Clone, Debug)]
pub struct Held {
    /// Its key.
    pub key: Key,
    /// It was held before; how may have changed.
    pub already: bool,
    /// [`flag`]s.
    pub flags: u32,
    /// Processes that may have written to it until now.
    pub writers: Vec<Holder>,
}

/// Puts files into the set; remembers which filesystems were tested.
#[derive(Debug)]
pub struct Holding<'a> {
    maps: &'a Maps,
    tested: Vec<u64>,
}

impl<'a> Holding<'a> {
    /// Into the set of these maps; the filesystems of these paths have been tested.
    #[must_use]
    pub fn new(maps: &'a Maps, tested: &[PathBuf]) -> Holding<'a> {
        let device = |path: &PathBuf| std::fs::metadata(path).ok().map(|metadata| metadata.dev());
        Holding {
            maps,
            tested: tested.iter().filter_map(device).collect(),
        }
    }

    /// Holds a file with these of the [`CHOSEN`] flags.
    ///
    /// # Errors
    /// It can't be held; then it is as it was.
    pub fn hold(&mut self, path: &Path, chosen: u32) -> Result<Held, Error> {
        let looked = look(path)?;
        let device = looked.key.st_dev();
        if !self.tested.contains(&device) {
            let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
            let directory = path.parent().unwrap_or(Path::new("/"));
            selftest::test(self.maps, directory).map_err(Failure::error)?;
            self.tested.push(device);
        }
        let failed = |errno| cannot_hold(path, errno);
        let before = self.maps.entry(&looked.key).map_err(failed)?;
        let flags = looked.entry.flags | (chosen & CHOSEN);
        let entry = Entry {
            flags,
            refused: before.map_or(0, |entry| entry.refused),
            audited: before.map_or(0, |entry| entry.audited),
            ..looked.entry
        };
        self.maps.insert(&looked.key, &entry).map_err(failed)?;
        // Whoever came between is seen now; who comes later is refused.
        if let Err(error) = look(path) {
            let restored = match before {
                Some(before) => self.maps.insert(&looked.key, &before),
                None => self.maps.remove(&looked.key).map(drop),
            };
            restored.map_err(failed)?;
            return Err(error);
        }
        Ok(Held {
            key: looked.key,
            already: before.is_some(),
            flags,
            writers: looked.writers,
        })
    }
}

/// The key of the file that a path names.
///
/// # Errors
/// It is no regular file, or can't be opened, or has no generation.
pub fn key(path: &Path) -> Result<Key, Error> {
    if !std::fs::metadata(path).is_ok_and(|metadata| metadata.is_file()) {
        // Says what is wrong with the path, and opens nothing but regular files.
        host::status(path).map_err(|error| {
            Error::new(error.to_string(), error.cause.to_string(), error.help())
        })?;
    }
    // What has taken the file's place meanwhile is not waited for.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags, rustix::fs::Mode::empty()).map_err(|errno| {
        Error::system(
            &format!("cannot open {}", shown(path)),
            errno,
            "run as root, and check the path",
        )
    })?;
    key_of(&file, path)
}

/// Lets a file go; what it was held with, if it was.
///
/// # Errors
/// The errors of [`key`] and bpf(2).
pub fn release(maps: &Maps, path: &Path) -> Result<Option<(Key, Entry)>, Error> {
    let key = key(path)?;
    let failed = |errno| cannot_hold(path, errno);
    let entry = maps.entry(&key).map_err(failed)?;
    maps.remove(&key).map_err(failed)?;
    Ok(entry.map(|entry| (key, entry)))
}

/// Takes out the entries of files that are gone; how many.
///
/// # Errors
/// The errors of bpf(2).
pub fn release_stale(maps: &Maps) -> Result<u64, Error> {
    let failed = |errno| Error::system("cannot change the guard's set", errno, "run as root");
    let mut count = 0;
    for key in maps.keys().map_err(failed)? {
        if place(&key) == Place::Gone && maps.remove(&key).map_err(failed)? {
            count += 1;
        }
    }
    Ok(count)
}

fn cannot_hold(path: &Path, errno: Errno) -> Error {
    let help = match errno {
        Errno::TOOBIG => {
            format!("the set has room for {CAPACITY} files: daxshim guard remove some")
        }
        Errno::PERM | Errno::ACCESS => "run as root".into(),
        _ => "daxshim guard status shows whether the guard is whole".into(),
    };
    Error::system(
        &format!("cannot change the guard's set for {}", shown(path)),
        errno,
        help,
    )
}

/// Where the file with this key lies now, as far as a mount of this namespace shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// There.
    At(PathBuf),
    /// Nowhere any more: the entry is stale, and holds nobody.
    Gone,
    /// Its filesystem is not mounted, or it can't be asked.
    Unknown,
}

/// Asks the filesystem for the file, by its handle.
#[must_use]
pub fn place(key: &Key) -> Place {
    let device = key.device_name();
    let Some(mount) = dax_mounts().into_iter().find(|m| m.device == device) else {
        return Place::Unknown;
    };
    let Ok(root) = rustix::fs::open(
        &mount.point,
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
        rustix::fs::Mode::empty(),
    ) else {
        return Place::Unknown;
    };
    match open_by_handle(&root, key, mount.filesystem == "xfs") {
        Ok(file) => {
            use std::os::fd::AsRawFd;
            let link = format!("/proc/self/fd/{}", file.as_raw_fd());
            std::fs::read_link(link).map_or(Place::Unknown, Place::At)
        }
        Err(Errno::STALE | Errno::NOENT) => Place::Gone,
        Err(_) => Place::Unknown,
    }
}

/// open_by_handle_at(2), with the handle that the filesystem would give.
fn open_by_handle(
    root: &impl AsFd,
    key: &Key,
    is_xfs: bool,
) -> Result<std::os::fd::OwnedFd, Errno> {
    use std::os::fd::{AsRawFd, FromRawFd};
    /// `struct file_handle` with room for three words.
    #[repr(C)]
    struct Handle {
        length: u32,
        kind: i32,
        words: [u32; 3],
    }
    let (low, high) = (key.inode as u32, (key.inode >> 32) as u32);
    let mut handle = if is_xfs {
        Handle {
            length: 12,
            kind: 0x81,
            words: [low, high, key.generation],
        }
    } else {
        Handle {
            length: 8,
            kind: 1,
            words: [low, key.generation, 0],
        }
    };
    // SAFETY: the kernel reads a struct file_handle with as many bytes as it says.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_open_by_handle_at,
            root.as_fd().as_raw_fd(),
            &raw mut handle,
            libc::O_PATH | libc::O_CLOEXEC,
        )
    };
    let failed = || Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO);
    let descriptor = i32::try_from(answer)
        .ok()
        .filter(|&fd| fd >= 0)
        .ok_or_else(failed)?;
    // SAFETY: the kernel has just made it, for nobody else.
    Ok(unsafe { std::os::fd::OwnedFd::from_raw_fd(descriptor) })
}
