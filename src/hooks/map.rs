//! mmap(2), munmap(2), mremap(2), mprotect(2), madvise(2): where tagged files are mapped.
//!
//! A call that may unmap, move or protect pages is carried out here, not by the function that the symbol led to before:
//! while it lasts nobody can look up what is recorded of its range ([`during`]), and its outcome is recorded before
//! anybody can again. Tagged files are mapped here, too.

pub use super::advise::{madvise, process_madvise};
use super::change::is_readable;
pub use super::change::{mprotect, mremap, munmap, pkey_mprotect, remap_file_pages, shmat};
use super::range::{Range, answer, is_no_place, is_watched_only, kernel, replace};
use super::write::is_open_for_writing;
use crate::check;
use crate::entry::modules;
use crate::entry::slot::{Call, Step};
use crate::ground::descriptors::{self, Look};
use crate::ground::files;
use crate::ground::memory::{HUGE, PAGE};
use crate::ground::page::{self, event};
use crate::ground::place::{Place, borrow, is_still};
use crate::ground::process::config;
use crate::ground::real::{Errno, sys};
use crate::mappings::eadr;
use crate::mappings::{self, Attributes, Reasons, forget, page_end};
use crate::tag::subject::{self, Tag};
use daxshim_core::contract::Mode;
use daxshim_core::line::Line;
use daxshim_core::regions::Region;
use daxshim_core::report::{Event, Kind, ticks};
use libc::{
    MAP_ANONYMOUS, MAP_FAILED, MAP_FIXED, MAP_SHARED, MAP_SHARED_VALIDATE, MAP_SYNC, MAP_TYPE,
    PROT_WRITE,
};

/// What MAP_SHARED ignores and MAP_SHARED_VALIDATE refuses is left out of an upgraded call
/// (LEGACY_MAP_MASK of the kernel's linux/mman.h).
const LEGACY_FLAGS: i32 = libc::MAP_TYPE
    | MAP_FIXED
    | MAP_ANONYMOUS
    | libc::MAP_DENYWRITE
    | libc::MAP_EXECUTABLE
    | libc::MAP_GROWSDOWN
    | libc::MAP_LOCKED
    | libc::MAP_NORESERVE
    | libc::MAP_POPULATE
    | libc::MAP_NONBLOCK
    | libc::MAP_STACK
    | libc::MAP_HUGETLB
    | libc::MAP_32BIT;

/// Linux 5.14, asm-generic/mman-common.h.
const MADV_POPULATE_WRITE: i32 = 23;

/// mmap(2).
pub extern "C" fn mmap(call: &mut Call) -> Step {
    let [_, _, _, flags, fd, _] = call.args;
    let (flags, fd) = (flags as i32, fd as i32);
    let shared = matches!(flags & MAP_TYPE, MAP_SHARED | MAP_SHARED_VALIDATE);
    if shared && flags & MAP_ANONYMOUS == 0 && !descriptors::is_untagged(fd) {
        let look = Look::begin(fd);
        if let Some(file) = found_before(call, fd)
            && let Ok(start) = map_sync(call)
        {
            mapped_sync(call, start, file, look);
            return Step::answer(start as isize);
        }
        if let Some(tag) = subject::tag_of_descriptor(fd) {
            return map_tagged(call, fd, &tag, look);
        }
    }
    if check::on()
        && flags & MAP_ANONYMOUS == 0
        && let Some(kind) = watched_kind(call, fd, shared)
    {
        return map_as(call, kind);
    }
    if mappings::is_empty() && !modules::is_code(call) {
        return Step::PASS;
    }
    match fixed_over(call) {
        Some(range) => answer(replace(range, || kernel(call))),
        None => call.then(after_untagged),
    }
}

/// The range that a mapping will be put over, if something is recorded there. Of what the kernel refuses
/// before it looks at what is there (ksys_mmap_pgoff in mm/mmap.c), nothing.
fn fixed_over(call: &Call) -> Option<Range> {
    let [address, length, _, flags, _, offset] = call.args;
    let refused = offset % PAGE != 0 || is_no_place(address, length);
    let concerned =
        flags as i32 & MAP_FIXED != 0 && !refused && mappings::concerns(address, length);
    concerned.then(|| (address, page_end(address, length)))
}

/// What only `DAXSHIM_CHECK` wants to know of: untagged files on DAX, or that it was asked to watch, and private
/// mappings of tagged ones.
fn watched_kind(call: &Call, fd: i32, shared: bool) -> Option<Kind> {
    let [_, _, protection, ..] = call.args;
    let writable = protection as i32 & PROT_WRITE != 0;
    if shared {
        return check::kind_of_untagged(fd, writable);
    }
    (writable && subject::is_tagged(fd)).then_some(Kind::Private)
}

extern "C" fn after_untagged(call: &Call, result: isize) -> isize {
    let [_, length, ..] = call.args;
    if result != MAP_FAILED as isize {
        forget(result as usize, length);
        if modules::is_code(call) {
            modules::mapped(call, result as usize);
        }
    }
    result
}

