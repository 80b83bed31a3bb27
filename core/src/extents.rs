//! The extent map of a file: where its blocks lie, whether they could move or fault, and a
//! fingerprint to notice that they did.
//!
//! Everything here may run inside a hook: no allocation, a page of extents on the stack
//! ([`BATCH`], [`FEW`]), raw system calls only. The walk is apart from the ioctl, so that it is tested on
//! made-up maps.
//!
//! Longer than other files: struct fiemap, which no crate has, is part of it.

#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic
    )
)]

use core::ops::ControlFlow;

use rustix::fd::{AsFd, BorrowedFd};
use rustix::fs::SeekFrom;
use rustix::io::Errno;
use rustix::ioctl;

use crate::fnv::Fnv64;

/// FIEMAP_EXTENT_* flags, `<linux/fiemap.h>`.
pub mod flags {
    /// Last extent of the file.
    pub const LAST: u32 = 0x0001;
    /// Location unknown.
    pub const UNKNOWN: u32 = 0x0002;
    /// Not allocated yet (delayed allocation).
    pub const DELALLOC: u32 = 0x0004;
    /// Compressed or otherwise encoded.
    pub const ENCODED: u32 = 0x0008;
    /// Encrypted by the filesystem.
    pub const ENCRYPTED: u32 = 0x0080;
    /// Not aligned to blocks.
    pub const NOT_ALIGNED: u32 = 0x0100;
    /// Data lies among metadata.
    pub const INLINE: u32 = 0x0200;
    /// Several files in one block.
    pub const TAIL: u32 = 0x0400;
    /// Allocated, never written: reads as zeros.
    pub const UNWRITTEN: u32 = 0x0800;
    /// Merged from block-mapped blocks: no defect.
    pub const MERGED: u32 = 0x1000;
    /// Shared with another file (reflink, dedupe, snapshot).
    pub const SHARED: u32 = 0x2000;

    /// What may be set on a sound extent.
    pub const SOUND: u32 = LAST | MERGED;
}

/// Extents asked for at a time.
const BATCH: usize = 16;
/// The same for a fingerprint, which is taken on the program's stack.
const FEW: usize = 4;

/// Size of a large page mapping, bytes.
const HUGE: u64 = crate::units::HUGE as u64;

/// One extent; also `struct fiemap_extent`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Extent {
    /// Offset in the file, bytes.
    pub logical: u64,
    /// Offset on the filesystem's device, bytes.
    pub physical: u64,
    /// Bytes.
    pub length: u64,
    reserved64: [u64; 2],
    /// [`flags`].
    pub flags: u32,
    reserved: [u32; 3],
}

impl Extent {
    /// An extent of `length` bytes.
    #[must_use]
    pub const fn new(logical: u64, physical: u64, length: u64, flags: u32) -> Extent {
        Extent {
            logical,
            physical,
            length,
            reserved64: [0; 2],
            flags,
            reserved: [0; 3],
        }
    }

    /// First byte after it in the file.
    #[must_use]
    pub const fn end(&self) -> u64 {
        self.logical.saturating_add(self.length)
    }

    /// The part of it within `from..to`, if any.
    fn clipped(&self, from: u64, to: u64) -> Option<Extent> {
        let start = self.logical.max(from);
        let end = self.end().min(to);
        (start < end).then(|| {
            let head = start.saturating_sub(self.logical);
            Extent::new(
                start,
                self.physical.wrapping_add(head),
                end.saturating_sub(start),
                self.flags & !flags::SOUND,
            )
        })
    }

    fn continued_by(&self, next: &Extent) -> bool {
        self.flags == next.flags
            && self.end() == next.logical
            && self.physical.wrapping_add(self.length) == next.physical
    }
}

/// What keeps a range of a file from being tagged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// No blocks.
    Hole,
    /// Blocks that were never written: the first store would change metadata.
    Unwritten,
    /// Blocks that another file uses too: the first store would move them.
    Shared,
    /// Blocks not allocated yet.
    Delalloc,
    /// Data among metadata.
    Inline,
    /// Compressed or encrypted.
    Encoded,
    /// FIEMAP flags that this build does not know as harmless.
    Other(u32),
}

