//! What msync on a sync mapping does to the cache, instruction by instruction.
//!
//! Longer than other files: a test for each way that a sync takes.

use daxshim_core::host::report::Report;
use daxshim_core::report;
use daxshim_tests::trace::{Event, Trace, trace};
use daxshim_tests::{Failed, Outcome, Scene, Shim, Tag, fail, program, scene};
use iced_x86::Mnemonic;
use libtest_mimic::{Arguments, Trial};
use std::collections::BTreeSet;

const PAGE: u64 = daxshim_core::units::PAGE as u64;
const MSYNC: u64 = libc::SYS_msync as u64;
/// The low half of FS_IOC_GETVERSION.
const GETVERSION: u64 = 0x7601;
const RANGE: u64 = libc::SYS_sync_file_range as u64;

/// Pages of the mapping that a case flushes from user space, counted from the address it syncs.
type Pages<'a> = &'a [u64];

/// The case of `trace_msync.c`, the pages it flushes, those it leaves to the kernel's msync, and the
/// result.
const CASES: &[(&str, Pages<'static>, Pages<'static>, i32)] = &[
    ("page", &[0], &[], 0),
    ("byte", &[0], &[], 0),
    ("pages", &[0, 1, 2], &[], 0),
    ("whole", &[0, 1, 2, 3], &[], 0),
    ("adjacent", &[0, 1, 2, 3], &[], 0),
    ("read only", &[0, 1, 2, 3], &[], 0),
    ("write only", &[0, 1, 2, 3], &[], 0),
    ("mapped write only", &[0, 1, 2, 3], &[], 0),
    // Nothing is there to flush, unless somebody outside has let the file grow.
    ("tail", &[0, 1], &[2, 3, 4, 5, 6, 7], 0),
    // Only the kernel knows that nothing is mapped there.
    ("hole", &[0, 2, 3], &[1], libc::ENOMEM),
    // Stores to the page may be dirty, and cannot be flushed from here.
    ("prot none", &[0, 2, 3], &[1], 0),
    ("reserved", &[0, 2, 3], &[1], 0),
    ("remapped", &[0, 2, 3], &[1], 0),
];

