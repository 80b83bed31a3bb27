//! Executing the program: in place of the command, or as its child.

use std::ffi::{CString, OsStr, OsString};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};

use nix::errno::Errno;
use nix::unistd::execve;

use super::environment::Environment;
use super::signals::{Inherited, Watch};

/// What runs a file that is text without a `#!` line, as in execvp(3).
pub const SHELL: &std::ffi::CStr = c"/bin/sh";

/// A program ready to be executed.
#[derive(Clone)]
pub struct Image {
    file: CString,
    arguments: Vec<CString>,
    environment: Vec<CString>,
    by_shell: bool,
    inherited: Inherited,
}

impl Image {
    /// `file` under `environment`; `by_shell`: if the kernel does not know its format, the shell
    /// runs it.
    pub fn new(
        file: &Path,
        arguments: &[OsString],
        environment: Environment,
        by_shell: bool,
    ) -> io::Result<Image> {
        let strings = |list: Vec<OsString>| -> io::Result<Vec<CString>> {
            let strings = list.into_iter().map(|s| CString::new(s.into_vec()));
            Ok(strings.collect::<Result<_, _>>()?)
        };
        Ok(Image {
            file: CString::new(PathBuf::from(file).into_os_string().into_vec())?,
            arguments: strings(arguments.to_vec())?,
            environment: strings(environment.into_strings())?,
            by_shell,
            inherited: Inherited::now()?,
        })
    }

    /// What is executed.
    pub fn file(&self) -> &Path {
        Path::new(OsStr::from_bytes(self.file.to_bytes()))
    }

    /// Becomes the program. Returns only if that fails.
    pub fn execute(&self) -> io::Error {
        if let Err(error) = self.inherited.restore() {
            return error;
        }
        let Err(errno) = execve(&self.file, &self.arguments, &self.environment);
        if errno != Errno::ENOEXEC || !self.by_shell {
            return errno.into();
        }
        let mut arguments = vec![SHELL.to_owned(), self.file.clone()];
        arguments.extend(self.arguments.iter().skip(1).cloned());
        let Err(errno) = execve(SHELL, &arguments, &self.environment);
        errno.into()
    }

    /// Starts the program as a child, with the streams and the process group of `command`, whose
    /// own program does not matter: what is executed is the image.
    pub fn spawn(&self, command: &mut Command) -> io::Result<Child> {
        let image = self.clone();
        // SAFETY: no other thread exists that could hold a lock of the allocator.
        unsafe { command.pre_exec(move || Err(image.execute())) };
        command.spawn()
    }

    /// Runs the program as a child and waits for it. The outer error: it could not be started.
    pub fn run(self) -> io::Result<io::Result<ExitStatus>> {
        Ok(self.start()?.wait())
    }

    /// Starts the program as a child. To be called while the command has no other thread.
    pub fn start(self) -> io::Result<Running> {
        let watch = Watch::begin()?;
        let child = self.spawn(&mut Command::new("daxshim-program"))?;
        Ok(Running { watch, child })
    }
}

/// A program that was started.
pub struct Running {
    watch: Watch,
    child: Child,
}

impl Running {
    /// Waits for it to end.
    pub fn wait(mut self) -> io::Result<ExitStatus> {
        self.watch.wait(&mut self.child)
    }
}
