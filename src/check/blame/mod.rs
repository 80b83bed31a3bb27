//! `--blame`: who stores to a page first after its last sync.
//!
//! Write-protects the pages of watched files: when they are mapped, though whether they are meant to be durable may only
//! be known at their first sync, as the stores before it are then to be told; and again when a sync begins that makes them
//! durable. The first store to such a page is a SIGSEGV. Its handler ([`signals`]) notes the stack for the page
//! in the file's table ([`daxshim_core::check::blame`]), restores the program's protection of the page, and returns to the
//! store. A region whose pages may be write-protected keeps the program's own protection in its attributes.
//!
//! Some pages are left to the kernel, that is restored and never protected again: those that a system call is about to
//! store to ([`kernel_stores`](crate::hooks::kernel_stores)), those that the kernel stores to when a thread ends
//! ([`robust`]), and those of a thread's stack. Before the program changes a mapping, all of it is restored. The first fault
//! that is the program's own restores everything, and is the program's to handle, by the kernel's own delivery; the next
//! sync begins anew.
//!
//! All of that may take a quarter of the time since the process began, and a head start. Beyond it pages are restored in
//! large pieces and not protected again, and who stores to them is not known. `exact` knows no such limit.

mod robust;
pub mod signals;

use super::shadows::{Shadow, Stretch, each_stretch};
use super::{budget, stack, stacks};
use crate::ground::checking;
use crate::ground::memory::PAGE;
use crate::ground::real::{sys, yield_now};
use crate::ground::{process, thread};
use crate::mappings::{self, Attributes, Flush, page_end};
use core::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, AtomicUsize, Ordering};
use daxshim_core::check::blame::{BY_KERNEL, Pages, Table, UNKNOWN};
use daxshim_core::check::log::{NO_SIGNAL, NO_STACK, NOT_TURNED};
use daxshim_core::config::Checking;
use daxshim_core::regions::Region;
use daxshim_core::report::Kind;
use libc::{PROT_READ, PROT_WRITE};

pub use signals::{executing, execution_failed};

/// Whether pages are write-protected.
static ON: AtomicBool = AtomicBool::new(false);

/// All that was ever write-protected lies between these.
static LOW: AtomicUsize = AtomicUsize::new(usize::MAX);
static HIGH: AtomicUsize = AtomicUsize::new(0);

/// Threads that are restoring pages for good.
static RESTORING: AtomicUsize = AtomicUsize::new(0);
/// How often pages were restored for good.
static RESTORED: AtomicUsize = AtomicUsize::new(0);

/// When it began, ns.
static STARTED: AtomicU64 = AtomicU64::new(0);
/// Time spent, ns.
static SPENT: AtomicU64 = AtomicU64::new(0);
/// The head start, ns.
const HEAD_START: u64 = 50_000_000;
/// One part in so many is ours.
const SHARE: u64 = 4;
/// What the kernel takes for a fault and the return from it, and for the store's own fault then, ns.
const FAULT: u64 = 13_000;
/// What is restored at once where time is short, bytes.
const PIECE: usize = 2 << 20;

static PAGES: signals::Pages = signals::Pages {
    stored,
    restore_all,
    give_up,
};

/// Whether the environment asks for it.
pub fn is_asked() -> bool {
    let config = process::config();
    config.blame && checking::on() && config.check != Checking::Crash
}

/// Begins, if it is asked for and every way to keep it from the program is there. Once, by the
/// constructor, when libc's places are turned, if those were that matter most.
pub fn start(are_turned: bool) {
    if !is_asked() {
        return;
    }
    signals::start(&PAGES);
    let missing = if !are_turned {
        NOT_TURNED
    } else if !stack::is_usable() {
        NO_STACK
    } else if !signals::arm() {
        NO_SIGNAL
    } else {
        0
    };
    let possible = missing == 0;
    if !possible {
        super::log::blameless(missing);
        log::warn!("DAXSHIM_BLAME: who stores first cannot be noted here");
    }
    STARTED.store(budget::clock(), Ordering::Relaxed);
    ON.store(possible, Ordering::Release);
}

/// In a forked child.
pub fn forked() {
    RESTORING.store(0, Ordering::Relaxed);
    signals::forked();
}

fn on() -> bool {
    ON.load(Ordering::Acquire)
}

