//! The command on real fs-DAX, as scripts/vm offers it on the directory that DAXSHIM_PMEM names:
//! ext4 or XFS, mounted with dax=always or dax=inode.

mod common;

use std::fs::File;
use std::os::unix::fs::FileExt;

use common::*;

const TAG: &str = "security.dax_immutable";
const CAP_SYS_ADMIN: libc::c_ulong = 21;

fn pmem() -> Scratch {
    let directory = std::env::var_os("DAXSHIM_PMEM");
    Scratch::new(
        directory.expect(
            "DAXSHIM_PMEM must name a directory with fs-DAX: run these tests with scripts/vm",
        ),
    )
}

/// A file that is fit for a tag, with content.
fn prepared(scratch: &Scratch, name: &str) -> std::path::PathBuf {
    let file = scratch.file(name, &[7; 100_000]);
    daxshim(["prepare", "--size", "4M"]).arg(&file).succeeds();
    file
}

fn tagged(scratch: &Scratch, name: &str) -> std::path::PathBuf {
    let file = prepared(scratch, name);
    daxshim(["tag"]).arg(&file).succeeds();
    file
}

#[test]
#[ignore = "needs fs-DAX: scripts/test runs it in the VM"]
fn a_file_goes_from_prepare_to_tag_to_verify_to_untag() {
    let scratch = pmem();
    let file = scratch.path("data");
    daxshim(["prepare", "--size", "8M"])
        .arg(&file)
        .succeeds()
        .says("created, 8.00 MiB")
        .says("DAX");
    daxshim(["tag"]).arg(&file).succeeds().says("tagged");
    let state = status(&file);
    assert_eq!(state["tag"]["condition"], "tagged");
    assert_eq!(state["tag"]["attribute"], TAG);
    assert_eq!(state["tag"]["emulated"], false);
    assert_eq!(state["dax"]["active"], true);
    assert_eq!(state["dax"]["flag"], true);
    assert_eq!(state["extents"]["match_tag"], true);
    daxshim(["verify"])
        .arg(&file)
        .succeeds()
        .says("every check passed");
    daxshim(["untag"]).arg(&file).succeeds();
    assert_eq!(condition(&file), "untagged");
    assert_eq!(attribute(&file, TAG), None);
}

#[test]
#[ignore = "needs fs-DAX: scripts/test runs it in the VM"]
fn prepare_keeps_content_and_makes_large_files_fit_for_large_pages() {
    let scratch = pmem();
    let file = scratch.path("large");
    daxshim(["prepare", "--size", "32M"]).arg(&file).succeeds();
    {
        let _quiet = quiet();
        let open = File::options().write(true).open(&file).unwrap();
        open.write_all_at(b"content", 12_345_678).unwrap();
        open.sync_all().unwrap();
    }
    daxshim(["prepare", "--size", "33M"]).arg(&file).succeeds();
    let content = std::fs::read(&file).unwrap();
    assert_eq!(content.len(), 33 << 20);
    assert_eq!(&content[12_345_678..12_345_685], b"content");
    assert_eq!(content.iter().filter(|&&byte| byte != 0).count(), 7);
    daxshim(["tag"]).arg(&file).succeeds();
}

#[test]
#[ignore = "needs fs-DAX: scripts/test runs it in the VM"]
fn a_file_with_data_gets_dax_by_the_tag_and_loses_it_by_untag() {
    let scratch = pmem();
    let file = scratch.file("data", &[5; 3 << 20]);
    shell("sync \"$1\"", &[&file]);
    assert_eq!(status(&file)["dax"]["flag"], false);
    daxshim(["tag"])
        .arg(&file)
        .succeeds()
        .says("FS_XFLAG_DAX set");
    assert_eq!(status(&file)["dax"]["active"], true);
    assert_eq!(status(&file)["dax"]["flag"], true);
    daxshim(["untag"]).arg(&file).succeeds();
    assert_eq!(status(&file)["dax"]["flag"], false);
    assert_eq!(std::fs::read(&file).unwrap(), [5; 3 << 20]);
}

#[test]
#[ignore = "needs fs-DAX: scripts/test runs it in the VM"]
fn flags_that_were_set_before_stay_after_untag() {
    let scratch = pmem();
    let file = tagged(&scratch, "data");
    daxshim(["untag"]).arg(&file).succeeds();
    // `prepare` had set it, not `tag`.
    assert_eq!(status(&file)["dax"]["flag"], true);
}

