//! Untagged files may grow while they are watched. What is added was not there when the file was first mapped: it
//! counts as zeros until a sync makes it durable, and its digests are added when a sync comes, or a mapping.

use super::compare::locked;
use super::shadow_file::{Kept, lengthen};
use super::shadows::{Shadow, wait};
use crate::ground::opened::each_descriptor;
use crate::ground::place::Place;
use crate::ground::real::SignalsBlocked;
use core::sync::atomic::{AtomicBool, Ordering};
use daxshim_core::report::PATH_LEN;

/// Held while a shadow is mapped anew.
static MAPPING: AtomicBool = AtomicBool::new(false);

/// In a forked child.
pub(super) fn forked() {
    MAPPING.store(false, Ordering::Relaxed);
}

/// A sync of the file begins, with no word of its size: asks for it. Where that can't be told, what may have been
/// added is uncertain.
#[inline(never)]
pub(super) fn look(shadow: &'static Shadow) {
    if !may_grow(shadow) {
        return;
    }
    match size_by_path(shadow).or_else(|| size_by_descriptor(shadow)) {
        Some(size) => is_of_size(shadow, size),
        None => uncertain(shadow),
    }
}

/// The file has this size.
#[inline(never)]
pub(super) fn is_of_size(shadow: &'static Shadow, size: usize) {
    let Some(header) = shadow.header().filter(|_| may_grow(shadow)) else {
        return;
    };
    let known = || shadow.length.load(Ordering::Relaxed);
    if known() < size && remap(shadow, size).is_none() {
        uncertain(shadow);
        return;
    }
    if (header.size.load(Ordering::Relaxed) as usize) < size {
        let grow = || header.size.fetch_max(size as u64, Ordering::Relaxed);
        let _ = locked(shadow, grow);
    }
}

/// A tagged file keeps its size; and what is recorded is of one size.
fn may_grow(shadow: &Shadow) -> bool {
    !super::journal::on()
        && shadow
            .header()
            .is_some_and(|header| header.grows.load(Ordering::Relaxed) != 0)
}

fn remap(shadow: &'static Shadow, size: usize) -> Option<()> {
    let (device, inode) = shadow.identity();
    let kept = Kept {
        device,
        inode,
        number: shadow.header()?.birth.load(Ordering::Relaxed),
        grows: true,
    };
    let _signals = SignalsBlocked::new();
    wait(|| !MAPPING.swap(true, Ordering::Acquire))?;
    // Twice as much as there was, where there is room: each new mapping stays, and their number is limited.
    let ample = size.max(2 * shadow.length.load(Ordering::Relaxed));
    let longer = || lengthen(kept, ample).or_else(|_| lengthen(kept, size));
    let mapped = locked(shadow, || longer().ok()).flatten();
    if let Some((header, length)) = mapped
        && length > shadow.length.load(Ordering::Relaxed)
    {
        // The shorter mapping stays: somebody may be reading it.
        shadow.header.store(header, Ordering::Release);
        shadow.length.store(length, Ordering::Release);
    }
    MAPPING.store(false, Ordering::Release);
    mapped.map(|_| ())
}

/// What lies behind the digests that there are.
fn uncertain(shadow: &Shadow) {
    if let Some(header) = shadow.header() {
        header.skip(header.size.load(Ordering::Relaxed), u64::MAX);
    }
}

fn size_by_path(shadow: &Shadow) -> Option<usize> {
    let mut path = [0; PATH_LEN + 1];
    let (name, _) = path.split_last_chunk_mut::<1>()?;
    let len = shadow.path(name.try_into().ok()?);
    // A longer one has lost its beginning.
    let is_whole = len < PATH_LEN && path.first() == Some(&b'/');
    let place = Place::path(path.as_ptr() as usize, true);
    size_of(shadow, place).filter(|_| is_whole)
}

fn size_by_descriptor(shadow: &Shadow) -> Option<usize> {
    let mut found = None;
    each_descriptor(|fd| {
        if found.is_none() {
            found = size_of(shadow, Place::Descriptor(fd));
        }
    });
    found
}

fn size_of(shadow: &Shadow, place: Place) -> Option<usize> {
    let stat = place.stat().ok()?;
    let is_it = (stat.st_dev, stat.st_ino) == shadow.identity();
    is_it.then_some(stat.st_size as usize)
}
