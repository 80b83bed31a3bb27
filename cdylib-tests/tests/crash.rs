//! `daxshim crash`: each wrong sync order of programs/crash is found, at its place; and nothing in its
//! corrected twin.
//!
//! Longer than other files: a test for each thing that the command promises.

use daxshim_tests::{Failed, Outcome, Scene, Shim, Tag, built, fail, program, scene};
use libtest_mimic::{Arguments, Trial};
use serde_json::Value;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A program, and where it must be seen to fail.
struct Order {
    program: &'static str,
    moment: &'static str,
    side: &'static str,
}

const fn order(program: &'static str, moment: &'static str, side: &'static str) -> Order {
    Order {
        program,
        moment,
        side,
    }
}

const ORDERS: &[Order] = &[
    order("order", "msync", "end"),
    order("together", "msync", "start"),
    order("other_range", "msync", "end"),
    order("fsynced", "fsync", "start"),
    order("torn", "msync", "start"),
    order("answered", "answer", "start"),
    order("ended", "end", "start"),
    order("window", "msync", "end"),
    order("forked", "msync", "end"),
    order("twice", "msync", "start"),
    order("threads", "msync", "end"),
    order("flushed", "drain", "start"),
    order("ranged", "msync", "end"),
];

/// Databases of somebody else's, as shipped, and with syncs left out; and where that must be seen to fail.
const DATABASES: &[Order] = &[
    order("lmdb", "msync", "end"),
    order("tdb", "fsync", "start"),
    order("gdbm", "msync", "start"),
];

type Test = fn() -> Outcome;

const TRIALS: &[(&str, Test)] = &[
    ("the seed decides", seed),
    ("exit statuses", exit_statuses),
    ("checkers that crash or hang", bad_checkers),
    ("a checker that refuses every file", refused),
    ("a file that was used before", used),
    ("a file of odd size", odd_size),
    ("the other files of the directory", siblings),
    ("a file that is removed", removed),
    ("more than there is room for", too_large),
    ("no room for an image", no_room),
    ("interrupted while it verifies", interrupted),
    ("what is written whole", atomic),
    ("nothing is left behind", nothing_left),
    ("LMDB", lmdb),
];

fn main() {
    let mut trials = Vec::new();
    for order in ORDERS {
        let name = order.program;
        trials.push(Trial::test(format!("{name}/wrong"), || wrong(order)));
        trials.push(Trial::test(format!("{name}/right"), || right(order)));
    }
    for order in DATABASES {
        let name = order.program;
        trials.push(Trial::test(format!("{name}/broken"), || broken(order)));
        trials.push(Trial::test(format!("{name}/shipped"), || shipped(order)));
    }
    for &(name, test) in TRIALS {
        trials.push(Trial::test(name, test));
    }
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}

const SIZE: usize = 16 * 4096;

fn scene(size: usize) -> Result<Scene, Failed> {
    let scene = Scene::new(Tag::None)?;
    std::fs::write(scene.path("store"), vec![0; size])?;
    scene.tag("store", Tag::Valid)?;
    Ok(scene)
}

fn path_of(name: &str) -> PathBuf {
    program("crash").join(name)
}

fn checker(name: &str) -> String {
    format!("{} check {{}}", path_of(name).display())
}

/// `daxshim crash` in a scene; what it keeps and says goes beside the scene.
fn crash(scene: &Scene, verify: &str, options: &[&str]) -> Result<Command, Failed> {
    let mut command = Shim::none().command(built("daxshim"));
    command.arg("crash");
    if !scene::real() {
        command.arg("--emulate");
    }
    let report = scene.report()?;
    command.arg("--images").arg(report.join("images"));
    command.arg("--json").arg(report.join("crash.json"));
    command.args(["--verify", verify]).args(options).arg("--");
    command.current_dir(scene.dir());
    Ok(command)
}

struct Done {
    status: Option<i32>,
    said: String,
    document: Value,
}

fn done(scene: &Scene, output: &Output) -> Result<Done, Failed> {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let text = std::fs::read_to_string(scene.report()?.join("crash.json"));
    let text = text.map_err(|error| format!("{error}: {said}"))?;
    let document: Value = serde_json::from_str(&text)?;
    let status = output.status.code();
    if status.map(i64::from) != document["exit_status"].as_i64() {
        fail!(
            "{status:?}, but the document says {}",
            document["exit_status"]
        );
    }
    Ok(Done {
        status,
        said,
        document,
    })
}

