//! Programs that are started under a system call filter: the library makes calls of its own only where
//! somebody has tried that they are harmless.

use daxshim_tests::{Outcome, Run, Scene, Shim, Tag, built, fail, program};
use libtest_mimic::{Arguments, Trial};

/// What writes to the tagged file, and by which the answer is seen.
const WRITE: &[&str] = &["sh", "-c", "printf WXYZ 1<>file && echo written >&2"];

/// The filter; `DAXSHIM_SECCOMP`; whether `daxshim run` starts the program; whether the write is refused.
const CASES: &[(&str, Option<&str>, bool, bool)] = &[
    ("allow", None, false, false),
    ("allow", Some("1"), false, true),
    ("allow", Some("2"), false, false),
    ("twice", Some("1"), false, false),
    ("twice", Some("2"), false, true),
    ("refuse", Some("1"), false, true),
    ("kill", None, false, false),
    ("trap", None, false, false),
    ("allow", None, true, true),
    ("twice", Some("1"), true, true),
    ("refuse", None, true, true),
    ("kill", None, true, false),
    ("kill", Some("1"), true, false),
    ("trap", None, true, false),
];

fn main() {
    let trials = CASES
        .iter()
        .map(|&(filter, tried, by_command, is_refused)| {
            let by = if by_command { ", daxshim run" } else { "" };
            let value = tried.map(|tried| format!(", DAXSHIM_SECCOMP={tried}"));
            let name = format!("{filter}{}{by}", value.unwrap_or_default());
            Trial::test(name, move || run(filter, tried, by_command, is_refused))
        });
    libtest_mimic::run(&Arguments::from_args(), trials.collect()).exit();
}

fn run(filter: &str, tried: Option<&str>, by_command: bool, is_refused: bool) -> Outcome {
    let scene = Scene::new(Tag::Valid)?;
    let mut shim = Shim::new();
    if let Some(tried) = tried {
        shim = shim.with("DAXSHIM_SECCOMP", tried);
    }
    let mut command = shim.command(program("environments/under_filter"));
    command.arg(filter);
    if by_command {
        command.arg(built("daxshim")).args(["run", "--"]);
    }
    let run = Run::of(command.args(WRITE).current_dir(scene.dir()))?;
    if run.output.contains("written") == is_refused || run.status.success() == is_refused {
        fail!("{}\n{}", run.status, run.output);
    }
    if by_command && run.output.contains("nothing will be enforced") == is_refused {
        fail!("what daxshim says of the filter is wrong:\n{}", run.output);
    }
    Ok(())
}
