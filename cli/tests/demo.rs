//! `daxshim demo`, with the real library beside the real command: `cargo build --release` first.

mod common;

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use common::bin_dir;
use rustix::process::{Pid, Signal, kill_process_group};

const NOBODY: u32 = 65534;

fn demo(directory: &Path) -> Command {
    let mut command = Command::new(bin_dir().join("daxshim"));
    command.arg("demo").arg("--directory").arg(directory);
    command
}

fn text(output: &Output) -> String {
    [&output.stdout, &output.stderr]
        .map(|text| String::from_utf8_lossy(text))
        .concat()
}

fn is_empty(directory: &Path) -> bool {
    fs::read_dir(directory).unwrap().next().is_none()
}

fn shows_it_all(output: &Output) {
    let text = text(output);
    assert!(output.status.success(), "{text}");
    for part in [
        "write(): accepted",
        "write(): Operation not permitted",
        "1,024 of 1,024 msync calls were user flushes",
        "error[DAX001]",
        "warning[DAX006]",
        // The line of the bug, as its source has it.
        "map.sync(0) // the balance lies in the second page",
        "is not there",
        "daxshim crash: the checker fails",
        "daxshim crash: the checker passes",
        "daxshim doctor",
    ] {
        assert!(text.contains(part), "{part} is missing in:\n{text}");
    }
}

#[test]
fn it_shows_all_and_leaves_nothing() {
    let directory = tempfile::tempdir_in("/dev/shm").unwrap();
    shows_it_all(&demo(directory.path()).output().unwrap());
    assert!(is_empty(directory.path()));
}

#[test]
fn an_ordinary_user_sees_the_same() {
    let directory = tempfile::tempdir_in("/dev/shm").unwrap();
    let mut command = demo(directory.path());
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(directory.path(), Some(NOBODY), Some(NOBODY)).unwrap();
        command.uid(NOBODY).gid(NOBODY);
    }
    shows_it_all(&command.output().unwrap());
    assert!(is_empty(directory.path()));
}

#[test]
fn settings_for_others_do_not_change_it() {
    let directory = tempfile::tempdir_in("/dev/shm").unwrap();
    let mut command = demo(directory.path());
    command
        .env("DAXSHIM_MODE", "off")
        .env("DAXSHIM_FLUSH", "kernel");
    shows_it_all(&command.output().unwrap());
}

#[test]
fn ended_by_a_signal_it_leaves_nothing() {
    for (signal, status) in [(Signal::INT, 130), (Signal::TERM, 143), (Signal::HUP, 129)] {
        let directory = tempfile::tempdir_in("/dev/shm").unwrap();
        let mut command = demo(directory.path());
        // As a terminal does it: the whole group gets it.
        let child = command
            .process_group(0)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let start = Instant::now();
        while is_empty(directory.path()) {
            assert!(start.elapsed() < Duration::from_secs(20));
            sleep(Duration::from_millis(1));
        }
        kill_process_group(Pid::from_child(&child), signal).unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(status), "{}", text(&output));
        assert!(is_empty(directory.path()));
    }
}

#[test]
fn where_there_is_no_place_for_it_it_says_so() {
    let output = demo(Path::new("/nowhere")).output().unwrap();
    assert_eq!(output.status.code(), Some(125));
    let text = text(&output);
    assert!(
        text.contains("cannot make a directory in /nowhere"),
        "{text}"
    );
    assert!(text.contains("--directory DIR"), "{text}");
}