impl Flaw {
    /// The flaw that an extent's [`flags`] tell of.
    #[must_use]
    pub const fn of(set: u32) -> Option<Flaw> {
        let set = set & !flags::SOUND;
        if set == 0 {
            None
        } else if set & flags::DELALLOC != 0 {
            Some(Flaw::Delalloc)
        } else if set & (flags::INLINE | flags::TAIL) != 0 {
            Some(Flaw::Inline)
        } else if set & (flags::ENCODED | flags::ENCRYPTED) != 0 {
            Some(Flaw::Encoded)
        } else if set & flags::SHARED != 0 {
            Some(Flaw::Shared)
        } else if set & flags::UNWRITTEN != 0 {
            Some(Flaw::Unwritten)
        } else {
            Some(Flaw::Other(set))
        }
    }

    /// The field's word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Flaw::Hole => "hole",
            Flaw::Unwritten => "unwritten extent",
            Flaw::Shared => "shared extent",
            Flaw::Delalloc => "delayed allocation",
            Flaw::Inline => "inline data",
            Flaw::Encoded => "encoded extent",
            Flaw::Other(_) => "extent of unknown kind",
        }
    }
}

/// A range of a file that keeps it from being tagged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Defect {
    /// What is wrong.
    pub flaw: Flaw,
    /// Offset in the file, bytes.
    pub offset: u64,
    /// Bytes.
    pub length: u64,
}

/// What a walk over all of a file's extents tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Survey {
    /// The first range that keeps the file from being tagged.
    pub defect: Option<Defect>,
    /// Extents up to the file's size, contiguous ones counted as one; 0 where the filesystem has
    /// no FIEMAP.
    pub extents: u64,
    /// Fingerprint of the map; `None` where the filesystem has no FIEMAP (tmpfs).
    pub fingerprint: Option<u64>,
    /// Bytes that lie so that 2 MiB pages can map them: file offset and device offset congruent.
    /// Counted from the start of the filesystem's device, which may itself lie askew.
    pub huge: u64,
}

/// `struct fiemap` with its page of extents.
#[repr(C)]
struct Fiemap<const N: usize> {
    start: u64,
    length: u64,
    flags: u32,
    mapped: u32,
    count: u32,
    reserved: u32,
    extents: [Extent; N],
}

const FIEMAP: ioctl::Opcode = ioctl::opcode::read_write::<[u64; 4]>(b'f', 11);
const FIEMAP_FLAG_SYNC: u32 = 1;

/// ioctl_fiemap(2): fills `page` with the extents from `start`, in place, returns how many.
fn fiemap<const N: usize>(
    fd: BorrowedFd<'_>,
    start: u64,
    end: u64,
    sync: bool,
    page: &mut Fiemap<N>,
) -> Result<usize, Errno> {
    page.start = start;
    page.length = end.saturating_sub(start);
    page.flags = if sync { FIEMAP_FLAG_SYNC } else { 0 };
    page.mapped = 0;
    page.count = N as u32;
    // SAFETY: `page` is struct fiemap followed by the `count` extents that it announces, and the
    // kernel writes nothing else.
    unsafe { ioctl::ioctl(fd, ioctl::Updater::<FIEMAP, Fiemap<N>>::new(page))? };
    Ok((page.mapped as usize).min(N))
}

/// Whether an error says that the filesystem has no such call.
fn is_missing(errno: Errno) -> bool {
    errno == Errno::OPNOTSUPP || errno == Errno::NOTTY || errno == Errno::NOSYS
}

/// Calls `visit` for every extent below `size`, clipped to it, in order, as `fetch` pages them in:
/// `fetch(start, page)` puts the extents from `start` into `page` and returns how many.
fn walk<const N: usize>(
    size: u64,
    mut fetch: impl FnMut(u64, &mut Fiemap<N>) -> Result<usize, Errno>,
    mut visit: impl FnMut(Extent) -> ControlFlow<()>,
) -> Result<(), Errno> {
    let mut page = Fiemap {
        start: 0,
        length: 0,
        flags: 0,
        mapped: 0,
        count: 0,
        reserved: 0,
        extents: [Extent::default(); N],
    };
    let mut position = 0;
    while position < size {
        let count = fetch(position, &mut page)?;
        let before = position;
        for extent in page.extents.iter().take(count) {
            if let Some(extent) = extent.clipped(position, size) {
                position = extent.end();
                if visit(extent).is_break() {
                    return Ok(());
                }
            }
            if extent.flags & flags::LAST != 0 {
                return Ok(());
            }
        }
        if position == before {
            break;
        }
    }
    Ok(())
}

