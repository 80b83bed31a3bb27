//! Loading, attaching, pinning, and taking down.
//!
//! A guard is its maps and the links of its programs. Pinned, they lie in one directory of bpffs,
//! [`DIRECTORY`], and outlive the command. The directory comes by a rename, when all is in it and has
//! been tested, and goes by one: whoever is killed in between leaves a directory of another name,
//! which is [`State::Half`] and is cleared by the next start or stop. Changes are made one at a time,
//! under a lock on the directory that it lies in.
//!
//! Longer than other files: what is pinned is made, tested, taken over and cleared by one state.

use std::fs::{self, DirBuilder, File};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;
use rustix::io::Errno;

use crate::Error;
use crate::bpf;
use crate::btf::Btf;
use crate::kind::Kind;
use crate::programs::{self, HOOKS, MapNumbers};
use crate::set::{About, LAYOUT, Maps};

/// Where bpffs is.
pub const BPFFS: &str = "/sys/fs/bpf";
/// BPF_FS_MAGIC (linux/magic.h).
pub const BPF_FS_MAGIC: u32 = 0xcafe_4a11;
/// Where the guard is pinned.
pub const DIRECTORY: &str = "/sys/fs/bpf/daxshim";
/// What its directory is called while it comes and goes.
const COMING: &str = "daxshim-coming-";
const GOING: &str = "daxshim-going-";
/// What the names of pinned links begin with.
const LINK: &str = "hook-";

/// How to start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// [`crate::set::flag`]s that files are added with.
    pub flags: u32,
    /// Ask at every open(2) too.
    pub opens: bool,
    /// Take this kind, whatever the kernel says.
    pub kind: Option<Kind>,
}

/// Programs that are attached, for as long as this is there or pinned.
#[derive(Debug)]
pub struct Attached {
    /// The maps.
    pub maps: Maps,
    /// The kind of the programs.
    pub kind: Kind,
    links: Vec<(&'static str, OwnedFd)>,
}

impl Attached {
    /// Makes maps, loads the programs and attaches them. Nothing is in the set yet.
    ///
    /// # Errors
    /// This kernel or this caller can't; it says why.
    pub fn new(options: &Options) -> Result<Attached, Error> {
        let kind = options.kind.unwrap_or_else(Kind::here);
        let maps = Maps::create().map_err(cannot_use_bpf)?;
        let loaded = load(kind, &maps, options.opens)?;
        let mut about = About {
            layout: LAYOUT,
            kind: kind.number(),
            flags: options.flags,
            ..About::default()
        };
        let mut links = Vec::new();
        // Only when all are loaded: none is attached for nothing.
        for (name, program) in &loaded {
            let link = bpf::attach(program).map_err(|errno| cannot_attach(name, kind, errno))?;
            about.hooks |= bit(name);
            links.push((*name, link));
        }
        maps.set_about(&about).map_err(cannot_use_bpf)?;
        Ok(Attached { maps, kind, links })
    }

    /// The hooks.
    pub fn hooks(&self) -> impl Iterator<Item = &'static str> {
        self.links.iter().map(|(name, _)| *name)
    }

    /// Pins all, under a name that says it is not whole, then gives it its own.
    fn pin(&self) -> Result<(), Error> {
        let failed = |errno| cannot_pin("pin the guard below", errno);
        let coming = Path::new(BPFFS).join(format!("{COMING}{}", std::process::id()));
        let pinned = (|| {
            DirBuilder::new()
                .mode(0o700)
                .create(&coming)
                .map_err(errno)?;
            for ((name, ..), map) in crate::set::MAPS.iter().zip(self.maps.descriptors()) {
                bpf::pin(map, &coming.join(name))?;
            }
            for (name, link) in &self.links {
                bpf::pin(link, &coming.join(format!("{LINK}{name}")))?;
            }
            fs::rename(&coming, DIRECTORY).map_err(errno)
        })();
        pinned.map_err(|errno| {
            let _ = clear(&coming);
            failed(errno)
        })
    }
}

