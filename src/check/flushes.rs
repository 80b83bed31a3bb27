//! User flushes by the program, through libpmem: what they make durable, and what is still on its way
//! there, as no drain has followed.
//!
//! A drain is the thread's own; one of another thread does nothing for its flushes. What a thread has
//! flushed and not drained stands in a table. Where that is full the thread's flushes count as drained.

use super::budget;
use super::compare::compare;
use super::journal;
use super::judge::{self, count_as_durable};
use super::log;
use super::note::{note, note_of};
use super::shadows::{Shadow, Stretch, each_stretch};
use super::stack;
use super::stacks;
use crate::ground::checking;
use crate::ground::maps::each_mapping_in;
use crate::mappings;
use core::ops::ControlFlow;
use core::ptr;
use core::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};
use daxshim_core::check::Code;
use daxshim_core::check::lines::{Dirty, LINE};
use daxshim_core::check::log::Finding;
use daxshim_core::report::{Kind, PATH_LEN};

/// A range of a file that a thread has flushed, and not drained.
struct Outstanding {
    /// The thread; 0 where the place is free.
    thread: AtomicUsize,
    shadow: AtomicPtr<Shadow>,
    /// Offsets in the file, bytes, whole lines.
    start: AtomicUsize,
    end: AtomicUsize,
    /// Who called, last.
    caller: AtomicUsize,
}

static OUTSTANDING: [Outstanding; 256] = [const {
    Outstanding {
        thread: AtomicUsize::new(0),
        shadow: AtomicPtr::new(ptr::null_mut()),
        start: AtomicUsize::new(0),
        end: AtomicUsize::new(0),
        caller: AtomicUsize::new(0),
    }
}; 256];

/// Places taken.
static COUNT: AtomicUsize = AtomicUsize::new(0);

impl Outstanding {
    fn range(&self) -> (usize, usize) {
        let end = self.end.load(Ordering::Relaxed);
        (self.start.load(Ordering::Relaxed), end)
    }

    fn shadow(&self) -> Option<&'static Shadow> {
        // SAFETY: null, or one of the static shadows.
        unsafe { self.shadow.load(Ordering::Relaxed).as_ref() }
    }

    fn is_of(&self, thread: usize) -> bool {
        self.thread.load(Ordering::Relaxed) == thread
    }

    fn free(&self) {
        self.thread.store(0, Ordering::Release);
        COUNT.fetch_sub(1, Ordering::Relaxed);
    }

    /// Takes the range in, if it is the thread's and touches it. Where nothing is recorded the range only
    /// says where to look, and may hold more.
    fn takes(&self, thread: usize, stretch: &Stretch) -> bool {
        let (start, end) = self.range();
        let touches = stretch.offset <= end && start <= stretch.end();
        let same =
            self.is_of(thread) && ptr::eq(self.shadow.load(Ordering::Relaxed), stretch.shadow);
        let takes = same && (touches || !journal::on());
        if takes {
            self.start.fetch_min(stretch.offset, Ordering::Relaxed);
            self.end.fetch_max(stretch.end(), Ordering::Relaxed);
        }
        takes
    }

    fn claim(&self, thread: usize, stretch: &Stretch) -> bool {
        let order = Ordering::Relaxed;
        let claimed = self
            .thread
            .compare_exchange(0, thread, Ordering::Acquire, order);
        if claimed.is_ok() {
            COUNT.fetch_add(1, order);
            self.start.store(stretch.offset, order);
            self.end.store(stretch.end(), order);
            let shadow = ptr::from_ref(stretch.shadow).cast_mut();
            self.shadow.store(shadow, order);
        }
        claimed.is_ok()
    }
}

/// The lines of a range of addresses were flushed, by a call from `caller`; they are durable when this
/// thread has drained.
#[inline]
pub fn flushed(start: usize, length: usize, caller: usize) {
    if checking::on() && length > 0 {
        flushes(start, length, caller);
    }
}

#[cold]
#[inline(never)]
fn flushes(address: usize, length: usize, caller: usize) {
    let start = address & !(LINE - 1);
    let end = address.saturating_add(length);
    let end = end.checked_next_multiple_of(LINE).unwrap_or(end);
    let mut watched = false;
    let complete = each_stretch(start, end, |stretch| {
        watched = true;
        if !stretch.map_sync {
            // To read what was not stored to is nobody's loss.
            if stretch.kind != Kind::ReadOnly && !journal::on() {
                let range = (stretch.offset as u64, stretch.end() as u64);
                let length = stretch.length as u64;
                judge::report(
                    Code::NotFlushable,
                    &stretch,
                    range,
                    length,
                    Dirty::default(),
                );
            }
            return;
        }
        let dirty = match journal::on() {
            // It is durable with the drain.
            true => compare(&stretch),
            false => {
                if let Some(header) = stretch.shadow.header() {
                    // Somebody means it to be durable.
                    header.msyncs.fetch_add(1, Ordering::Relaxed);
                    header.msyncs_found.count(true);
                }
                count_as_durable(&stretch)
            }
        };
        // A flush within another one of libpmem's finds nothing.
        if dirty.is_none_or(|dirty| !dirty.is_empty()) {
            wait_for_drain(&stretch, caller);
        }
    });
    if !complete {
        super::shadows::skip_all();
    } else if !watched && !journal::on() && mappings::first_in(start, end - start) == Ok(None) {
        unwatched(address, length);
    }
}

