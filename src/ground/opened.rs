//! Which descriptors the program has.
//!
//! Who closes a descriptor of a file drops all record locks of the process on that file (fcntl(2)), whoever
//! opened it. So a file that the program has open is read by the program's own descriptor.

use crate::ground::place::{Place, Stat, open_flags};
use crate::ground::real::sys;
use daxshim_core::line::Line;
use daxshim_core::proc::{decimal, each_entry};
use rustix::fs::CWD;

/// How many descriptors are looked at where /proc is not there to list them.
const WITHOUT_PROC: u64 = 1 << 16;

/// Calls `visit` with each of the program's descriptors; without /proc, which `false` says, with every
/// number that may be one.
pub fn each_descriptor(mut visit: impl FnMut(i32)) -> bool {
    let listed = each_entry(CWD, c"/proc/thread-self/fd", |name| {
        if let Some(fd) = decimal(name.to_bytes()) {
            visit(fd);
        }
    });
    if listed.is_err() {
        (0..numbers()).for_each(visit);
    }
    listed.is_ok()
}

/// Numbers below which all descriptors are, but for those from before the limit was lowered.
fn numbers() -> i32 {
    let mut limit = libc::rlimit {
        rlim_cur: WITHOUT_PROC,
        rlim_max: WITHOUT_PROC,
    };
    let (this, new) = (0, 0);
    // SAFETY: the kernel fills the struct in, or leaves it.
    let _ = unsafe {
        sys!(
            SYS_prlimit64,
            this,
            libc::RLIMIT_NOFILE,
            new,
            &raw mut limit
        )
    };
    limit.rlim_cur.min(WITHOUT_PROC) as i32
}

/// How the program has a file open.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Opened {
    /// Not at all, or as a path: it has no locks and no leases.
    No,
    /// It can be read from this descriptor.
    Readable(i32),
    /// For writing alone.
    Writable(i32),
}

/// How the program has the file open that answered stat(2) so.
pub fn of_file(stat: &Stat) -> Opened {
    let mut opened = Opened::No;
    let _ = each_descriptor(|fd| {
        let is_it = |now: Stat| (now.st_dev, now.st_ino) == (stat.st_dev, stat.st_ino);
        if matches!(opened, Opened::Readable(_)) || !Place::Descriptor(fd).stat().is_ok_and(is_it) {
            return;
        }
        match open_flags(fd) {
            Some(flags) if flags & libc::O_PATH != 0 => {}
            Some(flags) if flags & libc::O_ACCMODE == libc::O_WRONLY => {
                opened = Opened::Writable(fd);
            }
            _ => opened = Opened::Readable(fd),
        }
    });
    opened
}

/// Whether a descriptor is of one of these kinds that have no file, by the names that /proc gives them: some 30
/// bytes at most.
pub fn is_anonymous(fd: i32, kinds: &[&[u8]]) -> bool {
    let mut link = Line::<32>::new();
    let mut target = [0_u8; 32];
    link.c_str(format_args!("/proc/thread-self/fd/{fd}"))
        .and_then(|link| rustix::fs::readlinkat_raw(CWD, link, &mut target).ok())
        .and_then(|length| target.get(..length))
        .is_some_and(|target| kinds.contains(&target))
}
