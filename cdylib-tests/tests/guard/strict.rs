//! `daxshim run --strict`.

use super::*;

/// A program that the library can't see: the guest's own busybox, which is static.
pub const STATIC: &str = "/run/daxshim-vm/busybox";

pub fn run_strict(command: &[&str]) -> Result<Run, Failed> {
    let mut strict = Shim::none().command(built("daxshim"));
    Run::of(
        strict
            .args(["run", "--strict", "--report", "-", "--"])
            .args(command),
    )
}

/// Writes a byte to a file, without the library.
pub fn writing_past(file: &Path) -> Vec<String> {
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

pub fn write_past(file: &Path) -> Result<Run, Failed> {
    let command = writing_past(file);
    run_strict(&command.iter().map(String::as_str).collect::<Vec<_>>())
}

pub fn strict_own() -> Outcome {
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

pub fn strict_pinned() -> Outcome {
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
pub fn strict_others() -> Outcome {
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
pub fn write_by_child(file: &Path) -> Outcome {
    let words = writing_past(file);
    let run = Run::of(Command::new(&words[0]).args(&words[1..]))?;
    fails(&run, "not permitted")
}

/// Where both only watch, what the shim has recorded is not said again.
pub fn strict_audit() -> Outcome {
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
pub fn strict_by_capabilities() -> Outcome {
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

pub fn strict_nothing() -> Outcome {
    let run = run_strict(&["true"])?;
    fails(&run, "there are none with DAX")?;
    if run.status.code() != Some(125) {
        fail!("it ended with {}", run.status);
    }
    let mut command = Shim::none().command(built("daxshim"));
    let run = Run::of(command.args(["run", "--strict", "--emulate", "--", "true"]))?;
    fails(&run, "emulated tags are nothing to the kernel")
}
