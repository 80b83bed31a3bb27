//! What is done when the library is loaded, when the process forks, and when it ends. The one file that
//! knows every room; none knows it.

use crate::check;
use crate::entry::{modules, resolve, trampoline, turn};
use crate::exec::{environment, scratch, unseen};
use crate::ground::memory::leak_bytes;
use crate::ground::page::{self, open_page};
use crate::ground::process::{self, Setup, is_owner, write_back};
use crate::ground::{descriptors, logger, real};
use crate::hooks::{exports, kernel_stores};
use crate::mappings;
use crate::sync::quick;
use crate::tag::audit::prepare_to_let_through;
use crate::tag::filters;
use core::ffi::{CStr, c_char, c_int, c_void};
use core::ptr;
use daxshim_core::check::log::Ending;
use daxshim_core::config::{Checking, Config};
use daxshim_core::contract::Mode;
use daxshim_core::seccomp::HARMLESS;

#[used]
#[unsafe(link_section = ".init_array")]
static CONSTRUCTOR: extern "C" fn(c_int, *const *const c_char, *const *const c_char) = start;

extern "C" fn start(_: c_int, _: *const *const c_char, environment: *const *const c_char) {
    let errno = real::errno();
    // SAFETY: glibc hands constructors the process's environment: C strings and a null.
    let lookup = |name: &CStr| unsafe { variable(environment, name) };
    // A library whose constructor came first may have set up one.
    let is_filtered = real::is_sealed() || filters::are_untried(lookup(HARMLESS));
    resolve::resolve(exports::SYMBOLS, is_filtered);
    let (mut config, misunderstood) = Config::read(|name| lookup(name).map(CStr::to_bytes));
    let mut report_directory = lookup(c"DAXSHIM_REPORT");
    if is_filtered {
        config.policy.mode = Mode::Off;
        config.check = Checking::Off;
        report_directory = None;
    }
    let report_directory = report_directory.and_then(copied);
    let watch = lookup(c"DAXSHIM_WATCH").filter(|_| config.check != Checking::Off);
    let watch = watch.and_then(copied);
    let setup = Setup::new(config, misunderstood, report_directory, watch);
    // Until here there were none but the loader's.
    filters::begin(is_filtered);
    if setup.is_some_and(|setup| process::start(setup, forked)) {
        mappings::start();
        if config.policy.mode == Mode::Audit {
            prepare_to_let_through();
        }
        // What calls before this one learnt, they learnt without these settings.
        descriptors::forget_range(0, u32::MAX);
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
        if let Some(directory) = report_directory
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
                exports::lead_straight(family);
            }
        }
        for slot in exports::SYMBOLS {
            match (slot.family, slot.number as libc::c_long) {
                (_, libc::SYS_fcntl) => slot.ask_of_duplicates(),
                (_, libc::SYS_madvise) => slot.ask_of_advice(),
                // Check looks at syncs of all files.
                ("sync", _) if check::on() => {}
                ("sync", libc::SYS_msync) => slot.ask_of_recorded(),
                ("sync", _) => slot.ask_of_tagged(),
                _ => {}
            }
        }
        if !config.policy.deny_reads {
            exports::lead_straight("read");
        }
        if config.policy.mode != Mode::Off {
            // SAFETY: as in `lookup`.
            unsafe { environment::remember(environment, own_path()) };
            unseen::start();
            kernel_stores::start(&exports::SITE_SLOTS);
            if turn::turn(exports::of_libc(), exports::SYMBOLS) {
                modules::start();
            }
            trampoline::ask_by_number(exports::by_number());
            check::blame::start(kernel_stores::are_turned());
            if quick::may_serve(&config, page::page().is_some()) {
                quick::arm(exports::MSYNC);
            }
            real::at_fork(has_forked, forked);
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

/// In a process that has forked.
unsafe extern "C" fn has_forked() {
    mappings::shared_with_relatives();
}

/// In a forked child: only this thread is left, and the parent's page is the parent's.
///
/// # Safety
/// Once in each forked child, before anything else of ours.
pub unsafe extern "C" fn forked() {
    let errno = real::errno();
    process::forked();
    mappings::forked();
    mappings::shared_with_relatives();
    scratch::forked();
    modules::forked();
    page::forked();
    check::forked();
    real::set_errno(errno);
}
