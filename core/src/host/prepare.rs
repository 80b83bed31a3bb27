//! Making a file fit for a tag: allocated, zeroed by writing, unshared, with FS_XFLAG_DAX.
//!
//! The one thing done to a flawed range is to write back what it reads as: zeros into holes and
//! unwritten extents, its own bytes into shared or inline ones. Content is kept by construction,
//! whatever the extent map said.

use std::fs::File;
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::fs::{FallocateFlags, Mode, OFlags};
use rustix::io::Errno;

use super::error::{Action, Cause, Error, call, io};
use super::file::{Lease, Opened};
use super::state;
use super::tagging;
use crate::dax;
use crate::extents::{self, Defect, Flaw, Survey};
use crate::lease::Hold;

/// How to prepare.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PrepareOptions {
    /// Size to create the file with or to grow it to, bytes.
    pub size: Option<u64>,
    /// Leave FS_XFLAG_DAX alone: the file is for an emulated tag.
    pub emulate: bool,
}

/// How far the work is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Bytes written so far.
    pub done: u64,
    /// Bytes to write in all.
    pub total: u64,
}

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prepared {
    /// The file is new.
    pub created: bool,
    /// Its size, bytes.
    pub size: u64,
    /// Bytes that were written to allocate, zero or unshare.
    pub written: u64,
    /// Extents, contiguous ones counted as one; 0 where the filesystem does not tell.
    pub extents: u64,
    /// Bytes that lie so that 2 MiB pages can map them.
    pub huge: u64,
    /// DAX.
    pub dax: DaxOutcome,
}

/// Whether a prepared file has DAX.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DaxOutcome {
    /// FS_XFLAG_DAX is set and the kernel uses DAX.
    Active,
    /// Not asked for (`emulate`).
    Emulated,
    /// Not available here, and why; the file can only carry an emulated tag.
    Unavailable(String),
}

/// Bytes written between two looks at the lease and at the caller's wish to go on.
const CHUNK: usize = 4 << 20;

/// Size of a large page, and so of the extents worth having, bytes.
const HUGE: u32 = crate::units::HUGE as u32;

