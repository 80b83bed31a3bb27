//! An error of the command, in three parts: what failed (path and errno), why, and what to do.

use std::fmt;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::holders::Holders;
use crate::extents::{Defect, Flaw};
use crate::tag::change::Refusal;

/// What was being done to the file; its word goes into the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// `daxshim tag`
    Tag,
    /// `daxshim untag`
    Untag,
    /// `daxshim status`
    Status,
    /// `daxshim verify`
    Verify,
    /// `daxshim prepare`
    Prepare,
    /// `daxshim inspect`
    Inspect,
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Action::Tag => "tag",
            Action::Untag => "untag",
            Action::Status => "examine",
            Action::Verify => "verify",
            Action::Prepare => "prepare",
            Action::Inspect => "inspect",
        })
    }
}

/// Why an action on a file failed. Its `Display` is the *why*, [`Cause::help`] what to do.
#[derive(Debug, thiserror::Error)]
pub enum Cause {
    /// Not a regular file; the word says what it is.
    #[error("it is {0}; only regular files can be DAX-immutable")]
    NotRegular(&'static str),
    /// The caller lacks a capability.
    #[error("the caller lacks {0}")]
    NoCapability(&'static str),
    /// FS_XFLAG_DAX is neither set on the inode nor being set now.
    #[error("FS_XFLAG_DAX is not set on the inode")]
    DaxNotSet,
    /// The filesystem or its device cannot do DAX.
    #[error("DAX is not available for this file: {0}")]
    NoDax(String),
    /// Not every byte lies in an allocated, written extent of its own.
    #[error("{} at offset {}, {} bytes long", .0.flaw.word(), .0.offset, .0.length)]
    Defect(Defect),
    /// Someone else has the file open or mapped.
    #[error("{0}")]
    Held(Holders),
    /// The extents changed while the tag was being set.
    #[error("the file's extents moved while they were being checked")]
    Moved,
    /// The path led to another file when it was opened again.
    #[error("the path names another file than a moment ago")]
    Replaced,
    /// The tag is the file's own, but the extents are no longer those it was given for.
    #[error("it carries a broken tag: its extents are no longer those that were tagged")]
    Broken,
    /// The file is tagged, so nothing but mapped stores may change it.
    #[error("it is tagged DAX-immutable")]
    Tagged,
    /// The wanted size is smaller than the file.
    #[error("it has {size} bytes, and {wanted} would cut it off")]
    WouldShrink {
        /// Present size, bytes.
        size: u64,
        /// `--size`, bytes.
        wanted: u64,
    },
    /// The file does not exist and no size was given to create it with.
    #[error("it does not exist, and no size was given to create it with")]
    NeedsSize,
    /// Not enough free space.
    #[error("{needed} more bytes are needed and {free} are free")]
    NoSpace {
        /// Bytes still to be allocated.
        needed: u64,
        /// Bytes the caller may still allocate on this filesystem.
        free: u64,
    },
    /// Somebody else began to open the file.
    #[error("another process began to open it meanwhile")]
    Disturbed,
    /// No process has that number.
    #[error("there is no such process")]
    NoProcess,
    /// The process is another user's, or protects itself.
    #[error(
        "its mappings are shown only to who may trace it: its user, unless it changed its \
             privileges, and root"
    )]
    ForeignProcess,
    /// The user asked to stop.
    #[error("interrupted")]
    Interrupted,
    /// A system call failed.
    #[error("{}", system_text(call, *errno))]
    System {
        /// The system call.
        call: &'static str,
        /// Its error.
        errno: Errno,
    },
}

impl Cause {
    /// The errno of the contract's table.
    #[must_use]
    pub fn errno(&self) -> Errno {
        match self {
            Cause::NotRegular(_) => Refusal::NotRegular.errno(),
            Cause::NoCapability(name) => Refusal::NoCapability(name).errno(),
            Cause::DaxNotSet => Refusal::DaxNotSet.errno(),
            Cause::NoDax(_) => Refusal::NoDax.errno(),
            Cause::Defect(defect) => Refusal::Defect(*defect).errno(),
            Cause::Held(_) | Cause::Replaced | Cause::Disturbed => Refusal::Held.errno(),
            Cause::Moved => Refusal::Moved.errno(),
            Cause::Broken | Cause::WouldShrink { .. } => Errno::INVAL,
            Cause::Tagged => Errno::PERM,
            Cause::NeedsSize => Errno::NOENT,
            Cause::NoProcess => Errno::SRCH,
            Cause::ForeignProcess => Errno::ACCESS,
            Cause::NoSpace { .. } => Errno::NOSPC,
            Cause::Interrupted => Errno::INTR,
            Cause::System { errno, .. } => *errno,
        }
    }

