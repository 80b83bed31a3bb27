//! What files were before a run: `--setup` makes them, `--restore` puts them back.

use std::ffi::{OsStr, OsString};
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use daxshim_core::host::shown;

use super::{Failure, named, warn};
use crate::copy::copy_sparsely;

/// Bytes that are compared, and written, at once.
const CHUNK: usize = 1 << 16;

/// Files as they were.
pub struct Before {
    kept: Vec<Kept>,
    /// Whether they are to be put back.
    asked: bool,
    /// Whether a command makes them anew.
    pub is_set_up: bool,
    /// When that was, by the clock that files get their times from.
    began: SystemTime,
}

/// A file as it was.
struct Kept {
    path: PathBuf,
    was: Metadata,
    /// A copy without a name, which is gone when this is.
    copy: File,
}

/// Runs a command by the shell, without the shim; what it says goes to standard error.
///
/// # Errors
/// It could not be run, or failed.
pub fn set_up(command: &OsStr) -> Result<(), Failure> {
    let status = Command::new("/bin/sh")
        .arg("-c")
        .arg(command)
        .stdin(Stdio::null())
        .stdout(io::stderr())
        .status();
    let why = match status {
        Ok(status) if status.success() => return Ok(()),
        Ok(status) => status.to_string(),
        Err(error) => error.to_string(),
    };
    Err(Failure::own(
        format!(
            "the setup command '{}' failed; the program was not started",
            named(command)
        ),
        why,
        "it is given to sh -c, without the shim",
    ))
}

impl Before {
    /// Keeps nothing.
    pub fn untouched() -> Before {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::RealtimeCoarse);
        let seconds = Duration::from_secs(u64::try_from(now.tv_sec).unwrap_or(0));
        let rest = Duration::from_nanos(u64::try_from(now.tv_nsec).unwrap_or(0));
        Before {
            kept: Vec::new(),
            asked: false,
            is_set_up: false,
            began: UNIX_EPOCH + seconds + rest,
        }
    }

    /// Whether a file was there before the run. `None`: its filesystem does not say, or it is not there now.
    fn existed(&self, path: &Path) -> Option<bool> {
        let made = path.metadata().and_then(|found| found.created()).ok()?;
        Some(made < self.began)
    }

    /// Whether a file may hold what an earlier run has left in it: it was there, and neither made anew nor is it put
    /// back.
    pub fn is_used(&self, path: &Path) -> bool {
        !self.asked && !self.is_set_up && self.existed(path) == Some(true)
    }

    /// Copies the files that a command line or patterns name, as far as they exist.
    ///
    /// # Errors
    /// One could not be copied.
    pub fn keep(command: &[OsString], patterns: &[OsString]) -> Result<Before, Failure> {
        let mut paths: Vec<PathBuf> = command
            .iter()
            .skip(1)
            .flat_map(|word| paths(word))
            .collect();
        for pattern in patterns.iter().filter_map(|pattern| pattern.to_str()) {
            paths.extend(glob::glob(pattern).into_iter().flatten().flatten());
        }
        let mut before = Before {
            asked: true,
            ..Before::untouched()
        };
        for path in paths {
            let Ok(path) = path.canonicalize() else {
                continue;
            };
            let is_new = before.kept.iter().all(|kept| kept.path != path);
            if is_new && path.metadata().is_ok_and(|found| found.is_file()) {
                let kept = Kept::of(&path).map_err(|error| {
                    Failure::own(
                        format!(
                            "cannot keep a copy of {}; the program was not started",
                            shown(&path)
                        ),
                        error,
                        "make room in its directory or in TMPDIR, or leave out --restore",
                    )
                })?;
                before.kept.push(kept);
            }
        }
        Ok(before)
    }

    /// Puts back what was changed; with `watched`, says which of these were not kept. Whether all is as it was.
    pub fn put_back(&self, watched: Option<&[String]>) -> bool {
        let mut whole = true;
        for kept in &self.kept {
            if let Err(error) = kept.put_back() {
                warn(
                    &format!("{} is not as it was", shown(&kept.path)),
                    &error.to_string(),
                    "a second run on it may find nothing",
                );
                whole = false;
            }
        }
        let is_kept = |name: &&String| self.kept.iter().any(|kept| shown(&kept.path) == **name);
        let others = watched
            .unwrap_or_default()
            .iter()
            .filter(|name| !is_kept(name));
        for name in others.filter(|_| self.asked) {
            let (why, help) = match self.existed(Path::new(name)) {
                Some(true) => (
                    "neither the command line nor a --watch pattern names its path",
                    "--watch FILE names it; one without a slash is looked for in the working directory alone",
                ),
                Some(false) => (
                    "it was not there before the run",
                    "--setup 'rm -f FILE' has each run make it anew",
                ),
                None => (
                    "neither the command line nor a --watch pattern named it before the run, or it was not there",
                    "--setup 'rm -f FILE' has each run make it anew; --watch FILE names it",
                ),
            };
            warn(&format!("{name} was not restored"), why, help);
        }
        whole
    }
}

