//! Whether the shim will be loaded into a program: what its file says, `#!` lines followed.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use daxshim_core::host::report::Execution;
use daxshim_core::host::shown;
use daxshim_core::loader;
use daxshim_core::report::Unseen as Reported;
use object::Endianness;
use object::elf::{EM_X86_64, FileHeader32, FileHeader64, PT_INTERP};
use object::read::ReadCache;
use object::read::elf::{FileHeader, ProgramHeader};
use rustix::fs::StatVfsMountFlags;
use serde::{Serialize, Serializer};

use super::environment::Environment;
use super::launch::SHELL;
use super::library;
use super::{FAILED, Failure, NOT_EXECUTABLE, NOT_FOUND, lookup, warn};

/// Interpreters of interpreters that the kernel follows.
const DEPTH: usize = 5;

/// The part of a `#!` line that the kernel looks at.
const LINE: usize = 256;

/// A program that runs without the shim, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unseen {
    /// The program's file.
    pub program: PathBuf,
    /// Why the shim is not in it.
    #[serde(serialize_with = "as_text")]
    pub reason: Reason,
    /// How often it was executed.
    pub count: u64,
}

/// Those that were known beforehand, and those that the report names.
pub fn unseen(beforehand: Vec<Unseen>, reported: &[Execution]) -> Vec<Unseen> {
    let mut all = beforehand;
    for execution in reported {
        let program = PathBuf::from(&execution.program);
        let reason = Reason::from(execution.reason);
        let same = |known: &&mut Unseen| known.program == program && known.reason == reason;
        match all.iter_mut().find(same) {
            Some(known) => known.count = known.count.saturating_add(execution.count),
            None => all.push(Unseen {
                program,
                reason,
                count: execution.count,
            }),
        }
    }
    all
}

impl From<Reported> for Reason {
    fn from(reason: Reported) -> Reason {
        match reason {
            Reported::Static => Reason::Static,
            Reported::Machine => Reason::Machine,
            Reported::SetUser => Reason::SetId(true),
            Reported::SetGroup => Reason::SetId(false),
            Reported::Capabilities => Reason::Capabilities,
            Reported::Loader => Reason::OtherLoader,
            Reported::NotFound => Reason::NotFound,
        }
    }
}

/// Why the shim is not loaded into a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// No PT_INTERP.
    Static,
    /// For another kind of machine, 32-bit programs among them.
    Machine,
    /// The loader is not glibc's, or of a glibc too old for the shim.
    Loader(PathBuf),
    /// As the library found, which does not say which.
    OtherLoader,
    /// The library is not found where the program is executed.
    NotFound,
    /// It changes the user (true) or group (false) that runs it.
    SetId(bool),
    /// It has file capabilities.
    Capabilities,
    /// Neither ELF nor a script.
    Format,
    /// Too many interpreters of interpreters.
    Depth,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::Static => f.write_str(Reported::Static.words()),
            Reason::Machine => f.write_str(Reported::Machine.words()),
            Reason::Loader(loader) => {
                let loader = loader.display();
                write!(
                    f,
                    "its loader, {loader}, is not glibc's, or of a glibc too old for libdaxshim.so"
                )
            }
            Reason::OtherLoader => f.write_str(Reported::Loader.words()),
            Reason::NotFound => f.write_str(Reported::NotFound.words()),
            Reason::SetId(true) => f.write_str(Reported::SetUser.words()),
            Reason::SetId(false) => f.write_str(Reported::SetGroup.words()),
            Reason::Capabilities => f.write_str(Reported::Capabilities.words()),
            Reason::Format => f.write_str("it is neither an ELF program nor a script"),
            Reason::Depth => write!(f, "more than {DEPTH} interpreters run one another"),
        }
    }
}

impl Reason {
    /// What to do about it.
    pub fn help(&self) -> &'static str {
        match self {
            Reason::Static | Reason::Loader(_) | Reason::OtherLoader => {
                "use a build of it that is dynamically linked against this system's glibc"
            }
            Reason::NotFound => {
                "install libdaxshim.so there too under the same path, and name it by an absolute one"
            }
            Reason::Machine => "use a build of it for the machine that libdaxshim.so is built for",
            Reason::SetId(_) => {
                "run it as the user it changes to, from a copy without the set-ID bit"
            }
            Reason::Capabilities => {
                "run a copy of it without file capabilities, as a user who has them (setpriv \
                 --ambient-caps) or as root"
            }
            Reason::Format => "give a program; for what an emulator runs, give the emulator",
            Reason::Depth => "give the interpreter and the script in the command itself",
        }
    }
}

fn as_text<S: Serializer>(reason: &Reason, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(reason)
}

/// What was found out about a program and its interpreters.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Inspection {
    /// Those that the shim will not see.
    pub unseen: Vec<Unseen>,
    /// Text without a `#!` line: the shell runs it, as in execvp(3).
    pub by_shell: bool,
    /// Whether it would not start if its loader were told to load the library.
    pub cannot_load: bool,
    /// An interpreter that does not exist, so that the program can't be executed.
    pub missing: Option<PathBuf>,
}

