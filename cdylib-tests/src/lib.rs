//! The harness: scenes with a file that may be tagged, programs run in them with and without the
//! library, and what an unshimmed process sees of the file before and after.
//!
//! | environment | meaning |
//! |---|---|
//! | `DAXSHIM_BIN_DIR` | where `libdaxshim.so` and `daxshim` are; default: the workspace's `target/release` |
//! | `DAXSHIM_TEST_DIR` | a directory on real fs-DAX: real tags; default: `/dev/shm`, emulated tags |
//! | `DAXSHIM_TEST_DEV_BUILD` | set: the library is a dev build, its size is not judged |
//!
//! Each program of `programs/` prints one line per step. Under the library, on an untagged file, the
//! output must be the native one, byte by byte. On a tagged file it must be the native one but for
//! the lines in `NAME.tagged.expected` beside it: what the contract answers differently.

pub mod callgraph;
pub mod fuzz;
pub mod interleave;
pub mod pages;
pub mod scene;
pub mod snapshot;
pub mod trace;

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::{LazyLock, Mutex};

pub use libtest_mimic::Failed;
pub use scene::{Scene, Tag};
pub use snapshot::Snapshot;

/// What a test comes to.
pub type Outcome = Result<(), Failed>;

/// Fails a test with a formatted message.
#[macro_export]
macro_rules! fail {
    ($($arg:tt)+) => { return Err(format!($($arg)+).into()) };
}

/// Where `libdaxshim.so` and `daxshim` are.
///
/// # Panics
/// When they are not there, with what to do about it.
#[must_use]
pub fn built(name: &str) -> PathBuf {
    let dir = std::env::var_os("DAXSHIM_BIN_DIR").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/release"),
        PathBuf::from,
    );
    let path = dir.join(name);
    assert!(
        path.exists(),
        "{} is not there; build it first: cargo build --release (or set DAXSHIM_BIN_DIR)",
        path.display()
    );
    path.canonicalize().unwrap_or(path)
}

/// The library.
#[must_use]
pub fn library() -> PathBuf {
    built("libdaxshim.so")
}

/// A compiled program of `programs/`, by its kind and name: `behaviours/tiny_stack` is
/// `programs/behaviours/tiny_stack.c`, or in whatever folder of `programs/behaviours/` it lies.
#[must_use]
pub fn program(name: &str) -> PathBuf {
    Path::new(env!("OUT_DIR")).join("programs").join(name)
}

/// What is expected of a program in a case, kept beside its source as `NAME.CASE.expected`: the lines that differ
/// from its native output; `whole`, where the kernel alone answers nothing to compare with: all that it prints. Without
/// comment lines; `None` where there is none.
#[must_use]
pub fn expectation(program: &str, case: &str) -> Option<String> {
    let (kind, name) = program.split_once('/')?;
    let programs = Path::new(env!("CARGO_MANIFEST_DIR")).join("programs");
    let path = find(&programs.join(kind), &format!("{name}.{case}.expected"))?;
    let text = std::fs::read_to_string(path).ok()?;
    Some(
        text.lines()
            .filter(|line| !line.starts_with('#'))
            .map(|line| format!("{line}\n"))
            .collect(),
    )
}

/// The file of this name in or below a directory.
fn find(directory: &Path, name: &str) -> Option<PathBuf> {
    let path = directory.join(name);
    if path.is_file() {
        return Some(path);
    }
    let entries = std::fs::read_dir(directory).ok()?.flatten();
    let mut folders = entries
        .map(|entry| entry.path())
        .filter(|path| path.is_dir());
    folders.find_map(|folder| find(&folder, name))
}

/// How a program is run.
#[derive(Clone, Debug, Default)]
pub struct Shim {
    preload: bool,
    environment: Vec<(OsString, OsString)>,
}

impl Shim {
    /// Without the library.
    #[must_use]
    pub fn none() -> Shim {
        Shim::default()
    }

    /// Under the library, honouring tags as the test directory's filesystem has them.
    #[must_use]
    pub fn new() -> Shim {
        let shim = Shim {
            preload: true,
            ..Shim::default()
        };
        if scene::real() {
            shim
        } else {
            shim.with("DAXSHIM_EMULATE", "1")
        }
    }

