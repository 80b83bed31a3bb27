//! fsync(2), fdatasync(2), sync_file_range(2): what is called on a descriptor.

use super::done::{Done, is_skipped};
use super::msync::publish;
use super::part::{ALL, Flushable, Kernel, is_cheaper_than, sync_file_range};
use super::pieces::{Piece, Span};
use super::plan::write_back;
use super::tell::{begin, finish, measured};
use crate::check;
use crate::entry::slot::{After, Call, Step};
use crate::ground::descriptors;
use crate::ground::files;
use crate::ground::memory::PAGE;
use crate::ground::page::{self, event};
use crate::ground::place::Place;
use crate::ground::process;
use crate::ground::real::{Errno, syscall_of_program};
use crate::ground::thread::is_alone;
use crate::mappings::{self, Attributes, Flush};
use crate::sync::spared::Spared;
use crate::tag::subject;
use core::ffi::c_long;
use daxshim_core::config::FlushPolicy;
use daxshim_core::flush::{WriteBack, fence};
use daxshim_core::regions::Region;
use daxshim_core::report::{self, Event, ticks};
use libc::MS_SYNC;

/// fsync(2), fdatasync(2), and sync_file_range(2) with all its flags: of a file whose every page is
/// in a sync mapping of this process the lines, where that is cheaper, which write back what other
/// processes have stored too; with `DAXSHIM_FLUSH=user` the lines of what is mapped, and the rest as the
/// kernel does it. Else it is the kernel's: the range way where that is as safe ([`Target::by_range`]).
pub fn of_descriptor(call: &mut Call, kind: report::SyncCall, after: After) -> Step {
    let started = begin();
    let [fd, ..] = call.args;
    let fd = fd as i32;
    if kind == report::SyncCall::SyncFileRange {
        check::file_range_sync_begins(call.args, ALL);
    } else {
        check::file_sync_begins(fd);
    }
    if fd < 0 || descriptors::is_untagged(fd) {
        return Step::PASS;
    }
    if page::page().is_none() && Spared::of_thread().is_some_and(|spared| spared.call(fd)) {
        return Step::PASS;
    }
    if let Some(step) = whole_file(call, kind, fd, started) {
        return step;
    }
    // Without a report there is nothing to do for which a tag would have to be looked up.
    if page::page().is_none() {
        return Step::PASS;
    }
    match subject::is_tagged(fd) {
        true => measured(call, after),
        false => Step::PASS,
    }
}

/// `None`: the kernel's, as called.
pub(super) fn whole_file(
    call: &Call,
    kind: report::SyncCall,
    fd: i32,
    started: u64,
) -> Option<Step> {
    let config = process::config();
    if mappings::is_empty() || config.flush == FlushPolicy::Kernel || config.deep {
        return None;
    }
    let known = descriptors::mapped(fd).map(|known| known.file);
    let mut found = None;
    let index = match known {
        Some(index) => index,
        None => {
            let now = identity(fd)?;
            let index = files::find(now.device, now.inode)?;
            found = Some(now);
            index
        }
    };
    // Then only lines would do better than the call, and only of all the file.
    let is_all_or_none =
        kind == report::SyncCall::Fsync && config.flush != FlushPolicy::User && is_alone();
    if is_all_or_none && index.file().whole().is_none() {
        return None;
    }
    let flush = publish(call.frame())?;
    let sequence = mappings::RECORD.regions.sequence();
    if is_all_or_none && !may_be_whole(&flush, index) {
        return None;
    }
    // Of a descriptor that is thought to be known too: it may have been closed unseen.
    let now = match found {
        Some(now) => now,
        None => identity(fd)?,
    };
    if !index.file().is(now.device, now.inode) {
        return None;
    }
    let size = mappings::page_end(0, now.size);
    let (first, last) = span(call, kind, size)?;
    let target = Target {
        call,
        kind,
        fd,
        span: Span {
            file: index,
            first,
            last,
        },
    };
    let mut done = Done::default();
    let outcome = match target.if_whole(&flush, sequence, &mut done) {
        Some(outcome) => outcome,
        None if is_skipped() => return None,
        None if config.flush == FlushPolicy::User => target.lines_first(&flush, &mut done)?,
        None if is_alone() => target.alone(&flush, &mut done)?,
        None => target.contended(&flush, &mut done)?,
    };
    drop(flush);
    // What the range way can't do (a filter that forbids it, an error of the device) is told by the
    // call itself; so is EBADF on O_PATH, where lines do no harm.
    // From which no mapping is made.
    let may_be_path_only = || known.is_none() && Place::Descriptor(fd).is_path_only();
    if outcome.is_err() && !done.by_kernel || done.by_lines && may_be_path_only() {
        return None;
    }
    if !is_skipped() {
        fence();
    }
    Some(finish(kind, done, 0, started, outcome))
}

