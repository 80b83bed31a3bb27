//! What no library holds: calls of a static program, overlays, quotas, io_uring, handles.

use super::*;

/// The static program without libc (programs/guard/raw.c).
pub fn raw(shim: &Shim, scene: &Scene, held: bool) -> Result<Run, Failed> {
    let mut command = shim.command(daxshim_tests::program("guard/raw"));
    command.args(held.then_some("held"));
    let run = Run::of(command.current_dir(scene.dir()))?;
    succeeds(&run)?;
    Ok(run)
}

/// What it says on files that nobody holds.
pub fn raw_natively() -> Result<String, Failed> {
    stopped()?;
    let free = Held::untouched()?;
    Ok(raw(&Shim::none(), &free.scene, false)?.output)
}

pub fn answers(output: &str) -> impl Iterator<Item = (&str, &str)> {
    output.lines().filter_map(|line| line.rsplit_once(" = "))
}

pub fn raw_alone() -> Outcome {
    raw_held(&Shim::none())
}

pub fn raw_with_library() -> Outcome {
    raw_held(&Shim::new())
}

/// What a tagged file refuses is refused by EPERM, or by a reason of the kernel's own that came first; all
/// else is as on a file that nobody holds.
pub fn raw_held(shim: &Shim) -> Outcome {
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
pub fn raw_stopped() -> Outcome {
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
pub fn accounting(to: Option<&CStr>) -> Result<(), Option<i32>> {
    // SAFETY: a terminated path, or none.
    match unsafe { libc::acct(to.map_or(std::ptr::null(), CStr::as_ptr)) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error().raw_os_error()),
    }
}

pub fn overlay() -> Outcome {
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
pub fn overlay_copies_up() -> Outcome {
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
pub fn file_of_quotas() -> Outcome {
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
pub fn over(layer: &str, look: fn(&Path, &Path) -> Outcome) -> Outcome {
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
pub fn fio() -> Outcome {
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
pub fn by_handle() -> Outcome {
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

pub fn untagged_and_missing() -> Outcome {
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
