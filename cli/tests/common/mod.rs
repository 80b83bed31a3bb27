//! What the tests of the command share.

// Each test binary uses a part of it.
#![allow(dead_code)]

use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use tempfile::TempDir;

/// Held while a process is being started and while a file is open here for a moment: between fork
/// and exec a child has every descriptor of its parent, and the command would find the file in use.
static QUIET: Mutex<()> = Mutex::new(());

pub fn quiet() -> MutexGuard<'static, ()> {
    QUIET.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A directory of the test's own, removed with all its content.
pub struct Scratch(TempDir);

impl Scratch {
    pub fn new(parent: impl AsRef<Path>) -> Scratch {
        Scratch(tempfile::tempdir_in(parent).unwrap())
    }

    pub fn tmpfs() -> Scratch {
        Scratch::new("/dev/shm")
    }

    /// On whatever filesystem the build lies.
    pub fn ordinary() -> Scratch {
        Scratch::new(env!("CARGO_TARGET_TMPDIR"))
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A file with this content.
    pub fn file(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.path(name);
        let _quiet = quiet();
        std::fs::write(&path, content).unwrap();
        path
    }

    /// A file that has nothing but a hole.
    pub fn sparse(&self, name: &str, size: u64) -> PathBuf {
        let path = self.path(name);
        let _quiet = quiet();
        File::create(&path).unwrap().set_len(size).unwrap();
        path
    }

    /// A file with an emulated tag.
    pub fn emulated(&self, name: &str) -> PathBuf {
        let path = self.file(name, &[7; 8192]);
        daxshim(["tag", "--emulate"]).arg(&path).succeeds();
        path
    }
}

/// The command, under test.
pub struct Daxshim(Command);

pub fn daxshim<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Daxshim {
    let mut command = Command::new(env!("CARGO_BIN_EXE_daxshim"));
    command.args(arguments).env_remove("LD_PRELOAD");
    Daxshim(command)
}

impl Daxshim {
    pub fn arg(mut self, argument: impl AsRef<std::ffi::OsStr>) -> Daxshim {
        self.0.arg(argument);
        self
    }

    pub fn args(
        mut self,
        arguments: impl IntoIterator<Item = impl AsRef<std::ffi::OsStr>>,
    ) -> Daxshim {
        self.0.args(arguments);
        self
    }

    pub fn env(mut self, name: &str, value: &str) -> Daxshim {
        self.0.env(name, value);
        self
    }

    /// Without one of the capabilities that root has.
    pub fn without(mut self, capability: libc::c_ulong) -> Daxshim {
        // SAFETY: prctl(2) alone, which is async-signal-safe.
        unsafe {
            self.0.pre_exec(move || {
                match libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) {
                    0 => Ok(()),
                    _ => Err(std::io::Error::last_os_error()),
                }
            });
        }
        self
    }

    pub fn run(mut self) -> Ran {
        let child = {
            let _quiet = quiet();
            self.0
                .stdin(std::process::Stdio::null())
                .stdout(std::process::Stdio::piped())
                .stderr(std::process::Stdio::piped())
                .spawn()
                .unwrap()
        };
        Ran::of(child.wait_with_output().unwrap())
    }

    pub fn succeeds(self) -> Ran {
        let ran = self.run();
        assert_eq!(ran.code, Some(0), "{ran:?}");
        ran
    }

    /// Exit status 1, and the errno in a message of three parts.
    pub fn fails_with(self, errno: &str) -> Ran {
        let ran = self.run();
        assert_eq!(ran.code, Some(1), "{ran:?}");
        assert!(ran.stderr.contains(&format!(": {errno} (")), "{ran:?}");
        assert!(ran.stderr.starts_with("daxshim: cannot "), "{ran:?}");
        assert!(ran.stderr.contains("\n  why: "), "{ran:?}");
        assert!(ran.stderr.contains("\n  help: "), "{ran:?}");
        ran
    }
}

/// What a run left.
#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    pub fn of(output: Output) -> Ran {
        Ran {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    pub fn says(&self, text: &str) -> &Ran {
        assert!(
            self.stdout.contains(text) || self.stderr.contains(text),
            "{text:?} is not in {self:?}"
        );
        self
    }
}

/// A shell script, for what takes mount(8) and the like; `$1`… are the arguments.
pub fn shell(script: &str, arguments: &[&Path]) -> Ran {
    let child = {
        let _quiet = quiet();
        Command::new("sh")
            .args(["-euc", script, "sh"])
            .args(arguments)
            .env("DAXSHIM", env!("CARGO_BIN_EXE_daxshim"))
            .env_remove("LD_PRELOAD")
            .stdin(std::process::Stdio::null())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap()
    };
    Ran::of(child.wait_with_output().unwrap())
}

/// A file that this process has open; the message of an EBUSY names it.
pub struct Open(Option<File>);

impl Open {
    pub fn reading(path: &Path) -> Open {
        Open(Some(File::open(path).unwrap()))
    }

    pub fn writing(path: &Path) -> Open {
        let file = File::options().read(true).write(true).open(path).unwrap();
        Open(Some(file))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let _quiet = quiet();
        drop(self.0.take());
    }
}

/// A shared mapping of a file whose descriptor is closed.
pub struct Mapped(*mut core::ffi::c_void);

