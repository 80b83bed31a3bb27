//! Syncs: what was dirty in their range, and what that says.

use super::log::note;
use super::shadows::{self, Part, Shadow, all, each_chunk, each_part, wait};
use super::{blame, budget, journal, log, scratch};
use crate::ground::memory::{self, PAGE};
use crate::ground::process;
use core::sync::atomic::Ordering;
use daxshim_core::check::Code;
use daxshim_core::check::lines::{self, Digest, Dirty, LINE};
use daxshim_core::check::log::Finding;
use daxshim_core::report::{Kind, PATH_LEN};
use rustix::io::Errno;

/// From so many pages on, a sync of mostly clean ones is worth a note.
const AMPLIFIED_PAGES: u64 = 16;
/// And so many pages asked for each that is dirty.
const AMPLIFIED_TIMES: u64 = 8;

/// What a sync found in the files of its range.
#[derive(Default)]
struct Found {
    /// The first file, and where it is mapped.
    first: Option<Part>,
    /// Bytes asked for.
    asked: u64,
    /// Dirty lines; offsets are those of the first file.
    dirty: Dirty,
    /// Not all was compared: nothing can be concluded.
    uncertain: bool,
}

impl Found {
    fn add(&mut self, part: &Part, dirty: Option<Dirty>) {
        if self.first.is_none() {
            self.first = Some(*part);
        }
        self.asked += part.length as u64;
        match dirty {
            Some(dirty) => self.dirty = self.dirty.with(dirty, part.offset as u64),
            None => self.uncertain = true,
        }
    }

    /// As a finding; `lines` is what is dirty.
    fn report(&self, code: Code, dirty: Dirty) {
        let Some(part) = self.first else { return };
        let range = match dirty.is_empty() {
            true => (part.offset as u64, part.offset as u64 + self.asked),
            false => (dirty.first, dirty.end),
        };
        report(code, &part, range, self.asked, dirty);
    }
}

/// Notes a finding about a part of a file.
pub fn report(code: Code, part: &Part, range: (u64, u64), asked: u64, dirty: Dirty) {
    scratch::spacious(|| report_here(code, part, range, asked, dirty));
}

fn report_here(code: Code, part: &Part, range: (u64, u64), asked: u64, dirty: Dirty) {
    let mut path = [0; PATH_LEN];
    let len = part.shadow.path(&mut path);
    let (device, inode) = part.shadow.identity();
    note(&Finding {
        code,
        detail: 0,
        device,
        inode,
        path: path.get(..len).unwrap_or(&[]),
        address: part.address as u64,
        range,
        asked,
        dirty,
    });
}

/// msync(MS_SYNC) of a range begins: what is dirty in it now will be durable when it ends.
#[inline]
pub fn sync_begins(start: usize, end: usize) {
    if super::on() {
        // It ends with a fence, whatever it is of.
        let drains = super::drained();
        match journal::on() {
            true => scratch::spacious(|| journal::msync(start, end)),
            false => msync(start, end, drains),
        }
    }
}

#[cold]
#[inline(never)]
fn msync(start: usize, end: usize, drains: bool) {
    let mut found = Found {
        // What was flushed and not yet durable is why it is called, and not dirty any more.
        uncertain: drains,
        ..Found::default()
    };
    let complete = each_part(start, end, |part| {
        if part.kind == Kind::Private {
            private(&part);
            return;
        }
        let dirty = take_over(&part);
        if let Some(header) = part.shadow.header() {
            header.msyncs.fetch_add(1, Ordering::Relaxed);
            if let Some(dirty) = dirty {
                header.msyncs_found.count(!dirty.is_empty() || drains);
            }
        }
        found.add(&part, dirty);
    });
    if !complete {
        found.uncertain = true;
        shadows::skip_all();
    }
    judge(&found, Code::Redundant);
}

/// fsync(2) or fdatasync(2) of a file begins. Costs one load where nothing is checked.
#[inline]
pub fn file_sync_begins(fd: i32) {
    if super::on() {
        super::drained();
        match journal::on() {
            true => scratch::spacious(|| journal::fsync(fd, 0..usize::MAX)),
            false => fsync(fd),
        }
    }
}

#[cold]
#[inline(never)]
fn fsync(fd: i32) {
    let stat = crate::ground::place::Place::Descriptor(fd).stat();
    let Ok(stat) = stat else { return };
    if let Some(shadow) = shadows::find(stat.st_dev, stat.st_ino) {
        scratch::spacious(|| whole_file(shadow, Some(fd)));
    }
}

