//! Files begin to be watched: their shadows, tables and journals are made, or found if another process of the
//! run has made them.

use super::grown;
use super::log::{log, path_of};
use super::shadow_file::{Kept, birth, file_name, open};
use super::shadows::{SHADOWS, Shadow, all, each_stretch, wait};
use super::{blame, journal};
use crate::ground::allocate::allocate;
use crate::ground::descriptors;
use crate::ground::page;
use crate::ground::place::Stat;
use crate::ground::place::borrow;
use crate::ground::process;
use crate::ground::real::SignalsBlocked;
use core::ptr;
use core::sync::atomic::Ordering;
use daxshim_core::check::blame::{self as table, Table};
use daxshim_core::check::lines::PAGE;
use daxshim_core::check::watch::{Watched, why};
use daxshim_core::dax;
use daxshim_core::line::Line;
use daxshim_core::report::{Kind, PATH_LEN};
use parking_lot::lock_api::RawMutex as _;
use rustix::fs::{OFlags, openat};
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags};

/// Held to add one, with signals blocked. Only ever tried: parking_lot's slow path allocates.
static ADDING: parking_lot::RawMutex = parking_lot::RawMutex::INIT;

/// In a forked child.
pub fn forked() {
    if ADDING.is_locked() {
        // SAFETY: by a thread that does not exist here.
        unsafe { ADDING.unlock() };
    }
}

/// The process's log lists the files that it has.
pub fn log_files() {
    if let Some(log) = log() {
        for (device, inode) in all().map(Shadow::identity) {
            log.add_file(device, inode);
        }
    }
    holding(0, usize::MAX);
}

/// What was just mapped in a range of addresses can be stored to, and synced, by this process.
pub fn holding(start: usize, end: usize) {
    let Some(log) = log() else { return };
    each_stretch(start, end, |stretch| {
        if stretch.is_shared() {
            let (device, inode) = stretch.shadow.identity();
            log.holds(device, inode, (stretch.offset as u64, stretch.end() as u64));
        }
    });
}

/// Watches a file that was just mapped: the number of its shadow, for the region's attributes.
/// `None`: it is not watched, which is counted.
#[cold]
#[inline(never)]
pub fn watch(fd: i32, stat: &Stat, kind: Kind) -> Option<usize> {
    let mut found = None;
    super::stacks::spacious(|| found = watch_here(fd, stat, kind));
    found
}

fn watch_here(fd: i32, stat: &Stat, kind: Kind) -> Option<usize> {
    let length = crate::mappings::page_end(0, stat.st_size as usize);
    let log = log()?;
    log.add_file(stat.st_dev, stat.st_ino);
    // A tagged file keeps its size. What is recorded has one, too: states are of that.
    let kept = Kept {
        device: stat.st_dev,
        inode: stat.st_ino,
        number: match kind == Kind::Untagged && !journal::on() {
            true => birth(fd),
            false => stat.st_size as u64,
        },
        grows: kind == Kind::Untagged && !journal::on(),
    };
    let is_dax = || borrow(fd).is_some_and(|fd| dax::is_active(fd) == Ok(true));
    let paged = kind == Kind::Untagged && !is_dax();
    let known = || {
        SHADOWS.iter().position(|shadow| {
            let same_length = || shadow.length.load(Ordering::Relaxed) == length;
            let is_it = |number| number == kept.number || !kept.grows;
            shadow.identity() == (stat.st_dev, stat.st_ino)
                && (kept.grows || same_length())
                && shadow
                    .header()
                    .is_some_and(|header| is_it(header.birth.load(Ordering::Relaxed)))
        })
    };
    let found = known().or_else(|| {
        let _signals = SignalsBlocked::new();
        wait(|| ADDING.try_lock())?;
        let found = known().or_else(|| add(fd, stat, kind, (kept, paged), length));
        // SAFETY: locked by this thread, above.
        unsafe { ADDING.unlock() };
        found
    });
    let shadow = found.and_then(|number| SHADOWS.get(number));
    let Some((shadow, header)) = shadow.and_then(|shadow| Some((shadow, shadow.header()?))) else {
        log.unshadowed.fetch_add(1, Ordering::Relaxed);
        return found;
    };
    if kind != Kind::Untagged {
        header.intended.store(1, Ordering::Relaxed);
        return found;
    }
    let mut path = [0; PATH_LEN];
    let len = path_of(fd, &mut path);
    if why(process::watch(), path.get(..len).unwrap_or(&[])) == Some(Watched::Named) {
        header.intended.store(1, Ordering::Relaxed);
    }
    // What was learnt of its descriptors before it was watched.
    descriptors::forget_range(0, u32::MAX);
    if kept.grows {
        grown::is_of_size(shadow, stat.st_size as usize);
    }
    found
}

fn add(
    fd: i32,
    stat: &Stat,
    kind: Kind,
    (kept, paged): (Kept, bool),
    length: usize,
) -> Option<usize> {
    let number = SHADOWS
        .iter()
        .position(|shadow| shadow.header.load(Ordering::Relaxed).is_null())?;
    let (header, length) = open(fd, stat, kept, length).ok()?;
    let shadow = SHADOWS.get(number)?;
    // SAFETY: the mapping of a whole shadow.
    let new = unsafe { &*header };
    new.paged.store(u8::from(paged), Ordering::Relaxed);
    shadow.device.store(stat.st_dev, Ordering::Relaxed);
    shadow.inode.store(stat.st_ino, Ordering::Relaxed);
    shadow.length.store(length, Ordering::Relaxed);
    if blame::is_asked() {
        // What has no table is blamed on nobody.
        let table = open_table(stat, kept).unwrap_or(ptr::null_mut());
        shadow
            .blamed
            .store((stat.st_size as usize).div_ceil(PAGE), Ordering::Relaxed);
        shadow.blame.store(table, Ordering::Release);
    }
    shadow.header.store(header, Ordering::Release);
    if journal::on() && journal::attach(shadow, fd, length).is_err() {
        // What nobody records needs no wait.
        shadow.journal.store(ptr::null_mut(), Ordering::Relaxed);
        return None;
    }
    if journal::on() && kind == Kind::Untagged {
        // In its former size the file is no more.
        all()
            .filter(|other| !ptr::eq(*other, shadow) && other.identity() == shadow.identity())
            .for_each(journal::supersede);
    }
    Some(number)
}

/// The file's table of writers, mapped: a new one, or that of another process, which may be filling it.
fn open_table(stat: &Stat, kept: Kept) -> Result<*mut Table, Errno> {
    let directory = page::report_directory()?;
    let mut name = Line::<80>::new();
    let name = file_name(&mut name, table::FILE_PREFIX, kept).ok_or(Errno::NAMETOOLONG)?;
    let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::CREATE;
    let file = openat(&directory, name, flags, 0o600.into())?;
    let length = table::length(stat.st_size as u64);
    allocate(&file, 0, length)?;
    let protection = ProtFlags::READ | ProtFlags::WRITE;
    let (anywhere, length) = (ptr::null_mut(), length as usize);
    // SAFETY: a new mapping at an address of the kernel's choice.
    let mapping =
        unsafe { rustix::mm::mmap(anywhere, length, protection, MapFlags::SHARED, &file, 0)? };
    let table: *mut Table = mapping.cast();
    // SAFETY: just mapped; nothing but atomics.
    unsafe { &*table }
        .magic
        .store(table::MAGIC, Ordering::Relaxed);
    Ok(table)
}
