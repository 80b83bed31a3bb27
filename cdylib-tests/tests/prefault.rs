//! `DAXSHIM_PREFAULT`: stores to a sync mapping take no page fault; other mappings are left alone.

use daxshim_tests::{Failed, Outcome, Run, Scene, Shim, Tag, fail};
use libtest_mimic::{Arguments, Trial};

/// The mappings of `prefault.c` that are sync mappings if the file is tagged, and its others.
const SYNC: [&str; 3] = ["file", "write only", "beyond the end of the file"];
const OTHER: [&str; 2] = ["private", "plain"];

fn main() {
    let mut trials = Vec::new();
    for (how, value, tag, prefaults) in [
        ("tagged", "1", Tag::Valid, true),
        ("not asked for", "0", Tag::Valid, false),
        ("untagged", "1", Tag::None, false),
        ("broken", "1", Tag::Broken, false),
    ] {
        trials.push(Trial::test(how, move || {
            let found = faults(&Shim::new().with("DAXSHIM_PREFAULT", value), tag)?;
            for name in SYNC {
                holds(&found, name, prefaults)?;
            }
            for name in OTHER {
                holds(&found, name, false)?;
            }
            Ok(())
        }));
    }
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}

/// Each mapping, and the faults of its first stores and of those after msync.
fn faults(shim: &Shim, tag: Tag) -> Result<Vec<(String, [u64; 2])>, Failed> {
    let run = Run::program(shim, "sync/prefault", "msync", &Scene::new(tag)?)?;
    let parsed: Option<Vec<_>> = run
        .output
        .lines()
        .map(|line| {
            let (name, counts) = line.split_once(": ")?;
            let (first, again) = counts.split_once(", after msync ")?;
            Some((name.to_owned(), [first.parse().ok()?, again.parse().ok()?]))
        })
        .collect();
    match parsed {
        Some(found) if run.status.success() => Ok(found),
        _ => fail!("{}: {}", run.status, run.output),
    }
}

/// Whether the mapping was populated: then no store ever faults, and otherwise the first ones do.
fn holds(found: &[(String, [u64; 2])], name: &str, populated: bool) -> Outcome {
    let counts = found.iter().find(|(of, _)| of == name).map(|found| found.1);
    let right = match counts {
        Some([first, again]) if populated => first == 0 && again == 0,
        Some([first, _]) => first > 0,
        None => false,
    };
    if !right {
        fail!("{name}: {counts:?} faults, populated should be {populated}; of all: {found:?}");
    }
    Ok(())
}