fn wait_for_drain(stretch: &Stretch, caller: usize) {
    let thread = mappings::thread();
    let place = || {
        let taken = OUTSTANDING
            .iter()
            .find(|flush| flush.takes(thread, stretch));
        taken.or_else(|| {
            OUTSTANDING
                .iter()
                .find(|flush| flush.claim(thread, stretch))
        })
    };
    let place = place().or_else(|| {
        drains(thread);
        place()
    });
    if let Some(flush) = place {
        flush.caller.store(caller, Ordering::Relaxed);
    }
}

/// This thread has drained: what it had flushed is durable. Whether there was anything.
#[inline]
pub fn drained() -> bool {
    COUNT.load(Ordering::Relaxed) != 0 && drains(mappings::thread())
}

#[cold]
#[inline(never)]
fn drains(thread: usize) -> bool {
    let mut any = false;
    for flush in OUTSTANDING.iter().filter(|flush| flush.is_of(thread)) {
        if let Some(shadow) = flush.shadow().filter(|_| journal::on()) {
            let (start, end) = flush.range();
            journal::drained(shadow, start..end);
        }
        flush.free();
        any = true;
    }
    any
}

/// A finding for each flush that this thread has not drained: it is about to answer.
pub fn answering() {
    let thread = mappings::thread();
    each_flush(|flush| {
        if flush.is_of(thread)
            && let Some(found) = Undrained::of(flush)
        {
            found.with_finding(note);
        }
    });
}

/// A finding for each flush of this stretch that is not drained: it is about to be unmapped.
pub fn unmapping(stretch: &Stretch) {
    each_flush(|flush| {
        let (start, end) = flush.range();
        let held = start < stretch.end() && stretch.offset < end;
        let same = flush.shadow().is_some_and(|of| ptr::eq(of, stretch.shadow));
        if held
            && same
            && let Some(found) = Undrained::of(flush)
        {
            found.with_finding(note);
            flush.free();
        }
    });
}

/// A finding for each flush that nobody has drained: the process is about to end.
pub fn ending() {
    each_flush(|flush| {
        let caller = flush.caller.load(Ordering::Relaxed);
        if let Some(found) = Undrained::of(flush) {
            found.with_finding(|finding| note_of(finding, caller));
        }
        flush.free();
    });
}

fn each_flush(look: impl FnMut(&Outstanding)) {
    if COUNT.load(Ordering::Relaxed) != 0 {
        OUTSTANDING
            .iter()
            .filter(|flush| !flush.is_of(0))
            .for_each(look);
    }
}

/// A finding: flushed and not drained.
struct Undrained {
    shadow: &'static Shadow,
    range: (u64, u64),
}

impl Undrained {
    fn of(flush: &Outstanding) -> Option<Undrained> {
        let (start, end) = flush.range();
        Some(Undrained {
            shadow: flush.shadow()?,
            range: (start as u64, end as u64),
        })
    }

    fn with_finding(&self, take: impl FnOnce(&Finding)) {
        let mut path = [0; PATH_LEN];
        let len = self.shadow.path(&mut path);
        let (device, inode) = self.shadow.identity();
        take(&Finding {
            code: Code::NotDrained,
            detail: 0,
            device,
            inode,
            path: path.get(..len).unwrap_or(&[]),
            address: 0,
            range: self.range,
            asked: self.range.1 - self.range.0,
            dirty: Dirty::default(),
        });
    }
}

/// In a forked child: what the parent has flushed, the parent drains.
pub fn forked() {
    for flush in OUTSTANDING.iter().filter(|flush| !flush.is_of(0)) {
        flush.free();
    }
}

/// The mapping that [`unwatched`] looked at last.
static LAST: [AtomicUsize; 2] = [const { AtomicUsize::new(0) }; 2];

/// Where nothing is watched: a file in the page cache, or no file at all.
#[inline(never)]
fn unwatched(address: usize, length: usize) {
    let [first, behind] = &LAST;
    let last = first.load(Ordering::Relaxed)..behind.load(Ordering::Relaxed);
    if last.contains(&address) || log::log().is_none() || !budget::allows() {
        return;
    }
    let look = || {
        let _ = each_mapping_in(&mut [0; stack::TEXT], |mapping| {
            if !(mapping.start..mapping.end).contains(&address) {
                return ControlFlow::Continue(());
            }
            first.store(mapping.start, Ordering::Relaxed);
            behind.store(mapping.end, Ordering::Relaxed);
            if mapping.is_cached_file() {
                let offset = mapping.offset + (address - mapping.start) as u64;
                note(&Finding {
                    code: Code::NotFlushable,
                    detail: 0,
                    device: 0,
                    inode: mapping.inode,
                    path: mapping.path,
                    address: mapping.start as u64,
                    range: (offset, offset.saturating_add(length as u64)),
                    asked: length as u64,
                    dirty: Dirty::default(),
                });
            }
            ControlFlow::Break(())
        });
    };
    budget::spend(|| stacks::spacious(look));
}
