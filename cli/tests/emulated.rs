//! The command on filesystems without DAX: emulated tags, bad input, errors. Needs root.
//!
//! Longer than other files: a test for each errno and each thing that is said.

mod common;

use common::*;
use std::os::unix::ffi::OsStrExt;

const USER: &str = "user.dax_immutable";
const CAP_LINUX_IMMUTABLE: libc::c_ulong = 9;
const CAP_SYS_PTRACE: libc::c_ulong = 19;

#[test]
fn a_file_goes_from_prepare_to_tag_to_verify_to_untag() {
    let scratch = Scratch::tmpfs();
    let file = scratch.path("data");
    daxshim(["prepare", "--emulate", "--size", "3M"])
        .arg(&file)
        .succeeds()
        .says("created, 3.00 MiB");
    assert_eq!(condition(&file), "untagged");
    daxshim(["tag", "--emulate"])
        .arg(&file)
        .succeeds()
        .says("tagged, emulated");
    assert_eq!(condition(&file), "tagged");
    daxshim(["status"])
        .arg(&file)
        .succeeds()
        .says("emulated (honoured with DAXSHIM_EMULATE=1)");
    daxshim(["verify"])
        .arg(&file)
        .succeeds()
        .says("every check passed");
    daxshim(["untag"]).arg(&file).succeeds().says("untagged");
    assert_eq!(condition(&file), "untagged");
    assert_eq!(attribute(&file, USER), None);
}

#[test]
fn tagging_twice_and_untagging_twice_are_no_errors() {
    let scratch = Scratch::tmpfs();
    let file = scratch.emulated("data");
    let before = snapshot(&file);
    daxshim(["tag", "--emulate"])
        .arg(&file)
        .succeeds()
        .says("already tagged");
    assert_eq!(snapshot(&file), before);
    daxshim(["untag"]).arg(&file).succeeds();
    daxshim(["untag"]).arg(&file).succeeds().says("not tagged");
}

#[test]
fn a_name_that_is_no_utf8_is_in_the_json() {
    let scratch = Scratch::tmpfs();
    let name = std::ffi::OsStr::from_bytes(b"a\xff\nb");
    let file = scratch.path("").join(name);
    std::fs::write(&file, [1; 8192]).unwrap();
    daxshim(["tag", "--emulate"]).arg(&file).succeeds();
    for (command, list) in [("status", "files"), ("verify", "files")] {
        let ran = daxshim([command, "--json"]).arg(&file).succeeds();
        let document: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
        let path = document[list][0]["path"].as_str().unwrap();
        assert!(path.ends_with("/a\u{fffd}\nb"), "{path:?}");
    }
}

