//! What the tests of the guard share.

use super::*;

/// Mounts what every machine with systemd has.
pub fn prepare_kernel() -> Outcome {
    for (kind, place) in [
        ("securityfs", "/sys/kernel/security"),
        ("bpf", "/sys/fs/bpf"),
    ] {
        let mounted = Run::of(Command::new("findmnt").args(["-n", "-t", kind, place]))?;
        if !mounted.status.success() {
            succeeds(&Run::of(
                Command::new("mount").args(["-t", kind, kind, place]),
            )?)?;
        }
    }
    Ok(())
}

/// `daxshim ARGUMENTS PATH`
pub fn daxshim(arguments: &[&str], path: &Path) -> Result<Run, Failed> {
    Run::of(
        Shim::none()
            .command(built("daxshim"))
            .args(arguments)
            .arg(path),
    )
}

/// `daxshim guard ARGUMENTS`
pub fn guard(arguments: &[&str]) -> Result<Run, Failed> {
    Run::of(
        Shim::none()
            .command(built("daxshim"))
            .arg("guard")
            .args(arguments),
    )
}

pub fn is_on() -> Result<bool, Failed> {
    match state() {
        Ok(State::On(pinned)) => Ok(pinned.missing.is_empty()),
        Ok(_) => Ok(false),
        Err(error) => fail!("{error}: {}", error.why),
    }
}

pub fn started() -> Outcome {
    if !is_on()? {
        succeeds(&guard(&["start"])?)?;
    }
    Ok(())
}

pub fn stopped() -> Outcome {
    succeeds(&guard(&["stop"])?)
}

pub fn with_maps(change: impl FnOnce(&Maps) -> Outcome) -> Outcome {
    match state() {
        Ok(State::On(pinned)) => change(&pinned.maps),
        other => fail!("there is no guard: {other:?}"),
    }
}

pub fn nothing_is_left() -> Outcome {
    let left: Vec<_> = fs::read_dir("/sys/fs/bpf")?
        .flatten()
        .map(|e| e.file_name())
        .collect();
    if !left.is_empty() {
        fail!("left on bpffs: {left:?}");
    }
    let below = fs::read_dir(scene::root())?.flatten();
    let left: Vec<_> = below
        .map(|entry| entry.file_name())
        .filter(|name| name.to_string_lossy().starts_with(".daxshim-guard"))
        .collect();
    if !left.is_empty() {
        fail!("left on the filesystem: {left:?}");
    }
    Ok(())
}

pub fn succeeds(run: &Run) -> Outcome {
    if !run.status.success() {
        fail!("{}\n{}", run.status, run.output);
    }
    Ok(())
}

pub fn says(run: &Run, words: &str) -> Outcome {
    if !run.output.contains(words) {
        fail!("it does not say {words:?}: {}\n{}", run.status, run.output);
    }
    Ok(())
}

pub fn fails(run: &Run, words: &str) -> Outcome {
    if run.status.success() {
        fail!("it succeeds\n{}", run.output);
    }
    says(run, words)
}

/// Whether write, chmod, setxattr and link are refused; what was not is put back.
pub fn refusals_of(path: &Path) -> Result<Vec<bool>, Failed> {
    let opened = OpenOptions::new().read(true).write(true).open(path)?;
    let mut byte = [0];
    opened.read_at(&mut byte, 0)?;
    let mode = fs::metadata(path)?.permissions();
    let beside = path.with_extension("beside");
    let flags = rustix::fs::XattrFlags::empty();
    let attempts = [
        opened.write_at(&byte, 0).map(drop),
        fs::set_permissions(path, mode),
        // Of user attributes tmpfs knows from Linux 6.6 on.
        rustix::fs::setxattr(path, "trusted.present", b"yes", flags).map_err(Into::into),
        fs::hard_link(path, &beside),
    ];
    let _ = fs::remove_file(&beside);
    let refused = |attempt: std::io::Result<()>| match attempt {
        Ok(()) => Ok(false),
        Err(error) if error.raw_os_error() == Some(libc::EPERM) => Ok(true),
        Err(error) => Err(Failed::from(error.to_string())),
    };
    attempts.into_iter().map(refused).collect()
}

pub fn is_refused(path: &Path) -> Outcome {
    match refusals_of(path)?.as_slice() {
        [true, true, true, true] => Ok(()),
        other => fail!("write, chmod, setxattr, link were refused: {other:?}"),
    }
}

pub fn is_free(path: &Path) -> Outcome {
    match refusals_of(path)?.as_slice() {
        [false, false, false, false] => Ok(()),
        other => fail!("write, chmod, setxattr, link were refused: {other:?}"),
    }
}

/// A file that can be tagged.
pub fn make(path: &Path) -> Outcome {
    fs::write(path, scene::pattern(scene::FILE_SIZE))?;
    succeeds(&daxshim(&["prepare"], path)?)
}

/// A scene whose files are tagged, and held if there is a guard; they are let go before it goes.
pub struct Held {
    pub scene: Scene,
}

