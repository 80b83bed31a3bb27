//! Nothing of libc slips past: its code is read as a disassembler reads it, the library is asked what
//! it does about it, and every exported function that reaches a system call which changes something,
//! and is neither hooked nor made at a place that the library turned, is named.

use daxshim_tests::callgraph::{Library, Place, exports};
use daxshim_tests::{Run, Shim, library, program};
use libc::*;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::Path;

/// Every system call that can change a file, or what a descriptor or mapping is, or what watches over
/// them (Linux 6.18), whether there is a row for it or not. Those that can't be made through a function of libc are here too, as
/// a later one may have it.
const CHANGES: &[c_long] = &[
    SYS_open,
    SYS_openat,
    SYS_creat,
    SYS_openat2,
    SYS_open_by_handle_at,
    SYS_write,
    SYS_pwrite64,
    SYS_writev,
    SYS_pwritev,
    SYS_pwritev2,
    SYS_read,
    SYS_pread64,
    SYS_readv,
    SYS_preadv,
    SYS_preadv2,
    SYS_sendfile,
    SYS_splice,
    SYS_copy_file_range,
    SYS_vmsplice,
    SYS_tee,
    SYS_truncate,
    SYS_ftruncate,
    SYS_fallocate,
    SYS_chmod,
    SYS_fchmod,
    SYS_fchmodat,
    SYS_fchmodat2,
    SYS_chown,
    SYS_fchown,
    SYS_lchown,
    SYS_fchownat,
    SYS_utime,
    SYS_utimes,
    SYS_futimesat,
    SYS_utimensat,
    SYS_setxattr,
    SYS_lsetxattr,
    SYS_fsetxattr,
    SETXATTRAT,
    SYS_removexattr,
    SYS_lremovexattr,
    SYS_fremovexattr,
    REMOVEXATTRAT,
    SYS_link,
    SYS_linkat,
    SYS_rename,
    SYS_renameat,
    SYS_renameat2,
    SYS_unlink,
    SYS_unlinkat,
    SYS_ioctl,
    FILE_SETATTR,
    SYS_mmap,
    SYS_munmap,
    SYS_mremap,
    SYS_mprotect,
    SYS_pkey_mprotect,
    SYS_madvise,
    SYS_process_madvise,
    SYS_remap_file_pages,
    SYS_shmat,
    SYS_msync,
    SYS_fsync,
    SYS_fdatasync,
    SYS_sync_file_range,
    SYS_dup,
    SYS_dup2,
    SYS_dup3,
    SYS_fcntl,
    SYS_close,
    SYS_close_range,
    SYS_execve,
    SYS_execveat,
    SYS_recvmsg,
    SYS_recvmmsg,
    SYS_pidfd_getfd,
    SYS_io_submit,
    SYS_io_uring_setup,
    SYS_io_uring_enter,
    SYS_io_uring_register,
    SYS_process_vm_writev,
    SYS_acct,
    SYS_swapon,
    SYS_quotactl,
    SYS_quotactl_fd,
];
const SETXATTRAT: c_long = 463;
const REMOVEXATTRAT: c_long = 466;
const FILE_SETATTR: c_long = 469;

/// What may be reached unwatched, and why. Functions that reach it through others need no mention
/// where `inside` says so; functions that make the call themselves, and places that are known only as
/// reached by a function, must be named.
struct Unwatched {
    number: c_long,
    inside: bool,
    by: &'static [&'static str],
    why: &'static str,
}

const fn inside(number: c_long, by: &'static [&'static str], why: &'static str) -> Unwatched {
    Unwatched {
        number,
        inside: true,
        by,
        why,
    }
}

const fn only(number: c_long, by: &'static [&'static str], why: &'static str) -> Unwatched {
    Unwatched {
        number,
        inside: false,
        by,
        why,
    }
}

const UNWATCHED: &[Unwatched] = &[
    inside(SYS_read, &[], "reading changes nothing"),
    inside(SYS_pread64, &[], "reading changes nothing"),
    inside(SYS_readv, &[], "reading changes nothing"),
    inside(SYS_fsync, &[], "a sync by the kernel is as good as any"),
    inside(SYS_fdatasync, &[], "a sync by the kernel is as good as any"),
    inside(
        SYS_dup,
        &[],
        "a new number is one that was closed, and that was seen",
    ),
    inside(
        SYS_recvmsg,
        &[],
        "a new number is one that was closed, and that was seen",
    ),
    inside(
        SYS_fcntl,
        &[],
        "a new number is one that was closed, and that was seen",
    ),
    only(
        SYS_ioctl,
        &["tcsetattr"],
        "settings of a terminal, by numbers that are its own",
    ),
    only(
        SYS_writev,
        &["_mcleanup"],
        "gmon.out, which it has just emptied: refused if tagged",
    ),
    only(
        SYS_writev,
        &["__chk_fail"],
        "last words of a program that aborts, to descriptor 2",
    ),
    only(
        SYS_process_vm_writev,
        &["process_vm_writev"],
        "a store, as through a mapping",
    ),
    only(SYS_vmsplice, &["vmsplice"], "to and from pipes only"),
    only(SYS_tee, &["tee"], "between pipes only"),
    only(
        SYS_swapon,
        &["swapon"],
        "the kernel takes no DAX file for it (EINVAL)",
    ),
    only(
        SYS_acct,
        &["acct"],
        "the kernel writes, for root alone: a limit, as with loop devices",
    ),
    only(
        SYS_quotactl,
        &["quotactl"],
        "the kernel writes, for root alone: a limit, as with loop devices",
    ),
];

