//! The directory in which the processes of a run report.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use daxshim_core::host::report::{Report, report_files};
use daxshim_core::host::shown;
use tempfile::TempDir;

use super::{Failure, warn};

/// Where the library is told to report.
pub const VARIABLE: &str = "DAXSHIM_REPORT";

/// A directory for report files; a temporary one is removed when this is dropped.
pub struct ReportDirectory {
    path: PathBuf,
    before: BTreeSet<OsString>,
    _temporary: Option<TempDir>,
}

impl ReportDirectory {
    /// A directory of the user's, whose files stay there.
    pub fn of_user(path: &Path) -> io::Result<ReportDirectory> {
        let path = path.canonicalize()?;
        // As the library will: whatever access(2) says, a file is made.
        tempfile::Builder::new()
            .prefix(".daxshim-")
            .tempfile_in(&path)?;
        Ok(ReportDirectory {
            before: report_files(&path)?,
            path,
            _temporary: None,
        })
    }

    /// A temporary one, in memory where there is such a place.
    ///
    /// # Errors
    /// There is no place where one can be made.
    pub fn temporary() -> Result<ReportDirectory, Failure> {
        // Programs that root runs may change their user, and their children still report; nobody
        // else can list or guess the name.
        let mode = if rustix::process::geteuid().is_root() {
            0o1733
        } else {
            0o700
        };
        let mut tried = Vec::new();
        for parent in parents() {
            let made = tempfile::Builder::new()
                .prefix("daxshim-run-")
                .tempdir_in(&parent);
            let made = made.and_then(|directory| {
                std::fs::set_permissions(directory.path(), Permissions::from_mode(mode))?;
                Ok(directory)
            });
            match made {
                Ok(directory) => {
                    return Ok(ReportDirectory {
                        path: directory.path().to_owned(),
                        before: BTreeSet::new(),
                        _temporary: Some(directory),
                    });
                }
                Err(error) => tried.push(format!("{}: {error}", shown(&parent))),
            }
        }
        Err(Failure::own(
            "cannot make a temporary directory for the report".into(),
            tried.join("; "),
            format_args!("set TMPDIR, or {VARIABLE}, to a directory that can be written"),
        ))
    }

    /// The path, for the library.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What the processes of this run reported.
    pub fn read(&self) -> io::Result<Report> {
        Report::read(&self.path, &self.before)
    }

    /// Reads it and makes room for the next run.
    pub fn take(&self) -> io::Result<Report> {
        let report = self.read()?;
        for name in report_files(&self.path)?.difference(&self.before) {
            std::fs::remove_file(self.path.join(name))?;
        }
        Ok(report)
    }
}

fn parents() -> Vec<PathBuf> {
    let mut parents = vec![PathBuf::from("/dev/shm")];
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").filter(|path| !path.is_empty());
    parents.extend(runtime.map(PathBuf::from));
    parents.push(std::env::temp_dir());
    parents
}

/// Says that `DAXSHIM_REPORT` is of no use, and what happens instead.
pub fn warn_unusable(path: &Path, error: &io::Error, instead: &str) {
    warn(
        &format!("{VARIABLE}={} cannot be used; {instead}", shown(path)),
        &error.to_string(),
        "name a directory that exists and can be written, or unset it",
    );
}
