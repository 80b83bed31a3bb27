//! Which modules the report names: those whose own system calls could not all be turned.

use daxshim_core::host::report::Report;
use daxshim_tests::{Run, Scene, Shim, Tag, program};
use std::collections::BTreeSet;

/// Whether the report names `module` when a tagged file is mapped while it is there.
fn is_named(module: &str, with_thread: bool) -> bool {
    let scene = Scene::new(Tag::Valid).expect("a scene");
    let report = scene.report().expect("a directory");
    let shim = Shim::new().with("DAXSHIM_REPORT", &report);
    let mut command = shim.command(program("entry/module_is_named"));
    command
        .current_dir(scene.dir())
        .arg("munmap")
        .arg(scene.dir())
        .arg(module);
    if with_thread {
        command.arg("thread");
    }
    let run = Run::of(&mut command).expect("it runs");
    assert!(run.status.success(), "{}", run.output);
    let report = Report::read(&report, &BTreeSet::new()).expect("a report");
    let file = format!("/modules/{module}.so");
    report
        .total
        .modules
        .iter()
        .any(|name| name.ends_with(&file))
}

#[test]
fn what_is_turned_is_not() {
    assert!(!is_named("library", false));
    assert!(!is_named("inline", false));
    assert!(!is_named("inline", true));
    assert!(!is_named("crossing", false));
}

#[test]
fn what_can_not_be_changed_at_once_among_threads_is() {
    assert!(is_named("crossing", true));
}

#[test]
fn what_does_not_say_its_number_is() {
    assert!(is_named("by_register", false));
}
