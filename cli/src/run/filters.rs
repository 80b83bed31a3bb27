//! System call filters that the command has inherited, as a container's: whether they are harmless to the
//! library, tried before it is preloaded. In a process under filters that nobody has tried the library
//! makes no calls of its own, and so enforces nothing.

use std::io;

use daxshim_core::seccomp::{HARMLESS, Status};
use daxshim_core::units::PAGE;
use libc::*;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, fork};

use super::environment::Environment;
use super::warn;

/// No descriptor, and an address where nothing is.
const BAD: usize = usize::MAX;
/// Linux 6.13; libc has no name for it yet.
const SYS_GETXATTRAT: c_long = 464;
/// Linux 6.17; libc has no name for it yet.
const SYS_FILE_GETATTR: c_long = 468;
/// The same.
const SYS_FILE_SETATTR: c_long = 469;

/// Every system call of the library's own, with arguments like those it is made with, as far as filters can
/// look at them, but without effect.
const OWN: &[(c_long, &[usize])] = &[
    (SYS_access, &[BAD, F_OK as usize]),
    (SYS_capget, &[BAD, BAD]),
    (SYS_clock_gettime, &[CLOCK_MONOTONIC as usize, BAD]),
    (SYS_clock_gettime, &[CLOCK_THREAD_CPUTIME_ID as usize, BAD]),
    (SYS_close, &[BAD]),
    (SYS_copy_file_range, &[BAD, 0, BAD, 0, 0, 0]),
    (
        SYS_faccessat2,
        &[BAD, BAD, W_OK as usize, AT_EACCESS as usize],
    ),
    (SYS_fallocate, &[BAD, 0, 0, 1]),
    (SYS_fcntl, &[BAD, F_GETFL as usize]),
    (SYS_fcntl, &[BAD, F_GETLEASE as usize]),
    (SYS_fcntl, &[BAD, F_SETLEASE as usize, F_RDLCK as usize]),
    (SYS_fgetxattr, &[BAD, BAD, BAD, 1]),
    (SYS_FILE_GETATTR, &[BAD, BAD, BAD, 24, 0]),
    (SYS_FILE_SETATTR, &[BAD, BAD, BAD, 24, 0]),
    (SYS_fremovexattr, &[BAD, BAD]),
    (SYS_fsetxattr, &[BAD, BAD, BAD, 1, 0]),
    (SYS_fstat, &[BAD, BAD]),
    (SYS_fstatfs, &[BAD, BAD]),
    (SYS_fsync, &[BAD]),
    (SYS_ftruncate, &[BAD, 1]),
    (SYS_getdents64, &[BAD, BAD, 512]),
    (SYS_get_robust_list, &[0, BAD, BAD]),
    (SYS_getegid, &[]),
    (SYS_geteuid, &[]),
    (SYS_getgid, &[]),
    (SYS_getpid, &[]),
    (SYS_getppid, &[]),
    (SYS_getrusage, &[RUSAGE_SELF as usize, BAD]),
    (SYS_gettid, &[]),
    (SYS_getuid, &[]),
    (SYS_getxattr, &[BAD, BAD, BAD, 1]),
    (SYS_GETXATTRAT, &[BAD, BAD, 0, BAD, BAD, 16]),
    (SYS_ioctl, &[BAD, 0x8008_7601, BAD]), // FS_IOC_GETVERSION
    (SYS_ioctl, &[BAD, 0xc020_660b, BAD]), // FS_IOC_FIEMAP
    (SYS_lgetxattr, &[BAD, BAD, BAD, 1]),
    (SYS_linkat, &[AT_FDCWD as usize, BAD, BAD, BAD, 0]),
    (SYS_lseek, &[BAD, 0, SEEK_HOLE as usize]),
    (SYS_madvise, &[SCRATCH, PAGE, MADV_NORMAL as usize]),
    (SYS_mincore, &[SCRATCH, PAGE, BAD]),
    (SYS_mmap, &[SCRATCH, PAGE, READ_WRITE, FIXED, BAD, 0]),
    (
        SYS_mprotect,
        &[SCRATCH, PAGE, (PROT_READ | PROT_EXEC) as usize],
    ),
    (SYS_munmap, &[SCRATCH, PAGE]),
    (SYS_msync, &[SCRATCH, PAGE, MS_SYNC as usize]),
    (SYS_name_to_handle_at, &[BAD, BAD, BAD, BAD, 0]),
    (SYS_nanosleep, &[BAD, BAD]),
    (SYS_newfstatat, &[BAD, BAD, BAD, 0]),
    (SYS_open_by_handle_at, &[BAD, BAD, O_PATH as usize]),
    (SYS_openat, &[AT_FDCWD as usize, BAD, O_CLOEXEC as usize]),
    (
        SYS_openat,
        &[
            AT_FDCWD as usize,
            BAD,
            (O_CLOEXEC | O_RDWR | O_CREAT) as usize,
            0o600,
        ],
    ),
    (SYS_openat2, &[AT_FDCWD as usize, BAD, BAD, 24]),
    (SYS_prctl, &[PR_GET_NO_NEW_PRIVS as usize, 0, 0, 0, 0]),
    (SYS_prctl, &[PR_GET_TID_ADDRESS as usize, BAD]),
    (SYS_prctl, &[25, BAD]), // PR_GET_TSC
    (SYS_pread64, &[BAD, BAD, 1, 0]),
    (SYS_prlimit64, &[0, RLIMIT_FSIZE as usize, 0, BAD]),
    (SYS_prlimit64, &[0, RLIMIT_NOFILE as usize, 0, BAD]),
    (SYS_process_madvise, &[BAD, 0, 0, 0, 0]),
    (SYS_process_vm_readv, &[0, 0, 0, 0, 0, 0]),
    (SYS_process_vm_writev, &[0, 0, 0, 0, 0, 0]),
    (SYS_pwrite64, &[BAD, BAD, 1, 0]),
    (SYS_read, &[BAD, BAD, 1]),
    (SYS_readlinkat, &[AT_FDCWD as usize, BAD, BAD, 1]),
    (SYS_rt_sigaction, &[SIGSEGV as usize, 0, 0, 8]),
    (SYS_rt_sigprocmask, &[SIG_SETMASK as usize, 0, 0, 8]),
    (SYS_rt_tgsigqueueinfo, &[0, 0, SIGSEGV as usize, BAD]),
    (SYS_sched_yield, &[]),
    (SYS_sendfile, &[BAD, BAD, 0, 0]),
    (SYS_set_tid_address, &[0]),
    (SYS_shmctl, &[BAD, IPC_STAT as usize, BAD]),
    (SYS_sigaltstack, &[0, BAD]),
    (SYS_statfs, &[BAD, BAD]),
    (SYS_statx, &[BAD, BAD, 0, 0, BAD]),
    (SYS_sync_file_range, &[BAD, 0, 0, 7]),
    (SYS_write, &[BAD, BAD, 1]),
];
/// An address that is free: the program itself is far away, and the kernel places nothing so low.
const SCRATCH: usize = 1 << 30;
const READ_WRITE: usize = (PROT_READ | PROT_WRITE) as usize;
const FIXED: usize = (MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED) as usize;

