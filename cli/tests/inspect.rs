//! `daxshim inspect` without DAX: what is shown, what is left out, and errors. Needs root.

mod common;

use common::*;
use rustix::mm::MapFlags;

#[test]
fn a_file_s_mappings_are_shown_and_why_user_flush_suffices_or_not() {
    let scratch = Scratch::tmpfs();
    let file = scratch.file("data", &[7; 12288]);
    daxshim(["tag", "--emulate"]).arg(&file).succeeds();
    let shared = Stored::new(&file, 12288, MapFlags::SHARED);
    let private = Stored::new(&file, 12288, MapFlags::PRIVATE);
    // A command that another test starts this moment has them too, until it is executed.
    let mut mappings = inspect(&file);
    mappings.retain(|mapping| mapping["pid"] == std::process::id());
    assert_eq!(mappings.len(), 2, "{mappings:?}");
    for (stored, permissions, user_flush, reason) in [
        (&shared, "rw-s", true, "emulated"),
        (&private, "rw-p", false, "private"),
    ] {
        let mapping = mappings
            .iter()
            .find(|mapping| mapping["start"] == stored.address)
            .unwrap();
        assert_eq!(mapping["end"], stored.address + 12288);
        assert_eq!(mapping["pid"], std::process::id());
        assert_eq!(mapping["path"], file.to_str().unwrap());
        assert_eq!(mapping["at_path"], true);
        assert_eq!(mapping["offset"], 0);
        assert_eq!(mapping["permissions"], permissions);
        assert_eq!(mapping["dax"], false);
        assert_eq!(mapping["sync"], false);
        assert_eq!(mapping["tag"]["condition"], "tagged");
        assert_eq!(mapping["tag"]["emulated"], true);
        assert_eq!(mapping["user_flush"], user_flush);
        assert_eq!(mapping["reason"], reason);
        assert_eq!(
            mapping["pages"],
            serde_json::json!({"pte": 8192, "pmd": 0, "pud": 0})
        );
    }
    daxshim(["inspect"])
        .arg(&file)
        .succeeds()
        .says("tag         valid, emulated")
        .says("user flush  suffices; emulated tag on tmpfs")
        .says("8.00 KiB in pages of 4 KiB");
}

#[test]
fn of_a_process_what_matters_is_shown_and_all_of_it_with_all() {
    let scratch = Scratch::tmpfs();
    let (file, untagged) = (
        scratch.file("data", &[7; 12288]),
        scratch.file("untagged", &[7; 12288]),
    );
    daxshim(["tag", "--emulate"]).arg(&file).succeeds();
    let tagged = Stored::new(&file, 12288, MapFlags::SHARED);
    let other = Stored::new(&untagged, 12288, MapFlags::SHARED);
    let has = |mappings: &[serde_json::Value], stored: &Stored| {
        mappings
            .iter()
            .any(|mapping| mapping["start"] == stored.address)
    };
    let mappings = inspect(own_pid());
    assert!(has(&mappings, &tagged) && !has(&mappings, &other));
    let ran = daxshim(["inspect", "--all", "--json"])
        .arg(own_pid())
        .succeeds();
    let document: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    let all = document["inspection"]["mappings"].as_array().unwrap();
    assert!(has(all, &tagged) && has(all, &other));
    let untagged = all
        .iter()
        .find(|mapping| mapping["start"] == other.address)
        .unwrap();
    assert_eq!(untagged["reason"], "page-cache");
    let libc = all
        .iter()
        .any(|mapping| mapping["path"].as_str().unwrap().contains("/libc"));
    assert!(libc, "{all:?}");
}

#[test]
fn tags_that_are_stale_or_forged_are_told() {
    let scratch = Scratch::tmpfs();
    let file = scratch.emulated("data");
    let value = attribute(&file, "user.dax_immutable").unwrap();
    let copy = scratch.file("copy", &[7; 12288]);
    forge(&copy, "user.dax_immutable", &value);
    let _mapping = Stored::new(&copy, 12288, MapFlags::SHARED);
    let condition = || inspect(&copy)[0]["tag"]["condition"].clone();
    assert_eq!(condition(), "stale");
    forge(&copy, "user.dax_immutable", &value[..value.len() - 1]);
    assert_eq!(condition(), "malformed");
    assert_eq!(inspect(&copy)[0]["reason"], "page-cache");
}

