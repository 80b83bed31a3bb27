//! Where a report goes: a stream, or a file that is there in whole or not at all.

use std::ffi::{OsStr, OsString};
use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use daxshim_core::host::{self, shown};
use tempfile::NamedTempFile;

use super::Failure;

/// What is written, which decides what `-` means.
#[derive(Clone, Copy, PartialEq, Eq)]
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

    /// The same for several, each of which may not be given. None of them may replace another one, nor what
    /// the program works on.
    ///
    /// # Errors
    /// It cannot, or would.
    pub fn all<const N: usize>(
        wanted: [(&Option<PathBuf>, Content); N],
        command: &[OsString],
    ) -> Result<[Option<Destination>; N], Failure> {
        let mut before: Vec<(&Path, Content)> = Vec::new();
        for (path, content) in wanted {
            let Some(path) = path.as_deref() else {
                continue;
            };
            // Text and documents go to streams of their own.
            let is_taken = |&(other, its): &(&Path, Content)| match path == OsStr::new("-") {
                true => other == path && its == content,
                false => other != OsStr::new("-") && is_same(path, other),
            };
            if before.iter().any(is_taken) {
                return Err(Failure::own(
                    format!("two documents would go to {}", shown(path)),
                    "the second would replace the first, or follow it",
                    "give each of them a file of its own",
                ));
            }
            spare(path, command)?;
            before.push((path, content));
        }
        let mut opened = [const { None }; N];
        for (place, (path, content)) in opened.iter_mut().zip(wanted) {
            if let Some(path) = path {
                *place = Some(Destination::open(path, content)?);
            }
        }
        Ok(opened)
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
        // One that is replaced keeps what it allowed.
        if let Ok(file) = present {
            temporary.as_file().set_permissions(file.permissions())?;
        }
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

/// Refuses to replace what the program works on.
fn spare(path: &Path, command: &[OsString]) -> Result<(), Failure> {
    let refuse = |why: &str| {
        Err(Failure::own(
            format!("{} will not be replaced by a report", shown(path)),
            why,
            "name another file",
        ))
    };
    if path == OsStr::new("-") || !path.metadata().is_ok_and(|file| file.is_file()) {
        return Ok(());
    }
    let mut names = command.iter().flat_map(|word| names(word));
    if names.any(|name| is_same(path, name)) {
        return refuse("the command names this file, so the program may use it");
    }
    let tag = host::status(path).ok().and_then(|status| status.tag);
    if tag.is_some_and(|tag| tag.binds()) {
        return refuse("it is tagged");
    }
    Ok(())
}

/// The files that an argument may name: itself, and what follows `=`.
fn names(word: &OsStr) -> impl Iterator<Item = &Path> {
    let value = word.as_bytes().splitn(2, |byte| *byte == b'=').nth(1);
    let value = value.map(|value| Path::new(OsStr::from_bytes(value)));
    std::iter::once(Path::new(word)).chain(value)
}

/// Whether two paths lead to the same file, or would.
fn is_same(one: &Path, other: &Path) -> bool {
    let identity = |path: &Path| {
        let file = path.metadata().ok()?;
        Some((file.dev(), file.ino()))
    };
    match (identity(one), identity(other)) {
        (Some(one), Some(other)) => one == other,
        _ => std::path::absolute(one).ok() == std::path::absolute(other).ok(),
    }
}

/// Whether the path is another name for an open descriptor, whose file is not ours to replace.
fn names_descriptor(path: &Path) -> bool {
    ["/proc", "/dev/fd", "/dev/stdout", "/dev/stderr"]
        .iter()
        .any(|prefix| path.starts_with(prefix))
}

fn failure(path: &Path, error: &io::Error, consequence: &str) -> Failure {
    use io::ErrorKind::{BrokenPipe, FileTooLarge, QuotaExceeded, StorageFull};
    let help = match error.kind() {
        StorageFull | QuotaExceeded => "make room where it leads, or send it elsewhere",
        FileTooLarge => "raise the limit of file sizes (ulimit -f), or send it elsewhere",
        BrokenPipe => "who reads it must read it to its end",
        _ => "name a file in a directory that exists and can be written",
    };
    let what = format!("cannot write the report {}{consequence}", shown(path));
    Failure::own(what, error, help)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_argument_may_name_a_file_behind_an_equals_sign() {
        let found: Vec<&Path> = names("--filename=/dev/shm/a=b".as_ref()).collect();
        assert_eq!(
            found,
            [
                Path::new("--filename=/dev/shm/a=b"),
                Path::new("/dev/shm/a=b")
            ]
        );
    }

    #[test]
    fn two_documents_have_two_places() {
        let directory = tempfile::tempdir().unwrap();
        let file = |name: &str| Some(directory.path().join(name));
        let dash = Some(PathBuf::from("-"));
        use Content::{Document, Text};
        for (one, other, fits) in [
            ((file("a"), Document), (file("b"), Document), true),
            ((file("a"), Document), (file("a"), Document), false),
            ((file("a"), Text), (file("a"), Document), false),
            ((dash.clone(), Document), (dash.clone(), Document), false),
            ((dash.clone(), Text), (dash.clone(), Document), true),
            ((None, Text), (dash, Document), true),
        ] {
            let wanted = [(&one.0, one.1), (&other.0, other.1)];
            let opened = Destination::all(wanted, &[])
                .map(|_| ())
                .map_err(|f| f.status);
            assert_eq!(
                opened,
                if fits { Ok(()) } else { Err(125) },
                "{one:?} {other:?}",
                one = one.0,
                other = other.0
            );
        }
    }
}
