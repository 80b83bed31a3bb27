//! `daxshim run`, with the real library beside the real command: `cargo build --release` first.
//!
//! `DAXSHIM_BIN_DIR` names the directory of both; the default is the workspace's target/release.
//!
//! Longer than other files: a test for each thing that the command promises.

mod common;

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use common::{actor, bin_dir, compile, scratch};
use serde_json::Value;
use tempfile::TempDir;

/// `daxshim` with a clean environment.
fn daxshim() -> Command {
    let mut command = Command::new(bin_dir().join("daxshim"));
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if ["DAXSHIM_", "PMEM_", "LD_"]
            .iter()
            .any(|p| name.starts_with(p))
        {
            command.env_remove(&*name);
        }
    }
    command
}

fn run<I: AsRef<OsStr>>(arguments: impl IntoIterator<Item = I>) -> Output {
    daxshim().arg("run").args(arguments).output().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Makes a file by install(1): had this process written it, a fork of another test's thread could
/// hold it open for writing, and executing it would be ETXTBSY.
fn install(content: &[u8], mode: u32, to: &Path) -> String {
    let mut child = Command::new("install")
        .args(["-m", &format!("{mode:o}"), "/dev/stdin"])
        .arg(to)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(content).unwrap();
    assert!(child.wait().unwrap().success());
    to.to_str().unwrap().into()
}

fn install_copy(from: impl AsRef<Path>, mode: u32, to: &Path) -> String {
    install(&fs::read(from).unwrap(), mode, to)
}

/// An emulated tagged file on tmpfs, in a directory of its own.
struct Tagged {
    directory: TempDir,
}

impl Tagged {
    fn new() -> Tagged {
        let directory = tempfile::tempdir_in("/dev/shm").unwrap();
        let tagged = Tagged { directory };
        let prepare = ["prepare", "--emulate", "--size", "1M", &tagged.path()];
        for arguments in [&prepare[..], &["tag", "--emulate", &tagged.path()]] {
            let output = daxshim().args(arguments).output().unwrap();
            assert!(output.status.success(), "{}", stderr(&output));
        }
        tagged
    }

    fn path(&self) -> String {
        self.at("data")
    }

    fn at(&self, name: &str) -> String {
        self.directory.path().join(name).to_str().unwrap().into()
    }

    /// Runs the actor with a report; exit status, text, JSON.
    fn report(&self, options: &[&str], actions: &[&str]) -> (i32, String, Value) {
        self.report_env(&[], options, actions)
    }

    fn report_env(
        &self,
        environment: &[(&str, &str)],
        options: &[&str],
        actions: &[&str],
    ) -> (i32, String, Value) {
        let json = self.at("report.json");
        let output = daxshim()
            .args(["run", "--emulate", "--report", "-", "--json", &json])
            .args(options)
            .args(["--", actor(), &self.path()])
            .args(actions)
            .envs(environment.iter().copied())
            .output()
            .unwrap();
        let document = fs::read_to_string(&json).unwrap_or_else(|_| panic!("{}", stderr(&output)));
        let document: Value = serde_json::from_str(&document).unwrap();
        assert_eq!(document["schema"], 1);
        fs::remove_file(&json).unwrap();
        (output.status.code().unwrap(), stderr(&output), document)
    }
}

/// The sum of a number over the sync calls of one way.
fn syncs(document: &Value, call: &str, way: &str, field: &str) -> u64 {
    let syncs = document["total"]["syncs"].as_array().unwrap();
    let of = syncs
        .iter()
        .filter(|s| s["call"] == call && s["way"] == way);
    of.map(|s| s[field].as_u64().unwrap()).sum()
}

fn reason(document: &Value) -> &str {
    document["conclusion"]["reason"].as_str().unwrap()
}

#[test]
fn the_exit_status_is_the_programs() {
    for options in [&[][..], &["--json", "/dev/null"]] {
        for status in [0, 1, 7, 255] {
            let script = format!("exit {status}");
            let output = run([options, &["--", "sh", "-c", &script]].concat());
            assert_eq!(output.status.code(), Some(status));
            assert_eq!(stderr(&output), "");
        }
    }
}

#[test]
fn signals_that_end_the_program_show_in_the_exit_status() {
    for number in [2, 9, 11, 15] {
        let script = format!("kill -{number} $$");
        // In place of the command: what waits for it sees the signal itself.
        assert_eq!(
            run(["--", "sh", "-c", &script]).status.signal(),
            Some(number)
        );
        let output = run(["--json", "/dev/null", "--", "sh", "-c", &script]);
        assert_eq!(output.status.code(), Some(128 + number));
    }
}

#[test]
fn missing_programs_are_127_and_unexecutable_ones_126() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &[u8], mode: u32| {
        install(content, mode, &directory.path().join(name))
    };
    let mut other = fs::read("/bin/true").unwrap();
    other[18] = 0xff;
    let cases = [
        ("no such program at all".to_owned(), 127, "PATH"),
        ("/no/such/file".into(), 127, "No such file"),
        (
            file("interpreter", b"#!/no/such/sh\n", 0o755),
            127,
            "/no/such/sh",
        ),
        (directory.path().to_str().unwrap().into(), 126, "directory"),
        (
            file("denied", b"#!/bin/sh\n", 0o644),
            126,
            "Permission denied",
        ),
        (
            file("garbage", b"\x01\0\0\0garbage", 0o755),
            126,
            "Exec format error",
        ),
        (file("other", &other, 0o755), 126, "kind of machine"),
    ];
    for (program, status, why) in cases {
        for options in [&[][..], &["--report", "-"]] {
            let output = run([options, &["--", &program]].concat());
            let text = stderr(&output);
            assert_eq!(output.status.code(), Some(status), "{program}: {text}");
            assert!(text.contains(why), "{program}: {text}");
            assert!(text.contains("why: ") && text.contains("help: "), "{text}");
            assert!(!text.contains("daxshim report"), "{text}");
        }
    }
    // Text without #! is the shell's, as execvp has it.
    let output = run(["--", &file("text", b"exit $(($1 + 1))\n", 0o755), "4"]);
    assert_eq!(
        (output.status.code(), stderr(&output)),
        (Some(5), String::new())
    );
}

