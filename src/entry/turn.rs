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

use crate::check;
use crate::entry::trampoline::{
    CANCELLABLE, SITE_SLOTS, SITES_BY_NUMBER, SLOTS, SiteSlot, Slot, cancellable_enter,
    ioctl_site_enter, map_site_enter, mmap_site_enter, mremap_site_enter, site_by_number,
    site_enter,
};
use crate::ground::memory::PAGE;
use crate::ground::process::{config, event};
use crate::ground::real::sys;
use core::ffi::{CStr, c_int, c_void};
use core::sync::atomic::{AtomicU64, Ordering};
use daxshim_core::report::Event;
use daxshim_core::sites::{Cancellable, MOV, Site, by_argument, pushes, sites};
use libc::{PROT_EXEC, PROT_READ, PROT_WRITE, dl_phdr_info};

/// Bytes of `syscall`.
const SYSCALL: usize = 2;
/// Room for libc's stubs, bytes: some 700 of them.
const ROOM: usize = 32 << 10;

/// Turns libc's places, and the loader's. To be called once, before the program has threads.
pub fn turn() {
    fill_numbers();
    let alone = is_single_threaded();
    let done = libc_code()
        .filter(|_| alone)
        .and_then(|code| turn_libc(code, true).ok());
    // Of these every libc has places.
    let watched = [libc::SYS_write, libc::SYS_openat, libc::SYS_close];
    let all = watched.iter().all(|&number| is_turned(number));
    if done != Some(true) || !all {
        event(Event::NotTurned);
    }
    if alone {
        crate::entry::modules::start();
    }
}