fn run(scene: &Scene, name: &str, twin: &str, options: &[&str]) -> Result<Done, Failed> {
    let mut command = crash(scene, &checker(name), options)?;
    let output = command.arg(path_of(name)).arg(twin).arg(".").output()?;
    done(scene, &output)
}

fn failures(document: &Value) -> Vec<Value> {
    document["failures"].as_array().cloned().unwrap_or_default()
}

fn wrong(order: &Order) -> Outcome {
    let scene = scene(SIZE)?;
    let done = run(&scene, order.program, "wrong", &[])?;
    if done.status != Some(1) || done.document["failed"].as_u64() == Some(0) {
        fail!("{:?}: {}", done.status, done.said);
    }
    let found = failures(&done.document);
    let is_it = |f: &&Value| f["moment"] == order.moment && f["side"] == order.side;
    let Some(failure) = found.iter().find(is_it) else {
        fail!("nothing at {} {}: {}", order.moment, order.side, done.said);
    };
    let stack = failure["stack"].as_array().cloned().unwrap_or_default();
    let functions: Vec<&str> = stack
        .iter()
        .filter_map(|f| f["function"].as_str())
        .collect();
    let in_function = order.moment != "end";
    if in_function && !functions.contains(&"bug") {
        fail!("bug is not on the stack {functions:?}");
    }
    let image = scene
        .dir()
        .join(failure["example"]["image"].as_str().unwrap_or("none"));
    for (image, status) in [(&image, 1), (&scene.path("store"), 0)] {
        // What was run to its end is sound, but for what the twin repairs.
        if status == 0 && matches!(order.program, "threads") {
            continue;
        }
        let replayed = Shim::none()
            .command(built("daxshim"))
            .args(["crash", "--verify", &checker(order.program), "--replay"])
            .arg(image)
            .output()?;
        if replayed.status.code() != Some(status) {
            fail!("{}: {replayed:?}", image.display());
        }
    }
    let beside = std::fs::read_to_string(image.with_file_name("state.json"))?;
    if serde_json::from_str::<Value>(&beside)? != *failure {
        fail!("{beside}");
    }
    Ok(())
}

fn right(order: &Order) -> Outcome {
    let scene = scene(SIZE)?;
    // A process each, which takes its time in a virtual machine.
    let states = if scene::real() { "40" } else { "400" };
    let done = run(&scene, order.program, "right", &["--states", states])?;
    let limits = ["ended_early", "points"].map(|name| done.document["files"][0][name].clone());
    let seen = limits[1].as_u64() > Some(0) && limits[0] == false;
    if done.status != Some(0) || !seen || done.document["verified"].as_u64() < Some(2) {
        fail!("{:?}: {}\n{}", done.status, done.said, done.document);
    }
    if scene.report()?.join("images").exists() {
        fail!("images of what did not fail");
    }
    Ok(())
}

/// On a medium that writes sectors, as these databases expect.
fn database(name: &str, twin: &str) -> Result<Done, Failed> {
    let scene = scene::with_database(name)?;
    let states = if scene::real() { "40" } else { "200" };
    let options = [
        "--compat", "--file", "store", "--atomic", "512", "--states", states,
    ];
    let mut command = crash(&scene, &checker(name), &options)?;
    let output = command.arg(path_of(name)).args([twin, "."]).output()?;
    done(&scene, &output)
}

fn broken(order: &Order) -> Outcome {
    let done = database(order.program, "wrong")?;
    let found = failures(&done.document);
    let is_it = |f: &&Value| f["moment"] == order.moment && f["side"] == order.side;
    if done.status != Some(1) || !found.iter().any(|failure| is_it(&failure)) {
        fail!("{:?}: {}", done.status, done.said);
    }
    Ok(())
}

fn shipped(order: &Order) -> Outcome {
    let done = database(order.program, "right")?;
    // Of a point with few lines, the states that differ are few.
    let least = if scene::real() { 10 } else { 30 };
    if done.status != Some(0) || done.document["verified"].as_u64() < Some(least) {
        fail!("{:?}: {}", done.status, done.said);
    }
    Ok(())
}

/// What depends on the run, not on the program, is left out.
fn comparable(document: &Value) -> Vec<Value> {
    let mut found = failures(document);
    for failure in &mut found {
        failure["process"] = Value::Null;
        failure["file"] = Value::Null;
        for frame in failure["stack"].as_array_mut().into_iter().flatten() {
            frame["address"] = Value::Null;
        }
    }
    found
}

