//! Every row of the table of hooks, under each of its names: natively, untagged, tagged.

use daxshim_core::contract::{Answer, Operation};
use daxshim_core::symbols::{HOOKS, Hook};
use daxshim_tests::{Outcome, Run, Scene, Shim, Tag, expectation, fail};
use libtest_mimic::{Arguments, Trial};

fn main() {
    let mut trials = Vec::new();
    for hook in HOOKS.iter().filter(|hook| !hook.symbols.is_empty()) {
        let mut add = |name: String, test: Box<dyn Fn() -> Outcome + Send>| {
            trials.push(Trial::test(name, test));
        };
        let row = hook.function;
        for &symbol in hook.symbols {
            add(
                format!("{row}/{symbol}/untagged"),
                Box::new(move || untagged(row, symbol, Tag::None, Shim::new())),
            );
            add(
                format!("{row}/{symbol}/tagged"),
                Box::new(move || tagged(hook, symbol, false)),
            );
        }
        if hook.operations.iter().any(|o| o.on_tagged().heeds_compat()) {
            let compat = move || variant(hook, "compat", "DAXSHIM_COMPAT", "1");
            add(format!("{row}/compat"), Box::new(compat));
        }
        if has(hook, Answer::Reading) {
            let deny = move || variant(hook, "deny", "DAXSHIM_READS", "deny");
            add(format!("{row}/deny"), Box::new(deny));
        }
        let symbol = hook.symbols[0];
        // The rest, on real DAX, which is slow to get, for some rows only.
        if daxshim_tests::scene::real()
            && !["open", "write", "ftruncate", "unlink", "mmap", "msync"].contains(&row)
        {
            continue;
        }
        // With a report the hooks measure and count, which takes them other ways.
        add(
            format!("{row}/report"),
            Box::new(move || tagged(hook, hook.symbols[0], true)),
        );
        // What binds nobody: the answers are those of an untagged file.
        for (name, tag, shim) in [
            (
                "audit",
                Tag::Valid,
                Shim::new().with("DAXSHIM_MODE", "audit"),
            ),
            ("off", Tag::Valid, Shim::new().with("DAXSHIM_MODE", "off")),
            ("stale inode", Tag::OtherInode, Shim::new()),
            ("stale size", Tag::OtherSize, Shim::new()),
            ("truncated tag", Tag::Truncated, Shim::new()),
            ("forged tag", Tag::Forged, Shim::new()),
            ("garbage tag", Tag::Garbage, Shim::new()),
            (
                "emulated tag, not honoured",
                Tag::Emulated,
                Shim::new().with("DAXSHIM_EMULATE", "0"),
            ),
        ] {
            add(
                format!("{row}/{name}"),
                Box::new(move || untagged(row, symbol, tag, shim.clone())),
            );
        }
    }
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}

fn has(hook: &Hook, answer: Answer) -> bool {
    hook.operations
        .iter()
        .any(|operation| operation.on_tagged() == answer)
}

/// The row's program.
fn program(row: &str) -> String {
    format!("hooks/{row}")
}

/// Untagged, or not bound by its tag: the same output as without the library.
fn untagged(row: &str, symbol: &str, tag: Tag, shim: Shim) -> Outcome {
    let native = Run::natively(&program(row), symbol)?;
    let scene = Scene::new(tag)?;
    Run::program(&shim, &program(row), symbol, &scene)?.expect(&native.output, &native)
}

/// Tagged: the contract's answers, and nothing changed.
fn tagged(hook: &Hook, symbol: &str, report: bool) -> Outcome {
    let row = hook.function;
    let native = Run::natively(&program(row), symbol)?;
    let expected = match expectation(&program(row), "tagged") {
        Some(listed) => native.except(&listed)?,
        // A row of which everything is "=": the native output is the expectation.
        None if hook
            .operations
            .iter()
            .all(|o| o.on_tagged() == Answer::Same) =>
        {
            native.output.clone()
        }
        None => fail!("programs/hooks/{row}.tagged.expected is missing"),
    };
    let scene = Scene::new(Tag::Valid)?;
    let before = scene.snapshot("file")?;
    let mut shim = Shim::new();
    if report {
        shim = shim.with("DAXSHIM_REPORT", scene.report()?);
    }
    Run::program(&shim, &program(row), symbol, &scene)?.expect(&expected, &native)?;
    let after = scene.snapshot("file")?;
    scene.snapshot("hardlink")?.same(&after)?;
    if hook
        .operations
        .iter()
        .any(|o| matches!(o, Operation::Map | Operation::Sync))
    {
        before.same_but_for_stores(&after)
    } else {
        before.same(&after)
    }
}

/// Tagged, under another policy, whose answers are in a list of its own: compat lets through what
/// changes nothing (but times, where it goes on to the kernel), deny refuses reads.
fn variant(hook: &Hook, list: &str, variable: &str, value: &str) -> Outcome {
    let row = hook.function;
    let Some(listed) = expectation(&program(row), list) else {
        fail!("programs/hooks/{row}.{list}.expected is missing");
    };
    let native = Run::natively(&program(row), hook.symbols[0])?;
    let expected = native.except(&listed)?;
    let scene = Scene::new(Tag::Valid)?;
    let before = scene.snapshot("file")?;
    let shim = Shim::new().with(variable, value);
    Run::program(&shim, &program(row), hook.symbols[0], &scene)?.expect(&expected, &native)?;
    let after = scene.snapshot("file")?;
    if has(hook, Answer::EpermUnlessTold) {
        before.same_but_for_times(&after)
    } else {
        before.same(&after)
    }
}