fn main() {
    let mut trials = Vec::new();
    let mut add =
        |name: String, test: Box<dyn Fn() -> Outcome + Send>| trials.push(Trial::test(name, test));
    let user = || Shim::new().with("DAXSHIM_FLUSH", "user");
    for &(case, pages, kernel, result) in CASES {
        add(
            format!("user/{case}"),
            Box::new(move || flushes(&run(&user(), case)?, pages, kernel, result, best())),
        );
    }
    add(
        "auto/again, hole".into(),
        Box::new(|| {
            let trace = run(&Shim::new(), "again, hole")?;
            if !lines(&trace).is_empty() || trace.result != libc::ENOMEM as u64 {
                fail!("what is not mapped was flushed: {:x?}", trace.events);
            }
            Ok(())
        }),
    );
    for case in ["page", "byte", "again"] {
        // The library's own choice for a page is the flush: it is cheaper than a system call by far.
        add(
            format!("auto/{case}"),
            Box::new(move || flushes(&run(&Shim::new(), case)?, &[0], &[], 0, best())),
        );
    }
    add(
        "user/large".into(),
        Box::new(move || {
            let every_page: Vec<u64> = (0..256).collect();
            flushes(&run(&user(), "large")?, &every_page, &[], 0, best())
        }),
    );
    for case in ["large, pieces", "large, pieces apart"] {
        add(format!("auto/{case}"), Box::new(move || in_one(case)));
    }
    add("auto/unreadable".into(), Box::new(unreadable));
    add(
        "auto/unreadable, thread".into(),
        Box::new(unreadable_by_threads),
    );
    add("msync/descriptor kept".into(), Box::new(kept_descriptor));
    for case in ["stale", "reopened"] {
        let name = format!("msync/descriptor {case}");
        add(name, Box::new(move || not_the_files(case)));
    }
    add("fsync/whole file mapped".into(), Box::new(fsync_by_lines));
    add("fsync/part of it mapped".into(), Box::new(fsync_as_called));
    add("fsync/large".into(), Box::new(fsync_long));
    add(
        "fdatasync/part of it mapped".into(),
        Box::new(fdatasync_by_range),
    );
    for others in ["thread", "cloned", "forked"] {
        add(
            format!("fdatasync/part of it mapped, {others}"),
            Box::new(move || contended(others)),
        );
    }
    add(
        "msync/descriptor kept, thread".into(),
        Box::new(kept_by_threads),
    );
    add(
        "user/fsync, part of it mapped".into(),
        Box::new(|| user_part("fsync")),
    );
    add(
        "user/fdatasync, part of it mapped".into(),
        Box::new(|| user_part("fdatasync")),
    );
    add(
        "contention is counted".into(),
        Box::new(contention_is_counted),
    );
    add(
        "PMEM_NO_CLWB".into(),
        Box::new(move || {
            let expected = if cpu_has("clflushopt") {
                Mnemonic::Clflushopt
            } else {
                Mnemonic::Clflush
            };
            flushes(
                &run(&user().with("PMEM_NO_CLWB", "1"), "pages")?,
                &[0, 1, 2],
                &[],
                0,
                expected,
            )
        }),
    );
    add(
        "PMEM_NO_CLWB, PMEM_NO_CLFLUSHOPT".into(),
        Box::new(move || {
            let shim = user()
                .with("PMEM_NO_CLWB", "1")
                .with("PMEM_NO_CLFLUSHOPT", "1");
            flushes(&run(&shim, "pages")?, &[0, 1, 2], &[], 0, Mnemonic::Clflush)
        }),
    );
    for mode in ["enforce", "audit"] {
        add(
            format!("DAXSHIM_FLUSH=kernel, {mode}"),
            Box::new(move || {
                kernel_alone(&run(
                    &Shim::new()
                        .with("DAXSHIM_FLUSH", "kernel")
                        .with("DAXSHIM_MODE", mode),
                    "pages",
                )?)
            }),
        );
    }
    add(
        "DAXSHIM_FLUSH=none".into(),
        Box::new(move || {
            let trace = run(&Shim::new().with("DAXSHIM_FLUSH", "none"), "pages")?;
            if !lines(&trace).is_empty() || calls_msync(&trace) {
                fail!("something was made durable: {:?}", trace.events);
            }
            Ok(())
        }),
    );
    add(
        "DAXSHIM_MODE=off".into(),
        Box::new(move || kernel_alone(&run(&Shim::new().with("DAXSHIM_MODE", "off"), "pages")?)),
    );
    for (name, tag) in [
        ("untagged", Tag::None),
        ("stale tag", Tag::OtherSize),
        ("forged tag", Tag::Forged),
        ("broken tag", Tag::Broken),
    ] {
        add(
            name.into(),
            Box::new(move || kernel_alone(&run_on(&user(), "pages", tag)?)),
        );
    }
    add("MAP_SYNC".into(), Box::new(map_sync));
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}

fn run(shim: &Shim, case: &str) -> Result<Trace, Failed> {
    run_on(shim, case, Tag::Valid)
}

fn run_on(shim: &Shim, case: &str, tag: Tag) -> Result<Trace, Failed> {
    let scene = Scene::new(tag)?;
    let of_large = ["large", "kept", "stale", "reopened"];
    if of_large.iter().any(|part| case.contains(part)) {
        std::fs::write(scene.path("large"), scene::pattern(256 * 4096))?;
        scene.tag("large", tag)?;
    }
    let mut command = shim.command(program("sync/trace_msync"));
    trace(
        command
            .arg("msync")
            .arg(scene.dir())
            .arg(case)
            .current_dir(scene.dir()),
    )
}

