//! Modules other than libc that make system calls of their own: the program, its libraries, plugins.
//!
//! What is recorded of mappings must hold whoever changes them. So before the first tagged file is mapped,
//! each module's code is looked through for calls that change mappings, or what descriptors are, and their
//! places are turned as libc's are ([`turn`](crate::entry::turn)). Programs that map none pay nothing for it.
//! The loader's own places are turned at start, with libc's: by them a module that comes later is seen when
//! its code has been mapped and nobody can run there yet.
//!
//! A second libc (dlmopen(3)) is told by its code, which is the first one's, and turned whole whenever it
//! comes.
//!
//! What can't be turned is named in the report: a place whose number comes from elsewhere, or where other
//! threads may run while it would not change at once, or a module whose code the system keeps from being
//! changed.

use crate::entry::slot::Call;
use crate::entry::turn::{Places, concern_modules, turn_libc};
use crate::ground::loaded::{Code, code_at};
use crate::ground::maps::{TEXT, each_mapping};
use crate::ground::memory::{Room, copy, on_own_stack};
use crate::ground::opened::{each_descriptor, is_anonymous};
use crate::ground::page;
use crate::ground::real::{SignalsBlocked, is_sealed, sys, yield_now};
use crate::ground::thread::is_single_threaded;
use crate::mappings;
use core::ffi::c_int;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use daxshim_core::line::Line;
use daxshim_core::maps::Mapping;
use daxshim_core::sites::is_elsewise;
use libc::{
    MAP_ANONYMOUS, MAP_SHARED, MAP_SHARED_VALIDATE, MAP_TYPE, PROT_EXEC, PROT_READ, PROT_WRITE,
};

/// Bytes of code looked at together.
const PIECE: usize = 256 << 10;
/// Bytes of code in two such pieces: more than any form of a system call has.
const OVERLAP: usize = 128;
/// How often a thread yields to one that is turning a module.
const PATIENCE: usize = 1 << 16;

/// A stretch of code that was there at start; empty until then.
struct Known {
    start: AtomicUsize,
    end: AtomicUsize,
}

impl Known {
    const fn new() -> Known {
        Known {
            start: AtomicUsize::new(0),
            end: AtomicUsize::new(0),
        }
    }

    fn set(&self, code: Code) {
        self.start.store(code.start, Ordering::Relaxed);
        self.end.store(code.end, Ordering::Relaxed);
    }

    fn code(&self) -> Code {
        Code {
            start: self.start.load(Ordering::Relaxed),
            end: self.end.load(Ordering::Relaxed),
        }
    }
}

static LIBC: Known = Known::new();
static LOADER: Known = Known::new();
static OWN: Known = Known::new();

/// Whether modules that come from now on are to be looked at.
static BEGUN: AtomicBool = AtomicBool::new(false);
/// Whether those that were there have been.
static DONE: AtomicBool = AtomicBool::new(false);
/// Held to change code.
static LOCKED: AtomicBool = AtomicBool::new(false);

/// Code is being changed, by this thread.
struct Lock {
    _signals: SignalsBlocked,
}

impl Lock {
    /// `None`: another thread has it for too long.
    fn take() -> Option<Lock> {
        let signals = SignalsBlocked::new();
        for _ in 0..PATIENCE {
            if !LOCKED.swap(true, Ordering::Acquire) {
                return Some(Lock { _signals: signals });
            }
            yield_now();
        }
        None
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        LOCKED.store(false, Ordering::Release);
    }
}

/// In a forked child whoever changed code is gone.
pub fn forked() {
    LOCKED.store(false, Ordering::Relaxed);
}

/// Once, by the constructor, before there are threads: the loader's places.
pub fn start() {
    // SAFETY: a C string with its NUL. It is a function of the loader's.
    let loader = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"__tls_get_addr".as_ptr()) };
    for (known, address) in [
        (&LIBC, libc::gnu_get_libc_version as *const () as usize),
        (&LOADER, loader as usize),
        (&OWN, start as *const () as usize),
    ] {
        if let Some(code) = code_at(address) {
            known.set(code);
        }
    }
    let loader = LOADER.code();
    if loader.start != LIBC.code().start {
        // SAFETY: the loader's code stays.
        let _ = unsafe { Places::of(loader) }.turn(PROT_READ | PROT_EXEC, true);
    }
}

/// Whether a call of mmap(2) maps code.
pub fn is_code(call: &Call) -> bool {
    let [_, _, protection, flags, ..] = call.args;
    let shared = matches!(flags as c_int & MAP_TYPE, MAP_SHARED | MAP_SHARED_VALIDATE);
    protection as c_int & PROT_EXEC != 0 && flags as c_int & MAP_ANONYMOUS == 0 && !shared
}

/// Code was mapped at `start`, by mmap(2).
#[cold]
#[inline(never)]
pub fn mapped(call: &Call, start: usize) {
    let [_, length, protection, _, fd, _] = call.args;
    let protection = protection as c_int;
    let code = Code {
        start,
        end: start.saturating_add(length),
    };
    let copy = copy_of_libc(code, protection);
    if copy.is_none() && !BEGUN.load(Ordering::SeqCst) {
        return;
    }
    let lock = Lock::take();
    let all = match copy {
        _ if lock.is_none() => false,
        Some(code) => turn_libc(code, None) == Ok(true),
        None => is_turned(code, protection, true),
    };
    drop(lock);
    if !all {
        name_descriptor(fd as c_int);
    }
}