/// A libc: the program's own, or a second one. Whether all was of a known form.
pub fn turn_libc(code: Code, own: bool) -> Result<bool, i32> {
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
            let places = Cancellable::find(bytes).filter(|_| own);
            // SAFETY: as above.
            all &= places
                .and_then(|places| unsafe { turn_cancellable(stubs, code, &places) })
                .is_some();
        }
        if all && own {
            lead_symbols_straight(code, bytes);
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

/// Makes code and room for its stubs writable for the length of `write`; both stay executable.
fn change(
    room: usize,
    length: usize,
    code: Code,
    protection: c_int,
    write: impl FnOnce(&mut Stubs),
) -> Result<(), i32> {
    let (first, end) = (code.start & !(PAGE - 1), code.end.next_multiple_of(PAGE));
    let writable = PROT_READ | PROT_WRITE | PROT_EXEC;
    // If this is refused, it must be before anything leads there.
    let allowed = protect(room, length, PROT_READ | PROT_EXEC)
        .and_then(|()| protect(room, length, writable))
        .and_then(|()| protect(first, end - first, writable));
    if allowed.is_err() {
        // SAFETY: mapped for this, and nothing leads there.
        let _ = unsafe { sys!(SYS_munmap, room, length) };
        return allowed;
    }
    write(&mut Stubs {
        next: room,
        end: room + length,
    });
    protect(first, end - first, protection)?;
    protect(room, length, PROT_READ | PROT_EXEC)
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
fn lead_symbols_straight(code: Code, bytes: &[u8]) {
    for (_, slot, family) in SLOTS {
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
        if *family == "map" && is_turned(number) && is_plain_call(slot) {
            slot.serve_by_kernel();
        } else if is_turned(number) || is_passed() {
            slot.lead_straight();
        }
    }
}

/// Whether libc's function does nothing but the system call. pkey_mprotect without a key is mprotect.
fn is_plain_call(slot: &Slot) -> bool {
    slot.number != libc::SYS_pkey_mprotect as usize
}

/// Most bytes of a site's stub.
const STUB: usize = 48;

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

/// Writes a jump or call at `at`, in place of one instruction of the same length. `None` where `to` is out
/// of reach; or where others may run there and it does not lie in one aligned word, of which they fetch
/// either all that was there or all that is (AMD64 APM vol. 2, 7.6.1).
///
/// # Safety
/// The aligned words that [`MOV`] bytes lie in there must be writable.
unsafe fn lead(at: usize, opcode: u8, to: usize, alone: bool) -> Option<()> {
    const WORD: usize = size_of::<u64>();
    let distance = i32::try_from(to as isize - (at + MOV) as isize).ok()?;
    let [a, b, c, d] = distance.to_le_bytes();
    let jump = [opcode, a, b, c, d];
    let within = at % WORD;
    if within + MOV <= WORD {
        // SAFETY: aligned, and writable by the caller's promise.
        let word = unsafe { AtomicU64::from_ptr((at - within) as *mut u64) };
        let mut bytes = word.load(Ordering::Relaxed).to_le_bytes();
        bytes.get_mut(within..within + MOV)?.copy_from_slice(&jump);
        word.store(u64::from_le_bytes(bytes), Ordering::Release);
    } else if alone {
        // SAFETY: by the caller's promise.
        unsafe { (at as *mut [u8; MOV]).write(jump) };
    } else {
        return None;
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
    alone: bool,
) -> Option<()> {
    let at = code.start + site.offset;
    // SAFETY: the site's own bytes; the rest by the caller's promise.
    unsafe {
        let middle = core::slice::from_raw_parts((at + MOV) as *const u8, site.middle);
        let enter = match (slot.family, slot.slot.number as libc::c_long) {
            ("ioctl", _) => ioctl_site_enter as *const (),
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

/// Has [`SITES_BY_NUMBER`] name the rows that concern libc.
fn fill_numbers() {
    let blame = check::blame::sites();
    let concerned = SITE_SLOTS.iter().rev().filter(|slot| concerns_libc(slot));
    for slot in concerned.chain(blame) {
        if let Some(entry) = SITES_BY_NUMBER.get(slot.slot.number) {
            entry.store((slot as *const SiteSlot).cast_mut(), Ordering::Release);
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

fn site_slot(number: u32) -> Option<&'static SiteSlot> {
    check::blame::site(number).or_else(|| {
        SITE_SLOTS
            .iter()
            .filter(|slot| slot.slot.number == number as usize)
            .find(|slot| concerns_libc(slot))
    })
}

fn module_slot(number: u32) -> Option<&'static SiteSlot> {
    site_slot(number).filter(|slot| matches!(slot.family, "map" | "descriptors"))
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

/// What libc maps for itself is nobody's tagged file, but its functions may be looked up in it, by
/// whatever the program is made of. It syncs nothing but for aio_fsync, which is hooked by its name, and what it reads
/// for streams concerns us only where reading is refused. Of what changes descriptors it closes some
/// (fclose) and puts others in their place (freopen); where it duplicates one to a new number, the
/// program asked for it by symbol. Its own children (posix_spawn) learn nothing of descriptors before
/// they execute something. Its ioctl(2) is that of programs which look it up there.
fn concerns_libc(slot: &SiteSlot) -> bool {
    let number = slot.slot.number as libc::c_long;
    match slot.family {
        "sync" => false,
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
fn room_near(code: usize, length: usize) -> Result<usize, i32> {
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
                length,
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
                let _ = unsafe { sys!(SYS_munmap, at, length) };
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

pub fn is_single_threaded() -> bool {
    // A directory has a link for each of its directories, and itself twice.
    crate::tag::subject::Place::path(c"/proc/self/task".as_ptr() as usize, true)
        .stat()
        .is_ok_and(|stat| stat.st_nlink == 3)
}

/// An executable part of the program or of a library.
#[derive(Clone, Copy, Default)]
pub struct Code {
    /// First address.
    pub start: usize,
    /// First address behind it.
    pub end: usize,
}

impl Code {
    /// # Safety
    /// It must be readable for as long as the bytes are looked at.
    unsafe fn bytes(&self) -> &'static [u8] {
        // SAFETY: by the caller's promise.
        unsafe { core::slice::from_raw_parts(self.start as *const u8, self.end - self.start) }
    }
}

/// The executable part of libc.
pub fn libc_code() -> Option<Code> {
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