fn map_tagged(call: &mut Call, fd: i32, tag: &Tag, look: Look) -> Step {
    modules::before_first_mapping();
    let [_, _, protection, ..] = call.args;
    let kind = if protection as i32 & PROT_WRITE == 0 {
        Kind::ReadOnly
    } else if config().force_pmem == Some(false) {
        Kind::Denied
    } else if tag.record.clearing {
        Kind::NotGranted
    } else if !subject::extents_match(fd, tag) {
        event(Event::BrokenTag);
        Kind::Broken
    } else if tag.emulated && is_tmpfs(fd) {
        Kind::Emulated
    } else if tag.emulated {
        Kind::NotTmpfs
    } else {
        match map_sync(call) {
            Ok(start) => {
                let file = MappedFile {
                    device: tag.file.device,
                    inode: tag.record.inode,
                    size: tag.record.size,
                    generation: tag.file.generation,
                };
                let index = mapped_sync(call, start, file, look);
                if index != files::Index::SHARED {
                    index.file().set_found(file.size, ticks());
                }
                return Step::answer(start as isize);
            }
            // Any other error will be the call's own.
            Err(_) if config().force_pmem == Some(true) => Kind::Forced,
            Err(_) => Kind::NotGranted,
        }
    };
    map_as(call, kind)
}

/// What is known of a file that is to be mapped for writing, if a mapping was made from the same descriptor a moment ago:
/// the look at the tag and its extents then holds for this one. Of extents it says nothing after it has ended in any
/// case: what moves them later meets mappings as they are, each of whose first stores to a page then has the kernel
/// look the block up anew, and commit what it must: XFS writes back and unmaps what it exchanges (xfs_exchrange_prep in
/// fs/xfs/xfs_exchrange.c), ext4 refuses it for DAX files (EOPNOTSUPP, 6.1 and 6.12). Proven is that the descriptor is still the
/// file's, as for [`by_range`](crate::sync); and the kernel is asked for MAP_SYNC each time.
fn found_before(call: &Call, fd: i32) -> Option<MappedFile> {
    let [_, _, protection, ..] = call.args;
    let config = config();
    let looks = check::on()
        || config.policy.mode != Mode::Enforce
        || config.force_pmem.is_some()
        || protection as i32 & PROT_WRITE == 0;
    if looks {
        return None;
    }
    let known = descriptors::mapped(fd)?;
    let (size, generation) = known.file.file().found(ticks())?;
    let (device, inode) = known.file.file().identity();
    is_still(fd, known, Some(generation)).then_some(MappedFile {
        device,
        inode,
        size,
        generation: Some(generation),
    })
}

/// Records a mapping that was granted MAP_SYNC; the file's place.
fn mapped_sync(call: &Call, start: usize, mapped: MappedFile, look: Look) -> files::Index {
    let [_, _, _, _, fd, _] = call.args;
    let index = record(call, start, Kind::Sync, Some(mapped));
    if index != files::Index::SHARED {
        look.found_mapped(index);
        index.file().set_descriptor(fd as i32);
    }
    index
}

/// Maps as the program has asked, and records the mapping.
fn map_as(call: &mut Call, kind: Kind) -> Step {
    call.note = kind as usize;
    let Some(range) = fixed_over(call) else {
        return call.then(after_tagged);
    };
    let result = replace(range, || kernel(call));
    if let Ok(start) = result {
        after_tagged(call, start as isize);
    }
    answer(result)
}

/// With MAP_SYNC, or not at all; on any error the call itself is made next. Where a mapping is to be put over another one, the kernel unmaps that
/// before it refuses MAP_SYNC, and what another thread then maps in the hole would be lost to the call
/// after it: so there a page is mapped elsewhere first, to see.
fn map_sync(call: &Call) -> Result<usize, Errno> {
    let [address, length, protection, flags, fd, offset] = call.args;
    let flags = flags as i32;
    let kept = match flags & MAP_TYPE {
        MAP_SHARED => flags & LEGACY_FLAGS,
        _ => flags,
    };
    let upgraded = kept & !MAP_TYPE | MAP_SHARED_VALIDATE | MAP_SYNC;
    let map = |address: usize, length: usize, flags: i32| {
        // SAFETY: the program's own mmap with another flag; the kernel checks it all.
        unsafe { sys!(SYS_mmap, address, length, protection, flags, fd, offset) }
    };
    let is_new = flags & libc::MAP_FIXED_NOREPLACE != 0;
    if flags & MAP_FIXED == 0 && !is_new {
        return map(address, length, upgraded);
    }
    // SAFETY: of what was mapped just before, and nobody else knows of.
    let unmap = |start: usize, length: usize| unsafe { sys!(SYS_munmap, start, length) };
    let page = map(0, PAGE, MAP_SHARED_VALIDATE | MAP_SYNC)?;
    let _ = unmap(page, PAGE);
    if is_new {
        // It does not go with MAP_SYNC (do_mmap in mm/mmap.c): the place is taken first, and then mapped over.
        let flags = libc::MAP_PRIVATE | MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE;
        // SAFETY: a new mapping where there is none.
        let taken = unsafe {
            sys!(
                SYS_mmap,
                address,
                length,
                libc::PROT_NONE,
                flags,
                -1_isize,
                0
            )
        }?;
        if taken != address {
            // This kernel takes the address for a hint.
            let _ = unmap(taken, length);
            return Err(libc::EOPNOTSUPP);
        }
        let mapped = map(address, length, upgraded | MAP_FIXED);
        if mapped.is_err() {
            let _ = unmap(address, length);
        }
        return mapped;
    }
    let fixed = || match map(address, length, upgraded) {
        // Not granted after all. The range is empty by now, or another thread's.
        Err(libc::EOPNOTSUPP) => map(
            address,
            length,
            kept & !MAP_FIXED | libc::MAP_FIXED_NOREPLACE,
        ),
        other => other,
    };
    match fixed_over(call) {
        Some(range) => replace(range, fixed),
        None => fixed(),
    }
}

