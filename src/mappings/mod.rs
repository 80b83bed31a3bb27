//! Which addresses are mappings of tagged files, and who is flushing them now: a
//! [`Record`], whose module says what it rests on. Here is what it is asked and told.

pub mod eadr;

use crate::ground::checking;
use crate::ground::files;
use crate::ground::memory::PAGE;
use crate::ground::page::event;
use crate::ground::process::{self};
use crate::ground::real::{SignalsBlocked, sleep_shortly, sys, yield_now};
use core::arch::asm;
use core::ops::Range;
use core::sync::atomic::{AtomicUsize, Ordering};
use daxshim_core::record::{self, BATCH, Change, Place, Record};
use daxshim_core::regions::{Busy, Full, Region, Writing};
use daxshim_core::report::{Event, Kind};

/// See the module; [`quick`](crate::sync::quick) looks into it.
pub static RECORD: Record = Record::new();

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

/// How this thread is known to the record, and waits.
struct Me;

impl record::Thread for Me {
    fn number(&self) -> usize {
        thread()
    }

    fn pause(&self, number: usize) {
        if number < record::YIELDS {
            yield_now();
        } else {
            sleep_shortly();
        }
    }

    fn patience(&self) -> usize {
        // Who compares a file for `daxshim check` tells nothing meanwhile.
        const SECONDS: usize = 1 << 18;
        match checking::on() {
            true => SECONDS,
            false => record::DRAIN_PATIENCE,
        }
    }

    fn is_on_own_stack(&self) -> bool {
        signal_stack().is_some_and(|stack| stack.is_empty())
    }
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

/// A child that was forked past libc's handlers does what they would have done. To be called before
/// anything is recorded or flushed.
#[inline]
fn settle() {
    if !RECORD.is_settled() && process::is_set_up() {
        forked_unseen();
    }
}

#[cold]
#[inline(never)]
fn forked_unseen() {
    if RECORD.settle() {
        // SAFETY: this is a forked child, whose handlers did not run.
        unsafe { process::forked_past_handlers() };
    }
}

/// What a region's attributes say.
#[derive(Clone, Copy)]
pub struct Attributes(usize);

impl Attributes {
    const KIND: usize = 0xff;
    /// Its protection allows no loads, and written back lines are read lines.
    const UNREADABLE: usize = 1 << 8;
    const NOT_INHERITED: usize = 1 << 9;
    const EADR: usize = 1 << 10;

    const FILE_READ_ONLY: usize = 1 << 11;
    const HUGE: usize = 1 << 12;
    const MAP_SYNC: usize = 1 << 13;
    /// It has a protection key that may deny access at any moment.
    const KEY: usize = 1 << 14;
    /// There may be guard pages in it, which fault whoever touches them.
    const GUARD: usize = 1 << 15;
    /// What keeps flushes off, each for a reason of its own.
    const SUSPENDED: usize = Attributes::UNREADABLE | Attributes::KEY | Attributes::GUARD;
    const FILE_SHIFT: u32 = 16;
    /// From here on: one more than the number of the shadow that `DAXSHIM_CHECK` holds it against.
    const WATCHED: u32 = 32;
    const WATCHED_BITS: usize = 0xffff;
    /// From here on: the program's protection of it, where pages may be read-only at its back
    /// ([`blame`](crate::check::blame)); 0 where not.
    const LENT: u32 = 48;

    /// Of a new mapping: what it is, whether write-back can be left out, whether the file was open
    /// for writing, whether pages of 2 MiB may be mapped in it, and the file.
    pub fn new(
        kind: Kind,
        eadr: bool,
        file_writable: bool,
        huge: bool,
        file: files::Index,
    ) -> Attributes {
        let huge = if huge { Attributes::HUGE } else { 0 };
        let eadr = if eadr { Attributes::EADR } else { 0 };
        let read_only = if file_writable {
            0
        } else {
            Attributes::FILE_READ_ONLY
        };
        Attributes(
            kind as usize | eadr | read_only | huge | file.number() << Attributes::FILE_SHIFT,
        )
    }

    /// Of a mapping that is held against a shadow.
    pub fn watched_by(self, shadow: Option<usize>) -> Attributes {
        let number = shadow.map_or(0, |shadow| shadow + 1);
        Attributes(self.0 | number << Attributes::WATCHED)
    }

    /// Of a mapping for which the program itself has asked for MAP_SYNC.
    pub fn asked_for_sync(self, asked: bool) -> Attributes {
        Attributes(self.0 | if asked { Attributes::MAP_SYNC } else { 0 })
    }

    /// Of a mapping that only the kernel syncs from now on.
    fn never_flushed(bits: usize) -> usize {
        if Kind::from_u8((bits & Attributes::KIND) as u8).is_sync() {
            bits & !Attributes::KIND | Kind::Broken as usize | Attributes::MAP_SYNC
        } else {
            bits
        }
    }