#[test]
fn a_file_that_is_removed_or_replaced_is_still_the_one_that_is_mapped() {
    let scratch = Scratch::tmpfs();
    let file = scratch.file("data", &[7; 12288]);
    daxshim(["tag", "--emulate"]).arg(&file).succeeds();
    let mapping = Stored::new(&file, 12288, MapFlags::SHARED);
    shell("rm \"$1\"; head -c 12288 /dev/zero > \"$1\"", &[&file]);
    daxshim(["inspect"])
        .arg(&file)
        .succeeds()
        .says("data: mapped by no process");
    let mappings = inspect(own_pid());
    let mapped = mappings
        .iter()
        .find(|mapped| mapped["start"] == mapping.address)
        .unwrap();
    assert_eq!(mapped["path"], file.to_str().unwrap());
    assert_eq!(mapped["at_path"], false);
    assert_eq!(mapped["tag"]["condition"], "tagged");
    daxshim(["inspect"])
        .arg(own_pid())
        .succeeds()
        .says("data (no longer at this path)");
}

#[test]
fn nothing_mapped_is_no_error() {
    let scratch = Scratch::tmpfs();
    let file = scratch.file("data", b"x");
    daxshim(["inspect"])
        .arg(&file)
        .succeeds()
        .says("data: mapped by no process");
    assert!(inspect(&file).is_empty());
    // A kernel thread, where this machine shows it.
    if std::path::Path::new("/proc/2/comm").exists() {
        daxshim(["inspect", "2"]).succeeds().says("process 2 ");
    }
}

/// In /proc/PID/maps a newline is `\012`, and so is what is called so.
#[test]
fn a_name_with_a_newline_leads_to_its_file() {
    let scratch = Scratch::tmpfs();
    for name in ["a\nb", "a\\012b"] {
        let file = scratch.emulated(name);
        let mapping = Mapped::new(&file);
        let mut mappings = inspect(&file);
        // A command that another test starts this moment has it too.
        mappings.retain(|mapping| mapping["pid"] == std::process::id());
        let [mapping_of_file] = mappings.as_slice() else {
            panic!("{mappings:?}");
        };
        assert_eq!(mapping_of_file["path"], file.to_str().unwrap());
        assert_eq!(mapping_of_file["at_path"], true);
        drop(mapping);
    }
}

#[test]
fn a_number_is_a_process_unless_a_file_has_that_name() {
    let scratch = Scratch::tmpfs();
    scratch.file("4194305", b"x");
    let ran = shell(
        "cd \"$1\"; $DAXSHIM inspect 4194305; $DAXSHIM inspect ./4194305; rm 4194305
         $DAXSHIM inspect 4194305 && exit 9; $DAXSHIM inspect ./4194305 && exit 9; exit 0",
        &[&scratch.path("")],
    );
    assert_eq!(ran.code, Some(0), "{ran:?}");
    for shown in [
        "4194305: mapped by no process",
        "./4194305: mapped by no process",
    ] {
        assert!(ran.stdout.lines().any(|line| line == shown), "{ran:?}");
    }
    ran.says("cannot inspect process 4194305: ESRCH (")
        .says("cannot inspect ./4194305: ENOENT (");
}

#[test]
fn bad_targets_are_told_with_what_to_do() {
    daxshim(["inspect", "99999999"])
        .fails_with("ESRCH")
        .says("there is no such process");
    daxshim(["inspect", "0"]).fails_with("ESRCH");
    daxshim(["inspect", "/nonexistent/file"])
        .fails_with("ENOENT")
        .says("check the path");
    daxshim(["inspect", "/dev"]).fails_with("EINVAL");
    assert_eq!(daxshim(["inspect"]).run().code, Some(2));
}

#[test]
fn a_user_sees_own_processes_and_is_told_of_those_that_are_not_shown() {
    let scratch = Scratch::tmpfs();
    let file = scratch.emulated("data");
    let _mapping = Mapped::new(&file);
    // The build may lie where other users cannot go.
    let program = scratch.path("daxshim");
    std::fs::copy(env!("CARGO_BIN_EXE_daxshim"), &program).unwrap();
    let ran = shell(
        "chmod 755 \"$(dirname \"$1\")\"; chmod 644 \"$2\"
         user() { setpriv --reuid 65534 --regid 65534 --clear-groups \"$@\"; }
         user \"$1\" inspect \"$2\"; user \"$1\" inspect \"$3\" && exit 9; exit 0",
        &[&program, &file, own_pid().as_ref()],
    );
    assert_eq!(ran.code, Some(0), "{ran:?}");
    ran.says("data: mapped by no process")
        .says("that could not be looked at may map it (root can look): 1 (")
        .says(&format!("cannot inspect process {}: EACCES (", own_pid()))
        .says("run as root");
}
