//! The shadows of watched files, and whom a region belongs to.

use super::journal;
use super::log::{log, path_of};
use crate::mappings::{Attributes, Flush};
use crate::process;
use crate::real::{SignalsBlocked, sys};
use core::ptr;
use core::sync::atomic::{AtomicPtr, AtomicU64, AtomicUsize, Ordering};
use daxshim_core::check::journal::Journal;
use daxshim_core::check::lines::PAGE;
use daxshim_core::check::shadow::{self, CONTENT, Header};
use daxshim_core::line::Line;
use daxshim_core::regions::Region;
use daxshim_core::report::{Kind, PATH_LEN, store_bytes};
use parking_lot::lock_api::RawMutex as _;
use rustix::fd::OwnedFd;
use rustix::fs::{FallocateFlags, OFlags, fallocate, openat};
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags};

/// A watched file.
pub struct Shadow {
    header: AtomicPtr<Header>,
    /// Bytes of content.
    length: AtomicUsize,
    device: AtomicU64,
    inode: AtomicU64,
    /// For [`journal`]: the file, all of it, mapped by us.
    pub live: AtomicPtr<u8>,
    /// For [`journal`].
    pub journal: AtomicPtr<Journal>,
    /// Records so far.
    pub records: AtomicU64,
    /// Lines that were not durable outside the range, last time.
    pub outside: AtomicU64,
}

/// Watched files; a region's [`Attributes`] say which of them is its own.
static SHADOWS: [Shadow; 255] = [const {
    Shadow {
        header: AtomicPtr::new(ptr::null_mut()),
        length: AtomicUsize::new(0),
        device: AtomicU64::new(0),
        inode: AtomicU64::new(0),
        live: AtomicPtr::new(ptr::null_mut()),
        journal: AtomicPtr::new(ptr::null_mut()),
        records: AtomicU64::new(0),
        outside: AtomicU64::new(0),
    }
}; 255];

/// Held to add one, with signals blocked. Only ever tried: parking_lot's slow path allocates.
static ADDING: parking_lot::RawMutex = parking_lot::RawMutex::INIT;

/// How often a wait for another thread or process yields before it is given up.
const TRIES: usize = 1 << 14;

impl Shadow {
    /// Its first page.
    pub fn header(&self) -> Option<&'static Header> {
        // SAFETY: null, or a mapping of a whole shadow that is never unmapped.
        unsafe { self.header.load(Ordering::Acquire).as_ref() }
    }

    /// Its journal, if states are recorded.
    pub fn journal(&self) -> Option<&'static Journal> {
        // SAFETY: null, or a mapping of a whole journal that is never unmapped.
        unsafe { self.journal.load(Ordering::Acquire).as_ref() }
    }

    /// `st_dev` and `st_ino`.
    pub fn identity(&self) -> (u64, u64) {
        (
            self.device.load(Ordering::Relaxed),
            self.inode.load(Ordering::Relaxed),
        )
    }

    /// Bytes of the file as it is known to be; never more than the content.
    pub fn size(&self) -> usize {
        let size = self
            .header()
            .map_or(0, |header| header.size.load(Ordering::Relaxed));
        (size as usize).min(self.length.load(Ordering::Relaxed))
    }

    /// The content from `offset` on, for `length` bytes. `None` where it has less.
    pub fn content(&self, offset: usize, length: usize) -> Option<*mut u8> {
        let header = self.header.load(Ordering::Acquire);
        let end = offset.checked_add(length)?;
        let inside = !header.is_null() && end <= self.length.load(Ordering::Relaxed);
        // SAFETY: inside the mapping, whose content is this long.
        inside.then(|| unsafe { header.cast::<u8>().add(CONTENT + offset) })
    }

    /// The shadow's path.
    pub fn path(&self, into: &mut [u8; PATH_LEN]) -> usize {
        let Some(header) = self.header() else {
            return 0;
        };
        for (to, from) in into.iter_mut().zip(&header.path) {
            *to = from.load(Ordering::Relaxed);
        }
        usize::from(header.path_len.load(Ordering::Relaxed))
    }
}