#[test]
fn wrong_usage_is_125_and_help_is_0() {
    for arguments in [
        &[][..],
        &["--no-such-option", "true"],
        &["--mode", "x", "true"],
    ] {
        assert_eq!(run(arguments).status.code(), Some(125), "{arguments:?}");
    }
    let output = run(["--help"]);
    assert_eq!(output.status.code(), Some(0));
    // What follows the program is its own.
    assert_eq!(stdout(&run(["echo", "--help", "-x"])), "--help -x\n");
}

#[test]
fn no_report_replaces_what_the_program_works_on() {
    let tagged = Tagged::new();
    let other = tagged.directory.path().join("report");
    let before = fs::read(tagged.path()).unwrap();
    let program = tagged.directory.path().join("program");
    install_copy(actor(), 0o755, &program);
    let (file, program, other) = (
        &*tagged.path(),
        program.to_str().unwrap(),
        other.to_str().unwrap(),
    );
    let verify = ["--verify", "true {}"];
    for options in [
        &["run", "--report"][..],
        &["run", "--json"],
        &["check", "--json"],
        &["check", "--sarif"],
        &["check", "--gen-suppressions"],
        &["crash", "--json"],
        &["ab", "--html"],
    ] {
        for (to, why, command) in [
            (
                file,
                "the command names this file",
                [program, file, "msync"],
            ),
            (file, "it is tagged", [program, other, "exit"]),
            (
                program,
                "the command names this file",
                [program, file, "msync"],
            ),
        ] {
            let mut daxshim = daxshim();
            daxshim.args(options).arg(to).arg("--emulate");
            if options[0] == "crash" {
                daxshim.args(verify);
            }
            let output = daxshim.arg("--").args(command).output().unwrap();
            assert_eq!(output.status.code(), Some(125), "{options:?}");
            let said = stderr(&output);
            assert!(said.contains("will not be replaced by a report"), "{said}");
            assert!(said.contains(why), "{options:?}: {said}");
        }
    }
    assert!(fs::read(tagged.path()).unwrap() == before);
    assert_eq!(
        fs::metadata(program).unwrap().len(),
        fs::metadata(actor()).unwrap().len()
    );
    for options in [
        &["run", "--report", other, "--json", other][..],
        &["check", "--json", "-", "--sarif", "-"],
    ] {
        let output = daxshim()
            .args(options)
            .args(["--", "true"])
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(125), "{options:?}");
        assert!(stderr(&output).contains("two documents would go to"));
    }
    assert!(!Path::new(other).exists());
}

/// The kernel ends a process by SIGXFSZ that makes a file larger than it may.
#[test]
fn a_limit_of_file_sizes_ends_no_program() {
    let tagged = Tagged::new();
    let directory = tempfile::tempdir().unwrap();
    let script = r#"ulimit -f "$1"; shift; exec "$@""#;
    let limited = |blocks: &str, words: &[&str]| {
        let mut command = daxshim();
        let daxshim = command.get_program().to_owned();
        command = Command::new("sh");
        command.args(["-c", script, "sh", blocks]);
        command.env("DAXSHIM_REPORT", directory.path());
        command.arg(daxshim).args(words).output().unwrap()
    };
    for blocks in ["0", "1", "100", "300", "unlimited"] {
        for mode in ["run", "check"] {
            let options = if mode == "check" {
                &["--fail-on", "never"][..]
            } else {
                &[]
            };
            let program = [actor(), &tagged.path(), "msync", "exit", "7"];
            let words = [&[mode, "--emulate"][..], options, &["--"], &program].concat();
            let output = limited(blocks, &words);
            assert_eq!(
                output.status.code(),
                Some(7),
                "{blocks} {mode}: {}",
                stderr(&output)
            );
        }
    }
    // The report itself is what does not fit.
    let report = directory.path().join("report");
    let output = limited(
        "0",
        &["run", "--json", report.to_str().unwrap(), "--", "true"],
    );
    assert_eq!(output.status.code(), Some(125));
    assert!(stderr(&output).contains("ulimit -f"), "{}", stderr(&output));
}