    /// Of one from which flushes are kept for these reasons.
    pub fn suspended_for(self, reasons: Reasons) -> Attributes {
        Attributes(self.0 | reasons.0)
    }

    /// Whether stores to it are durable with their lines: the kernel granted MAP_SYNC, or it counts as
    /// if.
    pub fn is_map_sync(self) -> bool {
        self.kind().is_sync() || self.0 & Attributes::MAP_SYNC != 0
    }

    /// The shadow that it is held against.
    pub fn watched(self) -> Option<usize> {
        (self.0 >> Attributes::WATCHED & Attributes::WATCHED_BITS).checked_sub(1)
    }

    /// The program's protection, if pages may be read-only at its back.
    pub fn lent(self) -> Option<usize> {
        Some(self.0 >> Attributes::LENT).filter(|&protection| protection != 0)
    }

    /// Of a region that was looked up.
    pub fn of(region: Region) -> Attributes {
        Attributes(region.attributes)
    }

    /// As a [`Region`] keeps them.
    pub fn bits(self) -> usize {
        self.0
    }

    /// Whether its lines may be written back, and need it: a sync mapping, not suspended, no eADR.
    pub fn is_plainly_flushable(self) -> bool {
        self.kind().is_sync() && !self.is_eadr()
    }

    /// What the mapping is now.
    pub fn kind(self) -> Kind {
        if self.0 & Attributes::SUSPENDED != 0 {
            Kind::Suspended
        } else {
            Kind::from_u8((self.0 & Attributes::KIND) as u8)
        }
    }

    /// Whether the file was open for writing when it was mapped.
    pub fn is_file_writable(self) -> bool {
        self.0 & Attributes::FILE_READ_ONLY == 0
    }

    /// Whether pages of 2 MiB may be mapped in it.
    pub fn is_huge(self) -> bool {
        self.0 & Attributes::HUGE != 0
    }

    /// Which file it is of.
    pub fn file(self) -> files::Index {
        files::Index::of(self.0 >> Attributes::FILE_SHIFT)
    }

    /// Whether write-back can be left out.
    pub fn is_eadr(self) -> bool {
        self.0 & Attributes::EADR != 0
    }
}

/// Whether no tagged file is mapped. One load: the fast path of the hooks on memory.
#[inline]
pub fn is_empty() -> bool {
    RECORD.regions.is_empty()
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
    settle();
    // Now, as the next writer forgets everything.
    if RECORD.regions.is_missed() {
        checking::missed();
    }
    let change = RECORD.change(&Me);
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
    let change = begin();
    drain(start, end);
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
        // Where the mappings are is known still, and looked at.
        change(0, usize::MAX, Attributes::never_flushed);
    } else {
        RECORD.miss();
    }
    drain(0, usize::MAX);
}

