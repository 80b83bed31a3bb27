//! What only system calls tell: which sync follows a change that was let through, what a munmap costs after
//! flushes that were left for good, and what becomes of a range while a file is mapped over it.

use daxshim_tests::trace::{Event, trace_at_most};
use daxshim_tests::{Failed, Outcome, Run, Scene, Shim, Tag, fail, program, scene};
use libtest_mimic::{Arguments, Trial};

/// Changes of `sync_after_change.c` after which fdatasync and msync owe something too: size and blocks.
const OF_DATA: &[&str] = &[
    "punch",
    "zero",
    "extend",
    "MADV_REMOVE",
    "shrink",
    "grow",
    "grow by path",
    "append",
    "overwrite",
];

/// Those after which fsync alone does.
const OF_METADATA: &[&str] = &[
    "chmod",
    "chmod by path",
    "chown",
    "times",
    "times by path",
    "setxattr",
    "removexattr",
    "link",
    "unlink",
    "rename",
];

/// Who makes the change; or who syncs after it.
const WHO: &[&str] = &["here", "child", "thread", "executed", "spawned"];

/// How many places of flushing are left, and by whom.
const LEFT: &[(u32, &str)] = &[
    (1, "thread that stays"),
    (200, "thread that stays"),
    (1, "thread that ends"),
    (200, "thread that ends"),
    (1, "thread that unmaps"),
    (200, "thread that unmaps"),
];

/// Exit status of `sync_after_change.c`.
const NOT_SUPPORTED: i32 = 77;

/// More system calls and instructions than two munmaps can need: they wait for nobody.
const CALLS_AT_MOST: usize = 1000;
const STEPS_AT_MOST: usize = 200_000;

fn main() {
    let mut trials = Vec::new();
    let mut add = |name: String, test: Box<dyn Fn() -> Outcome + Send>| {
        trials.push(Trial::test(name, test));
    };
    for &change in OF_DATA {
        for sync in ["fsync", "fdatasync", "msync"] {
            for who in WHO {
                add(
                    format!("audit/{change}, {sync} ({who})"),
                    Box::new(move || after_change(change, sync, who)),
                );
            }
        }
    }
    for &change in OF_METADATA {
        for who in WHO {
            add(
                format!("audit/{change}, fsync ({who})"),
                Box::new(move || after_change(change, "fsync", who)),
            );
        }
    }
    for &(count, who) in LEFT {
        add(
            format!("munmap/{count} left, {who}"),
            Box::new(move || unmaps(count, who)),
        );
    }
    for (how, tag) in [
        ("MAP_SYNC not granted", Tag::WithoutDax),
        ("tagged", Tag::Valid),
        ("untagged", Tag::None),
    ] {
        if tag == Tag::WithoutDax && scene::real() {
            continue;
        }
        add(
            format!("MAP_FIXED/{how}"),
            Box::new(move || never_nobodys(tag)),
        );
    }
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}

/// The lines that strace prints of these calls, of all processes and threads, from when the program has written
/// `marker`; `None` where the filesystem cannot do what the program is to do.
fn strace(
    shim: &Shim,
    scene: &Scene,
    calls: &str,
    marker: &str,
    words: &[&str],
) -> Result<Option<Vec<String>>, Failed> {
    let log = scene.dir().with_file_name("strace");
    let mut command = Shim::none().command("strace");
    command.args(["-f", "-qq", "-e", "signal=none", "-o"]);
    command
        .arg(&log)
        .args(["-e", &format!("trace={calls},write")]);
    // The library is for what is traced, not for strace.
    for (name, value) in shim.variables() {
        let mut assignment = name;
        assignment.push("=");
        assignment.push(value);
        command.arg("-E").arg(assignment);
    }
    command.arg(program(words[0])).args(&words[1..]);
    let run = Run::of(command.current_dir(scene.dir()))?;
    if run.status.code() == Some(NOT_SUPPORTED) {
        return Ok(None);
    }
    if !run.status.success() {
        fail!("{words:?} ends with {}:\n{}", run.status, run.output);
    }
    let text = std::fs::read_to_string(&log)?;
    let marked = text.lines().position(|line| line.contains(marker));
    let Some(marked) = marked else {
        fail!("nobody wrote {marker:?}:\n{text}");
    };
    // Each line begins with the number of the thread.
    let call = |line: &str| line.split_once(' ').map(|(_, call)| call.trim().to_owned());
    Ok(Some(text.lines().skip(marked).filter_map(call).collect()))
}

