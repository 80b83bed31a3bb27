//! `daxshim check`: each seeded bug of programs/check is found, at its place, and nothing else; and
//! nothing at all in its corrected twin.
//!
//! Longer than other files: the table of seeded bugs, and a test for each thing that the command promises.

use daxshim_tests::{Failed, Outcome, Scene, Shim, Tag, built, fail, program, scene};
use libtest_mimic::{Arguments, Trial};
use serde_json::Value;
use std::path::PathBuf;
use std::process::Command;

/// A program, what is wrong in it, and the function that is to blame (empty: no stack is expected).
struct Seeded {
    program: &'static str,
    code: &'static str,
    function: &'static str,
    /// Options of `daxshim check`.
    options: &'static [&'static str],
    /// What its twin shows nevertheless.
    twin: &'static [&'static str],
    /// Exit status of the twin.
    status: i64,
}

const PLAIN: Seeded = Seeded {
    program: "",
    code: "",
    function: "bug",
    options: &[],
    twin: &[],
    status: 0,
};

const fn seeded(program: &'static str, code: &'static str) -> Seeded {
    Seeded {
        program,
        code,
        ..PLAIN
    }
}

const SEEDED: &[Seeded] = &[
    seeded("unmapped", "DAX001"),
    seeded("unmapped_then_fsync", "DAX001"),
    seeded("aio_fsync", "DAX001"),
    seeded("io_submit_fsync", "DAX001"),
    seeded("unmapped_twice", "DAX001"),
    seeded("half_of_two", "DAX001"),
    seeded("mapped_over", "DAX002"),
    seeded("shrunk", "DAX002"),
    Seeded {
        function: "",
        ..seeded("exited", "DAX003")
    },
    Seeded {
        function: "",
        ..seeded("exited_at_once", "DAX003")
    },
    Seeded {
        function: "",
        ..seeded("one_of_two", "DAX003")
    },
    Seeded {
        function: "",
        ..seeded("mapped_again", "DAX003")
    },
    Seeded {
        function: "",
        ..seeded("child_executed", "DAX003")
    },
    Seeded {
        function: "",
        ..seeded("child_unmapped", "DAX003")
    },
    Seeded {
        function: "",
        ..seeded("parent_executed", "DAX004")
    },
    Seeded {
        function: "",
        ..seeded("executed", "DAX004")
    },
    Seeded {
        function: "",
        status: 137,
        ..seeded("killed", "DAX005")
    },
    seeded("wrong_range", "DAX006"),
    seeded("wrong_file", "DAX007"),
    seeded("acknowledged", "DAX008"),
    seeded("acknowledged_by_write", "DAX008"),
    seeded("acknowledged_by_sendmsg", "DAX008"),
    seeded("beyond_end", "DAX009"),
    seeded("private", "DAX010"),
    Seeded {
        options: &["--mode", "audit"],
        twin: &["DAX203"],
        status: 1,
        ..seeded("truncated", "DAX011")
    },
    seeded("undrained_answer", "DAX012"),
    seeded("undrained_unmap", "DAX012"),
    Seeded {
        function: "",
        ..seeded("undrained_exit", "DAX012")
    },
    seeded("undrained_pmem2", "DAX012"),
    seeded("not_flushable", "DAX013"),
    Seeded {
        twin: &["DAX304"],
        status: 1,
        ..seeded("not_flushable_tagged", "DAX013")
    },
    seeded("unflushed", "DAX001"),
    seeded("redundant", "DAX101"),
    seeded("redundant_fsync", "DAX101"),
    seeded("amplified", "DAX102"),
    seeded("fsync_needed", "DAX103"),
    seeded("fsync_idle", "DAX104"),
    seeded("refused", "DAX201"),
    seeded("refused_idle", "DAX202"),
    Seeded {
        options: &["--mode", "audit"],
        ..seeded("audited", "DAX203")
    },
    seeded("moved", "DAX304"),
    seeded("no_allocation", "DAX101"),
    Seeded {
        function: "",
        ..seeded("sealed", "DAX406")
    },
    Seeded {
        function: "",
        ..seeded("no_descriptor", "DAX406")
    },
    Seeded {
        function: "",
        ..seeded("too_many_files", "DAX405")
    },
];