/// Loads the programs: the kernel proves them harmless. None is attached yet.
fn load(kind: Kind, maps: &Maps, opens: bool) -> Result<Vec<(&'static str, OwnedFd)>, Error> {
    let btf = Btf::of_kernel()?;
    let numbers = MapNumbers {
        files: maps.files.as_raw_fd(),
        refusals: maps.refusals.as_raw_fd(),
        counter: maps.counter.as_raw_fd(),
        about: maps.about.as_raw_fd(),
        runs: maps.runs.as_raw_fd(),
    };
    let programs = programs::programs(&btf, kind, numbers, opens)?;
    let load = |program: &programs::Program| {
        let name = program.hook.name;
        let loaded = bpf::load(
            name,
            kind.attach(),
            program.function,
            program.sleeps,
            &program.code,
        );
        let descriptor = loaded.map_err(|(errno, log)| cannot_load(name, errno, &log))?;
        Ok((name, descriptor))
    };
    programs.iter().map(load).collect()
}

fn bit(name: &str) -> u32 {
    let row = HOOKS.iter().position(|hook| hook.name == name);
    row.map_or(0, |row| 1 << row)
}

fn errno(error: std::io::Error) -> Errno {
    Errno::from_io_error(&error).unwrap_or(Errno::IO)
}

/// A guard that is pinned.
#[derive(Debug)]
pub struct Pinned {
    /// The maps.
    pub maps: Maps,
    /// How it was started.
    pub about: About,
    /// Hooks that it was started with and that are not there any more.
    pub missing: Vec<&'static str>,
    /// Hooks that are there.
    pub hooks: Vec<&'static str>,
}

impl Pinned {
    fn open() -> Result<Pinned, Error> {
        let directory = Path::new(DIRECTORY);
        let maps = Maps::each(|(name, ..)| {
            bpf::get(&directory.join(name)).map_err(|errno| match errno {
                Errno::ACCESS | Errno::PERM => not_privileged(errno),
                errno => Error::system(
                    &format!("cannot open the guard's map {DIRECTORY}/{name}"),
                    errno,
                    "somebody removed a part of the guard: daxshim guard stop, then start it again",
                ),
            })
        })?;
        let about = maps.about().map_err(cannot_use_bpf)?;
        if about.layout != LAYOUT {
            return Err(Error::new(
                "cannot use the guard",
                "another version of daxshim started it",
                "daxshim guard stop, then start it again",
            ));
        }
        let is_there = |name: &str| directory.join(format!("{LINK}{name}")).exists();
        let started = HOOKS.iter().map(|hook| hook.name);
        let (hooks, missing) = started
            .filter(|name| about.hooks & bit(name) != 0)
            .partition(|name| is_there(name));
        Ok(Pinned {
            maps,
            about,
            missing,
            hooks,
        })
    }

    /// This one, if it is whole.
    ///
    /// # Errors
    /// Somebody removed hooks.
    pub fn whole(self) -> Result<Pinned, Error> {
        if self.missing.is_empty() {
            return Ok(self);
        }
        Err(Error::new(
            "the guard is not whole",
            format!(
                "somebody removed {} below {DIRECTORY}",
                self.missing.join(", ")
            ),
            "daxshim guard stop, then start it again",
        ))
    }
}

/// Whether there is a guard.
#[derive(Debug)]
pub enum State {
    /// There is none.
    Off,
    /// There is one.
    On(Box<Pinned>),
    /// There is what somebody left who was stopped while starting or stopping it.
    Half(Vec<PathBuf>),
}

/// Looks for a pinned guard.
///
/// # Errors
/// It may not be looked at, or not be used by this version.
pub fn state() -> Result<State, Error> {
    match fs::symlink_metadata(DIRECTORY) {
        Ok(_) => {
            // Of others not even the names are shown.
            fs::read_dir(DIRECTORY).map_err(|error| not_privileged(errno(error)))?;
            Ok(State::On(Box::new(Pinned::open()?)))
        }
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            Err(not_privileged(errno(error)))
        }
        Err(_) => {
            let left = leftovers();
            Ok(if left.is_empty() {
                State::Off
            } else {
                State::Half(left)
            })
        }
    }
}

/// The guard, which must be there and whole.
///
/// # Errors
/// It is not.
pub fn running() -> Result<Pinned, Error> {
    match state()? {
        State::On(pinned) => pinned.whole(),
        State::Off => Err(Error::new(
            "there is no guard",
            "none was started since this machine booted",
            "daxshim guard start, as root",
        )),
        State::Half(_) => Err(Error::new(
            "there is no guard",
            "the last start or stop was interrupted",
            "daxshim guard start, or stop, as root",
        )),
    }
}