fn seed() -> Outcome {
    let with = |seed: &str| -> Result<(Vec<Value>, Vec<u8>), Failed> {
        let scene = scene(SIZE)?;
        let options = ["--seed", seed, "--states", "40"];
        let done = run(&scene, "together", "wrong", &options)?;
        let found = comparable(&done.document);
        let image = found[0]["example"]["image"].as_str().unwrap_or("none");
        let image = std::fs::read(scene.dir().join(image))?;
        let found = found.into_iter().map(|mut failure| {
            failure["example"]["image"] = Value::Null;
            failure
        });
        Ok((found.collect(), image))
    };
    let (first, again, other) = (with("7")?, with("7")?, with("8")?);
    if first != again {
        fail!("{:#?}\n{:#?}", first.0, again.0);
    }
    if first == other {
        fail!("two seeds, and the same states");
    }
    Ok(())
}

fn exit_statuses() -> Outcome {
    let status = |verify: &str, options: &[&str], words: &[&str]| -> Result<i32, Failed> {
        let scene = scene(SIZE)?;
        let few = ["--states", "40"];
        let options = if options.is_empty() { &few } else { options };
        let output = crash(&scene, verify, options)?.args(words).output()?;
        output.status.code().ok_or_else(|| "killed".into())
    };
    let order = path_of("order");
    let order = order.to_string_lossy();
    let then = |twin: &str, then: &str| format!("{order} {twin} . && {then}");
    let check = checker("order");
    let cases = [
        (
            status(&check, &[], &["sh", "-c", &then("right", "exit 7")])?,
            7,
        ),
        (
            status(&check, &[], &["sh", "-c", &then("right", "kill -9 $$")])?,
            137,
        ),
        (
            status(&check, &[], &["sh", "-c", &then("wrong", "exit 7")])?,
            1,
        ),
        (status(&check, &[], &["/nowhere/at/all"])?, 127),
        (status(&check, &[], &["/dev/null"])?, 126),
        (status("/nowhere/at/all {}", &[], &["true"])?, 127),
        (status("/dev/null {}", &[], &["true"])?, 126),
        (status("true", &[], &["true"])?, 125),
        (status(&check, &["--states", "0"], &["true"])?, 125),
        (status(&check, &["--file", "nowhere"], &["true"])?, 125),
        // Nothing was watched.
        (status(&check, &[], &["true"])?, 125),
        (status(&check, &[], &["false"])?, 1),
    ];
    for (i, (status, wanted)) in cases.into_iter().enumerate() {
        if status != wanted {
            fail!("case {i}: {status} instead of {wanted}");
        }
    }
    Ok(())
}

fn bad_checkers() -> Outcome {
    let failing = |verify: &str| -> Result<Done, Failed> {
        let scene = scene(SIZE)?;
        let options = ["--states", "3", "--timeout", "0.2"];
        let mut command = crash(&scene, verify, &options)?;
        let output = command
            .arg(path_of("ended"))
            .args(["right", "."])
            .output()?;
        done(&scene, &output)
    };
    // The first that they get is the file as it is in the end.
    let marks = tempfile::tempdir()?;
    let then = |name: &str, script: &str| {
        let mark = marks.path().join(name);
        let mark = mark.display();
        format!("sh -c 'test -e {mark} || {{ echo >{mark}; exit 0; }}; {script}' sh {{}}")
    };
    let crashed = failing(&then("crash", "echo here it is; kill -SEGV $$"))?;
    let hanging = failing(&then("hang", "sleep 1000"))?;
    let verdict = |done: &Done| done.document["failures"][0]["example"]["checker"].clone();
    if verdict(&crashed)["signal"] != libc::SIGSEGV || crashed.status != Some(1) {
        fail!("{}", crashed.document);
    }
    if !crashed.said.contains("killed by SIGSEGV: here it is") {
        fail!("{}", crashed.said);
    }
    if !crashed.said.contains("every state fails") {
        fail!("{}", crashed.said);
    }
    if verdict(&hanging)["timed_out"] != true || hanging.status != Some(1) {
        fail!("{}", hanging.document);
    }
    Ok(())
}

/// Neither pages nor lines; the checker changes it, which is nobody's business.
fn odd_size() -> Outcome {
    let size = SIZE - 100;
    let scene = scene(size)?;
    let check = path_of("together");
    let script = format!(
        "test $(stat -c %s \"$1\") = {size} && {} check \"$1\" && echo >\"$1\"",
        check.display()
    );
    let options = ["--states", "60"];
    let mut command = crash(&scene, &format!("sh -c '{script}' sh {{}}"), &options)?;
    let output = command.arg(&check).args(["right", "."]).output()?;
    let done = done(&scene, &output)?;
    if done.status != Some(0) || done.document["verified"].as_u64() < Some(20) {
        fail!("{}", done.said);
    }
    Ok(())
}

