//! What the process is set up with: configuration, flush instruction, report page.

use crate::check;
use crate::entry::{modules, trampoline, turn};
use crate::exec::{environment, scratch, unseen};
use crate::ground::memory::{Room, leak, leak_bytes};
use crate::ground::{descriptors, logger, real};
use crate::mappings;
use crate::sync::{self, quick};
use crate::tag::filters;
use core::ffi::{CStr, c_char, c_int, c_void};
use core::ptr;
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU8, AtomicU32, Ordering};
use daxshim_core::check::log::Ending;
use daxshim_core::config::{Checking, Config, Misunderstood};
use daxshim_core::contract::Mode;
use daxshim_core::flush::WriteBack;
use daxshim_core::line::Line;
use daxshim_core::report::{self, Event, Page};
use daxshim_core::seccomp::HARMLESS;
use once_cell::race::OnceRef;
use rustix::fd::OwnedFd;
use rustix::fs::{FallocateFlags, OFlags, fallocate, ftruncate, openat, readlinkat_raw};
use rustix::mm::{MapFlags, ProtFlags};

struct Setup {
    config: Config,
    misunderstood: Misunderstood,
    /// `DAXSHIM_REPORT`. A copy: programs that change their title write over the environment they were
    /// started with.
    report_directory: Option<&'static CStr>,
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

static PAGE: AtomicPtr<Page> = AtomicPtr::new(ptr::null_mut());

static WRITE_BACK: AtomicU8 = AtomicU8::new(WriteBack::Clflush as u8);

static OWNER: AtomicU32 = AtomicU32::new(0);

/// Under audit: whether something was let through that a tagged file refuses. Shared with forked children,
/// as what any of them changes is changed for all; null in other modes.
static LET_THROUGH: AtomicPtr<AtomicBool> = AtomicPtr::new(ptr::null_mut());

/// Children of vfork(2) that run in this memory now; a thread that had one leaves it as it was.
pub static VFORKED: AtomicU32 = AtomicU32::new(0);

/// What the environment said.
#[inline]
pub fn config() -> &'static Config {
    SETUP.get().map_or(&DEFAULT, |setup| &setup.config)
}

fn let_through() -> Option<&'static AtomicBool> {
    // SAFETY: null, or a mapping that is never unmapped; zeros are `false`.
    unsafe { LET_THROUGH.load(Ordering::Acquire).as_ref() }
}

/// Whether something was let through that a tagged file refuses: then a sync owes more than the data.
#[inline]
pub fn was_let_through() -> bool {
    let_through().is_some_and(|was| was.load(Ordering::Acquire))
}

/// Something is about to be let through that a tagged file refuses (audit).
#[cold]
pub fn letting_through() {
    if let Some(was) = let_through() {
        was.store(true, Ordering::SeqCst);
    }
    mappings::give_up();
}

/// Where [`letting_through`] is noted: without memory for it nothing is flushed from user space at all.
fn prepare_to_let_through() {
    static ALWAYS: AtomicBool = AtomicBool::new(true);
    let protection = ProtFlags::READ | ProtFlags::WRITE;
    let length = size_of::<AtomicBool>();
    // SAFETY: a new mapping at an address of the kernel's choice.
    let page = unsafe {
        rustix::mm::mmap_anonymous(ptr::null_mut(), length, protection, MapFlags::SHARED)
    };
    let always = (&raw const ALWAYS).cast_mut();
    LET_THROUGH.store(page.map_or(always, |page| page.cast()), Ordering::Release);
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

/// The report page, if there is to be a report.
#[inline]
pub fn page() -> Option<&'static Page> {
    // SAFETY: null, or a mapping of a whole Page that is never unmapped in this process (a forked
    // child gets its own before it runs anything else).
    unsafe { PAGE.load(Ordering::Acquire).as_ref() }
}

/// Counts something worth a warning.
pub fn event(event: Event) {
    if let Some(page) = page() {
        page.event(event);
    }
}

#[used]
#[unsafe(link_section = ".init_array")]
static CONSTRUCTOR: extern "C" fn(c_int, *const *const c_char, *const *const c_char) = start;

