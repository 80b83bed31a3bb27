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
//! Places of another form are left alone. Where code can't be changed at all (a policy against it,
//! another thread at work already), nothing is, and the report says so; then the symbols are what is
//! hooked.

use crate::check;
use crate::memory::PAGE;
use crate::process::{config, event};
use crate::real::sys;
use crate::trampoline::{
    CANCELLABLE, SITE_SLOTS, SITES_BY_NUMBER, SLOTS, SiteSlot, cancellable_enter, ioctl_site_enter,
    site_by_number, site_enter,
};
use core::ffi::{CStr, c_int, c_void};
use core::sync::atomic::Ordering;
use daxshim_core::report::Event;
use daxshim_core::sites::{Cancellable, MOV, Site, pushes, sites};
use libc::{PROT_EXEC, PROT_READ, PROT_WRITE, dl_phdr_info};

/// Bytes of `syscall`.
const SYSCALL: usize = 2;
/// Room for stubs, bytes: some 700 of them.
const ROOM: usize = 32 << 10;

/// Turns libc's places. To be called once, before the program has threads.
pub fn turn() {
    let done = is_single_threaded()
        .then(libc_code)
        .flatten()
        .and_then(|code| turn_in(code).ok());
    // Of these every libc has places.
    let watched = [libc::SYS_write, libc::SYS_openat, libc::SYS_close];
    let all = watched.iter().all(|&number| is_turned(number));
    if done != Some(true) || !all {
        event(Event::NotTurned);
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

/// Whether all was of a known form.
fn turn_in(code: Code) -> Result<bool, i32> {
    let (first, end) = (code.start & !(PAGE - 1), code.end.next_multiple_of(PAGE));
    let room = room_near(code.start)?;
    // If this is refused, it must be before anything leads there.
    protect(room, ROOM, PROT_READ | PROT_EXEC)?;
    protect(room, ROOM, PROT_READ | PROT_WRITE)?;
    protect(first, end - first, PROT_READ | PROT_WRITE | PROT_EXEC)?;
    // SAFETY: libc's code, readable; written only through raw pointers below, while no other
    // thread exists.
    let bytes =
        unsafe { core::slice::from_raw_parts(code.start as *const u8, code.end - code.start) };
    let mut stubs = Stubs {
        next: room,
        end: room + ROOM,
    };
    let mut all = true;
    for site in sites(bytes) {
        let Ok(site) = site else { continue };
        let Some(slot) = site_slot(site.number) else {
            continue;
        };
        // SAFETY: writable, as is the room for stubs, and nobody runs there.
        if unsafe { turn_site(&mut stubs, code, &site, slot) }.is_none() {
            all = false;
            break;
        }
        slot.makes_call
            .store(!site.keeps_syscall, Ordering::Relaxed);
        slot.turned.store(true, Ordering::Relaxed);
    }
    if !calls_are_inline() {
        all &= Cancellable::find(bytes)
            // SAFETY: as above.
            .and_then(|places| unsafe { turn_cancellable(&mut stubs, code, &places) })
            .is_some();
    }
    if all {
        lead_symbols_straight(code, bytes);
    }
    protect(first, end - first, PROT_READ | PROT_EXEC)?;
    protect(room, ROOM, PROT_READ | PROT_EXEC)?;
    Ok(all)
}

/// A symbol whose real function is libc's, and whose system call was turned there, need not ask
/// first.
fn lead_symbols_straight(code: Code, bytes: &[u8]) {
    for (_, slot, _) in SLOTS {
        let real = slot.real.load(Ordering::Acquire) as usize;
        let Some(function) = real.checked_sub(code.start).and_then(|at| bytes.get(at..)) else {
            continue;
        };
        // libc's open is openat.
        let number = match slot.number as libc::c_long {
            libc::SYS_open => libc::SYS_openat,
            number => number,
        };
        let is_passed = || site_slot(number as u32).is_some() && pushes(function, number as u32);
        if is_turned(number) || is_passed() {
            slot.lead_straight();
        }
    }
}

/// Room for stubs, not yet written to.
struct Stubs {
    next: usize,
    end: usize,
}

impl Stubs {
    /// Writes a stub; its address. `None` where there is no room left.
    ///
    /// # Safety
    /// The room must be writable.
    unsafe fn write(&mut self, parts: &[&[u8]]) -> Option<usize> {
        let start = self.next;
        for part in parts {
            if part.len() > self.end - self.next {
                return None;
            }
            // SAFETY: within the room, as just looked.
            unsafe {
                core::ptr::copy_nonoverlapping(part.as_ptr(), self.next as *mut u8, part.len());
            }
            self.next += part.len();
        }
        Some(start)
    }
}

/// `jmp *0(%rip)`, with its target behind it.
fn jump_to(target: *const ()) -> [u8; 14] {
    let [a, b, c, d, e, f, g, h] = (target as usize).to_le_bytes();
    [0xff, 0x25, 0, 0, 0, 0, a, b, c, d, e, f, g, h]
}

/// `mov $value, %register`, with the instruction's first two bytes.
fn load([rex, opcode]: [u8; 2], value: usize) -> [u8; 10] {
    let [a, b, c, d, e, f, g, h] = value.to_le_bytes();
    [rex, opcode, a, b, c, d, e, f, g, h]
}

/// `mov $…, %r11`.
const TO_R11: [u8; 2] = [0x49, 0xbb];
/// `mov $…, %rcx`.
const TO_RCX: [u8; 2] = [0x48, 0xb9];
const JUMP: u8 = 0xe9;
const CALL: u8 = 0xe8;

/// Writes a jump or call at `at`. `None` where `to` is out of reach.
///
/// # Safety
/// [`MOV`] bytes must be writable there.
unsafe fn lead(at: usize, opcode: u8, to: usize) -> Option<()> {
    let distance = i32::try_from(to as isize - (at + MOV) as isize).ok()?;
    // SAFETY: by the caller's promise.
    unsafe {
        (at as *mut u8).write(opcode);
        (at as *mut u8)
            .add(1)
            .cast::<i32>()
            .write_unaligned(distance);
    }
    Some(())
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
) -> Option<()> {
    let at = code.start + site.offset;
    // SAFETY: the site's own bytes; the rest by the caller's promise.
    unsafe {
        let middle = core::slice::from_raw_parts((at + MOV) as *const u8, site.middle);
        let enter = match slot.family {
            "ioctl" => ioctl_site_enter as *const (),
            _ => site_enter as *const (),
        };
        let stub = stubs.write(&[
            middle,
            &load(TO_R11, slot as *const SiteSlot as usize),
            &load(TO_RCX, code.start + site.behind - SYSCALL),
            &jump_to(enter),
        ])?;
        lead(at, JUMP, stub)
    }
}

/// The two places where glibc makes the calls in which a thread can be cancelled.
///
/// # Safety
/// As for [`turn_site`].
unsafe fn turn_cancellable(stubs: &mut Stubs, code: Code, places: &Cancellable) -> Option<()> {
    let blame = check::blame::sites();
    let concerned = SITE_SLOTS.iter().rev().filter(|slot| concerns_libc(slot));
    for slot in concerned.chain(blame) {
        if let Some(entry) = SITES_BY_NUMBER.get(slot.slot.number) {
            entry.store((slot as *const SiteSlot).cast_mut(), Ordering::Release);
        }
    }
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
        lead(at, JUMP, by_number)?;
        lead(code.start + places.call, CALL, cancellable)
    }
}

fn site_slot(number: u32) -> Option<&'static SiteSlot> {
    check::blame::site(number).or_else(|| {
        SITE_SLOTS
            .iter()
            .filter(|slot| slot.slot.number == number as usize)
            .find(|slot| concerns_libc(slot))
    })
}

