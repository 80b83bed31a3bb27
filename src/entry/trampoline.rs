//! How an intercepted call gets into Rust and out again.
//!
//! Every exported symbol is two instructions: load its [`Slot`], jump to [`enter`]. That one saves
//! the argument registers, asks the hook, and then does one of three things:
//!
//! - *pass*: restores the registers and jumps to the real function. No frame of ours is on the
//!   stack, so cancellation, longjmp and exceptions go through as if the hook were not there, and
//!   arguments nobody declared (variadic ones, a seventh on the stack) arrive untouched.
//! - *answer*: returns a value, if need be after a test for cancellation.
//! - *around*: calls the real function, then lets the hook see the result. The frame has unwind
//!   information and no personality routine, so a forced unwind (cancellation) passes through.
//!
//! redhook's `hook!` is not used for this: it resolves lazily behind a lock (rule 1 of a hook),
//! leaves a `catch_unwind` frame that aborts the program on cancellation (rule 4), and on a panic
//! calls the real function again.

use crate::ground::descriptors;
use crate::ground::real::numbers::{ELSEWHERE, ITS_ARGUMENT, NONE};
use crate::mappings;
use core::arch::naked_asm;
use core::mem::offset_of;
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, Ordering};
use daxshim_core::record::offset;
use daxshim_core::regions::Regions;
use daxshim_core::symbols::HOOKS;

/// What the hook wants done. Returned in two registers.
#[repr(C)]
pub struct Step {
    kind: usize,
    value: isize,
}

impl Step {
    /// On to the real function.
    pub const PASS: Step = Step { kind: 0, value: 0 };

    /// The real function, and then what [`Call::after`] says.
    const AROUND: Step = Step { kind: 2, value: 0 };

    /// Whether it is [`Step::PASS`].
    pub const fn is_pass(&self) -> bool {
        self.kind == 0
    }

    /// Return `value` to the program.
    pub const fn answer(value: isize) -> Step {
        Step { kind: 1, value }
    }

    /// As [`Step::answer`], but where the real function would have been a cancellation point, be
    /// one: a thread that calls nothing else must stay cancellable.
    pub const fn answer_cancellable(value: isize) -> Step {
        Step { kind: 3, value }
    }

    /// Return -1 with errno set.
    pub fn fail(errno: i32) -> Step {
        crate::ground::real::set_errno(errno);
        Step::answer(-1)
    }
}

/// A hook: looks at the call and says what is to be done.
pub type Check = extern "C" fn(&mut Call) -> Step;

/// What runs behind the real function of an *around*; its value goes to the program. It must
/// preserve errno.
pub type After = extern "C" fn(&Call, isize) -> isize;

/// Of one exported symbol.
#[repr(C)]
pub struct Slot {
    /// Where the symbol leads: [`enter`], or [`straight`] once libc's own system calls are asked
    /// about, which is where its real function ends up.
    entry: AtomicPtr<()>,
    /// The next definition of the symbol; until the constructor has run, [`early`] or [`late`].
    pub real: AtomicPtr<()>,
    /// The hook.
    pub check: Check,
    /// The system call that serves until the constructor has run.
    pub number: usize,
}

impl Slot {
    /// A slot whose real function is not known yet.
    pub const fn new(check: Check, number: core::ffi::c_long) -> Slot {
        Slot {
            entry: AtomicPtr::new(match number {
                ITS_ARGUMENT => by_number as *mut (),
                libc::SYS_dup => hand_out as *mut (),
                libc::SYS_vfork => crate::entry::vfork::vfork as *mut (),
                _ => enter as *mut (),
            }),
            real: AtomicPtr::new(if is_more_than_call(number) {
                late as *mut ()
            } else {
                early as *mut ()
            }),
            check,
            number: number as usize,
        }
    }

    /// Of a system call itself, which no function stands for.
    const fn of_call(check: Check, number: core::ffi::c_long) -> Slot {
        Slot {
            real: AtomicPtr::new(early as *mut ()),
            ..Slot::new(check, number)
        }
    }

    /// Whether its function is none of libc's.
    pub fn is_elsewhere(&self) -> bool {
        self.number == ELSEWHERE as usize
    }

    /// Behind the hook comes the kernel, not libc's function, whose own system call is asked about, too.
    pub fn serve_by_kernel(&self) {
        self.real.store(early as *mut (), Ordering::Release);
    }

    /// The symbol needs no look any more.
    pub fn lead_straight(&self) {
        self.lead_to(straight as *mut ());
    }

    /// Where the symbol leads.
    pub fn leads_to(&self) -> *mut () {
        self.entry.load(Ordering::Acquire)
    }

    /// Leads it elsewhere: to code that expects r11 at the slot.
    pub fn lead_to(&self, entry: *mut ()) {
        self.entry.store(entry, Ordering::Release);
    }
}

