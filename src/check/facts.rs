//! Facts about mappings, and operations that were refused.

use super::log::last_looked_at;
use super::note::note;
use super::shadows::{self, each_chunk_of, each_stretch};
use super::stacks;
use crate::ground::checking;
use crate::ground::memory::{self, HUGE, PAGE};
use crate::ground::place::{Place, Stat, borrow};
use crate::ground::process;
use core::sync::atomic::Ordering;
use daxshim_core::check::Code;
use daxshim_core::check::lines;
use daxshim_core::check::lines::{Dirty, LINE};
use daxshim_core::check::log::Finding;
use daxshim_core::check::watch::{self, Watched};
use daxshim_core::contract::Operation;
use daxshim_core::filesystem::Filesystem;
use daxshim_core::report::{Kind, PATH_LEN};
use daxshim_core::{dax, extents};
use extents::Flaw;

/// Why a mapping has no 2 MiB pages; the detail of [`Code::SmallPages`].
pub const BY_ADDRESS: u8 = 1;
/// See [`BY_ADDRESS`].
pub const BY_EXTENTS: u8 = 2;

/// What to record an untagged file's mapping as; `None`: it is not watched, which is noted where stores to it
/// would reach the file.
#[cold]
#[inline(never)]
pub fn kind_of_untagged(fd: i32, is_writable: bool) -> Option<Kind> {
    let is_dax = || borrow(fd).is_some_and(|fd| dax::is_active(fd) == Ok(true));
    if is_dax() {
        return Some(Kind::Untagged);
    }
    let mut kind = None;
    if is_writable || !process::watch().is_empty() {
        stacks::spacious(|| kind = kind_of_paged(fd, is_writable));
    }
    kind
}

fn kind_of_paged(fd: i32, is_writable: bool) -> Option<Kind> {
    let stat = Place::Descriptor(fd).stat().ok()?;
    // What has no name outlives nothing: memory that is passed on, and files that were removed.
    let may_last = stat.st_mode & libc::S_IFMT == libc::S_IFREG && stat.st_nlink > 0;
    if !may_last || !borrow(fd).is_some_and(Filesystem::keeps_files) {
        return None;
    }
    let mut path = [0; PATH_LEN];
    let len = super::log::path_of(fd, &mut path);
    let path = path.get(..len).unwrap_or(&[]);
    match watch::why(process::watch(), path) {
        // It may be mapped to be read, and stored to by write(2).
        Some(Watched::Named) => return Some(Kind::Untagged),
        Some(Watched::Shared) if is_writable => return Some(Kind::Untagged),
        None if is_writable => {}
        _ => return None,
    }
    note(&Finding {
        code: Code::NotAsked,
        detail: 0,
        device: stat.st_dev,
        inode: stat.st_ino,
        path,
        address: 0,
        range: (0, 0),
        asked: 0,
        dirty: Dirty::default(),
    });
    None
}

/// A file was mapped: `length` bytes from `offset` on.
#[cold]
#[inline(never)]
pub fn mapped(fd: i32, stat: &Stat, kind: Kind, address: usize, length: usize, offset: usize) {
    stacks::spacious(|| mapped_here(fd, stat, kind, address, length, offset));
}

fn mapped_here(fd: i32, stat: &Stat, kind: Kind, address: usize, length: usize, offset: usize) {
    let mut path = [0; PATH_LEN];
    let len = super::log::path_of(fd, &mut path);
    let fact = |code, detail| {
        note(&Finding {
            code,
            detail,
            device: stat.st_dev,
            inode: stat.st_ino,
            path: path.get(..len).unwrap_or(&[]),
            address: address as u64,
            range: (offset as u64, (offset + length) as u64),
            asked: length as u64,
            dirty: Dirty::default(),
        });
    };
    let Some(file) = borrow(fd) else {
        return;
    };
    let is_dax = dax::is_active(file) == Ok(true);
    match kind {
        Kind::NotGranted if is_dax => fact(Code::NotSync, 0),
        // An emulated tag stands for one on DAX.
        Kind::NotGranted => fact(Code::NotDax, 0),
        Kind::Broken => fact(Code::Moved, 0),
        _ => {}
    }
    if !is_dax || matches!(kind, Kind::Private | Kind::ReadOnly) {
        return;
    }
    let size = stat.st_size as u64;
    let Ok(survey) = extents::survey(file, size, false) else {
        return;
    };
    if let Some(Flaw::Hole | Flaw::Unwritten | Flaw::Delalloc) = survey.defect.map(|d| d.flaw) {
        fact(Code::Hole, 0);
    }
    let mapped = length.min((stat.st_size as usize).saturating_sub(offset));
    if mapped >= 2 * HUGE {
        if address % HUGE != offset % HUGE {
            fact(Code::SmallPages, BY_ADDRESS);
        } else if survey.huge == 0 {
            fact(Code::SmallPages, BY_EXTENTS);
        }
    }
}