/// Tells the library whether it may make calls of its own; says so if not.
pub fn tell(environment: &mut Environment) {
    let variable = HARMLESS.to_string_lossy();
    environment.remove(&variable);
    // Said of no filters too: where the program will have no /proc, that is all there is to go by.
    let status = Status::of_self();
    if status.is_ok_and(|status| !status.is_filtered()) {
        environment.set(&variable, "0");
        return;
    }
    let filters = status.map_or(Some(0), |status| status.filters);
    let refused = match (filters, kills()) {
        (Some(filters), Ok(None)) => {
            environment.set(&variable, filters.to_string());
            return;
        }
        (None, _) => {
            "before Linux 5.9 they can't be counted, so that one more would be unseen".into()
        }
        (_, Ok(Some(how))) => {
            format!("one of them ends a program for a system call of the library's ({how})")
        }
        (_, Err(error)) => format!("they can't be tried: {error}"),
    };
    warn(
        "nothing will be enforced, and every sync goes to the kernel",
        &format!("this process is under system call filters (seccomp); {refused}"),
        "run it outside of the sandbox, or with filters that answer an errno instead",
    );
}

/// How a child ended that made all of the calls; `None`: as it should.
fn kills() -> io::Result<Option<String>> {
    // SAFETY: the child makes system calls alone.
    match unsafe { fork() }? {
        ForkResult::Child => {
            make_them();
            // SAFETY: ends the child.
            unsafe { _exit(0) }
        }
        ForkResult::Parent { child } => Ok(match waitpid(child, None)? {
            WaitStatus::Exited(_, 0) => None,
            WaitStatus::Signaled(_, signal, _) => Some(signal.as_str().into()),
            other => Some(format!("{other:?}")),
        }),
    }
}

