//! fsync(2), fdatasync(2), sync_file_range(2): what is called on a descriptor.

use super::done::{Done, is_skipped};
use super::msync::publish;
use super::part::{ALL, Flushable, sync_file_range};
use super::plan::write_back;
use super::tell::{begin, finish, measured};
use crate::check;
use crate::entry::slot::{After, Call, Step};
use crate::ground::descriptors;
use crate::ground::files;
use crate::ground::memory::PAGE;
use crate::ground::page;
use crate::ground::place::Place;
use crate::ground::process;
use crate::mappings::{self, Attributes, Flush};
use crate::sync::spared::Spared;
use crate::tag::subject;
use daxshim_core::config::FlushPolicy;
use daxshim_core::flush::{WriteBack, fence};
use daxshim_core::regions::Region;
use daxshim_core::report;
use libc::MS_SYNC;

/// fsync(2), fdatasync(2), and sync_file_range(2) with all its flags: of a file whose every page is
/// in a sync mapping of this process the lines, where that is cheaper, which write back what other
/// processes have stored too; or else the range way, if it has a sync mapping at all.
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
    let mut stat = None;
    let index = match known {
        Some(index) => index,
        None => {
            let now = Place::Descriptor(fd).stat().ok()?;
            stat = Some(now);
            files::find(now.st_dev, now.st_ino)?
        }
    };
    let start = index.file().whole()?;
    let flush = publish(call.frame())?;
    let sequence = mappings::RECORD.regions.sequence();
    // What is mapped of the file at this moment may be another part, or another file.
    let region = flush.at_or_after(start)?;
    let of_file = |region: &Region| {
        let attributes = Attributes::of(*region);
        attributes.file() == index && region.origin == start
    };
    if !of_file(&region) || !Attributes::of(region).kind().is_sync() {
        return None;
    }
    // Of a descriptor that is thought to be known too: it may have been closed unseen.
    let stat = match stat {
        Some(stat) => stat,
        None => Place::Descriptor(fd).stat().ok()?,
    };
    if !index.file().is(stat.st_dev, stat.st_ino) {
        return None;
    }
    let size = usize::try_from(stat.st_size).ok()?;
    let end = mappings::page_end(start, size);
    let (first, last) = span(call, kind, start, end)?;
    let by_kernel = |start: usize, end: usize, done: &mut Done| {
        done.by_range = true;
        let offset = start.wrapping_sub(region.origin);
        sync_file_range(fd, offset, end - start)
    };
    let mut done = Done::default();
    let covering = covering(&flush, first, last, &of_file)
        .filter(|_| flush.reach(first, last, sequence).is_some());
    let outcome = match covering {
        Some(how) => {
            let part = Flushable {
                start: first,
                end: last,
                how,
                region,
            };
            let outcome = part.sync(&flush, &mut done, &by_kernel);
            if part.is_learnt()
                && let Some(spared) = Spared::of(&flush)
            {
                let learner = index.file().learner(last - first);
                spared.let_calls(learner.blind_passes(), fd);
            }
            outcome
        }
        None if is_skipped() => return None,
        None => by_kernel(first, last, &mut done),
    };
    drop(flush);
    // What the range way can't do (a filter that forbids it, an error of the device) is told by the
    // call itself; so is EBADF on O_PATH, where lines do no harm.
    // From which no mapping is made.
    let may_be_path_only = || known.is_none() && Place::Descriptor(fd).is_path_only();
    if outcome.is_err() || done.by_lines && may_be_path_only() {
        return None;
    }
    if !is_skipped() {
        fence();
    }
    Some(finish(kind, done, 0, started, Ok(())))
}

/// The addresses that a call is about, if the file is mapped at `[start, end)`. `None` if it is not
/// for us to answer.
fn span(call: &Call, kind: report::SyncCall, start: usize, end: usize) -> Option<(usize, usize)> {
    if kind != report::SyncCall::SyncFileRange {
        return (start < end).then_some((start, end));
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
        0 => end - start,
        length => offset.checked_add(length)?.min(end - start),
    };
    let first = start.checked_add(offset & !(PAGE - 1))?;
    let last = mappings::page_end(start, behind).min(end);
    (in_file(offset.wrapping_add(length)) && first < last).then_some((first, last))
}

/// How the lines of `[first, last)` are written back, if all of it is in sync mappings of the file,
/// each page where it would be were the file mapped in one piece.
fn covering(
    flush: &Flush,
    first: usize,
    last: usize,
    of_file: &dyn Fn(&Region) -> bool,
) -> Option<WriteBack> {
    let mut found = None;
    let mut cursor = first;
    while cursor < last {
        let region = flush.at_or_after(cursor)?;
        let holds = region.start <= cursor && cursor < region.data_end && of_file(&region);
        found = Some(write_back(region, MS_SYNC).filter(|_| holds)?);
        cursor = region.end.min(region.data_end);
    }
    found
}
