//! What `include/daxshim.h` promises: each function with the shim and without it, on tagged,
//! untagged and broken files, and the example as C and as C++.

use daxshim_tests::trace::{Event, trace};
use daxshim_tests::{Failed, Outcome, Run, Scene, Shim, Tag, fail, program, scene};
use libtest_mimic::{Arguments, Trial};
use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::AsFd;

const PAGE: u64 = daxshim_core::units::PAGE as u64;

/// Ranges of `ask_mappings.c` that lie in mappings of the tagged file alone.
const WITHIN: [&str; 5] = [
    "whole",
    "a byte",
    "unaligned",
    "before the hole",
    "readable part",
];
/// The others: neither MAP_SYNC nor without need of msync, whatever the tag.
const OTHERS: [&str; 11] = [
    "empty",
    "empty NULL",
    "NULL",
    "too long",
    "last page",
    "over a hole",
    "partly anonymous",
    "private",
    "plain",
    "anonymous",
    "plain on a small stack",
];

/// A case of `trace_persist.c`: its name, the lines it writes back, the bytes that it hands to the
/// kernel's msync, both from the mapping's beginning, and the result.
type Case = (&'static str, &'static [u64], Option<(u64, u64)>, i32);

const CASES: &[Case] = &[
    ("line", &[4096 + 64], None, 0),
    ("two lines", &[4096 + 64, 4096 + 128], None, 0),
    ("two pages", &[8192 - 64, 8192, 8192 + 64], None, 0),
    (
        "hole",
        &[8192 - 64, 12288],
        Some((8192, 4096)),
        libc::ENOMEM,
    ),
    ("kernel first", &[4096, 4096 + 64], Some((0, 4096)), 0),
];

fn main() {
    let mut trials = Vec::new();
    let mut add = |name: &str, test: Box<dyn Fn() -> Outcome + Send>| {
        trials.push(Trial::test(name, test));
    };
    // What is asked of mappings of the file, and of those that the program made MAP_SYNC itself, of
    // an untagged file and of this one: is_sync, needs_msync.
    let real = u8::from(scene::real());
    let (not, sync, kept) = ((0, 1), (1, 0), (1, 1));
    for (how, shim, tag, answers) in [
        ("tagged", Shim::new(), Tag::Valid, [(real, 0), sync, sync]),
        ("untagged", Shim::new(), Tag::None, [not, sync, sync]),
        ("broken", Shim::new(), Tag::Broken, [not, sync, kept]),
        (
            "kernel",
            Shim::new().with("DAXSHIM_FLUSH", "kernel"),
            Tag::Valid,
            [(real, 1), kept, kept],
        ),
        (
            "off",
            Shim::new().with("DAXSHIM_MODE", "off"),
            Tag::Valid,
            [not, sync, sync],
        ),
        ("natively", Shim::none(), Tag::Valid, [not, not, not]),
    ] {
        add(
            &format!("mappings/{how}"),
            Box::new(move || mappings(&shim, tag, answers)),
        );
    }
    add(
        "pages/natively",
        Box::new(|| pages(&Shim::none(), Tag::None)),
    );
    add(
        "pages/untagged",
        Box::new(|| pages(&Shim::new(), Tag::None)),
    );
    add("pages/tagged", Box::new(|| pages(&Shim::new(), Tag::Valid)));
    for (how, tag, flush) in [
        ("untagged", Tag::None, "auto"),
        ("tagged", Tag::Valid, "auto"),
        ("broken", Tag::Broken, "auto"),
        ("kernel", Tag::Valid, "kernel"),
    ] {
        add(
            &format!("persist/{how}"),
            Box::new(move || persist(tag, flush)),
        );
    }
    for &case in CASES {
        add(
            &format!("persist/{}", case.0),
            Box::new(move || flushes(&Shim::new(), case)),
        );
    }
    for flush in ["kernel", "none"] {
        add(
            &format!("persist/DAXSHIM_FLUSH={flush}"),
            Box::new(move || policy(flush)),
        );
    }
    for name in ["ask", "ask_cpp"] {
        add(&format!("example/{name}"), Box::new(move || example(name)));
    }
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}