/// What a word may name: itself, or what follows a `=`.
fn paths(word: &OsStr) -> Vec<PathBuf> {
    let bytes = word.as_bytes();
    let value = bytes.iter().position(|byte| *byte == b'=');
    let value = value.and_then(|at| bytes.get(at + 1..));
    [Some(bytes), value]
        .into_iter()
        .flatten()
        .map(|bytes| PathBuf::from(OsStr::from_bytes(bytes)))
        .collect()
}

impl Kept {
    fn of(path: &Path) -> io::Result<Kept> {
        let from = File::open(path)?;
        let was = from.metadata()?;
        let beside = path.parent().unwrap_or(Path::new("/"));
        let shared = tempfile::tempfile_in(beside)
            .ok()
            .filter(|copy| rustix::fs::ioctl_ficlone(copy, &from).is_ok());
        let copy = match shared {
            Some(copy) => copy,
            None => {
                let copy = tempfile::tempfile()?;
                copy.set_len(was.len())?;
                copy_sparsely(&from, &copy, was.len())?;
                copy
            }
        };
        Ok(Kept {
            path: path.to_owned(),
            was,
            copy,
        })
    }

    /// In place, so that whoever has it open or has tagged it still has; only what differs is written.
    fn put_back(&self) -> io::Result<()> {
        let there = File::open(&self.path);
        if there.is_ok_and(|there| self.is_same(&there).unwrap_or(false)) {
            return Ok(());
        }
        let to = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&self.path)?;
        let now = to.metadata()?;
        if now.len() != self.was.len() {
            to.set_len(self.was.len())?;
        }
        if now.ino() != self.was.ino() {
            to.set_permissions(self.was.permissions())?;
        }
        self.each_difference(&to, |at, before| {
            to.write_all_at(before, at)?;
            Ok(true)
        })?;
        to.sync_all()
    }

    fn is_same(&self, there: &File) -> io::Result<bool> {
        let mut same = there.metadata()?.len() == self.was.len();
        if same {
            self.each_difference(there, |_, _| {
                same = false;
                Ok(false)
            })?;
        }
        Ok(same)
    }

    /// Calls `visit` with the offset and the former content of each piece that differs, until it has enough.
    fn each_difference(
        &self,
        there: &File,
        mut visit: impl FnMut(u64, &[u8]) -> io::Result<bool>,
    ) -> io::Result<()> {
        let (mut before, mut now) = (vec![0; CHUNK], vec![0; CHUNK]);
        let (mut at, length) = (0, self.was.len());
        while at < length {
            let rest = CHUNK.min((length - at) as usize);
            before.truncate(rest);
            now.truncate(rest);
            self.copy.read_exact_at(&mut before, at)?;
            there.read_exact_at(&mut now, at)?;
            if before != now && !visit(at, &before)? {
                return Ok(());
            }
            at += rest as u64;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_changed_cut_or_removed_is_as_it_was() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().canonicalize().unwrap().join(name);
        let content: Vec<u8> = (0..200_000_u32).map(|at| at as u8).collect();
        for name in ["changed", "cut", "removed", "grown"] {
            std::fs::write(path(name), &content).unwrap();
        }
        let mut option = OsString::from("--data=");
        option.push(path("removed"));
        let words = [
            "program".into(),
            path("changed").into(),
            path("cut").into(),
            option,
        ];
        let patterns = [path("gro*").into_os_string()];
        let before = Before::keep(&words, &patterns).unwrap();
        assert_eq!(before.kept.len(), 4);
        std::fs::write(path("changed"), vec![7; content.len()]).unwrap();
        std::fs::write(path("cut"), "").unwrap();
        std::fs::remove_file(path("removed")).unwrap();
        std::fs::write(path("grown"), [&*content, &*content].concat()).unwrap();
        assert!(before.put_back(None));
        for name in ["changed", "cut", "removed", "grown"] {
            assert!(std::fs::read(path(name)).unwrap() == content, "{name}");
        }
        drop(before);
        assert_eq!(directory.path().read_dir().unwrap().count(), 4);
    }

    #[test]
    fn a_setup_that_fails_is_a_failure() {
        assert!(set_up("exit 0".as_ref()).is_ok());
        assert_eq!(set_up("exit 3".as_ref()).unwrap_err().status, 125);
    }
}