    /// What the user can do about it; `path` as typed.
    #[must_use]
    pub fn help(&self, action: Action, path: &Path) -> String {
        let path = shown(path);
        match self {
            Cause::NotRegular(_) => "give the path of a regular file".into(),
            Cause::NoCapability(name) => {
                format!("run as root, or with {name} (capsh, setpriv --ambient-caps)")
            }
            Cause::DaxNotSet => format!("daxshim tag {path} sets it along with the tag"),
            Cause::NoDax(_) => "use a filesystem with fs-DAX (daxshim doctor lists them; scripts/vm of the \
                 sources makes one in a virtual machine), or develop without DAX: daxshim tag --emulate"
                .into(),
            Cause::Defect(defect) => match defect.flaw {
                Flaw::Encoded => "use a file that the filesystem neither compresses nor encrypts".into(),
                _ => format!("daxshim prepare {path} allocates, writes and unshares all of it"),
            },
            Cause::Held(holders) => holders.help(),
            Cause::Moved | Cause::Replaced => {
                "find out what changes the file (a backup, a defragmenter?), then try again".into()
            }
            Cause::Disturbed => {
                "start what uses the file after this; its content is as it was".into()
            }
            Cause::Broken => format!(
                "daxshim untag {path}, then daxshim prepare and tag it again; daxshim verify {path} \
                 says what changed"
            ),
            Cause::Tagged => format!("daxshim untag {path} first"),
            Cause::WouldShrink { .. } => "prepare only grows a file; shrink it with truncate(1) first, \
                 or leave --size out"
                .into(),
            Cause::NeedsSize => format!("daxshim prepare {path} --size 64M creates it"),
            Cause::NoSpace { .. } => {
                "free some space on that filesystem or choose a smaller --size; the file is as it was"
                    .into()
            }
            Cause::NoProcess => "ps -e lists processes; a file with a number for a name is meant by ./NUMBER".into(),
            Cause::ForeignProcess => "run as root, or with CAP_SYS_PTRACE".into(),
            Cause::Interrupted => "the file's content is as it was; run it again to finish".into(),
            Cause::System { errno, .. } => match *errno {
                Errno::NOENT if action == Action::Tag => {
                    format!("check the path, or make the file: daxshim prepare {path} --size 64M")
                }
                Errno::NOENT => "check the path".into(),
                Errno::ACCESS | Errno::PERM => "run as the file's owner or as root".into(),
                Errno::ROFS => "mount the filesystem read-write".into(),
                Errno::NOSPC | Errno::DQUOT => {
                    "free some space on that filesystem; the file is as it was".into()
                }
                Errno::OPNOTSUPP => "use another filesystem: daxshim doctor lists suitable ones".into(),
                _ => "see the system call's man page; dmesg may say more".into(),
            },
        }
    }
}

impl From<Refusal> for Cause {
    fn from(refusal: Refusal) -> Cause {
        match refusal {
            Refusal::NotRegular => Cause::NotRegular("no regular file"),
            Refusal::NoCapability(name) => Cause::NoCapability(name),
            Refusal::DaxNotSet => Cause::DaxNotSet,
            Refusal::NoDax => Cause::NoDax("STATX_ATTR_DAX stays 0".into()),
            Refusal::Defect(defect) => Cause::Defect(defect),
            Refusal::Held => Cause::Held(Holders::default()),
            Refusal::Moved => Cause::Moved,
            Refusal::System { call, errno } => Cause::System { call, errno },
        }
    }
}

/// A failed action on a file. `Display` is the first of the three parts.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}: {}", shown(path), errno_text(cause.errno()))]
pub struct Error {
    /// What was being done.
    pub action: Action,
    /// To which file, as the user named it.
    pub path: PathBuf,
    /// Why it failed.
    #[source]
    pub cause: Cause,
}

impl Error {
    pub(super) fn new(action: Action, path: &Path, cause: Cause) -> Error {
        Error {
            action,
            path: path.to_owned(),
            cause,
        }
    }

    /// The third part: what to do.
    #[must_use]
    pub fn help(&self) -> String {
        self.cause.help(self.action, &self.path)
    }
}

/// For `map_err`: the system call that failed.
pub(super) fn call(call: &'static str) -> impl Fn(Errno) -> Cause {
    move |errno| Cause::System { call, errno }
}

/// As [`call`], for errors of std.
pub(super) fn io(call: &'static str) -> impl Fn(std::io::Error) -> Cause {
    move |error| Cause::System {
        call,
        errno: Errno::from_io_error(&error).unwrap_or(Errno::IO),
    }
}

fn system_text(call: &str, errno: Errno) -> String {
    match errno {
        Errno::NOENT => "there is no such file".into(),
        Errno::ACCESS => "the caller may not use it so".into(),
        Errno::ROFS => "its filesystem is mounted read-only".into(),
        Errno::NOSPC => format!("the filesystem ran full during {call}"),
        Errno::DQUOT => format!("a quota ran out during {call}"),
        _ => format!("{call} failed"),
    }
}

/// `EBUSY (Device or resource busy)`
fn errno_text(errno: Errno) -> String {
    let number = errno.raw_os_error();
    let name = nix::errno::Errno::from_raw(number);
    let text = std::io::Error::from_raw_os_error(number).to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    format!("{name:?} ({text})")
}

/// A path for a message: as it is, unless it holds control characters.
#[must_use]
pub fn shown(path: &Path) -> String {
    let text = path.display().to_string();
    if text.chars().any(char::is_control) {
        format!("{path:?}")
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_has_what_why_and_help() {
        let defect = Defect {
            flaw: Flaw::Unwritten,
            offset: 4096,
            length: 8192,
        };
        let error = Error::new(Action::Tag, Path::new("/x/y"), Cause::Defect(defect));
        assert_eq!(
            error.to_string(),
            "cannot tag /x/y: EINVAL (Invalid argument)"
        );
        assert_eq!(
            error.cause.to_string(),
            "unwritten extent at offset 4096, 8192 bytes long"
        );
        assert!(error.help().contains("daxshim prepare /x/y"));
    }

    #[test]
    fn control_characters_in_a_path_do_not_reach_the_terminal() {
        assert_eq!(shown(Path::new("a\x1b[31m\n")), r#""a\u{1b}[31m\n""#);
        assert_eq!(shown(Path::new("/with space")), "/with space");
    }
}
