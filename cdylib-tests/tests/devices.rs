//! Which devices the library takes for such as do DAX, and for such as need no write-back: on a /sys that
//! is made up, in a mount namespace of the program's own. As root; others may not mount anything.

use daxshim_core::dax;
use daxshim_core::tag::Record;
use daxshim_tests::trace::{Event, trace};
use daxshim_tests::{Failed, Outcome, Run, Scene, Shim, Tag, fail, program, scene};
use std::ffi::{CStr, CString};
use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// What there is in a directory of /sys.
enum Entry {
    Directory,
    /// With this content.
    File(CString),
    /// To there.
    Link(CString),
}

/// What there is in /sys/bus, /sys/dev/block and /sys/module, besides nothing.
#[derive(Default)]
struct Sysfs(Vec<(CString, Entry)>);

impl Sysfs {
    fn add(&mut self, path: &str, entry: Entry) {
        // With the directories that it is in.
        let parents = path.match_indices('/').skip(3).map(|(i, _)| &path[..i]);
        for parent in parents {
            let parent = CString::new(parent).expect("no NUL in a path");
            if self.0.iter().all(|(known, _)| *known != parent) {
                self.0.push((parent, Entry::Directory));
            }
        }
        self.0
            .push((CString::new(path).expect("no NUL in a path"), entry));
    }

    fn file(mut self, path: &str, content: &str) -> Sysfs {
        let content = CString::new(content).expect("no NUL in a line");
        self.add(path, Entry::File(content));
        self
    }

    fn link(mut self, path: &str, to: &str) -> Sysfs {
        self.add(
            path,
            Entry::Link(CString::new(to).expect("no NUL in a path")),
        );
        self
    }

    /// Has the command see it. Between fork and exec nothing is allocated.
    fn seen_by(self, command: &mut Command) {
        // SAFETY: system calls only, on what was made before.
        unsafe {
            command.pre_exec(move || {
                done(libc::unshare(libc::CLONE_NEWNS))?;
                let private = libc::MS_REC | libc::MS_PRIVATE;
                let null = std::ptr::null();
                done(libc::mount(null, c"/".as_ptr(), null, private, null.cast()))?;
                for place in [c"/sys/bus", c"/sys/dev/block", c"/sys/module"] {
                    let tmpfs = c"tmpfs".as_ptr();
                    done(libc::mount(tmpfs, place.as_ptr(), tmpfs, 0, null.cast()))?;
                }
                self.0
                    .iter()
                    .try_for_each(|(path, entry)| make(path, entry))
            });
        }
    }
}

fn make(path: &CStr, entry: &Entry) -> io::Result<()> {
    // SAFETY: C strings, and a descriptor of our own.
    unsafe {
        match entry {
            Entry::Directory => match done(libc::mkdir(path.as_ptr(), 0o755)) {
                // What is mounted.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
                other => other,
            },
            Entry::Link(to) => done(libc::symlink(to.as_ptr(), path.as_ptr())),
            Entry::File(content) => {
                let fd = libc::open(path.as_ptr(), libc::O_WRONLY | libc::O_CREAT, 0o644);
                done(fd)?;
                let length = content.count_bytes();
                let written = libc::write(fd, content.as_ptr().cast(), length);
                done(libc::close(fd) | (written as i32 - length as i32))
            }
        }
    }
}