/// Exactly these lines are written back with this instruction, one fence after the last of them,
/// msync for the pages that are the kernel's, and no other system call.
fn flushes(
    trace: &Trace,
    pages: Pages,
    kernel: Pages,
    result: i32,
    instruction: Mnemonic,
) -> Outcome {
    let [start, _, eof] = trace.announced;
    if trace.result != u64::try_from(result)? {
        fail!("msync ended with {} instead of {result}", trace.result);
    }
    // Where the caches are in the persistence domain only the fence is owed.
    let pages = if eadr() { &[] } else { pages };
    let every_line = |end: u64| -> BTreeSet<u64> {
        let bytes = pages
            .iter()
            .map(|page| start + page * PAGE..(start + (page + 1) * PAGE).min(end));
        bytes.flat_map(|range| range.step_by(64)).collect()
    };
    let written = lines(trace);
    // In the last page the lines after the end of the file hold nothing: either way is right.
    let owed = every_line(eof);
    let allowed = every_line(eof.next_multiple_of(PAGE));
    if let Some(missing) = owed.difference(&written).next() {
        let (n, m) = (owed.difference(&written).count(), owed.len());
        fail!(
            "{n} of {m} lines not written back, the first at {:#x}",
            missing - start
        );
    }
    if let Some(extra) = written.difference(&allowed).next() {
        fail!(
            "a line outside was written back: at {:#x} from the start",
            extra.wrapping_sub(start)
        );
    }
    let last = trace
        .events
        .iter()
        .rposition(|event| matches!(event, Event::WriteBack(..)));
    let fence = trace
        .events
        .iter()
        .rposition(|event| *event == Event::Fence);
    if fence < last {
        fail!("no fence after the last write-back");
    }
    let fences = trace
        .events
        .iter()
        .filter(|event| **event == Event::Fence)
        .count();
    if fences != 1 {
        fail!("{fences} fences instead of one");
    }
    for event in &trace.events {
        match *event {
            Event::WriteBack(kind, _) if kind != instruction => {
                fail!("{kind:?} was used instead of {instruction:?}")
            }
            Event::Call(number, ..) if number != MSYNC => fail!("system call {number} was made"),
            _ => {}
        }
    }
    let synced: BTreeSet<u64> = trace
        .events
        .iter()
        .filter_map(|event| match *event {
            Event::Call(MSYNC, address, length) => Some(address..address + length),
            _ => None,
        })
        .flat_map(|range| range.step_by(PAGE as usize))
        .map(|address| address.wrapping_sub(start) / PAGE)
        .collect();
    if synced != kernel.iter().copied().collect() {
        fail!("the kernel's msync was called for pages {synced:?} instead of {kernel:?}");
    }
    Ok(())
}

/// A whole map of which nothing is known yet: by the descriptor it was mapped from, where that can be
/// proven to be the file's still, and a fence.
fn kept_descriptor() -> Outcome {
    let trace = run(&Shim::new(), "kept")?;
    let last = |is: &dyn Fn(&Event) -> bool| trace.events.iter().rposition(is);
    let range = last(&|event| matches!(event, Event::Call(RANGE, _, 0)));
    let proof = last(&|event| {
        matches!(event, Event::Call(number, _, command)
            if *number == libc::SYS_ioctl as u64 && *command & 0xffff == GETVERSION)
    });
    let fence = last(&|event| *event == Event::Fence);
    let whole = Event::Call(MSYNC, trace.announced[0], trace.announced[1]);
    if trace.result != 0 {
        fail!("msync ended with {}", trace.result);
    }
    if !scene::real() {
        // tmpfs has no generations.
        return if range.is_none() && trace.events.contains(&whole) {
            Ok(())
        } else {
            Err(format!("not by msync: {:x?}", trace.events).into())
        };
    }
    if range.is_none() || proof < range || fence < range || trace.events.contains(&whole) {
        fail!(
            "no sync_file_range, proof and fence instead of msync: {:x?}",
            trace.events
        );
    }
    Ok(())
}

/// The same, but under the descriptor's number is another file, and nobody saw that come. `reopened`: it
/// gives way to the mapped one between the sync and the proof, so that only what is seen of that tells.
fn not_the_files(case: &str) -> Outcome {
    let trace = run(&Shim::new(), case)?;
    let whole = Event::Call(MSYNC, trace.announced[0], trace.announced[1]);
    if !trace.events.contains(&whole) {
        fail!("the range was not synced: {:x?}", trace.events);
    }
    if trace.result != 0 {
        fail!("msync ended with {}", trace.result);
    }
    Ok(())
}

/// fsync of a file that is mapped in whole: every line of it.
fn fsync_by_lines() -> Outcome {
    let mut trace = run(&Shim::new(), "fsync")?;
    // It asks what the descriptor is.
    trace.events.retain(|event| {
        !matches!(event, Event::Call(number, ..) if [libc::SYS_newfstatat, libc::SYS_fcntl]
            .contains(&number.cast_signed()))
    });
    flushes(&trace, &[0, 1, 2, 3], &[], 0, best())
}

const FSYNC: u64 = libc::SYS_fsync as u64;
const FDATASYNC: u64 = libc::SYS_fdatasync as u64;

/// Where in a trace this call is last; its first argument is a descriptor.
fn call(trace: &Trace, number: u64) -> Option<usize> {
    let is_it = |event: &Event| matches!(event, Event::Call(call, ..) if *call == number);
    trace.events.iter().rposition(is_it)
}

fn last_fence(trace: &Trace) -> Option<usize> {
    let is_it = |event: &Event| *event == Event::Fence;
    trace.events.iter().rposition(is_it)
}

