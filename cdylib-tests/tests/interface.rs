//! The kernel interface as proposed: programs written to it, which no kernel serves. Their whole
//! output under the library is in `programs/behaviours/flags/NAME.whole.expected`.

use daxshim_tests::scene::{daxshim, real};
use daxshim_tests::{Outcome, Run, Scene, Shim, Tag, expectation, fail};
use libtest_mimic::{Arguments, Trial};

/// How a program ends where this kernel lacks its system call.
const LACKING: i32 = 77;

const PROGRAMS: &[&str] = &[
    "flag_by_file_setattr",
    "flag_cleared_only_by_right",
    "flag_leaves_no_trace",
    "flag_neither_inherited_nor_revived",
    "flag_on_tiny_stack",
    "flag_preconditions",
    "flag_sets_and_clears",
];

fn main() {
    let mut trials = Vec::new();
    for &name in PROGRAMS {
        for report in [false, true] {
            let how = if report { "/report" } else { "" };
            trials.push(Trial::test(format!("{name}{how}"), move || {
                run(name, report)
            }));
        }
    }
    for mode in ["audit", "off"] {
        let name = format!("a tagged file's flags change in mode {mode}");
        trials.push(Trial::test(name, move || in_mode(mode)));
    }
    trials.push(Trial::test("a command's tag is shown and cleared", shown));
    trials.push(Trial::test("the command knows and clears it", known));
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}

fn run(name: &str, report: bool) -> Outcome {
    let program = format!("behaviours/{name}");
    let Some(expected) = expectation(&program, "whole") else {
        fail!("{program}.whole.expected is missing");
    };
    let scene = Scene::new(Tag::None)?;
    let mut shim = Shim::new();
    if report {
        shim = shim.with("DAXSHIM_REPORT", scene.report()?);
    }
    let run = Run::program(&shim, &program, "ioctl", &scene)?;
    if run.status.code() == Some(LACKING) {
        return Ok(());
    }
    if run.output != expected || !run.status.success() {
        fail!("{}\n{}", run.status, difference(&expected, &run.output));
    }
    Ok(())
}

fn difference(expected: &str, got: &str) -> String {
    let pairs = expected.lines().zip(got.lines());
    pairs
        .filter(|(a, b)| a != b)
        .map(|(a, b)| format!("  expected  {a}\n  got       {b}\n"))
        .collect()
}

/// `flag_step` prints what it came to.
fn act(shim: &Shim, action: &str, scene: &Scene) -> Result<String, daxshim_tests::Failed> {
    let mut command = shim.command(daxshim_tests::program("behaviours/flag_step"));
    command.args(["ioctl".as_ref(), scene.dir().as_os_str(), action.as_ref()]);
    Ok(Run::of(command.current_dir(scene.dir()))?.output)
}

fn expect(got: &str, wanted: &str) -> Outcome {
    if got == wanted {
        Ok(())
    } else {
        fail!("expected {wanted:?}, got {got:?}")
    }
}

/// Audit answers as for an untagged file, flags off: the kernel must not get ours, and the tag
/// stays. Off touches nothing: the kernel refuses ours.
fn in_mode(mode: &str) -> Outcome {
    let scene = Scene::new(Tag::Valid)?;
    let shim = Shim::new().with("DAXSHIM_MODE", mode);
    let (shown, nodump) = match mode {
        "audit" => ("set\n", "0\n"),
        _ => ("not set\n", "0\n"),
    };
    expect(&act(&shim, "get", &scene)?, shown)?;
    expect(&act(&shim, "nodump", &scene)?, nodump)?;
    expect(&act(&Shim::new(), "get", &scene)?, "set\n")?;
    if mode == "off" {
        expect(
            &act(&shim, "set", &scene)?,
            &act(&Shim::none(), "set", &scene)?,
        )?;
    }
    Ok(())
}

fn shown() -> Outcome {
    let scene = Scene::new(Tag::Valid)?;
    let shim = Shim::new();
    expect(&act(&shim, "get", &scene)?, "set\n")?;
    expect(&act(&shim, "clear", &scene)?, "0\n")?;
    expect(&act(&shim, "get", &scene)?, "not set\n")?;
    // Nothing is left of it: NODEFRAG neither.
    expect(&act(&Shim::none(), "nodefrag", &scene)?, "not set\n")
}

fn known() -> Outcome {
    let scene = Scene::new(Tag::None)?;
    if real() {
        // A second name would keep the inode in the cache, and DAX from taking effect.
        std::fs::remove_file(scene.path("hardlink"))?;
        daxshim(&["prepare"], &scene.path("file"))?;
    }
    expect(&act(&Shim::new(), "set", &scene)?, "0\n")?;
    daxshim(&["verify"], &scene.path("file"))?;
    daxshim(&["untag"], &scene.path("file"))?;
    expect(&act(&Shim::new(), "get", &scene)?, "not set\n")
}