/// Holds off other starts, stops and changes of the set; goes when dropped.
#[derive(Debug)]
pub struct Lock {
    _directory: File,
}

impl Lock {
    /// Waits for it.
    ///
    /// # Errors
    /// There is no bpffs.
    pub fn take() -> Result<Lock, Error> {
        let directory = File::open(BPFFS).map_err(|error| no_bpffs(&errno(error).to_string()))?;
        let kind = rustix::fs::fstatfs(&directory).map(|statfs| statfs.f_type as u32);
        if kind != Ok(BPF_FS_MAGIC) {
            return Err(no_bpffs("no bpffs is mounted there"));
        }
        rustix::fs::flock(&directory, FlockOperation::LockExclusive)
            .map_err(|errno| Error::system("cannot lock /sys/fs/bpf", errno, "run as root"))?;
        Ok(Lock {
            _directory: directory,
        })
    }
}

/// Starts a guard that outlives this process. `test` is asked before it is pinned; what it refuses is
/// taken down again.
///
/// # Errors
/// There is one already, or this kernel or this caller can't; or `test`'s.
pub fn start(
    options: &Options,
    test: impl FnOnce(&Attached) -> Result<(), Error>,
) -> Result<(Pinned, bool), Error> {
    let _lock = Lock::take()?;
    let left = match state()? {
        State::On(_) => {
            return Err(Error::new(
                "cannot start the guard",
                "there is one already",
                "daxshim guard status shows it; daxshim guard stop ends it",
            ));
        }
        State::Off => Vec::new(),
        State::Half(left) => left,
    };
    for directory in &left {
        clear(directory)?;
    }
    let attached = Attached::new(options)?;
    test(&attached)?;
    attached.pin()?;
    Ok((Pinned::open()?, !left.is_empty()))
}

/// What stopping did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// There was none.
    None,
    /// It is gone.
    Guard,
    /// What an interrupted start or stop had left is gone.
    Leftovers,
}