/// Whether the kernel can't answer for a function by the system call of its row: there is none, or libc
/// passes some arguments on in other places, or does something about them itself.
const fn is_more_than_call(number: core::ffi::c_long) -> bool {
    matches!(
        number,
        NONE | ELSEWHERE
            | libc::SYS_preadv2
            | libc::SYS_pwritev2
            | libc::SYS_fchmodat
            | libc::SYS_fcntl
            | libc::SYS_pkey_mprotect
    )
}

/// On to the real function, unasked.
///
/// # Safety
/// Only to be jumped to by an exported symbol, which leaves r11 at the [`Slot`].
#[unsafe(naked)]
unsafe extern "C" fn straight() {
    naked_asm!("jmp [r11 + {real}]", real = const offset_of!(Slot, real))
}

/// The real function, then [`descriptors::forget`] of what it returns: all that dup(2) needs, and
/// [`enter`] would be dear beside it.
///
/// # Safety
/// As for [`straight`].
#[unsafe(naked)]
unsafe extern "C" fn hand_out() {
    naked_asm!(
        ".cfi_startproc",
        "sub rsp, 8",
        ".cfi_def_cfa_offset 16",
        "call [r11 + {real}]",
        "cmp eax, {limit}",
        "jae 2f",
        "mov ecx, eax",
        "lea rdx, [rip + {table}]",
        "mov esi, [rdx + 4 * rcx]",
        "and esi, {version}",
        "add esi, {next_version}",
        "mov [rdx + 4 * rcx], esi",
        "2:",
        "add rsp, 8",
        ".cfi_def_cfa_offset 8",
        "ret",
        ".cfi_endproc",
        real = const offset_of!(Slot, real),
        limit = const descriptors::LIMIT,
        table = sym descriptors::TABLE,
        version = const descriptors::FORGOTTEN as i32,
        next_version = const descriptors::NEXT_VERSION,
    )
}

/// The registers of a call, on the stack of [`enter`].
#[repr(C)]
pub struct Call {
    /// rdi, rsi, rdx, rcx, r8, r9.
    pub args: [usize; 6],
    rax: usize,
    slot: *const Slot,
    after: Option<After>,
    /// Room for a hook to hand something to its `After`.
    pub note: usize,
}

impl Call {
    /// Where the program called from.
    pub fn return_address(&self) -> usize {
        // SAFETY: a call lies at the end of the frame of `enter`, whose caller's address is above it.
        unsafe { (&raw const *self).cast::<usize>().add(FRAME / 8).read() }
    }

    /// The program's stack pointer, at the exported symbol.
    pub fn frame(&self) -> usize {
        (&raw const *self as usize) + FRAME
    }

    /// The seventh argument, where a symbol that has one was called.
    pub fn seventh(&self) -> usize {
        // SAFETY: as in `return_address`, above which the caller's stack goes on.
        unsafe { (&raw const *self).cast::<usize>().add(FRAME / 8 + 1).read() }
    }

    /// The number of the system call.
    pub fn number(&self) -> usize {
        // SAFETY: the slot that the call came through, which lives as long as the library.
        unsafe { (*self.slot).number }
    }

    /// Whether it is a system call, made in libc or by syscall(2), and not a call of a function.
    pub fn is_by_number(&self) -> bool {
        SITE_SLOTS
            .as_ptr_range()
            .contains(&self.slot.cast::<SiteSlot>())
    }

    /// Calls the real function, then `after`.
    pub fn then(&mut self, after: After) -> Step {
        self.after = Some(after);
        Step::AROUND
    }
}

/// Where [`Slot::entry`] is.
const ENTRY: usize = offset_of!(Slot, entry);

/// Bytes of [`enter`]'s frame: it holds a [`Call`], and keeps the stack aligned to 16.
const FRAME: usize = 88;
const _: () = assert!(size_of::<Call>() <= FRAME && FRAME % 16 == 8);

