//! Flushes under way: published, so that nobody takes pages away under them.

use super::attributes::Attributes;
use super::record::{Me, RECORD, is_empty, settle, signal_stack};
use crate::ground::page::event;
use crate::ground::process;
use core::sync::atomic::{AtomicUsize, Ordering};
use daxshim_core::config::FlushPolicy;
use daxshim_core::record::{self, Place, Thread};
use daxshim_core::regions::{Busy, Region};
use daxshim_core::report::Event;

/// Pages flushed from user space so far, in all mappings, but for the last few of each place; wraps.
pub static FLUSHED: AtomicUsize = AtomicUsize::new(0);

/// See [`FLUSHED`].
pub fn pages_flushed() -> u64 {
    FLUSHED.load(Ordering::Relaxed) as u64
}

/// How often a lookup lets others go on that change mappings, with `DAXSHIM_FLUSH=user`.
const PATIENCE: usize = record::YIELDS;

/// A published flush; mappings looked up through it stay as they are while it lives.
pub struct Flush(&'static Place);

impl Flush {
    /// Publishes one, of anything until something is looked up. `None` if there is no place. `frame`: the
    /// stack pointer of who asks, at best as it was when the program called.
    #[inline(always)]
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
    #[inline(always)]
    pub fn at_or_after(&self, address: usize) -> Option<Region> {
        match self.look_up_at_once(address) {
            Ok(found) => found,
            Err(Busy) => self.at_or_after_when_busy(address),
        }
    }

    #[cold]
    #[inline(never)]
    fn at_or_after_when_busy(&self, address: usize) -> Option<Region> {
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
        match self.look_up_at_once(address) {
            // There lines were asked for, and not the kernel.
            Err(Busy) if process::config().flush == FlushPolicy::User => {
                self.look_up_patiently(address)
            }
            found => found,
        }
    }

    #[cold]
    #[inline(never)]
    fn look_up_patiently(&self, address: usize) -> Result<Option<Region>, Busy> {
        for pause in 0..PATIENCE {
            if RECORD.regions.is_missed() {
                break;
            }
            RECORD.reach_nowhere(self.0);
            Me.pause(pause);
            RECORD.reach_anywhere(self.0);
            let found = self.look_up_at_once(address);
            if found != Err(Busy) {
                return found;
            }
        }
        Err(Busy)
    }

    #[inline(always)]
    fn look_up_at_once(&self, address: usize) -> Result<Option<Region>, Busy> {
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

    /// Counts pages whose dirty tags the kernel keeps though their lines are written back.
    #[inline]
    pub fn count(&self, pages: usize) {
        let counted = self.0.count(pages as u32);
        if counted != 0 {
            FLUSHED.fetch_add(counted, Ordering::Relaxed);
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
pub(super) fn leave(target: usize) {
    // Within the stack that a handler has to itself nothing of the interrupted code is left.
    let stays = signal_stack().is_none_or(|stack| stack.contains(&target));
    if !stays {
        RECORD.leave(target, &Me);
    }
}

/// Waits for the flushes that may have looked up what was just changed in `[start, end)`.
pub fn drain(start: usize, end: usize) {
    if RECORD.drain(start, end, &Me).is_err() {
        event(Event::DrainTimeout);
    }
}
