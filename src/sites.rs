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
//! Places of another form are left alone. Where code can't be changed at all (a policy against it,
//! another thread at work already), nothing is, and the report says so; then the symbols are what is
//! hooked.

use crate::memory::PAGE;
use crate::process::{config, event};
use crate::real::sys;
use crate::trampoline::{SITE_SLOTS, SLOTS, SiteSlot, ioctl_site_enter, site_enter};
use core::ffi::{CStr, c_int, c_void};
use core::sync::atomic::Ordering;
use daxshim_core::report::Event;
use daxshim_core::sites::{MOV, Site, sites};
use libc::{PROT_EXEC, PROT_READ, PROT_WRITE, dl_phdr_info};

/// Bytes of a stub.
const STUB: usize = 48;
/// Bytes of `syscall`.
const SYSCALL: usize = 2;
/// Room for stubs, bytes: some 340 of them.
const ROOM: usize = 16 << 10;

/// Turns libc's places. To be called once, before the program has threads.
pub fn turn() {
    let done = is_single_threaded()
        .then(libc_code)
        .flatten()
        .and_then(|code| turn_in(code).ok());
    // Of these every libc has places.
    let watched = [libc::SYS_write, libc::SYS_openat, libc::SYS_close];
    let all = watched.iter().all(|&number| is_turned(number));
    if done.is_none() || !all || !calls_are_inline() {
        event(Event::NotTurned);
    }
}

/// Whether each of libc's functions makes its system calls itself. From glibc 2.41 on those where a
/// thread can be cancelled are made in one place, which gets the number as an argument: there the
/// symbols must go on asking.
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

fn turn_in(code: Code) -> Result<(), i32> {
    let (first, end) = (code.start & !(PAGE - 1), code.end.next_multiple_of(PAGE));
    let stubs = room_near(code.start)?;
    // If this is refused, it must be before anything leads there.
    protect(stubs, ROOM, PROT_READ | PROT_EXEC)?;
    protect(stubs, ROOM, PROT_READ | PROT_WRITE)?;
    protect(first, end - first, PROT_READ | PROT_WRITE | PROT_EXEC)?;
    // SAFETY: libc's code, readable; written only through raw pointers below, while no other
    // thread exists.
    let bytes =
        unsafe { core::slice::from_raw_parts(code.start as *const u8, code.end - code.start) };
    let mut next = stubs;
    for site in sites(bytes) {
        let Ok(site) = site else { continue };
        let Some(slot) = site_slot(site.number) else {
            continue;
        };
        let at = code.start + site.offset;
        let distance = i32::try_from(next as isize - (at + MOV) as isize);
        let (true, Ok(distance)) = (next + STUB <= stubs + ROOM, distance) else {
            event(Event::NotTurned);
            break;
        };
        // SAFETY: both ends are writable, MOV and at most STUB bytes long, and nobody runs there.
        unsafe {
            write_stub(next, &site, at, slot);
            let jump = at as *mut u8;
            jump.write(0xe9);
            jump.add(1).cast::<i32>().write_unaligned(distance);
        }
        next += STUB;
        slot.makes_call
            .store(!site.keeps_syscall, Ordering::Relaxed);
        slot.turned.store(true, Ordering::Relaxed);
    }
    lead_symbols_straight(code);
    protect(first, end - first, PROT_READ | PROT_EXEC)?;
    protect(stubs, ROOM, PROT_READ | PROT_EXEC)
}

/// A symbol whose real function is libc's, and whose system call was turned there, need not ask
/// first.
fn lead_symbols_straight(code: Code) {
    if !calls_are_inline() {
        return;
    }
    for (_, slot, _) in SLOTS {
        let real = slot.real.load(Ordering::Acquire) as usize;
        let is_libc_s = (code.start..code.end).contains(&real);
        // libc's open is openat.
        let number = match slot.number as libc::c_long {
            libc::SYS_open => libc::SYS_openat,
            number => number,
        };
        if is_libc_s && is_turned(number) {
            slot.lead_straight();
        }
    }
}

/// The middle instructions; r11: the slot; rcx: where `syscall` is, or would be; on to
/// [`site_enter`], or what stands before it. Both
/// registers are free there, as `syscall` itself destroys them.
///
/// # Safety
/// `at` must be writable for [`STUB`] bytes, and `site` be what stands at `place`.
unsafe fn write_stub(at: usize, site: &Site, place: usize, slot: &'static SiteSlot) {
    let mut to = at as *mut u8;
    let mut put = |bytes: &[u8]| {
        // SAFETY: 12 + 10 + 10 + 6 + 8 bytes at most, which is less than STUB.
        unsafe {
            core::ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len());
            to = to.add(bytes.len());
        }
    };
    // SAFETY: the site's own bytes.
    put(unsafe { core::slice::from_raw_parts((place + MOV) as *const u8, site.middle) });
    put(&[0x49, 0xbb]);
    put(&(slot as *const SiteSlot as usize).to_le_bytes());
    put(&[0x48, 0xb9]);
    put(&(place + (site.behind - site.offset) - SYSCALL).to_le_bytes());
    put(&[0xff, 0x25, 0, 0, 0, 0]);
    let entry = match slot.family {
        "ioctl" => ioctl_site_enter as *const (),
        _ => site_enter as *const (),
    };
    put(&(entry as usize).to_le_bytes());
}

fn site_slot(number: u32) -> Option<&'static SiteSlot> {
    SITE_SLOTS
        .iter()
        .filter(|slot| slot.slot.number == number as usize)
        .find(|slot| concerns_libc(slot))
}

/// What libc maps for itself is nobody's tagged file; it syncs nothing, and what it reads for streams
/// concerns us only where reading is refused. Of what changes descriptors it closes some (fclose);
/// where it duplicates them, the program asked for it by symbol. Its own children (posix_spawn) learn
/// nothing of descriptors before they execute something. Its ioctl(2) is that of programs which look
/// it up there.
fn concerns_libc(slot: &SiteSlot) -> bool {
    let closes = || {
        let number = slot.slot.number as libc::c_long;
        matches!(number, libc::SYS_close | libc::SYS_close_range)
    };
    match slot.family {
        "map" | "sync" => false,
        "read" => config().policy.deny_reads,
        "descriptors" => closes(),
        "share" => slot.slot.number as libc::c_long == libc::SYS_vfork,
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

#[derive(Clone, Copy)]
struct Code {
    start: usize,
    end: usize,
}

/// The executable part of libc.
fn libc_code() -> Option<Code> {
    let mut search = Search {
        // Not a function that anybody interposes.
        address: libc::gnu_get_libc_version as *const () as usize,
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