/// Whether there is time for more.
fn is_affordable() -> bool {
    let elapsed = budget::clock().saturating_sub(STARTED.load(Ordering::Relaxed));
    budget::is_exact() || SPENT.load(Ordering::Relaxed) < elapsed / SHARE + HEAD_START
}

fn spend<T>(extra: u64, work: impl FnOnce() -> T) -> T {
    let started = budget::clock();
    let result = work();
    let spent = budget::clock().saturating_sub(started) + extra;
    SPENT.fetch_add(spent, Ordering::Relaxed);
    result
}

fn protect(start: usize, end: usize, protection: usize) -> Result<(), i32> {
    // SAFETY: a mapping of the program's, which stays readable, and writable but for our own faults.
    unsafe { sys!(SYS_mprotect, start, end - start, protection) }.map(|_| ())
}

/// A range has just been mapped, or got this protection.
pub fn write_protect(start: usize, end: usize, protection: i32) {
    if !on() || protection & PROT_WRITE == 0 {
        return;
    }
    LOW.fetch_min(start, Ordering::Relaxed);
    HIGH.fetch_max(end, Ordering::Relaxed);
    let mut cursor = start;
    while let Some(region) = next(cursor, end) {
        let attributes = Attributes::of(region);
        let lost = matches!(
            attributes.kind(),
            Kind::Private | Kind::ReadOnly | Kind::Suspended
        );
        if !lost && attributes.watched().is_some() {
            let (from, to) = (region.start.max(start), region.end.min(end));
            mappings::keep_protection(from, to, protection as usize);
        }
        cursor = region.end;
    }
    spend(0, || {
        each_stretch(start, end, |stretch| protect_stretch(&stretch))
    });
}

/// Whatever the record's state: what was write-protected must not stay so.
fn next(start: usize, end: usize) -> Option<Region> {
    let found = mappings::first_in(start, end.saturating_sub(start));
    let found = found.unwrap_or_else(|_| mappings::RECORD.regions.recall(start));
    found.filter(|region| region.start < end && start < region.end)
}

/// A sync of a stretch begins: what is stored from now on has a new writer. The caller has published a
/// flush.
pub fn cleaned(stretch: &Stretch) {
    if !on() {
        return;
    }
    spend(0, || {
        let Some((_, numbers)) = numbers(stretch) else {
            return;
        };
        for number in numbers {
            if number.load(Ordering::Relaxed) != BY_KERNEL {
                number.store(UNKNOWN, Ordering::Relaxed);
            }
        }
        if is_affordable() && signals::arm() {
            protect_stretch(stretch);
        }
    });
}

/// The table of a stretch's file, and the numbers of its pages.
fn numbers(stretch: &Stretch) -> Option<(&'static Table, &'static Pages)> {
    let (table, pages) = stretch.shadow.blame()?;
    // What a file has grown by is blamed on nobody.
    let end = stretch.end().div_ceil(PAGE).min(pages.len());
    let pages = pages.get(stretch.offset / PAGE..end)?;
    Some((table, pages))
}

/// Makes a stretch read-only, but for the pages that the kernel stores to. The caller has published a
/// flush: who restores everything waits for it.
fn protect_stretch(stretch: &Stretch) {
    let (Some(protection), Some((_, numbers))) = (stretch.own_protection, numbers(stretch)) else {
        return;
    };
    // Who restores everything for good waits for us, or has said so before we published.
    if !stretch.is_stored_to() || !signals::is_armed() || !on() {
        return;
    }
    // Somebody's own system call may have put another handler there.
    if !signals::is_ours() {
        give_up();
        return;
    }
    let read_only = protection & !(PROT_WRITE as usize) | PROT_READ as usize;
    // Too many mappings, or threads that cannot be looked at.
    let mut done = leave_kernels();
    let before = kernels(numbers);
    done = done && protect_runs(stretch, numbers, read_only, |number| number != BY_KERNEL);
    done = done && leave_kernels();
    if kernels(numbers) != before {
        // They have become so since they were looked at.
        done &= protect_runs(stretch, numbers, protection, |number| number == BY_KERNEL);
    }
    if !done {
        give_up();
    }
}

/// Pages that are the kernel's.
fn kernels(numbers: &Pages) -> usize {
    let is_kernels = |number: &&AtomicU16| number.load(Ordering::Relaxed) == BY_KERNEL;
    numbers.iter().filter(is_kernels).count()
}

