//! What stands before [`enter`] and [`site_enter`]: calls that are known to need no question are not asked
//! about, as that alone would be a tenth of what the kernel takes for them.

use crate::entry::site::{NUMBER, site_enter};
use crate::entry::slot::Slot;
use crate::entry::trampoline::enter;
use crate::ground::descriptors;
use crate::mappings;
use core::arch::naked_asm;
use core::mem::offset_of;
use daxshim_core::record::offset;
use daxshim_core::regions::Regions;

/// To `enter` where the range from rdi on, of rsi bytes, lies where something was once recorded, and something is now;
/// else on by the last instructions. Leaves rax changed alone.
macro_rules! unless_recorded {
    ([$($first:literal)*] $enter:path [$($pass:literal)*] $name:ident = $($operand:tt)*) => {
        naked_asm!(
            $($first,)*
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
            $($pass,)*
            record = sym mappings::RECORD,
            len = const offset::REGIONS + Regions::LEN,
            lowest = sym mappings::LOWEST,
            highest = sym mappings::HIGHEST,
            enter = sym $enter,
            $name = $($operand)*
        )
    };
}

impl Slot {
    /// A range that was never recorded goes on at once. Of a call whose first arguments are address and
    /// length, and about which nothing but mappings is asked.
    pub fn ask_of_recorded(&self) {
        self.lead_to(unless_recorded as *mut ());
    }

    /// A descriptor known to be untagged goes on at once. Of a call about whose first argument nothing else
    /// is asked.
    pub fn ask_of_tagged(&self) {
        self.lead_to(unless_untagged as *mut ());
    }

    /// Advice that neither takes data nor faults, nor keeps pages from children, goes on at once. Of madvise(2).
    pub fn ask_of_advice(&self) {
        self.lead_to(if_it_matters as *mut ());
    }

    /// Commands that hand out no descriptor go on at once. Of fcntl(2).
    pub fn ask_of_duplicates(&self) {
        self.lead_to(if_duplicating as *mut ());
    }
}

/// See [`Slot::ask_of_recorded`].
///
/// # Safety
/// Only to be jumped to by an exported symbol, which leaves r11 at the [`Slot`].
#[unsafe(naked)]
unsafe extern "C" fn unless_recorded() {
    unless_recorded!([] enter ["jmp [r11 + {real}]"] real = const offset_of!(Slot, real))
}

/// See [`Slot::ask_of_tagged`].
///
/// # Safety
/// As for [`unless_recorded`].
#[unsafe(naked)]
unsafe extern "C" fn unless_untagged() {
    naked_asm!(
        "cmp edi, {limit}",
        "jae {enter}",
        "mov eax, edi",
        "lea r10, [rip + {table}]",
        "test byte ptr [r10 + 4 * rax], {is_untagged}",
        "jz {enter}",
        "jmp [r11 + {real}]",
        limit = const descriptors::LIMIT,
        table = sym descriptors::TABLE,
        is_untagged = const descriptors::UNTAGGED,
        enter = sym enter,
        real = const offset_of!(Slot, real),
    )
}

/// The advice of which madvise(2)'s hook wants to know.
pub const ADVICE: [i32; 5] = [
    libc::MADV_REMOVE,
    libc::MADV_DONTFORK,
    libc::MADV_DOFORK,
    mappings::MADV_GUARD_INSTALL,
    mappings::MADV_GUARD_REMOVE,
];

/// See [`Slot::ask_of_advice`].
///
/// # Safety
/// As for [`unless_recorded`].
#[unsafe(naked)]
unsafe extern "C" fn if_it_matters() {
    naked_asm!(
        "cmp edx, {a}",
        "je {enter}",
        "cmp edx, {b}",
        "je {enter}",
        "cmp edx, {c}",
        "je {enter}",
        "cmp edx, {d}",
        "je {enter}",
        "cmp edx, {e}",
        "je {enter}",
        "jmp [r11 + {real}]",
        a = const ADVICE[0],
        b = const ADVICE[1],
        c = const ADVICE[2],
        d = const ADVICE[3],
        e = const ADVICE[4],
        enter = sym enter,
        real = const offset_of!(Slot, real),
    )
}

/// See [`Slot::ask_of_duplicates`].
///
/// # Safety
/// As for [`unless_recorded`].
#[unsafe(naked)]
unsafe extern "C" fn if_duplicating() {
    naked_asm!(
        "cmp esi, {duplicate}",
        "je {enter}",
        "cmp esi, {duplicate_cloexec}",
        "je {enter}",
        "jmp [r11 + {real}]",
        duplicate = const libc::F_DUPFD,
        duplicate_cloexec = const libc::F_DUPFD_CLOEXEC,
        enter = sym enter,
        real = const offset_of!(Slot, real),
    )
}

/// The types of requests (linux/ioctl.h: the second byte of the number) that ioctl(2)'s hook looks at.
pub const IOCTL_TYPES: [u8; 7] = [0x94, 0x66, 0x58, 0x76, 0x4c, 0xf5, 0xaa];

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
        "cmp al, {g}",
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
        g = const IOCTL_TYPES[6],
        number = const NUMBER,
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
    unless_recorded!(
        [".cfi_startproc simple" ".cfi_def_cfa rsp, 0" ".cfi_register rip, rcx"]
        site_enter
        ["mov eax, [r11 + {number}]" "jmp rcx" ".cfi_endproc"]
        number = const NUMBER
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
        number = const NUMBER,
        enter = sym site_enter,
    )
}

/// Where libc makes close(2): [`descriptors::forget`], and on to the `syscall` instruction. The next version
/// comes first: what is noted between that and the last instruction goes with it, what was known before is
/// known no longer than until the close.
///
/// # Safety
/// As for [`site_enter`].
#[unsafe(naked)]
pub unsafe extern "C" fn close_site_enter() {
    naked_asm!(
        ".cfi_startproc simple",
        ".cfi_def_cfa rsp, 0",
        ".cfi_register rip, rcx",
        "cmp edi, {limit}",
        "jae {enter}",
        "mov edi, edi",
        "lea rax, [rip + {table}]",
        "add dword ptr [rax + 4 * rdi], {next_version}",
        "and dword ptr [rax + 4 * rdi], {forgotten}",
        "mov eax, [r11 + {number}]",
        "jmp rcx",
        ".cfi_endproc",
        limit = const descriptors::LIMIT,
        table = sym descriptors::TABLE,
        next_version = const descriptors::NEXT_VERSION,
        forgotten = const descriptors::FORGOTTEN as i32,
        number = const NUMBER,
        enter = sym site_enter,
    )
}
