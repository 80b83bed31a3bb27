//! The shadows of watched files, and whom a region belongs to.

use crate::ground::memory;
use crate::ground::real::{sys, yield_now};
use crate::mappings::{self, Attributes, Flush};
use core::ptr;
use core::sync::atomic::{AtomicPtr, AtomicU64, AtomicUsize, Ordering};
use daxshim_core::check::blame::{self as table, Pages, Table};
use daxshim_core::check::journal::Journal;
use daxshim_core::check::lines::{self, Digest, LINE, PAGE};
use daxshim_core::check::shadow::{DIGESTS, Header, TAIL};
use daxshim_core::regions::{Busy, Region};
use daxshim_core::report::{Kind, PATH_LEN};
use rustix::io::Errno;

/// A watched file.
pub struct Shadow {
    pub(super) header: AtomicPtr<Header>,
    /// Bytes of the file, to the end of its last page, for which there are digests here. Grows after `header`
    /// has become the longer mapping.
    pub(super) length: AtomicUsize,
    pub(super) device: AtomicU64,
    pub(super) inode: AtomicU64,
    /// For [`blame`]: who stores to its pages.
    pub blame: AtomicPtr<Table>,
    /// Pages in that table.
    pub(super) blamed: AtomicUsize,
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
pub(super) static SHADOWS: [Shadow; 255] = [const {
    Shadow {
        header: AtomicPtr::new(ptr::null_mut()),
        length: AtomicUsize::new(0),
        device: AtomicU64::new(0),
        inode: AtomicU64::new(0),
        blame: AtomicPtr::new(ptr::null_mut()),
        blamed: AtomicUsize::new(0),
        live: AtomicPtr::new(ptr::null_mut()),
        journal: AtomicPtr::new(ptr::null_mut()),
        records: AtomicU64::new(0),
        outside: AtomicU64::new(0),
    }
}; 255];

/// How often a wait for another thread or process yields before it is given up.
const TRIES: usize = 1 << 14;

impl Shadow {
    /// Its first page.
    pub fn header(&self) -> Option<&'static Header> {
        // SAFETY: null, or a mapping of a whole shadow that is never unmapped.
        unsafe { self.header.load(Ordering::Acquire).as_ref() }
    }

    /// Whether it lies in the page cache, and not on DAX.
    pub fn is_paged(&self) -> bool {
        let header = self.header();
        header.is_some_and(|header| header.paged.load(Ordering::Relaxed) != 0)
    }

    /// Its journal, if states are recorded.
    pub fn journal(&self) -> Option<&'static Journal> {
        // SAFETY: null, or a mapping of a whole journal that is never unmapped.
        unsafe { self.journal.load(Ordering::Acquire).as_ref() }
    }

    /// Who stores to its pages, and the pages' numbers, if that is asked.
    pub fn blame(&self) -> Option<(&'static Table, &'static Pages)> {
        let table = self.blame.load(Ordering::Acquire);
        let pages = self.blamed.load(Ordering::Relaxed);
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
        // First: a header that is seen after it has as many.
        let known = self.length.load(Ordering::Acquire);
        let header = self.header.load(Ordering::Acquire);
        let end = offset.checked_add(length)?;
        let inside = !header.is_null() && end <= known;
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
pub struct Stretch {
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
    /// The program's own protection, if pages may be write-protected without its knowledge.
    pub own_protection: Option<usize>,
}

impl Stretch {
    /// What of a region lies in `[start, end)`, if its file is watched.
    pub fn of(region: Region, start: usize, end: usize) -> Option<Stretch> {
        let attributes = Attributes::of(region);
        let shadow = SHADOWS.get(attributes.watched()?)?;
        let from = region.start.max(start);
        let to = region.end.min(region.data_end).min(end);
        Some(Stretch {
            shadow,
            address: from,
            offset: from.wrapping_sub(region.origin),
            length: to.saturating_sub(from),
            kind: attributes.kind(),
            map_sync: attributes.is_map_sync(),
            own_protection: attributes.own_protection(),
        })
        .filter(|stretch| stretch.length > 0)
    }

    /// What of it lies in `start..end` of the file.
    pub fn clip(self, start: usize, end: usize) -> Option<Stretch> {
        let (from, to) = (self.offset.max(start), self.end().min(end));
        (from < to).then(|| Stretch {
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

impl Stretch {
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
        let mut look = |stretch: Stretch| {
            let held = stretch.is_shared() && ptr::eq(stretch.shadow, self.shadow);
            if let Some(stretch) = stretch.clip(cursor, self.end()).filter(|_| held) {
                let range = (stretch.offset, stretch.end());
                first = Some(first.map_or(range, |first: (usize, usize)| first.min(range)));
            }
        };
        each_stretch(0, start, &mut look);
        each_stretch(end, usize::MAX, &mut look);
        first
    }

    /// Whether it is stored to through this mapping, and the file gets that.
    pub fn is_stored_to(&self) -> bool {
        !matches!(self.kind, Kind::Private | Kind::ReadOnly | Kind::Suspended)
    }

    /// Whether lines of it that are dirty are meant to become durable.
    pub fn is_meant(&self) -> bool {
        self.is_stored_to() && self.shadow.header().is_some_and(Header::is_meant)
    }
}

/// Calls `look` for each stretch of `[start, end)` that belongs to a watched file, in order of addresses.
/// While it runs, the stretch stays mapped. Whether all of the range could be looked at; where not, that is
/// counted.
pub fn each_stretch(start: usize, end: usize, look: impl FnMut(Stretch)) -> bool {
    let whole = each_part_in(start, end, look).is_some();
    if !whole {
        super::log::unlooked();
    }
    whole
}

/// `None`: not all could be looked at.
fn each_part_in(start: usize, end: usize, mut look: impl FnMut(Stretch)) -> Option<()> {
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
        if let Some(stretch) = Stretch::of(region, start.max(cursor), end) {
            look(stretch);
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

/// Bytes that are read at once: they and their digests are what a CPU keeps in its own cache.
const CHUNK: usize = 256 << 10;

/// As [`each_chunk_of`], from the beginning.
pub fn each_chunk(
    fd: i32,
    size: usize,
    take: impl FnMut(usize, &[Digest]) -> Result<(), Errno>,
) -> Result<(), Errno> {
    each_chunk_of(fd, 0, size, take)
}

/// Calls `take` with the digests of a file's bytes from `start`, which is that of a line, to `size`, in pieces, and
/// the offset of each.
/// The kernel copies them out of a mapping of our own: nothing can fault, and nobody who watches the file
/// is told of a read(2).
pub fn each_chunk_of(
    fd: i32,
    start: usize,
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
    (start..size).step_by(CHUNK).try_for_each(|offset| {
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

/// Yields until something is so; `None` if it does not become so.
pub fn wait(mut is_so: impl FnMut() -> bool) -> Option<()> {
    for _ in 0..TRIES {
        if is_so() {
            return Some(());
        }
        yield_now();
    }
    None
}