/// Where every exported symbol jumps to, with r11 at its [`Slot`].
///
/// # Safety
/// Only to be jumped to by an exported symbol, with its caller's registers and stack.
#[unsafe(naked)]
pub unsafe extern "C" fn enter() {
    naked_asm!(
        ".cfi_startproc",
        "sub rsp, {frame}",
        ".cfi_def_cfa_offset {frame} + 8",
        "mov [rsp], rdi",
        "mov [rsp + 8], rsi",
        "mov [rsp + 16], rdx",
        "mov [rsp + 24], rcx",
        "mov [rsp + 32], r8",
        "mov [rsp + 40], r9",
        "mov [rsp + {rax}], rax",
        "mov [rsp + {slot}], r11",
        "mov rdi, rsp",
        "call [r11 + {check}]",
        "cmp eax, 1",
        "je 3f",
        "cmp eax, 3",
        "je 4f",
        "test eax, eax",
        "mov r11, [rsp + {slot}]",
        "mov rdi, [rsp]",
        "mov rsi, [rsp + 8]",
        "mov rcx, [rsp + 24]",
        "mov r8, [rsp + 32]",
        "mov r9, [rsp + 40]",
        "mov rdx, [rsp + 16]",
        "jnz 2f",
        // pass
        "mov rax, [rsp + {rax}]",
        "add rsp, {frame}",
        ".cfi_remember_state",
        ".cfi_def_cfa_offset 8",
        "jmp [r11 + {real}]",
        ".cfi_restore_state",
        // around
        "2:",
        "mov rax, [rsp + {rax}]",
        "call [r11 + {real}]",
        "mov rdi, rsp",
        "mov rsi, rax",
        "call [rsp + {after}]",
        "add rsp, {frame}",
        ".cfi_remember_state",
        ".cfi_def_cfa_offset 8",
        "ret",
        ".cfi_restore_state",
        // answer, at a cancellation point
        "4:",
        "mov [rsp + {note}], rdx",
        "call [rip + {testcancel}]",
        "mov rdx, [rsp + {note}]",
        // answer
        "3:",
        "mov rax, rdx",
        "add rsp, {frame}",
        ".cfi_def_cfa_offset 8",
        "ret",
        ".cfi_endproc",
        frame = const FRAME,
        rax = const offset_of!(Call, rax),
        slot = const offset_of!(Call, slot),
        note = const offset_of!(Call, note),
        testcancel = sym crate::ground::real::TESTCANCEL,
        after = const offset_of!(Call, after),
        check = const offset_of!(Slot, check),
        real = const offset_of!(Slot, real),
    )
}

/// Serves calls that come before the constructor, and those of [`Slot::serve_by_kernel`]: straight down to
/// the kernel.
///
/// # Safety
/// Only reached through [`enter`], which leaves r11 at the [`Slot`].
#[unsafe(naked)]
unsafe extern "C" fn early() {
    naked_asm!(
        "mov rax, [r11 + {number}]",
        "mov r10, rcx",
        "syscall",
        "cmp rax, -4096",
        "ja 2f",
        "ret",
        "2:",
        "neg eax",
        "mov edi, eax",
        "jmp {fail}",
        number = const offset_of!(Slot, number),
        fail = sym early_failure,
    )
}

/// Finds the function, and goes on to it: that of a library that was loaded after the constructor had run,
/// or one of libc's before it has.
///
/// # Safety
/// As for [`early`].
#[unsafe(naked)]
unsafe extern "C" fn late() {
    naked_asm!(
        ".cfi_startproc",
        "sub rsp, 56",
        ".cfi_def_cfa_offset 64",
        "mov [rsp], rdi",
        "mov [rsp + 8], rsi",
        "mov [rsp + 16], rdx",
        "mov [rsp + 24], rcx",
        "mov [rsp + 32], r8",
        "mov [rsp + 40], r9",
        "mov rdi, r11",
        "call {resolve}",
        "mov r11, rax",
        "mov rdi, [rsp]",
        "mov rsi, [rsp + 8]",
        "mov rdx, [rsp + 16]",
        "mov rcx, [rsp + 24]",
        "mov r8, [rsp + 32]",
        "mov r9, [rsp + 40]",
        "add rsp, 56",
        ".cfi_def_cfa_offset 8",
        "jmp r11",
        ".cfi_endproc",
        resolve = sym crate::ground::real::resolve_late,
    )
}

/// Where a system call made in assembly failed.
pub extern "C" fn early_failure(errno: i32) -> isize {
    crate::ground::real::set_errno(errno);
    -1
}

/// The rows of the table by their system calls' numbers; empty until the constructor has run.
static BY_NUMBER: [AtomicPtr<Slot>; NUMBERS] =
    [const { AtomicPtr::new(core::ptr::null_mut()) }; NUMBERS];

/// More than the numbers that x86-64 has.
const NUMBERS: usize = 512;

/// Has syscall(2) ask the rows of the table.
pub fn ask_by_number() {
    let blame = crate::check::blame::sites();
    for site in SITE_SLOTS.iter().rev().chain(blame) {
        if let Some(entry) = BY_NUMBER.get(site.slot.number) {
            entry.store((&raw const site.slot).cast_mut(), Ordering::Release);
        }
    }
}