/// A region of a watched file.
#[derive(Clone, Copy)]
pub struct Part {
    /// The file.
    pub shadow: &'static Shadow,
    /// Where it is mapped.
    pub address: usize,
    /// Offset in the file, bytes.
    pub offset: usize,
    /// Bytes, at most to the end of the page that holds the end of the file.
    pub length: usize,
    /// What the mapping is.
    pub kind: Kind,
    /// Whether the kernel granted MAP_SYNC, or it counts as if.
    pub map_sync: bool,
}

impl Part {
    /// What of a region lies in `[start, end)`, if its file is watched.
    pub fn of(region: Region, start: usize, end: usize) -> Option<Part> {
        let attributes = Attributes::of(region);
        let shadow = SHADOWS.get(attributes.watched()?)?;
        let from = region.start.max(start);
        let to = region.end.min(region.data_end).min(end);
        Some(Part {
            shadow,
            address: from,
            offset: from.wrapping_sub(region.origin),
            length: to.saturating_sub(from),
            kind: attributes.kind(),
            map_sync: attributes.is_map_sync(),
        })
        .filter(|part| part.length > 0)
    }

    /// What of it lies in `start..end` of the file.
    pub fn clip(self, start: usize, end: usize) -> Option<Part> {
        let (from, to) = (self.offset.max(start), self.end().min(end));
        (from < to).then(|| Part {
            address: self.address + (from - self.offset),
            offset: from,
            length: to - from,
            ..self
        })
    }

    /// Behind its last byte in the file.
    pub fn end(&self) -> usize {
        self.offset + self.length
    }
}

impl Part {
    /// Whether lines of it that are dirty are meant to become durable.
    pub fn is_meant(&self) -> bool {
        let lost = matches!(self.kind, Kind::Private | Kind::ReadOnly | Kind::Suspended);
        !lost && self.shadow.header().is_some_and(Header::is_meant)
    }
}

/// Calls `look` for each part of `[start, end)` that belongs to a watched file, in order of addresses.
/// While it runs, the part stays mapped. Whether all of the range could be looked at.
pub fn each_part(start: usize, end: usize, mut look: impl FnMut(Part)) -> bool {
    let Some(flush) = Flush::publish() else {
        return false;
    };
    let mut cursor = start;
    while cursor < end {
        let Some(region) = flush
            .at_or_after(cursor)
            .filter(|region| region.start < end)
        else {
            break;
        };
        if let Some(part) = Part::of(region, start, end) {
            look(part);
        }
        cursor = region.end;
    }
    true
}

/// The shadow of a file, if it is watched.
pub fn find(device: u64, inode: u64) -> Option<&'static Shadow> {
    SHADOWS
        .iter()
        .take_while(|shadow| !shadow.header.load(Ordering::Acquire).is_null())
        .filter(|shadow| shadow.identity() == (device, inode))
        .last()
}

/// All shadows.
pub fn all() -> impl Iterator<Item = &'static Shadow> {
    SHADOWS
        .iter()
        .take_while(|shadow| !shadow.header.load(Ordering::Acquire).is_null())
}

/// In a forked child.
pub fn forked() {
    if ADDING.is_locked() {
        // SAFETY: by a thread that does not exist here.
        unsafe { ADDING.unlock() };
    }
    for header in all().filter_map(Shadow::header) {
        header.elsewhere.store(1, Ordering::Relaxed);
    }
}

/// The process's log lists the files that it has.
pub fn log_files() {
    if let Some(log) = log() {
        for (device, inode) in all().map(Shadow::identity) {
            log.add_file(device, inode);
        }
    }
}