/// Lines of the first three pages of four, which are mapped, and of no other.
fn has_mapped_lines(trace: &Trace) -> bool {
    let start = trace.announced[0];
    let owed: BTreeSet<u64> = (start..start + 3 * PAGE).step_by(64).collect();
    lines(trace) == if eadr() { BTreeSet::new() } else { owed }
}

/// fsync of a file of which a page is mapped nowhere here: that page may be dirty all the same. What commits
/// gives others more time than sync_file_range does, so that does not replace it.
fn fsync_as_called() -> Outcome {
    let trace = run(&Shim::new(), "fsync part")?;
    if !lines(&trace).is_empty() || call(&trace, FSYNC).is_none() || call(&trace, RANGE).is_some() {
        fail!("not fsync alone: {:x?}", trace.events);
    }
    Ok(())
}

/// Of a long file nothing is known yet, so it is the kernel's.
fn fsync_long() -> Outcome {
    let trace = run(&Shim::new(), "fsync large")?;
    if call(&trace, FSYNC).is_none() || trace.result != 0 {
        fail!("not by fsync: {:x?}", trace.events);
    }
    Ok(())
}

/// fdatasync commits nothing here, and so is no safer.
fn fdatasync_by_range() -> Outcome {
    let trace = run(&Shim::new(), "fdatasync part")?;
    if !lines(&trace).is_empty() {
        fail!("lines were written back, and not all of them");
    }
    let range = call(&trace, RANGE);
    if range.is_none() || last_fence(&trace) < range || call(&trace, FDATASYNC).is_some() {
        fail!(
            "no sync_file_range with a fence behind it: {:x?}",
            trace.events
        );
    }
    Ok(())
}

/// Others may be there: what was called, and behind it the lines of what is mapped, and a fence.
fn contended(others: &str) -> Outcome {
    let trace = run(&Shim::new(), &format!("fdatasync part, {others}"))?;
    let called = call(&trace, FDATASYNC);
    let is_line = |event: &Event| matches!(event, Event::WriteBack(..));
    let first_line = trace.events.iter().position(is_line);
    if called.is_none() || call(&trace, RANGE).is_some() {
        fail!("not what was called: {:x?}", trace.events);
    }
    if !has_mapped_lines(&trace)
        || !eadr() && first_line < called
        || last_fence(&trace) < first_line
    {
        fail!(
            "not followed by the lines of what is mapped: {:x?}",
            trace.events
        );
    }
    Ok(())
}

/// What was left to the kernel while others may have been there is in the report, and nothing else.
fn contention_is_counted() -> Outcome {
    for (case, count) in [
        ("fsync part", 0),
        ("fsync part, thread", 1),
        ("fsync, thread", 0),
    ] {
        let scene = Scene::new(Tag::Valid)?;
        let report = scene.report()?;
        let shim = Shim::new()
            .with("DAXSHIM_FLUSH", "user")
            .with("DAXSHIM_REPORT", &report);
        trace(
            shim.command(program("sync/trace_msync"))
                .args(["msync".as_ref(), scene.dir().as_os_str(), case.as_ref()])
                .current_dir(scene.dir()),
        )?;
        let report = Report::read(&report, &BTreeSet::new())?;
        let counted = report.total.event(report::Event::Contended);
        if counted != count {
            fail!("{case}: counted {counted} times");
        }
    }
    Ok(())
}

/// A whole map of which nothing is known yet, with another thread: never the range way.
fn kept_by_threads() -> Outcome {
    let trace = run(&Shim::new(), "kept, thread")?;
    let whole = Event::Call(MSYNC, trace.announced[0], trace.announced[1]);
    if call(&trace, RANGE).is_some() || !trace.events.contains(&whole) || trace.result != 0 {
        fail!("not msync of the whole: {:x?}", trace.events);
    }
    Ok(())
}

/// The lines of what is mapped, always; and the rest by the kernel: alone, where there is a call for that
/// which is as safe.
fn user_part(which: &str) -> Outcome {
    let shim = Shim::new().with("DAXSHIM_FLUSH", "user");
    let trace = run(&shim, &format!("{which} part"))?;
    let is_rest =
        |event: &Event| matches!(event, Event::Call(RANGE, _, offset) if *offset == 3 * PAGE);
    let is_right = match which {
        "fsync" => call(&trace, FSYNC).is_some() && call(&trace, RANGE).is_none(),
        _ => trace.events.iter().any(is_rest) && call(&trace, FDATASYNC).is_none(),
    };
    if !has_mapped_lines(&trace) || !is_right || last_fence(&trace).is_none() {
        fail!("not lines, and the rest by the kernel: {:x?}", trace.events);
    }
    Ok(())
}