/// Places of which the code does not say the number, by a function that reaches them.
const ANY_NUMBER: &[(&str, &str)] = &[
    ("syscall", "its row asks by number"),
    (
        "setuid",
        "the numbers of setuid(2) and its kin, handed from thread to thread",
    ),
    ("pthread_create", "the signal handler that does so"),
];

/// libc's code, and where the library has turned it.
fn look(shim: &Shim) -> (Library, BTreeSet<u64>) {
    let turned = |shim: &Shim| {
        let run = Run::of(&mut shim.command(program("entry/turned_places"))).expect("it runs");
        assert!(run.status.success(), "{}", run.output);
        let mut lines = run.output.lines().map(str::to_owned).collect::<Vec<_>>();
        (lines.remove(0), lines)
    };
    let (path, untouched) = turned(&Shim::none());
    assert_eq!(untouched, Vec::<String>::new(), "without the library");
    let libc = Library::read(Path::new(&path)).expect("libc can be read");
    let bytes = turned(shim).1;
    let offset = |line: &String| u64::from_str_radix(line, 16).expect("a number");
    let bytes = bytes
        .iter()
        .map(|line| libc.address(offset(line)).expect("code"))
        .collect();
    (libc, bytes)
}

/// Whether the library turned this place: its `mov` is a jump now.
fn is_turned(place: &Place, bytes: &BTreeSet<u64>) -> bool {
    place.begins.is_some_and(|begins| bytes.contains(&begins))
}

#[test]
fn every_exported_function_that_changes_something_is_watched() {
    let (libc, bytes) = look(&Shim::new());
    let hooked = exports(&library()).expect("the library can be read");
    let changes: BTreeSet<u32> = CHANGES.iter().map(|&number| number as u32).collect();

    // Which unwatched places are excused with which number, whoever reaches them.
    let mut excused = HashSet::new();
    for row in UNWATCHED {
        for name in row.by {
            let at = libc
                .exports
                .get(*name)
                .copied()
                .unwrap_or_else(|| panic!("{name}: {}", row.why));
            let reached = if row.inside {
                libc.own(at)
            } else {
                libc.reached(at)
            };
            excused.extend(
                reached
                    .iter()
                    .map(|place| (place.address, row.number as u32)),
            );
        }
    }
    for (name, _) in ANY_NUMBER {
        let unsaid = libc.reached(libc.exports[*name]);
        excused.extend(
            unsaid
                .iter()
                .filter(|place| place.numbers.is_empty())
                .flat_map(|place| changes.iter().map(|&number| (place.address, number))),
        );
    }
    let inside: HashSet<u32> = UNWATCHED
        .iter()
        .filter(|row| row.inside)
        .map(|row| row.number as u32)
        .collect();

    let mut gaps: BTreeMap<u32, BTreeSet<String>> = BTreeMap::new();
    let mut watch = |name: &str, place: &Place, is_own: bool| {
        if is_turned(place, &bytes) {
            return;
        }
        let numbers = if place.numbers.is_empty() {
            &changes
        } else {
            &place.numbers
        };
        for number in numbers.iter().filter(|number| changes.contains(number)) {
            if !excused.contains(&(place.address, *number)) && (is_own || !inside.contains(number))
            {
                gaps.entry(*number).or_default().insert(name.to_owned());
            }
        }
    };
    let mut known = HashSet::new();
    for (name, &at) in &libc.exports {
        let own: HashSet<u64> = libc.own(at).iter().map(|place| place.address).collect();
        for place in libc.reached(at) {
            known.insert(place.address);
            if !hooked.contains_key(name.trim_end_matches('@')) {
                watch(name, place, own.contains(&place.address));
            }
        }
    }
    // What is reached through tables of pointers only.
    for place in libc
        .places()
        .filter(|place| !known.contains(&place.address))
    {
        watch(&format!("{:#x}", place.address), place, false);
    }
    assert!(
        gaps.is_empty(),
        "reach this system call unwatched, by number: {gaps:#?}"
    );
}

#[test]
fn what_is_turned_is_a_system_call() {
    are_system_calls(&Shim::new());
}

#[test]
fn what_is_turned_to_refuse_reads_is_one_too() {
    are_system_calls(&Shim::new().with("DAXSHIM_READS", "deny"));
}

fn are_system_calls(shim: &Shim) {
    let (libc, bytes) = look(shim);
    let turned: Vec<&Place> = libc
        .places()
        .filter(|place| is_turned(place, &bytes))
        .collect();
    assert!(
        turned.len() > 50,
        "only {} places were turned",
        turned.len()
    );
    // Each changed byte belongs to the number of a call, or to the moves before that of syscall(2); the jump
    // that stands there is as long.
    let begins = turned.iter().filter_map(|place| place.begins);
    let begins: Vec<u64> = begins.chain([libc.exports["syscall"]]).collect();
    let is_of = |byte: u64, begins: u64| (begins..begins + 5).contains(&byte);
    let strays: Vec<_> = bytes
        .iter()
        .filter(|&&byte| !begins.iter().any(|&begins| is_of(byte, begins)))
        .collect();
    assert!(
        strays.is_empty(),
        "changed, though not part of a call: {strays:x?}"
    );
    for place in turned {
        assert_eq!(place.numbers.len(), 1, "{place:x?} is made with one number");
        assert!(
            !place.is_entered_late,
            "{place:x?} is jumped into, past the question"
        );
    }
}
