//! Which commit the command is built from.

use std::process::Command;

/// What git answers, without the newline; `None` in sources that are no repository of its.
fn git(arguments: &[&str]) -> Option<String> {
    let ran = Command::new("git").args(arguments).output().ok()?;
    let answer = String::from_utf8(ran.stdout).ok()?;
    ran.status.success().then(|| answer.trim().to_owned())
}

fn main() {
    let commit = git(&["rev-parse", "--short=12", "HEAD"]);
    let commit = commit.map_or("no commit known".into(), |commit| {
        format!("commit {commit}")
    });
    println!("cargo:rustc-env=DAXSHIM_COMMIT={commit}");
    println!("cargo:rerun-if-changed=build.rs");
    // Other libraries of this machine's glibc want more of it than the stubs of glibc/build.rs have.
    println!("cargo:rustc-link-arg=-Wl,--allow-shlib-undefined");
    // Written to whenever HEAD comes to another commit.
    if let Some(log) = git(&[
        "rev-parse",
        "--path-format=absolute",
        "--git-path",
        "logs/HEAD",
    ]) {
        println!("cargo:rerun-if-changed={log}");
    }
}