/// An operation on a tagged file was refused (or would be, or only compat would not).
#[inline]
pub fn refused(operation: Operation, code: Code) {
    if checking::on() {
        stacks::spacious(|| refuses(operation, code));
    }
}

#[cold]
#[inline(never)]
fn refuses(operation: Operation, code: Code) {
    let mut path = [0; PATH_LEN];
    let len = last_looked_at(&mut path);
    note(&Finding {
        code,
        detail: operation as u8,
        device: 0,
        inode: 0,
        path: path.get(..len).unwrap_or(&[]),
        address: 0,
        range: (0, 0),
        asked: 0,
        dirty: Dirty::default(),
    });
}

/// A watched file is about to get another size, a smaller one: its present one, bytes.
#[inline]
pub fn truncating(place: Place, size: usize) -> Option<usize> {
    checking::on().then(|| shortening(place, size)).flatten()
}

#[cold]
#[inline(never)]
fn shortening(place: Place, size: usize) -> Option<usize> {
    let stat = place.stat().ok()?;
    let shadow = shadows::find(stat.st_dev, stat.st_ino)?;
    let now = stat.st_size as usize;
    if size >= now {
        return None;
    }
    // Nothing behind the new end is read any more.
    if let Some(header) = shadow.header() {
        header.size.fetch_min(size as u64, Ordering::Relaxed);
    }
    Some(now)
}

/// The file of [`truncating`], of which `before` was the size, was truncated to `size`, or was not.
#[cold]
#[inline(never)]
pub fn truncated(place: Place, before: usize, size: usize, was: bool) {
    let Ok(stat) = place.stat() else { return };
    let Some(shadow) = shadows::find(stat.st_dev, stat.st_ino) else {
        return;
    };
    if !was {
        if let Some(header) = shadow.header() {
            header.size.fetch_max(before as u64, Ordering::Relaxed);
        }
        return;
    }
    let end = size.next_multiple_of(PAGE);
    let mut cut = None;
    each_stretch(0, usize::MAX, |stretch| {
        if core::ptr::eq(stretch.shadow, shadow) && stretch.end() > end {
            cut = Some(stretch);
        }
    });
    stacks::spacious(|| shortened(shadow, place, before, size));
    let Some(stretch) = cut else { return };
    // A mapping may reach behind the end of the file, before and after.
    let behind = stretch.end().min(before.next_multiple_of(PAGE));
    if behind > end {
        let lost = behind - end.max(stretch.offset);
        super::judge::report(
            Code::Truncated,
            &stretch,
            (end as u64, behind as u64),
            lost as u64,
            Dirty::default(),
        );
    }
}

/// If the file grows again, zeros are there.
fn shortened(shadow: &'static shadows::Shadow, place: Place, before: usize, size: usize) {
    let header = shadow.header();
    if header.is_none_or(|header| header.grows.load(Ordering::Relaxed) == 0) {
        return;
    }
    // The part of a line that stays was durable if the line was, which is all that is known.
    let first = size / LINE * LINE;
    let mut kept = None;
    if let Place::Descriptor(fd) = place {
        let _ = each_chunk_of(fd, first, size, |_, digests| {
            kept = digests.first().copied();
            Ok(())
        });
    }
    let mut line = [0; LINE];
    each_stretch(0, usize::MAX, |stretch| {
        let is_it = core::ptr::eq(stretch.shadow, shadow) && kept.is_none();
        if is_it && let Some(part) = stretch.clip(first, size) {
            let copied = line.get_mut(..part.length);
            if copied.is_some_and(|line| memory::copy(part.address, line)) {
                kept = lines::digests(&line).next();
            }
        }
    });
    let _ = super::compare::locked(shadow, || {
        for offset in (first..before).step_by(LINE) {
            let digest = kept
                .filter(|_| offset == first && size > first)
                .unwrap_or(0);
            if let Some(durable) = shadow.digests(offset, LINE) {
                // SAFETY: of a line of the shadow.
                unsafe { durable.write_volatile(digest) };
            }
        }
    });
}