/// As [`walk`], with contiguous extents joined and holes reported as `None` with their range:
/// what comes out is the same however the filesystem splits and pages its answer.
fn walk_joined<const N: usize>(
    size: u64,
    fetch: impl FnMut(u64, &mut Fiemap<N>) -> Result<usize, Errno>,
    mut visit: impl FnMut(Piece) -> ControlFlow<()>,
) -> Result<(), Errno> {
    let mut pending: Option<Extent> = None;
    let mut stopped = false;
    // Hands on the pending extent, then the hole between it and `next`.
    let mut emit = |pending: Option<Extent>, next: u64| -> ControlFlow<()> {
        let mut end = 0;
        if let Some(extent) = pending {
            end = extent.end();
            visit(Piece::Extent(extent))?;
        }
        if end < next {
            visit(Piece::Hole(end, next.saturating_sub(end)))?;
        }
        ControlFlow::Continue(())
    };
    walk(size, fetch, |extent| {
        if let Some(last) = &mut pending
            && last.continued_by(&extent)
        {
            last.length = last.length.saturating_add(extent.length);
            return ControlFlow::Continue(());
        }
        let flow = emit(pending, extent.logical);
        stopped = flow.is_break();
        pending = Some(extent);
        flow
    })?;
    if !stopped {
        let _ = emit(pending, size);
    }
    Ok(())
}

/// A part of a file, as [`walk_joined`] hands it on.
enum Piece {
    Extent(Extent),
    /// Offset and length.
    Hole(u64, u64),
}

impl Piece {
    fn defect(&self) -> Option<Defect> {
        match *self {
            Piece::Hole(offset, length) => Some(Defect {
                flaw: Flaw::Hole,
                offset,
                length,
            }),
            Piece::Extent(extent) => Flaw::of(extent.flags).map(|flaw| Defect {
                flaw,
                offset: extent.logical,
                length: extent.length,
            }),
        }
    }
}

/// Takes an extent into the fingerprint.
fn add(hash: &mut Fnv64, extent: &Extent) {
    for word in [
        extent.logical,
        extent.physical,
        extent.length,
        u64::from(extent.flags),
    ] {
        hash.add(&word.to_le_bytes());
    }
}

fn fingerprint_of(
    size: u64,
    fetch: impl FnMut(u64, &mut Fiemap<FEW>) -> Result<usize, Errno>,
) -> Result<Option<u64>, Errno> {
    let mut hash = Fnv64::EMPTY;
    let walked = walk_joined(size, fetch, |piece| {
        if let Piece::Extent(extent) = piece {
            add(&mut hash, &extent);
        }
        ControlFlow::Continue(())
    });
    match walked {
        Ok(()) => Ok(Some(hash.value())),
        Err(errno) if is_missing(errno) => Ok(None),
        Err(errno) => Err(errno),
    }
}

fn survey_of(
    size: u64,
    fetch: impl FnMut(u64, &mut Fiemap<BATCH>) -> Result<usize, Errno>,
) -> Result<Survey, Errno> {
    let mut hash = Fnv64::EMPTY;
    let mut survey = Survey {
        defect: None,
        extents: 0,
        fingerprint: None,
        huge: 0,
    };
    walk_joined(size, fetch, |piece| {
        if survey.defect.is_none() {
            survey.defect = piece.defect();
        }
        if let Piece::Extent(extent) = piece {
            add(&mut hash, &extent);
            survey.extents = survey.extents.saturating_add(1);
            survey.huge = survey.huge.saturating_add(huge_bytes(&extent));
        }
        ControlFlow::Continue(())
    })?;
    survey.fingerprint = Some(hash.value());
    Ok(survey)
}

