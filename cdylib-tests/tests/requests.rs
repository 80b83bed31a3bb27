//! Arguments that are numbers: the requests of ioctl(2), those of them that name a file by its handle on XFS,
//! and the flags of all other calls.

use daxshim_core::requests::ALL;
use daxshim_tests::{Outcome, Run, Scene, Shim, Tag, expectation, fail};
use std::collections::HashMap;
use std::process::Command;

/// Those that Debian's headers do not have, as the headers of Linux 6.18 (linux/ext4.h, fs/xfs/libxfs/xfs_fs.h,
/// linux/f2fs.h) and for what was removed of 5.10 make them.
const KERNELS: &[(&str, u32)] = &[
    ("FS_IOC_RESVSP", 0x4030_5828),
    ("FS_IOC_UNRESVSP", 0x4030_5829),
    ("FS_IOC_RESVSP64", 0x4030_582a),
    ("FS_IOC_UNRESVSP64", 0x4030_582b),
    ("FS_IOC_ZERO_RANGE", 0x4030_5839),
    ("EXT4_IOC_SETVERSION", 0x4008_6604),
    ("EXT4_IOC32_SETVERSION", 0x4004_6604),
    ("EXT4_IOC_MIGRATE", 0x0000_6609),
    ("EXT4_IOC_ALLOC_DA_BLKS", 0x0000_660c),
    ("EXT4_IOC_MOVE_EXT", 0xc028_660f),
    ("EXT4_IOC_SWAP_BOOT", 0x0000_6611),
    ("XFS_IOC_ALLOCSP", 0x4030_580a),
    ("XFS_IOC_FREESP", 0x4030_580b),
    ("XFS_IOC_ALLOCSP64", 0x4030_5824),
    ("XFS_IOC_FREESP64", 0x4030_5825),
    ("XFS_IOC_FSSETDM", 0x4008_5827),
    ("XFS_IOC_OPEN_BY_HANDLE", 0xc038_586b),
    ("XFS_IOC_SWAPEXT", 0xc0c0_586d),
    ("XFS_IOC_FSSETDM_BY_HANDLE", 0x4040_5879),
    ("XFS_IOC_ATTRMULTI_BY_HANDLE", 0x4048_587b),
    ("XFS_IOC_EXCHANGE_RANGE", 0x4028_5881),
    ("XFS_IOC_COMMIT_RANGE", 0x4058_5883),
    ("F2FS_IOC_START_ATOMIC_REPLACE", 0x0000_f519),
];

/// The numbers are computed; the C compiler and the kernel's headers compute the same.
#[test]
fn the_numbers_are_the_kernels() -> Outcome {
    let shown = Run::of(&mut Command::new(daxshim_tests::program(
        "arguments/ioctl_numbers",
    )))?;
    let mut known: HashMap<&str, u32> = KERNELS.iter().copied().collect();
    for line in shown.output.lines() {
        let (name, number) = line.split_once(' ').ok_or("a line without a number")?;
        let number = u32::from_str_radix(number, 16).map_err(|e| e.to_string())?;
        assert_eq!(*known.entry(name).or_insert(number), number, "{name}");
    }
    for (name, number) in ALL {
        assert_eq!(known.get(name), Some(number), "{name}: {number:#x}");
    }
    Ok(())
}

#[test]
fn files_named_by_handle() -> Outcome {
    let (name, symbol) = ("arguments/xfs_handles", "ioctl");
    let native = Run::natively(name, symbol)?;
    let scene = Scene::new(Tag::None)?;
    Run::program(&Shim::new(), name, symbol, &scene)?.expect(&native.output, &native)?;
    let expected = match expectation(name, "tagged") {
        Some(listed) if native.output.starts_with("handles\n") => native.except(&listed)?,
        _ => native.output.clone(),
    };
    let scene = Scene::new(Tag::Valid)?;
    let before = scene.snapshot("file")?;
    Run::program(&Shim::new(), name, symbol, &scene)?.expect(&expected, &native)?;
    before.same(&scene.snapshot("file")?)
}

/// What is refused of an untagged file is refused of a tagged one with the same errno: but for what the
/// filesystem lacks, which it is asked after the inode (fallocate) or knows alone (RWF_NOWAIT), and for
/// attributes that are there or not, of which the contract says so.
#[test]
fn the_kernels_reasons_come_first() -> Outcome {
    let (name, symbol) = ("arguments/flags_of_rows", "open");
    let native = Run::natively(name, symbol)?;
    let scene = Scene::new(Tag::None)?;
    Run::program(&Shim::new(), name, symbol, &scene)?.expect(&native.output, &native)?;
    let scene = Scene::new(Tag::Valid)?;
    let tagged = Run::program(&Shim::new(), name, symbol, &scene)?;
    let is_excepted = |line: &str, native: &str| {
        let bit = line
            .split_once(", bit ")
            .and_then(|(_, rest)| rest.split(' ').next());
        let is_low = bit.is_some_and(|bit| bit.parse().is_ok_and(|bit: u32| bit < 9));
        ["-1 EEXIST", "-1 ENODATA"].contains(&native) || (native == "-1 EOPNOTSUPP" && is_low)
    };
    let wrong = |(line, tagged): &(&str, &str)| {
        let result = |line: &str| Some(line.split(" | ").next()?.rsplit_once(" = ")?.1.to_owned());
        match (result(line), result(tagged)) {
            (Some(native), Some(tagged)) if native.starts_with("-1") => {
                native != tagged && !(tagged == "-1 EPERM" && is_excepted(line, &native))
            }
            (Some(_), Some(result)) if result == "-1 EPERM" => false,
            // What does nothing to the file, as O_PATH.
            _ => line != tagged || line.contains(" | "),
        }
    };
    let pairs: Vec<_> = native.output.lines().zip(tagged.output.lines()).collect();
    let wrong: Vec<_> = pairs.iter().copied().filter(wrong).collect();
    if !wrong.is_empty() || native.output.lines().count() != pairs.len() {
        let (count, first) = (wrong.len(), wrong.iter().take(8));
        fail!(
            "{count} lines of {}: {:#?}",
            pairs.len(),
            first.collect::<Vec<_>>()
        );
    }
    Ok(())
}