/// These need a DAX of which files are watched without a tag, too.
const ON_DAX: &[Seeded] = &[
    seeded("not_sync", "DAX302"),
    seeded("hole", "DAX303"),
    seeded("small_pages", "DAX305"),
    Seeded {
        function: "",
        ..seeded("never_meant", "DAX306")
    },
];

type Test = (&'static str, fn() -> Outcome);

const TRIALS: &[Test] = &[
    ("calm", calm),
    ("exact offsets", exact_offsets),
    ("who flushed and did not drain", flushed_by),
    ("large syncs are sampled, or exact", sampled),
    ("a file that is not DAX", not_dax),
    ("a program without the shim", unseen),
    ("a program with system calls of its own", raw_calls),
    ("the program's exit status", exit_status),
    ("suppressions", suppressions),
    ("databases as they are shipped", databases),
    ("sync policies", policies),
    ("what was watched", watched),
    ("sarif", sarif),
    ("sarif says who stored first", sarif_blames),
    ("nothing is left behind", nothing_left),
    ("others see nothing of it", no_trace),
    ("how much of the stack it takes", stack_used),
];

fn main() {
    let mut trials = Vec::new();
    let on_dax = ON_DAX.iter().filter(|_| scene::real());
    for seeded in SEEDED.iter().chain(on_dax) {
        let name = seeded.program;
        trials.push(Trial::test(format!("{name}/wrong"), || wrong(seeded)));
        trials.push(Trial::test(format!("{name}/right"), || right(seeded)));
    }
    for &(name, test) in TRIALS {
        trials.push(Trial::test(name, test));
    }
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}

/// A scene with all the files that the programs map.
fn scene(program: &str) -> Result<Scene, Failed> {
    let scene = Scene::new(Tag::Valid)?;
    let mut files = vec![
        ("big", 64 * 4096, Tag::Valid),
        ("broken", 4096, Tag::Broken),
    ];
    if matches!(program, "small_pages" | "many_large_syncs") {
        files.push(("huge", 8 << 20, Tag::Valid));
    }
    if program == "too_many_files" {
        std::fs::create_dir(scene.path("many"))?;
        let names = (0..256).map(|number| scene.path(&format!("many/{number}")));
        let names: Vec<PathBuf> = names.collect();
        for name in &names {
            std::fs::write(name, [1; 4096])?;
        }
        let mut tag = Shim::none().command(built("daxshim"));
        tag.arg("tag").args((!scene::real()).then_some("--emulate"));
        if !tag.args(&names).output()?.status.success() {
            fail!("256 files cannot be tagged");
        }
    }
    for (name, size, tag) in files {
        std::fs::write(scene.path(name), vec![1; size])?;
        scene.tag(name, tag)?;
    }
    Ok(scene)
}

fn check(options: &[&str]) -> Command {
    let mut command = Shim::none().command(built("daxshim"));
    command.arg("check");
    if !scene::real() {
        command.arg("--emulate");
    }
    command.args(options);
    command
}

/// Runs a program under `daxshim check`; the document.
fn document(name: &str, twin: &str, options: &[&str]) -> Result<Value, Failed> {
    let scene = scene(name)?;
    let json = scene.report()?.join("findings.json");
    let mut command = check(options);
    // Some refuse, or have system calls of their own, and map nothing.
    command.arg("--allow-nothing").arg("--json").arg(&json);
    command
        .arg("--")
        .arg(program("check").join(name))
        .arg(twin)
        .arg(scene.dir());
    let done = command.output()?;
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    let text = std::fs::read_to_string(&json).map_err(|e| format!("{e}: {said}"))?;
    let document: Value = serde_json::from_str(&text)?;
    let status = done.status.code().map(i64::from);
    if status != document["exit_status"].as_i64() {
        fail!(
            "{status:?}, but the document says {}",
            document["exit_status"]
        );
    }
    for finding in findings(&document) {
        let code = text_of(&finding["code"]);
        if !said.contains(&format!("[{code}]: ")) {
            fail!("{code} is not in the text: {said}");
        }
    }
    Ok(document)
}

fn findings(document: &Value) -> Vec<Value> {
    document["findings"].as_array().cloned().unwrap_or_default()
}

fn text_of(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn codes(document: &Value) -> Vec<String> {
    let mut codes: Vec<String> = findings(document)
        .iter()
        .map(|finding| text_of(&finding["code"]))
        // Where nothing is watched, what could have been is named; elsewhere than on DAX.
        .filter(|code| code != "DAX407")
        .collect();
    codes.sort();
    codes.dedup();
    codes
}

fn functions(finding: &Value) -> Vec<String> {
    let stack = finding["stack"].as_array().cloned().unwrap_or_default();
    stack
        .iter()
        .map(|frame| text_of(&frame["function"]))
        .collect()
}

fn wrong(seeded: &Seeded) -> Outcome {
    let document = document(seeded.program, "wrong", seeded.options)?;
    let mut expected: Vec<&str> = seeded.twin.to_vec();
    expected.push(seeded.code);
    expected.sort_unstable();
    if codes(&document) != expected {
        fail!(
            "found {:?} instead of {expected:?}: {document:#}",
            codes(&document)
        );
    }
    let found = findings(&document);
    let is_it = |finding: &&Value| text_of(&finding["code"]) == seeded.code;
    let Some(finding) = found.iter().find(is_it) else {
        fail!("{} is missing", seeded.code);
    };
    let functions = functions(finding);
    if !seeded.function.is_empty() && !functions.iter().any(|name| name == seeded.function) {
        fail!("{} is not on the stack {functions:?}", seeded.function);
    }
    if !seeded.function.is_empty() && functions.last().is_none_or(|name| name != "_start") {
        fail!("the stack does not reach the beginning: {functions:?}");
    }
    let is_note = text_of(&finding["level"]) == "note";
    let status = document["exit_status"].as_i64();
    if !is_note && status != Some(1) || is_note && status != Some(seeded.status) {
        fail!("exit status {status:?}");
    }
    Ok(())
}

/// 2 MiB pages need a filesystem that was made for them.
fn has_large_pages() -> Result<bool, Failed> {
    let scene = scene("small_pages")?;
    let mut status = Shim::none().command(built("daxshim"));
    status.args(["status", "--json"]).arg(scene.path("huge"));
    let done = status.output()?;
    let document: Value = serde_json::from_slice(&done.stdout)?;
    Ok(document["files"][0]["extents"]["huge"].as_u64() > Some(0))
}

fn right(seeded: &Seeded) -> Outcome {
    let document = document(seeded.program, "right", seeded.options)?;
    if seeded.program == "small_pages" && !has_large_pages()? {
        // Then there is nothing that the program could do.
        let detail = text_of(&document["findings"][0]["detail"]);
        if codes(&document) != [seeded.code] || !detail.starts_with("no extent of the file") {
            fail!("{document:#}");
        }
        return Ok(());
    }
    if codes(&document) != seeded.twin || document["exit_status"] != seeded.status {
        fail!("found {:?}: {document:#}", codes(&document));
    }
    Ok(())
}

fn calm() -> Outcome {
    let document = document("calm", "right", &[])?;
    let grave = codes(&document)
        .into_iter()
        .filter(|code| code < &"DAX100".to_owned());
    let grave: Vec<String> = grave.collect();
    if !grave.is_empty() {
        fail!("found {grave:?}: {document:#}");
    }
    Ok(())
}

/// Lines 1 and 2 of page 2, and no byte more.
fn exact_offsets() -> Outcome {
    let document = document("exited", "wrong", &[])?;
    let finding = &document["findings"][0];
    let bytes = (
        &finding["bytes"][0],
        &finding["bytes"][1],
        &finding["lines"],
    );
    if (bytes.0.as_u64(), bytes.1.as_u64(), bytes.2.as_u64()) != (Some(8256), Some(8384), Some(2)) {
        fail!("{bytes:?}");
    }
    let file = text_of(&finding["file"]);
    if !file.ends_with("/scene/file") {
        fail!("{file}");
    }
    Ok(())
}

/// At the end of a process, the stack is that of the flush.
fn flushed_by() -> Outcome {
    let document = document("undrained_exit", "wrong", &[])?;
    let finding = &document["findings"][0];
    if functions(finding) != ["bug"] || finding["bytes"] != serde_json::json!([8192, 8256]) {
        fail!("{finding:#}");
    }
    Ok(())
}

fn sampled() -> Outcome {
    let document_of = |options: &[&str]| document("many_large_syncs", "wrong", options);
    let sampled = document_of(&[])?;
    let exact = document_of(&["--exact"])?;
    if codes(&sampled) != ["DAX102", "DAX404"] || codes(&exact) != ["DAX003", "DAX102"] {
        fail!("{:?}, {:?}", codes(&sampled), codes(&exact));
    }
    if exact["limits"]["syncs_not_compared"] != 0 {
        fail!("{exact:#}");
    }
    Ok(())
}

/// An emulated tag elsewhere than on tmpfs or DAX stands for one on DAX: that it is none is no news.
fn not_dax() -> Outcome {
    let scene = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let on_disk = |name: &str| scene.path().join(name);
    for name in ["file", "report.json"] {
        std::fs::write(on_disk(name), vec![1; 4 * 4096])?;
    }
    let tagged = Shim::none()
        .command(built("daxshim"))
        .args(["tag", "--emulate"])
        .arg(on_disk("file"))
        .output()?;
    if !tagged.status.success() {
        // A filesystem without user.* attributes can't show it.
        return Ok(());
    }
    let done = check(&["--emulate", "--json", "-"][..if scene::real() { 3 } else { 0 }])
        .args(if scene::real() {
            &[][..]
        } else {
            &["--json", "-"]
        })
        .arg("--")
        .arg(program("check").join("unmapped"))
        .arg("right")
        .arg(scene.path())
        .output()?;
    let document: Value = serde_json::from_slice(&done.stdout)?;
    let watched = document["watched"].as_array().map_or(0, Vec::len);
    if !codes(&document).is_empty() || watched != 1 {
        fail!("{document:#}");
    }
    Ok(())
}

fn unseen() -> Outcome {
    let done = check(&["--json", "-", "--", "/sbin/ldconfig", "-V"]).output()?;
    let text = String::from_utf8_lossy(&done.stdout).into_owned();
    let Some(start) = text.find("{\n") else {
        fail!("{text}");
    };
    let document: Value = serde_json::from_str(&text[start..])?;
    if codes(&document) != ["DAX401"] || done.status.code() != Some(125) {
        fail!("{document:#}");
    }
    Ok(())
}

fn raw_calls() -> Outcome {
    let document = document("raw_calls", "wrong", &[])?;
    if codes(&document) != ["DAX403"] {
        fail!("{document:#}");
    }
    Ok(())
}

fn exit_status() -> Outcome {
    let run = |options: &[&str], words: &[&str]| -> Result<Option<i32>, Failed> {
        let scene = scene("")?;
        let mut command = check(options);
        command.arg("--").args(words).current_dir(scene.dir());
        Ok(command.output()?.status.code())
    };
    let bug = program("check").join("exited");
    let bug = bug.to_string_lossy();
    let expected = [
        (run(&[], &["sh", "-c", "exit 7"])?, 7),
        (run(&[], &["sh", "-c", "kill -9 $$"])?, 137),
        (run(&[], &["/nowhere/at/all"])?, 127),
        (run(&[], &["/dev/null"])?, 126),
        (run(&["--fail-on", "nothing"], &["true"])?, 125),
        (run(&["--suppressions", "/nowhere"], &["true"])?, 125),
        (run(&[], &[&bug, "wrong", "."])?, 1),
        (run(&["--fail-on", "never"], &[&bug, "wrong", "."])?, 0),
        (run(&["--fail-on", "DAX001"], &[&bug, "wrong", "."])?, 0),
        (
            run(&["--fail-on", "DAX001,dax003"], &[&bug, "wrong", "."])?,
            1,
        ),
        (run(&["--fail-on", "error"], &[&bug, "right", "."])?, 0),
    ];
    for (i, (status, wanted)) in expected.into_iter().enumerate() {
        if status != Some(wanted) {
            fail!("case {i}: {status:?} instead of {wanted}");
        }
    }
    Ok(())
}

fn suppressions() -> Outcome {
    let directory = tempfile::tempdir()?;
    let known = directory.path().join("known.toml");
    let scene = scene("")?;
    let run = |option: &str, program_name: &str| {
        let mut command = check(&[option]);
        command.arg(&known).args(["--json", "-", "--"]);
        command.arg(program("check").join(program_name));
        command.arg("wrong").arg(scene.dir()).output()
    };
    let first = run("--gen-suppressions", "wrong_range")?;
    let again = run("--suppressions", "wrong_range")?;
    let other = run("--suppressions", "unmapped")?;
    let statuses = [&first, &again, &other].map(|done| done.status.code());
    if statuses != [Some(1), Some(0), Some(1)] {
        fail!("{statuses:?}");
    }
    let document: Value = serde_json::from_slice(&again.stdout)?;
    if document["findings"][0]["suppressed"] != true {
        fail!("{document:#}");
    }
    if !String::from_utf8_lossy(&again.stderr).contains("nothing found, 1 suppressed") {
        fail!("{}", String::from_utf8_lossy(&again.stderr));
    }
    Ok(())
}

fn policies() -> Outcome {
    let of = |name: &str, twin: &str| -> Result<Value, Failed> {
        Ok(document(name, twin, &[])?["policies"].clone())
    };
    let (idle, needed) = (of("fsync_idle", "wrong")?, of("fsync_needed", "wrong")?);
    let counts = |policies: &Value| policies[0]["fsync"].clone();
    let found = [&idle, &needed].map(|policies| policies[0]["conclusion"].clone());
    let idle_counts = serde_json::json!({"calls": 1, "needed": 0, "idle": 1});
    if found != ["no-fsync", "both"] || counts(&idle) != idle_counts {
        fail!("{idle:#} {needed:#}");
    }
    // Synced one way.
    if of("fsync_idle", "right")? != serde_json::json!([]) {
        fail!("a policy without a choice");
    }
    Ok(())
}

/// LMDB, TDB and GDBM lose nothing, tell nobody too early, and sync what they mean to.
fn databases() -> Outcome {
    for name in ["lmdb", "tdb", "gdbm"] {
        let scene = scene::with_database(name)?;
        let done = check(&["--compat", "--exact", "--json", "-", "--"])
            .arg(program("crash").join(name))
            .args(["right", "."])
            .current_dir(scene.dir())
            .output()?;
        let document: Value = serde_json::from_slice(&done.stdout)?;
        let grave = findings(&document).into_iter();
        let grave: Vec<Value> = grave
            .filter(|found| text_of(&found["code"]).as_str() < "DAX100")
            .collect();
        let syncs = document["limits"]["syncs_not_compared"].as_u64();
        if !grave.is_empty() || syncs != Some(0) || document["ended"]["exit_status"] != 0 {
            fail!("{name}: {syncs:?} {grave:#?}");
        }
    }
    Ok(())
}

/// That nothing was found says nothing where nothing was looked at, and this is said.
fn watched() -> Outcome {
    let scene = scene("")?;
    std::fs::write(scene.path("report.json"), "")?;
    let run = |words: &[&str]| -> Result<(Value, String, Option<i32>), Failed> {
        let mut command = check(&["--json", "report.json"]);
        let done = command.args(words).current_dir(scene.dir()).output()?;
        let document = std::fs::read(scene.path("report.json"))?;
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        Ok((serde_json::from_slice(&document)?, said, done.status.code()))
    };
    let twin = program("check").join("wrong_file");
    let (some, said, _) = run(&["--", &twin.to_string_lossy(), "right", "."])?;
    let names = some["watched"].as_array().cloned().unwrap_or_default();
    let names: Vec<String> = names.iter().map(text_of).collect();
    let known = |end: &str| names.iter().any(|name| name.ends_with(end));
    if names.len() != 2 || !known("/big") || !known("/file") || said.contains("nothing was watched")
    {
        fail!("{names:?}: {said}");
    }
    // What was meant for a green result is none; a status of the program's own stays.
    for (words, wanted) in [
        (&["--", "true"][..], 125),
        (&["--allow-nothing", "--", "true"], 0),
        (&["--", "false"], 1),
        (&["--", "sh", "-c", "exit 3"], 3),
    ] {
        let (none, said, code) = run(words)?;
        let is_said = said.contains("nothing was watched: ");
        let is_why = said.contains("the exit status is 125 for that (--allow-nothing takes it");
        let is_clear = is_why == (wanted == 125) && !said.contains("nothing found");
        let is_said = is_said && is_clear;
        if none["watched"] != serde_json::json!([]) || !is_said || code != Some(wanted) {
            fail!("{words:?}: {code:?}: {said}: {none:#}");
        }
        if none["exit_status"] != wanted {
            fail!("{words:?}: {none:#}");
        }
    }
    Ok(())
}

/// What a program of programs/check prints, natively and under check.
fn printed(name: &str, options: &[&[&str]]) -> Result<Vec<String>, Failed> {
    let mut printed = Vec::new();
    let ways = options.iter().map(|options| Some(*options));
    for options in [None].into_iter().chain(ways) {
        let scene = scene(name)?;
        let program = program("check").join(name);
        let mut command = match options {
            Some(options) => {
                let mut command = check(options);
                command.arg("--").arg(program);
                command
            }
            None => Command::new(program),
        };
        let done = command.arg("right").arg(scene.dir()).output()?;
        let said = String::from_utf8_lossy(&done.stderr);
        if said.contains("the program itself failed") {
            fail!("{options:?}: {said}");
        }
        printed.push(String::from_utf8_lossy(&done.stdout).into_owned());
    }
    Ok(printed)
}

fn no_trace() -> Outcome {
    let ways: &[&[&str]] = &[&["--exact"], &[], &["--blame", "--exact"], &["--blame"]];
    let printed = printed("no_trace", ways)?;
    let Some((native, rest)) = printed.split_first() else {
        fail!("nothing was run");
    };
    if native.lines().count() < 20 {
        fail!("{native}");
    }
    for (other, way) in rest.iter().zip(ways) {
        if other != native {
            fail!("{way:?}: {other} instead of {native}");
        }
    }
    Ok(())
}

/// As without checking: 1 KiB, and where libc makes the call itself its vector registers. Not those in which a
/// page is taken from the program, which cost the frame of a signal.
fn stack_used() -> Outcome {
    const CALLS: usize = 7;
    // As in the test `stack`: an unoptimised build keeps every temporary.
    let limit = match std::env::var_os("DAXSHIM_TEST_DEV_BUILD") {
        Some(_) => 16 << 10,
        None => (1 << 10) + 256,
    };
    let printed = printed("stack_used", &[&[]])?;
    let [native, checked] = printed.as_slice() else {
        fail!("not run twice");
    };
    let lines = native.lines().zip(checked.lines());
    let mut count = 0;
    for (native, checked) in lines.filter(|(line, _)| !line.starts_with("frame")) {
        let bytes = |line: &str| -> Result<u64, Failed> {
            Ok(line.rsplit(' ').next().unwrap_or_default().parse()?)
        };
        // What maps is measured without checking (the test `stack`).
        if native.starts_with("mmap") {
            continue;
        }
        count += 1;
        if bytes(checked)?.saturating_sub(bytes(native)?) > limit {
            fail!("{checked}, and natively {native}");
        }
    }
    if count < CALLS {
        fail!("{native}");
    }
    Ok(())
}

/// The document; SARIF 2.1.0 allows it.
fn sarif_of(name: &str, options: &[&str]) -> Result<Value, Failed> {
    let scene = scene("")?;
    let done = check(options)
        .args(["--sarif", "-", "--"])
        .arg(program("check").join(name))
        .arg("wrong")
        .arg(scene.dir())
        .output()?;
    let document: Value = serde_json::from_slice(&done.stdout)?;
    // The types are made from the schema: what comes back as it was, it allows.
    let typed: serde_sarif::sarif::Sarif = serde_json::from_slice(&done.stdout)?;
    if serde_json::to_value(typed)? != document {
        fail!("not SARIF 2.1.0: {document:#}");
    }
    Ok(document)
}

/// As a second stack, and a place to look at: of what was unmapped, the munmap is the first; of what was
/// left at the end, there is no other.
fn sarif_blames() -> Outcome {
    for (name, own_stacks) in [("unmapped", 1), ("exited", 0)] {
        let document = sarif_of(name, &["--blame", "--exact"])?;
        let result = &document["runs"][0]["results"][0];
        let stack = &result["stacks"][own_stacks];
        let related = &result["relatedLocations"][0];
        let count = |of: &Value| of.as_array().map_or(0, Vec::len);
        let counts = [
            &result["stacks"],
            &result["relatedLocations"],
            &result["locations"],
        ];
        let said = text_of(&related["message"]["text"]);
        let uri = text_of(&related["physicalLocation"]["artifactLocation"]["uri"]);
        let line = &related["physicalLocation"]["region"]["startLine"];
        let innermost = &stack["frames"][0]["location"];
        let sound = counts.map(count) == [own_stacks + 1, 1, 1]
            && said.starts_with("written first by process ")
            && said.ends_with(", 1 page")
            && stack["message"]["text"] == said.as_str()
            && innermost["logicalLocations"][0]["fullyQualifiedName"] == "main"
            && innermost["physicalLocation"] == related["physicalLocation"]
            && uri.ends_with(&format!("programs/check/{name}.c"))
            && line.as_u64() > Some(0);
        if !sound {
            fail!("{name}: {result:#}");
        }
    }
    Ok(())
}

fn sarif() -> Outcome {
    let document = sarif_of("wrong_range", &[])?;
    let run = &document["runs"][0];
    let result = &run["results"][0];
    let place = &result["locations"][0]["physicalLocation"];
    let rule = &run["tool"]["driver"]["rules"][result["ruleIndex"].as_u64().unwrap_or(99) as usize];
    let uri = text_of(&place["artifactLocation"]["uri"]);
    let sound = document["version"] == "2.1.0"
        && rule["id"] == "DAX006"
        && result["ruleId"] == "DAX006"
        && result["level"] == "warning"
        && uri.ends_with("programs/check/check.h")
        && place["region"]["startLine"].as_u64() > Some(0);
    if !sound {
        fail!("{result:#}");
    }
    Ok(())
}

/// The directory of logs and shadows goes, also where the program was killed.
fn nothing_left() -> Outcome {
    let scene = scene("")?;
    let killed = program("check").join("killed");
    let script = format!("echo $DAXSHIM_REPORT; exec {} wrong .", killed.display());
    let mut command = check(&["--", "sh", "-c", &script]);
    let done = command.current_dir(scene.dir()).output()?;
    let directory = String::from_utf8_lossy(&done.stdout).trim().to_owned();
    if done.status.code() != Some(1) || !directory.starts_with('/') {
        fail!("{}: {directory:?}", done.status);
    }
    if std::path::Path::new(&directory).exists() {
        fail!("{directory} is left");
    }
    Ok(())
}