impl Held {
    pub fn new() -> Result<Held, Failed> {
        let held = Held::untouched()?;
        for name in ["file", "tail"] {
            held.scene.tag(name, Tag::Valid)?;
        }
        Ok(held)
    }

    /// Not tagged yet.
    pub fn untouched() -> Result<Held, Failed> {
        let held = Held {
            scene: Scene::new(Tag::None)?,
        };
        let path = |name| held.scene.path(name);
        // Where DAX is a matter of inodes, the inode must leave the cache, where another name keeps it.
        fs::remove_file(path("hardlink"))?;
        for name in ["file", "tail"] {
            succeeds(&daxshim(&["prepare"], &path(name))?)?;
        }
        fs::hard_link(path("file"), path("hardlink"))?;
        Ok(held)
    }

    pub fn file(&self) -> PathBuf {
        self.scene.path("file")
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        for name in ["file", "tail"] {
            // A test that has renamed it fails anyhow.
            let _ = daxshim(&["guard", "remove"], &self.scene.path(name));
        }
    }
}

/// A shared mapping of a file's first page.
pub struct Mapping(*mut libc::c_void);

impl Mapping {
    pub fn of(file: &File) -> Result<Mapping, Failed> {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_SHARED_VALIDATE | libc::MAP_SYNC;
        let null = std::ptr::null_mut();
        // SAFETY: a fresh mapping.
        let address = unsafe { libc::mmap(null, 4096, protection, flags, file.as_raw_fd(), 0) };
        if address == libc::MAP_FAILED {
            fail!("mmap: {}", std::io::Error::last_os_error());
        }
        Ok(Mapping(address))
    }

    pub fn store_and_sync(&self) -> Outcome {
        // SAFETY: the mapping is there, writable, and a page long.
        let synced = unsafe {
            self.0.cast::<u8>().write_volatile(b'!');
            libc::msync(self.0, 4096, libc::MS_SYNC)
        };
        if synced != 0 {
            fail!("msync: {}", std::io::Error::last_os_error());
        }
        Ok(())
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: nobody else knows it.
        unsafe { libc::munmap(self.0, 4096) };
    }
}

pub fn held_filesystem() -> Result<String, Failed> {
    let run = Run::of(
        Command::new("findmnt")
            .args(["-no", "FSTYPE"])
            .arg(scene::root()),
    )?;
    Ok(run.output.trim().to_owned())
}

/// XFS_IOC_ATTRMULTI_BY_HANDLE with one operation (1: get, 2: set) on a `user.` attribute.
pub fn set_by_handle(
    path: &Path,
    operation: u32,
    name: &std::ffi::CStr,
    value: &[u8],
) -> Result<(), Option<i32>> {
    #[repr(C)]
    struct HandleRequest {
        descriptor: u32,
        path: u64,
        flags: u32,
        handle: u64,
        length: u32,
        out: u64,
        out_length: u64,
    }
    #[repr(C)]
    struct Attributes {
        request: HandleRequest,
        count: u32,
        operations: u64,
    }
    #[repr(C)]
    struct Attribute {
        operation: u32,
        error: i32,
        name: u64,
        value: u64,
        length: u32,
        flags: u32,
    }
    const PATH_TO_HANDLE: libc::c_ulong = 0xc038_5869;
    const ATTRMULTI: libc::c_ulong = 0x4048_587b;
    let last = || std::io::Error::last_os_error().raw_os_error();
    let directory = File::open(path.parent().unwrap_or(path)).map_err(|e| e.raw_os_error())?;
    let path = CString::new(path.as_os_str().as_bytes()).map_err(|_| None)?;
    let mut handle = [0_u64; 4];
    let mut length = 32_u32;
    let mut request = HandleRequest {
        descriptor: 0,
        path: path.as_ptr().addr() as u64,
        flags: 0,
        handle: 0,
        length: 0,
        out: handle.as_mut_ptr().addr() as u64,
        out_length: (&raw mut length).addr() as u64,
    };
    // SAFETY: the struct that the request takes; what it points to is there and writable.
    if unsafe { libc::ioctl(directory.as_raw_fd(), PATH_TO_HANDLE, &raw mut request) } != 0 {
        return Err(last());
    }
    let name = name.to_bytes().strip_prefix(b"user.").unwrap_or_default();
    let name = CString::new(name).map_err(|_| None)?;
    let mut room = value.to_vec();
    let mut attribute = Attribute {
        operation,
        error: 0,
        name: name.as_ptr().addr() as u64,
        value: room.as_mut_ptr().addr() as u64,
        length: room.len() as u32,
        flags: 0,
    };
    let mut all = Attributes {
        request: HandleRequest {
            handle: handle.as_ptr().addr() as u64,
            length,
            out: 0,
            out_length: 0,
            ..request
        },
        count: 1,
        operations: (&raw mut attribute).addr() as u64,
    };
    // SAFETY: as above.
    if unsafe { libc::ioctl(directory.as_raw_fd(), ATTRMULTI, &raw mut all) } != 0 {
        return Err(last());
    }
    match attribute.error {
        0 => Ok(()),
        error => Err(Some(-error)),
    }
}