#[test]
fn failures_of_daxshim_itself_are_125() {
    let directory = tempfile::tempdir().unwrap();
    let alone = directory.path().join("daxshim");
    install_copy(bin_dir().join("daxshim"), 0o755, &alone);
    let output = Command::new(&alone)
        .args(["run", "--", "true"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(125));
    assert!(stderr(&output).contains(&*alone.with_file_name("libdaxshim.so").to_string_lossy()));

    let spaced = directory.path().join("a b.so");
    install_copy(bin_dir().join("libdaxshim.so"), 0o644, &spaced);
    for (library, why) in [
        (spaced.to_str().unwrap(), "LD_PRELOAD"),
        ("/no.so", "No such file"),
        ("/bin/true", "not daxshim's library"),
        ("/dev/zero", "not a regular file"),
    ] {
        let output = daxshim()
            .args(["run", "--", "true"])
            .env("DAXSHIM_LIBRARY", library)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(125));
        assert!(stderr(&output).contains(why), "{}", stderr(&output));
    }

    // bin/ and lib/, as installed.
    fs::create_dir(directory.path().join("bin")).unwrap();
    fs::create_dir(directory.path().join("lib")).unwrap();
    install_copy(&spaced, 0o644, &directory.path().join("lib/libdaxshim.so"));
    let installed = install_copy(&alone, 0o755, &directory.path().join("bin/daxshim"));
    let output = Command::new(installed)
        .args(["run", "--", "true"])
        .output()
        .unwrap();
    assert_eq!(
        (output.status.code(), stderr(&output)),
        (Some(0), String::new())
    );
}

#[test]
fn a_report_that_cannot_be_written_is_said_before_the_program_runs() {
    let directory = tempfile::tempdir().unwrap();
    let marker = directory.path().join("marker");
    for option in ["--report", "--json"] {
        for path in ["/no/such/directory/report", "/", "/proc/report"] {
            let output = run([option, path, "--", "touch", marker.to_str().unwrap()]);
            assert_eq!(output.status.code(), Some(125));
            assert!(stderr(&output).contains(path));
        }
    }
    assert!(!marker.exists());
}

#[test]
fn a_report_that_cannot_be_written_in_the_end_is_125_only_if_the_program_succeeded() {
    for (script, status) in [("exit 0", 125), ("exit 3", 3)] {
        let output = run(["--report", "/dev/full", "--", "sh", "-c", script]);
        assert_eq!(output.status.code(), Some(status));
        assert!(
            stderr(&output).contains("No space left"),
            "{}",
            stderr(&output)
        );
    }
}

#[test]
fn report_files_are_replaced_whole_and_nothing_else_is_left() {
    let directory = tempfile::tempdir().unwrap();
    let report = directory.path().join("report");
    let link = directory.path().join("link");
    fs::write(&report, "before").unwrap();
    std::os::unix::fs::symlink("report", &link).unwrap();
    let script = format!("cat {}; echo $DAXSHIM_REPORT", report.display());
    let output = run([
        OsStr::new("--report"),
        link.as_ref(),
        "--".as_ref(),
        "sh".as_ref(),
        "-c".as_ref(),
        script.as_ref(),
    ]);
    let shown = stdout(&output);
    let temporary = shown.strip_prefix("before").unwrap().trim();
    assert!(!Path::new(temporary).exists() && temporary.starts_with('/'));
    let text = fs::read_to_string(&report).unwrap();
    assert!(
        text.starts_with("daxshim report") && !text.contains('\x1b'),
        "{text}"
    );
    assert!(link.is_symlink());
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2);
}

