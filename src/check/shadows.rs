//! The shadows of watched files, and whom a region belongs to.

use super::log::{log, path_of};
use super::{blame, journal};
use crate::ground::memory;
use crate::ground::page::{self};
use crate::ground::place::Stat;
use crate::ground::real::{SignalsBlocked, sys};
use crate::mappings::{self, Attributes, Flush};
use core::ffi::CStr;
use core::ptr;
use core::sync::atomic::{AtomicPtr, AtomicU64, AtomicUsize, Ordering};
use daxshim_core::check::blame::{self as table, Pages, Table};
use daxshim_core::check::journal::Journal;
use daxshim_core::check::lines::{self, Digest, LINE, PAGE};
use daxshim_core::check::shadow::{self, DIGESTS, Header, TAIL};
use daxshim_core::line::Line;
use daxshim_core::regions::{Busy, Region};
use daxshim_core::report::{Kind, PATH_LEN, store_bytes};
use parking_lot::lock_api::RawMutex as _;
use rustix::fd::OwnedFd;
use rustix::fs::{FallocateFlags, OFlags, fallocate, openat};
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags};

/// A watched file.
pub struct Shadow {
    header: AtomicPtr<Header>,
    /// Bytes of the file, to the end of its last page.
    length: AtomicUsize,
    device: AtomicU64,
    inode: AtomicU64,
    /// For [`blame`]: who stores to its pages.
    pub blame: AtomicPtr<Table>,
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
        blame: AtomicPtr::new(ptr::null_mut()),
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

    /// Who stores to its pages, and the pages' numbers, if that is asked.
    pub fn blame(&self) -> Option<(&'static Table, &'static Pages)> {
        let table = self.blame.load(Ordering::Acquire);
        let pages = self.length.load(Ordering::Relaxed) / PAGE;
        // SAFETY: null, or a mapping of a whole table and the numbers of all pages behind it, that is
        // never unmapped.
        unsafe {
            let numbers = table.cast::<u8>().wrapping_add(table::PAGES).cast();
            (!table.is_null()).then(|| (&*table, core::slice::from_raw_parts(numbers, pages)))
        }
    }

    /// `st_dev` and `st_ino`.
    pub fn identity(&self) -> (u64, u64) {
        (
            self.device.load(Ordering::Relaxed),
            self.inode.load(Ordering::Relaxed),
        )
    }

    /// Bytes of the file as it is known to be; never more than there are digests for.
    pub fn size(&self) -> usize {
        let size = self
            .header()
            .map_or(0, |header| header.size.load(Ordering::Relaxed));
        (size as usize).min(self.length.load(Ordering::Relaxed))
    }

    /// The digests of `length` bytes from `offset` on, which is that of a line. `None` where it has
    /// fewer.
    pub fn digests(&self, offset: usize, length: usize) -> Option<*mut Digest> {
        let header = self.header.load(Ordering::Acquire);
        let end = offset.checked_add(length)?;
        let inside = !header.is_null() && end <= self.length.load(Ordering::Relaxed);
        let digests = || header.cast::<u8>().wrapping_add(DIGESTS).cast::<Digest>();
        inside.then(|| digests().wrapping_add(offset / LINE))
    }

