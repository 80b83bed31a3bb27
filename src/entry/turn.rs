//! libc's own system calls.
//!
//! What libc does inside itself (fopen, fwrite, posix_fallocate, mkstemp, closing a stream) passes
//! no symbol that could be interposed. But all of it is `mov $NUMBER, %eax … syscall` somewhere in
//! libc's code, and the five bytes of the `mov` are as long as a jump. At start, each such place
//! for a call of the table is turned into a jump to a stub of ours, which asks the same hook as the
//! symbol does and goes on behind the `mov`, to libc's own `syscall` instruction, or behind that.
//!
//! What libc reads concerns only `DAXSHIM_READS=deny`, so those places are left alone otherwise.
//! Such a call is shorter than a jump: libc's own `syscall` instruction is gone then, and the call
//! is made by us.
//!
//! From glibc 2.41 on, calls in which a thread can be cancelled get their number as an argument. They
//! are made in two places: at once where nobody can cancel, which is turned as above but for the number,
//! and in `__syscall_cancel_arch`. A thread is cancelled in its call only where its instruction
//! pointer is within that function, so that one is left as it is, and its only caller led to
//! [`cancellable_enter`] instead.
//!
//! syscall(2) is asked about by the number that it is given, as its symbol is.
//!
//! The same is done in other modules that make system calls of their own, and in a second libc: see
//! [`modules`](crate::entry::modules).
//!
//! Places of another form are left alone. Where code can't be changed at all (a policy against it,
//! another thread at work already), nothing is, and the report says so; then the symbols are what is
//! hooked.

use crate::entry::shortcut::{
    close_site_enter, ioctl_site_enter, map_site_enter, mmap_site_enter, mremap_site_enter,
};
use crate::entry::site::{
    CANCELLABLE, SITES_BY_NUMBER, SiteSlot, cancellable_enter, site_by_number, site_enter,
};
use crate::entry::slot::Slot;
use crate::entry::stubs::{
    CALL, JUMP, STUB, Stubs, TO_R11, TO_RCX, change, jump_to, lead, load, room_near,
};
use crate::ground::loaded::{Code, libc_code};
use crate::ground::memory::PAGE;
use crate::ground::page::event;
use crate::ground::thread::is_single_threaded;
use core::ffi::{CStr, c_int};
use core::sync::atomic::Ordering;
use daxshim_core::report::Event;
use daxshim_core::sites::{Cancellable, MOV, Site, by_argument, pushes, sites};
use libc::{PROT_EXEC, PROT_READ};

/// Bytes of `syscall`.
const SYSCALL: usize = 2;
/// Room for libc's stubs, bytes: some 700 of them.
const ROOM: usize = 32 << 10;

/// Turns libc's places, and the loader's, for these rows; of those with the same number, the last counts.
/// `symbols` need not ask where their places do. Whether the program has no threads yet, without which
/// nothing is turned. To be called once.
pub fn turn(rows: impl Iterator<Item = &'static SiteSlot>, symbols: &[&'static Slot]) -> bool {
    fill_numbers(rows);
    let alone = is_single_threaded();
    let done = libc_code()
        .filter(|_| alone)
        .and_then(|code| turn_libc(code, Some(symbols)).ok());
    // Of these every libc has places.
    let watched = [libc::SYS_write, libc::SYS_openat, libc::SYS_close];
    let all = watched.iter().all(|&number| is_turned(number));
    if done != Some(true) || !all {
        event(Event::NotTurned);
    }
    alone
}