extern "C" fn start(_: c_int, _: *const *const c_char, environment: *const *const c_char) {
    let errno = real::errno();
    // SAFETY: glibc hands constructors the process's environment: C strings and a null.
    let lookup = |name: &CStr| unsafe { variable(environment, name) };
    let is_filtered = filters::are_untried(lookup(HARMLESS));
    real::resolve(is_filtered);
    let (mut config, misunderstood) = Config::read(|name| lookup(name).map(CStr::to_bytes));
    let mut report_directory = lookup(c"DAXSHIM_REPORT");
    if is_filtered {
        config.policy.mode = Mode::Off;
        config.check = Checking::Off;
        report_directory = None;
    }
    let setup = leak(Setup {
        config,
        misunderstood,
        report_directory: report_directory.and_then(copied),
    });
    // Until here there were none but the loader's.
    filters::begin(is_filtered);
    if setup.is_some_and(|setup| SETUP.set(setup).is_ok()) {
        set_owner();
        mappings::start();
        if config.policy.mode == Mode::Audit {
            prepare_to_let_through();
        }
        // What calls before this one learnt, they learnt without these settings.
        descriptors::forget_range(0, u32::MAX);
        WRITE_BACK.store(WriteBack::choose(&config) as u8, Ordering::Relaxed);
        logger::start(config.log_level, lookup(c"DAXSHIM_LOG_FILE"));
        for variable in misunderstood.iter() {
            log::warn!(
                "{}: unknown value, the default is used; use {}",
                variable.name().to_str().unwrap_or("?"),
                variable.values()
            );
        }
        if is_filtered {
            log::warn!(
                "the process is under a system call filter that may kill it: nothing is looked at \
                 (daxshim run tries the filter first; see {} in docs/environment.md)",
                HARMLESS.to_str().unwrap_or("?")
            );
        }
        if let Some(directory) = setup.and_then(|setup| setup.report_directory)
            && let Err(errno) = open_page(ptr::null_mut())
        {
            log::warn!(
                "DAXSHIM_REPORT: no report, as no file can be made in {}: {errno}",
                directory.to_str().unwrap_or("?")
            );
        }
        check::start();
        if !check::on() {
            for family in ["check", "pmem", "pmem2"] {
                trampoline::lead_straight(family);
            }
        }
        if !config.policy.deny_reads {
            trampoline::lead_straight("read");
        }
        if config.policy.mode != Mode::Off {
            // SAFETY: as in `lookup`.
            unsafe { environment::remember(environment, own_path()) };
            unseen::start();
            turn::turn();
            trampoline::ask_by_number();
            check::blame::start();
            if sync::may_be_quick(&config, page().is_some())
                && let Some(msync) = trampoline::slot("msync")
            {
                quick::arm(msync);
            }
            real::at_fork_in_child(forked);
        }
        log::info!(
            "mode {}, flush {} by {}",
            config.policy.mode.word(),
            config.flush.word(),
            write_back().word()
        );
    }
    real::set_errno(errno);
}

#[used]
#[unsafe(link_section = ".fini_array")]
static DESTRUCTOR: extern "C" fn() = end;

/// exit(3): what the program registered for its end has run.
extern "C" fn end() {
    if check::on() && is_owner() {
        check::ending(Ending::Exit);
    }
}

/// The value of `name` in `environment`.
///
/// # Safety
/// `environment` is null or a null-terminated array of C strings that live as long as the process.
unsafe fn variable(environment: *const *const c_char, name: &CStr) -> Option<&'static CStr> {
    let mut entry = environment;
    if entry.is_null() {
        return None;
    }
    loop {
        // SAFETY: not past the terminating null, by the caller's promise.
        let text = unsafe {
            if (*entry).is_null() {
                return None;
            }
            CStr::from_ptr(*entry)
        };
        let rest = text.to_bytes().strip_prefix(name.to_bytes());
        if rest.is_some_and(|rest| rest.first() == Some(&b'=')) {
            // SAFETY: behind name and `=`, at most at the terminating NUL.
            return Some(unsafe { CStr::from_ptr(text.as_ptr().add(name.count_bytes() + 1)) });
        }
        // SAFETY: the entry just read was not the terminating null.
        entry = unsafe { entry.add(1) };
    }
}

/// A copy of a text that is not empty.
fn copied(text: &CStr) -> Option<&'static CStr> {
    let bytes = text.to_bytes_with_nul();
    let copy = (!text.is_empty()).then(|| leak_bytes(bytes.len()))??;
    copy.copy_from_slice(bytes);
    CStr::from_bytes_with_nul(copy).ok()
}

/// This library, as the loader names it.
fn own_path() -> &'static CStr {
    let address: *const c_void = (start as *const ()).cast();
    let mut found = core::mem::MaybeUninit::<libc::Dl_info>::zeroed();
    // SAFETY: dladdr(3) fills it in, or leaves zeros; the name lives as long as the library.
    unsafe {
        libc::dladdr(address, found.as_mut_ptr());
        let name = found.assume_init().dli_fname;
        if name.is_null() {
            c""
        } else {
            CStr::from_ptr(name)
        }
    }
}

/// In a forked child: only this thread is left, and the parent's page is the parent's.
///
/// # Safety
/// Once in each forked child, before anything else of ours.
pub unsafe extern "C" fn forked() {
    let errno = real::errno();
    set_owner();
    // Other threads' children are the parent's.
    VFORKED.store(0, Ordering::Relaxed);
    mappings::forked();
    scratch::forked();
    modules::forked();
    let page = PAGE.swap(ptr::null_mut(), Ordering::AcqRel);
    if !page.is_null() && !real::is_sealed() {
        // A failure leaves the child without a report, as a full directory would the parent.
        let _ = open_page(page);
    }
    check::forked();
    real::set_errno(errno);
}

/// Whether this is the process whose memory this is: a child of vfork(2) shares its parent's, but
/// not its descriptors. Asks the kernel only while there is such a child.
pub fn is_own() -> bool {
    VFORKED.load(Ordering::Relaxed) == 0 || is_owner()
}