/// sync_file_range(2) begins, with the arguments of the call; it makes something durable only with `all`
/// its flags.
#[inline]
pub fn file_range_sync_begins([fd, offset, length, flags, ..]: [usize; 6], all: u32) {
    if super::on() && flags as u32 == all {
        super::drained();
        let end = match length {
            0 => usize::MAX,
            length => offset.saturating_add(length),
        };
        let (fd, start) = (fd as i32, offset & !(PAGE - 1));
        match journal::on() {
            true => journal::fsync(fd, start..end.checked_next_multiple_of(PAGE).unwrap_or(end)),
            false => file_range(fd, start, end),
        }
    }
}

#[cold]
#[inline(never)]
fn file_range(fd: i32, start: usize, end: usize) {
    let stat = crate::ground::place::Place::Descriptor(fd).stat();
    let Some(shadow) = stat
        .ok()
        .and_then(|stat| shadows::find(stat.st_dev, stat.st_ino))
    else {
        return;
    };
    let end = end.min(shadow.size()).next_multiple_of(PAGE);
    let mut found = Found::default();
    let complete = each_part(0, usize::MAX, |part| {
        if core::ptr::eq(part.shadow, shadow)
            && part.kind != Kind::Private
            && let Some(part) = part.clip(start, end)
        {
            let dirty = take_over(&part);
            found.add(&part, dirty);
        }
    });
    found.uncertain |= !complete;
    if let Some(header) = shadow.header() {
        header.msyncs.fetch_add(1, Ordering::Relaxed);
        let partly = !complete || header.elsewhere.load(Ordering::Relaxed) != 0;
        if partly || found.first.is_none() {
            found.uncertain = true;
            header.skip(start as u64, end as u64);
        }
    }
    judge(&found, Code::Redundant);
}

/// sync(2) or syncfs(2) begins: all files, though syncfs may mean fewer.
#[cold]
#[inline(never)]
pub fn all_files(filesystem: Option<i32>) {
    super::drained();
    let device = filesystem.map(|fd| crate::ground::place::Place::Descriptor(fd).stat());
    for shadow in all() {
        let meant = match &device {
            Some(Ok(stat)) => stat.st_dev == shadow.identity().0,
            Some(Err(_)) => false,
            None => true,
        };
        match meant {
            true if journal::on() => scratch::spacious(|| journal::sync(shadow)),
            true => scratch::spacious(|| whole_file(shadow, None)),
            false => {}
        }
    }
}

#[inline(never)]
fn whole_file(shadow: &'static Shadow, fd: Option<i32>) {
    let Some(header) = shadow.header() else {
        return;
    };
    let mut found = Found::default();
    let complete = each_part(0, usize::MAX, |part| {
        if core::ptr::eq(part.shadow, shadow) && part.kind != Kind::Private {
            let dirty = take_over(&part);
            found.add(&part, dirty);
        }
    });
    found.uncertain |= !complete;
    if !complete || header.elsewhere.load(Ordering::Relaxed) != 0 || found.first.is_none() {
        // What lies where nothing is mapped here is taken from the file, uncompared.
        found.uncertain = true;
        if complete && is_mapped_whole(shadow) {
            header.elsewhere.store(0, Ordering::Relaxed);
        } else {
            take_rest(shadow, fd);
        }
    }
    header.fsyncs.fetch_add(1, Ordering::Relaxed);
    if found.uncertain {
        return;
    }
    header.fsyncs_found.count(!found.dirty.is_empty());
    let after_msync = header.msyncs.load(Ordering::Relaxed) > 0;
    if !found.dirty.is_empty() {
        if after_msync {
            found.report(Code::FsyncNeeded, found.dirty);
        }
    } else if after_msync {
        judge(&found, Code::FsyncIdle);
    } else {
        judge(&found, Code::Redundant);
    }
}

/// Whether readable mappings here hold all of a file: then they were its parts.
fn is_mapped_whole(shadow: &Shadow) -> bool {
    let mut end = 0;
    while end < shadow.size() {
        let from = end;
        each_part(0, usize::MAX, |part| {
            let held = core::ptr::eq(part.shadow, shadow)
                && !matches!(part.kind, Kind::Private | Kind::Suspended);
            if held && part.offset <= end {
                end = end.max(part.end());
            }
        });
        if end == from {
            return false;
        }
    }
    true
}