/// A libc: the program's own, with its symbols, or a second one. Whether all was of a known form.
pub fn turn_libc(code: Code, symbols: Option<&[&'static Slot]>) -> Result<bool, i32> {
    let room = room_near(code.start, ROOM)?;
    let mut all = true;
    change(room, ROOM, code, PROT_READ | PROT_EXEC, |stubs| {
        // SAFETY: readable; written only through raw pointers, where nobody runs yet.
        let bytes = unsafe { code.bytes() };
        for site in sites(bytes) {
            let turned = match site {
                Ok(site) => site_slot(site.number).is_none_or(|slot| {
                    // SAFETY: writable, as is the room for stubs, and nobody runs there.
                    let turned = unsafe { turn_site(stubs, code, &site, slot, true) }.is_some();
                    if turned {
                        slot.turned.store(true, Ordering::Relaxed);
                        if !site.keeps_syscall {
                            slot.makes_call.store(true, Ordering::Relaxed);
                        }
                    }
                    turned
                }),
                Err(at) => by_argument(bytes, at).is_none_or(|(start, moves)| {
                    // SAFETY: as above.
                    unsafe { turn_by_argument(stubs, code, start, moves) }.is_some()
                }),
            };
            all &= turned;
        }
        if !calls_are_inline() {
            let places = Cancellable::find(bytes).filter(|_| symbols.is_some());
            // SAFETY: as above.
            all &= places
                .and_then(|places| unsafe { turn_cancellable(stubs, code, &places) })
                .is_some();
        }
        if all && let Some(symbols) = symbols {
            lead_symbols_straight(symbols, code, bytes);
        }
    })?;
    Ok(all)
}

/// Where in a module calls are made that change mappings, or what descriptors are, of a form that can be
/// turned.
#[derive(Default)]
pub struct Places {
    count: usize,
    /// From the first of them to behind the last.
    code: Code,
}

impl Places {
    /// Takes a site in, if it is one; `start` is where the code begins that it was found in.
    pub fn add(&mut self, start: usize, site: &Site) {
        if module_slot(site.number).is_none() {
            return;
        }
        if self.count == 0 {
            // A byte more: what a `mov` is, the one before it says.
            self.code.start = start + site.offset.saturating_sub(1);
        }
        self.code.end = start + site.behind;
        // Those at the end of a piece of code may be counted twice.
        self.count += 1;
    }

    /// All of some code.
    ///
    /// # Safety
    /// It must be readable.
    pub unsafe fn of(code: Code) -> Places {
        let mut places = Places::default();
        // SAFETY: by the caller's promise.
        for site in sites(unsafe { code.bytes() }).filter_map(Result::ok) {
            places.add(code.start, &site);
        }
        places
    }

    /// Turns them. How many could not be. `alone`: nobody runs there yet.
    pub fn turn(&self, protection: c_int, alone: bool) -> Result<usize, i32> {
        if self.count == 0 {
            return Ok(0);
        }
        let length = (self.count * STUB).next_multiple_of(PAGE);
        let room = room_near(self.code.start, length)?;
        let mut left = 0;
        change(room, length, self.code, protection, |stubs| {
            // SAFETY: made writable just now.
            let bytes = unsafe { self.code.bytes() };
            for site in sites(bytes).filter_map(Result::ok) {
                let Some(slot) = module_slot(site.number) else {
                    continue;
                };
                // SAFETY: code and room are writable; if others run there, the place is changed at once.
                let turned = unsafe { turn_site(stubs, self.code, &site, slot, alone) };
                left += usize::from(turned.is_none());
            }
        })?;
        Ok(left)
    }
}

/// Whether each of libc's functions makes its system calls itself: those where a thread can be
/// cancelled, too.
fn calls_are_inline() -> bool {
    // SAFETY: a C string that lives as long as libc.
    let version = unsafe { CStr::from_ptr(libc::gnu_get_libc_version()) };
    let mut numbers = version
        .to_str()
        .unwrap_or("")
        .split('.')
        .map_while(|number| number.parse::<u32>().ok());
    matches!((numbers.next(), numbers.next()), (Some(2), Some(minor)) if minor < 41)
}

fn is_turned(number: libc::c_long) -> bool {
    site_slot(number as u32).is_some_and(|site| site.turned.load(Ordering::Relaxed))
}

/// A symbol whose real function is libc's, and whose system call was turned there, need not ask
/// first. Those of mappings ask by their symbol, and go on to the kernel: that is cheaper than a place.
fn lead_symbols_straight(symbols: &[&'static Slot], code: Code, bytes: &[u8]) {
    for slot in symbols {
        let real = slot.real.load(Ordering::Acquire) as usize;
        let Some(function) = real.checked_sub(code.start).and_then(|at| bytes.get(at..)) else {
            continue;
        };
        // What libc's function makes of it, since glibc 2.31 for times.
        let number = match (slot.family, slot.name, slot.number as libc::c_long) {
            (_, _, libc::SYS_open) => libc::SYS_openat,
            (_, "lchmod\0", _) => libc::SYS_fchmodat,
            ("times", _, number) if !is_turned(number) => libc::SYS_utimensat,
            (_, _, number) => number,
        };
        let is_passed = || site_slot(number as u32).is_some() && pushes(function, number as u32);
        if slot.family == "map" && is_turned(number) && is_plain_call(slot) {
            slot.serve_by_kernel();
        } else if number == libc::SYS_vfork {
            // Only where the symbol leads is it seen that the parent goes on.
        } else if is_turned(number) || is_passed() {
            slot.lead_straight();
        }
    }
}

/// Whether libc's function does nothing but the system call. pkey_mprotect without a key is mprotect.
fn is_plain_call(slot: &Slot) -> bool {
    slot.number != libc::SYS_pkey_mprotect as usize
}

/// The stub of a site: the middle instructions; r11: the slot; rcx: where `syscall` is, or would be;
/// on to [`site_enter`], or what stands before it. Both registers are free there, as `syscall` itself
/// destroys them.
///
/// # Safety
/// Code and room must be writable, and nobody run there.
unsafe fn turn_site(
    stubs: &mut Stubs,
    code: Code,
    site: &Site,
    slot: &'static SiteSlot,
    alone: bool,
) -> Option<()> {
    let at = code.start + site.offset;
    // SAFETY: the site's own bytes; the rest by the caller's promise.
    unsafe {
        let middle = core::slice::from_raw_parts((at + MOV) as *const u8, site.middle);
        let enter = match (slot.slot.family, slot.slot.number as libc::c_long) {
            ("ioctl", _) => ioctl_site_enter as *const (),
            (_, libc::SYS_close) => close_site_enter as *const (),
            (_, libc::SYS_mmap) => mmap_site_enter as *const (),
            (_, libc::SYS_mremap) => mremap_site_enter as *const (),
            (_, libc::SYS_shmat | libc::SYS_process_madvise) => site_enter as *const (),
            ("map", _) => map_site_enter as *const (),
            _ => site_enter as *const (),
        };
        let stub = stubs.write(&[
            middle,
            &load(TO_R11, slot as *const SiteSlot as usize),
            &load(TO_RCX, code.start + site.behind - SYSCALL),
            &jump_to(enter),
        ])?;
        lead(at, JUMP, stub, alone)
    }
}

/// syscall(2): its moves, and on by the number that it is given.
///
/// # Safety
/// As for [`turn_site`].
unsafe fn turn_by_argument(
    stubs: &mut Stubs,
    code: Code,
    start: usize,
    moves: &[u8],
) -> Option<()> {
    let at = code.start + start;
    // SAFETY: the place's own bytes; the rest by the caller's promise.
    unsafe {
        let stub = stubs.write(&[
            moves,
            &load(TO_RCX, at + moves.len()),
            &jump_to(site_by_number as *const ()),
        ])?;
        lead(at, JUMP, stub, true)
    }
}

/// Has [`SITES_BY_NUMBER`] name the rows.
fn fill_numbers(rows: impl Iterator<Item = &'static SiteSlot>) {
    for row in rows {
        if let Some(entry) = SITES_BY_NUMBER.get(row.slot.number) {
            entry.store((row as *const SiteSlot).cast_mut(), Ordering::Release);
        }
    }
}

/// The two places where glibc makes the calls in which a thread can be cancelled.
///
/// # Safety
/// As for [`turn_site`].
unsafe fn turn_cancellable(stubs: &mut Stubs, code: Code, places: &Cancellable) -> Option<()> {
    CANCELLABLE.store((code.start + places.function) as *mut (), Ordering::Release);
    let at = code.start + places.load;
    // SAFETY: the place's own bytes; the rest by the caller's promise.
    unsafe {
        let number = core::slice::from_raw_parts(at as *const u8, MOV);
        let by_number = stubs.write(&[
            number,
            &load(TO_RCX, at + MOV),
            &jump_to(site_by_number as *const ()),
        ])?;
        let cancellable = stubs.write(&[&jump_to(cancellable_enter as *const ())])?;
        lead(at, JUMP, by_number, true)?;
        lead(code.start + places.call, CALL, cancellable, true)
    }
}

/// The row of a system call that concerns libc.
fn site_slot(number: u32) -> Option<&'static SiteSlot> {
    let row = SITES_BY_NUMBER
        .get(number as usize)?
        .load(Ordering::Acquire);
    // SAFETY: null, or what `fill_numbers` was given.
    unsafe { row.as_ref() }
}

fn module_slot(number: u32) -> Option<&'static SiteSlot> {
    let concerns = |slot: &&SiteSlot| {
        matches!(slot.slot.family, "map" | "descriptors" | "filter")
            || number == libc::SYS_io_uring_setup as u32
    };
    site_slot(number).filter(concerns)
}

/// The numbers of what is turned in every module.
pub fn concern_modules() -> &'static [u32] {
    &[
        libc::SYS_mmap as u32,
        libc::SYS_munmap as u32,
        libc::SYS_mremap as u32,
        libc::SYS_mprotect as u32,
        libc::SYS_pkey_mprotect as u32,
        libc::SYS_madvise as u32,
        libc::SYS_remap_file_pages as u32,
        libc::SYS_shmat as u32,
    ]
}