#[test]
fn results_that_cannot_be_written_are_no_success() {
    let scratch = Scratch::tmpfs();
    let file = scratch.emulated("data");
    let ran = shell(
        "for command in doctor \"doctor --json\" \"status $1\" \"status --json $1\" explain \"explain DAX001\" \
             --help --version \"run --help\" man \"completions bash\"; do
             $DAXSHIM $command >/dev/full && echo \"$command: success\"
         done
         { $DAXSHIM explain || echo \"$?\" >&2; } | true",
        &[&file],
    );
    assert_eq!((ran.code, &*ran.stdout), (Some(0), ""), "{ran:?}");
    ran.says("cannot write to standard output")
        .says("No space left");
}

#[test]
fn the_version_names_what_runs() {
    daxshim(["--version"])
        .succeeds()
        .says("commit")
        .says("library: ")
        .says("glibc: 2.");
}

#[test]
fn an_empty_file_can_be_tagged() {
    let scratch = Scratch::tmpfs();
    let file = scratch.file("empty", b"");
    daxshim(["tag", "--emulate"]).arg(&file).succeeds();
    assert_eq!(condition(&file), "tagged");
}

#[test]
fn what_is_not_a_regular_file_gets_einval() {
    let scratch = Scratch::tmpfs();
    let fifo = scratch.path("fifo");
    shell("mkfifo \"$1\"", &[&fifo]);
    let directory = scratch.path("");
    for command in ["tag", "untag", "status", "verify", "prepare"] {
        for path in [&directory, &fifo] {
            daxshim([command])
                .arg(path)
                .fails_with("EINVAL")
                .says("only regular files");
        }
    }
}

#[test]
fn a_missing_file_gets_enoent() {
    let scratch = Scratch::tmpfs();
    for command in ["tag", "untag", "status", "verify", "prepare"] {
        daxshim([command])
            .arg(scratch.path("missing"))
            .fails_with("ENOENT");
    }
    assert!(!scratch.path("missing").exists());
}

#[test]
fn a_symbolic_link_leads_to_its_file() {
    let scratch = Scratch::tmpfs();
    let file = scratch.file("data", &[1; 4096]);
    let link = scratch.path("link");
    std::os::unix::fs::symlink(&file, &link).unwrap();
    daxshim(["tag", "--emulate"]).arg(&link).succeeds();
    assert_eq!(condition(&file), "tagged");
}

#[test]
fn a_hole_gets_einval_with_its_place_and_the_file_is_unchanged() {
    let scratch = Scratch::tmpfs();
    let file = scratch.sparse("sparse", 1 << 20);
    let before = snapshot(&file);
    daxshim(["tag", "--emulate"])
        .arg(&file)
        .fails_with("EINVAL")
        .says("hole at offset 0, 1048576 bytes long")
        .says("daxshim prepare");
    assert_eq!(snapshot(&file), before);
}

#[test]
fn without_dax_a_real_tag_gets_eopnotsupp_and_the_file_is_unchanged() {
    for scratch in [Scratch::tmpfs(), Scratch::ordinary()] {
        let file = scratch.file("data", &[1; 8192]);
        shell("sync \"$1\"", &[&file]);
        let before = snapshot(&file);
        daxshim(["tag"])
            .arg(&file)
            .fails_with("EOPNOTSUPP")
            .says("--emulate");
        assert_eq!(snapshot(&file), before);
    }
}

#[test]
fn without_the_capability_a_real_tag_gets_eperm() {
    let scratch = Scratch::tmpfs();
    let file = scratch.file("data", &[1; 8192]);
    let before = snapshot(&file);
    daxshim(["tag"])
        .arg(&file)
        .without(CAP_LINUX_IMMUTABLE)
        .fails_with("EPERM")
        .says("CAP_LINUX_IMMUTABLE");
    assert_eq!(snapshot(&file), before);
    forge(&file, "security.dax_immutable", b"whatever");
    daxshim(["untag"])
        .arg(&file)
        .without(CAP_LINUX_IMMUTABLE)
        .fails_with("EPERM")
        .says("CAP_LINUX_IMMUTABLE");
    assert_eq!(condition(&file), "malformed");
}

#[test]
fn doctor_tells_what_the_machine_offers() {
    let ran = daxshim(["doctor", "--json"]).succeeds();
    let document: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(document["schema"], 1);
    assert!(document["machine"]["kernel"]["release"].is_string());
    assert!(document["machine"]["stacks"].is_boolean());
    daxshim(["doctor"])
        .succeeds()
        .says("persistent memory")
        .says("capabilities");
}

#[test]
fn a_file_open_for_writing_elsewhere_is_not_tagged_and_the_process_is_named() {
    let scratch = Scratch::tmpfs();
    let file = scratch.file("data", &[1; 8192]);
    let open = Open::writing(&file);
    let before = snapshot(&file);
    daxshim(["tag", "--emulate"])
        .arg(&file)
        .fails_with("EBUSY")
        .says(&format!("process {} (", own_pid()));
    assert_eq!(snapshot(&file), before);
    drop(open);
    daxshim(["tag", "--emulate"]).arg(&file).succeeds();
}

#[test]
fn a_file_open_for_reading_elsewhere_is_tagged() {
    let scratch = Scratch::tmpfs();
    let file = scratch.file("data", &[1; 8192]);
    let _open = Open::reading(&file);
    daxshim(["tag", "--emulate"]).arg(&file).succeeds();
}

#[test]
fn a_mapped_file_is_neither_tagged_nor_untagged_nor_prepared() {
    let scratch = Scratch::tmpfs();
    let file = scratch.file("data", &[1; 8192]);
    let mapped = Mapped::new(&file);
    let named = format!("mapped in process {} (", own_pid());
    daxshim(["tag", "--emulate"])
        .arg(&file)
        .fails_with("EBUSY")
        .says(&named);
    daxshim(["prepare", "--emulate"])
        .arg(&file)
        .fails_with("EBUSY")
        .says(&named);
    drop(mapped);
    daxshim(["tag", "--emulate"]).arg(&file).succeeds();
    let mapped = Mapped::new(&file);
    let state = status(&file);
    let holder = &state["holders"]["known"][0];
    assert_eq!(holder["pid"], std::process::id());
    assert_eq!(holder["mapped"], true);
    assert_eq!(holder["sync"], false);
    daxshim(["untag"])
        .arg(&file)
        .fails_with("EBUSY")
        .says(&named);
    assert_eq!(condition(&file), "tagged");
    daxshim(["verify"]).arg(&file).succeeds();
    drop(mapped);
    daxshim(["untag"]).arg(&file).succeeds();
}

#[test]
fn what_cannot_be_looked_at_counts_as_mapping_the_file() {
    let scratch = Scratch::tmpfs();
    let file = scratch.emulated("data");
    let _open = Open::reading(&file);
    // This test process has a capability more, so the command may not look into it.
    daxshim(["untag"])
        .arg(&file)
        .without(CAP_SYS_PTRACE)
        .fails_with("EBUSY")
        .says("could not be looked at");
    assert_eq!(condition(&file), "tagged");
}

#[test]
fn a_copy_s_tag_is_stale_binds_nobody_and_is_replaced() {
    let scratch = Scratch::tmpfs();
    let file = scratch.emulated("data");
    let copy = scratch.path("copy");
    shell("cp -a \"$1\" \"$2\"", &[&file, &copy]);
    assert_eq!(condition(&copy), "stale");
    daxshim(["status"]).arg(&copy).succeeds().says("a copy");
    let verified = daxshim(["verify"]).arg(&copy).run();
    assert_eq!(verified.code, Some(1));
    verified.says("FAILED").says("stale");
    daxshim(["tag", "--emulate"])
        .arg(&copy)
        .succeeds()
        .says("replaced a stale emulated tag");
    assert_eq!(condition(&copy), "tagged");
    assert_eq!(condition(&file), "tagged");
}

#[test]
fn a_file_resized_outside_the_shim_has_a_stale_tag() {
    let scratch = Scratch::tmpfs();
    let file = scratch.emulated("data");
    shell("truncate -s 4096 \"$1\"", &[&file]);
    assert_eq!(condition(&file), "stale");
    daxshim(["untag"]).arg(&file).succeeds().says("stale");
    assert_eq!(attribute(&file, USER), None);
}

#[test]
fn forged_and_truncated_tags_are_not_believed_and_untag_removes_them() {
    let scratch = Scratch::tmpfs();
    let file = scratch.emulated("data");
    let good = attribute(&file, USER).unwrap();
    let mut edited = good.clone();
    *edited.last_mut().unwrap() ^= 1;
    for value in [
        &good[..good.len() - 1],
        &edited,
        b"",
        b"1",
        b"daxshim 2",
        &[0xff; 400],
    ] {
        forge(&file, USER, value);
        assert_eq!(condition(&file), "malformed", "{value:?}");
        assert_eq!(daxshim(["verify"]).arg(&file).run().code, Some(1));
        daxshim(["untag"]).arg(&file).succeeds().says("malformed");
        assert_eq!(attribute(&file, USER), None);
    }
    forge(&file, USER, b"garbage");
    daxshim(["tag", "--emulate"])
        .arg(&file)
        .succeeds()
        .says("replaced a malformed");
    assert_eq!(condition(&file), "tagged");
}

#[test]
fn several_files_go_on_after_an_error() {
    let scratch = Scratch::tmpfs();
    let first = scratch.file("first", &[1; 4096]);
    let last = scratch.file("last", &[1; 4096]);
    daxshim(["tag", "--emulate"])
        .arg(&first)
        .arg(scratch.path("missing"))
        .arg(&last)
        .fails_with("ENOENT");
    assert_eq!(condition(&first), "tagged");
    assert_eq!(condition(&last), "tagged");
}

#[test]
fn wrong_usage_exits_2() {
    for arguments in [vec![], vec!["tag"], vec!["nonsense"], vec!["tag", "--no"]] {
        assert_eq!(daxshim(arguments).run().code, Some(2));
    }
    for size in ["", "x", "-1", "16E"] {
        let ran = daxshim(["prepare", "f", "--size"]).arg(size).run();
        assert_eq!(ran.code, Some(2), "{size}");
    }
}

#[test]
fn prepare_fills_holes_and_keeps_content() {
    for scratch in [Scratch::tmpfs(), Scratch::ordinary()] {
        let file = scratch.sparse("data", 1 << 20);
        shell(
            "printf content | dd of=\"$1\" bs=1 seek=500000 conv=notrunc status=none
             fallocate -n -o 700000 -l 100000 \"$1\"",
            &[&file],
        );
        let before = std::fs::read(&file).unwrap();
        daxshim(["prepare", "--emulate"])
            .arg(&file)
            .succeeds()
            .says("prepared");
        assert_eq!(std::fs::read(&file).unwrap(), before);
        assert!(status(&file)["extents"]["defect"].is_null());
        daxshim(["prepare", "--emulate"])
            .arg(&file)
            .succeeds()
            .says("already fit");
    }
}

#[test]
fn prepare_grows_but_does_not_shrink() {
    let scratch = Scratch::tmpfs();
    let file = scratch.file("data", b"0123456789");
    daxshim(["prepare", "--emulate", "--size", "5"])
        .arg(&file)
        .fails_with("EINVAL")
        .says("10 bytes, and 5 would cut it off");
    daxshim(["prepare", "--emulate", "--size", "9999"])
        .arg(&file)
        .succeeds();
    let content = std::fs::read(&file).unwrap();
    assert_eq!(content.len(), 9999);
    assert_eq!(&content[..10], b"0123456789");
    assert!(content[10..].iter().all(|&byte| byte == 0));
}

#[test]
fn prepare_refuses_a_tagged_file() {
    let scratch = Scratch::tmpfs();
    let file = scratch.emulated("data");
    let before = snapshot(&file);
    daxshim(["prepare", "--emulate", "--size", "1M"])
        .arg(&file)
        .fails_with("EPERM")
        .says("untag");
    assert_eq!(snapshot(&file), before);
}

#[test]
fn prepare_says_where_dax_is_not_available_unless_emulation_is_meant() {
    let scratch = Scratch::tmpfs();
    let file = scratch.path("data");
    daxshim(["prepare", "--size", "64K"])
        .arg(&file)
        .succeeds()
        .says("DAX is not available");
    let quiet = daxshim(["prepare", "--emulate"]).arg(&file).succeeds();
    assert_eq!(quiet.stderr, "");
}

/// In a mount namespace of its own: the mount goes with it.
fn on_a_tmpfs_of_8_mib(scratch: &Scratch, script: &str) -> Ran {
    let script = format!("mount -t tmpfs -o size=8M none \"$1\"; cd \"$1\"; {script}");
    shell(
        "unshare --mount --propagation private sh -euc \"$2\" sh \"$1\"",
        &[&scratch.path(""), script.as_ref()],
    )
}

#[test]
fn a_full_disk_leaves_no_new_file() {
    let scratch = Scratch::tmpfs();
    let ran = on_a_tmpfs_of_8_mib(
        &scratch,
        "$DAXSHIM prepare --emulate new --size 64M && exit 9; ls -A; df --output=used . | tail -1",
    );
    ran.says("cannot prepare new: ENOSPC (No space left on device)")
        .says("67108864 more bytes are needed")
        .says("help: ");
    assert_eq!(ran.stdout.trim(), "0", "{ran:?}");
}

#[test]
fn a_full_disk_leaves_an_existing_file_as_it_was() {
    let scratch = Scratch::tmpfs();
    let ran = on_a_tmpfs_of_8_mib(
        &scratch,
        "printf content > old; truncate -s 16M old; stat -c '%s %b' old; md5sum < old
         $DAXSHIM prepare --emulate old && exit 9
         $DAXSHIM prepare --emulate old --size 64M && exit 9
         stat -c '%s %b' old; md5sum < old",
    );
    ran.says("ENOSPC");
    let lines: Vec<&str> = ran.stdout.lines().collect();
    assert_eq!(lines.len(), 4, "{ran:?}");
    assert_eq!(lines[..2], lines[2..], "{ran:?}");
}

#[test]
fn the_command_shakes_off_a_preloaded_shim() {
    let scratch = Scratch::tmpfs();
    let file = scratch.file("data", &[1; 4096]);
    // A library of that name that does not exist: the loader complains once per start, and the
    // second start must be without it.
    let ran = daxshim(["tag", "--emulate"])
        .arg(&file)
        .env("LD_PRELOAD", "/nonexistent/libdaxshim.so")
        .succeeds();
    assert_eq!(ran.stderr.matches("libdaxshim.so").count(), 1, "{ran:?}");
}

#[test]
fn completions_and_manual_pages_are_written() {
    for shell in ["bash", "zsh", "fish"] {
        daxshim(["completions", shell]).succeeds().says("untag");
    }
    daxshim(["man"]).succeeds().says(".TH daxshim");
    daxshim(["man", "tag"]).succeeds().says("EOPNOTSUPP");
    assert_eq!(daxshim(["man", "nonsense"]).run().code, Some(1));
}

#[test]
fn results_carry_no_colour_when_they_are_not_on_a_terminal() {
    let scratch = Scratch::tmpfs();
    let file = scratch.emulated("data");
    for command in ["status", "verify"] {
        let ran = daxshim([command]).arg(&file).succeeds();
        assert!(!ran.stdout.contains('\x1b'), "{ran:?}");
    }
    let ran = daxshim(["status"]).arg(scratch.path("missing")).run();
    assert!(!ran.stderr.contains('\x1b'), "{ran:?}");
}

#[test]
fn a_user_without_privilege_can_ask_and_tag_own_files_for_emulation_but_not_those_of_others() {
    let scratch = Scratch::tmpfs();
    let file = scratch.emulated("data");
    // The build may lie where other users cannot go.
    let program = scratch.path("daxshim");
    std::fs::copy(env!("CARGO_BIN_EXE_daxshim"), &program).unwrap();
    let ran = shell(
        "chmod 755 \"$(dirname \"$1\")\"
         user() { setpriv --reuid 65534 --regid 65534 --clear-groups \"$@\"; }
         user \"$1\" doctor; user \"$1\" status \"$2\"; user \"$1\" untag \"$2\" && exit 9
         chmod 777 \"$(dirname \"$1\")\"; cd \"$(dirname \"$1\")\"
         user \"$1\" prepare --emulate own --size 64K && user \"$1\" tag --emulate own &&
             user \"$1\" untag own",
        &[&program, &file],
    );
    ran.says("CAP_LINUX_IMMUTABLE no")
        .says("cannot untag")
        .says("own: tagged, emulated")
        .says("own: untagged");
    assert_eq!(condition(&file), "tagged");
}
