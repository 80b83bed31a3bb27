//! The one way down to the kernel.
//!
//! The shim's own system calls go down raw, so that they touch neither errno nor an interposable
//! name. rustix does that for descriptors and memory of ours; calls with the program's own
//! pointers, which may be invalid, must not be dereferenced on the way and so use [`syscall`].
//!
//! A process that has put itself under a seccomp filter is *sealed*: the filter may kill it for a call
//! that it did not make. From then on [`syscall`] answers ENOSYS without entering the kernel, and what
//! uses rustix in a hook asks [`is_sealed`] first ([`borrow`](crate::ground::place::borrow) does for whatever
//! takes a descriptor of the program's). What the program called itself is made all the same:
//! [`syscall_of_program`].

use core::arch::asm;
use core::ffi::{c_int, c_long, c_void};
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use core::time::Duration;

/// An errno value.
pub type Errno = i32;

/// How many calls have put the process, or are about to put it, under a filter.
pub static SEALS: AtomicU32 = AtomicU32::new(0);

/// Children of vfork(2) that run in this memory now, and from bit 32 on how often they have put themselves
/// under a filter. One word: with the last child its seals go, and none of the next one's.
pub static CHILDREN: AtomicU64 = AtomicU64::new(0);

/// One seal of a child's.
const SEAL_OF_CHILD: u64 = 1 << 32;

/// How many children of vfork(2) there are.
#[inline]
pub fn children() -> u32 {
    CHILDREN.load(Ordering::Relaxed) as u32
}

/// A child of vfork(2) is about to be made.
pub fn child_begins() {
    CHILDREN.fetch_add(1, Ordering::SeqCst);
}

/// In the parent: it has ended, or executed something, or was not made. [`vfork`](crate::entry::vfork::vfork)
/// does the same.
pub fn child_has_ended() {
    let less = |now: u64| Some(if now as u32 <= 1 { 0 } else { now - 1 });
    let _ = CHILDREN.fetch_update(Ordering::SeqCst, Ordering::Relaxed, less);
}

/// Whether a system call of the shim's own might cost the program its life.
#[inline]
pub fn is_sealed() -> bool {
    SEALS.load(Ordering::Relaxed) != 0 || is_child_sealed()
}

/// Whether it would a child of vfork(2).
#[inline]
pub fn is_child_sealed() -> bool {
    CHILDREN.load(Ordering::Relaxed) >= SEAL_OF_CHILD
}

/// Who is under a filter.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Sealed {
    /// The process, from now on.
    Process,
    /// A child of vfork(2), whose parent goes on without one.
    Child,
}

/// From now on no system call of the shim's own is made. Before the call that sets up the filter.
pub fn seal(who: Sealed) {
    match who {
        Sealed::Process => {
            SEALS.fetch_add(1, Ordering::SeqCst);
        }
        Sealed::Child => {
            CHILDREN.fetch_add(SEAL_OF_CHILD, Ordering::SeqCst);
        }
    }
}

/// The call that a [`seal`] was for has failed.
pub fn unseal(who: Sealed) {
    match who {
        Sealed::Process => {
            SEALS.fetch_sub(1, Ordering::SeqCst);
        }
        Sealed::Child => {
            CHILDREN.fetch_sub(SEAL_OF_CHILD, Ordering::SeqCst);
        }
    }
}

/// A system call of the shim's own. ENOSYS in a sealed process.
///
/// # Safety
/// As for the call itself; the kernel answers EFAULT to pointers it can't follow.
pub unsafe fn syscall(number: c_long, args: [usize; 6]) -> Result<usize, Errno> {
    if is_sealed() {
        return Err(libc::ENOSYS);
    }
    // SAFETY: by the caller's promise.
    unsafe { syscall_of_program(number, args) }
}

/// The system call that the program has made, of the same number: whatever is to become of the program
/// for it, it has asked for.
///
/// # Safety
/// As for [`syscall`].
pub unsafe fn syscall_of_program(number: c_long, args: [usize; 6]) -> Result<usize, Errno> {
    // One instruction: the crate `syscalls` would add its tables of numbers, and its own type for errors.
    let [a, b, c, d, e, f] = args;
    let result: isize;
    // SAFETY: the x86-64 system call convention; the caller answers for the call.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number as isize => result,
            in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d, in("r8") e, in("r9") f,
            lateout("rcx") _, lateout("r11") _,
            options(nostack),
        );
    }
    if (-4095..0).contains(&result) {
        Err(-result as Errno)
    } else {
        Ok(result as usize)
    }
}

/// The numbers that the table of hooks names.
pub mod numbers {
    pub use libc::*;