/// Adjacent mappings of a file are synced as one: by one call, where the kernel is called.
fn in_one(case: &str) -> Outcome {
    let trace = run(&Shim::new(), case)?;
    let [_, length, ..] = trace.announced;
    let calls = |wanted: fn(u64, u64) -> bool| {
        let is_one = |event: &&Event| match event {
            Event::Call(MSYNC, _, bytes) => wanted(*bytes, length),
            Event::Call(RANGE, ..) => wanted(length, length),
            _ => false,
        };
        trace.events.iter().filter(is_one).count()
    };
    // Others, of one page, are what it measures by.
    let of_whole = calls(|bytes, length| bytes == length);
    let of_parts = calls(|bytes, length| bytes > PAGE && bytes < length);
    if (of_whole, of_parts) != (1, 0) || lines(&trace).is_empty() {
        fail!("not one sync, whose way is chosen: {:x?}", trace.events);
    }
    Ok(())
}

/// The kernel must be called for a page: it is called once, for all.
fn unreadable() -> Outcome {
    kernel_alone(&run(&Shim::new(), "large, unreadable")?)?;
    kernel_alone(&run(&Shim::new(), "large, unreadable piece")?)
}

/// Where others may be there, what was called comes first, and then the lines of what can be flushed.
fn unreadable_by_threads() -> Outcome {
    let trace = run(&Shim::new(), "large, unreadable, thread")?;
    let is_line = |event: &Event| matches!(event, Event::WriteBack(..));
    let whole = Event::Call(MSYNC, trace.announced[0], trace.announced[1]);
    let called = trace.events.iter().position(|event| *event == whole);
    let first_line = trace.events.iter().position(is_line);
    if called.is_none() || first_line.is_some() && first_line < called || trace.result != 0 {
        fail!(
            "not the call, and lines after it at most: {:x?}",
            trace.events
        );
    }
    Ok(())
}

/// The kernel's msync over the whole range, and nothing else.
fn kernel_alone(trace: &Trace) -> Outcome {
    if !lines(trace).is_empty() {
        fail!("lines were written back");
    }
    let whole = Event::Call(MSYNC, trace.announced[0], trace.announced[1]);
    if !trace.events.contains(&whole) {
        fail!(
            "the kernel's msync was not called on the range: {:x?}",
            trace.events
        );
    }
    Ok(())
}

/// On real DAX the mapping of a tagged file is MAP_SYNC (`sf`); elsewhere it cannot be.
fn map_sync() -> Outcome {
    let trace = run(&Shim::new(), "page")?;
    let mut inside = false;
    for line in trace.smaps.lines() {
        if let Some((start, end)) = line
            .split(' ')
            .next()
            .and_then(|range| range.split_once('-'))
            && let (Ok(start), Ok(end)) =
                (u64::from_str_radix(start, 16), u64::from_str_radix(end, 16))
        {
            inside = (start..end).contains(&trace.announced[0]);
        } else if let Some(flags) = line.strip_prefix("VmFlags:")
            && inside
        {
            let sync = flags.split_whitespace().any(|flag| flag == "sf");
            return if sync == scene::real() {
                Ok(())
            } else {
                Err(format!("VmFlags:{flags}").into())
            };
        }
    }
    fail!("the mapping is not in smaps");
}

fn lines(trace: &Trace) -> BTreeSet<u64> {
    let line = |event: &Event| match *event {
        Event::WriteBack(_, line) => Some(line),
        _ => None,
    };
    trace.events.iter().filter_map(line).collect()
}

fn calls_msync(trace: &Trace) -> bool {
    trace
        .events
        .iter()
        .any(|event| matches!(event, Event::Call(number, ..) if *number == MSYNC))
}

/// Whether the kernel takes the caches of the tests' device for persistent.
fn eadr() -> bool {
    let write_cache = std::fs::read_to_string("/sys/block/pmem0/dax/write_cache");
    scene::real() && write_cache.is_ok_and(|says| says.trim() == "0")
}

fn cpu_has(flag: &str) -> bool {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    info.lines()
        .any(|line| line.starts_with("flags") && line.split(' ').any(|word| word == flag))
}

/// The instruction that the library should choose here.
fn best() -> Mnemonic {
    if cpu_has("clwb") {
        Mnemonic::Clwb
    } else if cpu_has("clflushopt") {
        Mnemonic::Clflushopt
    } else {
        Mnemonic::Clflush
    }
}
