//! The guard's own life: start, stop, who else is there, and bad input.
//!
//! Longer than other files: a test for each.

use super::*;

pub type Test = fn() -> Outcome;

/// Each begins and ends without a guard.
pub const LIFE: &[(&str, Test)] = &[
    ("life/stopped, all is as before", stopped_all_is_as_before),
    ("life/two guards", two_guards),
    ("life/tag adds, untag takes out", tag_adds_untag_takes_out),
    ("life/killed while starting", killed_while_starting),
    ("life/killed while stopping", killed_while_stopping),
    ("life/pins removed by somebody", pins_removed_by_somebody),
    ("life/no BTF", no_btf),
    ("life/no bpffs", no_bpffs),
    ("life/read-only bpffs", read_only_bpffs),
    ("life/not root", not_root),
    ("life/no DAX", no_dax),
    ("life/full", full),
    ("life/open and mapped", open_and_mapped),
    ("life/another generation", another_generation),
    ("life/without DAX", without_dax),
    ("life/audit", audit),
    ("life/compat", compat),
    ("life/reads denied", reads_denied),
    ("life/loop device", loop_device),
    ("life/process accounting", process_accounting),
    ("life/accounting, and a process", accounting_and_a_process),
    ("life/systemd unit", systemd_unit),
    ("raw/guard alone", raw_alone),
    ("raw/guard and library", raw_with_library),
    ("raw/guard stopped", raw_stopped),
    ("life/overlay", overlay),
    ("life/overlay that copies up", overlay_copies_up),
    ("life/file of quotas", file_of_quotas),
    ("life/fio", fio),
    ("life/by handle", by_handle),
    ("life/untagged and missing", untagged_and_missing),
    ("strict/its own guard", strict_own),
    ("strict/a guard that was there", strict_pinned),
    ("strict/others", strict_others),
    ("strict/audit", strict_audit),
    ("strict/nothing to hold", strict_nothing),
    ("strict/by two capabilities", strict_by_capabilities),
];

pub fn stopped_all_is_as_before() -> Outcome {
    started()?;
    let held = Held::new()?;
    is_refused(&held.file())?;
    stopped()?;
    is_free(&held.file())
}

pub fn two_guards() -> Outcome {
    started()?;
    let run = guard(&["start"])?;
    fails(&run, "there is one already")?;
    let held = Held::new()?;
    is_refused(&held.file())?;
    says(&guard(&["status"])?, "guard: on")
}

pub fn tag_adds_untag_takes_out() -> Outcome {
    started()?;
    let held = Held::new()?;
    let file = held.file();
    let opened = OpenOptions::new().read(true).write(true).open(&file)?;
    let mapping = Mapping::of(&opened)?;
    // It is mapped, so it stays tagged, and held.
    fails(&daxshim(&["untag"], &file)?, "mapped in process")?;
    is_refused(&file)?;
    drop((mapping, opened));
    says(&daxshim(&["untag"], &file)?, "let go by the guard")?;
    is_free(&file)?;
    says(&daxshim(&["tag"], &file)?, "held by the guard")?;
    says(&daxshim(&["tag"], &file)?, "held by the guard")?;
    says(&daxshim(&["status"], &file)?, "holds it (enforce)")?;
    is_refused(&file)
}

/// Ends the command by SIGKILL before each so-manyth of its calls that change something, until one
/// comes to its end. `look` is shown what each leaves.
pub fn kill_everywhere(
    arguments: &[&str],
    step: usize,
    mut begin: impl FnMut() -> Outcome,
    mut look: impl FnMut() -> Outcome,
) -> Outcome {
    for number in (1..).step_by(step) {
        begin()?;
        let mut command = Shim::none().command("strace");
        command
            .args(["-f", "-qq", "-o", "/dev/null", "-e"])
            .arg("trace=bpf,mkdir,rename,unlink,rmdir")
            .arg("-e")
            .arg(format!(
                "inject=bpf,mkdir,rename,unlink,rmdir:signal=KILL:when={number}"
            ))
            .arg(built("daxshim"))
            .arg("guard")
            .args(arguments);
        let run = Run::of(&mut command)?;
        look().map_err(|why| {
            format!(
                "killed at call {number}: {}",
                why.message().unwrap_or_default()
            )
        })?;
        if run.status.success() {
            return if number > 10 {
                Ok(())
            } else {
                Err("it was never killed".into())
            };
        }
    }
    Ok(())
}