/// Where `syscall` leads: to the hook of the number's row, with the arguments where it expects
/// them and the kernel as the real function; without a row straight to the kernel, as libc does it.
///
/// # Safety
/// Only to be jumped to by the exported symbol.
#[unsafe(naked)]
pub unsafe extern "C" fn by_number() {
    naked_asm!(
        // The kernel takes the number as an int.
        "mov eax, edi",
        "mov rdi, rsi",
        "mov rsi, rdx",
        "mov rdx, rcx",
        "mov rcx, r8",
        "mov r8, r9",
        "mov r9, [rsp + 8]",
        "cmp rax, {numbers}",
        "jae 2f",
        "lea r11, [rip + {by_number}]",
        "mov r11, [r11 + 8 * rax]",
        "test r11, r11",
        "jnz {enter}",
        "2:",
        "mov r10, rcx",
        "syscall",
        "cmp rax, -4096",
        "ja 3f",
        "ret",
        "3:",
        "neg eax",
        "mov edi, eax",
        "jmp {fail}",
        numbers = const NUMBERS,
        by_number = sym BY_NUMBER,
        enter = sym enter,
        fail = sym early_failure,
    )
}

/// The slot of a symbol.
pub fn slot(symbol: &str) -> Option<&'static Slot> {
    let mut slots = SLOTS.iter();
    let found = slots.find(|(name, ..)| name.strip_suffix('\0') == Some(symbol));
    found.map(|(_, slot, _)| *slot)
}

/// Leads the symbols of a whole family straight on.
pub fn lead_straight(family: &str) {
    for (_, slot, of) in SLOTS {
        if *of == family {
            slot.lead_straight();
        }
    }
}

/// Of one system call that libc makes itself.
#[repr(C)]
pub struct SiteSlot {
    /// Number and hook.
    pub slot: Slot,
    /// For calls on a descriptor that need nothing but to know that it is untagged.
    untagged: Option<&'static descriptors::Table>,
    /// The hook's family.
    pub family: &'static str,
    /// Whether libc's places of it were turned.
    pub turned: AtomicBool,
    /// Whether their `syscall` instructions are gone, so that every call is made here.
    pub makes_call: AtomicBool,
}

impl SiteSlot {
    /// Of a call that libc's places of were not turned yet.
    pub const fn new(check: Check, number: core::ffi::c_long, family: &'static str) -> SiteSlot {
        SiteSlot {
            slot: Slot::of_call(check, number),
            untagged: match family.as_bytes() {
                b"write" => Some(&descriptors::TABLE),
                _ => None,
            },
            family,
            turned: AtomicBool::new(false),
            makes_call: AtomicBool::new(false),
        }
    }
}

/// Bytes below the stack pointer that the interrupted code may use (System V ABI, x86-64).
const RED_ZONE: usize = 128;
/// Bytes of [`site_enter`]'s frame: a [`Call`] and the registers xmm0 to xmm15.
const SITE_FRAME: usize = 96 + 256;
const _: () = assert!(size_of::<Call>() <= 96);

/// Where a turned place of libc's code arrives: r11 at its [`SiteSlot`], rcx at its `syscall`
/// instruction, the other registers as that instruction expects them. They leave as it would leave
/// them. A call that passes is made by libc's own instruction, so that a thread cancelled in it is
/// where libc expects it to be; for one that is made here, the unwind information leads there.
///
/// # Safety
/// Only to be jumped to by a stub.
#[unsafe(naked)]
pub unsafe extern "C" fn site_enter() {
    naked_asm!(
        ".cfi_startproc simple",
        ".cfi_def_cfa rsp, 0",
        ".cfi_register rip, rcx",
        // A descriptor known to be untagged.
        "mov rax, [r11 + {untagged}]",
        "test rax, rax",
        "jz 2f",
        "cmp edi, {limit}",
        "jae 2f",
        "movsxd rdi, edi",
        "test byte ptr [rax + 4 * rdi], {is_untagged}",
        "jz 2f",
        "mov eax, [r11 + {number}]",
        "jmp rcx",
        "2:",
        "lea rsp, [rsp - {red_zone}]",
        "push rcx",
        "push rbp",
        "mov rbp, rsp",
        ".cfi_def_cfa rbp, {red_zone} + 16",
        ".cfi_offset rip, -{red_zone} - 8",
        ".cfi_offset rbp, -{red_zone} - 16",
        "and rsp, -16",
        "sub rsp, {frame}",
        "mov [rsp], rdi",
        "mov [rsp + 8], rsi",
        "mov [rsp + 16], rdx",
        "mov [rsp + 24], r10",
        "mov [rsp + 32], r8",
        "mov [rsp + 40], r9",
        "mov [rsp + {slot}], r11",
        ".irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15",
        "movups [rsp + 96 + 16 * \\n], xmm\\n",
        ".endr",
        "mov rdi, rsp",
        "mov rsi, r11",
        "call {ask}",
        "mov rcx, [rbp + 8]",
        "test eax, eax",
        "jz 5f",
        "cmp eax, 2",
        "je 3f",
        // answer
        "mov rax, rdx",
        "jmp 4f",
        // around
        "3:",
        "mov r11, [rsp + {slot}]",
        "mov eax, [r11 + {number}]",
        "mov rdi, [rsp]",
        "mov rsi, [rsp + 8]",
        "mov rdx, [rsp + 16]",
        "mov r10, [rsp + 24]",
        "mov r8, [rsp + 32]",
        "mov r9, [rsp + 40]",
        "syscall",
        "mov rdi, rsp",
        "mov rsi, rax",
        "call {around}",
        // done: on behind libc's own instruction
        "4:",
        "mov rcx, [rbp + 8]",
        "add rcx, 2",
        "jmp 6f",
        // pass: on to it
        "5:",
        "mov r11, [rsp + {slot}]",
        "mov eax, [r11 + {number}]",
        "6:",
        ".irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15",
        "movups xmm\\n, [rsp + 96 + 16 * \\n]",
        ".endr",
        "mov rdi, [rsp]",
        "mov rsi, [rsp + 8]",
        "mov rdx, [rsp + 16]",
        "mov r10, [rsp + 24]",
        "mov r8, [rsp + 32]",
        "mov r9, [rsp + 40]",
        "mov rsp, rbp",
        "pop rbp",
        ".cfi_def_cfa rsp, {red_zone} + 8",
        ".cfi_same_value rbp",
        ".cfi_register rip, rcx",
        "lea rsp, [rsp + {red_zone} + 8]",
        ".cfi_def_cfa rsp, 0",
        "jmp rcx",
        ".cfi_endproc",
        untagged = const offset_of!(SiteSlot, untagged),
        is_untagged = const descriptors::UNTAGGED,
        limit = const descriptors::LIMIT,
        number = const offset_of!(SiteSlot, slot) + offset_of!(Slot, number),
        red_zone = const RED_ZONE,
        frame = const SITE_FRAME,
        slot = const offset_of!(Call, slot),
        ask = sym ask_at_site,
        around = sym site_around,
    )
}