    /// What is known of the last page behind the end of the file.
    pub fn tail(&self) -> Option<*mut u8> {
        let header = self.header.load(Ordering::Acquire);
        (!header.is_null()).then(|| header.cast::<u8>().wrapping_add(TAIL))
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
    /// The program's protection, if pages may be read-only at its back.
    pub lent: Option<usize>,
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
            lent: attributes.lent(),
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
    /// Whether stores to it reach the file.
    pub fn is_shared(&self) -> bool {
        !matches!(self.kind, Kind::Private | Kind::ReadOnly)
    }

    /// Calls `look` for each range of its offsets that no other mapping of the file holds; what lies in
    /// the addresses `[start, end)` is about to go and counts for none.
    pub fn each_unshared(&self, start: usize, end: usize, mut look: impl FnMut(usize, usize)) {
        let mut cursor = self.offset;
        while cursor < self.end() {
            let (from, to) = self
                .first_other(start, end, cursor)
                .unwrap_or((self.end(), self.end()));
            if cursor < from {
                look(cursor, from);
            }
            cursor = to;
        }
    }

    /// What the first other mapping holds of it from the offset `cursor` on.
    fn first_other(&self, start: usize, end: usize, cursor: usize) -> Option<(usize, usize)> {
        let mut first = None;
        let mut look = |part: Part| {
            let held = part.is_shared() && ptr::eq(part.shadow, self.shadow);
            if let Some(part) = part.clip(cursor, self.end()).filter(|_| held) {
                let range = (part.offset, part.end());
                first = Some(first.map_or(range, |first: (usize, usize)| first.min(range)));
            }
        };
        each_part(0, start, &mut look);
        each_part(end, usize::MAX, &mut look);
        first
    }

    /// Whether lines of it that are dirty are meant to become durable.
    pub fn is_meant(&self) -> bool {
        let lost = matches!(self.kind, Kind::Private | Kind::ReadOnly | Kind::Suspended);
        !lost && self.shadow.header().is_some_and(Header::is_meant)
    }
}

/// Calls `look` for each part of `[start, end)` that belongs to a watched file, in order of addresses.
/// While it runs, the part stays mapped. Whether all of the range could be looked at; where not, that is
/// counted.
pub fn each_part(start: usize, end: usize, look: impl FnMut(Part)) -> bool {
    let whole = each_part_in(start, end, look).is_some();
    if !whole {
        super::log::unlooked();
    }
    whole
}

/// `None`: not all could be looked at.
fn each_part_in(start: usize, end: usize, mut look: impl FnMut(Part)) -> Option<()> {
    /// Writers that are waited for at one address.
    const WRITERS: usize = 100;
    let mut cursor = start;
    let mut writers = 0;
    let mut flush = None;
    while cursor < end && !mappings::is_empty() {
        let published = match &flush {
            Some(published) => published,
            None => flush.insert(Flush::publish(mappings::stack_pointer())?),
        };
        let Ok(found) = published.look_up(cursor) else {
            // It waits for who is published: not the other way round.
            flush = None;
            region_from(cursor).ok()?;
            writers += 1;
            if writers == WRITERS {
                return None;
            }
            continue;
        };
        writers = 0;
        let Some(region) = found.filter(|region| region.start < end) else {
            break;
        };
        if let Some(part) = Part::of(region, start.max(cursor), end) {
            look(part);
        }
        cursor = region.end;
    }
    Some(())
}

/// The mapping that holds an address, or the next above it. A writer in the way is waited for: it must not
/// look like nothing there.
pub fn region_from(address: usize) -> Result<Option<Region>, Busy> {
    mappings::first_in(address, usize::MAX - address)
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

/// This process is not watched any more, and may sync what it has.
pub fn unwatch() {
    for shadow in all() {
        if let Some(header) = shadow.header() {
            header.unwatched.store(1, Ordering::Relaxed);
        }
        // States after this would be ones that could not have been.
        if let Some(journal) = shadow.journal() {
            journal.close();
        }
    }
}

/// A sync, of which files is not known, was not looked at.
pub fn skip_all() {
    for shadow in all() {
        if let Some(header) = shadow.header() {
            header.skip(0, shadow.size() as u64);
        }
        if let Some(journal) = shadow.journal() {
            journal.close();
        }
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
    each_part(start, end, |part| {
        if part.is_shared() {
            let (device, inode) = part.shadow.identity();
            log.holds(device, inode, (part.offset as u64, part.end() as u64));
        }
    });
}

/// Watches a file that was just mapped: the number of its shadow, for the region's attributes.
/// `None`: it is not watched, which is counted.
#[cold]
#[inline(never)]
pub fn watch(fd: i32, stat: &Stat, kind: Kind) -> Option<usize> {
    let mut found = None;
    super::scratch::spacious(|| found = watch_here(fd, stat, kind));
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
    // Allocated, not merely sized: a store on a full filesystem would be SIGBUS.
    fallocate(&file, FallocateFlags::empty(), 0, length)?;
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
    fallocate(shadow, FallocateFlags::empty(), 0, DIGESTS as u64)?;
    fallocate(shadow, FallocateFlags::empty(), last, length - last)?;
    each_chunk(fd, size, |offset, digests| {
        let place = DIGESTS + offset / LINE * size_of::<Digest>();
        // SAFETY: integers, as bytes.
        let bytes =
            unsafe { core::slice::from_raw_parts(digests.as_ptr().cast(), size_of_val(digests)) };
        write_all(shadow, bytes, place as u64)
    })
}

/// Bytes that are read at once: they and their digests are what a CPU keeps in its own cache.
const CHUNK: usize = 256 << 10;

/// Calls `take` with the digests of a file's first `size` bytes, in pieces, and the offset of each.
/// The kernel copies them out of a mapping of our own: nothing can fault, and nobody who watches the file
/// is told of a read(2).
pub fn each_chunk(
    fd: i32,
    size: usize,
    mut take: impl FnMut(usize, &[Digest]) -> Result<(), Errno>,
) -> Result<(), Errno> {
    const DIGESTED: usize = CHUNK / LINE;
    const WHOLE: usize = CHUNK + DIGESTED * size_of::<Digest>();
    let window = Window::map(fd, size)?;
    let mut room = memory::Room::map(WHOLE).ok_or(Errno::NOMEM)?;
    let (bytes, digests) = room.bytes().split_at_mut(CHUNK);
    // SAFETY: the second part of pages, aligned for integers, which any bytes are.
    let digests = unsafe { &mut *digests.as_mut_ptr().cast::<[Digest; DIGESTED]>() };
    (0..size).step_by(CHUNK).try_for_each(|offset| {
        let bytes = bytes
            .get_mut(..CHUNK.min(size - offset))
            .unwrap_or_default();
        window.copy(bytes, offset);
        for (digest, found) in digests.iter_mut().zip(lines::digests(bytes)) {
            *digest = found;
        }
        let lines = bytes.len().div_ceil(LINE);
        take(offset, digests.get(..lines).unwrap_or_default())
    })
}

/// A file's bytes, mapped for the length of a look: private and readable, which counts for no writer.
struct Window {
    address: usize,
    length: usize,
}

impl Window {
    /// The first `length` bytes, by a descriptor that is readable.
    fn map(fd: i32, length: usize) -> Result<Window, Errno> {
        let length = length.max(1);
        let (protection, flags) = (libc::PROT_READ, libc::MAP_PRIVATE | libc::MAP_NORESERVE);
        // SAFETY: a new mapping at an address of the kernel's choice.
        let mapped = unsafe { sys!(SYS_mmap, 0, length, protection, flags, fd, 0) };
        let address = mapped.map_err(Errno::from_raw_os_error)?;
        Ok(Window { address, length })
    }

    /// Copies what is at an offset; zeros where the file has ended meanwhile.
    fn copy(&self, into: &mut [u8], offset: usize) {
        let from = self.address + offset;
        if memory::copy(from, into) {
            return;
        }
        for (i, page) in into.chunks_mut(PAGE).enumerate() {
            if !memory::copy(from + i * PAGE, page) {
                page.fill(0);
            }
        }
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        // SAFETY: mapped by `map`.
        let _ = unsafe { sys!(SYS_munmap, self.address, self.length) };
    }
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

const _: () = assert!(PAGE == crate::ground::memory::PAGE);