fn siblings() -> Outcome {
    let verify = "sh -c 'cd \"${1%/*}\" && test \"$(ls)\" = \"$2\"' sh {}";
    let run = |others: &str, options: &[&str]| -> Result<Option<i32>, Failed> {
        let scene = scene(SIZE)?;
        let mut command = crash(&scene, &format!("{verify} '{others}'"), options)?;
        let output = command
            .arg(path_of("ended"))
            .args(["right", "."])
            .output()?;
        Ok(output.status.code())
    };
    let all = "file\nhardlink\nplain\nstore\ntail";
    let statuses = [
        run("store", &["--states", "10"])?,
        run(all, &["--states", "10", "--with-siblings"])?,
        run(all, &["--states", "10"])?,
    ];
    if statuses != [Some(0), Some(0), Some(125)] {
        fail!("{statuses:?}");
    }
    Ok(())
}

/// What a checker says of states that refuses the file as it is in the end is nothing of the program's.
fn refused() -> Outcome {
    for (verify, why) in [
        (
            "sh -c 'echo no; exit 3' sh {}",
            "it ended with status 3: no",
        ),
        (
            "sh -c 'exec \"$1\"' sh nosuch-{}",
            "it ended with status 127: ",
        ),
    ] {
        let scene = scene(SIZE)?;
        let mut command = crash(&scene, verify, &["--states", "9"])?;
        let output = command
            .arg(path_of("order"))
            .args(["wrong", "."])
            .output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        let is_said =
            said.contains("/store even as the program has left it: ") && said.contains(why);
        if output.status.code() != Some(125) || !is_said || said.contains("power cut") {
            fail!("{}: {said}", output.status);
        }
    }
    Ok(())
}

/// The second run stores what the first has left, and what it does wrong can't be seen any more.
fn used() -> Outcome {
    let scene = scene(SIZE)?;
    let mut said = Vec::new();
    for options in [&[][..], &[], &["--restore"]] {
        let done = run(&scene, "order", "wrong", options)?;
        let idle = done.document["files"][0]["idle_syncs"].as_u64();
        let syncs = done.document["files"][0]["syncs"].as_u64();
        if syncs != Some(48) {
            fail!("{}", done.document);
        }
        let is_said = done.said.contains("the file was there before the run");
        said.push((idle, is_said, done.status));
    }
    let [first, second, restored] = said.as_slice() else {
        fail!("{said:?}");
    };
    let expected = (Some(24), true, Some(0));
    if *first != (Some(0), false, Some(1)) || *second != expected || restored.1 {
        fail!("{said:?}");
    }
    Ok(())
}

/// By audit mode, which lets it be.
fn removed() -> Outcome {
    let scene = scene(SIZE)?;
    let together = path_of("together");
    let script = format!(
        "{} wrong . && rm store && mkdir gone && cd gone",
        together.display()
    );
    let mut command = crash(&scene, &checker("together"), &["--mode", "audit"])?;
    let output = command.args(["sh", "-c", &script]).output()?;
    let done = done(&scene, &output)?;
    if done.status != Some(1) || scene.path("store").exists() {
        fail!("{}", done.said);
    }
    Ok(())
}

fn too_large() -> Outcome {
    let scene = scene(SIZE)?;
    let large = std::fs::File::create(scene.path("large"))?;
    // More than any machine that runs this has memory; a filesystem may have less room yet.
    if large.set_len(1 << 42).is_err() {
        return Ok(());
    }
    let mut command = crash(&scene, "true {}", &["--file", "large"])?;
    let output = command.args(["sh", "-c", "touch started"]).output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let started = scene.path("started").exists();
    if output.status.code() != Some(125)
        || started
        || !said.contains("a copy and room for records are needed")
    {
        fail!("{}: {said}", output.status);
    }
    Ok(())
}

/// A filesystem that is smaller than the file.
fn no_room() -> Outcome {
    let scene = scene(SIZE)?;
    let small = scene.report()?.join("small");
    std::fs::create_dir(&small)?;
    let script = "mount -t tmpfs -o size=16k small \"$0\" && exec \"$@\"";
    let mut inside = crash(&scene, "true {}", &["--scratch", &small.to_string_lossy()])?;
    inside.arg(path_of("order")).args(["right", "."]);
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", script]).arg(&small);
    command.arg(inside.get_program()).args(inside.get_args());
    for (name, value) in inside.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    let output = command.current_dir(scene.dir()).output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if said.contains("unshare: unshare failed") {
        // Only root may mount.
        return Ok(());
    }
    let clear = said.contains("small") && said.contains("--scratch");
    if output.status.code() != Some(125) || !clear {
        fail!("{}: {said}", output.status);
    }
    Ok(())
}