/// Bytes of an xsave area that ends with the widest registers that the CPU and kernel have; 0: none wider than
/// xmm.
static WIDE_AREA: AtomicU32 = AtomicU32::new(0);

/// Where ymm's upper halves, k registers, zmm's upper halves, and zmm16 to zmm31 stand in xcr0 (Intel SDM vol.
/// 1, 13.1).
const WIDE: [u32; 4] = [2, 5, 6, 7];

/// Once, by the constructor, where [`keep_wide`] is needed.
pub fn look_at_wide_registers() {
    use core::arch::x86_64::{__cpuid, __cpuid_count};
    const OSXSAVE: u32 = 1 << 27;
    if __cpuid(1).ecx & OSXSAVE == 0 {
        return;
    }
    let ends = WIDE.map(|component| {
        let found = __cpuid_count(0xd, component);
        found.eax + found.ebx
    });
    let end = ends.into_iter().max().unwrap_or(0);
    WIDE_AREA.store(end.next_multiple_of(64), Ordering::Relaxed);
}

/// Calls a function of another library, which may use what the CPU has, and preserves what a place that was
/// turned must and [`site_enter`] does not. On the stack are some 2.7 KB more with AVX-512.
///
/// # Safety
/// As for a call of `function` with `argument`.
#[unsafe(naked)]
pub unsafe extern "C" fn keep_wide(
    function: unsafe extern "C" fn(*mut core::ffi::c_void),
    argument: *mut core::ffi::c_void,
) {
    naked_asm!(
        ".cfi_startproc",
        "push rbp",
        ".cfi_def_cfa_offset 16",
        ".cfi_offset rbp, -16",
        "mov rbp, rsp",
        ".cfi_def_cfa_register rbp",
        "push rbx",
        ".cfi_offset rbx, -24",
        "push rbx",
        "mov r8, rdi",
        "mov rdi, rsi",
        "mov ecx, [rip + {area}]",
        "test ecx, ecx",
        "jz 2f",
        "sub rsp, rcx",
        "and rsp, -64",
        "mov rbx, rsp",
        "xor eax, eax",
        "xor edx, edx",
        ".irp n, 0, 1, 2, 3, 4, 5, 6, 7",
        "mov [rbx + 512 + 8 * \\n], rax",
        ".endr",
        "mov eax, {wide}",
        "xsave64 [rbx]",
        "call r8",
        "mov eax, {wide}",
        "xor edx, edx",
        "xrstor64 [rbx]",
        "jmp 3f",
        "2:",
        "call r8",
        "3:",
        "mov rbx, [rbp - 8]",
        "mov rsp, rbp",
        "pop rbp",
        ".cfi_def_cfa rsp, 8",
        "ret",
        ".cfi_endproc",
        area = sym WIDE_AREA,
        wide = const 1 << WIDE[0] | 1 << WIDE[1] | 1 << WIDE[2] | 1 << WIDE[3],
    )
}