/// After a change that audit let through the sync is the kernel's, as it is without the library.
fn after_change(change: &str, sync: &str, who: &str) -> Outcome {
    const SYNCS: &str = "fsync,fdatasync,msync,sync_file_range,syncfs,sync";
    let words = ["sync/sync_after_change", change, sync, who];
    let scene = Scene::new(Tag::None)?;
    let Some(native) = strace(&Shim::none(), &scene, SYNCS, "changed", &words)? else {
        return Ok(());
    };
    let shim = Shim::new().with("DAXSHIM_MODE", "audit");
    let Some(made) = strace(&shim, &Scene::new(Tag::Valid)?, SYNCS, "changed", &words)? else {
        fail!("the change was refused");
    };
    // The name and the result: addresses differ.
    let summary = |calls: &[String]| -> Vec<String> {
        let brief = |call: &String| {
            let name = call.split('(').next().unwrap_or_default();
            format!("{name} = {}", call.rsplit(" = ").next().unwrap_or_default())
        };
        calls
            .iter()
            .map(brief)
            .filter(|call| !call.starts_with("write "))
            .collect()
    };
    let (native, made) = (summary(&native), summary(&made));
    if native.is_empty() {
        fail!("the program synced nothing");
    }
    if native != made {
        fail!("natively {native:?}, with the library {made:?}");
    }
    Ok(())
}

/// munmap waits for nobody who has left his flush for good.
fn unmaps(count: u32, who: &str) -> Outcome {
    let scene = Scene::new(Tag::Valid)?;
    let shim = Shim::new().with("DAXSHIM_FLUSH", "user");
    let mut command = shim.command(program("sync/longjmp_out_of_flush"));
    command
        .arg("munmap")
        .arg(scene.dir())
        .arg(count.to_string())
        .arg(who);
    let trace = trace_at_most(command.current_dir(scene.dir()), STEPS_AT_MOST)?;
    let [_, left, _] = trace.announced;
    // More than there are places for are the kernel's.
    if !(1..=u64::from(count)).contains(&left) {
        fail!("{left} flushes of {count} were left by longjmp");
    }
    if trace.result != 0 {
        fail!("munmap: error {}", trace.result);
    }
    let calls: Vec<u64> = trace
        .events
        .iter()
        .filter_map(|event| match *event {
            Event::Call(number, ..) => Some(number),
            _ => None,
        })
        .collect();
    let unmapped = |&&number: &&u64| number == libc::SYS_munmap as u64;
    if calls.iter().filter(unmapped).count() != 2 {
        fail!("not two munmaps: {calls:?}");
    }
    if calls.len() > CALLS_AT_MOST {
        let yields = |&&number: &&u64| number == libc::SYS_sched_yield as u64;
        fail!(
            "two munmaps made {} system calls, {} of them sched_yield",
            calls.len(),
            calls.iter().filter(yields).count()
        );
    }
    Ok(())
}

/// A file mapped over a range: no call takes away what is there without putting something else in its place,
/// as an mmap with MAP_FIXED that fails does, or a munmap.
fn never_nobodys(tag: Tag) -> Outcome {
    let scene = Scene::new(tag)?;
    // As if all storage were persistent: the kernel is asked for MAP_SYNC, and does not grant it.
    let shim = Shim::new().with("PMEM_IS_PMEM_FORCE", "1");
    let words = ["sync/fixed_over_reserved"];
    let calls = strace(&shim, &scene, "mmap,munmap,mremap", "room", &words)?.unwrap_or_default();
    let address = |text: &str| {
        let digits = text.split("0x").nth(1)?;
        let end = digits.find(|c: char| !c.is_ascii_hexdigit())?;
        u64::from_str_radix(&digits[..end], 16).ok()
    };
    let Some(room) = calls.first().and_then(|call| address(call)) else {
        fail!("no room: {calls:?}");
    };
    let fixed = |call: &&String| call.contains("MAP_FIXED") || call.starts_with("mremap");
    if calls.iter().filter(fixed).count() < 6 {
        fail!("not six mappings put over others:\n{}", calls.join("\n"));
    }
    let leaves_a_hole = |call: &&String| {
        let within = address(call).is_some_and(|at| (room..room + 16 * 4096).contains(&at));
        let fixed = call.contains("MAP_FIXED,") || call.contains("MAP_FIXED|");
        within && (call.starts_with("munmap") || (fixed && call.contains(" = -1 ")))
    };
    if let Some(call) = calls.iter().find(leaves_a_hole) {
        fail!("nobody's from here on: {call}\nin\n{}", calls.join("\n"));
    }
    Ok(())
}