pub fn killed_while_starting() -> Outcome {
    let held = Held::new()?;
    let file = held.file();
    kill_everywhere(
        &["start"],
        9,
        || Ok(()),
        || {
            is_free(&file)?;
            let run = guard(&["status"])?;
            if !["guard: off", "guard: half removed", "guard: on"]
                .iter()
                .any(|s| run.output.contains(s))
            {
                fail!("the status is\n{}", run.output);
            }
            // One that was pinned when the end came is whole.
            if run.output.contains("guard: on") {
                succeeds(&daxshim(&["guard", "add"], &file)?)?;
                is_refused(&file)?;
            } else {
                // A start clears what another has left.
                started()?;
            }
            stopped()?;
            nothing_is_left()
        },
    )
}

pub fn killed_while_stopping() -> Outcome {
    started()?;
    let held = Held::new()?;
    let file = held.file();
    let begin = || {
        started()?;
        succeeds(&daxshim(&["guard", "add"], &file)?)
    };
    kill_everywhere(&["stop"], 2, begin, || {
        // All of it or nothing.
        let refused = refusals_of(&file)?;
        if refused.iter().any(|is| *is != refused[0]) {
            fail!("write, chmod, setxattr, link were refused: {refused:?}");
        }
        let run = guard(&["status"])?;
        if run.output.contains("guard: off") && refused[0] {
            fail!("off, and the file is held");
        }
        stopped()?;
        nothing_is_left()?;
        is_free(&file)
    })
}

pub fn pins_removed_by_somebody() -> Outcome {
    started()?;
    let held = Held::new()?;
    let file = held.file();
    fs::remove_file(Path::new(DIRECTORY).join("hook-inode_unlink"))?;
    fails(&guard(&["status"])?, "somebody removed inode_unlink")?;
    fails(
        &daxshim(&["guard", "add"], &file)?,
        "the guard is not whole",
    )?;
    fails(&run_strict(&["true"])?, "the guard is not whole")?;
    stopped()?;
    started()?;
    fs::remove_file(Path::new(DIRECTORY).join("files"))?;
    fails(&guard(&["status"])?, "somebody removed a part of the guard")?;
    fails(
        &daxshim(&["guard", "add"], &file)?,
        "somebody removed a part of the guard",
    )?;
    stopped()?;
    nothing_is_left()?;
    is_free(&file)
}

/// The command's arguments after a script, in a mount namespace of its own.
pub fn apart(script: &str, arguments: &[&str]) -> Result<Run, Failed> {
    let mut command = Shim::none().command("unshare");
    command
        .args(["-m", "sh", "-c"])
        .arg(format!("{script} && exec \"$0\" \"$@\""));
    Run::of(command.arg(built("daxshim")).args(arguments))
}

pub fn no_btf() -> Outcome {
    let hide = "mount --bind /dev/null /sys/kernel/btf/vmlinux";
    let run = apart(hide, &["guard", "start"])?;
    fails(&run, "cannot understand /sys/kernel/btf/vmlinux")?;
    let run = apart("mount -t tmpfs none /sys/kernel/btf", &["guard", "start"])?;
    fails(&run, "the kernel does not describe its types")?;
    let run = apart("mount -t tmpfs none /sys/kernel/btf", &["doctor"])?;
    says(&run, "the kernel does not describe its types")?;
    nothing_is_left()
}

/// Programs of kind `lsm` attach without an error, and do nothing.
pub fn bpf_is_not_active() -> Outcome {
    let pretend = "echo capability,bpf >/run/lsm && mount --bind /run/lsm /sys/kernel/security/lsm";
    let run = apart(pretend, &["guard", "start"]);
    fs::remove_file("/run/lsm")?;
    fails(&run?, "the guard does not work here")?;
    nothing_is_left()
}

pub fn no_bpffs() -> Outcome {
    let hide = "umount /sys/fs/bpf";
    for arguments in [
        &["guard", "start"][..],
        &["guard", "add", "/x"],
        &["guard", "stop"],
    ] {
        fails(&apart(hide, arguments)?, "no bpffs is mounted there")?;
    }
    let run = apart(hide, &["guard", "status"])?;
    fails(&run, "guard: off")
}

pub fn read_only_bpffs() -> Outcome {
    remount_bpffs("ro")?;
    let run = guard(&["start"]);
    remount_bpffs("rw")?;
    fails(&run?, "mount -o remount,rw /sys/fs/bpf")?;
    nothing_is_left()?;
    started()?;
    let held = Held::new()?;
    remount_bpffs("ro")?;
    let run = guard(&["stop"]);
    remount_bpffs("rw")?;
    fails(&run?, "mount -o remount,rw /sys/fs/bpf")?;
    is_refused(&held.file())
}

