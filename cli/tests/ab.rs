//! `daxshim ab`, with the real library: `cargo build --release` first. Figures that depend on the
//! clock are never looked at, only counts.
//!
//! Longer than other files: a test for each thing that the command promises.

mod common;

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use common::{Daxshim, Ran, Scratch, actor, bin_dir, daxshim, quiet};
use nix::sys::signal::{SigHandler, Signal, kill, signal};
use nix::unistd::Pid;
use serde_json::Value;

/// Five msync calls of a page each.
const SYNCS: [&str; 5] = ["msync"; 5];

fn ab<'a>(options: impl IntoIterator<Item = &'a str>) -> Daxshim {
    let command = daxshim(["ab", "--emulate"]).env("DAXSHIM_LIBRARY", library().to_str().unwrap());
    options.into_iter().fold(command, Daxshim::arg)
}

fn library() -> std::path::PathBuf {
    bin_dir().join("libdaxshim.so")
}

fn document(path: &Path) -> Value {
    let document: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    assert_eq!(document["schema"], 1);
    document
}

/// Runs a shell script as the program; what the comparison says, and its document.
fn of_script(scratch: &Scratch, options: &[&str], script: &str) -> (Ran, Value) {
    let json = scratch.path("ab.json");
    let ran = ab(["--json", json.to_str().unwrap()])
        .args(options)
        .args(["--", "sh", "-c", script])
        .run();
    let document = document(&json);
    (ran, document)
}

fn syncs<'a>(document: &'a Value, leg: &str) -> &'a Value {
    &document["legs"][leg]["syncs"][0]
}

fn order(document: &Value) -> Vec<String> {
    let runs = document["runs"].as_array().unwrap();
    runs.iter()
        .map(|run| format!("{} {}", run["pair"], run["leg"]))
        .collect()
}

/// What failed, why, and what to do.
fn has_three_parts(ran: &Ran) {
    assert!(ran.stderr.contains("daxshim: "), "{ran:?}");
    assert!(ran.stderr.contains("\n  why: "), "{ran:?}");
    assert!(ran.stderr.contains("\n  help: "), "{ran:?}");
}