/// All of the shadow's lines, as the file has them. Its digests must be locked.
fn digest_file(shadow: &Shadow, fd: i32) -> Result<(), Errno> {
    each_chunk(fd, shadow.size(), |offset, digests| {
        let durable = shadow.digests(offset, digests.len() * LINE);
        let durable = durable.ok_or(Errno::INVAL)?;
        for (line, digest) in digests.iter().enumerate() {
            // SAFETY: there are as many of the shadow's.
            unsafe { durable.add(line).write_volatile(*digest) };
        }
        Ok(())
    })
}

/// The shadow gets the file as it is.
fn take_rest(shadow: &'static Shadow, fd: Option<i32>) {
    let Some(header) = shadow.header() else {
        return;
    };
    let size = shadow.size();
    let affordable = size <= budget::FREE || budget::allows();
    let digested = affordable
        && locked(shadow, || {
            budget::spend(|| match fd {
                Some(fd) if digest_file(shadow, fd).is_ok() => true,
                _ => digest_by_another(shadow),
            })
        }) == Some(true);
    if digested {
        header.elsewhere.store(0, Ordering::Relaxed);
        header.compared(0, size as u64);
    } else {
        header.skip(0, size as u64);
    }
}

/// Descriptors that are looked at for one of a file.
const DESCRIPTORS: i32 = 1024;

/// Where the call's descriptor is not readable, or there is none: by another one that the program has. The
/// file is not opened: those who watch it, lease it or lock it would notice.
fn digest_by_another(shadow: &'static Shadow) -> bool {
    let is_it = |fd: &i32| {
        let stat = crate::ground::place::Place::Descriptor(*fd).stat();
        stat.is_ok_and(|stat| (stat.st_dev, stat.st_ino) == shadow.identity())
    };
    let mut found = (0..DESCRIPTORS).filter(is_it);
    // Another thread may have put another file there meanwhile: then it is not known what was read.
    found.any(|fd| digest_file(shadow, fd).is_ok() && is_it(&fd))
}

/// Does it while no other process or thread changes the digests. `None`: it could not be locked.
fn locked<T>(shadow: &Shadow, work: impl FnOnce() -> T) -> Option<T> {
    let header = shadow.header()?;
    let pid = process::owner();
    wait(|| header.try_lock(pid))?;
    let result = work();
    header.unlock();
    Some(result)
}

/// Of a part, as many bytes as the file has. `None`: it can't be read, or there is no time.
fn readable(part: &Part) -> Option<(*const u8, *mut Digest, usize)> {
    let length = part
        .length
        .min(part.shadow.size().saturating_sub(part.offset));
    let durable = part.shadow.digests(part.offset, length)?;
    if part.kind == Kind::Suspended || length > budget::FREE && !budget::allows() {
        return None;
    }
    // An untagged file may have been truncated from outside.
    if part.kind == Kind::Untagged && length > 0 && memory::is_bad(part.address + length - 1, 1) {
        return None;
    }
    Some((part.address as *const u8, durable, length))
}

/// The dirty lines of a part. `None` where that is not known.
pub fn compare(part: &Part) -> Option<Dirty> {
    let header = part.shadow.header()?;
    if header.is_uncertain(part.offset as u64, part.end() as u64) {
        return None;
    }
    let (live, durable, length) = readable(part)?;
    // SAFETY: mapped and readable, to the end of the file's last page, while `each_part` runs; there
    // is a digest of each line.
    timed(length, || unsafe { lines::compare(live, durable, length) }).into()
}

/// A sync of a part begins: what is dirty in it counts as durable. The dirty lines, if known.
pub fn take_over(part: &Part) -> Option<Dirty> {
    let header = part.shadow.header()?;
    let (start, end) = (part.offset as u64, part.end() as u64);
    blame::cleaned(part);
    beyond_end(part);
    if header.is_uncertain(start, end) && !header.resolves(start, end) {
        header.skip(start, end);
        return None;
    }
    let uncertain = header.is_uncertain(start, end);
    let dirty = readable(part).and_then(|(live, durable, length)| {
        locked(part.shadow, || {
            // SAFETY: as in `compare`; the digests are locked.
            timed(length, || unsafe {
                lines::take_over(live, durable, length)
            })
        })
    });
    match dirty {
        Some(_) => header.compared(start, end),
        None => header.skip(start, end),
    }
    dirty.filter(|_| !uncertain)
}

fn timed<T>(length: usize, work: impl FnOnce() -> T) -> T {
    if length > budget::FREE {
        budget::spend(work)
    } else {
        work()
    }
}

