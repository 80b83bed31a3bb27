//! Environments that are hard on a library, each with a demonstration of the library and with programs that nobody here
//! wrote: the same output and the same end as without the library in the same environment, but for what a tagged
//! file refuses.
//!
//! The environments are `programs/environments/adversity.c`'s, which are there before the program starts, and
//! `programs/environments/demonstration.c`'s own.

use daxshim_tests::{Failed, Outcome, Run, Scene, Shim, Tag, fail, library, program};
use libtest_mimic::{Arguments, Trial};
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

/// Where the program is put. What is to be filled in is found out natively.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Environment {
    /// As it is.
    Named(&'static str),
    /// Under a filter that lets pass only the system calls that the program makes natively.
    Filtered(&'static str),
    /// With the lowest of these limits under which the program works natively.
    Limited(&'static str, &'static [u64]),
}

use Environment::{Filtered, Limited, Named};

const MIB: u64 = 1 << 20;

const ENVIRONMENTS: &[(&str, Environment)] = &[
    ("seccomp, kill", Filtered("kill")),
    ("seccomp, trap", Filtered("trap")),
    ("seccomp, errno", Filtered("errno")),
    ("no proc", Named("no /proc")),
    ("no sys", Named("no /sys")),
    ("chroot", Named("chroot")),
    ("user namespace", Named("user namespace")),
    ("MDWE", Named("MDWE")),
    ("MemoryDenyWriteExecute", Named("MemoryDenyWriteExecute")),
    (
        "few descriptors",
        Limited("descriptors", &[4, 5, 6, 7, 8, 10, 12, 16, 32, 64]),
    ),
    (
        "little address space",
        Limited(
            "address space",
            &[
                16 * MIB,
                32 * MIB,
                64 * MIB,
                128 * MIB,
                256 * MIB,
                512 * MIB,
                1024 * MIB,
            ],
        ),
    ),
];

/// Run in a scene, as they are. `python3` without the user's own packages.
const PROGRAMS: &[(&str, &[&str])] = &[
    ("demonstration", &["demonstration"]),
    ("cp", &["cp", "file", "copy"]),
    (
        "dd",
        &["dd", "if=plain", "of=file", "conv=notrunc", "status=none"],
    ),
    ("sort", &["sort", "-r", "file", "plain"]),
    (
        "python3",
        &[
            "python3",
            "-ISc",
            "import mmap; f = open('file', 'r+b', 0); m = mmap.mmap(f.fileno(), 0)\n\
             m[:4] = b'here'; m.flush(); print(m[:4], f.read(4), f.seek(0))\n\
             try: print('written', f.write(b'here'))\n\
             except PermissionError: print('refused')",
        ],
    ),
    (
        "sqlite3",
        &[
            "sqlite3",
            "database",
            "create table t(x); insert into t values(1),(2); select sum(x) from t;",
        ],
    ),
];

/// What the demonstration does to itself.
const OWN: &[&str] = &[
    "descriptors",
    "address space",
    "TSC off",
    "strict",
    "little stack",
    "left flushes",
];

fn main() {
    let mut trials = Vec::new();
    for &(name, environment) in ENVIRONMENTS {
        for &(program, words) in PROGRAMS {
            for tag in [Tag::None, Tag::Valid] {
                let how = if tag == Tag::None {
                    "untagged"
                } else {
                    "tagged"
                };
                trials.push(Trial::test(format!("{name}/{program}/{how}"), move || {
                    same(environment, words, tag)
                }));
            }
        }
    }
    for &what in OWN {
        for tag in [Tag::None, Tag::Valid] {
            let how = if tag == Tag::None {
                "untagged"
            } else {
                "tagged"
            };
            trials.push(Trial::test(format!("itself: {what}/{how}"), move || {
                same(Named("none"), &["demonstration", what], tag)
            }));
        }
    }
    for how in ["deepbind", "dlmopen", "32 bits"] {
        for tag in [Tag::None, Tag::Valid] {
            let tagged = if tag == Tag::None {
                "untagged"
            } else {
                "tagged"
            };
            trials.push(Trial::test(format!("{how}/{tagged}"), move || {
                otherwise(how, tag)
            }));
        }
    }
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}

/// A static program of 32 bits that executes its arguments.
const EXECUTES: &str = ".globl _start
_start: mov (%esp), %ecx
lea 8(%esp,%ecx,4), %edx
mov 8(%esp), %ebx
lea 8(%esp), %ecx
mov $11, %eax
int $0x80
mov $126, %ebx
mov $1, %eax
int $0x80
";

/// The demonstration as a library in another scope; and executed by a program of another word size, which the
/// shimmed one executes.
fn otherwise(how: &str, tag: Tag) -> Outcome {
    let built = tempfile::tempdir()?;
    let target = built.path().join("built");
    let mut compiler = Command::new("cc");
    compiler.arg("-o").arg(&target);
    if how == "32 bits" {
        let source = built.path().join("executes.s");
        std::fs::write(&source, EXECUTES)?;
        compiler.args(["-m32", "-nostdlib", "-static"]).arg(source);
    } else {
        let programs = Path::new(env!("CARGO_MANIFEST_DIR")).join("programs");
        compiler.args(["-shared", "-fPIC", "-D_GNU_SOURCE", "-pthread", "-I"]);
        compiler.arg(programs.join("lib"));
        compiler.arg(programs.join("environments/demonstration.c"));
    }
    let compiled = Run::of(&mut compiler)?;
    if !compiled.status.success() {
        fail!("cc: {}", compiled.output);
    }
    let target = target.display().to_string();
    let demonstration = program("environments/demonstration").display().to_string();
    let loads = program("environments/loads").display().to_string();
    if how == "32 bits" {
        same(Named("none"), &["env", &target, &demonstration], tag)
    } else {
        same(Named("none"), &[&loads, how, &target], tag)
    }
}

/// The words as the environment's program takes them: ours by its path.
fn command_line(words: &[&str]) -> Vec<String> {
    let mut line: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
    if let Some(first) = line.first_mut()
        && first == "demonstration"
    {
        *first = program("environments/demonstration").display().to_string();
    }
    line
}

/// Runs the words in the environment, with the library or without, in a scene of its own.
fn run(environment: &str, shimmed: bool, words: &[&str], tag: Tag) -> Result<Run, Failed> {
    let scene = Scene::new(tag)?;
    let shim = if shimmed { Shim::new() } else { Shim::none() };
    // The library is for what is executed there.
    let mut command = Shim::none().command(program("environments/adversity"));
    let preloaded = |name: &std::ffi::OsStr| name == "LD_PRELOAD";
    for (name, value) in shim.variables() {
        if !preloaded(&name) {
            command.env(name, value);
        }
    }
    // As docs/environment.md asks for: a filter that answers an errno; no /proc to tell that there is none.
    match environment {
        "MemoryDenyWriteExecute" => drop(command.env("DAXSHIM_SECCOMP", "1")),
        "no /proc" => drop(command.env("DAXSHIM_SECCOMP", "0")),
        _ => {}
    }
    let library = shimmed.then(library).unwrap_or_default();
    command
        .arg(environment)
        .arg(library)
        .args(command_line(words));
    // Neither the time nor a terminal nor a locale should tell runs apart.
    command
        .env("LC_ALL", "C")
        .stdin(std::process::Stdio::null());
    let run = Run::of(command.current_dir(scene.dir()))?;
    if run.status.code() == Some(125) {
        fail!("{environment}: {}", run.output);
    }
    Ok(run)
}

/// The same as natively, but that a tagged file refuses.
fn same(environment: Environment, words: &[&str], tag: Tag) -> Outcome {
    let argument = match environment {
        Named(name) => name.to_owned(),
        Filtered(action) => format!("{action}:{}", native_calls(words)?),
        Limited(what, limits) => format!("{what}:{}", lowest(what, limits, words)?),
    };
    let native = run(&argument, false, words, Tag::None)?;
    if !native.status.success() {
        fail!(
            "natively it ends with {}:\n{}",
            native.status,
            native.output
        );
    }
    let run = run(&argument, true, words, tag)?;
    if tag == Tag::None {
        return run.expect(&native.output, &native);
    }
    // What must be refused is refused, unless a filter keeps the library from asking for the tag.
    let refused = |text: &str| -> String {
        text.replace("write works", "write refused")
            .replace("written 4", "refused")
    };
    let is_dd = words[0] == "dd";
    let strict = words.last() == Some(&"strict");
    if matches!(environment, Filtered(_)) && run.output == native.output {
        return run.expect(&native.output, &native);
    }
    if is_dd {
        if run.status.code() != Some(1) || !run.output.contains("Operation not permitted") {
            fail!("dd was not refused, {}:\n{}", run.status, run.output);
        }
        return Ok(());
    }
    let expected = if strict {
        native.output.clone()
    } else {
        refused(&native.output)
    };
    run.expect(&expected, &native)
}

/// The numbers of the system calls that the program makes without the library, with commas.
fn native_calls(words: &[&str]) -> Result<String, Failed> {
    let scene = Scene::new(Tag::None)?;
    let log = scene.dir().with_file_name("strace");
    let mut command = Shim::none().command("strace");
    command
        .args(["-f", "-n", "-qq", "-e", "signal=none", "-o"])
        .arg(&log);
    command.args(command_line(words));
    command
        .env("LC_ALL", "C")
        .stdin(std::process::Stdio::null());
    let run = Run::of(command.current_dir(scene.dir()))?;
    if !run.status.success() {
        fail!("under strace it ends with {}:\n{}", run.status, run.output);
    }
    let text = std::fs::read_to_string(&log)?;
    // "1234  [  59] execve(...": the number of the call in brackets.
    let number = |line: &str| -> Option<u32> {
        let (_, rest) = line.split_once('[')?;
        rest.split_once(']')?.0.trim().parse().ok()
    };
    let mut numbers: BTreeSet<u32> = text.lines().filter_map(number).collect();
    if numbers.len() < 5 {
        fail!("strace shows no system calls:\n{text}");
    }
    // What ends a process and a handler, and what strace shows of neither.
    for always in [libc::SYS_exit_group, libc::SYS_exit, libc::SYS_rt_sigreturn] {
        numbers.insert(u32::try_from(always)?);
    }
    let words: Vec<String> = numbers.iter().map(u32::to_string).collect();
    Ok(words.join(","))
}

/// The lowest of the limits under which the program works without the library. The library needs some room, too: a
/// mebibyte and a half of address space, and what its tables take.
fn lowest(what: &str, limits: &[u64], words: &[&str]) -> Result<u64, Failed> {
    for &limit in limits {
        let native = run(&format!("{what}:{limit}"), false, words, Tag::None)?;
        if native.status.success() {
            return Ok(if what == "address space" {
                limit + 16 * MIB
            } else {
                limit
            });
        }
    }
    fail!("natively it works under none of these limits");
}