/// The types of requests (linux/ioctl.h: the second byte of the number) that ioctl(2)'s hook looks at.
pub const IOCTL_TYPES: [u8; 6] = [0x94, 0x66, 0x58, 0x76, 0x4c, 0xf5];

/// Before [`site_enter`], where libc makes ioctl(2): requests of other types, which are those about
/// terminals and sockets, go on at once.
///
/// # Safety
/// Only to be jumped to by a stub.
#[unsafe(naked)]
pub unsafe extern "C" fn ioctl_site_enter() {
    naked_asm!(
        ".cfi_startproc simple",
        ".cfi_def_cfa rsp, 0",
        ".cfi_register rip, rcx",
        "mov eax, esi",
        "shr eax, 8",
        "cmp al, {a}",
        "je {enter}",
        "cmp al, {b}",
        "je {enter}",
        "cmp al, {c}",
        "je {enter}",
        "cmp al, {d}",
        "je {enter}",
        "cmp al, {e}",
        "je {enter}",
        "cmp al, {f}",
        "je {enter}",
        "mov eax, [r11 + {number}]",
        "jmp rcx",
        ".cfi_endproc",
        a = const IOCTL_TYPES[0],
        b = const IOCTL_TYPES[1],
        c = const IOCTL_TYPES[2],
        d = const IOCTL_TYPES[3],
        e = const IOCTL_TYPES[4],
        f = const IOCTL_TYPES[5],
        number = const offset_of!(SiteSlot, slot) + offset_of!(Slot, number),
        enter = sym site_enter,
    )
}

/// Before [`site_enter`], where a range of mappings is changed: on at once while nothing is recorded, or
/// where nothing ever was. malloc and its like are that frequent.
///
/// # Safety
/// Only to be jumped to by a stub.
#[unsafe(naked)]
pub unsafe extern "C" fn map_site_enter() {
    naked_asm!(
        ".cfi_startproc simple",
        ".cfi_def_cfa rsp, 0",
        ".cfi_register rip, rcx",
        "cmp qword ptr [rip + {record} + {len}], 0",
        "je 2f",
        "mov rax, rdi",
        "add rax, rsi",
        "jc {enter}",
        "cmp rax, [rip + {lowest}]",
        "jbe 2f",
        "cmp rdi, [rip + {highest}]",
        "jb {enter}",
        "2:",
        "mov eax, [r11 + {number}]",
        "jmp rcx",
        ".cfi_endproc",
        record = sym mappings::RECORD,
        len = const offset::REGIONS + Regions::LEN,
        lowest = sym mappings::LOWEST,
        highest = sym mappings::HIGHEST,
        number = const offset_of!(SiteSlot, slot) + offset_of!(Slot, number),
        enter = sym site_enter,
    )
}

/// The same for mremap(2), unless it takes another place than a free one, or is to map the pages twice.
///
/// # Safety
/// Only to be jumped to by a stub.
#[unsafe(naked)]
pub unsafe extern "C" fn mremap_site_enter() {
    naked_asm!(
        ".cfi_startproc simple",
        ".cfi_def_cfa rsp, 0",
        ".cfi_register rip, rcx",
        "test r10b, {fixed}",
        "jnz {enter}",
        "test rsi, rsi",
        "jnz {map_enter}",
        "jmp {enter}",
        ".cfi_endproc",
        fixed = const libc::MREMAP_FIXED,
        enter = sym site_enter,
        map_enter = sym map_site_enter,
    )
}

/// Before [`site_enter`], where mmap(2) is called: memory of no file goes on at once, as it takes a free
/// place, if it is not given one. What is recorded there still, another thread's munmap(2) is about to forget,
/// and has taken from flushes already.
///
/// # Safety
/// Only to be jumped to by a stub.
#[unsafe(naked)]
pub unsafe extern "C" fn mmap_site_enter() {
    naked_asm!(
        ".cfi_startproc simple",
        ".cfi_def_cfa rsp, 0",
        ".cfi_register rip, rcx",
        "mov eax, r10d",
        "and eax, {anonymous} | {fixed}",
        "cmp eax, {anonymous}",
        "jne {enter}",
        "mov eax, [r11 + {number}]",
        "jmp rcx",
        ".cfi_endproc",
        anonymous = const libc::MAP_ANONYMOUS,
        fixed = const libc::MAP_FIXED,
        number = const offset_of!(SiteSlot, slot) + offset_of!(Slot, number),
        enter = sym site_enter,
    )
}

/// The rows that concern libc itself by their system calls' numbers.
pub static SITES_BY_NUMBER: [AtomicPtr<SiteSlot>; NUMBERS] =
    [const { AtomicPtr::new(core::ptr::null_mut()) }; NUMBERS];