/// Stores between the end of the file and the end of its last page.
#[inline(never)]
pub fn beyond_end(part: &Part) {
    let size = part.shadow.size();
    if size.is_multiple_of(PAGE) || part.end() <= size || part.kind == Kind::Suspended {
        return;
    }
    let from = size.max(part.offset);
    let length = part
        .end()
        .min(size.next_multiple_of(PAGE))
        .saturating_sub(from);
    let live = part.address + (from - part.offset);
    if part.kind == Kind::Untagged && memory::is_bad(live, 1) {
        return;
    }
    let Some(tail) = part.shadow.tail() else {
        return;
    };
    let known = tail.wrapping_add(from % PAGE);
    let (mut first, mut last) = (None, 0);
    for i in 0..length {
        // SAFETY: the file's last page, mapped and readable; and as many bytes that are known.
        let (now, before) = unsafe {
            (
                (live as *const u8).add(i).read_volatile(),
                known.add(i).read_volatile(),
            )
        };
        if now != before {
            // SAFETY: as above.
            unsafe { known.add(i).write_volatile(now) };
            first = first.or(Some(i));
            last = i;
        }
    }
    if let Some(first) = first {
        let range = ((from + first) as u64, (from + last + 1) as u64);
        let dirty = Dirty {
            lines: ((last / LINE) - (first / LINE) + 1) as u64,
            pages: 1,
            first: range.0,
            end: range.1,
        };
        report(
            Code::BeyondEnd,
            part,
            range,
            (last + 1 - first) as u64,
            dirty,
        );
    }
}

/// A private mapping is synced: if it was stored to, somebody expects that to reach the file.
#[inline(never)]
fn private(part: &Part) {
    if let Some(dirty) = compare(part).filter(|dirty| !dirty.is_empty()) {
        let range = (
            part.offset as u64 + dirty.first,
            part.offset as u64 + dirty.end,
        );
        report(Code::Private, part, range, part.length as u64, dirty);
    }
}

/// A sync was compared; `idle` is what it is called if nothing was dirty anywhere.
#[inline(never)]
fn judge(found: &Found, idle: Code) {
    let Some(part) = found.first.filter(|_| !found.uncertain) else {
        return;
    };
    if found.dirty.is_empty() {
        nothing_dirty(found, &part, idle);
        return;
    }
    let pages = found.asked.div_ceil(PAGE as u64);
    let amplified = pages >= AMPLIFIED_PAGES && pages >= AMPLIFIED_TIMES * found.dirty.pages;
    // A file's sync has no range that could be smaller.
    if amplified && idle == Code::Redundant {
        found.report(Code::Amplified, found.dirty);
    }
}

/// Nothing dirty where it was synced: is it elsewhere?
#[inline(never)]
fn nothing_dirty(found: &Found, synced: &Part, idle: Code) {
    let (mut here, mut there) = (None::<(Part, Dirty)>, None::<(Part, Dirty)>);
    let mut certain = each_part(0, usize::MAX, |part| {
        if !part.is_meant() {
            return;
        }
        let place = match core::ptr::eq(part.shadow, synced.shadow) {
            true => &mut here,
            false => &mut there,
        };
        if let Some(dirty) = compare(&part).filter(|dirty| !dirty.is_empty()) {
            let (first, sum) = place.unwrap_or((part, Dirty::default()));
            *place = Some((first, sum.with(dirty, part.offset as u64)));
        }
    });
    certain &= log::log().is_some();
    match (here, there) {
        _ if !certain => {}
        (Some((part, dirty)), _) => {
            report(
                Code::WrongRange,
                &part,
                (dirty.first, dirty.end),
                found.asked,
                dirty,
            );
        }
        (None, Some((part, dirty))) => {
            report(
                Code::WrongFile,
                &part,
                (dirty.first, dirty.end),
                found.asked,
                dirty,
            );
        }
        (None, None) => found.report(idle, Dirty::default()),
    }
}

/// A sync failed: what it was to make durable may be so or not.
#[inline]
pub fn sync_failed(start: usize, end: usize) {
    if super::on() {
        failed(start, end);
    }
}

#[cold]
#[inline(never)]
fn failed(start: usize, end: usize) {
    let complete = each_part(start, end, |part| {
        if let Some(header) = part.shadow.header() {
            header.skip(part.offset as u64, part.end() as u64);
        }
    });
    if !complete {
        shadows::skip_all();
    }
}
