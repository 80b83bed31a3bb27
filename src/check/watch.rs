//! Files begin to be watched: their shadows, tables and journals are made, or found if another process of the
//! run has made them.

use super::log::{log, path_of};
use super::shadows::{SHADOWS, Shadow, all, each_chunk, each_stretch, wait};
use super::{blame, journal};
use crate::ground::allocate::allocate;
use crate::ground::page;
use crate::ground::place::Stat;
use crate::ground::real::SignalsBlocked;
use core::ffi::CStr;
use core::ptr;
use core::sync::atomic::Ordering;
use daxshim_core::check::blame::{self as table, Table};
use daxshim_core::check::lines::{Digest, LINE, PAGE};
use daxshim_core::check::shadow::{self, DIGESTS, Header};
use daxshim_core::line::Line;
use daxshim_core::report::{Kind, PATH_LEN, store_bytes};
use parking_lot::lock_api::RawMutex as _;
use rustix::fd::OwnedFd;
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
    let known = || {
        SHADOWS.iter().position(|shadow| {
            shadow.identity() == (stat.st_dev, stat.st_ino)
                && shadow.length.load(Ordering::Relaxed) == length
                && shadow.header().is_some()
        })
    };
    let found = known().or_else(|| {
        let _signals = SignalsBlocked::new();
        wait(|| ADDING.try_lock())?;
        let found = known().or_else(|| add(fd, stat, length));
        // SAFETY: locked by this thread, above.
        unsafe { ADDING.unlock() };
        found
    });
    match found.and_then(|number| SHADOWS.get(number)?.header()) {
        Some(header) if kind != Kind::Untagged => header.tagged.store(1, Ordering::Relaxed),
        Some(_) => {}
        None => {
            log.unshadowed.fetch_add(1, Ordering::Relaxed);
        }
    }
    found
}

fn add(fd: i32, stat: &Stat, length: usize) -> Option<usize> {
    let number = SHADOWS
        .iter()
        .position(|shadow| shadow.header.load(Ordering::Relaxed).is_null())?;
    let header = open(fd, stat).ok()?;
    let shadow = SHADOWS.get(number)?;
    shadow.device.store(stat.st_dev, Ordering::Relaxed);
    shadow.inode.store(stat.st_ino, Ordering::Relaxed);
    shadow.length.store(length, Ordering::Relaxed);
    if blame::is_asked() {
        // What has no table is blamed on nobody.
        let table = open_table(stat).unwrap_or(ptr::null_mut());
        shadow.blame.store(table, Ordering::Release);
    }
    shadow.header.store(header, Ordering::Release);
    if journal::on() && journal::attach(shadow, fd, length).is_err() {
        // What nobody records needs no wait.
        shadow.journal.store(ptr::null_mut(), Ordering::Relaxed);
        return None;
    }
    Some(number)
}

/// The file's table of writers, mapped: a new one, or that of another process, which may be filling it.
fn open_table(stat: &Stat) -> Result<*mut Table, Errno> {
    let directory = page::report_directory()?;
    let mut name = Line::<80>::new();
    let name = file_name(&mut name, table::FILE_PREFIX, stat).ok_or(Errno::NAMETOOLONG)?;
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

/// `PREFIX.DEV.INO.SIZE`.
fn file_name<'a>(line: &'a mut Line<80>, prefix: &str, stat: &Stat) -> Option<&'a CStr> {
    line.c_str(format_args!(
        "{prefix}{:x}.{}.{}",
        stat.st_dev, stat.st_ino, stat.st_size
    ))
}

/// The shadow's file, mapped: that of another process of the run, or a new one.
fn open(fd: i32, stat: &Stat) -> Result<*mut Header, Errno> {
    let length = Header::shadow_length(stat.st_size as u64);
    let directory = page::report_directory()?;
    let mut name = Line::<80>::new();
    let name = file_name(&mut name, shadow::FILE_PREFIX, stat).ok_or(Errno::NAMETOOLONG)?;
    let flags = OFlags::RDWR | OFlags::CLOEXEC;
    let new = openat(
        &directory,
        name,
        flags | OFlags::CREATE | OFlags::EXCL,
        0o600.into(),
    );
    match new {
        Ok(file) => {
            fill(&file, fd, stat.st_size as usize, length)?;
            let header = map(&file, length)?;
            // SAFETY: a mapping of a whole shadow, whose header is zeros.
            fill_in(unsafe { &*header }, fd, stat);
            Ok(header)
        }
        Err(Errno::EXIST) => {
            let file = openat(&directory, name, flags, 0.into())?;
            // Its maker may still be filling it.
            let size = || rustix::fs::fstat(&file).map(|stat| stat.st_size as u64);
            wait(|| size().is_ok_and(|size| size >= length)).ok_or(Errno::AGAIN)?;
            let header = map(&file, length)?;
            // SAFETY: a mapping of a whole shadow.
            let filled = unsafe { &*header };
            wait(|| filled.magic.load(Ordering::Acquire) == shadow::MAGIC).ok_or(Errno::AGAIN)?;
            filled.elsewhere.store(1, Ordering::Relaxed);
            Ok(header)
        }
        Err(errno) => Err(errno),
    }
}

fn map(file: &OwnedFd, length: u64) -> Result<*mut Header, Errno> {
    let (anywhere, length) = (ptr::null_mut(), length as usize);
    let protection = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: a new mapping at an address of the kernel's choice.
    let mapping =
        unsafe { rustix::mm::mmap(anywhere, length, protection, MapFlags::SHARED, file, 0)? };
    Ok(mapping.cast())
}

/// Writes a new shadow of a file of `size` bytes: zeros, and the digests. By the kernel: a mapping would
/// cost a fault for each page, and zeros that are overwritten. What is written is allocated, and not
/// merely sized: a store on a full filesystem would be SIGBUS.
fn fill(shadow: &OwnedFd, fd: i32, size: usize, length: u64) -> Result<(), Errno> {
    let last = (length - 1) / PAGE as u64 * PAGE as u64;
    allocate(shadow, 0, DIGESTS as u64)?;
    allocate(shadow, last, length - last)?;
    each_chunk(fd, size, |offset, digests| {
        let place = DIGESTS + offset / LINE * size_of::<Digest>();
        // SAFETY: integers, as bytes.
        let bytes =
            unsafe { core::slice::from_raw_parts(digests.as_ptr().cast(), size_of_val(digests)) };
        write_all(shadow, bytes, place as u64)
    })
}

fn write_all(file: &OwnedFd, mut bytes: &[u8], mut at: u64) -> Result<(), Errno> {
    while !bytes.is_empty() {
        match rustix::io::pwrite(file, bytes, at) {
            Ok(written) => {
                bytes = bytes.get(written..).unwrap_or(&[]);
                at += written as u64;
            }
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

fn fill_in(header: &Header, fd: i32, stat: &Stat) {
    header.device.store(stat.st_dev, Ordering::Relaxed);
    header.inode.store(stat.st_ino, Ordering::Relaxed);
    header.size.store(stat.st_size as u64, Ordering::Relaxed);
    let mut path = [0; PATH_LEN];
    let len = path_of(fd, &mut path);
    store_bytes(&header.path, &path);
    header.path_len.store(len as u8, Ordering::Relaxed);
    // Last: whoever sees it sees the rest.
    header.magic.store(shadow::MAGIC, Ordering::Release);
}
