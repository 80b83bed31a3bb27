//! Bad arguments to every row of the table of hooks, under each of its names: the kernel's answers,
//! and no crash, on the smallest stack there is.

use daxshim_core::symbols::HOOKS;
use daxshim_tests::{Failed, Outcome, Run, Scene, Shim, Tag, fail, program, scene};
use libtest_mimic::{Arguments, Trial};

/// For each row what `programs/arguments/bad_input.c` calls it with.
const SIGNATURES: &[(&str, &[&str])] = &[
    ("open", &["fd path 2", "fd path 0x201"]),
    ("open_2", &["fd path 2", "fd path 0x201"]),
    ("openat", &["fd dirfd path 2", "fd dirfd path 0x201"]),
    ("openat_2", &["fd dirfd path 2", "fd dirfd path 0x201"]),
    ("creat", &["fd path 0644"]),
    (
        "open_by_handle_at",
        &["fd dirfd struct 2", "fd dirfd struct 0x201"],
    ),
    ("write", &["long fd buffer size"]),
    ("pwrite", &["long fd buffer size offset"]),
    ("writev", &["long fd iovec count"]),
    ("pwritev", &["long fd iovec count offset"]),
    ("pwritev2", &["long fd iovec count offset flags"]),
    ("read", &["long fd buffer size"]),
    ("pread", &["long fd buffer size offset"]),
    ("readv", &["long fd iovec count"]),
    ("preadv", &["long fd iovec count offset"]),
    ("preadv2", &["long fd iovec count offset flags"]),
    (
        "sendfile",
        &["long pipe fd maybe size", "long fd 100 maybe size"],
    ),
    ("splice", &["long fd maybe pipe maybe size flags"]),
    ("copy_file_range", &["long fd maybe fd maybe size flags"]),
    ("ftruncate", &["int fd offset"]),
    ("truncate", &["int path offset"]),
    ("fallocate", &["int fd 0 offset size"]),
    ("chmod", &["int path 0600"]),
    ("fchmod", &["int fd 0600"]),
    ("fchmodat", &["int dirfd path 0600 flags"]),
    ("lchmod", &["int path 0600"]),
    ("chown", &["int path 1 1"]),
    ("fchown", &["int fd 1 1"]),
    ("lchown", &["int path 1 1"]),
    ("fchownat", &["int dirfd path 1 1 flags"]),
    ("utimensat", &["int dirfd path struct flags"]),
    // libc itself reads the times of these, and crashes where they are not there.
    ("utime", &["int path 0"]),
    ("utimes", &["int path 0"]),
    ("futimesat", &["int dirfd path 0"]),
    ("lutimes", &["int path 0"]),
    ("futimes", &["int fd 0"]),
    ("futimens", &["int fd struct"]),
    ("setxattr", &["int path name buffer size flags"]),
    ("lsetxattr", &["int path name buffer size flags"]),
    ("fsetxattr", &["int fd name buffer size flags"]),
    ("removexattr", &["int path name"]),
    ("lremovexattr", &["int path name"]),
    ("fremovexattr", &["int fd name"]),
    // PR_SET_NAME, PR_SET_SECCOMP.
    ("prctl", &["int 15 name", "int 22 2 struct"]),
    ("link", &["int path target"]),
    ("linkat", &["int dirfd path dirfd target flags"]),
    ("rename", &["int path target"]),
    ("renameat", &["int dirfd path dirfd target"]),
    ("renameat2", &["int dirfd path dirfd target flags"]),
    ("unlink", &["int path"]),
    ("unlinkat", &["int dirfd path flags"]),
    ("remove", &["int path"]),
    ("mmap", &["map 0 length 3 1 fd offset"]),
    ("munmap", &["int mapping length"]),
    ("mremap", &["map mapping 4096 length 1"]),
    ("mprotect", &["int mapping span 0"]),
    ("pkey_mprotect", &["int mapping span 0 -1"]),
    ("madvise", &["int mapping span 4", "int mapping span 9"]),
    ("process_madvise", &["long fd iovec count 9 flags"]),
    ("remap_file_pages", &["int mapping length 0 0 0"]),
    ("shmat", &["map -1 mapping flags"]),
    ("msync", &["int mapping length 4", "int mapping 4096 flags"]),
    ("fsync", &["int fd"]),
    ("fdatasync", &["int fd"]),
    (
        "sync_file_range",
        &["int fd offset size 7", "int fd 0 16 flags"],
    ),
    ("dup", &["fd fd"]),
    ("dup2", &["fd fd new"]),
    ("dup3", &["fd fd new flags"]),
    (
        "fcntl",
        &[
            "int fd 3",
            "fd fd 0 flags",
            "int fd 5 struct",
            "int fd 6 struct",
            "int fd 36 struct",
            "int fd flags 0",
        ],
    ),
    ("close", &["int fd"]),
    ("close_range", &["int fd 111 flags"]),
    ("recvmsg", &["long socket struct 0x40"]),
    ("recvmmsg", &["int socket struct count 0x40 0"]),
    ("pidfd_getfd", &["fd fd 110 0"]),
    ("execve", &["int path struct struct"]),
    ("execveat", &["int dirfd path struct struct flags"]),
    ("fexecve", &["int fd struct struct"]),
    (
        "ioctl",
        &[
            "int fd 0x40049409 fd",
            "int fd 0x4020940d struct",
            "int fd 0xc0189436 struct",
            "int fd 0x40086602 struct",
            "int fd 0x401c5820 struct",
            "int fd 0x40305828 struct",
            "int fd 0xc028660f struct",
            "int fd 0x4c00 fd",
        ],
    ),
    (
        "syscall",
        &[
            "long flags fd buffer size",
            "long 1 fd buffer size",
            "long 20 fd iovec count",
            "fd 257 dirfd path 0x201",
            "fd 437 dirfd path struct size",
            "long 77 fd offset",
            "long 188 path name buffer size flags",
            "long 316 dirfd path dirfd target flags",
            "long 452 dirfd path 0600 flags",
            "long 463 dirfd path 0 name struct",
            "long 26 mapping length 4",
            "long 209 0 count struct",
            "long 209 struct count struct",
            "long 469 dirfd path struct size flags",
        ],
    ),
];