/// What libc maps for itself is nobody's tagged file, but it hands on the program's advice
/// (posix_madvise). It syncs nothing but for aio_fsync, which is hooked by its name, and what it reads
/// for streams concerns us only where reading is refused. Of what changes descriptors it closes some
/// (fclose) and puts others in their place (freopen); where it duplicates one to a new number, the
/// program asked for it by symbol. Its own children (posix_spawn) learn nothing of descriptors before
/// they execute something. Its ioctl(2) is that of programs which look it up there.
fn concerns_libc(slot: &SiteSlot) -> bool {
    let number = slot.slot.number as libc::c_long;
    match slot.family {
        "sync" => false,
        "map" => number == libc::SYS_madvise,
        "read" => config().policy.deny_reads,
        "descriptors" => matches!(
            number,
            libc::SYS_close | libc::SYS_close_range | libc::SYS_dup2 | libc::SYS_dup3
        ),
        "share" => number == libc::SYS_vfork,
        "check" => check::on(),
        _ => true,
    }
}

/// Writable memory within reach of a 32-bit jump from `code`.
fn room_near(code: usize) -> Result<usize, i32> {
    const STEP: usize = 1 << 20;
    const TRIES: usize = 1024;
    for i in 1..TRIES {
        let Some(wish) = code.checked_sub(i * STEP).map(|at| at & !(PAGE - 1)) else {
            break;
        };
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE;
        // SAFETY: a new mapping where there is none.
        let got = unsafe {
            sys!(
                SYS_mmap,
                wish,
                ROOM,
                PROT_READ | PROT_WRITE,
                flags,
                -1isize,
                0
            )
        };
        match got {
            Ok(at) if at == wish => return Ok(at),
            // A kernel that does not know MAP_FIXED_NOREPLACE.
            Ok(at) => {
                // SAFETY: mapped just above.
                let _ = unsafe { sys!(SYS_munmap, at, ROOM) };
            }
            Err(_) => {}
        }
    }
    Err(libc::ENOMEM)
}

