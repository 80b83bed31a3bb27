//! Where a report goes: a stream, or a file that is there in whole or not at all.

use std::ffi::OsStr;
use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use daxshim_core::host::shown;
use tempfile::NamedTempFile;

use super::Failure;

/// What is written, which decides what `-` means.
#[derive(Clone, Copy)]
pub enum Content {
    /// For people: `-` is standard error, which leaves the program's output clean.
    Text,
    /// A document: `-` is standard output.
    Document,
}

/// A place that has been found writable.
pub struct Destination {
    path: PathBuf,
    content: Content,
    sink: Sink,
}

enum Sink {
    /// `-`.
    Dash,
    /// Becomes `path` when it is complete.
    Regular(NamedTempFile, PathBuf),
    /// A pipe, a terminal, a descriptor: written directly.
    Stream(File),
}

impl Destination {
    /// Finds out, before the program runs, whether the report can be written.
    ///
    /// # Errors
    /// It cannot.
    pub fn open(path: &Path, content: Content) -> Result<Destination, Failure> {
        let sink = if path == OsStr::new("-") {
            Ok(Sink::Dash)
        } else {
            Sink::open(path)
        };
        match sink {
            Ok(sink) => Ok(Destination {
                path: path.to_owned(),
                content,
                sink,
            }),
            Err(error) => Err(failure(path, &error, "; the program was not started")),
        }
    }

    /// The same for a path that may not be given.
    ///
    /// # Errors
    /// It cannot.
    pub fn wanted(
        path: &Option<PathBuf>,
        content: Content,
    ) -> Result<Option<Destination>, Failure> {
        let path = path.as_deref();
        path.map(|path| Destination::open(path, content))
            .transpose()
    }

    /// Writes the report. Escape sequences reach terminals only.
    ///
    /// # Errors
    /// It could not be written; a file is as it was before.
    pub fn write(self, text: &str) -> Result<(), Failure> {
        let written = match (&self.sink, self.content) {
            (Sink::Dash, Content::Text) => anstream::stderr().write_all(text.as_bytes()),
            (Sink::Dash, Content::Document) => io::stdout().write_all(text.as_bytes()),
            (_, Content::Text) => {
                let plain = anstream::adapter::strip_str(text).to_string();
                self.sink.write(plain.as_bytes())
            }
            (_, Content::Document) => self.sink.write(text.as_bytes()),
        };
        written.map_err(|error| failure(&self.path, &error, ""))
    }
}

impl Sink {
    fn open(path: &Path) -> io::Result<Sink> {
        let present = path.metadata();
        let is_regular = present.as_ref().is_ok_and(|file| file.is_file());
        if present.as_ref().is_ok_and(|file| file.is_dir()) {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        if present.is_ok() && (!is_regular || names_descriptor(path)) {
            let file = OpenOptions::new().append(true).open(path)?;
            return Ok(Sink::Stream(file));
        }
        // A symlink stays one: what it points to is replaced.
        let target = if is_regular {
            path.canonicalize()?
        } else {
            std::path::absolute(path)?
        };
        let directory = target.parent().unwrap_or(Path::new("/"));
        let temporary = tempfile::Builder::new()
            .prefix(".daxshim-")
            // As any new file: less what umask takes away.
            .permissions(Permissions::from_mode(0o666))
            .tempfile_in(directory)?;
        Ok(Sink::Regular(temporary, target))
    }

    fn write(self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Sink::Dash => io::stderr().write_all(bytes),
            Sink::Stream(mut file) => file.write_all(bytes),
            Sink::Regular(mut temporary, target) => {
                temporary.write_all(bytes)?;
                temporary.persist(target)?;
                Ok(())
            }
        }
    }
}

/// Whether the path is another name for an open descriptor, whose file is not ours to replace.
fn names_descriptor(path: &Path) -> bool {
    ["/proc", "/dev/fd", "/dev/stdout", "/dev/stderr"]
        .iter()
        .any(|prefix| path.starts_with(prefix))
}

fn failure(path: &Path, error: &io::Error, consequence: &str) -> Failure {
    Failure::own(
        format!("cannot write the report {}{consequence}", shown(path)),
        error,
        "name a file in a directory that exists and can be written",
    )
}