/// Makes a file fit for a tag, creating it if it is missing (then `size` is needed). Content is
/// kept. `progress` is called between chunks; to break means to stop.
///
/// # Errors
/// [`Error`]: EPERM for a tagged file, EBUSY for one that somebody else has open, EINVAL where
/// `size` would cut it off, ENOSPC on a full filesystem. A file that was created is removed again;
/// another keeps its content and size, and blocks allocated for nothing are given back.
pub fn prepare(
    path: &Path,
    options: &PrepareOptions,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<Prepared, Error> {
    let failed = |cause| Error::new(Action::Prepare, path, cause);
    let (opened, created) = open_or_create(path, options).map_err(failed)?;
    let result = prepare_opened(opened, created, options, progress);
    if created && result.is_err() {
        let _ = rustix::fs::unlink(path);
    }
    result.map_err(failed)
}

fn open_or_create(path: &Path, options: &PrepareOptions) -> Result<(Opened, bool), Cause> {
    match Opened::open(path, OFlags::RDWR) {
        Ok(opened) => Ok((opened, false)),
        Err(Cause::System {
            errno: Errno::NOENT,
            ..
        }) => {
            if options.size.is_none() {
                return Err(Cause::NeedsSize);
            }
            let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
            let file =
                rustix::fs::open(path, flags, Mode::from_raw_mode(0o666)).map_err(call("open"))?;
            match Opened::of(File::from(file), path) {
                Ok(opened) => Ok((opened, true)),
                Err(cause) => {
                    let _ = rustix::fs::unlink(path);
                    Err(cause)
                }
            }
        }
        Err(cause) => Err(cause),
    }
}

fn prepare_opened(
    opened: Opened,
    created: bool,
    options: &PrepareOptions,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<Prepared, Cause> {
    let lease = opened.lease();
    held_by_nobody(&opened, &lease)?;
    let extents =
        extents::fingerprint(opened.fd(), opened.size(), true).map_err(call("ioctl FIEMAP"))?;
    let tags = state::read(opened.fd(), &opened.identity, extents).map_err(call("fgetxattr"))?;
    if tags.iter().any(|tag| tag.binds()) {
        return Err(Cause::Tagged);
    }
    let size = options.size.unwrap_or(opened.size());
    if size < opened.size() {
        return Err(Cause::WouldShrink {
            size: opened.size(),
            wanted: size,
        });
    }
    rustix::fs::fsync(&opened.file).map_err(call("fsync"))?;
    enough_space(&opened, size)?;
    drop(lease);

    let before = dax::attributes(opened.fd()).ok();
    if created || opened.size() == 0 {
        hint_extent_size(&opened, size);
    }
    let (opened, dax) = if options.emulate {
        (opened, DaxOutcome::Emulated)
    } else {
        switch_dax_on(opened)?
    };
    let lease = opened.lease();
    let filled = held_by_nobody(&opened, &lease)
        .and_then(|()| fill(&opened, &lease, size, progress))
        .and_then(|written| finish(&opened, size, created).map(|survey| (written, survey)));
    match filled {
        Ok((written, survey)) => Ok(Prepared {
            created,
            size,
            written,
            extents: survey.extents,
            huge: survey.huge,
            dax,
        }),
        Err(cause) => {
            if let Some(before) = before {
                let _ = dax::set_attributes(opened.fd(), before);
            }
            Err(cause)
        }
    }
}

fn held_by_nobody(opened: &Opened, lease: &Lease<'_>) -> Result<(), Cause> {
    if lease.hold == Hold::Alone {
        return Ok(());
    }
    let holders = opened.holders();
    if lease.hold == Hold::Unknown && holders.is_empty() {
        Ok(())
    } else {
        Err(Cause::Held(holders))
    }
}

/// Refuses at once what cannot fit, before anything is changed.
fn enough_space(opened: &Opened, size: u64) -> Result<(), Cause> {
    let mut needed = size.saturating_sub(opened.size());
    for defect in defects(opened)? {
        if matches!(defect.flaw, Flaw::Hole | Flaw::Shared | Flaw::Inline) {
            needed = needed.saturating_add(defect.length);
        }
    }
    let stat = rustix::fs::fstatvfs(&opened.file).map_err(call("fstatvfs"))?;
    let blocks = if rustix::process::geteuid().is_root() {
        stat.f_bfree
    } else {
        stat.f_bavail
    };
    let free = blocks.saturating_mul(stat.f_frsize);
    // A tmpfs without a limit says 0 blocks of 0.
    if stat.f_blocks > 0 && needed > free {
        return Err(Cause::NoSpace { needed, free });
    }
    Ok(())
}

fn defects(opened: &Opened) -> Result<Vec<Defect>, Cause> {
    let mut found = Vec::new();
    extents::defects(opened.fd(), opened.size(), true, |defect| {
        found.push(defect);
        ControlFlow::Continue(())
    })
    .map_err(call("ioctl FIEMAP"))?;
    Ok(found)
}

/// XFS: extents in multiples of 2 MiB, so that large pages can map them. A wish, not a need.
fn hint_extent_size(opened: &Opened, size: u64) {
    if !opened.is_xfs() || size < u64::from(HUGE) {
        return;
    }
    if let Ok(attributes) = dax::attributes(opened.fd())
        && attributes.extent_size == 0
    {
        let mut hinted = attributes.with_flags(attributes.flags | dax::EXTSIZE);
        hinted.extent_size = HUGE;
        let _ = dax::set_attributes(opened.fd(), hinted);
    }
}

/// Sets FS_XFLAG_DAX and sees to it that it takes effect. Where DAX cannot be had, the flags are
/// as they were.
fn switch_dax_on(opened: Opened) -> Result<(Opened, DaxOutcome), Cause> {
    let why = |opened: &Opened| {
        DaxOutcome::Unavailable(
            opened
                .mount
                .as_ref()
                .map_or_else(|| "STATX_ATTR_DAX stays 0".into(), |m| m.why_no_dax()),
        )
    };
    if opened.mount.as_ref().is_some_and(|mount| mount.never_dax()) {
        let outcome = why(&opened);
        return Ok((opened, outcome));
    }
    let Ok(before) = dax::attributes(opened.fd()) else {
        let outcome = why(&opened);
        return Ok((opened, outcome));
    };
    let attributes = before.with_flags(before.flags | dax::DAX);
    if before.flags & dax::DAX == 0 && dax::set_attributes(opened.fd(), attributes).is_err() {
        let outcome = why(&opened);
        return Ok((opened, outcome));
    }
    let (opened, has_dax) = tagging::active(opened, true)?;
    let Err(cause) = has_dax else {
        return Ok((opened, DaxOutcome::Active));
    };
    let _ = dax::set_attributes(opened.fd(), before);
    match cause {
        Cause::NoDax(reason) => Ok((opened, DaxOutcome::Unavailable(reason))),
        cause => Err(cause),
    }
}

/// Allocates and writes what is missing or flawed; returns the bytes written. On an error, holes
/// are holes again and the size is what it was.
fn fill(
    opened: &Opened,
    lease: &Lease<'_>,
    size: u64,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<u64, Cause> {
    let flawed = defects(opened)?;
    let mut ranges: Vec<(u64, u64)> = flawed.iter().map(|d| (d.offset, d.length)).collect();
    if size > opened.size() {
        ranges.push((opened.size(), size.saturating_sub(opened.size())));
    }
    let total = ranges.iter().map(|(_, length)| length).sum();
    let filled = allocate(opened, size, total).and_then(|()| {
        let mut state = Progress { done: 0, total };
        let mut buffer = vec![0; CHUNK];
        for (offset, length) in &ranges {
            rewrite(
                opened,
                lease,
                *offset,
                *length,
                &mut buffer,
                &mut state,
                progress,
            )?;
        }
        Ok(total)
    });
    if filled.is_err() {
        give_back(opened, size, &flawed);
    }
    filled
}

/// fallocate(2) in one piece: the largest extents that the filesystem has.
fn allocate(opened: &Opened, size: u64, total: u64) -> Result<(), Cause> {
    if total == 0 {
        return Ok(());
    }
    match rustix::fs::fallocate(&opened.file, FallocateFlags::KEEP_SIZE, 0, size) {
        // Without fallocate, writing allocates.
        Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
        Err(errno) => Err(call("fallocate")(errno)),
    }
}

/// Writes back what the range reads as.
fn rewrite(
    opened: &Opened,
    lease: &Lease<'_>,
    offset: u64,
    length: u64,
    buffer: &mut [u8],
    state: &mut Progress,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<(), Cause> {
    let mut position = offset;
    let end = offset.saturating_add(length);
    while position < end {
        if progress(*state).is_break() {
            return Err(Cause::Interrupted);
        }
        if !lease.is_undisturbed() {
            return Err(Cause::Disturbed);
        }
        let wanted = usize::try_from(end.saturating_sub(position))
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        let chunk = buffer.get_mut(..wanted).unwrap_or_default();
        read_or_zeros(&opened.file, chunk, position)?;
        opened
            .file
            .write_all_at(chunk, position)
            .map_err(io("pwrite"))?;
        let written = wanted as u64;
        position = position.saturating_add(written);
        state.done = state.done.saturating_add(written);
    }
    // Nothing is left to stop.
    let _ = progress(*state);
    Ok(())
}

/// pread(2); zeros beyond the end of the file.
fn read_or_zeros(file: &File, chunk: &mut [u8], offset: u64) -> Result<(), Cause> {
    let mut filled = 0;
    while let Some(rest) = chunk.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, offset.saturating_add(filled as u64)) {
            Ok(0) => {
                rest.fill(0);
                break;
            }
            Ok(read) => filled = filled.saturating_add(read),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(io("pread")(error)),
        }
    }
    Ok(())
}

/// Undoes the allocation: former holes become holes again, the size what it was.
fn give_back(opened: &Opened, size: u64, flawed: &[Defect]) {
    let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    for defect in flawed.iter().filter(|defect| defect.flaw == Flaw::Hole) {
        let _ = rustix::fs::fallocate(&opened.file, punch, defect.offset, defect.length);
    }
    if size > opened.size() {
        let beyond = size.saturating_sub(opened.size());
        let _ = rustix::fs::fallocate(&opened.file, punch, opened.size(), beyond);
    }
    // Also frees what lies beyond the size, where punching does not.
    let _ = rustix::fs::ftruncate(&opened.file, opened.size());
    let _ = rustix::fs::fsync(&opened.file);
}

/// Makes it durable and looks whether it is fit now.
fn finish(opened: &Opened, size: u64, created: bool) -> Result<Survey, Cause> {
    if rustix::fs::fstat(&opened.file)
        .map_err(call("fstat"))?
        .st_size
        .try_into()
        != Ok(size)
    {
        rustix::fs::ftruncate(&opened.file, size).map_err(call("ftruncate"))?;
    }
    rustix::fs::fsync(&opened.file).map_err(call("fsync"))?;
    if created {
        let parent = opened
            .path
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty())
            .unwrap_or(Path::new("."));
        if let Ok(parent) = File::open(parent) {
            let _ = rustix::fs::fsync(&parent);
        }
    }
    let survey = extents::survey(opened.fd(), size, true).map_err(call("ioctl FIEMAP"))?;
    match survey.defect {
        Some(defect) => Err(Cause::Defect(defect)),
        None => Ok(survey),
    }
}

#[cfg(test)]
mod tests;