fn make_them() {
    let none = rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: no core is dumped where a filter kills.
    unsafe { setrlimit(RLIMIT_CORE, &raw const none) };
    // SAFETY: a page that nobody has, in a process that does nothing else.
    unsafe { syscall(SYS_mmap, SCRATCH, PAGE, READ_WRITE, FIXED, BAD, 0) };
    for (number, given) in OWN {
        let mut all = [0; 6];
        for (to, from) in all.iter_mut().zip(*given) {
            *to = *from;
        }
        let [a, b, c, d, e, f] = all;
        // SAFETY: see `OWN`.
        unsafe { syscall(*number, a, b, c, d, e, f) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::path::{Path, PathBuf};

    /// The sources of the library: its own, and those of the core that it links.
    fn sources() -> Vec<PathBuf> {
        fn gather(directory: &Path, into: &mut Vec<PathBuf>) {
            for entry in std::fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    if !path.ends_with("host") {
                        gather(&path, into);
                    }
                } else if path.extension().is_some_and(|extension| extension == "rs")
                    && !path.ends_with("tests.rs")
                {
                    into.push(path);
                }
            }
        }
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let mut found = Vec::new();
        gather(&root.join("src"), &mut found);
        gather(&root.join("core/src"), &mut found);
        found
    }

    /// What stands in the source before its unit tests.
    fn text(path: &Path) -> String {
        let text = std::fs::read_to_string(path).unwrap();
        text.split("#[cfg(test)]\nmod tests").next().unwrap().into()
    }

    #[test]
    fn every_call_of_the_library_s_own_is_tried() {
        let tried: String = include_str!("filters.rs").split_whitespace().collect();
        for path in sources() {
            let text = text(&path);
            for part in text.split(" sys!(").chain(text.split("::sys!(")).skip(1) {
                let name: String = part
                    .trim_start()
                    .chars()
                    .take_while(|c| c.is_alphanumeric() || *c == '_')
                    .collect();
                let listed = tried.contains(&format!("({name},"));
                assert!(
                    !name.starts_with("SYS_") || listed,
                    "{name}, in {path:?}, is not in OWN"
                );
            }
        }
    }

    /// rustix enters the kernel without asking `real::is_sealed`, so who uses it in the library must have
    /// asked: a descriptor of the program's comes from `subject::borrow`, which does.
    #[test]
    fn who_uses_rustix_is_known() {
        let mut users = BTreeSet::new();
        for path in sources() {
            let text = text(&path);
            let calls = text.lines().any(|line| {
                let line = line.trim_start();
                !line.starts_with("//")
                    && line.contains("rustix::")
                    && !line.contains("rustix::io::Errno")
            });
            if calls {
                let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
                users.insert(
                    path.strip_prefix(root)
                        .unwrap()
                        .to_str()
                        .unwrap()
                        .to_owned(),
                );
            }
        }
        let known = [
            // By a descriptor that somebody has borrowed or opened; or constants.
            "core/src/dax.rs",
            "core/src/extents.rs",
            "core/src/filesystem.rs",
            "core/src/holders.rs",
            "core/src/maps.rs",
            "core/src/pagemap.rs",
            "core/src/proc.rs",
            "core/src/requests.rs",
            "core/src/tag/change.rs",
            "core/src/tag/mod.rs",
            // By the constructor, with calls that the loader makes too.
            "core/src/seccomp.rs",
            "src/ground/allocate.rs",
            "src/ground/logger.rs",
            "src/ground/page.rs",
            "src/tag/audit.rs",
            // They ask.
            "src/ask.rs",
            "src/ground/place.rs",
            "src/ground/process.rs",
            "src/hooks/attributes.rs",
            // Before a process is sealed, or behind a tag, a file or a descriptor that was looked up, of which
            // there is none in a sealed one.
            "src/exec/unseen.rs",
            "src/ground/opened.rs",
            "src/hooks/map.rs",
            "src/tag/held.rs",
            "src/tag/tagging.rs",
            // Behind the first look at a file.
            "src/check/journal.rs",
            "src/check/shadow_file.rs",
            "src/check/watch.rs",
        ];
        let known: BTreeSet<String> = known.map(String::from).into();
        assert_eq!(users, known);
    }

    #[test]
    fn here_they_kill_nobody() {
        if !Status::of_self().unwrap().is_filtered() {
            assert_eq!(kills().unwrap(), None);
        }
    }
}