#[test]
fn standard_streams_are_the_programs_own() {
    let bytes: Vec<u8> = (0..200_000u32).map(|i| (i * 7) as u8).collect();
    for options in [&[][..], &["--report", "-"], &["--json", "/dev/null"]] {
        let mut child = daxshim()
            .arg("run")
            .args(options)
            .args(["--", "cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let sent = bytes.clone();
        let writer = std::thread::spawn(move || stdin.write_all(&sent).unwrap());
        let output = child.wait_with_output().unwrap();
        writer.join().unwrap();
        assert!(output.stdout == bytes, "{options:?}");
    }
}

#[test]
fn the_report_survives_kill_9() {
    let tagged = Tagged::new();
    let actions = ["msync", "msync", "msync", "write", "kill", "9"];
    let (status, text, json) = tagged.report(&[], &actions);
    assert_eq!(status, 137);
    assert_eq!(json["ended"]["signal"], 9);
    assert!(text.contains("SIGKILL"), "{text}");
    assert_eq!(syncs(&json, "msync", "user", "calls"), 3);
    assert_eq!(syncs(&json, "msync", "user", "lines"), 3 * 64);
    assert_eq!(json["total"]["refusals"][0]["refused"], 1);
    assert_eq!(json["conclusion"]["accelerated"], true);
}

#[test]
fn text_and_json_hold_the_same_numbers() {
    let tagged = Tagged::new();
    let actions = [
        "msync",
        "msync",
        "msync-all",
        "fsync",
        "write",
        "write",
        "truncate",
    ];
    let (status, text, json) = tagged.report(&[], &actions);
    assert_eq!(status, 0);
    let row = |start: &str| -> Vec<String> {
        let line = text
            .lines()
            .find(|line| line.trim_start().starts_with(start));
        let line = line.unwrap_or_else(|| panic!("{start}: {text}"));
        line.trim_start()
            .strip_prefix(start)
            .unwrap()
            .split_whitespace()
            .map(|word| word.replace(',', ""))
            .collect()
    };
    let number = |value: u64| value.to_string();
    // Which way a call went is the library's choice.
    let ways = [
        ("user", "user flush"),
        ("range", "sync_file_range"),
        ("mixed", "user flush and kernel sync"),
        ("kernel", "kernel sync"),
    ];
    let mut calls = 0;
    for sync in json["total"]["syncs"].as_array().unwrap() {
        let (call, way) = (
            sync["call"].as_str().unwrap(),
            sync["way"].as_str().unwrap(),
        );
        let words = ways.iter().find(|(name, _)| *name == way).unwrap().1;
        let row = row(&format!("{call}  {words}"));
        assert_eq!(row[0], number(syncs(&json, call, way, "calls")), "{text}");
        assert!(
            row.contains(&number(syncs(&json, call, way, "lines"))),
            "{text}"
        );
        calls += syncs(&json, call, way, "calls");
    }
    assert_eq!(calls, 4);
    assert_eq!(row("write")[..2], ["2", "0"]);
    assert_eq!(row("truncate")[..2], ["1", "1"]);
    let refusals = json["total"]["refusals"].as_array().unwrap();
    assert_eq!(refusals.len(), 2);
    assert_eq!(
        (&refusals[1]["refused"], &refusals[1]["compat_would_allow"]),
        (&1.into(), &1.into())
    );
    let mapping = &json["total"]["mappings"][0];
    assert_eq!(mapping["path"], tagged.path());
    assert_eq!(
        row(&tagged.path())[0],
        number(mapping["count"].as_u64().unwrap())
    );
    let latency = &json["total"]["syncs"][0]["latency_ns"];
    let percentiles = ["p50", "p90", "p99", "p99_9", "max"].map(|p| latency[p].as_u64().unwrap());
    assert!(percentiles.is_sorted() && percentiles[0] > 0);
}

#[test]
fn forked_and_executed_children_are_summed() {
    let tagged = Tagged::new();
    let (status, text, json) = tagged.report(&[], &["msync", "fork", "fork", "exec"]);
    assert_eq!(status, 0, "{text}");
    assert_eq!(syncs(&json, "msync", "user", "calls"), 4);
    assert_eq!(json["total"]["refusals"][0]["refused"], 1);
    let programs = json["programs"].as_array().unwrap();
    // The actor, its three children, and what the last of them became.
    assert_eq!(programs.len(), 5, "{text}");
    let calls: u64 = programs
        .iter()
        .filter_map(|program| program["syncs"][0]["calls"].as_u64())
        .sum();
    assert_eq!(calls, 4);
    assert!(
        text.contains("4 processes, 3 started by one of them, 1 exec"),
        "{text}"
    );
}

#[test]
fn nothing_accelerated_says_why() {
    let tagged = Tagged::new();
    for (options, actions, expected, words) in [
        (
            &["--mode", "off"][..],
            &["msync"][..],
            "off",
            "DAXSHIM_MODE=off",
        ),
        (&[], &["write"], "not-mapped", "none was mapped MAP_SHARED"),
        (&[], &[], "not-mapped", "no tagged file was mapped"),
        (
            &[],
            &["map-read-only"],
            "not-sync",
            "mapped without PROT_WRITE",
        ),
        (
            &["--flush", "kernel"],
            &["msync"],
            "kernel-flush",
            "leaves every sync to the kernel",
        ),
        (
            &[],
            &["map"],
            "no-msync",
            "neither msync nor fsync was called",
        ),
        (&[], &["map", "fsync"], "no-msync", "msync was not"),
        (&[], &["msync-all"], "kernel-cheaper", "--flush user forces"),
        (
            &["--flush", "user"],
            &["protect", "msync-all"],
            "kernel-needed",
            "only the kernel could do",
        ),
    ] {
        let (status, text, json) = tagged.report(options, actions);
        assert_eq!(status, 0);
        assert_eq!(reason(&json), expected, "{text}");
        assert_eq!(json["conclusion"]["accelerated"], false);
        assert!(
            text.contains("Nothing was accelerated") && text.contains(words),
            "{text}"
        );
    }
    let (_, text, json) = tagged.report(&["--flush", "user"], &["msync-all"]);
    assert_eq!(reason(&json), "user-flush", "{text}");
    assert!(text.contains("no: shorter"), "{text}");
    let output = run(["--report", "-", "--", actor(), &tagged.path(), "msync"]);
    assert!(
        stderr(&output).contains("only with --emulate"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn skipped_flushes_are_said_loudly() {
    let tagged = Tagged::new();
    let (_, text, json) = tagged.report(&["--flush", "none"], &["msync", "msync"]);
    assert_eq!(reason(&json), "skipped");
    assert!(text.contains("NOTHING WAS MADE DURABLE"), "{text}");
    // Before the program starts, with or without a report.
    assert!(
        text.starts_with("daxshim: warning: nothing will be durable"),
        "{text}"
    );
    assert!(stderr(&run(["--flush", "none", "--", "true"])).contains("nothing will be durable"));
}

#[test]
fn refusals_are_counted_by_what_became_of_them() {
    let tagged = Tagged::new();
    let first = |options: &[&str]| {
        let (_, text, json) = tagged.report(options, &["truncate"]);
        let refusal = &json["total"]["refusals"][0];
        let counts = ["refused", "compat_would_allow", "pretended", "recorded"]
            .map(|field| refusal[field].as_u64().unwrap());
        (counts, text)
    };
    let (counts, text) = first(&[]);
    assert_eq!(counts, [1, 1, 0, 0]);
    assert!(
        text.contains("--compat lets through those that would change nothing (1)"),
        "{text}"
    );
    let (counts, text) = first(&["--compat"]);
    assert_eq!(counts, [0, 0, 1, 0]);
    assert!(text.contains("let through by --compat"), "{text}");
    let (counts, text) = first(&["--mode", "audit"]);
    assert_eq!(counts, [0, 0, 0, 1]);
    assert!(text.contains("let through by audit"), "{text}");
}

/// Of libc's functions some make another one's system call.
#[test]
fn what_audit_lets_through_is_counted_once() {
    let tagged = Tagged::new();
    let (_, _, json) = tagged.report(&["--mode", "audit"], &["set-times", "change-modes"]);
    let refusals = json["total"]["refusals"].as_array().unwrap();
    let counts: Vec<u64> = refusals
        .iter()
        .map(|refusal| refusal["recorded"].as_u64().unwrap())
        .collect();
    assert_eq!(counts, [4, 7], "{refusals:?}");
}

#[test]
fn options_override_the_environment_and_leave_the_rest_of_it() {
    let tagged = Tagged::new();
    let environment = [("DAXSHIM_MODE", "off"), ("DAXSHIM_FLUSH", "user")];
    let (_, _, json) = tagged.report_env(&environment, &["--mode", "audit"], &["msync"]);
    let program = &json["programs"][0];
    assert_eq!(
        (&program["mode"], &program["flush"]),
        (&"audit".into(), &"user".into())
    );

    let script = "echo $LD_PRELOAD $DAXSHIM_READS";
    let output = daxshim()
        .args(["run", "--reads", "deny", "--", "sh", "-c", script])
        .env("LD_PRELOAD", "libm.so.6 libc.so.6")
        .output()
        .unwrap();
    let library = bin_dir().join("libdaxshim.so");
    let expected = format!("{}:libm.so.6:libc.so.6 deny\n", library.display());
    assert_eq!(stdout(&output), expected);
}

#[test]
fn an_unknown_environment_value_is_one_warning() {
    for options in [&[][..], &["--report", "-"]] {
        let output = daxshim()
            .arg("run")
            .args(options)
            .args(["--", "true"])
            .envs([("DAXSHIM_FLUSH", "sometimes"), ("PMEM_NO_CLWB", "1")])
            .output()
            .unwrap();
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(0));
        assert_eq!(text.matches("DAXSHIM_FLUSH").count(), 1, "{text}");
        assert!(text.contains("auto, user, kernel or none"), "{text}");
        assert!(!text.contains("PMEM_NO_CLWB"), "{text}");
    }
    // The option takes its place.
    let output = daxshim()
        .args(["run", "--flush", "user", "--", "true"])
        .env("DAXSHIM_FLUSH", "sometimes")
        .output()
        .unwrap();
    assert_eq!(stderr(&output), "");
}

#[test]
fn a_report_directory_of_the_users_is_used_and_kept() {
    let tagged = Tagged::new();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_str().unwrap();
    let files = || fs::read_dir(path).unwrap().count();
    let environment = [("DAXSHIM_REPORT", path)];
    for round in 1..=3 {
        let (_, _, json) = tagged.report_env(&environment, &[], &["msync"]);
        assert_eq!(syncs(&json, "msync", "user", "calls"), 1);
        assert_eq!(files(), round);
    }
    let output = daxshim()
        .args(["run", "--", "true"])
        .envs(environment)
        .output()
        .unwrap();
    assert_eq!((stderr(&output), files()), (String::new(), 4));
}

#[test]
fn a_report_directory_that_cannot_be_used_is_a_warning() {
    let tagged = Tagged::new();
    for path in ["/no/such/directory", "/dev/null", "/proc"] {
        let environment = [("DAXSHIM_REPORT", path)];
        let output = daxshim()
            .args(["run", "--", "sh", "-c", "exit 5"])
            .envs(environment)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(5));
        let text = stderr(&output);
        assert_eq!(text.matches("warning: ").count(), 1, "{text}");
        assert!(text.contains(path), "{text}");
        let (status, text, json) = tagged.report_env(&environment, &[], &["msync"]);
        assert_eq!((status, reason(&json)), (0, "user-flush"));
        assert_eq!(text.matches("warning: ").count(), 1, "{text}");
    }
}

#[test]
fn report_files_that_are_none_are_named() {
    let script = "echo garbage > $DAXSHIM_REPORT/daxshim.1.0; mkfifo $DAXSHIM_REPORT/daxshim.2.0";
    let output = run(["--report", "-", "--", "sh", "-c", script]);
    let text = stderr(&output);
    assert_eq!(output.status.code(), Some(0));
    assert!(
        text.contains("daxshim.1.0: it was not written by libdaxshim.so"),
        "{text}"
    );
    assert!(
        text.contains("daxshim.2.0: it is not a regular file"),
        "{text}"
    );
}

#[test]
fn programs_that_the_shim_will_not_see_are_announced() {
    let directory = tempfile::tempdir_in(scratch()).unwrap();
    let at = |name: &str| directory.path().join(name);
    compile("actor.c", &["-static"], &at("static"));
    let script = format!("#!{}\n", at("static").display());
    install(script.as_bytes(), 0o755, &at("script"));
    install_copy("/bin/true", 0o755, &at("setuid"));
    let mut cases = vec![
        ("static", "statically linked"),
        ("script", "statically linked"),
    ];
    // Somebody else's program, which only root can make.
    if chown(at("setuid"), Some(65534), None).is_ok() {
        fs::set_permissions(at("setuid"), fs::Permissions::from_mode(0o4755)).unwrap();
        cases.push(("setuid", "set-user-ID"));
    }
    for (name, why) in cases {
        let program = at(name).to_str().unwrap().to_owned();
        let output = run(["--", &program]);
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(0), "{text}");
        assert_eq!(text.matches("warning: ").count(), 1, "{text}");
        assert!(
            text.contains("the shim will not see") && text.contains(why),
            "{text}"
        );
        assert!(text.contains("help: "), "{text}");
        let output = run(["--json", "-", "--", &program]);
        let json: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(reason(&json), "no-process");
        let unseen = json["unseen"][0]["reason"].as_str().unwrap();
        assert!(unseen.contains(why), "{unseen}");
        assert!(json["conclusion"]["text"].as_str().unwrap().contains(why));
    }
}

/// Nothing but `exit(0)`.
fn program_of_32_bit() -> Vec<u8> {
    let code = b"\xb8\x01\x00\x00\x00\x31\xdb\xcd\x80";
    let (start, headers) = (0x0804_8000u32, 52 + 32);
    let size = headers + code.len() as u32;
    let mut program = b"\x7fELF\x01\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x03\0".to_vec();
    for word in [1, start + headers, 52, 0, 0] {
        program.extend(word.to_le_bytes());
    }
    for half in [52u16, 32, 1, 0, 0, 0] {
        program.extend(half.to_le_bytes());
    }
    for word in [1, 0, start, start, size, size, 5, 4096] {
        program.extend(word.to_le_bytes());
    }
    program.extend(code);
    program
}

#[test]
fn programs_that_children_execute_without_the_shim_are_named() {
    // Not under nosuid.
    let directory = tempfile::tempdir_in(scratch()).unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let at = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    compile("actor.c", &["-static"], Path::new(&at("static")));
    let script = format!("#! {} \n", at("static"));
    install(script.as_bytes(), 0o755, Path::new(&at("script")));
    let runs_32_bit = Command::new(install(&program_of_32_bit(), 0o755, Path::new(&at("i386"))))
        .status()
        .is_ok_and(|status| status.success());
    install(b"", 0o755, Path::new(&at("empty")));
    install_copy(at("static"), 0o644, Path::new(&at("data")));
    let mut wanted = vec![("static", "statically linked", 3)];
    let mut execute = vec![
        "static", "static", "script", "i386", "empty", "data", "none",
    ];
    if runs_32_bit {
        wanted.push(("i386", "another kind of machine", 1));
    }
    install_copy("/bin/true", 0o755, Path::new(&at("setuid")));
    if chown(at("setuid"), Some(65534), Some(65534)).is_ok() {
        wanted.push(("setuid", "set-user-ID", 1));
        wanted.push(("setgid", "set-group-ID", 1));
        execute.extend(["setuid", "setgid", "own"]);
        install_copy("/bin/true", 0o4755, Path::new(&at("own")));
        install_copy("/bin/true", 0o755, Path::new(&at("setgid")));
        chown(at("setgid"), Some(65534), Some(65534)).unwrap();
        for (name, mode) in [("setuid", 0o4755), ("setgid", 0o2755)] {
            fs::set_permissions(at(name), fs::Permissions::from_mode(mode)).unwrap();
        }
    }
    let commands: Vec<String> = execute.iter().map(|name| at(name)).collect();
    let script = format!("{}; exit 0", commands.join("; "));
    let output = run(["--json", "-", "--", "env", "-i", "bash", "-c", &script]);
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0));
    for list in [&json["unseen"], &json["total"]["unseen"]] {
        let list = list.as_array().unwrap();
        assert_eq!(list.len(), wanted.len(), "{list:?}");
        for (name, why, count) in &wanted {
            let found = list.iter().find(|u| u["program"] == at(name).as_str());
            let found = found.unwrap_or_else(|| panic!("{name} is not in {list:?}"));
            assert!(found["reason"].as_str().unwrap().contains(why), "{found}");
            assert_eq!(found["count"], *count, "{found}");
        }
    }
    let output = run(["--report", "-", "--", "bash", "-c", &script]);
    let text = stderr(&output);
    let line = format!(
        "the shim does not see {}, executed 3 times: it is",
        at("static")
    );
    assert!(text.contains(&line), "{text}");
}