#[test]
#[ignore = "needs fs-DAX: scripts/test runs it in the VM"]
fn holes_and_unwritten_extents_get_einval_and_the_file_is_unchanged() {
    let scratch = pmem();
    let hole = scratch.sparse("hole", 1 << 20);
    let unwritten = scratch.path("unwritten");
    shell("fallocate -l 1M \"$1\"", &[&unwritten]);
    for (file, word) in [(&hole, "hole"), (&unwritten, "unwritten extent")] {
        let before = (snapshot(file), status(file));
        daxshim(["tag"])
            .arg(file)
            .fails_with("EINVAL")
            .says(&format!("{word} at offset 0, 1048576 bytes long"));
        assert_eq!((snapshot(file), status(file)), before);
        daxshim(["prepare"]).arg(file).succeeds();
        daxshim(["tag"]).arg(file).succeeds();
    }
}

#[test]
#[ignore = "needs fs-DAX: scripts/test runs it in the VM"]
fn without_cap_sys_admin_the_attribute_cannot_be_set_and_nothing_changes() {
    let scratch = pmem();
    let file = scratch.file("data", &[5; 8192]);
    shell("sync \"$1\"", &[&file]);
    let before = (snapshot(&file), status(&file));
    daxshim(["tag"])
        .arg(&file)
        .without(CAP_SYS_ADMIN)
        .fails_with("EPERM")
        .says("CAP_SYS_ADMIN");
    assert_eq!((snapshot(&file), status(&file)), before);
}

#[test]
#[ignore = "needs fs-DAX: scripts/test runs it in the VM"]
fn a_mapped_file_is_neither_tagged_nor_untagged_and_the_process_is_named() {
    let scratch = pmem();
    let file = prepared(&scratch, "data");
    let named = format!("mapped in process {} (", own_pid());
    let mapped = Mapped::new(&file);
    daxshim(["tag"]).arg(&file).fails_with("EBUSY").says(&named);
    assert_eq!(condition(&file), "untagged");
    drop(mapped);
    daxshim(["tag"]).arg(&file).succeeds();
    let mapped = Mapped::new(&file);
    daxshim(["untag"])
        .arg(&file)
        .fails_with("EBUSY")
        .says(&named);
    assert_eq!(condition(&file), "tagged");
    drop(mapped);
    daxshim(["untag"]).arg(&file).succeeds();
}

#[test]
#[ignore = "needs fs-DAX: scripts/test runs it in the VM"]
fn a_file_that_is_open_but_mapped_nowhere_is_untagged() {
    let scratch = pmem();
    let file = tagged(&scratch, "data");
    let _open = Open::writing(&file);
    daxshim(["untag"]).arg(&file).succeeds();
    assert_eq!(condition(&file), "untagged");
}

#[test]
#[ignore = "needs fs-DAX: scripts/test runs it in the VM"]
fn status_tells_a_sync_mapping() {
    let scratch = pmem();
    let file = tagged(&scratch, "data");
    let mapping = MappedSync::new(&file);
    let holder = status(&file)["holders"]["known"][0].clone();
    assert_eq!(holder["pid"], std::process::id());
    assert_eq!(holder["sync"], true);
    drop(mapping);
}

/// A MAP_SYNC mapping.
struct MappedSync(*mut core::ffi::c_void);

impl MappedSync {
    fn new(path: &std::path::Path) -> MappedSync {
        use rustix::mm::{MapFlags, ProtFlags};
        let _quiet = quiet();
        let file = File::options().read(true).write(true).open(path).unwrap();
        // SAFETY: a fresh mapping that nothing refers to.
        let address = unsafe {
            rustix::mm::mmap(
                std::ptr::null_mut(),
                4096,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::SHARED_VALIDATE | MapFlags::SYNC,
                &file,
                0,
            )
        };
        MappedSync(address.unwrap())
    }
}

impl Drop for MappedSync {
    fn drop(&mut self) {
        // SAFETY: ours, and nothing refers to it.
        unsafe { rustix::mm::munmap(self.0, 4096) }.unwrap();
    }
}

#[test]
#[ignore = "needs fs-DAX: scripts/test runs it in the VM"]
fn a_copy_s_tag_is_stale_and_a_real_one_replaces_it() {
    let scratch = pmem();
    let file = tagged(&scratch, "data");
    let copy = scratch.path("copy");
    shell("cp -a \"$1\" \"$2\" && sync \"$2\"", &[&file, &copy]);
    assert_eq!(condition(&copy), "stale");
    daxshim(["prepare"]).arg(&copy).succeeds();
    daxshim(["tag"])
        .arg(&copy)
        .succeeds()
        .says("replaced a stale tag");
    assert_eq!(condition(&copy), "tagged");
    assert_eq!(condition(&file), "tagged");
}