    /// No system call.
    pub const NONE: c_long = 0x7fff;
    /// No system call either: a function of another library than libc.
    pub const ELSEWHERE: c_long = 0x7ffe;
    /// That of syscall(2)'s first argument.
    pub const ITS_ARGUMENT: c_long = -1;
    /// Linux 6.13; libc has no name for it yet.
    pub const SYS_SETXATTRAT: c_long = 463;
    /// Linux 6.13; libc has no name for it yet.
    pub const SYS_REMOVEXATTRAT: c_long = 466;
    /// Linux 6.17; libc has no name for it yet.
    pub const SYS_FILE_GETATTR: c_long = 468;
    /// Linux 6.17; libc has no name for it yet.
    pub const SYS_FILE_SETATTR: c_long = 469;
}

/// Hands `[a, b, …]` to [`syscall`], padded with zeros.
macro_rules! sys {
    ($number:ident $(, $arg:expr)* $(,)?) => {
        $crate::ground::real::syscall(libc::$number, $crate::ground::real::six!($($arg),*))
    };
}
pub(crate) use sys;

/// The same to [`syscall_of_program`].
macro_rules! sys_of_program {
    ($number:ident $(, $arg:expr)* $(,)?) => {
        $crate::ground::real::syscall_of_program(libc::$number, $crate::ground::real::six!($($arg),*))
    };
}
pub(crate) use sys_of_program;

macro_rules! six {
    ($($arg:expr),*) => {{
        let mut args = [0usize; 6];
        for (slot, arg) in args.iter_mut().zip([$($arg as usize),*]) {
            *slot = arg;
        }
        args
    }};
}
pub(crate) use six;

/// Sets errno.
pub fn set_errno(errno: Errno) {
    // SAFETY: glibc's thread-local errno; always valid in a thread of glibc's.
    unsafe { *libc::__errno_location() = errno };
}

/// Where a system call made in assembly failed: sets errno; -1.
pub extern "C" fn fail(errno: Errno) -> isize {
    set_errno(errno);
    -1
}

/// errno.
pub fn errno() -> Errno {
    // SAFETY: as in `set_errno`.
    unsafe { *libc::__errno_location() }
}

/// Registers what a process must do when it has forked, and what its child must do first.
pub fn at_fork(parent: unsafe extern "C" fn(), child: unsafe extern "C" fn()) {
    // SAFETY: the handlers are async-signal-safe, as pthread_atfork(3) asks.
    let _: c_int = unsafe { libc::pthread_atfork(None, Some(parent), Some(child)) };
}

/// All signals of this thread are held back until this is dropped; in a sealed process none are.
pub struct SignalsBlocked(Option<u64>);

impl SignalsBlocked {
    /// Holds them back.
    pub fn new() -> SignalsBlocked {
        let all = u64::MAX;
        let mut before = 0u64;
        let (new, old) = (&raw const all, &raw mut before);
        // SAFETY: both masks are ours and eight bytes long.
        let held = unsafe { sys!(SYS_rt_sigprocmask, libc::SIG_SETMASK, new, old, 8) };
        SignalsBlocked(held.ok().map(|_| before))
    }
}

impl Drop for SignalsBlocked {
    fn drop(&mut self) {
        let Some(before) = &self.0 else { return };
        let none: *mut c_void = core::ptr::null_mut();
        // Sealed meanwhile or not: held back for good would be worse, and the filter that another thread
        // has put itself under is most often not this one's.
        // SAFETY: the mask is ours and eight bytes long.
        let _ = unsafe {
            let before = &raw const *before;
            sys_of_program!(SYS_rt_sigprocmask, libc::SIG_SETMASK, before, none, 8)
        };
    }
}

/// Lets other threads go first; a sealed process just waits a little.
pub fn yield_now() {
    // SAFETY: takes nothing.
    if unsafe { sys!(SYS_sched_yield) }.is_err() {
        core::hint::spin_loop();
    }
}

/// Sleeps for some 20 µs and what the kernel takes to wake a thread; a sealed process just waits a little
/// longer than by [`yield_now`].
pub fn sleep_shortly() {
    const LITTLE: usize = 1 << 12;
    if sleep(Duration::from_micros(20)) == Err(libc::ENOSYS) {
        for _ in 0..LITTLE {
            core::hint::spin_loop();
        }
    }
}

/// Sleeps for so long; EINTR where a signal's handler ran meanwhile, ENOSYS in a sealed process.
pub fn sleep(duration: Duration) -> Result<(), Errno> {
    let time = libc::timespec {
        tv_sec: duration.as_secs() as i64,
        tv_nsec: i64::from(duration.subsec_nanos()),
    };
    // SAFETY: a timespec of ours; what is left of it is not asked for.
    unsafe { sys!(SYS_nanosleep, &raw const time, 0) }.map(|_| ())
}

/// CLOCK_MONOTONIC, ns; 0 where there is none or the process is sealed. Not by the vDSO, which reads the
/// time-stamp counter; and valgrind hides it.
pub fn monotonic_ns() -> u64 {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: a timespec of ours.
    let _ = unsafe { sys!(SYS_clock_gettime, libc::CLOCK_MONOTONIC, &raw mut now) };
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}