/// Which file a descriptor is of.
struct Identity {
    device: u64,
    inode: u64,
    size: usize,
}

/// In a frame of its own, for the stack's sake.
#[inline(never)]
fn identity(fd: i32) -> Option<Identity> {
    let stat = Place::Descriptor(fd).stat().ok()?;
    Some(Identity {
        device: stat.st_dev,
        inode: stat.st_ino,
        size: usize::try_from(stat.st_size).ok()?,
    })
}

/// A call on a descriptor of a file that this process has mapped.
struct Target<'a> {
    call: &'a Call,
    kind: report::SyncCall,
    fd: i32,
    span: Span,
}

impl Target<'_> {
    /// By whichever way is cheaper, if all of it is mapped.
    #[inline(never)]
    fn if_whole(
        &self,
        flush: &Flush,
        sequence: usize,
        done: &mut Done,
    ) -> Option<Result<(), Errno>> {
        let part = self.whole(flush, sequence)?;
        let by_kernel = |start: usize, end: usize, done: &mut Done| {
            let offset = start.wrapping_sub(part.region.origin);
            self.kernel(offset, end - start, done)
        };
        let kernel = Kernel {
            sync: &by_kernel,
            is_as_safe_in_part: self.kind != report::SyncCall::Fsync,
        };
        let outcome = part.sync(flush, done, &kernel);
        if part.is_learnt()
            && let Some(spared) = Spared::of(flush)
        {
            let learner = self.span.file.file().learner(part.end - part.start);
            spared.let_calls(learner.blind_passes(), self.fd);
        }
        Some(outcome)
    }

    /// Where all of it is mapped, each page where it would be were the file mapped in one piece.
    fn whole(&self, flush: &Flush, sequence: usize) -> Option<Flushable> {
        let Span { file, first, last } = self.span;
        let origin = file.file().whole()?;
        let region = first_of(flush, file, origin)?;
        let (start, end) = (origin.checked_add(first)?, origin.checked_add(last)?);
        let how = covering(flush, start, end, (file, origin))?;
        flush.reach(start, end, sequence)?;
        Some(Flushable {
            start,
            end,
            how,
            region,
        })
    }

    /// Whether the range way leaves no more to chance than the call: with several threads it returns
    /// earlier than a call that commits, so that another's flush is less often over (docs/kernel-race.md).
    fn by_range(&self) -> bool {
        match self.kind {
            report::SyncCall::SyncFileRange => true,
            report::SyncCall::Fdatasync => is_alone(),
            report::SyncCall::Fsync | report::SyncCall::Msync => false,
        }
    }

    /// The kernel's way: for these bytes of it, or, where only the call itself will do, for all.
    fn kernel(&self, offset: usize, length: usize, done: &mut Done) -> Result<(), Errno> {
        let is_all = length == self.span.last - self.span.first;
        if self.by_range() || !is_all {
            done.by_range = true;
            return sync_file_range(self.fd, offset, length);
        }
        self.as_called(done)
    }

    fn as_called(&self, done: &mut Done) -> Result<(), Errno> {
        done.by_kernel = true;
        // SAFETY: the program's own call; none of its arguments is a pointer.
        unsafe { syscall_of_program(self.call.number() as c_long, self.call.args) }.map(|_| ())
    }

    /// Nobody else is known to be there, and part of it may not be mapped.
    #[inline(never)]
    fn alone(&self, flush: &Flush, done: &mut Done) -> Option<Result<(), Errno>> {
        if !self.by_range() {
            return None;
        }
        // Only of a file that has a sync mapping is it known that this suffices.
        let (offset, length) = (self.span.first, self.span.last - self.span.first);
        self.span
            .is_mapped(flush)
            .then(|| self.kernel(offset, length, done))
    }

    /// `DAXSHIM_FLUSH=user`: the lines of what is mapped, and the rest alone by the kernel, if it can be
    /// told to do that. `None`: nothing is mapped.
    #[inline(never)]
    fn lines_first(&self, flush: &Flush, done: &mut Done) -> Option<Result<(), Errno>> {
        let by_range = self.by_range();
        let mut has_rest = false;
        let mut outcome = Ok(());
        self.span.each_piece(flush, |piece| match piece {
            Piece::Mapped(part) => part.lines(flush, done),
            Piece::Rest(first, last) => {
                has_rest = true;
                if by_range {
                    done.by_range = true;
                    outcome = outcome.and(sync_file_range(self.fd, first, last - first));
                }
            }
        });
        if !done.by_lines {
            return None;
        }
        if has_rest && !by_range {
            outcome = self.as_called(done);
        }
        if has_rest && !is_alone() {
            event(Event::Contended);
        }
        Some(outcome)
    }

    /// Others may be there: the call itself, and the lines of what is mapped behind it, unless these take
    /// longer than it did. `None`: nothing is mapped.
    #[inline(never)]
    fn contended(&self, flush: &Flush, done: &mut Done) -> Option<Result<(), Errno>> {
        let lines = self.span.lines_owed(flush)?;
        self.calibrate(flush);
        let before = ticks();
        let outcome = self.as_called(done);
        let took = ticks().wrapping_sub(before);
        let is_cheap = is_cheaper_than(lines, took);
        if !is_cheap || !self.lines_of_mapped(flush, done) {
            event(Event::Contended);
        }
        Some(outcome)
    }

    /// Learns what lines cost, if that is not known yet.
    #[inline(never)]
    fn calibrate(&self, flush: &Flush) {
        if let Piece::Mapped(part) = self.span.piece(flush, self.span.first) {
            part.calibrate_by(&|start: usize, end: usize| {
                let offset = start.wrapping_sub(part.region.origin);
                sync_file_range(self.fd, offset, end - start)
            });
        }
    }

    /// The lines of what is mapped; whether that is all.
    #[inline(never)]
    fn lines_of_mapped(&self, flush: &Flush, done: &mut Done) -> bool {
        let mut is_all = true;
        self.span.each_piece(flush, |piece| match piece {
            Piece::Mapped(part) => part.lines(flush, done),
            Piece::Rest(..) => is_all = false,
        });
        is_all
    }
}