/// As [`site_enter`], but with the number in rax, and r11 free.
///
/// # Safety
/// Only to be jumped to by a stub.
#[unsafe(naked)]
pub unsafe extern "C" fn site_by_number() {
    naked_asm!(
        ".cfi_startproc simple",
        ".cfi_def_cfa rsp, 0",
        ".cfi_register rip, rcx",
        "cmp rax, {numbers}",
        "jae 2f",
        "lea r11, [rip + {sites}]",
        "mov r11, [r11 + 8 * rax]",
        "test r11, r11",
        "jnz {enter}",
        "2:",
        "jmp rcx",
        ".cfi_endproc",
        numbers = const NUMBERS,
        sites = sym SITES_BY_NUMBER,
        enter = sym site_enter,
    )
}

/// libc's function that makes a system call in which a thread can be cancelled.
pub static CANCELLABLE: AtomicPtr<()> = AtomicPtr::new(core::ptr::null_mut());

/// Bytes of [`cancellable_enter`]'s frame: a [`Call`], and its own two first arguments behind it.
const CANCELLABLE_FRAME: usize = 104;
const _: () = assert!(size_of::<Call>() <= 88 && CANCELLABLE_FRAME % 16 == 8);

/// Called in the place of [`CANCELLABLE`], with its arguments: where the thread's cancellation is noted,
/// the number, the call's own six. Returns what the kernel would. A call that passes is made by that
/// function, in which a thread may be cancelled, and without a frame of ours.
///
/// # Safety
/// Only to be called by libc.
#[unsafe(naked)]
pub unsafe extern "C" fn cancellable_enter() {
    naked_asm!(
        ".cfi_startproc",
        "cmp rsi, {numbers}",
        "jae 6f",
        "lea r11, [rip + {sites}]",
        "mov r11, [r11 + 8 * rsi]",
        "test r11, r11",
        "jz 6f",
        // A descriptor known to be untagged.
        "mov rax, [r11 + {untagged}]",
        "test rax, rax",
        "jz 2f",
        "cmp edx, {limit}",
        "jae 2f",
        "mov r10d, edx",
        "test byte ptr [rax + 4 * r10], {is_untagged}",
        "jnz 6f",
        "2:",
        "mov rax, [rsp + 8]",
        "mov r10, [rsp + 16]",
        "sub rsp, {frame}",
        ".cfi_def_cfa_offset {frame} + 8",
        "mov [rsp], rdx",
        "mov [rsp + 8], rcx",
        "mov [rsp + 16], r8",
        "mov [rsp + 24], r9",
        "mov [rsp + 32], rax",
        "mov [rsp + 40], r10",
        "mov [rsp + {slot}], r11",
        "mov [rsp + 88], rdi",
        "mov [rsp + 96], rsi",
        "mov rdi, rsp",
        "mov rsi, r11",
        "call {ask}",
        "mov rdi, [rsp + 88]",
        "cmp eax, 2",
        "je 3f",
        "test eax, eax",
        "jz 4f",
        // answer, but for a thread that was cancelled
        "test byte ptr [rdi], {cancelled}",
        "jnz 4f",
        "mov rax, rdx",
        "jmp 5f",
        // around
        "3:",
        "mov rsi, [rsp + 96]",
        "mov rdx, [rsp]",
        "mov rcx, [rsp + 8]",
        "mov r8, [rsp + 16]",
        "mov r9, [rsp + 24]",
        "push [rsp + 40]",
        ".cfi_adjust_cfa_offset 8",
        "push [rsp + 40]",
        ".cfi_adjust_cfa_offset 8",
        "call [rip + {real}]",
        "add rsp, 16",
        ".cfi_adjust_cfa_offset -16",
        "mov rdi, rsp",
        "mov rsi, rax",
        "call {around}",
        "jmp 5f",
        // pass
        "4:",
        "mov rsi, [rsp + 96]",
        "mov rdx, [rsp]",
        "mov rcx, [rsp + 8]",
        "mov r8, [rsp + 16]",
        "mov r9, [rsp + 24]",
        "add rsp, {frame}",
        ".cfi_remember_state",
        ".cfi_def_cfa_offset 8",
        "6:",
        "jmp [rip + {real}]",
        ".cfi_restore_state",
        "5:",
        "add rsp, {frame}",
        ".cfi_def_cfa_offset 8",
        "ret",
        ".cfi_endproc",
        numbers = const NUMBERS,
        sites = sym SITES_BY_NUMBER,
        untagged = const offset_of!(SiteSlot, untagged),
        is_untagged = const descriptors::UNTAGGED,
        limit = const descriptors::LIMIT,
        frame = const CANCELLABLE_FRAME,
        slot = const offset_of!(Call, slot),
        ask = sym ask_at_site,
        // CANCELED_BITMASK of glibc's nptl/descr.h.
        cancelled = const 8,
        real = sym CANCELLABLE,
        around = sym site_around,
    )
}

