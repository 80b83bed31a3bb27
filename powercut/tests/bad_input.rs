//! What is wrong with the rig is told as such, with exit status 125, and never taken for a result.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const HEAD: usize = 32;

/// A trace with nothing in it but its end, of a device of 8 KiB.
fn empty_trace() -> Vec<u8> {
    let mut trace = b"POWRCUT1".to_vec();
    for word in [8192u64, 0, 1] {
        trace.extend_from_slice(&word.to_le_bytes());
    }
    // An extent of a page, then the end.
    trace.extend_from_slice(&[9, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0]);
    trace.extend_from_slice(&[13, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    trace
}

struct Scene(PathBuf);

impl Scene {
    fn new(name: &str) -> Self {
        let directory =
            std::env::temp_dir().join(format!("powercut-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&directory).expect("a directory");
        Self(directory)
    }

    fn write(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, content).expect("a file");
        path
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn replay(trace: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_powercut"))
        .arg(trace)
        .args(arguments)
        .output()
        .expect("powercut runs")
}

fn refuses(output: &Output, says: &str) {
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(125), "{text}");
    assert!(text.contains(says), "{text}");
    assert!(!text.contains("panicked"), "{text}");
}

#[test]
fn traces_that_are_none() {
    let scene = Scene::new("traces");
    let log = ["--workload", "slots:1"];
    refuses(&replay(&scene.0.join("nowhere"), &log), "cannot read");
    refuses(&replay(&scene.write("empty", b""), &log), "not even a head");
    refuses(
        &replay(&scene.write("text", &[b'x'; 100]), &log),
        "does not begin as one",
    );
    let whole = empty_trace();
    for length in HEAD..whole.len() {
        let cut = scene.write("cut", &whole[..length]);
        refuses(&replay(&cut, &log), "cut short");
    }
    // It says nothing: that is no success.
    refuses(
        &replay(&scene.write("idle", &whole), &log),
        "no crash point",
    );
}

#[test]
fn records_that_make_no_sense() {
    let scene = Scene::new("records");
    for kind in 0..=255u8 {
        let mut trace = empty_trace();
        let end = trace.len() - 16;
        trace.splice(end..end, [kind, 255].into_iter().chain([255; 14]));
        let output = replay(&scene.write("record", &trace), &["--workload", "slots:1"]);
        assert_eq!(output.status.code(), Some(125), "kind {kind}: {output:?}");
        assert!(
            !String::from_utf8_lossy(&output.stderr).contains("panicked"),
            "kind {kind}: {output:?}"
        );
    }
}

#[test]
fn arguments_that_make_no_sense() {
    let scene = Scene::new("arguments");
    let trace = scene.write("trace", &empty_trace());
    refuses(&replay(&trace, &[]), "--workload");
    refuses(
        &replay(&trace, &["--workload", "chess"]),
        "no workload 'chess'",
    );
    refuses(&replay(&trace, &["--workload", "slots:0"]), "0 writers");
    refuses(&replay(&trace, &["--workload", "log"]), "a log has");
    refuses(
        &replay(&trace, &["--workload", "slots:1", "--replay", "7"]),
        "37:2",
    );
}

/// scripts/powercut with a QEMU that says this of itself.
fn rig(scene: &Scene, qemu: &str, arguments: &[&str]) -> Output {
    let fake = scene.write(
        "qemu-system-x86_64",
        format!("#!/bin/sh\n{qemu}\n").as_bytes(),
    );
    std::fs::set_permissions(&fake, std::fs::Permissions::from_mode(0o755)).expect("executable");
    let path = std::env::var("PATH").unwrap_or_default();
    Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/powercut"))
        .args(arguments)
        .env("PATH", format!("{}:{path}", scene.0.display()))
        .output()
        .expect("scripts/powercut runs")
}

#[test]
fn qemu_of_another_version_or_none_that_starts() {
    let scene = Scene::new("qemu");
    let quick = ["--quick", "--fs", "ext4"];
    refuses(
        &rig(&scene, "echo QEMU emulator version 8.2.0", &quick),
        "of another version",
    );
    refuses(
        &rig(&scene, "echo no such machine >&2; exit 1", &quick),
        "no such machine",
    );
}

#[test]
fn the_rigs_own_arguments() {
    let scene = Scene::new("rig");
    let qemu = "exit 1";
    assert_eq!(rig(&scene, qemu, &["--nonsense"]).status.code(), Some(2));
    assert_eq!(rig(&scene, qemu, &["--help"]).status.code(), Some(0));
    refuses(&rig(&scene, qemu, &["--only", "chess"]), "nothing to run");
    refuses(
        &rig(&scene, qemu, &["--replay", "/nowhere", "run", "1:1"]),
        "cannot replay",
    );
    let listed = rig(&scene, qemu, &["--list"]);
    let listed = String::from_utf8_lossy(&listed.stdout);
    assert!(
        listed.contains("log by pages [ext4 4k ×1, without]"),
        "{listed}"
    );
}