fn done(result: i32) -> io::Result<()> {
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Whether such a /sys can be made here.
fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// The scene's file has a tag that is none of the emulated ones.
fn with_real_tag() -> Result<Scene, Failed> {
    let scene = Scene::new(Tag::None)?;
    let path = scene.path("file");
    let identity = dax::identity(File::open(&path)?.as_fd())?;
    let record = Record {
        inode: identity.inode,
        generation: identity.generation,
        size: identity.size,
        extents: None,
        emulated: false,
        nodefrag: false,
        dax: false,
        clearing: false,
    };
    let text = record.to_text();
    let flags = rustix::fs::XattrFlags::empty();
    rustix::fs::setxattr(&path, c"security.dax_immutable", text.as_bytes(), flags)?;
    Ok(scene)
}

/// Whether the tag binds where /sys is so.
fn binds(sysfs: Sysfs) -> Result<bool, Failed> {
    let scene = with_real_tag()?;
    let before = scene.snapshot("file")?;
    let shim = Shim::new().with("DAXSHIM_EMULATE", "0");
    let mut command = shim.command("/bin/sh");
    command
        .args(["-c", "echo x 1<>file"])
        .current_dir(scene.dir());
    sysfs.seen_by(&mut command);
    let run = Run::of(&mut command)?;
    let after = scene.snapshot("file")?;
    match (run.status.success(), before.content == after.content) {
        (true, false) => Ok(false),
        (false, true) => Ok(true),
        _ => fail!("{}: {}", run.status, run.output),
    }
}

#[test]
fn pmem_on_any_bus_is_seen() -> Outcome {
    if !is_root() {
        return Ok(());
    }
    let nothing = || Sysfs::default().file("/sys/bus/nd/drivers_autoprobe", "1\n");
    assert!(!binds(nothing())?, "where there is no bus");
    for bus in [0, 1, 2, 9, 63] {
        let path = format!("/sys/bus/nd/devices/ndbus{bus}/uevent");
        assert!(binds(nothing().file(&path, ""))?, "ndbus{bus}");
    }
    // One that cannot be guessed, of a driver that is a module.
    let driven = nothing()
        .file("/sys/bus/nd/devices/ndbus1000/uevent", "")
        .file("/sys/module/nd_pmem/initstate", "live\n");
    assert!(binds(driven)?, "the driver is loaded");
    let built_in = nothing().file("/sys/module/nd_pmem/uevent", "");
    assert!(!binds(built_in)?, "the driver is built in");
    let virtiofs = nothing().file("/sys/bus/virtio/drivers/virtiofs/bind", "");
    assert!(binds(virtiofs)?, "virtiofs");
    Ok(())
}

/// A device of the file's number, in a region of this domain, with its switch so.
fn pmem(scene: &Scene, switch: &str, domain: &str) -> Result<(Sysfs, String), Failed> {
    let number = fs::metadata(scene.path("file"))?.dev();
    let number = format!("{}:{}", libc::major(number), libc::minor(number));
    let region = "/sys/bus/nd/devices/region0";
    let block = format!("{region}/namespace0.0/block/pmem0");
    let sysfs = Sysfs::default()
        .file("/sys/bus/nd/devices/ndbus0/uevent", "")
        .file(&format!("{region}/persistence_domain"), domain)
        .file(&format!("{block}/dax/write_cache"), switch)
        .link(&format!("{block}/device"), "../..")
        .link(&format!("/sys/dev/block/{number}"), &block);
    Ok((sysfs, block))
}

/// On real DAX, as a file elsewhere is mapped without MAP_SYNC: how many lines a mapping's msync writes back
/// there, and what the program announces.
fn syncs(
    case: &str,
    switch: &str,
    domain: &str,
    more: impl Fn(Sysfs) -> Sysfs,
) -> Result<(usize, u64), Failed> {
    let scene = Scene::new(Tag::Valid)?;
    let (sysfs, block) = pmem(&scene, switch, domain)?;
    let mut command = Shim::new().command(program("sync/trace_mmap"));
    command
        .args(["msync".as_ref(), scene.dir().as_os_str(), case.as_ref()])
        .arg(std::ffi::OsStr::from_bytes(block.as_bytes()))
        .current_dir(scene.dir());
    more(sysfs).seen_by(&mut command);
    let traced = trace(&mut command)?;
    let count = |is: fn(&Event) -> bool| traced.events.iter().filter(|event| is(event)).count();
    if traced.result != 0 || count(|event| *event == Event::Fence) == 0 {
        fail!("{case}: {:x?}", traced.events);
    }
    let [looks, ..] = traced.announced;
    Ok((count(|event| matches!(event, Event::WriteBack(..))), looks))
}

const PAGE_OF_LINES: usize = 64;
const IN_CACHE: &str = "cpu_cache\n";
const IN_CONTROLLER: &str = "memory_controller\n";

#[test]
fn where_caches_are_durable_the_fence_is_enough() -> Outcome {
    if !scene::real() {
        return Ok(());
    }
    let agreeing =
        |sysfs: Sysfs| sysfs.file("/sys/bus/nd/devices/region3/persistence_domain", IN_CACHE);
    let (lines, looks) = syncs("ten", "0\n", IN_CACHE, agreeing)?;
    assert_eq!(lines, 0, "where caches are durable");
    // Not even one, where they take no time.
    assert!(
        looks < 5,
        "ten mappings look at another region {looks} times"
    );
    // Where nothing says anything against the switch.
    let (lines, _) = syncs("second", "0\n", "", |mut sysfs: Sysfs| {
        sysfs
            .0
            .retain(|(path, _)| !path.as_bytes().ends_with(b"domain"));
        sysfs
    })?;
    assert_eq!(lines, 0, "a region without a domain");
    Ok(())
}

#[test]
fn what_is_not_certain_is_written_back() -> Outcome {
    if !scene::real() {
        return Ok(());
    }
    let same = |sysfs| sysfs;
    let another = |sysfs: Sysfs| {
        sysfs.file(
            "/sys/bus/nd/devices/region7/persistence_domain",
            IN_CONTROLLER,
        )
    };
    let later = |sysfs: Sysfs| sysfs.file("/sys/bus/nd/later/persistence_domain", IN_CONTROLLER);
    assert_eq!(syncs("first", "1\n", IN_CACHE, same)?.0, PAGE_OF_LINES);
    assert_eq!(syncs("first", "0\n", IN_CONTROLLER, same)?.0, PAGE_OF_LINES);
    assert_eq!(syncs("first", "0\n", IN_CACHE, another)?.0, PAGE_OF_LINES);
    for case in ["switched on", "another device", "no descriptor left"] {
        assert_eq!(
            syncs(case, "0\n", IN_CACHE, same)?.0,
            PAGE_OF_LINES,
            "{case}"
        );
    }
    assert_eq!(
        syncs("region added", "0\n", IN_CACHE, later)?.0,
        PAGE_OF_LINES
    );
    Ok(())
}