pub fn remount_bpffs(how: &str) -> Outcome {
    let mount = format!("remount,{how}");
    let run = Run::of(Command::new("mount").args(["-o", &mount, "/sys/fs/bpf"]))?;
    succeeds(&run)
}

pub fn not_root() -> Outcome {
    let held = Held::new()?;
    let file = held.file();
    let as_nobody = |arguments: &[&OsStr]| {
        let mut command = Shim::none().command("setpriv");
        command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]);
        Run::of(command.arg(built("daxshim")).args(arguments))
    };
    let words = |words: &[&'static str]| {
        words
            .iter()
            .map(|word| OsStr::new(*word))
            .collect::<Vec<_>>()
    };
    fails(&as_nobody(&words(&["guard", "start"]))?, "CAP_BPF")?;
    let run = as_nobody(&words(&["run", "--strict", "--", "true"]))?;
    if run.status.code() != Some(125) {
        fail!("run --strict ended with {}\n{}", run.status, run.output);
    }
    started()?;
    for arguments in [
        &["guard", "status"][..],
        &["guard", "stop"],
        &["run", "--strict", "--", "true"],
    ] {
        fails(&as_nobody(&words(arguments))?, "run as root")?;
    }
    let add = [OsStr::new("guard"), OsStr::new("add"), file.as_os_str()];
    fails(&as_nobody(&add)?, "run as root")?;
    says(&guard(&["status"])?, "guard: on")
}

pub fn no_dax() -> Outcome {
    let run = apart(
        "umount -l \"$DAXSHIM_PMEM\"; umount -l /mnt/pmem",
        &["guard", "start"],
    )?;
    fails(&run, "no filesystem with DAX is mounted")?;
    nothing_is_left()
}

pub fn full() -> Outcome {
    started()?;
    let held = Held::untouched()?;
    let file = held.file();
    with_maps(|maps| {
        for inode in 0..u64::from(CAPACITY) {
            let key = Key {
                inode,
                device: u32::MAX,
                generation: 0,
            };
            maps.insert(&key, &Entry::default())?;
        }
        Ok(())
    })?;
    // Not even for the self-test's file.
    let run = daxshim(&["tag"], &file)?;
    fails(&run, "the set is full")?;
    stopped()?;
    started()?;
    says(&daxshim(&["tag"], &file)?, "held by the guard")
}

pub fn open_and_mapped() -> Outcome {
    let held = Held::new()?;
    let file = held.file();
    let opened = OpenOptions::new().read(true).write(true).open(&file)?;
    let mapping = Mapping::of(&opened)?;
    started()?;
    let run = daxshim(&["guard", "add"], &file)?;
    says(&run, &format!("open for writing in {}", std::process::id()))?;
    let refused = (&opened).write(b"x").map_err(|error| error.raw_os_error());
    if refused != Err(Some(libc::EPERM)) {
        fail!("write by a descriptor from before came to {refused:?}");
    }
    mapping.store_and_sync()?;
    let mut byte = [0];
    opened.read_at(&mut byte, 0)?;
    if byte != *b"!" {
        fail!("the store is not in the file");
    }
    Ok(())
}

/// An entry of a file that had the inode before binds nobody.
pub fn another_generation() -> Outcome {
    started()?;
    let held = Held::untouched()?;
    let file = held.file();
    let key = daxshim_guard::hold::key(&file).map_err(|error| error.why)?;
    let other = Key {
        generation: key.generation.wrapping_add(1),
        ..key
    };
    with_maps(|maps| Ok(maps.insert(&other, &Entry::default())?))?;
    is_free(&file)?;
    let other = Key {
        device: key.device + 1,
        ..key
    };
    with_maps(|maps| Ok(maps.insert(&other, &Entry::default())?))?;
    is_free(&file)?;
    with_maps(|maps| Ok(maps.insert(&key, &Entry::default())?))?;
    is_refused(&file)?;
    with_maps(|maps| Ok(maps.remove(&key).map(drop)?))?;
    is_free(&file)?;
    // The first of the three is of a file that is gone; of another device nothing is known.
    let run = guard(&["remove", "--stale"])?;
    says(&run, "took out 1 entry of files that are gone")
}

