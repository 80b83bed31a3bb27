//! `daxshim check --blame`: who stored first is named, and the program notices nothing: neither its
//! signals nor its system calls.

use daxshim_tests::{Failed, Outcome, Scene, Shim, Tag, built, fail, program, scene};
use libtest_mimic::{Arguments, Trial};
use serde_json::Value;

/// Programs of programs/blame, how their unsynced lines end, and their exit status.
const PROGRAMS: &[(&str, &str, i64)] = &[
    ("first", "DAX003", 0),
    ("own_handler", "DAX003", 0),
    ("longjmp", "DAX003", 0),
    ("alternate_stack", "DAX003", 0),
    ("masked", "DAX003", 0),
    ("system_calls", "DAX003", 0),
    ("threads", "DAX003", 0),
    ("own_protection", "DAX003", 0),
    ("faults_among_threads", "DAX003", 0),
    ("crashes", "DAX005", 139),
    ("ignored", "DAX003", 0),
    ("ignored_crashes", "DAX005", 139),
    ("robust_mutex", "DAX005", 0),
    ("kernel_words", "DAX003", 0),
    ("stack_in_mapping", "DAX003", 0),
];

/// Exact: how much of the time blaming takes does not matter.
const BLAME: &[&str] = &["--blame", "--exact"];

fn main() {
    let mut trials = Vec::new();
    for &(name, code, status) in PROGRAMS {
        trials.push(Trial::test(name, move || named(name, code, status)));
        trials.push(Trial::test(format!("{name}/unasked"), move || {
            unasked(name, code, status)
        }));
    }
    trials.push(Trial::test("at the end of a mapping", unmapped));
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}

/// The document of `daxshim check`.
fn document(directory: &str, name: &str, options: &[&str]) -> Result<Value, Failed> {
    let scene = Scene::new(Tag::Valid)?;
    std::fs::write(scene.path("big"), vec![1; 64 * 4096])?;
    scene.tag("big", Tag::Valid)?;
    let json = scene.report()?.join("findings.json");
    let mut command = Shim::none().command(built("daxshim"));
    command.arg("check");
    if !scene::real() {
        command.arg("--emulate");
    }
    command.args(options).arg("--json").arg(&json).arg("--");
    command.arg(program(directory).join(name)).arg("wrong");
    let done = command.arg(scene.dir()).output()?;
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    let text = std::fs::read_to_string(&json).map_err(|e| format!("{e}: {said}"))?;
    let document: Value = serde_json::from_str(&text)?;
    if said.contains("the program itself failed") {
        fail!("{said}");
    }
    let names = options.contains(&"--blame");
    if said.contains("written first by") != names {
        fail!("{said}");
    }
    Ok(document)
}

/// The finding of lines that were never synced, and how the program ended.
fn unsynced(document: &Value, code: &str, status: i64) -> Result<Value, Failed> {
    if document["ended"]["exit_status"] != status {
        fail!("{document:#}");
    }
    let findings = document["findings"].as_array().cloned().unwrap_or_default();
    let mut found = findings
        .into_iter()
        .filter(|finding| finding["code"] == code);
    found
        .next()
        .ok_or_else(|| format!("no {code}: {document:#}").into())
}

fn named(name: &str, code: &str, status: i64) -> Outcome {
    let document = document("blame", name, BLAME)?;
    let finding = unsynced(&document, code, status)?;
    is_by(&finding, "writer", "blame.h")
}

fn is_by(finding: &Value, function: &str, source: &str) -> Outcome {
    let Some([writer]) = finding["written_first"].as_array().map(Vec::as_slice) else {
        fail!("{finding:#}");
    };
    let innermost = &writer["stack"][0];
    let in_source = innermost["source"]
        .as_str()
        .is_some_and(|path| path.ends_with(source));
    if innermost["function"] != function || !in_source || !innermost["line"].is_u64() {
        fail!("{finding:#}");
    }
    let outermost = writer["stack"].as_array().and_then(|stack| stack.last());
    if outermost.is_none_or(|frame| frame["function"] != "_start") {
        fail!("the stack does not reach the beginning: {finding:#}");
    }
    Ok(())
}

/// The same without it: all of that is the program's own doing.
fn unasked(name: &str, code: &str, status: i64) -> Outcome {
    let document = document("blame", name, &["--exact"])?;
    let finding = unsynced(&document, code, status)?;
    if finding["written_first"]
        .as_array()
        .is_none_or(|of| !of.is_empty())
    {
        fail!("{finding:#}");
    }
    Ok(())
}

fn unmapped() -> Outcome {
    let document = document("check", "unmapped", BLAME)?;
    is_by(&unsynced(&document, "DAX001", 0)?, "main", "unmapped.c")
}
