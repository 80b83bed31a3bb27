//! Whether the kernel really refuses: programs of kind `lsm` load and attach without an error where
//! bpf is not among the active security modules, and then do nothing.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use daxshim_core::dax;
use rustix::fs::{AtFlags, Gid, Mode, OFlags, Timestamps, UTIME_NOW, Uid, XattrFlags};
use rustix::io::Errno;

use crate::Error;
use crate::set::{Entry, Key, Maps, flag};

/// Why a guard was not tested, or did not pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// There can be no scratch file.
    Untested(Error),
    /// The kernel does not refuse what it should, or refuses what it should not.
    Useless(Error),
}

impl Failure {
    /// What it says.
    #[must_use]
    pub fn error(self) -> Error {
        match self {
            Failure::Untested(error) | Failure::Useless(error) => error,
        }
    }
}

/// Tries the guard on a scratch inode of the filesystem that the directory lies on: a file without a
/// name, which goes with its descriptor.
///
/// # Errors
/// There can be no such file there, or it is not refused what it should be.
pub fn test(maps: &Maps, directory: &Path) -> Result<(), Failure> {
    let file = scratch(directory).map_err(Failure::Untested)?;
    let key = key_of(&file, directory).map_err(Failure::Untested)?;
    let failed = |errno| {
        Failure::Useless(Error::system(
            &format!("cannot test the guard on {}", directory.display()),
            errno,
            match errno {
                Errno::TOOBIG => "the set is full: daxshim guard remove some files",
                _ => "see dmesg, then try again",
            },
        ))
    };
    let before = write(&file);
    let entry = Entry {
        flags: flag::UNRECORDED,
        ..Entry::default()
    };
    maps.insert(&key, &entry).map_err(failed)?;
    let answers = ask(&file, directory);
    let entry = maps.entry(&key).map_err(failed)?;
    maps.remove(&key).map_err(failed)?;
    let after = write(&file);

    let not = |what: String, help: &str| {
        Err(Failure::Useless(Error::new(
            "the guard does not work here",
            format!("on a scratch file below {} {what}", directory.display()),
            help,
        )))
    };
    if let Some(errno) = before.err().or(after.err()) {
        return not(
            format!("write failed with {errno} though nobody holds the file"),
            "is the filesystem full or read-only, or does another security module forbid it?",
        );
    }
    for (call, answer) in &answers {
        if *answer != Err(Errno::PERM) {
            let got = answer.map_or_else(|errno| errno.to_string(), |()| "success".to_owned());
            return not(
                format!("{call} came to {got}, not to EPERM"),
                "is bpf among the active modules in /sys/kernel/security/lsm? If it is not: boot with \
                 it in lsm=, or with a kernel that can attach fmod_ret programs",
            );
        }
    }
    let counted = entry.map_or(0, |entry| entry.refused);
    if counted < answers.len() as u64 {
        return not(
            format!("{} calls were refused and {counted} counted", answers.len()),
            "please report it, with the kernel's release",
        );
    }
    Ok(())
}

/// An attempt at each of what the required hooks are asked for that needs no name.
fn ask(file: &File, directory: &Path) -> Vec<(&'static str, Result<(), Errno>)> {
    let now = Timestamps {
        last_access: rustix::fs::Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_NOW,
        },
        last_modification: rustix::fs::Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_NOW,
        },
    };
    let own = (
        Uid::from_raw(rustix::process::getuid().as_raw()),
        None::<Gid>,
    );
    let name = directory.join(format!(".daxshim-guard-{}", std::process::id()));
    let link = rustix::fs::linkat(file, "", rustix::fs::CWD, &name, AtFlags::EMPTY_PATH);
    if link.is_ok() {
        let _ = fs::remove_file(&name);
    }
    let mut answers = vec![
        ("write", write(file)),
        ("ftruncate", rustix::fs::ftruncate(file, 0)),
        ("fchmod", rustix::fs::fchmod(file, Mode::RUSR)),
        ("fchown", rustix::fs::fchown(file, Some(own.0), own.1)),
        ("futimens", rustix::fs::futimens(file, &now)),
        (
            "fsetxattr",
            rustix::fs::fsetxattr(file, "user.daxshim", b"1", XattrFlags::empty()),
        ),
        (
            "fremovexattr",
            rustix::fs::fremovexattr(file, "user.daxshim"),
        ),
        ("ioctl", set_version(file)),
    ];
    // Without CAP_DAC_READ_SEARCH nobody is asked.
    if link != Err(Errno::NOENT) {
        answers.push(("linkat", link));
    }
    answers
}