/// Protects each run of a stretch's pages that are meant; whether that could be done.
fn protect_runs(
    stretch: &Stretch,
    numbers: &Pages,
    protection: usize,
    is_meant: impl Fn(u16) -> bool,
) -> bool {
    let first = stretch.address & !(PAGE - 1);
    let mut page = 0;
    while page < numbers.len() {
        let rest = numbers.get(page..).unwrap_or(&[]).iter();
        let run = rest.take_while(|number| is_meant(number.load(Ordering::Relaxed)));
        let run = run.count();
        let start = first + page * PAGE;
        if run > 0 && protect(start, start + run * PAGE, protection).is_err() {
            return false;
        }
        page += run + 1;
    }
    true
}

/// Leaves to the kernel what it stores to when a thread ends, and stacks; whether that is known.
fn leave_kernels() -> bool {
    let here = 0u8;
    leave_stack(&raw const here as usize);
    robust::each_store(|store| match store {
        robust::KernelStore::Word(word) => leave(word, WORD),
        robust::KernelStore::Thread(address) => leave_stack(address),
    })
}

/// Bytes of a futex.
const WORD: usize = 4;

/// The pages of a range are the kernel's from now on.
fn leave(address: usize, length: usize) {
    if reaches(address, length) {
        let end = page_end(address, length);
        each_stretch(address & !(PAGE - 1), end, |stretch| {
            leave_stretch(&stretch)
        });
    }
}

/// See [`check::cloning`](super::cloning).
#[cold]
#[inline(never)]
pub fn cloning(stack: usize, words: [usize; 2]) {
    thread::not_alone();
    if stack != 0 {
        leave_stack(stack - 1);
    }
    for word in words {
        leave_to_kernel(word, WORD);
    }
}

/// Makes the pages of a stretch the kernel's: they get writable, if they were not its own already.
fn leave_stretch(stretch: &Stretch) {
    let (Some(protection), Some((_, numbers))) = (stretch.own_protection, numbers(stretch)) else {
        return;
    };
    let mut new = false;
    for number in numbers {
        new |= number.swap(BY_KERNEL, Ordering::Relaxed) != BY_KERNEL;
    }
    if new {
        let start = stretch.address & !(PAGE - 1);
        let _ = protect(start, page_end(stretch.address, stretch.length), protection);
    }
}

/// A thread runs, or will, on a stack in whose mapping this is: the mapping is the kernel's. How far the
/// stack reaches nobody says, and no fault can be handled where there is none to be had.
pub fn leave_stack(address: usize) {
    if on() && reaches(address, 1) {
        each_stretch(0, usize::MAX, |stretch| {
            if (stretch.address..stretch.address + stretch.length).contains(&address) {
                leave_stretch(&stretch);
            }
        });
    }
}

/// The program is about to change what is mapped in a range: all of it is restored, for good. Its
/// protection, 0 where nothing was write-protected.
pub fn restore(address: usize, length: usize) -> usize {
    if !on() || !reaches(address, length) {
        return 0;
    }
    let mut first = 0;
    RESTORING.fetch_add(1, Ordering::AcqRel);
    let end = page_end(address, length);
    let mut cursor = address;
    while let Some(region) = next(cursor, end) {
        if let Some(protection) = Attributes::of(region).own_protection() {
            let (from, to) = (region.start.max(address), region.end.min(end));
            first = if first == 0 { protection } else { first };
            mappings::forget_protection(from, to);
            let _ = protect(from, to, protection);
        }
        cursor = region.end;
    }
    RESTORED.fetch_add(1, Ordering::Relaxed);
    RESTORING.fetch_sub(1, Ordering::AcqRel);
    first
}