#[test]
fn file_capabilities_of_executed_programs_are_named() {
    let directory = tempfile::tempdir_in(scratch()).unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let program = directory.path().join("true");
    install_copy("/bin/true", 0o755, &program);
    // struct vfs_ns_cap_data, version 2: cap_net_raw, permitted.
    let capability = "0x0000000200200000000000000000000000000000";
    let given = Command::new("setfattr")
        .args(["-n", "security.capability", "-v", capability])
        .arg(&program)
        .status();
    if !given.is_ok_and(|status| status.success()) {
        return;
    }
    // Somebody who may write reports and is not root.
    let reports = directory.path().join("reports");
    fs::create_dir(&reports).unwrap();
    fs::set_permissions(&reports, fs::Permissions::from_mode(0o777)).unwrap();
    let program = program.to_str().unwrap();
    for (words, count) in [
        (&["setpriv", "--reuid=65534", "sh", "-c"][..], 1),
        (&["sh", "-c"], 0),
    ] {
        let script = format!("{program}; exit 0");
        let output = daxshim()
            .args(["run", "--json", "-", "--"])
            .args(words)
            .arg(&script)
            .env("DAXSHIM_REPORT", &reports)
            .output()
            .unwrap();
        let json: Value = serde_json::from_slice(&output.stdout).unwrap();
        let unseen = json["unseen"].as_array().unwrap();
        assert_eq!(unseen.len(), count, "{unseen:?}");
        if let [unseen] = unseen.as_slice() {
            assert!(unseen["reason"].as_str().unwrap().contains("capabilities"));
        }
    }
}