fn write(mut file: &File) -> Result<(), Errno> {
    file.write_all(b"x")
        .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
}

/// FS_IOC_SETVERSION of 0: where the guard lets it through, the scratch file has another generation.
fn set_version(file: &File) -> Result<(), Errno> {
    const SETVERSION: rustix::ioctl::Opcode =
        daxshim_core::requests::FS_IOC_SETVERSION as rustix::ioctl::Opcode;
    // SAFETY: the kernel reads an int.
    unsafe {
        rustix::ioctl::ioctl(
            file,
            rustix::ioctl::Setter::<SETVERSION, [u32; 2]>::new([0; 2]),
        )
    }
}

/// The key of an open file.
///
/// # Errors
/// It can't be looked at, or its filesystem tells no generation.
pub fn key_of(file: &impl AsFd, path: &Path) -> Result<Key, Error> {
    let what = format!("cannot tell which inode {} is", path.display());
    let stat = rustix::fs::fstat(file)
        .map_err(|errno| Error::system(&what, errno, "see dmesg, then try again"))?;
    let generation = dax::generation(file.as_fd()).ok_or_else(|| {
        Error::new(
            what,
            "its filesystem tells no generation (FS_IOC_GETVERSION), so a new file with its number \
             could not be told from it",
            "use ext4 or XFS",
        )
    })?;
    Ok(Key::new(stat.st_dev, stat.st_ino, generation))
}

/// A file without a name, with DAX. Where DAX is a matter of inodes it is inherited from a directory,
/// which has a name for a moment.
fn scratch(directory: &Path) -> Result<File, Error> {
    let failed = |why: String| {
        Error::new(
            format!(
                "cannot make a scratch file with DAX below {}",
                directory.display()
            ),
            why,
            "the guard is tested on one: is the filesystem mounted read-write, with dax=always or \
             dax=inode, and not full?",
        )
    };
    let create = |directory: &Path| {
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        rustix::fs::open(directory, flags, Mode::RUSR | Mode::WUSR).map(File::from)
    };
    let plain = create(directory).map_err(|errno| failed(errno.to_string()))?;
    if dax::is_active(plain.as_fd()) == Ok(true) {
        return Ok(plain);
    }
    drop(plain);
    let inheriting = Inheriting::below(directory).map_err(|error| failed(error.to_string()))?;
    let file = create(&inheriting.path).map_err(|errno| failed(errno.to_string()))?;
    if dax::is_active(file.as_fd()) == Ok(true) {
        Ok(file)
    } else {
        Err(failed("a file made there has no DAX".to_owned()))
    }
}

/// A directory whose files get FS_XFLAG_DAX; gone when dropped.
struct Inheriting {
    path: PathBuf,
}

impl Inheriting {
    fn below(directory: &Path) -> io::Result<Inheriting> {
        let name = format!(".daxshim-guard-{}", std::process::id());
        let inheriting = Inheriting {
            path: directory.join(name),
        };
        fs::create_dir(&inheriting.path)?;
        let opened = File::open(&inheriting.path)?;
        let attributes = dax::attributes(opened.as_fd())?;
        dax::set_attributes(
            opened.as_fd(),
            attributes.with_flags(attributes.flags | dax::DAX),
        )?;
        Ok(inheriting)
    }
}

impl Drop for Inheriting {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.path);
    }
}