/// Takes the guard down, whoever started it.
///
/// # Errors
/// It can't be removed.
pub fn stop() -> Result<Stopped, Error> {
    let _lock = Lock::take()?;
    let going = Path::new(BPFFS).join(format!("{GOING}{}", std::process::id()));
    let mut stopped = Stopped::None;
    let mut left = leftovers();
    match fs::rename(DIRECTORY, &going) {
        Ok(()) => {
            stopped = Stopped::Guard;
            left.push(going);
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(cannot_pin("remove", errno(error))),
    }
    for directory in left {
        clear(&directory)?;
        if stopped == Stopped::None {
            stopped = Stopped::Leftovers;
        }
    }
    Ok(stopped)
}

/// Directories of starts and stops that were interrupted.
fn leftovers() -> Vec<PathBuf> {
    let entries = fs::read_dir(BPFFS).into_iter().flatten().flatten();
    entries
        .filter(|entry| {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            name.starts_with(COMING) || name.starts_with(GOING)
        })
        .map(|entry| entry.path())
        .collect()
}

/// Removes a directory of pins. The set is emptied first: hooks that are still there then hold
/// nobody, and files are never held by some hooks and not by others.
fn clear(directory: &Path) -> Result<(), Error> {
    let failed = |errno| cannot_pin("remove", errno);
    if let Ok(files) = bpf::get(&directory.join("files")) {
        while let Ok(Some(key)) = bpf::next_key::<crate::set::Key>(&files, None) {
            if !bpf::delete(&files, &key).map_err(failed)? {
                break;
            }
        }
    }
    let mut entries: Vec<PathBuf> = match fs::read_dir(directory) {
        Ok(entries) => entries.flatten().map(|entry| entry.path()).collect(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(errno(error))),
    };
    entries.sort();
    for entry in entries {
        fs::remove_file(entry).map_err(|error| failed(errno(error)))?;
    }
    fs::remove_dir(directory).map_err(|error| failed(errno(error)))
}

// ---- errors -----------------------------------------------------------------

fn no_bpffs(why: &str) -> Error {
    Error::new(
        format!("cannot use {BPFFS}"),
        why,
        format!("mount -t bpf bpf {BPFFS}, as root; systemd does so at boot"),
    )
}

fn not_privileged(errno: Errno) -> Error {
    Error::system(
        &format!("cannot look at the guard below {DIRECTORY}"),
        errno,
        "run as root",
    )
}

fn cannot_pin(what: &str, errno: Errno) -> Error {
    let help = match errno {
        Errno::ROFS => format!("mount -o remount,rw {BPFFS}, as root"),
        Errno::ACCESS | Errno::PERM => "run as root, in the initial user namespace".to_owned(),
        _ => "see dmesg, then try again".to_owned(),
    };
    Error::system(&format!("cannot {what} {DIRECTORY}"), errno, help)
}

/// Making maps failed.
fn cannot_use_bpf(errno: Errno) -> Error {
    let (why, help) = match errno {
        Errno::PERM | Errno::ACCESS => (
            "the caller lacks CAP_BPF",
            "run as root, or with CAP_BPF and CAP_PERFMON, in the initial user namespace",
        ),
        Errno::NOSYS => (
            "the kernel has no bpf(2)",
            "use a kernel with CONFIG_BPF_SYSCALL=y",
        ),
        _ => ("bpf(2) failed", "see dmesg"),
    };
    Error::new(
        "cannot make the guard's maps",
        format!("{why} ({errno})"),
        help,
    )
}

fn cannot_load(hook: &str, errno: Errno, log: &str) -> Error {
    let what = format!("cannot load the guard's program for {hook}");
    let lockdown = fs::read_to_string("/sys/kernel/security/lockdown").unwrap_or_default();
    if lockdown.contains("[confidentiality]") {
        return Error::new(
            what,
            format!(
                "the kernel is locked down for confidentiality ({errno}): no program may read its memory"
            ),
            "boot with lockdown=integrity, or without it",
        );
    }
    if log.is_empty() && matches!(errno, Errno::PERM | Errno::ACCESS) {
        return if bpf::is_capable() {
            Error::new(
                what,
                format!(
                    "the kernel does not let root load it ({errno}): its configuration, a security module, or a container forbids it"
                ),
                "run outside of the container; see dmesg",
            )
        } else {
            Error::new(
                what,
                format!("the caller lacks CAP_PERFMON ({errno})"),
                "run as root, or with CAP_BPF and CAP_PERFMON",
            )
        };
    }
    let said: Vec<&str> = log.lines().rev().take(8).collect();
    let said: Vec<&str> = said.into_iter().rev().collect();
    let why = if said.is_empty() {
        errno.to_string()
    } else {
        format!("{errno}; the kernel said:\n    {}", said.join("\n    "))
    };
    Error::new(what, why, "please report it, with the kernel's release")
}

fn cannot_attach(hook: &str, kind: Kind, errno: Errno) -> Error {
    let help = match kind {
        Kind::Lsm => "use a kernel with CONFIG_BPF_LSM=y, booted with bpf in lsm=",
        Kind::ModifyReturn => {
            "use a kernel that can attach fmod_ret programs (CONFIG_FUNCTION_TRACER, \
             CONFIG_DYNAMIC_FTRACE_WITH_DIRECT_CALLS), or boot with bpf in lsm="
        }
    };
    Error::system(
        &format!(
            "cannot attach the guard's program for {hook} ({})",
            kind.word()
        ),
        errno,
        help,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Nothing is attached, so nothing on this machine changes.
    #[test]
    fn this_machine_s_kernel_takes_the_programs_if_it_may_be_asked() {
        let (Ok(btf), Ok(maps)) = (Btf::of_kernel(), Maps::create()) else {
            return;
        };
        for kind in [Kind::Lsm, Kind::ModifyReturn] {
            if btf.function(&kind.function("file_permission")).is_some() {
                match load(kind, &maps, true) {
                    Ok(loaded) => assert!(loaded.len() >= 10, "{kind:?}"),
                    // Not even asked; those of the guests are (scripts/test).
                    Err(error) if error.why.contains("Operation not permitted") => {}
                    Err(error) => panic!("{kind:?}: {error}: {}", error.why),
                }
            }
        }
    }
}