fn protect(start: usize, length: usize, protection: c_int) -> Result<(), i32> {
    // SAFETY: libc's code and our stubs, which stay readable and executable throughout.
    unsafe { sys!(SYS_mprotect, start, length, protection) }.map(|_| ())
}

fn is_single_threaded() -> bool {
    // A directory has a link for each of its directories, and itself twice.
    crate::subject::Place::path(c"/proc/self/task".as_ptr() as usize, true)
        .stat()
        .is_ok_and(|stat| stat.st_nlink == 3)
}

/// An executable part of the program or of a library.
#[derive(Clone, Copy)]
pub struct Code {
    /// First address.
    pub start: usize,
    /// First address behind it.
    pub end: usize,
}

/// The executable part of libc.
fn libc_code() -> Option<Code> {
    // Not a function that anybody interposes.
    code_at(libc::gnu_get_libc_version as *const () as usize)
}

/// The executable part that an address lies in. Takes the loader's lock: for the constructor only.
pub fn code_at(address: usize) -> Option<Code> {
    let mut search = Search {
        address,
        found: None,
    };
    // SAFETY: `visit` gets the search that it expects.
    unsafe { libc::dl_iterate_phdr(Some(visit), (&raw mut search).cast()) };
    search.found
}

struct Search {
    address: usize,
    found: Option<Code>,
}

unsafe extern "C" fn visit(object: *mut dl_phdr_info, _: usize, search: *mut c_void) -> c_int {
    // SAFETY: dl_iterate_phdr(3) hands out a valid object, and back what it was given.
    let (object, search) = unsafe { (&*object, &mut *search.cast::<Search>()) };
    // SAFETY: as many headers as it says.
    let headers =
        unsafe { core::slice::from_raw_parts(object.dlpi_phdr, usize::from(object.dlpi_phnum)) };
    for header in headers {
        let start = object.dlpi_addr as usize + header.p_vaddr as usize;
        let end = start + header.p_memsz as usize;
        let executable = header.p_type == libc::PT_LOAD && header.p_flags & libc::PF_X != 0;
        if executable && (start..end).contains(&search.address) {
            search.found = Some(Code { start, end });
            return 1;
        }
    }
    0
}