fn lines(run: &Run) -> BTreeMap<&str, &str> {
    run.output
        .lines()
        .filter_map(|line| line.split_once(": "))
        .collect()
}

/// Whether the kernel accesses a file by DAX: with `dax=inode`, tagged ones only.
fn is_dax(scene: &Scene, name: &str) -> Result<bool, Failed> {
    let file = std::fs::File::open(scene.path(name))?;
    Ok(daxshim_core::dax::is_active(file.as_fd())?)
}

fn mappings(shim: &Shim, tag: Tag, [within, plain, file]: [(u8, u8); 3]) -> Outcome {
    let scene = Scene::new(tag)?;
    let run = Run::program(shim, "ask/ask_mappings", "open", &scene)?;
    let answers = lines(&run);
    let mut expected: BTreeMap<&str, (u8, u8)> = BTreeMap::new();
    expected.extend(WITHIN.map(|label| (label, within)));
    expected.extend(OTHERS.map(|label| (label, (0, 1))));
    for (name, label, answer) in [
        ("plain", "plain with MAP_SYNC", plain),
        ("file", "file with MAP_SYNC", file),
    ] {
        if is_dax(&scene, name)? {
            expected.insert(label, answer);
        }
    }
    if !run.status.success() || answers.len() != expected.len() {
        fail!("{}:\n{}", run.status, run.output);
    }
    for (label, (sync, needs)) in expected {
        match answers.get(label) {
            Some(answer) if *answer == format!("{sync} {needs}") => {}
            other => fail!("{label}: {other:?} instead of {sync} {needs}"),
        }
    }
    Ok(())
}

fn pages(shim: &Shim, tag: Tag) -> Outcome {
    let scene = Scene::new(tag)?;
    let (dax, plain_dax) = (is_dax(&scene, "file")?, is_dax(&scene, "plain")?);
    let run = Run::program(shim, "ask/ask_pages", "open", &scene)?;
    if !run.status.success() {
        fail!("{}:\n{}", run.status, run.output);
    }
    // The page cache has all of the file; of DAX there is what is mapped.
    let sync = scene::real() && tag == Tag::Valid;
    let asked = shim_is_there(shim);
    let page = |is_mapped: bool, dax: bool, is_sync: bool| -> u8 {
        let bit = |bit: u8, is_set: bool| if is_set { 1 << bit } else { 0 };
        bit(0, is_mapped || !dax)
            | bit(1, asked && dax)
            | bit(2, asked && is_sync)
            | bit(3, asked && is_mapped)
    };
    let (touched, other) = (page(true, dax, sync), page(false, dax, sync));
    let expected = [
        (
            "whole",
            format!("0  {touched:02x} {other:02x} {touched:02x} {other:02x}"),
        ),
        ("behind", "ff".into()),
        ("part", format!("0  {other:02x} {touched:02x}")),
        ("a byte", format!("0  {touched:02x}")),
        ("empty", "0 ".into()),
        ("unaligned", "-1 EINVAL".into()),
        ("too long", "-1 ENOMEM".into()),
        ("not mapped", "-1 ENOMEM".into()),
        ("bad vector", "-1 EFAULT".into()),
        ("read-only vector", "-1 EFAULT".into()),
        (
            "removed",
            format!("0  {:02x}", page(true, plain_dax, false)),
        ),
        ("over a hole", "-1 ENOMEM".into()),
    ];
    let answers = lines(&run);
    for (label, wanted) in &expected {
        match answers.get(label) {
            Some(answer) if answer == wanted => {}
            other => fail!("{label}: {other:?} instead of {wanted:?}"),
        }
    }
    Ok(())
}

fn shim_is_there(shim: &Shim) -> bool {
    let command = shim.command("true");
    command
        .get_envs()
        .any(|(name, value)| name == "LD_PRELOAD" && value.is_some())
}

/// The same results as without the shim.
fn persist(tag: Tag, flush: &str) -> Outcome {
    let native = Run::natively("ask/ask_persist", "open")?;
    let scene = Scene::new(tag)?;
    let before = scene.snapshot("file")?;
    let shim = Shim::new().with("DAXSHIM_FLUSH", flush);
    let run = Run::program(&shim, "ask/ask_persist", "open", &scene)?;
    run.expect(&native.output, &native)?;
    before.same_but_for_stores(&scene.snapshot("file")?)
}