/// The bytes that a call is about, in whole pages, if the file has `size`. `None` if it is not for us to
/// answer.
fn span(call: &Call, kind: report::SyncCall, size: usize) -> Option<(usize, usize)> {
    if kind != report::SyncCall::SyncFileRange {
        return (size > 0).then_some((0, size));
    }
    let [_, offset, length, flags, ..] = call.args;
    if flags as u32 != ALL {
        return None;
    }
    // Offsets are signed; the kernel tells what is wrong with these.
    let in_file = |offset: usize| offset <= isize::MAX as usize;
    if !in_file(offset) || !in_file(length) {
        return None;
    }
    let behind = match length {
        0 => size,
        length => offset.checked_add(length)?.min(size),
    };
    let first = offset & !(PAGE - 1);
    let last = mappings::page_end(0, behind).min(size);
    (in_file(offset.wrapping_add(length)) && first < last).then_some((first, last))
}

/// Whether a mapping is of this file, and where it would be were the file mapped in one piece from `origin`.
fn is_of(region: &Region, file: files::Index, origin: usize) -> bool {
    Attributes::of(*region).file() == file && region.origin == origin
}

/// What is mapped at the begin of the file, if that still is it: at this moment it may be another part, or
/// another file.
fn first_of(flush: &Flush, file: files::Index, origin: usize) -> Option<Region> {
    flush
        .at_or_after(origin)
        .filter(|region| is_of(region, file, origin))
}

/// Whether all of a file seems to be in sync mappings, as long as it was when it was mapped.
fn may_be_whole(flush: &Flush, file: files::Index) -> bool {
    let whole = || {
        let origin = file.file().whole()?;
        let region = first_of(flush, file, origin)?;
        covering(flush, origin, region.data_end, (file, origin))
    };
    whole().is_some()
}

/// How the lines of `[first, last)` are written back, if all of it is in sync mappings of the file,
/// each page where it would be were the file mapped in one piece.
fn covering(
    flush: &Flush,
    first: usize,
    last: usize,
    (file, origin): (files::Index, usize),
) -> Option<WriteBack> {
    let mut found = None;
    let mut cursor = first;
    while cursor < last {
        let region = flush.at_or_after(cursor)?;
        let holds =
            region.start <= cursor && cursor < region.data_end && is_of(&region, file, origin);
        found = Some(write_back(region, MS_SYNC).filter(|_| holds)?);
        cursor = region.end.min(region.data_end);
    }
    found
}
