//! What the environment of an executed program looks like, however it was cleaned.

use daxshim_tests::{Outcome, Run, Shim, built, fail, library};
use libtest_mimic::{Arguments, Trial};

/// `OURS` stands for the library. Name; `LD_PRELOAD` at start; what is executed; what its env(1)
/// says of `LD_PRELOAD` and ours, sorted.
const CASES: &[(&str, &str, &str, &[&str])] = &[
    (
        "env -i",
        "OURS",
        "env -i A=1 env",
        &["DAXSHIM_FLUSH=user", "LD_PRELOAD=OURS", "PMEM_NO_CLWB=1"],
    ),
    (
        "others are kept in their order",
        "OURS:libm.so.6 libdl.so.2",
        "env -i env",
        &["LD_PRELOAD=OURS:libm.so.6 libdl.so.2"],
    ),
    (
        "one of its own",
        "OURS",
        "env -i LD_PRELOAD=libm.so.6:libdl.so.2 env",
        &["LD_PRELOAD=OURS:libm.so.6:libdl.so.2"],
    ),
    (
        "one that is empty",
        "OURS",
        "env LD_PRELOAD= env",
        &["LD_PRELOAD=OURS"],
    ),
    (
        "first",
        "OURS",
        "env LD_PRELOAD=libm.so.6:OURS:libdl.so.2 env",
        &["LD_PRELOAD=OURS:libm.so.6:libdl.so.2"],
    ),
    (
        "once",
        "OURS",
        "env LD_PRELOAD=OURS:OURS:libm.so.6:OURS env",
        &["LD_PRELOAD=OURS:libm.so.6"],
    ),
    (
        "once from the start",
        "OURS:OURS:libm.so.6",
        "env",
        &["LD_PRELOAD=OURS:libm.so.6"],
    ),
    (
        "what was in front of it stays there",
        "libm.so.6:OURS",
        "env LD_PRELOAD=libm.so.6:OURS:libdl.so.2 env",
        &["LD_PRELOAD=libm.so.6:OURS:libdl.so.2"],
    ),
    (
        "what is right is left alone",
        "OURS",
        "env LD_PRELOAD=OURS:libm.so.6:libdl.so.2 env",
        &["LD_PRELOAD=OURS:libm.so.6:libdl.so.2"],
    ),
    (
        "what the program sets is respected",
        "OURS",
        "env -i DAXSHIM_FLUSH=kernel DAXSHIM_MODE=off PMEM_NO_CLWB=0 env",
        &[
            "DAXSHIM_FLUSH=kernel",
            "DAXSHIM_MODE=off",
            "LD_PRELOAD=OURS",
            "PMEM_NO_CLWB=0",
        ],
    ),
    (
        "a name that only begins so",
        "OURS",
        "env -i DAXSHIM_FLUSHED=1 env",
        &["DAXSHIM_FLUSH=user", "DAXSHIM_FLUSHED=1", "LD_PRELOAD=OURS"],
    ),
    (
        "through several",
        "OURS",
        "env -i sh -c 'exec env -i bash -c \"exec -c env\"'",
        &["LD_PRELOAD=OURS"],
    ),
    (
        "make",
        "OURS",
        "env -i /usr/bin/make -s -f - <<<$'all:\\n\\t@/usr/bin/env -i /usr/bin/env'",
        &["LD_PRELOAD=OURS"],
    ),
    (
        "python",
        "OURS",
        "python3 -c 'import subprocess; subprocess.run([\"/usr/bin/env\"], env={})'",
        &["LD_PRELOAD=OURS"],
    ),
    (
        "perl",
        "OURS",
        "perl -e '%ENV = (); exec {\"/usr/bin/env\"} \"env\"'",
        &["LD_PRELOAD=OURS"],
    ),
];

fn main() {
    let mut trials: Vec<_> = CASES
        .iter()
        .map(|&(name, preload, command, expected)| {
            Trial::test(name, move || environment(preload, command, expected))
        })
        .collect();
    trials.push(Trial::test("mode off does nothing", off));
    trials.push(Trial::test(
        "the library loaded by other means",
        other_means,
    ));
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}

fn ours(text: &str) -> String {
    text.replace("OURS", &library().to_string_lossy())
}

fn run(shim: &Shim, command: &str) -> Result<String, libtest_mimic::Failed> {
    let run = Run::of(shim.command("bash").args(["-c", &ours(command)]))?;
    if !run.status.success() {
        fail!("{command}: {}\n{}", run.status, run.output);
    }
    Ok(run.output)
}

fn environment(preload: &str, command: &str, expected: &[&str]) -> Outcome {
    let mut expected: Vec<String> = expected.iter().map(|line| ours(line)).collect();
    let name = |line: &str| line.split('=').next().unwrap_or(line).to_owned();
    for setting in ["DAXSHIM_FLUSH=user", "PMEM_NO_CLWB=1"] {
        if !expected.iter().any(|line| name(line) == name(setting)) {
            expected.push(setting.into());
        }
    }
    expected.sort();
    let shim = Shim::none()
        .with("LD_PRELOAD", ours(preload))
        .with("DAXSHIM_FLUSH", "user")
        .with("PMEM_NO_CLWB", "1");
    let output = run(&shim, command)?;
    let is_ours = |line: &&str| {
        ["DAXSHIM_", "PMEM_", "LD_PRELOAD="]
            .iter()
            .any(|begin| line.starts_with(begin))
    };
    let mut found: Vec<&str> = output.lines().filter(is_ours).collect();
    found.sort_unstable();
    if found != expected {
        fail!("{command}\n  expected {expected:?}\n  found    {found:?}");
    }
    Ok(())
}

fn off() -> Outcome {
    let shim = Shim::new().with("DAXSHIM_MODE", "off");
    let output = run(&shim, "env -i env")?;
    if !output.is_empty() {
        fail!("something was added: {output}");
    }
    Ok(())
}

/// Then its settings are handed on, and `LD_PRELOAD` is the program's.
fn other_means() -> Outcome {
    let command = format!(
        "python3 -c 'import ctypes, subprocess; ctypes.CDLL({:?}); \
         subprocess.run([\"/usr/bin/env\"], env={{\"LD_PRELOAD\": \"libm.so.6\"}})'",
        built("libdaxshim.so")
    );
    let shim = Shim::none().with("DAXSHIM_FLUSH", "user");
    let output = run(&shim, &command)?;
    if output.lines().any(|line| line.contains("libdaxshim")) {
        fail!("it was preloaded: {output}");
    }
    Ok(())
}
