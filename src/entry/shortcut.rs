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

impl Slot {
    /// A range that was never recorded goes on at once. Of a call whose first arguments are address and
    /// length, and about which nothing but mappings is asked.
    pub fn ask_of_recorded(&self) {
        self.lead_to(unless_unrecorded as *mut ());
    }

    /// A descriptor known to be untagged goes on at once. Of a call about whose first argument nothing else
    /// is asked.
    pub fn ask_of_tagged(&self) {
        self.lead_to(unless_untagged as *mut ());
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
unsafe extern "C" fn unless_unrecorded() {
    naked_asm!(
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
        "jmp [r11 + {real}]",
        record = sym mappings::RECORD,
        len = const offset::REGIONS + Regions::LEN,
        lowest = sym mappings::LOWEST,
        highest = sym mappings::HIGHEST,
        enter = sym enter,
        real = const offset_of!(Slot, real),
    )
}

/// See [`Slot::ask_of_tagged`].
///
/// # Safety
/// As for [`unless_unrecorded`].
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

/// See [`Slot::ask_of_duplicates`].
///
/// # Safety
/// As for [`unless_unrecorded`].
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
