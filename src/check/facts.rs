//! Facts about mappings, and operations that were refused.

use super::log::last_looked_at;
use super::note::note;
use super::shadows::{self, each_stretch};
use super::stacks;
use crate::ground::checking;
use crate::ground::memory::{HUGE, PAGE};
use crate::ground::place::{Place, Stat, borrow};
use crate::mappings;
use core::sync::atomic::Ordering;
use daxshim_core::check::Code;
use daxshim_core::check::lines::Dirty;
use daxshim_core::check::log::Finding;
use daxshim_core::contract::Operation;
use daxshim_core::report::{Kind, PATH_LEN};
use daxshim_core::{dax, extents};
use extents::Flaw;

/// Why a mapping has no 2 MiB pages; the detail of [`Code::SmallPages`].
pub const BY_ADDRESS: u8 = 1;
/// See [`BY_ADDRESS`].
pub const BY_EXTENTS: u8 = 2;

/// What to record an untagged file's mapping as; `None`: it is not watched.
#[cold]
#[inline(never)]
pub fn kind_of_untagged(fd: i32) -> Option<Kind> {
    let is_dax = || borrow(fd).is_some_and(|fd| dax::is_active(fd) == Ok(true));
    is_dax().then_some(Kind::Untagged)
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
        Kind::NotGranted | Kind::NotTmpfs => fact(Code::NotDax, 0),
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

/// A file is about to get a new size.
#[inline]
pub fn truncating(place: Place, size: usize) {
    if checking::on() && !mappings::is_empty() {
        truncates(place, size);
    }
}

#[cold]
#[inline(never)]
fn truncates(place: Place, size: usize) {
    let Ok(stat) = place.stat() else { return };
    let Some(shadow) = shadows::find(stat.st_dev, stat.st_ino) else {
        return;
    };
    let end = size.next_multiple_of(PAGE);
    let mut cut = None;
    each_stretch(0, usize::MAX, |stretch| {
        if core::ptr::eq(stretch.shadow, shadow) && stretch.end() > end {
            cut = Some(stretch);
        }
    });
    // Nothing behind it is read any more.
    if let Some(header) = shadow.header() {
        header.size.fetch_min(size as u64, Ordering::Relaxed);
    }
    if let Some(stretch) = cut {
        let range = (end as u64, stretch.end() as u64);
        let lost = stretch.end() - end.max(stretch.offset);
        super::judge::report(
            Code::Truncated,
            &stretch,
            range,
            lost as u64,
            Dirty::default(),
        );
    }
}
