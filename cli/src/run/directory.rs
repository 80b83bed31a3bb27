//! The directory in which the processes of a run report.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::Permissions;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use daxshim_core::host::report::{Report, report_files};
use daxshim_core::host::shown;
use tempfile::TempDir;

use super::{Failure, warn};
use crate::output::note;

/// Where the library is told to report.
pub const VARIABLE: &str = "DAXSHIM_REPORT";

/// A directory for report files; a temporary one is removed when this is dropped.
pub struct ReportDirectory {
    path: PathBuf,
    before: BTreeSet<OsString>,
    _temporary: Option<TempDir>,
    spill: Option<TempDir>,
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
            spill: None,
        })
    }

    /// A temporary one, in memory where there is such a place with room for logs.
    ///
    /// # Errors
    /// There is no place where one can be made.
    pub fn temporary() -> Result<ReportDirectory, Failure> {
        ReportDirectory::temporary_in(None)
    }

    /// As [`temporary`](ReportDirectory::temporary), or in a directory of the user's choice.
    ///
    /// # Errors
    /// It can't be made there.
    pub fn temporary_in(chosen: Option<&Path>) -> Result<ReportDirectory, Failure> {
        let parents = chosen.map_or_else(parents, |chosen| vec![chosen.to_owned()]);
        let mut tried = Vec::new();
        // What is full serves if all else is, too: it may have become less so.
        let (roomy, full): (Vec<_>, Vec<_>) = parents.into_iter().partition(|p| has_room(p));
        let first_is_full = full.first().is_some_and(|full| full == Path::new(MEMORY));
        for parent in roomy.iter().chain(&full) {
            let made = parent.canonicalize().and_then(|parent| make(&parent));
            match made {
                Ok(directory) => {
                    if first_is_full && parent != Path::new(MEMORY) {
                        note(&format!(
                            "{MEMORY} is full: what is kept of the run goes to {}",
                            shown(parent)
                        ));
                    }
                    return Ok(ReportDirectory {
                        path: directory.path().to_owned(),
                        before: BTreeSet::new(),
                        _temporary: Some(directory),
                        spill: None,
                    });
                }
                Err(error) => tried.push(format!("{}: {error}", shown(parent))),
            }
        }
        let help = match chosen {
            Some(_) => "name a directory that can be written by --scratch".to_owned(),
            None => format!("set TMPDIR, or {VARIABLE}, to a directory that can be written"),
        };
        Err(Failure::own(
            "cannot make a temporary directory for the report".into(),
            tried.join("; "),
            help,
        ))
    }

    /// Gives the library a second place, on a disk, for shadows that the first has no room for.
    pub fn with_spill(mut self) -> ReportDirectory {
        let device = |path: &Path| path.metadata().map(|found| found.dev()).ok();
        let parent = std::env::temp_dir();
        if device(&parent) == device(&self.path) {
            return self;
        }
        let spill = parent.canonicalize().and_then(|parent| make(&parent));
        let linked = spill.and_then(|spill| {
            std::os::unix::fs::symlink(spill.path(), daxshim_core::host::check::spill(&self.path))?;
            Ok(spill)
        });
        self.spill = linked.ok();
        self
    }

    /// Where the second place is, if something had to go there.
    pub fn spilled(&self) -> Option<&Path> {
        let spill = self.spill.as_ref()?.path();
        let mut entries = spill.read_dir().ok()?;
        entries.next().map(|_| spill)
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

/// Where what is kept costs no disk.
const MEMORY: &str = "/dev/shm";

/// What the report and the log of one process take.
const NEEDED: u64 = 2 << 20;

fn has_room(directory: &Path) -> bool {
    let free = |found: rustix::fs::StatFs| found.f_bavail.saturating_mul(found.f_bsize as u64);
    rustix::fs::statfs(directory).is_ok_and(|found| free(found) >= NEEDED)
}

fn make(parent: &Path) -> io::Result<TempDir> {
    // Programs that root runs may change their user, and their children still report; nobody
    // else can list or guess the name.
    let mode = if rustix::process::geteuid().is_root() {
        0o1733
    } else {
        0o700
    };
    let directory = tempfile::Builder::new()
        .prefix("daxshim-run-")
        .tempdir_in(parent)?;
    std::fs::set_permissions(directory.path(), Permissions::from_mode(mode))?;
    Ok(directory)
}

fn parents() -> Vec<PathBuf> {
    let mut parents = vec![PathBuf::from(MEMORY)];
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