extern "C" fn after_tagged(call: &Call, result: isize) -> isize {
    if result != MAP_FAILED as isize {
        let [_, _, _, _, fd, _] = call.args;
        let file = Place::Descriptor(fd as i32)
            .stat()
            .ok()
            .map(|stat| MappedFile {
                device: stat.st_dev,
                inode: stat.st_ino,
                size: stat.st_size as u64,
                generation: None,
            });
        record(call, result as usize, Kind::from_u8(call.note as u8), file);
    }
    result
}

/// What is known of a file that was mapped.
#[derive(Clone, Copy)]
struct MappedFile {
    device: u64,
    inode: u64,
    size: u64,
    generation: Option<u32>,
}

/// Records a new mapping of a tagged file; the file's place.
fn record(call: &Call, start: usize, kind: Kind, mapped: Option<MappedFile>) -> files::Index {
    let [_, length, protection, flags, fd, offset] = call.args;
    let (protection, flags, fd) = (protection as i32, flags as i32, fd as i32);
    // MAP_SHARED_VALIDATE fails where it is not granted.
    let asked_for_sync = flags & MAP_TYPE == MAP_SHARED_VALIDATE && flags & MAP_SYNC != 0;
    let size = mapped.map_or(0, |mapped| mapped.size as usize);
    let data = match kind {
        // It may grow.
        Kind::Untagged => page_end(0, length),
        _ => page_end(0, size).saturating_sub(offset),
    };
    let device = mapped.map_or(0, |mapped| mapped.device);
    let eadr = kind == Kind::Sync && eadr::covers(device);
    let huge = start % HUGE == offset % HUGE;
    let file = match mapped {
        Some(mapped) if !is_watched_only(kind) => files::mapped(mapped.device, mapped.inode),
        _ => files::Index::SHARED,
    };
    // Of another mapping of the file nothing is learnt that a sync mapping could use.
    if file != files::Index::SHARED && kind.is_sync() {
        file.file()
            .set_generation(mapped.and_then(|mapped| mapped.generation));
        if offset == 0 && length >= size {
            file.file().set_whole(start);
        }
    }
    // Only of a file that is open for writing does the kernel make a writable shared mapping.
    let shared = matches!(flags & MAP_TYPE, MAP_SHARED | MAP_SHARED_VALIDATE);
    let file_writable = shared && protection & PROT_WRITE != 0 || is_open_for_writing(fd);
    let shadow = check::on()
        .then(|| Place::Descriptor(fd).stat().ok())
        .flatten()
        .and_then(|stat| {
            check::mapped(fd, &stat, kind, start, length, offset);
            check::watch(fd, &stat, kind)
        });
    mappings::insert(Region {
        start,
        end: page_end(start, length),
        data_end: start.saturating_add(data),
        attributes: Attributes::new(kind, eadr, file_writable, huge, file)
            .watched_by(shadow)
            .asked_for_sync(asked_for_sync)
            .suspended_for(Reasons::UNREADABLE.only_if(!is_readable(protection)))
            .bits(),
        origin: start.wrapping_sub(offset),
    });
    check::holding(start, page_end(start, length));
    if config().prefault && kind.is_sync() && protection & PROT_WRITE != 0 {
        // A failure (EINVAL before Linux 5.14) leaves the faults to the stores, as ever.
        // SAFETY: populates a mapping that was just made; changes no data.
        let _ = unsafe { sys!(SYS_madvise, start, length.min(data), MADV_POPULATE_WRITE) };
    }
    check::blame::write_protect(start, page_end(start, length), protection);
    if let Some(page) = page::page().filter(|_| !is_watched_only(kind)) {
        let name = mapped.map_or(0, |mapped| mapped.inode ^ mapped.device.rotate_left(32));
        page.mapped(name, kind, length as u64, huge, |path| {
            let mut link = Line::<32>::new();
            link.descriptor(fd, "")
                .map_or(0, |link| page::link_target(link, path))
        });
    }
    file
}

fn is_tmpfs(fd: i32) -> bool {
    const TMPFS_MAGIC: i64 = 0x0102_1994;
    borrow(fd)
        .and_then(|fd| rustix::fs::fstatfs(fd).ok())
        .is_some_and(|fs| fs.f_type == TMPFS_MAGIC)
}