/// A second libc, if it is one.
fn copy_of_libc(code: Code, protection: c_int) -> Option<Code> {
    /// Bytes at its beginning, which no place is turned in.
    const SAME: usize = 64;
    let libc = LIBC.code();
    let length = libc.end - libc.start;
    if length < SAME || code.end - code.start < length || protection & PROT_READ == 0 {
        return None;
    }
    let (mut first, mut second) = ([0; SAME], [0; SAME]);
    let both = copy(libc.start, &mut first) && copy(code.start, &mut second);
    (both && first == second).then_some(Code {
        start: code.start,
        end: code.start + length,
    })
}

/// A tagged file is about to be mapped, for the first time perhaps.
#[inline]
pub fn before_first_mapping() {
    if !DONE.load(Ordering::Acquire) {
        look_at_all();
    }
}

#[cold]
#[inline(never)]
fn look_at_all() {
    let Some(_lock) = Lock::take() else {
        return;
    };
    if DONE.load(Ordering::Acquire) {
        return;
    }
    // Before the list is read: what is mapped from now on is looked at by whoever maps it.
    BEGUN.store(true, Ordering::SeqCst);
    if each_module().is_none()
        && let Some(page) = page::page()
    {
        page.module(b"(which modules there are is not known)");
    }
    mappings::changes_unseen(|| on_own_stack(has_ring) != Some(false));
    DONE.store(true, Ordering::Release);
}

/// `None`: they could not be listed.
fn each_module() -> Option<()> {
    let alone = is_single_threaded();
    each_mapping(|mapping| look_at(mapping, alone))
}

/// Whether the program has an io_uring(7), of one that was made before its call could be seen.
fn has_ring() -> bool {
    let mut has = false;
    if !is_sealed() {
        let _ = each_descriptor(|fd| has |= is_anonymous(fd, &[b"anon_inode:[io_uring]"]));
    }
    has
}

fn look_at(mapping: &Mapping, alone: bool) {
    let [readable, writable, executable, shared] = mapping.permissions;
    let is_code = readable == b'r' && executable == b'x' && shared == b'p';
    let ours = [&LIBC, &LOADER, &OWN].map(Known::code);
    let is_known = |code: &Code| code.start < mapping.end && mapping.start < code.end;
    if !is_code || !mapping.path.starts_with(b"/") || ours.iter().any(is_known) {
        return;
    }
    let protection = PROT_READ | PROT_EXEC | if writable == b'w' { PROT_WRITE } else { 0 };
    let code = Code {
        start: mapping.start,
        end: mapping.end,
    };
    if !is_turned(code, protection, alone)
        && let Some(page) = page::page()
    {
        page.module(mapping.path);
    }
}

/// Turns a module's places; whether none is left.
fn is_turned(code: Code, protection: c_int, alone: bool) -> bool {
    let Some(found) = Found::look(code) else {
        return false;
    };
    let left = found.places.turn(protection, alone);
    // What a libc has besides concerns nobody.
    let elsewise = found.elsewise && copy_of_libc(code, protection).is_none();
    left == Ok(0) && !elsewise
}

/// What a module has of calls that concern us.
#[derive(Default)]
struct Found {
    /// Of a form that can be turned.
    places: Places,
    /// Of another.
    elsewise: bool,
}

impl Found {
    /// Copies of the code are looked at: another thread may unmap it. `None`: it can't be read.
    fn look(code: Code) -> Option<Found> {
        let mut room = Room::map(PIECE)?;
        let bytes = room.bytes();
        let mut found = Found::default();
        let mut at = code.start;
        loop {
            let piece = bytes.get_mut(..PIECE.min(code.end - at))?;
            if !copy(at, piece) {
                return None;
            }
            for site in daxshim_core::sites::sites(piece) {
                match site {
                    Ok(site) => found.places.add(at, &site),
                    Err(at) => found.elsewise |= is_elsewise(piece, at, concern_modules()),
                }
            }
            at += piece.len();
            if at >= code.end {
                return Some(found);
            }
            at -= OVERLAP;
        }
    }
}

/// The module that was mapped from a descriptor is not turned, or not all of it.
fn name_descriptor(fd: c_int) {
    let (Some(page), Some(mut room)) = (page::page(), Room::map(TEXT)) else {
        return;
    };
    let mut link = Line::<32>::new();
    let Some(link) = link.descriptor(fd, "") else {
        return;
    };
    let into = room.bytes();
    let (link, room, length) = (link.as_ptr(), into.as_mut_ptr(), into.len());
    // SAFETY: both are ours.
    let length = unsafe { sys!(SYS_readlinkat, libc::AT_FDCWD, link, room, length) };
    page.module(
        length
            .ok()
            .and_then(|length| into.get(..length))
            .unwrap_or(b"?"),
    );
}