/// Watches a file that was just mapped: the number of its shadow, for the region's attributes.
/// `None`: it is not watched, which is counted.
#[cold]
#[inline(never)]
pub fn watch(fd: i32, stat: &libc::stat, kind: Kind) -> Option<usize> {
    let length = Header::content_length(stat.st_size as u64) as usize;
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

fn add(fd: i32, stat: &libc::stat, length: usize) -> Option<usize> {
    let number = SHADOWS
        .iter()
        .position(|shadow| shadow.header.load(Ordering::Relaxed).is_null())?;
    let header = open(fd, stat, length).ok()?;
    let shadow = SHADOWS.get(number)?;
    shadow.device.store(stat.st_dev, Ordering::Relaxed);
    shadow.inode.store(stat.st_ino, Ordering::Relaxed);
    shadow.length.store(length, Ordering::Relaxed);
    shadow.header.store(header, Ordering::Release);
    if journal::on() && journal::attach(shadow, fd, length).is_err() {
        // What nobody records needs no wait.
        shadow.journal.store(ptr::null_mut(), Ordering::Relaxed);
        return None;
    }
    Some(number)
}

/// The shadow's file, mapped: that of another process of the run, or a new one.
fn open(fd: i32, stat: &libc::stat, length: usize) -> Result<*mut Header, Errno> {
    let directory = process::report_directory()?;
    let mut name = Line::<80>::new();
    let name = name
        .c_str(format_args!(
            "{}{:x}.{}.{}",
            shadow::FILE_PREFIX,
            stat.st_dev,
            stat.st_ino,
            stat.st_size
        ))
        .ok_or(Errno::NAMETOOLONG)?;
    let flags = OFlags::RDWR | OFlags::CLOEXEC;
    let new = openat(
        &directory,
        name,
        flags | OFlags::CREATE | OFlags::EXCL,
        0o600.into(),
    );
    match new {
        Ok(file) => {
            let header = map(&file, length, true)?;
            // SAFETY: a zeroed mapping of a whole shadow.
            fill_in(unsafe { &*header }, fd, stat)?;
            Ok(header)
        }
        Err(Errno::EXIST) => {
            let file = openat(&directory, name, flags, 0.into())?;
            let header = map(&file, length, false)?;
            // SAFETY: a mapping of a whole shadow.
            let filled = unsafe { &*header };
            wait(|| filled.magic.load(Ordering::Acquire) == shadow::MAGIC).ok_or(Errno::AGAIN)?;
            filled.elsewhere.store(1, Ordering::Relaxed);
            Ok(header)
        }
        Err(errno) => Err(errno),
    }
}

fn map(file: &OwnedFd, length: usize, new: bool) -> Result<*mut Header, Errno> {
    let length = CONTENT + length;
    let enough = || rustix::fs::fstat(file).map(|stat| stat.st_size as usize >= length);
    if new {
        // Allocated, not merely sized: a store on a full filesystem would be SIGBUS.
        fallocate(file, FallocateFlags::empty(), 0, length as u64)?;
    } else {
        // Its maker is between creating and allocating it.
        wait(|| enough() == Ok(true)).ok_or(Errno::AGAIN)?;
    }
    let protection = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: a new mapping at an address of the kernel's choice.
    let mapping = unsafe {
        rustix::mm::mmap(
            ptr::null_mut(),
            length,
            protection,
            MapFlags::SHARED,
            file,
            0,
        )?
    };
    Ok(mapping.cast())
}

fn fill_in(header: &Header, fd: i32, stat: &libc::stat) -> Result<(), Errno> {
    let content = ptr::from_ref(header).cast::<u8>().wrapping_add(CONTENT);
    copy_file(fd, 0, content as usize, stat.st_size as usize).map_err(|_| Errno::IO)?;
    header.device.store(stat.st_dev, Ordering::Relaxed);
    header.inode.store(stat.st_ino, Ordering::Relaxed);
    header.size.store(stat.st_size as u64, Ordering::Relaxed);
    let mut path = [0; PATH_LEN];
    let len = path_of(fd, &mut path);
    store_bytes(&header.path, &path);
    header.path_len.store(len as u8, Ordering::Relaxed);
    // Last: whoever sees it sees the rest.
    header.magic.store(shadow::MAGIC, Ordering::Release);
    Ok(())
}

/// Has the kernel copy `length` bytes of a file to an address of ours: no page of the program's
/// mapping is touched, and nothing can fault.
pub fn copy_file(fd: i32, offset: usize, to: usize, length: usize) -> Result<(), i32> {
    let mut done = 0;
    while done < length {
        let (at, left) = (offset + done, length - done);
        // SAFETY: the caller's memory, which the kernel fills.
        match unsafe { sys!(SYS_pread64, fd, to + done, left, at) } {
            Ok(0) => break,
            Ok(read) => done += read,
            Err(libc::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// Yields until something is so; `None` if it does not become so.
pub fn wait(mut is_so: impl FnMut() -> bool) -> Option<()> {
    for _ in 0..TRIES {
        if is_so() {
            return Some(());
        }
        // SAFETY: takes nothing.
        let _ = unsafe { sys!(SYS_sched_yield) };
    }
    None
}

const _: () = assert!(PAGE == crate::memory::PAGE);
