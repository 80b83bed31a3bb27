//! Which file a program's name means: as execvp(3) has it.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD, accessat};

use super::{Failure, NOT_EXECUTABLE, NOT_FOUND, named};

/// Where execvp(3) looks if there is no `PATH`.
const DEFAULT_PATH: &str = "/bin:/usr/bin";

/// The file that will be executed.
///
/// # Errors
/// 127 if there is none, 126 if it cannot be executed.
pub fn find(name: &OsStr, path: Option<&OsStr>) -> Result<PathBuf, Failure> {
    if name.as_bytes().contains(&b'/') {
        let file = PathBuf::from(name);
        return match executable(&file) {
            Ok(()) => Ok(file),
            Err(error) => Err(failure(name, &error)),
        };
    }
    let mut denied = None;
    let mut unsearched = false;
    for file in candidates(name, path) {
        match executable(&file) {
            Ok(()) => return Ok(file),
            Err(error) if is_missing(&error) => {}
            // A directory that can't be searched has none, as far as shells go.
            Err(_) if file.metadata().is_err() => unsearched = true,
            // The next directory may have one that can be executed.
            Err(error) => {
                denied.get_or_insert((file, error));
            }
        }
    }
    Err(match denied {
        Some((file, error)) => failure(file.as_os_str(), &error),
        None => Failure {
            status: NOT_FOUND,
            what: format!("cannot run {}", named(name)),
            why: match unsearched {
                true => "no directory of PATH that may be searched has a program of this name",
                false => "no directory of PATH has a program of this name",
            }
            .into(),
            help: "check its spelling and PATH, or give the path to it".into(),
        },
    })
}

/// Where a name without a slash may lie.
fn candidates(name: &OsStr, path: Option<&OsStr>) -> Vec<PathBuf> {
    if name.is_empty() {
        return Vec::new();
    }
    let path = path.unwrap_or(OsStr::new(DEFAULT_PATH)).as_bytes();
    let place = |directory: &[u8]| {
        // An empty element is the working directory.
        let directory = if directory.is_empty() {
            b"."
        } else {
            directory
        };
        Path::new(&OsString::from_vec(directory.to_vec())).join(name)
    };
    path.split(|&byte| byte == b':').map(place).collect()
}

fn executable(file: &Path) -> io::Result<()> {
    if file.metadata()?.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    accessat(CWD, file, Access::EXEC_OK, AtFlags::EACCESS)?;
    Ok(())
}

fn is_missing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

fn failure(name: &OsStr, error: &io::Error) -> Failure {
    let (status, help) = if is_missing(error) {
        (NOT_FOUND, "check the path".into())
    } else if error.kind() == io::ErrorKind::IsADirectory {
        (NOT_EXECUTABLE, "give the path of a program in it".into())
    } else {
        let file = named(name);
        (
            NOT_EXECUTABLE,
            format!("chmod +x {file}, if it is a program; its directories must be searchable too"),
        )
    };
    Failure {
        status,
        what: format!("cannot run {}", named(name)),
        why: error.to_string(),
        help,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(name: &str, path: &str) -> Result<PathBuf, u8> {
        find(name.as_ref(), Some(path.as_ref())).map_err(|failure| failure.status)
    }

    #[test]
    fn names_are_sought_as_execvp_seeks_them() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        let denied = at("denied");
        std::fs::create_dir(&denied).unwrap();
        std::fs::write(denied.join("sh"), "").unwrap();
        std::fs::create_dir(denied.join("sub")).unwrap();
        let denied = denied.to_str().unwrap();
        assert_eq!(status("sh", "/nowhere:/bin"), Ok("/bin/sh".into()));
        assert_eq!(
            status("sh", &format!("{denied}:/bin")),
            Ok("/bin/sh".into())
        );
        assert_eq!(status("sh", denied), Err(126));
        assert_eq!(status("sub", denied), Err(126));
        assert_eq!(status("no such program", "/bin"), Err(127));
        assert_eq!(status("", "/bin"), Err(127));
        assert_eq!(status("/bin/no such program", ""), Err(127));
        assert_eq!(status("/bin/sh/x", ""), Err(127));
        assert_eq!(status("/", ""), Err(126));
        assert_eq!(status("/etc/passwd", ""), Err(126));
        assert_eq!(find("sh".as_ref(), None).ok(), Some("/bin/sh".into()));
        let here = candidates("x".as_ref(), Some(":/y".as_ref()));
        assert_eq!(here, [PathBuf::from("./x"), PathBuf::from("/y/x")]);
    }
}