    /// One more environment variable.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl AsRef<OsStr>) -> Shim {
        self.environment.push((name.into(), value.as_ref().into()));
        self
    }

    /// What it sets in the environment, for those who run the program by another.
    #[must_use]
    pub fn variables(&self) -> Vec<(OsString, OsString)> {
        let preload = self
            .preload
            .then(|| ("LD_PRELOAD".into(), library().into()));
        preload
            .into_iter()
            .chain(self.environment.iter().cloned())
            .collect()
    }

    /// A command that runs so, with none of our variables inherited.
    #[must_use]
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        for (name, _) in std::env::vars_os() {
            let ours = name.to_string_lossy().starts_with("DAXSHIM_");
            if ours || name.to_string_lossy().starts_with("PMEM_") || name == "LD_PRELOAD" {
                command.env_remove(name);
            }
        }
        command.envs(self.variables());
        command
    }
}

/// What a program came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// Its standard output, then its standard error.
    pub output: String,
    /// How it ended.
    pub status: ExitStatus,
}

impl Run {
    /// Runs the command to its end.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn of(command: &mut Command) -> Result<Run, Failed> {
        let done = command.output().map_err(|e| format!("{command:?}: {e}"))?;
        let mut output = String::from_utf8_lossy(&done.stdout).into_owned();
        if !done.stderr.is_empty() {
            output.push_str("--- stderr\n");
            output.push_str(&String::from_utf8_lossy(&done.stderr));
        }
        Ok(Run {
            output,
            status: done.status,
        })
    }

    /// Runs `PROGRAM SYMBOL DIR` in the scene; see [`program`] for its name.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn program(shim: &Shim, name: &str, symbol: &str, scene: &Scene) -> Result<Run, Failed> {
        let mut command = shim.command(program(name));
        Run::of(
            command
                .arg(symbol)
                .arg(scene.dir())
                .current_dir(scene.dir()),
        )
    }

    /// Runs it without the library, once for each test binary: what all other runs are held against.
    ///
    /// # Errors
    /// When it cannot be started, or does not end well.
    pub fn natively(name: &str, symbol: &str) -> Result<Run, Failed> {
        static SEEN: LazyLock<Mutex<HashMap<String, Run>>> = LazyLock::new(Mutex::default);
        if let Some(run) = SEEN.lock().map_err(|e| e.to_string())?.get(name) {
            return Ok(run.clone());
        }
        let run = Run::program(&Shim::none(), name, symbol, &Scene::new(Tag::None)?)?;
        if !run.status.success() {
            fail!("natively {name} ends with {}:\n{}", run.status, run.output);
        }
        SEEN.lock()
            .map_err(|e| e.to_string())?
            .insert(name.to_owned(), run.clone());
        Ok(run)
    }

    /// This native output with the lines replaced that a text lists: what the contract answers where
    /// it is not "=".
    ///
    /// # Errors
    /// When the text speaks of a line that is not there, or is there twice.
    pub fn except(&self, listed: &str) -> Result<String, Failed> {
        let label = |line: &str| -> String {
            let call = line.split(" | ").next().unwrap_or(line);
            call.rsplit_once(" = ")
                .map_or(call, |(label, _)| label)
                .to_owned()
        };
        let mut lines: Vec<String> = self.output.lines().map(str::to_owned).collect();
        for wanted in listed.lines() {
            let same = |line: &&mut String| label(line) == label(wanted);
            let mut meant: Vec<&mut String> = lines.iter_mut().filter(same).collect();
            match meant.as_mut_slice() {
                [line] => wanted.clone_into(line),
                others => fail!("{} lines are called {:?}", others.len(), label(wanted)),
            }
        }
        Ok(lines.join("\n") + "\n")
    }

    /// Holds this run's output and exit against the expected ones, and shows the lines that differ.
    ///
    /// # Errors
    /// When they differ.
    pub fn expect(&self, expected: &str, status_of: &Run) -> Outcome {
        let differing = difference(expected, &self.output);
        if differing.is_empty() && self.status == status_of.status {
            return Ok(());
        }
        let mut message = format!("{} lines differ, {}\n", differing.len(), self.status);
        for (line, wanted, got) in differing.iter().take(8) {
            message += &format!("line {line}\n  expected  {wanted}\n  got       {got}\n");
        }
        Err(message.into())
    }
}

fn difference(expected: &str, got: &str) -> Vec<(usize, String, String)> {
    let (mut wanted, mut found) = (expected.lines(), got.lines());
    let mut differing = Vec::new();
    for number in 1.. {
        match (wanted.next(), found.next()) {
            (None, None) => break,
            (a, b) if a == b => {}
            (a, b) => {
                let or_nothing = |line: Option<&str>| line.unwrap_or("(nothing)").to_owned();
                differing.push((number, or_nothing(a), or_nothing(b)));
            }
        }
    }
    differing
}