/// Asks the hook. Its answer is what the kernel would give, an error a negative number; errno is
/// left to libc.
extern "C" fn ask_at_site(call: &mut Call, site: &SiteSlot) -> Step {
    let errno = crate::ground::real::errno();
    call.after = None;
    let mut step = (site.slot.check)(call);
    if step.value == -1 {
        step.value = -(crate::ground::real::errno() as isize);
    }
    if step.is_pass() && site.makes_call.load(Ordering::Relaxed) {
        step = Step::AROUND;
    }
    crate::ground::real::set_errno(errno);
    step
}

/// Behind a call that was made here; `result` as the kernel gave it.
extern "C" fn site_around(call: &Call, result: isize) -> isize {
    if let Some(after) = call.after {
        after(
            call,
            if (-4095..0).contains(&result) {
                -1
            } else {
                result
            },
        );
    }
    result
}

macro_rules! export_hooks {
    ($($family:ident::$function:ident [$($symbol:ident)*] $syscall:ident => [$($operation:ident)+];)+) => {
        $($(
            mod $symbol {
                use crate::entry::trampoline::{ENTRY, Slot};

                pub static SLOT: Slot =
                    Slot::new(crate::hooks::$family::$function, crate::ground::real::numbers::$syscall);

                #[unsafe(naked)]
                #[unsafe(no_mangle)]
                unsafe extern "C" fn $symbol() {
                    core::arch::naked_asm!(
                        "lea r11, [rip + {slot}]",
                        "jmp [r11 + {entry}]",
                        slot = sym SLOT,
                        entry = const ENTRY,
                    )
                }
            }
        )*)+

        /// The system calls of the table, for where libc makes them itself. Of rows with the same
        /// number, the first counts.
        pub static SITE_SLOTS: [SiteSlot; HOOKS.len()] = [$(
            SiteSlot::new(crate::hooks::$family::$function, crate::ground::real::numbers::$syscall, stringify!($family)),
        )+];

        /// Every exported symbol (with its terminating NUL), its slot, and its hook's family.
        pub static SLOTS: &[(&str, &Slot, &str)] = &[
            $($((concat!(stringify!($symbol), "\0"), &$symbol::SLOT, stringify!($family)),)*)+
        ];
    };
}
daxshim_core::for_each_hook!(export_hooks);

/// Exported by nobody: handed out in the place of functions that have no name.
macro_rules! stand_ins {
    ($($(#[$doc:meta])* $list:ident $family:ident::$function:ident [$($place:ident)+];)+) => {$(
        $(#[$doc])*
        pub static $list: &[StandIn] = &[$(StandIn { slot: &$list::$place::SLOT, entry: $list::$place::entry }),+];

        #[allow(non_snake_case)]
        mod $list {$(
            pub mod $place {
                use crate::entry::trampoline::{ENTRY, Slot};

                pub static SLOT: Slot =
                    Slot::new(crate::hooks::$family::$function, crate::ground::real::numbers::ELSEWHERE);

                #[unsafe(naked)]
                pub unsafe extern "C" fn entry() {
                    core::arch::naked_asm!(
                        "lea r11, [rip + {slot}]",
                        "jmp [r11 + {entry}]",
                        slot = sym SLOT,
                        entry = const ENTRY,
                    )
                }
            }
        )+}
    )+};
}

/// See [`stand_in`].
pub struct StandIn {
    slot: &'static Slot,
    entry: unsafe extern "C" fn(),
}

stand_ins! {
    /// What pmem2_get_flush_fn answers.
    FLUSHES pmem2::flush [a b c d];
    /// What pmem2_get_drain_fn answers.
    DRAINS pmem2::drain [a b c d];
    /// What pmem2_get_persist_fn answers.
    PERSISTS pmem2::persist [a b c d];
    /// What pmem2_get_memcpy_fn, pmem2_get_memmove_fn and pmem2_get_memset_fn answer.
    COPIES pmem2::copy [a b c d e f g h i j k l];
}

/// A function that asks its hook and then goes on to `real`. `None`: there are no more of them.
pub fn stand_in(all: &'static [StandIn], real: *mut ()) -> Option<*mut ()> {
    let stands_for_it = |stand_in: &&StandIn| {
        let free = late as *mut ();
        let place = &stand_in.slot.real;
        let claimed = place.compare_exchange(free, real, Ordering::AcqRel, Ordering::Acquire);
        claimed.is_ok() || claimed == Err(real)
    };
    let found = all.iter().find(stands_for_it)?;
    Some(found.entry as *mut ())
}