#[test]
#[ignore = "needs fs-DAX: scripts/test runs it in the VM"]
fn a_file_recreated_with_the_same_inode_number_does_not_inherit_a_restored_tag() {
    let scratch = pmem();
    let file = tagged(&scratch, "data");
    let value = attribute(&file, TAG).unwrap();
    let text = String::from_utf8(value.clone()).unwrap();
    assert!(text.contains(" gen="), "{text}");
    assert!(!text.contains(" gen=-"), "{text}");
    shell("rm \"$1\"", &[&file]);
    let again = prepared(&scratch, "data");
    forge(&again, TAG, &value);
    assert_eq!(condition(&again), "stale");
}

#[test]
#[ignore = "needs fs-DAX: scripts/test runs it in the VM"]
fn a_tag_is_broken_when_blocks_go_behind_its_back() {
    let scratch = pmem();
    for (name, change) in [
        ("punched", "fallocate --punch-hole -o 4096 -l 4096 \"$1\""),
        ("zeroed", "fallocate --zero-range -o 4096 -l 4096 \"$1\""),
    ] {
        let file = tagged(&scratch, name);
        shell(change, &[&file]);
        assert_eq!(condition(&file), "broken", "{name}");
        let verified = daxshim(["verify"]).arg(&file).run();
        assert_eq!(verified.code, Some(1));
        verified.says("FAILED  extents unmoved");
        daxshim(["tag"])
            .arg(&file)
            .fails_with("EINVAL")
            .says("broken tag");
        daxshim(["prepare"]).arg(&file).fails_with("EPERM");
        daxshim(["untag"])
            .arg(&file)
            .succeeds()
            .says("removed a broken tag");
        daxshim(["prepare"]).arg(&file).succeeds();
        daxshim(["tag"]).arg(&file).succeeds();
    }
}

#[test]
#[ignore = "needs fs-DAX: scripts/test runs it in the VM"]
fn a_tag_whose_extents_moved_to_other_blocks_is_broken_though_fit() {
    let scratch = pmem();
    let file = tagged(&scratch, "data");
    let other = prepared(&scratch, "other");
    // Punched away here, taken by the other file's growth, and filled again: elsewhere.
    shell("fallocate --punch-hole -o 0 -l 2M \"$1\"", &[&file]);
    daxshim(["prepare", "--size", "64M"]).arg(&other).succeeds();
    shell(
        "dd if=/dev/urandom of=\"$1\" bs=1M count=2 conv=notrunc status=none; sync \"$1\"",
        &[&file],
    );
    let state = status(&file);
    assert!(state["extents"]["defect"].is_null(), "{state}");
    if state["extents"]["match_tag"] == false {
        assert_eq!(state["tag"]["condition"], "broken");
    } else {
        // The filesystem gave the very same blocks back: then the tag still tells the truth.
        assert_eq!(state["tag"]["condition"], "tagged");
    }
}

#[test]
#[ignore = "needs fs-DAX: scripts/test runs it in the VM"]
fn forged_and_truncated_tags_are_not_believed() {
    let scratch = pmem();
    let file = tagged(&scratch, "data");
    let good = attribute(&file, TAG).unwrap();
    for value in [&good[..good.len() - 1], b"", b"1", &[0xff; 400]] {
        forge(&file, TAG, value);
        assert_eq!(condition(&file), "malformed", "{value:?}");
    }
    daxshim(["untag"]).arg(&file).succeeds().says("malformed");
    assert_eq!(attribute(&file, TAG), None);
}

#[test]
#[ignore = "needs fs-DAX: scripts/test runs it in the VM"]
fn prepare_on_a_full_filesystem_gets_enospc_and_leaves_everything_as_it_was() {
    let scratch = pmem();
    let existing = scratch.sparse("existing", 1 << 40);
    let before = shell("stat -c '%s %b' \"$1\"", &[&existing]).stdout;
    daxshim(["prepare"]).arg(&existing).fails_with("ENOSPC");
    let new = scratch.path("new");
    daxshim(["prepare", "--size", "1T"])
        .arg(&new)
        .fails_with("ENOSPC");
    assert!(!new.exists());
    assert_eq!(shell("stat -c '%s %b' \"$1\"", &[&existing]).stdout, before);
}

#[test]
#[ignore = "needs fs-DAX: scripts/test runs it in the VM"]
fn doctor_lists_the_device_and_the_mount() {
    let scratch = pmem();
    let ran = daxshim(["doctor", "--json"]).succeeds();
    let document: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    let machine = &document["machine"];
    assert_eq!(machine["devices"][0]["dax"], true);
    let mounts = machine["mounts"].as_array().unwrap();
    let path = scratch.path("");
    assert!(
        mounts
            .iter()
            .any(|mount| { path.starts_with(mount["point"].as_str().unwrap_or("/nowhere")) })
    );
    daxshim(["doctor"]).succeeds().says("fs-DAX is here");
}