/// Records a new mapping in place of whatever was there.
pub fn insert(region: Region) {
    widen(region.start, region.end);
    write(|regions| regions.insert(region));
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

/// Why flushes are kept off a range: each reason is lifted by what caused it alone.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Reasons(usize);

impl Reasons {
    /// None.
    pub const NONE: Reasons = Reasons(0);
    /// The protection allows no loads.
    pub const UNREADABLE: Reasons = Reasons(Attributes::UNREADABLE);
    /// A protection key other than the default one.
    pub const KEY: Reasons = Reasons(Attributes::KEY);
    /// Guard pages, MADV_GUARD_INSTALL.
    pub const GUARD: Reasons = Reasons(Attributes::GUARD);

    /// Both.
    pub const fn and(self, other: Reasons) -> Reasons {
        Reasons(self.0 | other.0)
    }

    /// This one if so.
    pub const fn only_if(self, is_so: bool) -> Reasons {
        if is_so { self } else { Reasons::NONE }
    }
}

/// Of `reasons`, from now on only those of `now` hold for a range; in a change.
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

/// From now on, pages of the range that are writable may be read-only at the program's back; its own
/// protection is `protection`.
pub fn lend(start: usize, end: usize, protection: usize) {
    change(start, end, |attributes| {
        attributes & !(usize::MAX << Attributes::LENT) | protection << Attributes::LENT
    });
}

/// Ends [`lend`], and waits for those who have looked at the range meanwhile.
pub fn take_back(start: usize, end: usize) {
    lend(start, end, 0);
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

/// Pages flushed from user space so far, in all mappings, but for the last few of each place; wraps.
pub static FLUSHED: AtomicUsize = AtomicUsize::new(0);

/// See [`FLUSHED`].
pub fn pages_flushed() -> u64 {
    FLUSHED.load(Ordering::Relaxed) as u64
}

/// A published flush; mappings looked up through it stay as they are while it lives.
pub struct Flush(&'static Place);

impl Flush {
    /// Publishes one, of anything until something is looked up. `None` if there is no place. `frame`: the
    /// stack pointer of who asks, at best as it was when the program called.
    #[inline]
    pub fn publish(frame: usize) -> Option<Flush> {
        let flush = Flush::publish_remembered(frame)?;
        RECORD.reach_anywhere(flush.0);
        Some(flush)
    }

    /// Publishes one of what the last flush in its place has looked up: see [`Flush::is_plain`].
    #[inline]
    pub fn publish_remembered(frame: usize) -> Option<Flush> {
        settle();
        RECORD.publish(frame, &Me).map(Flush)
    }

    /// The mapping that holds `address`, or the next above it. Up to its end, or the file's, it may be
    /// touched until another is looked up. `None` also where a writer was in the way: the kernel's way is
    /// always right. What is plainly flushable is remembered for [`quick`](crate::sync::quick).
    pub fn at_or_after(&self, address: usize) -> Option<Region> {
        match self.look_up(address) {
            Ok(found) => found,
            Err(Busy) => {
                event(Event::MapBusy);
                None
            }
        }
    }

    /// As [`Flush::at_or_after`].
    ///
    /// # Errors
    /// [`Busy`]: a writer was in the way, or it is not known what is there.
    pub fn look_up(&self, address: usize) -> Result<Option<Region>, Busy> {
        let is_plain = |region: &Region| Attributes::of(*region).is_plainly_flushable();
        RECORD.look_up(self.0, address, is_plain)
    }

    /// All of `[start, end)`, which was looked up piece by piece since the record was at `sequence`, may
    /// be touched. `None`: it has changed since.
    pub fn reach(&self, start: usize, end: usize, sequence: usize) -> Option<()> {
        RECORD.look_up_all(self.0, (start, end), sequence).ok()
    }

    /// Which of the record's places it has.
    pub fn number(&self) -> usize {
        RECORD.number(self.0)
    }

    /// See [`Place::sequence`].
    pub fn sequence(&self) -> usize {
        self.0.sequence()
    }

    /// Whether all of `[start, end)` is in one mapping that is plainly flushable. One load each where
    /// the place remembers it.
    #[inline]
    pub fn is_plain(&self, start: usize, end: usize) -> bool {
        RECORD.remembers(self.0, start, end)
            || self.at_or_after(start).is_some_and(|region| {
                region.start <= start
                    && end <= region.end.min(region.data_end)
                    && Attributes::of(region).is_plainly_flushable()
            })
    }

    /// Counts fewer than [`BATCH`] pages whose dirty tags the kernel keeps though their lines are written
    /// back.
    #[inline]
    pub fn count(&self, pages: usize) {
        if self.0.count(pages as u32) {
            FLUSHED.fetch_add(BATCH as usize, Ordering::Relaxed);
        }
    }
}

impl Drop for Flush {
    fn drop(&mut self) {
        RECORD.withdraw(self.0);
    }
}

/// The thread is about to jump to where its stack pointer is `target`: a flush deeper in its stack than that
/// was interrupted by a signal handler, and does not go on.
#[inline]
pub fn jumping(target: impl FnOnce() -> usize) {
    if !is_empty() && RECORD.has_published(&Me) {
        leave(target());
    }
}

#[cold]
fn leave(target: usize) {
    // Within the stack that a handler has to itself nothing of the interrupted code is left.
    let stays = signal_stack().is_none_or(|stack| stack.contains(&target));
    if !stays {
        RECORD.leave(target, &Me);
    }
}

/// The stack of signal handlers that the thread is on; none if it is on its own. `None` if the kernel can't
/// be asked.
fn signal_stack() -> Option<Range<usize>> {
    let mut stack = core::mem::MaybeUninit::<libc::stack_t>::uninit();
    // SAFETY: the kernel fills it in whole, or fails.
    let stack = unsafe {
        sys!(SYS_sigaltstack, 0, stack.as_mut_ptr()).ok()?;
        stack.assume_init()
    };
    let start = stack.ss_sp as usize;
    Some(match stack.ss_flags & libc::SS_ONSTACK {
        0 => 0..0,
        _ => start..start.saturating_add(stack.ss_size),
    })
}

/// Waits for the flushes that may have looked up what was just changed in `[start, end)`.
pub fn drain(start: usize, end: usize) {
    if RECORD.drain(start, end, &Me).is_err() {
        event(Event::DrainTimeout);
    }
}

/// The stack pointer of about here.
#[inline(always)]
pub fn stack_pointer() -> usize {
    let pointer: usize;
    // SAFETY: reads a register.
    unsafe {
        asm!("mov {}, rsp", out(reg) pointer, options(nostack, nomem, preserves_flags));
    }
    pointer
}

/// A number that no other living thread of the process has: the thread pointer.
pub fn thread() -> usize {
    let pointer: usize;
    // SAFETY: on x86-64 the ABI keeps the thread pointer's own address at fs:0.
    unsafe {
        asm!("mov {}, fs:0", out(reg) pointer, options(nostack, preserves_flags, readonly, pure));
    }
    pointer
}