impl Mapped {
    pub fn new(path: &Path) -> Mapped {
        use rustix::mm::{MapFlags, ProtFlags};
        let _quiet = quiet();
        let file = File::options().read(true).write(true).open(path).unwrap();
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a fresh mapping that nothing refers to.
        let address = unsafe {
            rustix::mm::mmap(
                std::ptr::null_mut(),
                4096,
                protection,
                MapFlags::SHARED,
                &file,
                0,
            )
        };
        Mapped(address.unwrap())
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        // SAFETY: ours, and nothing refers to it.
        unsafe { rustix::mm::munmap(self.0, 4096) }.unwrap();
    }
}

/// Pages 0 and 2 of a file, mapped and stored to, its descriptor closed.
pub struct Stored {
    pub address: u64,
    length: usize,
}

impl Stored {
    pub fn new(path: &Path, length: usize, flags: rustix::mm::MapFlags) -> Stored {
        use rustix::mm::ProtFlags;
        let _quiet = quiet();
        let file = File::options().read(true).write(true).open(path).unwrap();
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a fresh mapping that nothing refers to.
        let map = unsafe {
            rustix::mm::mmap(std::ptr::null_mut(), length, protection, flags, &file, 0).unwrap()
        };
        for page in [0, 2] {
            // SAFETY: inside the mapping, and of files that are so long.
            unsafe { map.cast::<u8>().add(page * 4096).write_volatile(7) };
        }
        Stored {
            address: map as u64,
            length,
        }
    }
}

impl Drop for Stored {
    fn drop(&mut self) {
        // SAFETY: ours, and nothing refers to it.
        unsafe { rustix::mm::munmap(self.address as *mut _, self.length) }.unwrap();
    }
}

/// `daxshim inspect --json`: the mappings.
pub fn inspect(target: impl AsRef<std::ffi::OsStr>) -> Vec<serde_json::Value> {
    let ran = daxshim(["inspect", "--json"]).arg(target).succeeds();
    let document: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(document["schema"], 1);
    document["inspection"]["mappings"]
        .as_array()
        .unwrap()
        .clone()
}

pub fn own_pid() -> String {
    std::process::id().to_string()
}

/// `daxshim status --json` of one file.
pub fn status(path: &Path) -> serde_json::Value {
    let ran = daxshim(["status", "--json"]).arg(path).succeeds();
    let document: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(document["schema"], 1);
    document["files"][0].clone()
}

/// `tag.condition`, or `untagged`.
pub fn condition(path: &Path) -> String {
    status(path)["tag"]["condition"]
        .as_str()
        .unwrap_or("untagged")
        .to_owned()
}

/// What must be as it was: size, times of content and inode, allocation, attributes.
#[derive(Debug, PartialEq, Eq)]
pub struct Snapshot {
    size: u64,
    mtime: (i64, i64),
    blocks: u64,
    mode: u32,
    attributes: Vec<u8>,
    content: Vec<u8>,
}

pub fn snapshot(path: &Path) -> Snapshot {
    let _quiet = quiet();
    let meta = std::fs::metadata(path).unwrap();
    let mut attributes = vec![0; 4096];
    let length = rustix::fs::listxattr(path, &mut attributes[..]).unwrap();
    attributes.truncate(length);
    let mut content = vec![0; usize::try_from(meta.len()).unwrap()];
    File::open(path)
        .unwrap()
        .read_exact_at(&mut content, 0)
        .unwrap();
    Snapshot {
        size: meta.len(),
        mtime: (meta.mtime(), meta.mtime_nsec()),
        blocks: meta.blocks(),
        mode: meta.mode(),
        attributes,
        content,
    }
}

/// Sets a tag's attribute to anything.
pub fn forge(path: &Path, name: &str, value: &[u8]) {
    let _quiet = quiet();
    rustix::fs::setxattr(path, name, value, rustix::fs::XattrFlags::empty()).unwrap();
}

/// A tag's attribute.
pub fn attribute(path: &Path, name: &str) -> Option<Vec<u8>> {
    let _quiet = quiet();
    let mut value = vec![0; 512];
    let length = rustix::fs::getxattr(path, name, &mut value[..]).ok()?;
    value.truncate(length);
    Some(value)
}

/// Where the library under test is; `DAXSHIM_BIN_DIR`, by default the workspace's target/release.
pub fn bin_dir() -> PathBuf {
    let default = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/release");
    let dir = std::env::var_os("DAXSHIM_BIN_DIR").map_or_else(default, PathBuf::from);
    dir.canonicalize()
        .unwrap_or_else(|_| panic!("{}: run cargo build --release first", dir.display()))
}

/// Compiles one of tests/programs.
pub fn compile(source: &str, options: &[&str], to: &Path) {
    let source = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/programs")
        .join(source);
    let status = Command::new("cc")
        .arg("-O1")
        .args(options)
        .arg("-o")
        .arg(to)
        .arg(source)
        .status()
        .unwrap();
    assert!(status.success());
}

/// Cargo's own directory for what tests make.
pub fn scratch() -> PathBuf {
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    std::fs::create_dir_all(&directory).unwrap();
    directory
}

/// tests/programs/actor.c, compiled once.
pub fn actor() -> &'static str {
    static ACTOR: OnceLock<String> = OnceLock::new();
    ACTOR.get_or_init(|| {
        let path = scratch().join("actor");
        // Another run of the tests may be executing the old one.
        let fresh = path.with_extension(std::process::id().to_string());
        compile("actor.c", &[], &fresh);
        std::fs::rename(&fresh, &path).unwrap();
        path.to_str().unwrap().into()
    })
}