/// Rows that are not tried, and why.
const LEFT_OUT: &[(&str, &str)] = &[
    ("io_submit", "libaio's, not libc's; by number it is tried"),
    ("aio_fsync", "libc itself writes to what it points to"),
    ("closefrom", "has no bad argument: -1 closes everything"),
    ("longjmp", "does not come back"),
    ("vfork", "has no argument"),
    ("exit_group", "has no bad argument, and does not return"),
    ("clone", "libc itself uses the stack it is given"),
    ("unshare", "any flag may be one that takes effect"),
];

/// What the kernel finds only after it has looked whether the file may be changed; by a part of the
/// row's signature where it depends on that (copy_file_range: generic_copy_file_checks).
const LATER: &[(&str, &str)] = &[
    ("", "EFBIG"),
    ("", "ENODATA"),
    ("", "EOPNOTSUPP"),
    ("fd maybe fd maybe size", "EINVAL"),
];

fn main() {
    let mut trials = Vec::new();
    for hook in HOOKS {
        let row = hook.function;
        // Other libraries' functions follow whatever pointer they are given.
        if !hook.is_of_libc() || LEFT_OUT.iter().any(|(left_out, _)| *left_out == row) {
            continue;
        }
        let signatures = SIGNATURES.iter().find(|(name, _)| *name == row);
        // On real DAX, which is slow to get, under one name each.
        let names = if scene::real() { 1 } else { usize::MAX };
        for &symbol in hook.symbols.iter().take(names) {
            trials.push(Trial::test(
                format!("{row}/{symbol}"),
                move || match signatures {
                    Some((_, signatures)) => held_against_the_kernel(symbol, signatures),
                    None => fail!("what to call {row} with is not in SIGNATURES"),
                },
            ));
        }
    }
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}

fn run(shim: &Shim, symbol: &str, signatures: &[&str], scene: &Scene) -> Result<Run, Failed> {
    let mut command = shim.command(program("arguments/bad_input"));
    let command = command.arg(symbol).arg(scene.dir()).args(signatures);
    Run::of(command.current_dir(scene.dir()))
}

fn held_against_the_kernel(symbol: &str, signatures: &[&str]) -> Outcome {
    let native = run(&Shim::none(), symbol, signatures, &Scene::new(Tag::None)?)?;
    if !native.status.success() || native.output.is_empty() {
        fail!("natively {}:\n{}", native.status, native.output);
    }
    run(&Shim::new(), symbol, signatures, &Scene::new(Tag::None)?)?
        .expect(&native.output, &native)?;

    let scene = Scene::new(Tag::Valid)?;
    let before = scene.snapshot("file")?;
    let tagged = run(&Shim::new(), symbol, signatures, &scene)?;
    before.same(&scene.snapshot("file")?)?;
    let lines = native.output.lines().zip(tagged.output.lines());
    let expected: String = lines
        .map(|(native, got)| answer(native, got) + "\n")
        .collect();
    tagged.expect(&expected, &native)
}

/// What must come of a call on a tagged file: the kernel's error, where it has one; what the kernel
/// lets through may be refused.
fn answer(native: &str, got: &str) -> String {
    let (call, result) = native.rsplit_once(" = ").unwrap_or((native, ""));
    let refused = format!("{call} = -1 EPERM");
    let is_late = LATER
        .iter()
        .any(|(of, errno)| call.contains(of) && result == format!("-1 {errno}"));
    if got == refused && (is_late || !result.starts_with("-1 ")) {
        refused
    } else {
        native.to_owned()
    }
}