/// What has no DAX is not looked up, be it in the set or not; nor can it be added.
pub fn without_dax() -> Outcome {
    started()?;
    let held = Held::untouched()?;
    let directory = held.scene.path("sub");
    let key = daxshim_guard::selftest::key_of(&File::open(&directory)?, &directory)
        .map_err(|error| error.why)?;
    with_maps(|maps| Ok(maps.insert(&key, &Entry::default())?))?;
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o700))?;
    rustix::fs::setxattr(&directory, "user.x", b"1", rustix::fs::XattrFlags::empty())?;
    let file = tempfile::NamedTempFile::new_in("/dev/shm")?;
    is_free(file.path())?;
    fails(
        &daxshim(&["guard", "add"], file.path())?,
        "it is not tagged",
    )
}

pub fn audit() -> Outcome {
    succeeds(&guard(&["start", "--mode", "audit"])?)?;
    let held = Held::new()?;
    let file = held.file();
    is_free(&file)?;
    let shown = guard(&["status"])?;
    says(&shown, "audit")?;
    says(&shown, "(let through)")?;
    says(&shown, "0 refused, 5 let through")?;
    succeeds(&daxshim(&["guard", "add", "--mode", "enforce"], &file)?)?;
    is_refused(&file)
}

pub fn compat() -> Outcome {
    succeeds(&guard(&["start", "--compat"])?)?;
    let held = Held::new()?;
    let file = held.file();
    let meta = fs::metadata(&file)?;
    let opened = OpenOptions::new().read(true).write(true).open(&file)?;
    let refused = |what: &str, result: std::io::Result<()>| -> Outcome {
        match result.map_err(|error| error.raw_os_error()) {
            Err(Some(libc::EPERM)) => Ok(()),
            other => fail!("{what}: {other:?}"),
        }
    };
    opened.set_len(meta.len())?;
    refused("another size", opened.set_len(meta.len() - 1))?;
    refused(
        "O_TRUNC",
        OpenOptions::new()
            .write(true)
            .truncate(true)
            .open(&file)
            .map(drop),
    )?;
    fs::set_permissions(&file, fs::Permissions::from_mode(meta.mode()))?;
    refused(
        "another mode",
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)),
    )?;
    std::os::unix::fs::chown(&file, Some(meta.uid()), Some(meta.gid()))?;
    refused(
        "another owner",
        std::os::unix::fs::chown(&file, Some(7), None),
    )?;
    refused(
        "another group",
        std::os::unix::fs::chown(&file, None, Some(7)),
    )?;
    refused(
        "times",
        opened.set_modified(std::time::SystemTime::UNIX_EPOCH),
    )?;
    refused("write", (&opened).write_all(b"x"))?;
    // The library's answer where it can give it.
    let shim = Shim::new().with("DAXSHIM_COMPAT", "1");
    let size = meta.len().to_string();
    let truncate = |size: &str| Run::of(shim.command("truncate").args(["-s", size]).arg(&file));
    succeeds(&truncate(&size)?)?;
    fails(&truncate("1")?, "Operation not permitted")
}

pub fn reads_denied() -> Outcome {
    succeeds(&guard(&["start", "--reads", "deny"])?)?;
    let held = Held::new()?;
    let file = held.file();
    let refused = fs::read(&file).map_err(|error| error.raw_os_error());
    if refused != Err(Some(libc::EPERM)) {
        fail!("read came to {:?}", refused.map(|bytes| bytes.len()));
    }
    let opened = OpenOptions::new().read(true).write(true).open(&file)?;
    Mapping::of(&opened)?.store_and_sync()?;
    // Others are read.
    fs::read(held.scene.path("plain"))?;
    succeeds(&daxshim(&["guard", "add", "--reads", "allow"], &file)?)?;
    fs::read(&file).map(drop)?;
    Ok(())
}

pub fn loop_device() -> Outcome {
    let held = Held::new()?;
    let file = held.file();
    succeeds(&Run::of(Command::new("modprobe").arg("loop"))?)?;
    let attach = || Run::of(Command::new("losetup").args(["--show", "-f"]).arg(&file));
    let attached = attach()?;
    succeeds(&attached)?;
    let device = attached.output.trim().to_owned();
    started()?;
    let run = daxshim(&["guard", "add"], &file);
    succeeds(&Run::of(Command::new("losetup").args(["-d", &device]))?)?;
    fails(&run?, &format!("it is behind {device}"))?;
    is_free(&file)?;
    succeeds(&daxshim(&["guard", "add"], &file)?)?;
    fails(&attach()?, "Operation not permitted")?;
    stopped()?;
    let attached = attach()?;
    succeeds(&attached)?;
    succeeds(&Run::of(
        Command::new("losetup").args(["-d", attached.output.trim()]),
    )?)
}