/// The checker says when it runs, and would never end.
fn interrupted() -> Outcome {
    let scene = scene(SIZE)?;
    let running = scene.report()?.join("running");
    let verify = format!("sh -c 'echo $1 >{}; sleep 1000' sh {{}}", running.display());
    let mut command = crash(&scene, &verify, &["--timeout", "1000"])?;
    command.arg(path_of("ended")).args(["right", "."]);
    // Whoever runs the tests in the background may have them ignore it.
    // SAFETY: signal(2) may be called between fork and exec.
    unsafe {
        command.pre_exec(|| match libc::signal(libc::SIGINT, libc::SIG_DFL) {
            libc::SIG_ERR => Err(std::io::Error::last_os_error()),
            _ => Ok(()),
        });
    }
    let child = command
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    let image = loop {
        let text = std::fs::read_to_string(&running).unwrap_or_default();
        if text.ends_with('\n') {
            break text;
        }
        std::thread::yield_now();
    };
    rustix::process::kill_process(
        rustix::process::Pid::from_child(&child),
        rustix::process::Signal::INT,
    )?;
    let done = done(&scene, &child.wait_with_output()?)?;
    if done.status != Some(130) || done.document["interrupted"] != libc::SIGINT {
        fail!("{:?}: {}", done.status, done.said);
    }
    if Path::new(image.trim_end()).exists() {
        fail!("{image} is left");
    }
    Ok(())
}

/// A root of two words in one line is never torn where lines are whole.
fn atomic() -> Outcome {
    let failed = |atomic: &str| -> Result<bool, Failed> {
        let scene = scene(SIZE)?;
        let done = run(&scene, "torn", "wrong", &["--atomic", atomic])?;
        Ok(done.status == Some(1))
    };
    let failed = [failed("8")?, failed("64")?, failed("4096")?];
    if failed != [true, false, false] {
        fail!("{failed:?}");
    }
    Ok(())
}

/// The directory of journals, shadows and images goes; what the file is, is the program's affair.
fn nothing_left() -> Outcome {
    let scene = scene(SIZE)?;
    let order = path_of("order");
    let script = format!("echo $DAXSHIM_REPORT; exec {} wrong .", order.display());
    let marks = tempfile::tempdir()?;
    let mark = marks.path().join("mark");
    let mark = mark.display();
    let verify =
        format!("sh -c 'echo x >{{}}.new; test ! -e {mark}; was=$?; echo >{mark}; exit $was'");
    let mut command = crash(&scene, &verify, &["--states", "9"])?;
    let output = command.args(["sh", "-c", &script]).output()?;
    let directory = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if output.status.code() != Some(1) || !directory.starts_with('/') {
        fail!("{}: {directory:?}", output.status);
    }
    if Path::new(&directory).exists() {
        fail!("{directory} is left");
    }
    if scene.path("store").metadata()?.size() != SIZE as u64 || scene.path("store.new").exists() {
        fail!("the original was touched");
    }
    Ok(())
}

const PYTHON: &str = "/usr/bin/python3";

/// As it is shipped, with MDB_WRITEMAP: sound wherever its meta pages are written whole.
fn lmdb() -> Outcome {
    let scene = Scene::new(Tag::None)?;
    let script = |name: &str| {
        let programs = Path::new(env!("CARGO_MANIFEST_DIR")).join("programs/crash");
        programs.join(name).display().to_string()
    };
    let made = Command::new(PYTHON)
        .args([&script("lmdb_store.py"), "lmdb", "1"])
        .current_dir(scene.dir())
        .output()?;
    if !made.status.success() {
        fail!("{made:?}: scripts/deps test installs python3-lmdb");
    }
    // LMDB leaves holes.
    scene::daxshim(&["prepare"], &scene.path("lmdb"))?;
    scene.tag("lmdb", Tag::Valid)?;
    let verify = format!("{PYTHON} {} {{}}", script("lmdb_check.py"));
    let options = [
        "--compat", "--file", "lmdb", "--atomic", "512", "--states", "100",
    ];
    let mut command = crash(&scene, &verify, &options)?;
    command.args([PYTHON, &script("lmdb_store.py"), "lmdb", "50"]);
    let done = done(&scene, &command.output()?)?;
    let verified = done.document["verified"].as_u64();
    if done.status != Some(0) || verified < Some(90) {
        fail!("{:?}: {}", done.status, done.said);
    }
    Ok(())
}
