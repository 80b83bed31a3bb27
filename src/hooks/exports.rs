//! The table of hooks as the loader and libc see it: a symbol and a slot for each of its names, a row for
//! each of its system calls.

use crate::check;
use crate::entry::site::SiteSlot;
use crate::entry::slot::Slot;
use crate::ground::process::config;
use crate::hooks::kernel_stores;
use daxshim_core::symbols::HOOKS;

macro_rules! export_hooks {
    ($($family:ident::$function:ident [$($symbol:ident)*] $syscall:ident => [$($operation:ident)+];)+) => {
        $($(
            mod $symbol {
                use crate::entry::slot::{ENTRY, Slot};

                pub static SLOT: Slot = Slot::new(
                    crate::hooks::$family::$function,
                    crate::ground::real::numbers::$syscall,
                    concat!(stringify!($symbol), "\0"),
                    stringify!($family),
                );

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

        /// The slot of every exported symbol.
        pub static SYMBOLS: &[&Slot] = &[$($(&$symbol::SLOT,)*)+];
    };
}
daxshim_core::for_each_hook!(export_hooks);

/// The slot of msync.
pub static MSYNC: &Slot = &msync::SLOT;

/// Leads the symbols of a whole family straight on.
pub fn lead_straight(family: &str) {
    for slot in SYMBOLS.iter().filter(|slot| slot.family == family) {
        slot.lead_straight();
    }
}

/// What syscall(2) asks; of rows with the same number, the last counts.
pub fn by_number() -> impl Iterator<Item = &'static Slot> {
    let rows = SITE_SLOTS.iter().rev().chain(kernel_stores::sites());
    rows.map(|row| &row.slot)
}

/// What is asked where libc makes the call itself; of rows with the same number, the last counts.
pub fn of_libc() -> impl Iterator<Item = &'static SiteSlot> {
    let rows = SITE_SLOTS.iter().rev();
    rows.filter(|row| concerns_libc(&row.slot))
        .chain(kernel_stores::sites())
}

/// What libc maps for itself is nobody's tagged file, but its functions may be looked up in it, by
/// whatever the program is made of. It syncs nothing but for aio_fsync, which is hooked by its name, and what it reads
/// for streams concerns us only where reading is refused. Of what changes descriptors it closes some
/// (fclose) and puts others in their place (freopen); where it duplicates one to a new number, the
/// program asked for it by symbol. Its own children (posix_spawn) learn nothing of descriptors before
/// they execute something. Its ioctl(2) is that of programs which look it up there.
fn concerns_libc(slot: &Slot) -> bool {
    let number = slot.number as libc::c_long;
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