/// Nothing is write-protected any more.
pub fn give_up() {
    if ON.swap(false, Ordering::AcqRel) {
        restore_all();
        // Of what is stored from now on.
        for (table, _) in super::shadows::all().filter_map(Shadow::blame) {
            table.unsampled.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// See [`check::sealing`](super::sealing).
pub fn sealing() {
    if is_asked() {
        give_up();
        signals::hand_over();
    }
}

/// Everything is writable again, as far as the program has it so. Whoever protects pages must have been
/// stopped before.
fn restore_all() {
    mappings::drain(0, usize::MAX);
    let mut cursor = 0;
    while let Some(region) = next(cursor, usize::MAX) {
        if let Some(protection) = Attributes::of(region).own_protection() {
            let _ = protect(region.start, region.end, protection);
        }
        cursor = region.end;
    }
}

fn reaches(address: usize, length: usize) -> bool {
    address < HIGH.load(Ordering::Relaxed)
        && address.saturating_add(length) > LOW.load(Ordering::Relaxed)
}

/// A store was refused: whether that was our doing, and the store is to be tried again.
fn stored(address: usize) -> bool {
    spend(FAULT, || {
        // What the record says of the page stays so while this lives.
        let flush = Flush::publish(mappings::stack_pointer());
        let page = address & !(PAGE - 1);
        let regions = &mappings::RECORD.regions;
        // A writer at work waits for this flush, so it is not waited for.
        let is_changing = regions.at_or_after(page).is_err() && !regions.is_missed();
        let own_protection = regions
            .recall(page)
            .filter(|region| (region.start..region.end).contains(&page))
            .and_then(|region| Some((region, Attributes::of(region).own_protection()?)));
        if flush.is_some()
            && let Some((region, protection)) = own_protection
        {
            let restored = restore_page(region, page, protection);
            // Restored as a whole, the region is one mapping, for which there is room.
            return restored.or_else(|_| protect(region.start, region.end, protection)) == Ok(());
        }
        is_changing || is_passing(address)
    })
}

/// Restores the page of the first store, or, where time is short, more.
fn restore_page(region: Region, page: usize, protection: usize) -> Result<(), i32> {
    let Some(stretch) = Stretch::of(region, page, page + PAGE) else {
        // Behind the file's last page, where a store is SIGBUS.
        return protect(page, page + PAGE, protection);
    };
    let Some((table, [number])) = numbers(&stretch) else {
        return protect(page, page + PAGE, protection);
    };
    if !is_affordable() {
        table.unsampled.fetch_add(1, Ordering::Relaxed);
        let from = (page & !(PIECE - 1)).max(region.start);
        let to = ((page | (PIECE - 1)) + 1).min(region.end);
        return protect(from, to, protection);
    }
    let is_here = |word: usize| (page..page + PAGE).contains(&word);
    if robust::pending().is_some_and(is_here) {
        // A robust mutex is being locked.
        number.store(BY_KERNEL, Ordering::Relaxed);
    }
    if number.load(Ordering::Relaxed) == UNKNOWN {
        match stacks::stack().and_then(|stack| table.writer(&stack, process::owner())) {
            Some(writer) => {
                let order = (Ordering::Relaxed, Ordering::Relaxed);
                let _ = number.compare_exchange(UNKNOWN, writer, order.0, order.1);
            }
            None => {
                table.unsampled.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
    protect(page, page + PAGE, protection)
}

/// Whether a fault in what is not protected may have been of ours: it was restored since, or is being restored. Then
/// the same does not happen again.
fn is_passing(address: usize) -> bool {
    static LAST: [AtomicUsize; 3] = [const { AtomicUsize::new(0) }; 3];
    if RESTORING.load(Ordering::Acquire) > 0 {
        yield_now();
        return true;
    }
    let restored = RESTORED.load(Ordering::Relaxed);
    let now = [mappings::thread(), address, restored];
    let mut again = true;
    for (last, now) in LAST.iter().zip(now) {
        again &= last.swap(now, Ordering::Relaxed) == now;
    }
    !again
}

/// The kernel is about to store to a range, or may do so later: it gets the pages, for good.
pub fn leave_to_kernel(address: usize, length: usize) {
    if !reaches(address, length) {
        return;
    }
    let end = page_end(address, length);
    let mut new = false;
    each_stretch(address & !(PAGE - 1), end, |stretch| {
        for number in numbers(&stretch).map_or(&[][..], |(_, numbers)| numbers) {
            new |= stretch.own_protection.is_some()
                && number.swap(BY_KERNEL, Ordering::Relaxed) != BY_KERNEL;
        }
    });
    if !new {
        return;
    }
    // For whoever protects pages and has not seen that yet.
    mappings::drain(address & !(PAGE - 1), end);
    each_stretch(address & !(PAGE - 1), end, |stretch| {
        if let Some(protection) = stretch.own_protection {
            let start = stretch.address & !(PAGE - 1);
            let _ = protect(start, page_end(stretch.address, stretch.length), protection);
        }
    });
}