/// As [`is_own`], but true for no child at all, those of posix_spawn(3) included. Asks the kernel
/// each time.
pub fn is_owner() -> bool {
    OWNER.load(Ordering::Relaxed) == pid()
}

/// From now on [`is_own`] asks the kernel each time.
pub fn doubt_ownership() {
    VFORKED.fetch_add(1, Ordering::Relaxed);
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

/// Makes this process's report file and maps it: in a forked child over its parent's page `at`, so
/// that no address is taken that the program has left free.
fn open_page(at: *mut Page) -> Result<(), rustix::io::Errno> {
    let page: *mut Page = report_file(report::FILE_PREFIX, size_of::<Page>(), at.cast())?.cast();
    // SAFETY: a zeroed mapping of the right length; all its fields are atomics, for which any
    // bytes will do.
    fill_in(unsafe { &*page }, pid());
    PAGE.store(page, Ordering::Release);
    Ok(())
}

/// The directory that `DAXSHIM_REPORT` names.
pub fn report_directory() -> Result<OwnedFd, rustix::io::Errno> {
    let directory = SETUP
        .get()
        .and_then(|setup| setup.report_directory)
        .ok_or(rustix::io::Errno::NOENT)?;
    let flags = OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::RDONLY;
    openat(rustix::fs::CWD, directory, flags, 0.into())
}

/// A new file in the report directory, `length` zero bytes long, mapped at `at` or, if that is null,
/// anywhere.
pub fn report_file(
    prefix: &str,
    length: usize,
    at: *mut c_void,
) -> Result<*mut c_void, rustix::io::Errno> {
    let file = new_file(&report_directory()?, prefix, pid())?;
    // Allocated, not merely sized: a store on a full filesystem would be SIGBUS.
    match fallocate(&file, FallocateFlags::empty(), 0, length as u64) {
        Err(rustix::io::Errno::OPNOTSUPP) => ftruncate(&file, length as u64)?,
        other => other?,
    }
    let protection = ProtFlags::READ | ProtFlags::WRITE;
    let placed = if at.is_null() {
        MapFlags::SHARED
    } else {
        MapFlags::SHARED | MapFlags::FIXED
    };
    // SAFETY: a new mapping at an address of the kernel's choice, or in place of our own.
    unsafe { rustix::mm::mmap(at, length, protection, placed, &file, 0) }
}

/// `PREFIX.PID.N`: an exec keeps the PID, so N is the first number that is free.
fn new_file(directory: &OwnedFd, prefix: &str, pid: u32) -> Result<OwnedFd, rustix::io::Errno> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let mut number = 0u32;
    loop {
        let mut name = Line::<48>::new();
        let name = name
            .c_str(format_args!("{prefix}{pid}.{number}"))
            .ok_or(rustix::io::Errno::NAMETOOLONG)?;
        match openat(directory, name, flags, 0o600.into()) {
            Err(rustix::io::Errno::EXIST) if number < 100_000 => number += 1,
            other => return other,
        }
    }
}

fn fill_in(page: &Page, pid: u32) {
    let config = config();
    let number = |cell: &AtomicU8, value: u8| cell.store(value, Ordering::Relaxed);
    page.pid.store(pid, Ordering::Relaxed);
    let parent = rustix::process::getppid().map_or(0, |pid| pid.as_raw_nonzero().get());
    page.parent.store(parent.unsigned_abs(), Ordering::Relaxed);
    number(&page.mode, config.policy.mode as u8);
    number(&page.flush, config.flush as u8);
    number(&page.compat, u8::from(config.policy.compat));
    number(&page.emulate, u8::from(config.emulate));
    number(&page.write_back, write_back() as u8);
    let misunderstood = SETUP.get().map_or(0, |setup| setup.misunderstood.0);
    page.misunderstood.store(misunderstood, Ordering::Relaxed);
    let mut program = [0u8; report::PATH_LEN];
    let len = link_target(c"/proc/self/exe", &mut program);
    report::store_bytes(&page.program, &program);
    number(&page.program_len, len as u8);
    page.started_ns
        .store(real::monotonic_ns(), Ordering::Relaxed);
    page.started_ticks.store(report::ticks(), Ordering::Relaxed);
    page.length
        .store(size_of::<Page>() as u64, Ordering::Relaxed);
    // Last: whoever sees it sees the rest.
    page.magic.store(report::MAGIC, Ordering::Release);
}

/// The end of a symlink's target that fits; its length in bytes.
pub fn link_target(link: &CStr, into: &mut [u8; report::PATH_LEN]) -> usize {
    let Some(mut room) = Room::map(libc::PATH_MAX as usize) else {
        return 0;
    };
    let target = room.bytes();
    let Ok(len) = readlinkat_raw(rustix::fs::CWD, link, &mut *target) else {
        return 0;
    };
    let tail = target
        .get(len.saturating_sub(into.len())..len)
        .unwrap_or(&[]);
    for (to, from) in into.iter_mut().zip(tail) {
        *to = *from;
    }
    tail.len()
}
