//! Which addresses are mappings of tagged files, and who is flushing them now: a
//! [`Record`], whose module says what it rests on. Here is what it is asked and told.

mod attributes;
pub mod eadr;
mod flushing;
mod record;

pub use attributes::{Attributes, Reasons};
pub use flushing::{FLUSHED, Flush, drain, jumping, pages_flushed};
use record::{Me, settle};
pub use record::{RECORD, is_empty, stack_pointer, thread};

use crate::ground::checking;
use crate::ground::files;
use crate::ground::memory::PAGE;
use crate::ground::page::event;
use crate::ground::real::{SignalsBlocked, is_sealed, sys};
use crate::ground::thread::not_alone;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use daxshim_core::record::Change;
use daxshim_core::regions::{Busy, Full, Region, Writing};
use daxshim_core::report::Event;

/// Below [`LOWEST`] and from [`HIGHEST`] on nothing was ever recorded: for calls inside libc, most of which
/// are far from any tagged file.
pub static LOWEST: AtomicUsize = AtomicUsize::new(usize::MAX);
/// See [`LOWEST`].
pub static HIGHEST: AtomicUsize = AtomicUsize::new(0);

/// To be called before something is recorded there.
fn widen(start: usize, end: usize) {
    LOWEST.fetch_min(start, Ordering::Relaxed);
    HIGHEST.fetch_max(end, Ordering::Relaxed);
}

/// To be called once, by the constructor: the kernel empties what is the threads' in each forked child,
/// however it is forked. Without that (Linux before 4.14) a child that was forked past libc's handlers
/// finds its parent's writer at work for ever, and the kernel does it all.
pub fn start() {
    let threads = RECORD.wiped_on_fork();
    // SAFETY: whole pages of ours, which are zeros in the library's file and so anonymous memory.
    let _ = unsafe {
        sys!(
            SYS_madvise,
            threads.cast::<u8>(),
            threads.len(),
            libc::MADV_WIPEONFORK
        )
    };
    RECORD.settle();
}

/// The first mapping of a tagged file in `[start, start + length)`.
///
/// # Errors
/// [`Busy`]: it is not known what is there.
pub fn first_in(start: usize, length: usize) -> Result<Option<Region>, Busy> {
    if is_empty() {
        return Ok(None);
    }
    RECORD.first_in(start, page_end(start, length), &Me)
}

/// Whether every mapping of a tagged file is recorded, and of what is not inherited none.
pub fn is_complete() -> bool {
    settle();
    RECORD.regions.is_complete()
}

/// Whether a call that changes mappings in `[start, start + length)` concerns us: something is recorded
/// there, or it is not known what is.
pub fn concerns(start: usize, length: usize) -> bool {
    first_in(start, length) != Ok(None)
}

/// The end of the pages that `[start, start + length)` touches.
pub fn page_end(start: usize, length: usize) -> usize {
    start
        .saturating_add(length)
        .checked_next_multiple_of(PAGE)
        .unwrap_or(usize::MAX)
}

/// Becomes the writer, with signals blocked, so never in a handler that has interrupted one.
fn begin() -> Option<Change<'static>> {
    begin_by(|| RECORD.change(&Me))
}

/// As [`begin`], when no flush of `[start, end)` is under way any more.
fn begin_drained(start: usize, end: usize) -> Option<Change<'static>> {
    begin_by(|| {
        let (change, drained) = RECORD.change_drained((start, end), &Me);
        if drained.is_err() {
            event(Event::DrainTimeout);
        }
        change
    })
}