/// Looks at a program and, if it is a script, at what runs it. What can't be read is taken for
/// good.
pub fn inspect(file: &Path, path: Option<&OsStr>) -> Inspection {
    let mut inspection = Inspection::default();
    // With whether the kernel executes it, not a program that is seen.
    let mut files = vec![(file.to_owned(), true)];
    for depth in 0.. {
        let Some((file, is_first)) = files.pop() else {
            break;
        };
        let mut unseen = |reason| {
            inspection.unseen.push(Unseen {
                program: file.clone(),
                reason,
                count: 1,
            });
        };
        if depth > DEPTH {
            unseen(Reason::Depth);
            break;
        }
        match look(&file) {
            Look::Nothing => {}
            Look::Unseen(reason) => {
                inspection.cannot_load |=
                    is_first && matches!(reason, Reason::Machine | Reason::Loader(_));
                unseen(reason);
            }
            Look::MissingLoader(loader) => inspection.missing = Some(loader),
            Look::Text => {
                inspection.by_shell = depth == 0;
                let shell = PathBuf::from(OsStr::from_bytes(SHELL.to_bytes()));
                files.push((shell, is_first));
            }
            Look::Script(interpreter, argument) => {
                if !interpreter.exists() {
                    inspection.missing = Some(interpreter);
                    break;
                }
                if interpreter.file_name() == Some(OsStr::new("env")) {
                    let started = argument.and_then(|argument| started_by_env(&argument));
                    let found = started.and_then(|name| lookup::find(&name, path).ok());
                    files.extend(found.map(|file| (file, false)));
                }
                files.push((interpreter, is_first));
            }
        }
    }
    inspection
}

/// Says beforehand what the shim will not see, and leaves the library out where the program would not start
/// with it.
pub fn announce(inspection: &Inspection, environment: &mut Environment) {
    if inspection.cannot_load {
        let without = |present: &OsStr| library::without(&library::find().ok()?, present);
        match environment.get("LD_PRELOAD").and_then(without) {
            Some(others) => environment.set("LD_PRELOAD", others),
            None => environment.remove("LD_PRELOAD"),
        }
    }
    for unseen in &inspection.unseen {
        warn(
            &format!("the shim will not see {}", shown(&unseen.program)),
            &unseen.reason.to_string(),
            unseen.reason.help(),
        );
    }
}

/// Why a program could not be executed.
pub fn cannot_run(file: &Path, error: &io::Error, inspection: &Inspection) -> Failure {
    let status = match error.raw_os_error() {
        Some(libc::EAGAIN) => FAILED,
        _ if error.kind() == io::ErrorKind::NotFound => NOT_FOUND,
        _ => NOT_EXECUTABLE,
    };
    let (why, help) = match (&inspection.missing, inspection.unseen.first()) {
        (Some(interpreter), _) => (
            format!("what runs it, {}, does not exist", shown(interpreter)),
            "install it, or correct the #! line",
        ),
        (None, Some(unseen)) => (format!("{error}: {}", unseen.reason), unseen.reason.help()),
        (None, None) => (error.to_string(), "see execve(2) about this error"),
    };
    Failure {
        status,
        what: format!("cannot run {}", shown(file)),
        why,
        help: help.into(),
    }
}

enum Look {
    /// It can't be read, or all is well.
    Nothing,
    Unseen(Reason),
    MissingLoader(PathBuf),
    /// An interpreter and the rest of the line.
    Script(PathBuf, Option<OsString>),
    Text,
}

fn look(path: &Path) -> Look {
    let Ok(mut file) = File::open(path) else {
        return Look::Nothing;
    };
    let mut beginning = Vec::new();
    if (&mut file)
        .take(LINE as u64)
        .read_to_end(&mut beginning)
        .is_err()
    {
        return Look::Nothing;
    }
    if let Some(line) = beginning.strip_prefix(b"#!") {
        return script(line);
    }
    if !beginning.starts_with(&object::elf::ELFMAG) {
        // As bash tells text: no NUL in the first line.
        let line = beginning.split(|&byte| byte == b'\n').next();
        let is_text = line.is_some_and(|line| !line.contains(&0));
        return if is_text {
            Look::Text
        } else {
            Look::Unseen(Reason::Format)
        };
    }
    let Ok(metadata) = file.metadata() else {
        return Look::Nothing;
    };
    match elf(file, path) {
        Elf::Good => privileges(path, &metadata).map_or(Look::Nothing, Look::Unseen),
        Elf::Unseen(reason) => Look::Unseen(reason),
        Elf::MissingLoader(loader) => Look::MissingLoader(loader),
    }
}