pub fn process_accounting() -> Outcome {
    let held = Held::new()?;
    let file = held.file();
    let path = CString::new(file.as_os_str().as_bytes())?;
    let account = |on: bool| accounting(on.then_some(path.as_c_str()));
    started()?;
    if account(true).is_err() {
        fail!("acct(2) does not work here");
    }
    let run = daxshim(&["guard", "add"], &file);
    let off = account(false);
    fails(&run?, "the kernel itself")?;
    off.map_err(|errno| format!("acct(NULL): {errno:?}"))?;
    stopped()?;
    // What was accounted meanwhile has made the file longer: another one.
    drop(held);
    succeeds(&guard(&["start", "--opens"])?)?;
    let held = Held::new()?;
    let file = held.file();
    let path = CString::new(file.as_os_str().as_bytes())?;
    let account = |on: bool| accounting(on.then_some(path.as_c_str()));
    let refused = account(true);
    let _ = account(false);
    if refused != Err(Some(libc::EPERM)) {
        fail!("acct came to {refused:?}");
    }
    // Programs open it as ever.
    OpenOptions::new().read(true).write(true).open(&file)?;
    Ok(())
}

/// A process that has it open for writing does not hide who else has.
pub fn accounting_and_a_process() -> Outcome {
    started()?;
    let held = Held::new()?;
    let file = held.file();
    succeeds(&daxshim(&["guard", "remove"], &file)?)?;
    let opened = OpenOptions::new().read(true).write(true).open(&file)?;
    let _mapping = Mapping::of(&opened)?;
    let path = CString::new(file.as_os_str().as_bytes())?;
    accounting(Some(path.as_c_str())).map_err(|errno| format!("acct: {errno:?}"))?;
    let run = daxshim(&["guard", "add"], &file);
    let off = accounting(None);
    fails(
        &run?,
        "the kernel itself writes to it without asking: process accounting",
    )?;
    off.map_err(|errno| format!("acct(NULL): {errno:?}"))?;
    is_free(&file)
}

/// What packages ship: its commands hold the files again after a reboot.
pub fn systemd_unit() -> Outcome {
    const UNIT: &str = "../guard/systemd/daxshim-guard.service";
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(UNIT))?;
    let command = |key: &str| {
        let found = text.lines().filter_map(|line| {
            let line = line.trim_start_matches(['#', ' ']).strip_prefix(key)?;
            line.strip_prefix("=/usr/bin/daxshim ").map(str::to_owned)
        });
        found.collect::<Vec<String>>()
    };
    let execute = |line: &str| {
        let mut daxshim = Shim::none().command(built("daxshim"));
        Run::of(daxshim.args(line.split(' ')))
    };
    let (before, starts, stops) = (
        command("ExecStartPre"),
        command("ExecStart"),
        command("ExecStop"),
    );
    if (before.len(), starts.len(), stops.len()) != (1, 3, 1) {
        fail!("it has {before:?}, {starts:?}, {stops:?}");
    }
    let held = Held::new()?;
    let file = held.file();
    let list = held.scene.path("list");
    fs::write(&list, format!("{}\n", file.display()))?;
    for start in &starts {
        let start = start
            .replace("/mnt/pmem", &scene::root().to_string_lossy())
            .replace("/etc/daxshim/held", &list.to_string_lossy());
        // The inode leaves the cache, as on a boot.
        fs::write("/proc/sys/vm/drop_caches", "3")?;
        is_free(&file)?;
        // Restarted, too.
        for _ in 0..2 {
            succeeds(&execute(&before[0])?)?;
            says(&execute(&start)?, ": held (enforce)")?;
            is_refused(&file)?;
        }
        succeeds(&execute(&stops[0])?)?;
        is_free(&file)?;
    }
    // What systemd says of it, where it is.
    let copy = held.scene.path("daxshim-guard.service");
    let daxshim = built("daxshim").to_string_lossy().into_owned();
    fs::write(&copy, text.replace("/usr/bin/daxshim", &daxshim))?;
    match Run::of(
        Command::new("systemd-analyze")
            .args(["--man=no", "verify"])
            .arg(&copy),
    ) {
        Ok(run) => succeeds(&run),
        Err(_) => Ok(()),
    }
}