fn begin_by(become_writer: impl FnOnce() -> Option<Change<'static>>) -> Option<Change<'static>> {
    settle();
    // Now, as the next writer forgets everything.
    if RECORD.regions.is_missed() {
        checking::missed();
    }
    let change = become_writer();
    if change.is_none() {
        event(Event::LockTimeout);
        checking::missed();
    }
    change
}

fn write(change: impl FnOnce(&Writing<'static>) -> Result<(), Full>) {
    let _signals = SignalsBlocked::new();
    if let Some(writing) = begin()
        && change(&writing).is_err()
    {
        event(Event::MapFull);
        checking::missed();
    }
}

/// Carries out a system call that takes pages of `[start, end)` away, moves or protects them: nobody
/// flushes them meanwhile, and `settle` is told what came of it before anybody looks again.
pub fn during<T>(
    (start, end): (usize, usize),
    call: impl FnOnce() -> T,
    settle: impl FnOnce(&Writing<'static>, &T) -> Result<(), Full>,
) -> T {
    let _signals = SignalsBlocked::new();
    let change = begin_drained(start, end);
    let result = call();
    if let Some(change) = change
        && settle(&change, &result).is_err()
    {
        event(Event::MapFull);
        checking::missed();
    }
    result
}

/// Whatever may have happened to the files or to their mappings was let through: nothing that is
/// recorded can be relied on.
pub fn give_up() {
    if checking::on() {
        // It is still known where the mappings are, and check still looks at them.
        change(0, usize::MAX, Attributes::never_flushed);
    } else {
        RECORD.miss();
    }
    drain(0, usize::MAX);
}

/// Whether mappings may be changed where it is not seen.
static CHANGED_UNSEEN: AtomicBool = AtomicBool::new(false);

/// Linux 6.13, asm-generic/mman-common.h; in mappings of files since 6.15.
pub const MADV_GUARD_INSTALL: i32 = 102;
/// The same, and away with them.
pub const MADV_GUARD_REMOVE: i32 = 103;

/// Whether the kernel knows of guard pages.
pub fn knows_guards() -> bool {
    // SAFETY: advises nothing.
    is_sealed() || unsafe { sys!(SYS_madvise, 0, 0, MADV_GUARD_INSTALL) }.is_ok()
}

/// From now on guard pages may be put into mappings where it is not seen, if the kernel knows of any and `may_be`
/// says so: then nothing is flushed from user space any more. Other advice of which nothing is seen keeps no flush from being right: what a page is taken from
/// comes back with the next load.
#[cold]
#[inline(never)]
pub fn changes_unseen(may_be: impl FnOnce() -> bool) {
    if !knows_guards() || !may_be() {
        return;
    }
    CHANGED_UNSEEN.store(true, Ordering::SeqCst);
    suspend(0, usize::MAX, Reasons::ELSEWHERE);
}

/// Records a new mapping in place of whatever was there. What goes on without a break in a neighbour is one with it, as
/// it is for the kernel: a sync of both is one sync.
pub fn insert(region: Region) {
    widen(region.start, region.end);
    write(|regions| {
        // Read by the writer: who sets it becomes one afterwards.
        let unseen = CHANGED_UNSEEN.load(Ordering::SeqCst);
        let suspended = Reasons::ELSEWHERE.only_if(unseen);
        let attributes = region.attributes | suspended.0;
        regions.insert(joined(
            regions,
            Region {
                attributes,
                ..region
            },
        ))
    });
}

/// A region, and its neighbours where they differ in nothing but their place.
fn joined(regions: &Writing<'_>, region: Region) -> Region {
    let goes_on = |neighbour: &Region| {
        neighbour.origin == region.origin
            && neighbour.data_end == region.data_end
            && neighbour.attributes == region.attributes
    };
    let before = region
        .start
        .checked_sub(1)
        .and_then(|last| regions.at_or_after(last));
    let before = before.filter(|before| before.start < region.start && goes_on(before));
    let behind = regions.at_or_after(region.end);
    let behind = behind.filter(|behind| behind.start == region.end && goes_on(behind));
    Region {
        start: before.map_or(region.start, |before| before.start),
        end: behind.map_or(region.end, |behind| behind.end),
        ..region
    }
}

/// Forgets a range.
pub fn forget(start: usize, length: usize) {
    if concerns(start, length) {
        write(|regions| forget_in(regions, start, page_end(start, length)));
    }
}

/// Forgets a range, in a change.
pub fn forget_in(regions: &Writing<'_>, start: usize, end: usize) -> Result<(), Full> {
    regions.rewrite(start, end, |_| None)
}

/// The generation of a file of which a mapping is recorded: that keeps the inode, so that its number
/// is no other's.
pub fn generation_of_mapped(device: u64, inode: u64) -> Option<u32> {
    if is_empty() {
        return None;
    }
    let index = files::find(device, inode)?;
    let start = index.file().whole()?;
    let region = RECORD.regions.at_or_after(start).ok()??;
    let is_there = region.start == start && Attributes::of(region).file() == index;
    is_there.then(|| index.file().generation())?
}

/// In a change: of `reasons`, only those of `now` hold for a range from now on.
pub fn suspend_in(
    regions: &Writing<'_>,
    (start, end): (usize, usize),
    reasons: Reasons,
    now: Reasons,
) -> Result<(), Full> {
    change_in(regions, start, end, |attributes| {
        attributes & !reasons.0 | now.0
    })
}

/// As [`suspend_in`], waiting for flushes under way.
pub fn suspend(start: usize, length: usize, reasons: Reasons) {
    let range = (start, page_end(start, length));
    during(
        range,
        || (),
        |regions, ()| suspend_in(regions, range, reasons, reasons),
    );
}

/// Whether all of `[start, end)` is recorded, whatever as; of no bytes, whether the address is.
pub fn is_covered(start: usize, end: usize) -> bool {
    settle();
    let mut cursor = start;
    loop {
        match RECORD.regions.at_or_after(cursor) {
            Ok(Some(region)) if region.start <= cursor => cursor = region.end,
            _ => return false,
        }
        if cursor >= end {
            return true;
        }
    }
}

/// Whether any part of a range is kept from flushes for one of these reasons, or may be.
pub fn is_suspended(start: usize, length: usize, reasons: Reasons) -> bool {
    let end = page_end(start, length);
    let mut cursor = start;
    while cursor < end {
        match first_in(cursor, end - cursor) {
            Ok(None) => return false,
            Ok(Some(region)) if region.attributes & reasons.0 == 0 => cursor = region.end,
            _ => return true,
        }
    }
    false
}

/// MADV_DONTFORK and MADV_DOFORK: whether a forked child will have the range.
pub fn set_inherited(start: usize, length: usize, inherited: bool) {
    let end = page_end(start, length);
    set(start, end, Attributes::NOT_INHERITED, !inherited);
}

/// From now on, writable pages of the range may be write-protected without the program's knowledge; the protection
/// that the program knows of is `protection`.
pub fn keep_protection(start: usize, end: usize, protection: usize) {
    change(start, end, |attributes| {
        attributes & !(usize::MAX << Attributes::OWN_PROTECTION)
            | protection << Attributes::OWN_PROTECTION
    });
}

/// Ends [`keep_protection`], and waits for those who have looked at the range meanwhile.
pub fn forget_protection(start: usize, end: usize) {
    keep_protection(start, end, 0);
    drain(start, end);
}

fn set(start: usize, end: usize, bit: usize, on: bool) {
    change(start, end, |attributes| match on {
        true => attributes | bit,
        false => attributes & !bit,
    });
}

fn change(start: usize, end: usize, of: impl Fn(usize) -> usize) {
    write(|regions| change_in(regions, start, end, of));
}

fn change_in(
    regions: &Writing<'_>,
    start: usize,
    end: usize,
    of: impl Fn(usize) -> usize,
) -> Result<(), Full> {
    regions.rewrite(start, end, |region| {
        let attributes = of(region.attributes);
        Some(Region {
            attributes,
            ..region
        })
    })
}

/// mremap(2), in a change: what is recorded for `[from, from_end)` now holds at `[to, to_end)`; the last
/// part grows or shrinks with it.
pub fn relocate_in(
    regions: &Writing<'_>,
    (from, from_end): (usize, usize),
    (to, to_end): (usize, usize),
    keep_old: bool,
) -> Result<(), Full> {
    let move_address = |address: usize| address.wrapping_sub(from).wrapping_add(to);
    widen(to, to_end);
    // In place, it only grows or shrinks; else the two ranges don't overlap (mremap_to in mm/mremap.c).
    let added = if to == from { from_end } else { to };
    let mut outcome = forget_in(regions, added, to_end);
    let mut cursor = from;
    while let Some(region) = regions.at_or_after(cursor)
        && region.start < from_end
    {
        cursor = region.end;
        let is_last = region.end >= from_end;
        let moved = Region {
            start: move_address(region.start.max(from)),
            end: if is_last {
                to_end
            } else {
                move_address(region.end).min(to_end)
            },
            data_end: move_address(region.data_end),
            origin: move_address(region.origin),
            attributes: region.attributes,
        };
        if !keep_old {
            let (start, end) = (region.start.max(from), region.end.min(from_end));
            outcome = outcome.and(forget_in(regions, start, end));
        }
        if moved.start < moved.end {
            outcome = outcome.and(regions.insert(moved));
        }
    }
    outcome
}

/// After a fork, in both processes: whoever has a mapping now is not alone with it.
pub fn shared_with_relatives() {
    if !is_empty() {
        not_alone();
    }
}

/// In a forked child: the other threads, and with them the writer and flushes, are gone, and so
/// are mappings under MADV_DONTFORK.
pub fn forked() {
    RECORD.settle();
    RECORD.forked();
    if !is_empty() || RECORD.regions.is_unsettled() {
        write(|regions| {
            regions.rewrite(0, usize::MAX, |region| {
                (region.attributes & Attributes::NOT_INHERITED == 0).then_some(region)
            })
        });
    }
}