/// Interpreter and argument, as the kernel splits them.
fn script(line: &[u8]) -> Look {
    let line = line.split(|&byte| byte == b'\n').next().unwrap_or(line);
    let line = line.trim_ascii();
    let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let end = line.iter().position(is_blank).unwrap_or(line.len());
    let (interpreter, argument) = line.split_at_checked(end).unwrap_or((line, b""));
    if interpreter.is_empty() {
        return Look::Unseen(Reason::Format);
    }
    let argument = argument.trim_ascii();
    Look::Script(
        PathBuf::from(OsString::from_vec(interpreter.to_vec())),
        (!argument.is_empty()).then(|| OsString::from_vec(argument.to_vec())),
    )
}

/// The program that env(1) starts when it is given this as its one argument.
fn started_by_env(argument: &OsStr) -> Option<OsString> {
    let argument = argument.as_bytes();
    // With -S it splits the argument itself; without, all of it is the name.
    let split = argument
        .strip_prefix(b"-S")
        .or_else(|| argument.strip_prefix(b"-vS"))
        .or_else(|| argument.strip_prefix(b"--split-string="));
    let Some(words) = split else {
        return (!argument.starts_with(b"-")).then(|| OsString::from_vec(argument.to_vec()));
    };
    words
        .split(|byte| matches!(byte, b' ' | b'\t'))
        .find(|word| !word.is_empty() && !word.starts_with(b"-") && !word.contains(&b'='))
        .map(|word| OsString::from_vec(word.to_vec()))
}

enum Elf {
    Good,
    Unseen(Reason),
    MissingLoader(PathBuf),
}

fn elf(file: File, path: &Path) -> Elf {
    let data = ReadCache::new(file);
    let data = &data;
    let Ok(header) = FileHeader64::<Endianness>::parse(data) else {
        let is_32_bit = FileHeader32::<Endianness>::parse(data).is_ok();
        return Elf::Unseen(if is_32_bit {
            Reason::Machine
        } else {
            Reason::Format
        });
    };
    let Ok(endian) = header.endian() else {
        return Elf::Unseen(Reason::Machine);
    };
    if header.e_machine(endian) != EM_X86_64 {
        return Elf::Unseen(Reason::Machine);
    }
    // Damaged, or of a kind that only the kernel can tell.
    let Ok(segments) = header.program_headers(endian, data) else {
        return Elf::Unseen(Reason::Format);
    };
    let interpreter = segments
        .iter()
        .find(|segment| segment.p_type(endian) == PT_INTERP)
        .and_then(|segment| segment.interpreter(endian, data).ok().flatten());
    match interpreter {
        Some(loader) => {
            let loader = PathBuf::from(OsString::from_vec(loader.to_vec()));
            if !loader.exists() {
                Elf::MissingLoader(loader)
            } else if can_load(&loader) {
                Elf::Good
            } else {
                Elf::Unseen(Reason::Loader(loader))
            }
        }
        // The loader itself, given a program, reads LD_PRELOAD.
        None if can_load(path) => Elf::Good,
        None if is_loader(path) => Elf::Unseen(Reason::Loader(path.to_owned())),
        None => Elf::Unseen(Reason::Static),
    }
}

/// Whether it is a loader that can load the library: this system's, or one that says so itself.
fn can_load(path: &Path) -> bool {
    let identity = |path: &Path| path.metadata().ok().map(|file| (file.dev(), file.ino()));
    let own = identity(Path::new("/lib64/ld-linux-x86-64.so.2"));
    if own.is_some() && identity(path) == own {
        return true;
    }
    let mut beginning = Vec::new();
    let read = File::open(path).and_then(|file| {
        file.take(loader::BEGINNING as u64)
            .read_to_end(&mut beginning)
    });
    read.is_ok() && loader::can_load(&beginning)
}

/// By name, as everybody calls them: what has no interpreter may be a loader that was called itself.
fn is_loader(path: &Path) -> bool {
    let name = path.file_name().map(OsStr::as_bytes);
    name.is_some_and(|name| name.starts_with(b"ld-") || name.starts_with(b"ld."))
}

/// Whether executing it is a change of privileges, which the kernel tells the loader by AT_SECURE.
fn privileges(path: &Path, metadata: &Metadata) -> Option<Reason> {
    let mount = rustix::fs::statvfs(path).ok();
    let nosuid = mount.is_some_and(|mount| mount.f_flag.contains(StatVfsMountFlags::NOSUID));
    if nosuid || rustix::thread::no_new_privs().unwrap_or(false) {
        return None;
    }
    let (mode, user) = (metadata.mode(), rustix::process::getuid());
    if mode & libc::S_ISUID != 0 && metadata.uid() != user.as_raw() {
        return Some(Reason::SetId(true));
    }
    // Without group execution the bit means mandatory locking.
    let set_gid = libc::S_ISGID | libc::S_IXGRP;
    if mode & set_gid == set_gid && metadata.gid() != rustix::process::getgid().as_raw() {
        return Some(Reason::SetId(false));
    }
    let has_capabilities =
        rustix::fs::getxattr(path, "security.capability", &mut [0u8; 64][..]).is_ok();
    // Root has them all without the file.
    (has_capabilities && !user.is_root()).then_some(Reason::Capabilities)
}

#[cfg(test)]
mod tests;