fn wait_until(condition: impl Fn() -> bool) {
    while !condition() {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

#[test]
fn kernel_sync_and_user_flush_are_counted_call_by_call() {
    let scratch = Scratch::tmpfs();
    let file = scratch.emulated("data");
    let json = scratch.path("ab.json");
    let ran = ab(["--flush", "user", "--runs", "4", "--json"])
        .arg(&json)
        .args(["--", actor()])
        .arg(&file)
        .args(SYNCS)
        .succeeds();
    assert_eq!(ran.stdout, "");
    ran.says("A: kernel sync").says("B: user flush (user)");
    ran.says("Of a run's sync calls 5 enter the kernel with A and 0 with B: 5 saved");
    let document = document(&json);
    let runs = document["runs"].as_array().unwrap();
    assert_eq!(runs.len(), 12);
    for run in runs {
        let entries = if run["leg"] == "b" { 0 } else { 5 };
        assert_eq!(run["kernel_entries"], entries, "{run}");
        assert_eq!(run["sync_calls"], 5, "{run}");
        assert!(run["wall_ns"].as_f64().unwrap() > 0.0, "{run}");
    }
    for (leg, entries, lines, way) in [
        ("a", 20, 0, "kernel"),
        ("control", 20, 0, "kernel"),
        ("b", 0, 20 * 64, "user"),
    ] {
        let syncs = syncs(&document, leg);
        assert_eq!(syncs["call"], "msync");
        assert_eq!(syncs["calls"], 20);
        assert_eq!(syncs["bytes"], 20 * 4096);
        assert_eq!(syncs["errors"], 0);
        assert_eq!(syncs["kernel_entries"], entries);
        assert_eq!(syncs["lines"], lines);
        assert_eq!(syncs["ways"][0]["way"], way);
        let bars = syncs["histogram"].as_array().unwrap();
        let calls: u64 = bars.iter().map(|bar| bar["calls"].as_u64().unwrap()).sum();
        assert_eq!(calls, 20);
        assert!(syncs["latency_ns"]["p50"].as_u64() <= syncs["latency_ns"]["max"].as_u64());
    }
    assert_eq!(document["kernel_entries_saved"], 5.0);
    assert_eq!(document["conclusion"]["accelerated"], true);
    for of in ["ratio", "control"] {
        let wall = &document[of]["wall"];
        assert_eq!(wall["pairs"], 4);
        let at = |name: &str| wall["interval"][name].as_f64().unwrap();
        let ratio = wall["ratio"].as_f64().unwrap();
        assert!(at("low") <= ratio && ratio <= at("high"), "{wall}");
    }
}

#[test]
fn the_seed_decides_the_order_and_is_told() {
    let scratch = Scratch::tmpfs();
    let told = of_script(&scratch, &["--runs", "6"], "true").1;
    let seed = told["settings"]["seed"].to_string();
    let again = of_script(&scratch, &["--runs", "6", "--seed", &seed], "true").1;
    assert_eq!(order(&told), order(&again));
    let (one, other) = ("1", "2");
    let with = |seed| order(&of_script(&scratch, &["--runs", "6", "--seed", seed], "true").1);
    assert_ne!(with(one), with(other));
}

#[test]
fn where_nothing_was_accelerated_it_is_said_why() {
    let scratch = Scratch::tmpfs();
    let (ran, document) = of_script(&scratch, &["--runs", "2"], "true");
    assert_eq!(ran.code, Some(0));
    ran.says("Nothing was accelerated: no tagged file was mapped")
        .says("A and B did the same");
    assert_eq!(document["verdict"]["result"], "not-accelerated");
    assert_eq!(document["conclusion"]["reason"], "not-mapped");
}

#[test]
fn one_run_has_no_interval_and_that_is_said() {
    let scratch = Scratch::tmpfs();
    let (ran, document) = of_script(&scratch, &["--runs", "1"], "true");
    assert_eq!(ran.code, Some(0));
    ran.says("no confidence interval");
    assert!(document["ratio"]["wall"]["interval"].is_null());
    assert_eq!(document["runs"].as_array().unwrap().len(), 3);
}

#[test]
fn a_run_that_fails_ends_it_with_its_status_and_what_was_measured_is_written() {
    let scratch = Scratch::tmpfs();
    let (markdown, page) = (scratch.path("ab.md"), scratch.path("ab.html"));
    let options = [
        "--warmup",
        "0",
        "--markdown",
        markdown.to_str().unwrap(),
        "--html",
        page.to_str().unwrap(),
    ];
    for (end, status) in [("exit 7", 7), ("kill -9 $$", 137)] {
        let counter = scratch.path("counter");
        let script = format!(
            "echo >> {0}; [ $(wc -l < {0}) -lt 5 ] || {end}",
            counter.display()
        );
        let (ran, document) = of_script(&scratch, &options, &script);
        assert_eq!(ran.code, Some(status), "{ran:?}");
        ran.says("the program failed in run 5 (leg ");
        has_three_parts(&ran);
        assert_eq!(document["stopped"]["reason"], "program-failed");
        assert_eq!(document["stopped"]["exit_status"], status);
        assert_eq!(document["runs"].as_array().unwrap().len(), 4);
        assert_eq!(document["ratio"]["wall"]["pairs"].as_u64().unwrap() % 2, 1);
        for (file, text) in [(&markdown, "| wall |"), (&page, "It ended early")] {
            let content = std::fs::read_to_string(file).unwrap();
            assert!(content.contains(text), "{content}");
            std::fs::remove_file(file).unwrap();
        }
        std::fs::remove_file(counter).unwrap();
    }
}

#[test]
fn programs_that_cannot_be_run_and_wrong_usage_have_their_status() {
    for (arguments, status) in [
        (&["--", "no such program at all"][..], 127),
        (&["--", "/etc/passwd"], 126),
        (&["--runs", "0", "--", "true"], 125),
        (&["--runs", "x", "--", "true"], 125),
        (&["--flush", "x", "--", "true"], 125),
        (&["--fail-if-slower", "-1", "--", "true"], 125),
        (&["--runs", "1", "--fail-if-slower", "5", "--", "true"], 125),
        (&["--runs", "2"], 125),
        (&["--", ""], 127),
    ] {
        let ran = ab([]).args(arguments).run();
        assert_eq!(ran.code, Some(status), "{arguments:?}: {ran:?}");
        assert_ne!(ran.stderr, "");
    }
    assert_eq!(ab(["--help"]).run().code, Some(0));
}

#[test]
fn the_setup_command_runs_before_each_run_without_the_shim() {
    let scratch = Scratch::tmpfs();
    let log = scratch.path("log");
    let log = log.display();
    let setup = format!("echo \"setup ${{LD_PRELOAD-none}}\" >> {log}");
    let script = format!("echo \"run ${{LD_PRELOAD##*/}}\" >> {log}");
    let options = ["--runs", "2", "--warmup", "1", "--setup", &setup];
    let (ran, _) = of_script(&scratch, &options, &script);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let expected = "setup none\nrun libdaxshim.so\n".repeat(2 + 6);
    assert_eq!(
        std::fs::read_to_string(scratch.path("log")).unwrap(),
        expected
    );
}

#[test]
fn a_setup_command_that_fails_ends_it() {
    let scratch = Scratch::tmpfs();
    let (ran, document) = of_script(&scratch, &["--setup", "exit 3"], "true");
    assert_eq!(ran.code, Some(125));
    ran.says("the setup command failed before run 1 (leg A): exit status 3");
    has_three_parts(&ran);
    assert_eq!(document["stopped"]["reason"], "setup-failed");
    assert_eq!(document["verdict"]["result"], "unknown");
}

#[test]
fn what_the_runs_leave_must_be_the_same() {
    let scratch = Scratch::tmpfs();
    let counter = scratch.path("counter");
    let counter = counter.display();
    let verify = format!("echo same; cat {counter}");
    let same = of_script(
        &scratch,
        &["--runs", "2", "--verify", &verify],
        &format!("echo 1 > {counter}"),
    );
    assert_eq!(same.0.code, Some(0), "{:?}", same.0);
    let (ran, document) = of_script(
        &scratch,
        &["--runs", "2", "--verify", &verify],
        &format!("[ $DAXSHIM_FLUSH = kernel ]; echo leg $? > {counter}"),
    );
    assert_eq!(ran.code, Some(125));
    ran.says("run 2 (leg B) left something else than run 1 (leg A)")
        .says("\n-leg 0\n+leg 1\n");
    has_three_parts(&ran);
    assert_eq!(document["stopped"]["reason"], "verify-failed");
}

#[test]
fn a_verify_command_that_fails_ends_it() {
    let scratch = Scratch::tmpfs();
    let (ran, document) = of_script(&scratch, &["--verify", "exit 4"], "true");
    assert_eq!(ran.code, Some(125));
    ran.says("the verify command failed after run 1 (leg A): exit status 4");
    assert_eq!(document["stopped"]["reason"], "verify-failed");
}

#[test]
fn output_is_shown_only_if_asked_for_and_input_is_empty() {
    let scratch = Scratch::tmpfs();
    // The table shows the command, not the word in one piece.
    let script = "cat; echo said; echo com''plained >&2";
    let (ran, _) = of_script(&scratch, &["--runs", "1"], script);
    assert_eq!(ran.stdout, "");
    assert!(!ran.stderr.contains("complained"), "{ran:?}");
    // No progress bar where there is no terminal.
    assert!(!ran.stderr.contains("run 1 of"), "{ran:?}");
    let (ran, _) = of_script(&scratch, &["--runs", "1", "--show-output"], script);
    assert_eq!(ran.stdout, "said\n".repeat(5));
    assert_eq!(ran.stderr.matches("complained").count(), 5);
}

#[test]
fn documents_that_cannot_be_written_are_found_before_the_first_run() {
    let scratch = Scratch::tmpfs();
    let marker = scratch.path("marker");
    let touch = |options: &[&str]| {
        let ran = ab([])
            .args(options)
            .args(["--", "touch"])
            .arg(&marker)
            .run();
        assert_eq!(ran.code, Some(125), "{options:?}");
        has_three_parts(&ran);
        assert!(!marker.exists());
    };
    for option in ["--json", "--markdown", "--html"] {
        for path in ["/no/such/directory/report", "/", "/proc/report"] {
            touch(&[option, path]);
        }
    }
    touch(&["--json", "-", "--html", "-"]);
    let here = scratch.path("report");
    let here = here.to_str().unwrap();
    touch(&["--json", here, "--markdown", here]);
}

#[test]
fn a_file_of_the_program_and_a_tagged_file_are_never_replaced() {
    let scratch = Scratch::tmpfs();
    let tagged = scratch.emulated("tagged");
    let named = scratch.file("named", b"content");
    for (file, arguments, why) in [
        (&tagged, vec!["true".into()], "it is tagged"),
        (
            &named,
            vec!["cat".into(), named.display().to_string()],
            "the command names",
        ),
        (
            &named,
            vec!["true".into(), format!("--file={}", named.display())],
            "the command names",
        ),
    ] {
        let before = std::fs::read(file).unwrap();
        let words = arguments.iter().map(String::as_str);
        let ran = ab(["--html"]).arg(file).arg("--").args(words).run();
        assert_eq!(ran.code, Some(125), "{ran:?}");
        ran.says("will not be replaced").says(why);
        has_three_parts(&ran);
        assert_eq!(std::fs::read(file).unwrap(), before);
    }
}

#[test]
fn a_document_that_cannot_be_written_in_the_end_is_125() {
    let ran = ab(["--runs", "1", "--html", "/dev/full", "--", "true"]).run();
    assert_eq!(ran.code, Some(125));
    ran.says("No space left").says("daxshim ab");
}

#[test]
fn fail_if_slower_is_1_where_b_surely_is() {
    let scratch = Scratch::tmpfs();
    // Whatever the machine does, a sleep is not shorter than it is.
    let script = "[ $DAXSHIM_FLUSH = kernel ] || sleep 3";
    let options = ["--runs", "2", "--warmup", "0", "--flush", "user"];
    let (ran, document) = of_script(
        &scratch,
        &[&options[..], &["--fail-if-slower", "5"]].concat(),
        script,
    );
    assert_eq!(ran.code, Some(1), "{ran:?}");
    ran.says("Failed: all of the interval is above 1.05");
    assert_eq!(document["verdict"]["failed"], true);
    let faster = "[ $DAXSHIM_FLUSH = user ] || sleep 1";
    let (ran, _) = of_script(
        &scratch,
        &[&options[..], &["--fail-if-slower", "5"]].concat(),
        faster,
    );
    // Of a comparison in which nothing was accelerated, that is no success.
    assert_eq!(ran.code, Some(125), "{ran:?}");
    ran.says("Nothing was accelerated");
    let file = scratch.emulated("data");
    let ran = ab(["--runs", "2", "--warmup", "0", "--flush", "user"])
        .args(["--fail-if-slower", "100000", "--", actor()])
        .arg(&file)
        .arg("msync")
        .succeeds();
    ran.says("daxshim ab");
}

#[test]
fn calls_that_were_refused_are_a_warning() {
    let scratch = Scratch::tmpfs();
    let file = scratch.emulated("data");
    ab(["--runs", "1", "--", actor()])
        .arg(&file)
        .args(["msync", "write"])
        .succeeds()
        .says("leg A: 1 call refused (write)")
        .says("leg B: 1 call refused (write)");
}

/// A comparison whose third run never ends by itself.
struct Endless {
    scratch: Scratch,
    comparison: std::process::Child,
}

impl Endless {
    fn new(prelude: &str) -> Endless {
        let scratch = Scratch::tmpfs();
        let (counter, sleeper) = (scratch.path("counter"), scratch.path("sleeper"));
        let script = format!(
            "{prelude} echo >> {0}; [ $(wc -l < {0}) -lt 3 ] || {{ sleep 1000 & \
             echo $! > {1}.new; mv {1}.new {1}; while :; do wait; done; }}",
            counter.display(),
            sleeper.display()
        );
        let _quiet = quiet();
        let mut command = Command::new(env!("CARGO_BIN_EXE_daxshim"));
        // Whoever runs the tests in the background may have them ignore it.
        // SAFETY: signal(2) may be called between fork and exec, and no handler is set.
        unsafe {
            command.pre_exec(|| {
                signal(Signal::SIGINT, SigHandler::SigDfl)?;
                Ok(())
            });
        }
        let comparison = command
            .args(["ab", "--warmup", "0", "--json"])
            .arg(scratch.path("ab.json"))
            .args(["--", "sh", "-c", &script])
            .env("DAXSHIM_LIBRARY", library())
            .env_remove("LD_PRELOAD")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Endless {
            scratch,
            comparison,
        }
    }

    /// Interrupts it in its third run.
    fn interrupted_by(self, signal: Signal) -> (Ran, Value) {
        let sleeper = self.scratch.path("sleeper");
        wait_until(|| sleeper.exists());
        let pid = i32::try_from(self.comparison.id()).unwrap();
        kill(Pid::from_raw(pid), signal).unwrap();
        let ran = Ran::of(self.comparison.wait_with_output().unwrap());
        let sleeper = std::fs::read_to_string(&sleeper).unwrap();
        let state = format!("/proc/{}/stat", sleeper.trim());
        // Gone, or waiting to be reaped by whoever reaps orphans here.
        wait_until(|| match std::fs::read_to_string(&state) {
            Ok(stat) => stat.contains(") Z "),
            Err(_) => true,
        });
        (ran, document(&self.scratch.path("ab.json")))
    }
}

#[test]
fn an_interruption_ends_every_process_of_the_run_and_what_was_measured_is_written() {
    for (signal, status) in [(Signal::SIGINT, 130), (Signal::SIGTERM, 143)] {
        let (ran, document) = Endless::new("").interrupted_by(signal);
        assert_eq!(ran.code, Some(status), "{ran:?}");
        ran.says("interrupted by SIG").says("in run 3");
        has_three_parts(&ran);
        assert_eq!(document["stopped"]["reason"], "interrupted");
        assert_eq!(document["runs"].as_array().unwrap().len(), 2);
    }
}

#[test]
fn a_program_that_does_not_want_to_end_is_killed() {
    let (ran, _) = Endless::new("trap '' TERM INT;").interrupted_by(Signal::SIGINT);
    assert_eq!(ran.code, Some(130), "{ran:?}");
}

/// What chromium makes of a page.
struct Browser {
    scratch: Scratch,
}

impl Browser {
    fn new() -> Browser {
        Browser {
            scratch: Scratch::ordinary(),
        }
    }

    /// Standard output of chromium; whatever the page logs is a failure.
    fn open(&self, page: &Path, options: &[&str]) -> String {
        let profile = self.scratch.path("profile");
        let _ = std::fs::remove_dir_all(&profile);
        let child = {
            let _quiet = quiet();
            Command::new("chromium")
                .args(
                    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run"
                        .split(' '),
                )
                .args("--disable-background-networking --disable-component-update".split(' '))
                .args("--disable-sync --hide-scrollbars --enable-logging=stderr".split(' '))
                .args([
                    "--window-size=1000,2000",
                    "--blink-settings=preferredColorScheme=1",
                ])
                .arg(format!("--user-data-dir={}", profile.display()))
                .args(options)
                .arg(format!("file://{}", page.display()))
                .env_remove("LD_PRELOAD")
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .expect("chromium: scripts/deps test installs it")
        };
        let output = child.wait_with_output().unwrap();
        let log = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{log}");
        assert!(!log.contains("CONSOLE"), "{log}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// The colours of a screenshot, and of how many pixels.
    fn colours(&self, page: &Path, options: &[&str]) -> std::collections::HashMap<[u8; 3], usize> {
        let picture = self.scratch.path("page.png");
        let screenshot = format!("--screenshot={}", picture.display());
        self.open(page, &[&[screenshot.as_str()], options].concat());
        let file = std::io::BufReader::new(std::fs::File::open(&picture).unwrap());
        let mut reader = png::Decoder::new(file).read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut pixels).unwrap();
        let mut colours = std::collections::HashMap::new();
        for pixel in pixels.chunks(info.color_type.samples()) {
            *colours.entry([pixel[0], pixel[1], pixel[2]]).or_default() += 1;
        }
        colours
    }
}

#[test]
fn the_page_shows_its_plots_in_a_browser_in_light_and_dark() {
    let scratch = Scratch::tmpfs();
    let file = scratch.emulated("data");
    let page = scratch.path("ab.html");
    ab(["--flush", "user", "--runs", "3", "--html"])
        .arg(&page)
        .args(["--", actor()])
        .arg(&file)
        .args(SYNCS)
        // Nothing of a command may become markup or a request.
        .args([
            "fsync",
            "exit",
            "0",
            "<script>console.error(1)</script><img src=//x>",
        ])
        .succeeds();
    let source = std::fs::read_to_string(&page).unwrap();
    for foreign in ["<script", "<img", "http:", "https:", "src=//"] {
        let found = source.replace("src=//x&gt;", "").contains(foreign);
        assert!(!found, "{foreign}: {source}");
    }
    let browser = Browser::new();
    let dom = browser.open(&page, &["--dump-dom"]);
    for (element, count) in [
        ("<svg ", 3),
        ("<desc ", 3),
        // Three pairs and the legend.
        ("class=\"b-point\"", 4),
        ("class=\"control-point\"", 4),
        ("class=\"a-area\"", 2),
        ("class=\"b-area\"", 2),
        ("class=\"a-median\"", 2),
    ] {
        assert_eq!(dom.matches(element).count(), count, "{element}: {dom}");
    }
    for text in [
        "&lt;script&gt;console.error(1)",
        "A: kernel sync</tspan>",
        "B: user flush (user)</tspan>",
        "15 calls, median",
        "pair of runs",
        "share of calls",
        "Latencies of fsync",
    ] {
        assert!(dom.contains(text), "{text}: {dom}");
    }
    for (options, ground, a, b) in [
        (
            &[][..],
            [0xfd, 0xfd, 0xfb],
            [0xb3, 0x47, 0x0b],
            [0x0b, 0x5c, 0xad],
        ),
        (
            &["--blink-settings=preferredColorScheme=0"],
            [0x16, 0x18, 0x1a],
            [0xf0, 0xa0, 0x66],
            [0x7f, 0xbc, 0xf5],
        ),
    ] {
        let colours = browser.colours(&page, options);
        let pixels = |colour| colours.get(&colour).copied().unwrap_or(0);
        let all: usize = colours.values().sum();
        assert!(pixels(ground) > all / 2, "{colours:?}");
        assert!(pixels(a) > 50, "{}", pixels(a));
        assert!(pixels(b) > 200, "{}", pixels(b));
    }
}

#[test]
fn a_page_without_a_single_run_is_a_page() {
    let scratch = Scratch::tmpfs();
    let page = scratch.path("ab.html");
    let ran = ab(["--html"]).arg(&page).args(["--", "false"]).run();
    assert_eq!(ran.code, Some(1));
    let dom = Browser::new().open(&page, &["--dump-dom"]);
    assert!(dom.contains("It ended early"), "{dom}");
    assert!(dom.contains("there is nothing to compare"), "{dom}");
}