#[test]
fn io_uring_is_reported() {
    let (_, text, json) = Tagged::new().report(&[], &["io-uring"]);
    let events = &json["total"]["events"];
    assert_eq!(events[0]["event"], "io-uring", "{events}");
    assert!(text.contains("io_uring is used"), "{text}");
}

/// Half of the file is mapped nowhere, so fsync is the kernel's; and once it has forked, it is not alone.
#[test]
fn what_was_left_to_the_kernel_among_others_is_counted() {
    for flush in ["auto", "user"] {
        for (actions, times) in [
            (&["map", "unmap-half", "fsync"][..], 0),
            (&["map", "unmap-half", "fork", "fsync"][..], 1),
        ] {
            let (_, text, json) = Tagged::new().report(&["--flush", flush], actions);
            let events = json["total"]["events"].as_array().unwrap();
            let counted = events.iter().filter(|event| event["event"] == "contended");
            let sum: u64 = counted.map(|event| event["count"].as_u64().unwrap()).sum();
            assert_eq!(sum, times, "{flush}, {actions:?}: {json}");
            assert_eq!(text.contains("`--flush user`"), times > 0, "{text}");
        }
    }
}

#[test]
fn programs_with_a_cleaned_environment_are_under_the_shim() {
    let output = run(["--json", "-", "--", "env", "-i", "/bin/true"]);
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    let programs = json["programs"].as_array().unwrap();
    let names: Vec<_> = programs
        .iter()
        .map(|p| p["program"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["/usr/bin/env", "/usr/bin/true"]);
}

#[test]
fn the_command_itself_is_not_under_the_shim_for_long() {
    let daxshim = bin_dir().join("daxshim");
    let output = run([
        "--".as_ref(),
        "timeout".as_ref(),
        "60".as_ref(),
        daxshim.as_os_str(),
        "--version".as_ref(),
    ]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(
        stdout(&output).starts_with("daxshim "),
        "{}",
        stdout(&output)
    );
}

#[test]
fn signals_are_handed_on_and_the_report_comes_all_the_same() {
    let tagged = Tagged::new();
    let mut child = daxshim()
        .args(["run", "--emulate", "--json", &tagged.at("json"), "--"])
        .args([actor(), &tagged.path(), "msync", "await-term"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut directory = String::new();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    output.read_line(&mut directory).unwrap();
    let directory = Path::new(directory.trim());
    assert!(directory.is_dir());
    let pid = rustix::process::Pid::from_child(&child);
    for signal in [
        rustix::process::Signal::INT,
        rustix::process::Signal::QUIT,
        rustix::process::Signal::TERM,
    ] {
        rustix::process::kill_process(pid, signal).unwrap();
    }
    assert_eq!(child.wait().unwrap().code(), Some(42));
    assert!(!directory.exists());
    let json: Value = serde_json::from_slice(&fs::read(tagged.at("json")).unwrap()).unwrap();
    assert_eq!(syncs(&json, "msync", "user", "calls"), 1);
}

#[test]
fn the_program_starts_with_the_signals_that_the_command_was_started_with() {
    for options in [&[][..], &["--json", "/dev/null"]] {
        let mut plain = daxshim();
        let mut ignoring = daxshim();
        // SAFETY: between fork and exec; neither call allocates.
        unsafe {
            ignoring.pre_exec(|| {
                libc::signal(libc::SIGPIPE, libc::SIG_IGN);
                libc::signal(libc::SIGCHLD, libc::SIG_IGN);
                let mut mask = std::mem::zeroed();
                libc::sigaddset(&mut mask, libc::SIGUSR1);
                libc::sigprocmask(libc::SIG_BLOCK, &mask, std::ptr::null_mut());
                Ok(())
            });
        }
        for (command, expected) in [
            (&mut plain, "pipe 0 child 0 usr1 0 int 0\n"),
            (&mut ignoring, "pipe 1 child 1 usr1 1 int 0\n"),
        ] {
            let command = command.arg("run").args(options);
            let output = command
                .args(["--", actor(), "-", "signals", "exit", "3"])
                .output();
            let output = output.unwrap();
            assert_eq!(stdout(&output), expected, "{options:?}");
            assert_eq!(output.status.code(), Some(3));
        }
    }
}

#[test]
fn processes_that_still_run_are_read_as_they_are() {
    let tagged = Tagged::new();
    let mut child = daxshim()
        .args(["run", "--emulate", "--report", "-", "--"])
        .args([actor(), &tagged.path(), "leave-daemon"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // The daemon lives until this is closed.
    let stdin = child.stdin.take();
    let output = child.wait_with_output().unwrap();
    drop(stdin);
    let text = stderr(&output);
    assert!(text.contains("still running"), "{text}");
    assert!(text.contains("1 of 1 msync calls"), "{text}");
}

#[test]
fn what_fsync_flushed_is_no_msync() {
    let tagged = Tagged::new();
    let script = "import mmap, os, sys\n\
                  file = open(sys.argv[1], 'r+b')\n\
                  memory = mmap.mmap(file.fileno(), 0)\n\
                  memory[0] = 7\n\
                  os.fsync(file.fileno())\n";
    let output = daxshim()
        .args(["run", "--emulate", "--flush", "user", "--report", "-", "--"])
        .args(["python3", "-c", script, &tagged.path()])
        .output()
        .unwrap();
    let text = stderr(&output);
    let said = "1 of 1 calls of fsync and its like were user flushes";
    assert!(text.contains(said) && !text.contains("0 of 0"), "{text}");
}
