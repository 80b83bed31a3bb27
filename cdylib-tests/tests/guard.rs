//! The guard in the kernel, on real fs-DAX, as root: every row of the table of hooks by the same
//! programs, without the library and with it; and the guard's own life. Elsewhere there is nothing to
//! test.

use daxshim_core::contract::Operation;
use daxshim_core::requests::FICLONE;
use daxshim_core::symbols::{HOOKS, Hook};
use daxshim_guard::guard::{DIRECTORY, State, state};
use daxshim_guard::kind::Kind;
use daxshim_guard::set::{CAPACITY, Entry, Key, Maps};
use daxshim_tests::{Failed, Outcome, Run, Scene, Shim, Tag, built, expectation, fail, scene};
use libtest_mimic::{Arguments, Trial};
use std::ffi::{CStr, CString, OsStr};
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

fn main() {
    let mut arguments = Arguments::from_args();
    // There is one guard.
    arguments.test_threads = Some(1);
    if !scene::real() || !rustix::process::geteuid().is_root() {
        eprintln!("nothing is looked at here: it takes root and a real fs-DAX, as in scripts/vm");
        libtest_mimic::run(&arguments, Vec::new()).exit();
    }
    if !arguments.list
        && let Err(why) = prepare_kernel()
    {
        eprintln!("{}", why.message().unwrap_or_default());
        std::process::exit(1);
    }
    let mut trials = Vec::new();
    // Only such a kernel shows it.
    let inactive = Some(("life/bpf is not active", bpf_is_not_active as Test));
    let inactive = inactive.filter(|_| Kind::here() == Kind::ModifyReturn);
    for &(name, test) in LIFE.iter().chain(&inactive) {
        trials.push(Trial::test(name, move || {
            let outcome = stopped().and_then(|()| test());
            outcome.and(stopped())
        }));
    }
    for hook in HOOKS
        .iter()
        .filter(|hook| !hook.symbols.is_empty() && hook.is_of_libc())
    {
        let mut add = |name: &str, test: fn(&Hook) -> Outcome| {
            let name = format!("{}/{name}", hook.function);
            trials.push(Trial::test(name, move || {
                started().and_then(|()| test(hook))
            }));
        };
        add("guard alone", alone);
        add("guard and library", with_library);
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    let _ = stopped();
    conclusion.exit();
}

// ---- the rows -----------------------------------------------------------------

fn program(hook: &Hook) -> String {
    format!("hooks/{}", hook.function)
}

/// What the contract answers to the row's program.
fn expected(hook: &Hook, native: &Run) -> Result<String, Failed> {
    match expectation(&program(hook), "tagged") {
        Some(listed) => native.except(&listed),
        None => Ok(native.output.clone()),
    }
}

/// Without the library: what the contract refuses is refused, by EPERM or by the kernel's own reason
/// where that comes first; all else is as on an untagged file; nothing changes.
fn alone(hook: &Hook) -> Outcome {
    row(hook, &Shim::none(), |got, natively| {
        got == natively && natively.contains(" = -1 ")
    })
}

/// With the library on top: its answers.
fn with_library(hook: &Hook) -> Outcome {
    row(hook, &Shim::new(), |_, _| false)
}

fn row(hook: &Hook, shim: &Shim, is_own_reason: fn(&str, &str) -> bool) -> Outcome {
    let row = hook.function;
    let native = Run::natively(&program(hook), hook.symbols[0])?;
    let expected = expected(hook, &native)?;
    let held = Held::new()?;
    let before = held.scene.snapshot("file")?;
    let run = Run::program(shim, &program(hook), hook.symbols[0], &held.scene)?;
    let mut wrong = Vec::new();
    let lines = expected.lines().zip(native.output.lines());
    let mut answers = run.output.lines();
    for (wanted, natively) in lines {
        let got = answers.next().unwrap_or("(nothing)");
        if got != wanted && !is_own_reason(got, natively) && !is_known(row, wanted, got, natively) {
            wrong.push(format!(
                "expected {wanted}\n     got {got}\nnatively {natively}"
            ));
        }
    }
    wrong.extend(answers.map(|line| format!("nothing expected\n     got {line}")));
    if run.status != native.status {
        wrong.push(format!("it ends with {}", run.status));
    }
    if !wrong.is_empty() {
        fail!("{} lines differ\n{}", wrong.len(), wrong.join("\n"));
    }
    let after = held.scene.snapshot("file")?;
    let stores = |o: &Operation| matches!(o, Operation::Map | Operation::Sync);
    if row == "ioctl" {
        // XFS moves ctime when flags are set that are set already.
        return before.same_but_for_times(&after);
    }
    if hook.operations.iter().any(stores) {
        before.same_but_for_stores(&after)
    } else {
        before.same(&after)
    }
}

/// Where the kernel's own order shows: nothing is written by a vector of nothing; where there are two
/// reasons, the guard's may come first; and where extents can't be shared, the kernel copies.
fn is_known(row: &str, wanted: &str, got: &str, natively: &str) -> bool {
    let label = wanted.split(" = ").next().unwrap_or(wanted);
    let copies = !shares_extents();
    match row {
        "writev" | "pwritev" | "pwritev2"
            if label.starts_with("an empty vector element to ")
                || label.starts_with("no vector to ") =>
        {
            got == natively && got.ends_with(" = 0")
        }
        "pwritev2" if label == "an unknown flag" => got.ends_with(" = -1 EPERM"),
        "sendfile" if label == "plain to O_WRONLY|O_APPEND" => got.ends_with(" = -1 EPERM"),
        // Each destination has an answer of its own, in the argument.
        "ioctl" if label.starts_with("FIDEDUPERANGE ") || label.starts_with("FIDEDUPERANGE,") => {
            got == natively && got.ends_with(" = 0")
        }
        // The source's answer comes first.
        "copy_file_range" if label == "file to itself" => got.ends_with(" = -1 EXDEV"),
        "copy_file_range" | "syscall" if copies && wanted.ends_with(" = -1 EXDEV") => {
            got == natively
        }
        "copy_file_range" if copies && label.starts_with("where it got to in ") => got == natively,
        _ => false,
    }
}

/// Whether files can share extents: asked by making two do so.
fn shares_extents() -> bool {
    static ANSWER: OnceLock<bool> = OnceLock::new();
    *ANSWER.get_or_init(|| {
        let make = || tempfile::tempfile_in(scene::root()).ok();
        let (Some(mut from), Some(to)) = (make(), make()) else {
            return false;
        };
        // SAFETY: FICLONE takes a descriptor.
        from.write_all(&[1; 4096]).is_ok()
            && unsafe { libc::ioctl(to.as_raw_fd(), FICLONE.into(), from.as_raw_fd()) } == 0
    })
}

// ---- the guard's life -----------------------------------------------------------

type Test = fn() -> Outcome;

/// Each begins and ends without a guard.
const LIFE: &[(&str, Test)] = &[
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

fn stopped_all_is_as_before() -> Outcome {
    started()?;
    let held = Held::new()?;
    is_refused(&held.file())?;
    stopped()?;
    is_free(&held.file())
}

fn two_guards() -> Outcome {
    started()?;
    let run = guard(&["start"])?;
    fails(&run, "there is one already")?;
    let held = Held::new()?;
    is_refused(&held.file())?;
    says(&guard(&["status"])?, "guard: on")
}

fn tag_adds_untag_takes_out() -> Outcome {
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
fn kill_everywhere(
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

fn killed_while_starting() -> Outcome {
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

fn killed_while_stopping() -> Outcome {
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

fn pins_removed_by_somebody() -> Outcome {
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
fn apart(script: &str, arguments: &[&str]) -> Result<Run, Failed> {
    let mut command = Shim::none().command("unshare");
    command
        .args(["-m", "sh", "-c"])
        .arg(format!("{script} && exec \"$0\" \"$@\""));
    Run::of(command.arg(built("daxshim")).args(arguments))
}

fn no_btf() -> Outcome {
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
fn bpf_is_not_active() -> Outcome {
    let pretend = "echo capability,bpf >/run/lsm && mount --bind /run/lsm /sys/kernel/security/lsm";
    let run = apart(pretend, &["guard", "start"]);
    fs::remove_file("/run/lsm")?;
    fails(&run?, "the guard does not work here")?;
    nothing_is_left()
}

fn no_bpffs() -> Outcome {
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

fn read_only_bpffs() -> Outcome {
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

fn remount_bpffs(how: &str) -> Outcome {
    let mount = format!("remount,{how}");
    let run = Run::of(Command::new("mount").args(["-o", &mount, "/sys/fs/bpf"]))?;
    succeeds(&run)
}

fn not_root() -> Outcome {
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

fn no_dax() -> Outcome {
    let run = apart(
        "umount -l \"$DAXSHIM_PMEM\"; umount -l /mnt/pmem",
        &["guard", "start"],
    )?;
    fails(&run, "no filesystem with DAX is mounted")?;
    nothing_is_left()
}

fn full() -> Outcome {
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

fn open_and_mapped() -> Outcome {
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
fn another_generation() -> Outcome {
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
fn without_dax() -> Outcome {
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

fn audit() -> Outcome {
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

fn compat() -> Outcome {
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

fn reads_denied() -> Outcome {
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

fn loop_device() -> Outcome {
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

fn process_accounting() -> Outcome {
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
fn accounting_and_a_process() -> Outcome {
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
fn systemd_unit() -> Outcome {
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

// ---- raw calls ------------------------------------------------------------------

/// The static program without libc (programs/guard/raw.c).
fn raw(shim: &Shim, scene: &Scene, held: bool) -> Result<Run, Failed> {
    let mut command = shim.command(daxshim_tests::program("guard/raw"));
    command.args(held.then_some("held"));
    let run = Run::of(command.current_dir(scene.dir()))?;
    succeeds(&run)?;
    Ok(run)
}

/// What it says on files that nobody holds.
fn raw_natively() -> Result<String, Failed> {
    stopped()?;
    let free = Held::untouched()?;
    Ok(raw(&Shim::none(), &free.scene, false)?.output)
}

fn answers(output: &str) -> impl Iterator<Item = (&str, &str)> {
    output.lines().filter_map(|line| line.rsplit_once(" = "))
}

fn raw_alone() -> Outcome {
    raw_held(&Shim::none())
}

fn raw_with_library() -> Outcome {
    raw_held(&Shim::new())
}

/// What a tagged file refuses is refused by EPERM, or by a reason of the kernel's own that came first; all
/// else is as on a file that nobody holds.
fn raw_held(shim: &Shim) -> Outcome {
    succeeds(&Run::of(Command::new("modprobe").arg("loop"))?)?;
    let natively = raw_natively()?;
    let natively: std::collections::HashMap<&str, &str> = answers(&natively).collect();
    started()?;
    let held = Held::new()?;
    let before = held.scene.snapshot("file")?;
    let run = raw(shim, &held.scene, true)?;
    before.same_but_for_stores(&held.scene.snapshot("file")?)?;
    let (mut refused, mut allowed, mut own) = (0, 0, 0);
    let mut wrong = Vec::new();
    for (name, got) in answers(&run.output) {
        let native = natively.get(name).copied();
        let is_denied = name.starts_with("DENY ");
        if is_denied && got == "-1" {
            refused += 1;
        } else if is_denied && native == Some(got) && got.starts_with('-') {
            own += 1;
        } else if !is_denied && native == Some(got) {
            allowed += 1;
        } else if !(name.ends_with("not in memory") && Kind::here() == Kind::ModifyReturn) {
            wrong.push(format!("{name} = {got}, natively {native:?}"));
        }
    }
    println!("{refused} refused, {own} for the kernel's own reasons, {allowed} allowed");
    if !wrong.is_empty() || refused < 110 || own > 12 || allowed < 45 {
        fail!(
            "{refused} refused, {own} for the kernel's own reasons, {allowed} allowed; wrong:\n{}",
            wrong.join("\n")
        );
    }
    Ok(())
}

/// As if it had never been.
fn raw_stopped() -> Outcome {
    succeeds(&Run::of(Command::new("modprobe").arg("loop"))?)?;
    let natively = raw_natively()?;
    started()?;
    let held = Held::new()?;
    is_refused(&held.file())?;
    stopped()?;
    let run = raw(&Shim::none(), &held.scene, false)?;
    let differ: Vec<_> = answers(&natively)
        .zip(answers(&run.output))
        .filter(|(native, now)| native != now)
        .collect();
    if !differ.is_empty() || run.output.lines().count() != natively.lines().count() {
        fail!("{differ:?}");
    }
    Ok(())
}

/// acct(2)
fn accounting(to: Option<&CStr>) -> Result<(), Option<i32>> {
    // SAFETY: a terminated path, or none.
    match unsafe { libc::acct(to.map_or(std::ptr::null(), CStr::as_ptr)) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error().raw_os_error()),
    }
}

fn overlay() -> Outcome {
    over("upper", |_, merged| {
        is_refused(merged)?;
        for change in ["+d", "+A", "+a"] {
            let run = Run::of(Command::new("chattr").arg(change).arg(merged))?;
            fails(&run, "Operation not permitted")?;
        }
        Ok(())
    })
}

/// Opened to be written, a file of the lower layer is cloned, where extents can be shared: then it must
/// not be opened so. Where they can't, it is copied.
fn overlay_copies_up() -> Outcome {
    over("lower", |file, merged| {
        fs::read(merged)?;
        Run::of(Command::new("cat").arg(merged)).and_then(|run| succeeds(&run))?;
        let opened = OpenOptions::new().read(true).write(true).open(merged);
        match opened.map_err(|error| error.raw_os_error()) {
            Err(Some(libc::EPERM)) if shares_extents() => {}
            Ok(_) if !shares_extents() => {}
            other => fail!("opened to be written: {other:?}"),
        }
        succeeds(&daxshim(&["verify"], file)?)
    })
}

/// A file of quotas is written by the kernel itself.
fn file_of_quotas() -> Outcome {
    if held_filesystem()? != "ext4" {
        return Ok(());
    }
    let remount = |option: &str| {
        let option = format!("remount,{option}");
        Run::of(
            Command::new("mount")
                .args(["-o", &option])
                .arg(scene::root()),
        )
        .and_then(|run| succeeds(&run))
    };
    let device = Run::of(
        Command::new("findmnt")
            .args(["-no", "SOURCE"])
            .arg(scene::root()),
    )?;
    let device = CString::new(device.output.trim())?;
    started()?;
    let held = Held::new()?;
    let file = CString::new(held.file().as_os_str().as_bytes())?;
    let other = CString::new(held.scene.path("plain").as_os_str().as_bytes())?;
    let quotas = |path: &CStr| {
        // Q_QUOTAON of users, in QFMT_VFS_V1.
        let on = libc::QCMD(libc::Q_QUOTAON, libc::USRQUOTA);
        // SAFETY: terminated paths.
        match unsafe { libc::quotactl(on, device.as_ptr(), 4, path.as_ptr().cast_mut()) } {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error().raw_os_error()),
        }
    };
    remount("usrquota")?;
    let (held_answer, other_answer) = (quotas(&file), quotas(&other));
    remount("noquota")?;
    if held_answer != Err(Some(libc::EPERM)) || other_answer == Err(Some(libc::EPERM)) {
        fail!("quotactl came to {held_answer:?}, of another file to {other_answer:?}");
    }
    Ok(())
}

/// What a held file of one layer answers, and the same through the overlay.
fn over(layer: &str, look: fn(&Path, &Path) -> Outcome) -> Outcome {
    started()?;
    let held = Held::new()?;
    let scene = &held.scene;
    let (lower, work, merged) = (
        scene.path("lower"),
        scene.path("work"),
        scene.path("merged"),
    );
    let upper = scene.path("upper");
    for directory in [&lower, &upper, &work, &merged] {
        fs::create_dir(directory)?;
    }
    let file = scene.path(layer).join("file");
    make(&file)?;
    succeeds(&daxshim(&["tag"], &file)?)?;
    let options = format!(
        "lowerdir={},upperdir={},workdir={}",
        lower.display(),
        upper.display(),
        work.display()
    );
    let mount = Run::of(
        Command::new("mount")
            .args(["-t", "overlay", "overlay", "-o", &options])
            .arg(&merged),
    )?;
    succeeds(&mount)?;
    let outcome = look(&file, &merged.join("file"));
    let unmounted = Run::of(Command::new("umount").arg(&merged));
    let let_go = daxshim(&["guard", "remove"], &file);
    succeeds(&unmounted?)?;
    succeeds(&let_go?)?;
    outcome
}

/// Past every library: io_uring and libaio.
fn fio() -> Outcome {
    started()?;
    let held = Held::new()?;
    let file = held.file();
    for engine in ["io_uring", "libaio", "psync", "mmap"] {
        let mut command = Shim::none().command("fio");
        command
            .args([
                "--name=x",
                "--rw=write",
                "--bs=4k",
                "--size=16k",
                "--allow_file_create=0",
            ])
            .args([
                "--overwrite=1",
                "--invalidate=0",
                "--fallocate=none",
                "--output-format=terse",
            ])
            .arg(format!("--ioengine={engine}"))
            .arg(format!("--filename={}", file.display()));
        let before = held.scene.snapshot("file")?;
        let run = Run::of(command.current_dir(held.scene.dir()))?;
        if engine == "mmap" {
            succeeds(&run)?;
        } else {
            fails(&run, "Operation not permitted")?;
            before.same(&held.scene.snapshot("file")?)?;
        }
    }
    Ok(())
}

/// XFS sets attributes by handle, and exchanges extents, past the usual hooks.
fn by_handle() -> Outcome {
    started()?;
    let held = Held::new()?;
    let file = held.file();
    let set = || set_by_handle(&file, 2, c"user.by_handle", b"1");
    if held_filesystem()? != "xfs" {
        return Ok(());
    }
    match set() {
        Err(Some(libc::EPERM)) => {}
        other => fail!("XFS_IOC_ATTRMULTI_BY_HANDLE came to {other:?}"),
    }
    // Reading by handle is nothing that changes.
    let got = set_by_handle(&file, 1, c"user.present", b"\0\0\0\0");
    if got == Err(Some(libc::EPERM)) {
        fail!("reading by handle is refused");
    }
    stopped()?;
    set().map_err(|errno| format!("without a guard it came to {errno:?}"))?;
    Ok(())
}

fn untagged_and_missing() -> Outcome {
    started()?;
    let held = Held::untouched()?;
    let file = held.file();
    fails(&daxshim(&["guard", "add"], &file)?, "it is not tagged")?;
    fails(
        &daxshim(&["guard", "add"], Path::new("/nowhere"))?,
        "there is no such file",
    )?;
    fails(
        &daxshim(&["guard", "add"], held.scene.dir())?,
        "it is a directory",
    )?;
    fails(
        &daxshim(&["guard", "remove"], Path::new("/nowhere"))?,
        "there is no such file",
    )?;
    says(&daxshim(&["guard", "remove"], &file)?, "not held")?;
    fails(&guard(&["add"])?, "no file was given")?;
    fails(
        &guard(&["add", "--list", "/nowhere"])?,
        "cannot read /nowhere",
    )?;
    fails(
        &guard(&["add", "--scan", "/nowhere"])?,
        "cannot read /nowhere",
    )?;
    is_free(&file)?;
    succeeds(&daxshim(&["tag"], &file)?)?;
    succeeds(&daxshim(&["guard", "remove"], &file)?)?;
    let list = held.scene.path("list");
    fs::write(&list, format!("# held\n{}\n", file.display()))?;
    says(
        &daxshim(&["guard", "add", "--list"], &list)?,
        ": held (enforce)",
    )?;
    is_refused(&file)?;
    succeeds(&daxshim(&["guard", "remove"], &file)?)?;
    says(
        &daxshim(&["guard", "add", "--scan"], held.scene.dir())?,
        ": held (enforce)",
    )?;
    is_refused(&file)?;
    succeeds(&daxshim(&["guard", "remove"], &file)?)?;
    says(&guard(&["add", "--all"])?, ": held (enforce)")?;
    is_refused(&file)
}

/// A program that the library can't see: the guest's own busybox, which is static.
const STATIC: &str = "/run/daxshim-vm/busybox";

fn run_strict(command: &[&str]) -> Result<Run, Failed> {
    let mut strict = Shim::none().command(built("daxshim"));
    Run::of(
        strict
            .args(["run", "--strict", "--report", "-", "--"])
            .args(command),
    )
}

/// Writes a byte to a file, without the library.
fn writing_past(file: &Path) -> Vec<String> {
    let to = format!("of={}", file.display());
    [
        STATIC,
        "dd",
        "if=/dev/zero",
        "bs=1",
        "count=1",
        "conv=notrunc",
        &to,
    ]
    .map(str::to_owned)
    .into()
}

fn write_past(file: &Path) -> Result<Run, Failed> {
    let command = writing_past(file);
    run_strict(&command.iter().map(String::as_str).collect::<Vec<_>>())
}

fn strict_own() -> Outcome {
    let held = Held::new()?;
    let file = held.file();
    let before = held.scene.snapshot("file")?;
    let run = write_past(&file)?;
    fails(
        &run,
        "the kernel held 2 files for this run; past the shim it refused",
    )?;
    says(&run, "write by write")?;
    says(&run, "busybox")?;
    before.same(&held.scene.snapshot("file")?)?;
    // It ends with the run.
    is_free(&file)?;
    nothing_is_left()?;
    let run = run_strict(&["true"])?;
    succeeds(&run)?;
    says(&run, "nothing got past the shim")
}

fn strict_pinned() -> Outcome {
    started()?;
    let held = Held::new()?;
    let file = held.file();
    let run = write_past(&file)?;
    fails(
        &run,
        "the kernel held 2 files all the time; past the shim it refused",
    )?;
    is_refused(&file)?;
    succeeds(&daxshim(&["guard", "remove"], &file)?)?;
    succeeds(&daxshim(&["guard", "add", "--mode", "audit"], &file)?)?;
    fails(&run_strict(&["true"])?, "or only watches")?;
    succeeds(&daxshim(&["guard", "remove"], &file)?)?;
    let run = run_strict(&["true"])?;
    fails(&run, "the guard does not hold 1 of them")?;
    if run.status.code() != Some(125) {
        fail!("it ended with {}", run.status);
    }
    Ok(())
}

/// What others try during the run is not the run's; what its processes do is, whoever their parent is by then.
fn strict_others() -> Outcome {
    started()?;
    let held = Held::new()?;
    let file = held.file();
    let past = writing_past(&file).join(" ");
    // The writer's parents are gone when it writes; cat ends when it does.
    let script = format!("echo ready; read x; {{ ({STATIC} setsid {past} &) & }} 2>&1 | cat");
    let mut command = Shim::none().command(built("daxshim"));
    let report = held.scene.dir().with_file_name("strict-report");
    command.args(["run", "--strict", "--report"]).arg(&report);
    command.args(["--", "sh", "-c", &script]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn()?;
    let mut output = BufReader::new(child.stdout.take().ok_or("no output")?);
    let mut line = String::new();
    output.read_line(&mut line)?;
    let others = is_refused(&file);
    let other = write_by_child(&file);
    drop(child.stdin.take());
    let mut rest = String::new();
    output.read_to_string(&mut rest)?;
    child.wait()?;
    others?;
    other?;
    let report = fs::read_to_string(&report)?;
    let refusals: Vec<_> = report
        .lines()
        .filter(|line| line.starts_with("  pid "))
        .collect();
    if line != "ready\n" || refusals.len() != 1 || !refusals[0].contains("busybox  write by write")
    {
        fail!("after {line:?} and {rest:?} it reports\n{report}");
    }
    // Whoever comes later is none of its processes.
    says(&run_strict(&["true"])?, "nothing got past the shim")
}

/// A process that is not the run's is refused.
fn write_by_child(file: &Path) -> Outcome {
    let words = writing_past(file);
    let run = Run::of(Command::new(&words[0]).args(&words[1..]))?;
    fails(&run, "not permitted")
}

/// Where both only watch, what the shim has recorded is not said again.
fn strict_audit() -> Outcome {
    let held = Held::new()?;
    let file = held.file();
    let strict = |command: &[String]| {
        let mut strict = Shim::none().command(built("daxshim"));
        strict.args(["run", "--mode", "audit", "--strict", "--report", "-", "--"]);
        Run::of(strict.args(command))
    };
    let dynamic: Vec<String> = ["dd".to_owned()]
        .into_iter()
        .chain(writing_past(&file).into_iter().skip(2))
        .collect();
    let run = strict(&dynamic)?;
    succeeds(&run)?;
    says(&run, "nothing got past the shim")?;
    let run = strict(&writing_past(&file))?;
    succeeds(&run)?;
    says(&run, "write by write (let through)")
}

/// Root is not needed for a guard of one's own, where one may write to the files' directory.
fn strict_by_capabilities() -> Outcome {
    let held = Held::new()?;
    let scene = &held.scene;
    let everybody = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode));
    everybody(scene.dir(), 0o777)?;
    // What is not readable may hide a tagged file.
    let _ = fs::remove_dir(scene::root().join("lost+found"));
    let strict = |capabilities: &str| {
        let mut command = Shim::none().command("setpriv");
        command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]);
        command.args(["--inh-caps", capabilities, "--ambient-caps", capabilities]);
        command
            .arg(built("daxshim"))
            .args(["run", "--strict", "--report", "-", "--"]);
        Run::of(command.args(writing_past(&scene.path("file"))))
    };
    fs::set_permissions(scene.path("file"), fs::Permissions::from_mode(0o666))?;
    let run = strict("+bpf,+perfmon")?;
    fails(&run, "past the shim it refused")?;
    says(&run, "write by write")?;
    fails(&strict("+bpf")?, "CAP_PERFMON")?;
    fails(&strict("+perfmon")?, "CAP_BPF")?;
    is_free(&held.file())
}

fn strict_nothing() -> Outcome {
    let run = run_strict(&["true"])?;
    fails(&run, "there are none with DAX")?;
    if run.status.code() != Some(125) {
        fail!("it ended with {}", run.status);
    }
    let mut command = Shim::none().command(built("daxshim"));
    let run = Run::of(command.args(["run", "--strict", "--emulate", "--", "true"]))?;
    fails(&run, "emulated tags are nothing to the kernel")
}

// ---- what they share --------------------------------------------------------------

/// Mounts what every machine with systemd has.
fn prepare_kernel() -> Outcome {
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
fn daxshim(arguments: &[&str], path: &Path) -> Result<Run, Failed> {
    Run::of(
        Shim::none()
            .command(built("daxshim"))
            .args(arguments)
            .arg(path),
    )
}

/// `daxshim guard ARGUMENTS`
fn guard(arguments: &[&str]) -> Result<Run, Failed> {
    Run::of(
        Shim::none()
            .command(built("daxshim"))
            .arg("guard")
            .args(arguments),
    )
}

fn is_on() -> Result<bool, Failed> {
    match state() {
        Ok(State::On(pinned)) => Ok(pinned.missing.is_empty()),
        Ok(_) => Ok(false),
        Err(error) => fail!("{error}: {}", error.why),
    }
}

fn started() -> Outcome {
    if !is_on()? {
        succeeds(&guard(&["start"])?)?;
    }
    Ok(())
}

fn stopped() -> Outcome {
    succeeds(&guard(&["stop"])?)
}

fn with_maps(change: impl FnOnce(&Maps) -> Outcome) -> Outcome {
    match state() {
        Ok(State::On(pinned)) => change(&pinned.maps),
        other => fail!("there is no guard: {other:?}"),
    }
}

fn nothing_is_left() -> Outcome {
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

fn succeeds(run: &Run) -> Outcome {
    if !run.status.success() {
        fail!("{}\n{}", run.status, run.output);
    }
    Ok(())
}

fn says(run: &Run, words: &str) -> Outcome {
    if !run.output.contains(words) {
        fail!("it does not say {words:?}: {}\n{}", run.status, run.output);
    }
    Ok(())
}

fn fails(run: &Run, words: &str) -> Outcome {
    if run.status.success() {
        fail!("it succeeds\n{}", run.output);
    }
    says(run, words)
}

/// Whether write, chmod, setxattr and link are refused; what was not is put back.
fn refusals_of(path: &Path) -> Result<Vec<bool>, Failed> {
    let opened = OpenOptions::new().read(true).write(true).open(path)?;
    let mut byte = [0];
    opened.read_at(&mut byte, 0)?;
    let mode = fs::metadata(path)?.permissions();
    let beside = path.with_extension("beside");
    let flags = rustix::fs::XattrFlags::empty();
    let attempts = [
        opened.write_at(&byte, 0).map(drop),
        fs::set_permissions(path, mode),
        rustix::fs::setxattr(path, "user.present", b"yes", flags).map_err(Into::into),
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

fn is_refused(path: &Path) -> Outcome {
    match refusals_of(path)?.as_slice() {
        [true, true, true, true] => Ok(()),
        other => fail!("write, chmod, setxattr, link were refused: {other:?}"),
    }
}

fn is_free(path: &Path) -> Outcome {
    match refusals_of(path)?.as_slice() {
        [false, false, false, false] => Ok(()),
        other => fail!("write, chmod, setxattr, link were refused: {other:?}"),
    }
}

/// A file that can be tagged.
fn make(path: &Path) -> Outcome {
    fs::write(path, scene::pattern(scene::FILE_SIZE))?;
    succeeds(&daxshim(&["prepare"], path)?)
}

/// A scene whose files are tagged, and held if there is a guard; they are let go before it goes.
struct Held {
    scene: Scene,
}

impl Held {
    fn new() -> Result<Held, Failed> {
        let held = Held::untouched()?;
        for name in ["file", "tail"] {
            held.scene.tag(name, Tag::Valid)?;
        }
        Ok(held)
    }

    /// Not tagged yet.
    fn untouched() -> Result<Held, Failed> {
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

    fn file(&self) -> PathBuf {
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
struct Mapping(*mut libc::c_void);

impl Mapping {
    fn of(file: &File) -> Result<Mapping, Failed> {
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

    fn store_and_sync(&self) -> Outcome {
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

fn held_filesystem() -> Result<String, Failed> {
    let run = Run::of(
        Command::new("findmnt")
            .args(["-no", "FSTYPE"])
            .arg(scene::root()),
    )?;
    Ok(run.output.trim().to_owned())
}

/// XFS_IOC_ATTRMULTI_BY_HANDLE with one operation (1: get, 2: set) on a `user.` attribute.
fn set_by_handle(
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
