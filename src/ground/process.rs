//! What the process is set up with, and which one it is.

use crate::ground::memory::leak;
use crate::ground::real;
use core::ffi::CStr;
use core::ptr;
use core::sync::atomic::{AtomicPtr, AtomicU8, AtomicU32, Ordering};
use daxshim_core::config::{Config, Misunderstood};
use daxshim_core::contract::Mode;
use daxshim_core::flush::WriteBack;
use once_cell::race::OnceRef;

/// What the environment said, read once.
pub struct Setup {
    config: Config,
    misunderstood: Misunderstood,
    /// `DAXSHIM_REPORT`. A copy: programs that change their title write over the environment they were
    /// started with.
    report_directory: Option<&'static CStr>,
    /// `DAXSHIM_WATCH`, a copy as well.
    watch: Option<&'static CStr>,
}

impl Setup {
    /// Kept for the life of the process. `None`: there is no memory.
    pub fn new(
        config: Config,
        misunderstood: Misunderstood,
        report_directory: Option<&'static CStr>,
        watch: Option<&'static CStr>,
    ) -> Option<&'static Setup> {
        leak(Setup {
            config,
            misunderstood,
            report_directory,
            watch,
        })
    }
}

/// Written once, by the constructor; neither that nor reading it takes a lock or waits. Neither writes nor reads touch a
/// thread-local: a preloaded libtsan can't serve those before its own constructor has run.
static SETUP: OnceRef<Setup> = OnceRef::new();

/// Until the constructor has run.
static DEFAULT: Config = Config {
    policy: daxshim_core::contract::Policy {
        mode: Mode::Enforce,
        compat: false,
        deny_reads: false,
    },
    flush: daxshim_core::config::FlushPolicy::Auto,
    emulate: false,
    deep: false,
    prefault: false,
    check: daxshim_core::config::Checking::Off,
    blame: false,
    log_level: 0,
    force_pmem: None,
    no_clwb: false,
    no_clflushopt: false,
    no_flush: None,
};

static WRITE_BACK: AtomicU8 = AtomicU8::new(WriteBack::Clflush as u8);

static OWNER: AtomicU32 = AtomicU32::new(0);

/// What a forked child does first, for those that no handler of libc's is told of.
static FORKED: AtomicPtr<()> = AtomicPtr::new(ptr::null_mut());

/// What the environment said.
#[inline]
pub fn config() -> &'static Config {
    SETUP.get().map_or(&DEFAULT, |setup| &setup.config)
}

/// Sets the process up; `forked_child` is what each forked child must do. Once, by the constructor; whether
/// it was the first.
pub fn start(setup: &'static Setup, forked_child: unsafe extern "C" fn()) -> bool {
    FORKED.store(forked_child as *mut (), Ordering::Release);
    let is_first = SETUP.set(setup).is_ok();
    if is_first {
        set_owner();
        let write_back = WriteBack::choose(&setup.config);
        WRITE_BACK.store(write_back as u8, Ordering::Relaxed);
    }
    is_first
}

/// In a forked child: only this thread is left.
pub fn forked() {
    set_owner();
    // Other threads' children are the parent's.
    real::CHILDREN.store(0, Ordering::Relaxed);
}

/// Does what libc's handlers would have done.
///
/// # Safety
/// Once in each forked child whose handlers did not run, before anything else of ours.
pub unsafe fn forked_past_handlers() {
    let forked = FORKED.load(Ordering::Acquire);
    if !forked.is_null() {
        // SAFETY: what `start` was given; the rest by the caller's promise.
        unsafe {
            let forked: unsafe extern "C" fn() = core::mem::transmute(forked);
            forked();
        }
    }
}

/// The words of the environment that were not understood, [`Misunderstood`].
pub fn misunderstood() -> u32 {
    SETUP.get().map_or(0, |setup| setup.misunderstood.0)
}

/// `DAXSHIM_REPORT`.
pub fn report_directory_name() -> Option<&'static CStr> {
    SETUP.get()?.report_directory
}

/// `DAXSHIM_WATCH`: which untagged files check watches; nothing said is nothing.
pub fn watch() -> &'static [u8] {
    let asked = SETUP.get().and_then(|setup| setup.watch);
    asked.map_or(&[], CStr::to_bytes)
}

/// Whether the constructor has run.
pub fn is_set_up() -> bool {
    SETUP.get().is_some()
}

/// The instruction that writes back a line. clflush, which every CPU has, until the constructor
/// has looked.
#[inline]
pub fn write_back() -> WriteBack {
    WriteBack::from_u8(WRITE_BACK.load(Ordering::Relaxed))
}

/// Whether this is the process whose memory this is: a child of vfork(2) shares its parent's, but
/// not its descriptors. Asks the kernel only while there is such a child.
pub fn is_own() -> bool {
    real::children() == 0 || is_owner()
}

/// As [`is_own`], but true for no child at all, those of posix_spawn(3) included. Asks the kernel
/// each time.
pub fn is_owner() -> bool {
    OWNER.load(Ordering::Relaxed) == pid()
}

/// From now on [`is_own`] asks the kernel each time.
pub fn doubt_ownership() {
    real::child_begins();
}

/// The process's number, as its constructor or fork noted it: no system call.
#[inline]
pub fn owner() -> u32 {
    OWNER.load(Ordering::Relaxed)
}

fn set_owner() {
    OWNER.store(pid(), Ordering::Relaxed);
}

/// Its number. In a sealed process, whose children can't ask, that of whoever last could.
pub fn pid() -> u32 {
    if real::is_sealed() {
        return owner();
    }
    rustix::process::getpid()
        .as_raw_nonzero()
        .get()
        .unsigned_abs()
}
