//! Follows each sync: what was dirty in its range, and what its outcome says.

use super::compare::locked;
use super::judge::{Found, count_as_durable, judge, private, report};
use super::shadows::{self, Shadow, all, each_chunk_of, each_stretch};
use super::{budget, flushes, grown, journal, stacks};
use crate::ground::checking;
use crate::ground::memory::PAGE;
use crate::ground::real::sys;
use core::sync::atomic::Ordering;
use daxshim_core::check::Code;
use daxshim_core::check::lines::{Dirty, LINE};
use daxshim_core::report::Kind;
use rustix::io::Errno;

/// msync(MS_SYNC) of a range begins: what is dirty in it now will be durable when it ends.
#[inline]
pub fn sync_begins(start: usize, end: usize) {
    if checking::on() {
        // A sync ends with a fence, whatever it is of.
        let drains = flushes::drained();
        stacks::spacious(|| match journal::on() {
            true => journal::msync(start, end),
            false => msync(start, end, drains),
        });
    }
}

#[cold]
#[inline(never)]
fn msync(start: usize, end: usize, drains: bool) {
    let mut found = Found {
        // The program syncs because of what it has flushed, whose lines are not dirty any more.
        uncertain: drains,
        ..Found::default()
    };
    let complete = each_stretch(start, end, |stretch| {
        if stretch.kind == Kind::Private {
            private(&stretch);
            return;
        }
        grown::look(stretch.shadow);
        let dirty = count_as_durable(&stretch);
        if let Some(header) = stretch.shadow.header() {
            header.msyncs.fetch_add(1, Ordering::Relaxed);
            if let Some(dirty) = dirty {
                header.msyncs_found.count(!dirty.is_empty() || drains);
            }
        }
        found.add(&stretch, dirty);
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
    if checking::on() {
        flushes::drained();
        match journal::on() {
            true => stacks::spacious(|| journal::fsync(fd, 0..usize::MAX)),
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
        stacks::spacious(|| {
            grown::is_of_size(shadow, stat.st_size as usize);
            whole_file(shadow, Some(fd));
        });
    }
}

/// msync(2) of a range without MS_SYNC: it makes nothing durable.
#[cold]
#[inline(never)]
pub fn asked_only(start: usize, length: usize) {
    // Unaligned is EINVAL.
    if journal::on() || !start.is_multiple_of(PAGE) {
        return;
    }
    stacks::spacious(|| {
        each_stretch(start, start.saturating_add(length), |stretch| {
            if stretch.is_shared()
                && let Some(header) = stretch.shadow.header()
            {
                header.asyncs.fetch_add(1, Ordering::Relaxed);
                let range = (stretch.offset as u64, stretch.end() as u64);
                let asked = stretch.length as u64;
                report(Code::AsyncOnly, &stretch, range, asked, Dirty::default());
            }
        });
    });
}

/// Whether what is written through a descriptor may be durable when the call returns, and what of is watched: of a
/// regular file, opened so or with these flags of pwritev2(2).
#[inline]
pub fn is_written_through(fd: i32, flags: u32) -> bool {
    checking::on() && writes_through(fd, flags)
}

#[cold]
#[inline(never)]
fn writes_through(fd: i32, flags: u32) -> bool {
    let opened = crate::ground::place::open_flags(fd).unwrap_or(0);
    let is_sync = opened & libc::O_DSYNC != 0 || flags & (RWF_DSYNC | RWF_SYNC) != 0;
    is_sync && is_watched(fd)
}

const RWF_DSYNC: u32 = libc::RWF_DSYNC as u32;
const RWF_SYNC: u32 = libc::RWF_SYNC as u32;

/// Whether a descriptor is of an untagged file that is watched.
#[cold]
#[inline(never)]
pub fn is_watched(fd: i32) -> bool {
    crate::ground::place::Place::Descriptor(fd)
        .stat()
        .is_ok_and(|stat| shadows::find(stat.st_dev, stat.st_ino).is_some())
}

/// So many bytes were written through a descriptor, and are durable: from `offset` on, or up to where the descriptor
/// is now.
#[cold]
#[inline(never)]
pub fn written_through(fd: i32, offset: Option<usize>, length: usize) {
    let Ok(stat) = crate::ground::place::Place::Descriptor(fd).stat() else {
        return;
    };
    let size = stat.st_size as usize;
    let appends = crate::ground::place::open_flags(fd).unwrap_or(0) & libc::O_APPEND != 0;
    let start = match offset {
        _ if appends => size.saturating_sub(length),
        Some(offset) => offset,
        // SAFETY: asks where it is.
        None => unsafe { sys!(SYS_lseek, fd, 0, libc::SEEK_CUR) }
            .map_or(0, |end| end.saturating_sub(length)),
    };
    let (start, end) = (start & !(LINE - 1), start.saturating_add(length).min(size));
    let Some(shadow) = shadows::find(stat.st_dev, stat.st_ino) else {
        return;
    };
    stacks::spacious(|| {
        if journal::on() {
            journal::fsync(fd, start..end.next_multiple_of(LINE));
            return;
        }
        grown::is_of_size(shadow, size);
        let end = end.next_multiple_of(LINE).min(shadow.size());
        let digested = locked(shadow, || digest_file(shadow, fd, start, end).is_ok());
        if digested != Some(true)
            && let Some(header) = shadow.header()
        {
            header.skip(start as u64, end as u64);
        }
    });
}

/// sync_file_range(2) begins, with the arguments of the call; it makes something durable only with `all`
/// its flags.
#[inline]
pub fn file_range_sync_begins([fd, offset, length, flags, ..]: [usize; 6], all: u32) {
    if checking::on() && flags as u32 == all {
        flushes::drained();
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
    // It writes pages, and neither what leads to them nor what the device keeps (sync_file_range(2)).
    if shadow.is_paged() {
        return;
    }
    let end = end.min(shadow.size()).next_multiple_of(PAGE);
    let mut found = Found::default();
    let complete = each_stretch(0, usize::MAX, |stretch| {
        if core::ptr::eq(stretch.shadow, shadow)
            && stretch.kind != Kind::Private
            && let Some(stretch) = stretch.clip(start, end)
        {
            let dirty = count_as_durable(&stretch);
            found.add(&stretch, dirty);
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
    flushes::drained();
    let device = filesystem.map(|fd| crate::ground::place::Place::Descriptor(fd).stat());
    for shadow in all() {
        let meant = match &device {
            Some(Ok(stat)) => stat.st_dev == shadow.identity().0,
            Some(Err(_)) => false,
            None => true,
        };
        match meant {
            true if journal::on() => stacks::spacious(|| journal::sync(shadow)),
            true => stacks::spacious(|| {
                grown::look(shadow);
                whole_file(shadow, None);
            }),
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
    let complete = each_stretch(0, usize::MAX, |stretch| {
        if core::ptr::eq(stretch.shadow, shadow) && stretch.kind != Kind::Private {
            let dirty = count_as_durable(&stretch);
            found.add(&stretch, dirty);
        }
    });
    found.uncertain |= !complete;
    let elsewhere = header.elsewhere.load(Ordering::Relaxed) != 0;
    // write(2) may have stored to an untagged file where nothing is mapped.
    let written = || header.grows.load(Ordering::Relaxed) != 0 && !is_mapped_whole(shadow);
    if !complete || elsewhere || found.first.is_none() || written() {
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
        each_stretch(0, usize::MAX, |stretch| {
            let held = core::ptr::eq(stretch.shadow, shadow)
                && !matches!(stretch.kind, Kind::Private | Kind::Suspended);
            if held && stretch.offset <= end {
                end = end.max(stretch.end());
            }
        });
        if end == from {
            return false;
        }
    }
    true
}

/// The shadow's lines from `start`, which is that of one, to `end`, as the file has them. Its digests must be locked.
fn digest_file(shadow: &Shadow, fd: i32, start: usize, end: usize) -> Result<(), Errno> {
    each_chunk_of(fd, start, end, |offset, digests| {
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
                Some(fd) if digest_file(shadow, fd, 0, size).is_ok() => true,
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
    found.any(|fd| digest_file(shadow, fd, 0, shadow.size()).is_ok() && is_it(&fd))
}

/// A sync failed: what it was to make durable may be so or not.
#[inline]
pub fn sync_failed(start: usize, end: usize) {
    if checking::on() {
        failed(start, end);
    }
}

#[cold]
#[inline(never)]
fn failed(start: usize, end: usize) {
    let complete = each_stretch(start, end, |stretch| {
        if let Some(header) = stretch.shadow.header() {
            header.skip(stretch.offset as u64, stretch.end() as u64);
        }
    });
    if !complete {
        shadows::skip_all();
    }
}