/// PR_SET_THP_DISABLE, by which scripts/vm keeps mappings at 4 KiB.
fn has_small_pages_only() -> bool {
    // SAFETY: takes and changes nothing.
    unsafe { libc::prctl(libc::PR_GET_THP_DISABLE, 0, 0, 0, 0) == 1 }
}

#[test]
#[ignore = "needs fs-DAX: scripts/test runs it in the VM"]
fn inspect_tells_map_sync_the_tag_and_the_size_of_pages() {
    use rustix::mm::MapFlags;
    let scratch = pmem();
    let file = tagged(&scratch, "data");
    let sync = Stored::new(&file, 4 << 20, MapFlags::SHARED_VALIDATE | MapFlags::SYNC);
    let plain = Stored::new(&file, 4 << 20, MapFlags::SHARED);
    let pages = if has_small_pages_only() {
        serde_json::json!({"pte": 8192, "pmd": 0, "pud": 0})
    } else {
        serde_json::json!({"pte": 0, "pmd": 2 << 20, "pud": 0})
    };
    let mappings = inspect(&file);
    assert_eq!(mappings.len(), 2, "{mappings:?}");
    for (stored, is_sync, reason) in [(&sync, true, "tagged"), (&plain, false, "not-sync")] {
        let mapping = mappings
            .iter()
            .find(|mapping| mapping["start"] == stored.address)
            .unwrap();
        assert_eq!(mapping["dax"], true);
        assert_eq!(mapping["sync"], is_sync);
        assert_eq!(mapping["tag"]["condition"], "tagged");
        assert_eq!(mapping["user_flush"], is_sync);
        assert_eq!(mapping["reason"], reason);
        assert_eq!(mapping["pages"], pages, "{mapping}");
    }
    let of_process = inspect(own_pid());
    for mapping in &mappings {
        assert!(of_process.contains(mapping), "{of_process:?}");
    }
    daxshim(["inspect"])
        .arg(&file)
        .succeeds()
        .says("user flush  suffices; MAP_SYNC and a valid tag")
        .says("user flush  does not suffice; DAX, but without MAP_SYNC");
}

#[test]
#[ignore = "needs fs-DAX: scripts/test runs it in the VM"]
fn the_report_says_whether_large_pages_can_map_a_file_and_why_not() {
    let scratch = pmem();
    let file = scratch.path("large");
    daxshim(["prepare", "--size", "8M"]).arg(&file).succeeds();
    daxshim(["tag"]).arg(&file).succeeds();
    let library = bin_dir().join("libdaxshim.so");
    let expected = if has_small_pages_only() {
        "no: the process has PR_SET_THP_DISABLE"
    } else {
        "yes"
    };
    daxshim(["run", "--report", "-", "--", actor()])
        .arg(&file)
        .args(["msync"])
        .env("DAXSHIM_LIBRARY", library.to_str().unwrap())
        .succeeds()
        .says(expected);
}

#[test]
#[ignore = "needs fs-DAX: scripts/test runs it in the VM"]
fn inspect_tells_that_a_broken_tag_takes_the_kernel() {
    use rustix::mm::MapFlags;
    let scratch = pmem();
    let file = tagged(&scratch, "data");
    let _mapping = Stored::new(&file, 4 << 20, MapFlags::SHARED_VALIDATE | MapFlags::SYNC);
    shell("fallocate --punch-hole -o 1M -l 64K \"$1\"", &[&file]);
    let mapping = inspect(&file)[0].clone();
    assert_eq!(mapping["sync"], true);
    assert_eq!(mapping["tag"]["condition"], "broken");
    assert_eq!(mapping["user_flush"], false);
    assert_eq!(mapping["reason"], "broken");
}

#[test]
#[ignore = "needs fs-DAX: scripts/test runs it in the VM"]
fn a_program_that_syncs_much_enters_the_kernel_less_with_user_flush() {
    let scratch = pmem();
    let file = tagged(&scratch, "data");
    let library = bin_dir().join("libdaxshim.so");
    let ran = daxshim(["ab", "--runs", "2", "--json", "-", "--", actor()])
        .arg(&file)
        .args(["msync"; 500])
        .env("DAXSHIM_LIBRARY", library.to_str().unwrap())
        .succeeds();
    let document: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(document["conclusion"]["reason"], "user-flush");
    let runs = document["runs"].as_array().unwrap();
    assert_eq!(runs.len(), 6);
    for run in runs {
        let entries = run["kernel_entries"].as_u64().unwrap();
        assert_eq!(run["sync_calls"], 500, "{run}");
        match run["leg"].as_str() {
            Some("b") => assert!(entries < 100, "{run}"),
            _ => assert_eq!(entries, 500, "{run}"),
        }
    }
}
