//! Shared extents, broken tags, a disk that runs full: on an XFS or ext4 of the test's own, which is
//! a file behind a loop device, in a mount namespace that takes both away when it ends. Needs root,
//! mkfs.xfs and mkfs.ext4.

mod common;

use common::*;

/// Runs a script in the root of a fresh filesystem.
fn on(mkfs: &str, script: &str) -> Ran {
    let scratch = Scratch::tmpfs();
    let script = format!(
        "truncate -s 400M \"$1/image\"; {mkfs} -q \"$1/image\"; mkdir \"$1/mnt\"
         mount -o loop \"$1/image\" \"$1/mnt\"; cd \"$1/mnt\"
         {script}"
    );
    shell(
        "unshare --mount --propagation private sh -euc \"$2\" sh \"$1\"",
        &[&scratch.path(""), script.as_ref()],
    )
}

fn on_xfs(script: &str) -> Ran {
    on("mkfs.xfs -m reflink=1", script)
}

#[test]
fn a_shared_extent_is_not_tagged_and_prepare_unshares_it_keeping_content() {
    let ran = on_xfs(
        "head -c 1000000 /dev/urandom > a; cp --reflink=always a b; md5sum < b
         $DAXSHIM tag --emulate b && exit 9
         $DAXSHIM prepare --emulate b
         $DAXSHIM tag --emulate b
         md5sum < b; md5sum < a",
    );
    ran.says("cannot tag b: EINVAL (Invalid argument)")
        .says("shared extent at offset 0")
        .says("b: tagged, emulated");
    let sums: Vec<&str> = ran.stdout.lines().filter(|l| l.ends_with('-')).collect();
    assert_eq!(sums.len(), 3, "{ran:?}");
    assert!(sums.iter().all(|sum| *sum == sums[0]), "{ran:?}");
}

#[test]
fn an_unwritten_extent_is_not_tagged() {
    on_xfs("fallocate -l 1M a; $DAXSHIM tag --emulate a && exit 9; echo refused")
        .says("unwritten extent at offset 0, 1048576 bytes long")
        .says("EINVAL")
        .says("refused");
}

#[test]
fn a_tag_is_broken_by_sharing_or_punching_its_extents_behind_its_back() {
    for change in [
        "cp --reflink=always a b",
        "fallocate --punch-hole -o 4096 -l 4096 a",
        "fallocate --zero-range --keep-size -o 4096 -l 4096 a",
    ] {
        on_xfs(&format!(
            "head -c 100000 /dev/urandom > a; $DAXSHIM tag --emulate a; $DAXSHIM verify a
             {change}; sync
             $DAXSHIM status a
             $DAXSHIM verify a && exit 9
             $DAXSHIM tag --emulate a && exit 9
             $DAXSHIM untag a; $DAXSHIM prepare --emulate a; $DAXSHIM tag --emulate a"
        ))
        .says("tagged, but broken")
        .says("not to be trusted")
        .says("carries a broken tag")
        .says("removed a broken emulated tag")
        .says("a: tagged, emulated");
    }
}

#[test]
fn nodefrag_is_set_with_the_tag_and_restored_by_untag() {
    let ran = on_xfs(
        "head -c 100000 /dev/urandom > had; xfs_io -c 'chattr +f' had
         head -c 100000 /dev/urandom > had-not
         $DAXSHIM tag --emulate had had-not; $DAXSHIM status had had-not | grep -c NODEFRAG
         $DAXSHIM untag had had-not; $DAXSHIM status had | grep -c NODEFRAG
         $DAXSHIM status had-not | grep -c NODEFRAG || true",
    );
    let counts: Vec<&str> = ran.stdout.lines().filter(|l| l.len() == 1).collect();
    assert_eq!(counts, ["2", "1", "0"], "{ran:?}");
}

#[test]
fn a_loop_device_on_the_file_is_named() {
    let ran = on_xfs(
        "head -c 1000000 /dev/urandom > a; device=$(losetup --find --show a)
         $DAXSHIM tag --emulate a || true
         losetup -d \"$device\"; echo \"on $device\"",
    );
    let device = ran.stdout.trim().rsplit("on ").next().unwrap().to_owned();
    ran.says("EBUSY").says(&format!("behind {device}"));
}

#[test]
fn a_disk_that_runs_full_half_way_gets_its_blocks_back() {
    // As much as ext4 says is free; some of that it keeps for metadata.
    let ran = on(
        "mkfs.ext4",
        "printf content > old; truncate -s $(($(stat -f -c '%f*%S' .))) old
         sync; stat -f -c %f .; stat -c %s old; md5sum < old; echo then
         $DAXSHIM prepare --emulate old && exit 9
         $DAXSHIM prepare --emulate new --size \"$(stat -c %s old)\" && exit 9
         sync; stat -f -c %f .; stat -c %s old; md5sum < old; ls",
    );
    ran.says("cannot prepare old: ENOSPC")
        .says("cannot prepare new: ENOSPC")
        .says("ran full");
    let (before, after) = ran.stdout.split_once("then\n").unwrap();
    let (free_before, old_before) = before.split_once('\n').unwrap();
    let (free_after, old_after) = after.split_once('\n').unwrap();
    assert_eq!(format!("{old_before}lost+found\nold\n"), old_after);
    let blocks = |text: &str| text.parse::<u64>().unwrap();
    assert!(
        blocks(free_after) + 200 > blocks(free_before),
        "{free_before} blocks were free, now {free_after}"
    );
}