/// Exactly the range's lines are written back, a fence follows the last, and the kernel has the
/// rest.
fn flushes(shim: &Shim, (case, owed, kernel, result): Case) -> Outcome {
    let scene = Scene::new(Tag::Valid)?;
    let mut command = shim.command(program("ask/trace_persist"));
    command.arg("open").arg(scene.dir()).arg(case);
    let trace = trace(command.current_dir(scene.dir()))?;
    let start = trace.announced[0];
    if trace.result != u64::try_from(result)? {
        fail!("it ended with {} instead of {result}", trace.result);
    }
    let written: BTreeSet<u64> = trace.events.iter().filter_map(line).collect();
    if written != owed.iter().map(|line| start + line).collect() {
        let lines: Vec<u64> = written
            .iter()
            .map(|line| line.wrapping_sub(start))
            .collect();
        fail!("lines {lines:?} were written back instead of {owed:?}");
    }
    let place = |wanted: fn(&Event) -> bool| trace.events.iter().rposition(wanted);
    let last = place(|event| matches!(event, Event::WriteBack(..)));
    if last.is_some() && place(|event| *event == Event::Fence) < last {
        fail!("no fence after the last write-back");
    }
    let calls: Vec<Event> = trace
        .events
        .iter()
        .filter(|e| matches!(e, Event::Call(..)))
        .copied()
        .collect();
    let wanted =
        kernel.map(|(from, length)| Event::Call(libc::SYS_msync as u64, start + from, length));
    if calls != wanted.into_iter().collect::<Vec<_>>() {
        fail!("system calls {calls:x?} instead of {wanted:x?}");
    }
    Ok(())
}

fn line(event: &Event) -> Option<u64> {
    match *event {
        Event::WriteBack(_, line) => Some(line),
        _ => None,
    }
}

/// `kernel`: msync of the pages; `none`: nothing at all.
fn policy(flush: &str) -> Outcome {
    let shim = Shim::new().with("DAXSHIM_FLUSH", flush);
    // From the page's beginning to the range's end.
    let kernel = (flush == "kernel").then_some((PAGE, 70 + 3));
    flushes(&shim, ("line", &[], kernel, 0))
}

/// What the example says with the shim and without it.
fn example(name: &str) -> Outcome {
    let scene = Scene::new(Tag::Valid)?;
    let mut file = "file";
    if scene::real() {
        // Large enough for a page of 2 MiB.
        file = "large";
        std::fs::write(scene.path(file), vec![0; 4 << 20])?;
        scene.tag(file, Tag::Valid)?;
    }
    let run = |shim: &Shim| {
        Run::of(
            shim.command(program(&format!("examples/{name}")))
                .arg(scene.path(file)),
        )
    };
    let natively = run(&Shim::none())?;
    let (resident, safe) = (
        "first page: resident yes,",
        "MAP_SYNC: no\nneeds msync: yes\n",
    );
    if natively.output != format!("{safe}{resident} DAX no, MAP_SYNC no, size not told\n") {
        fail!("without the shim: {}", natively.output);
    }
    // SAFETY: takes and changes nothing. By it scripts/vm keeps mappings at 4 KiB.
    let has_small_pages_only = unsafe { libc::prctl(libc::PR_GET_THP_DISABLE, 0, 0, 0, 0) == 1 };
    let (yes, size) = match scene::real() {
        true if has_small_pages_only => ("yes", "4 KiB"),
        true => ("yes", "2 MiB"),
        false => ("no", "4 KiB"),
    };
    let expected = format!(
        "MAP_SYNC: {yes}\nneeds msync: no\n{resident} DAX {yes}, MAP_SYNC {yes}, size {size}\n"
    );
    let shimmed = run(&Shim::new())?;
    if shimmed.output != expected {
        fail!("with the shim: {}instead of {expected}", shimmed.output);
    }
    if !natively.status.success() || !shimmed.status.success() {
        fail!("{}, {}", natively.status, shimmed.status);
    }
    Ok(())
}