/// Bytes of the extent that 2 MiB pages can map.
fn huge_bytes(extent: &Extent) -> u64 {
    if extent.physical % HUGE != extent.logical % HUGE {
        return 0;
    }
    let first = extent.logical.div_ceil(HUGE);
    let last = extent.end() / HUGE;
    last.saturating_sub(first).saturating_mul(HUGE)
}

/// ioctl_fiemap(2): a fingerprint of the extents of the file's first `size` bytes. It changes when
/// an extent moves, appears, goes, or becomes unwritten or shared; it does not depend on how the
/// filesystem splits its answer. `Ok(None)` where the filesystem has no FIEMAP (tmpfs).
///
/// `sync` writes dirty pages first (FIEMAP_FLAG_SYNC): not wanted at mmap time.
///
/// # Errors
/// The errors of ioctl_fiemap(2), save for the missing call.
pub fn fingerprint(fd: BorrowedFd<'_>, size: u64, sync: bool) -> Result<Option<u64>, Errno> {
    fingerprint_of(size, |start, page| fiemap(fd, start, size, sync, page))
}

/// ioctl_fiemap(2): goes through the extents of the file's first `size` bytes and tells whether
/// they are fit for a tag: every byte in an allocated, written extent that no other file shares.
///
/// Where the filesystem has no FIEMAP (tmpfs), lseek(2) finds the holes instead; that moves and
/// restores the descriptor's offset, so give a descriptor of your own.
///
/// # Errors
/// The errors of ioctl_fiemap(2) and lseek(2), save for missing calls.
pub fn survey(fd: BorrowedFd<'_>, size: u64, sync: bool) -> Result<Survey, Errno> {
    match survey_of(size, |start, page| fiemap(fd, start, size, sync, page)) {
        Err(errno) if is_missing(errno) => {
            let mut defect = None;
            holes(fd, size, |hole| {
                defect = Some(hole);
                ControlFlow::Break(())
            })?;
            Ok(Survey {
                defect,
                extents: 0,
                fingerprint: None,
                huge: 0,
            })
        }
        other => other,
    }
}

/// Calls `visit` for every range of the first `size` bytes that keeps the file from being tagged,
/// in order. See [`survey`].
///
/// # Errors
/// The errors of [`survey`].
pub fn defects(
    fd: BorrowedFd<'_>,
    size: u64,
    sync: bool,
    mut visit: impl FnMut(Defect) -> ControlFlow<()>,
) -> Result<(), Errno> {
    let walked = walk_joined(
        size,
        |start, page: &mut Fiemap<BATCH>| fiemap(fd, start, size, sync, page),
        |piece| match piece.defect() {
            Some(defect) => visit(defect),
            None => ControlFlow::Continue(()),
        },
    );
    match walked {
        Err(errno) if is_missing(errno) => holes(fd, size, visit),
        other => other,
    }
}

/// lseek(2) with SEEK_DATA and SEEK_HOLE: the holes below `size`. Allocated but unwritten pages of
/// tmpfs count as holes there.
fn holes(
    fd: BorrowedFd<'_>,
    size: u64,
    mut visit: impl FnMut(Defect) -> ControlFlow<()>,
) -> Result<(), Errno> {
    let offset = rustix::fs::seek(fd, SeekFrom::Current(0))?;
    let mut found = Ok(());
    let mut position = 0;
    while position < size {
        let hole = match rustix::fs::seek(fd, SeekFrom::Hole(position)) {
            Ok(hole) if hole < size => hole,
            Ok(_) => break,
            Err(errno) => {
                found = Err(errno);
                break;
            }
        };
        let end = match rustix::fs::seek(fd, SeekFrom::Data(hole)) {
            Ok(data) => data.min(size),
            Err(Errno::NXIO) => size,
            Err(errno) => {
                found = Err(errno);
                break;
            }
        };
        let defect = Defect {
            flaw: Flaw::Hole,
            offset: hole,
            length: end.saturating_sub(hole),
        };
        if end <= position || visit(defect).is_break() {
            break;
        }
        position = end;
    }
    rustix::fs::seek(fd.as_fd(), SeekFrom::Start(offset))?;
    found
}

#[cfg(test)]
mod tests;
