//! mmap(2), munmap(2), mremap(2), mprotect(2), madvise(2): where tagged files are mapped.
//!
//! Whatever may take pages away first suspends what is recorded there; what is left of it after the
//! call is then put right. A call that fails in between leaves the range to the kernel.

use super::write::is_open_for_writing;
use crate::check;
use crate::descriptors::{self, Look};
use crate::eadr;
use crate::enforce::{Earlier, enforce};
use crate::files;
use crate::mappings::{
    self, Attributes, forget, forget_taken, give_back, page_end, resume, set_inherited, suspend,
    take_away,
};
use crate::memory::{PAGE, read_value, vector_error};
use crate::modules;
use crate::process::{self, config, event};
use crate::real::{Errno, sys};
use crate::subject::{self, Place, Tag};
use crate::trampoline::{Call, Step};
use daxshim_core::check::Code;
use daxshim_core::contract::{Effect, Operation, Subject};
use daxshim_core::line::Line;
use daxshim_core::regions::Region;
use daxshim_core::report::{Event, Kind};
use libc::{
    MAP_ANONYMOUS, MAP_FAILED, MAP_FIXED, MAP_SHARED, MAP_SHARED_VALIDATE, MAP_SYNC, MAP_TYPE,
    MREMAP_DONTUNMAP, MREMAP_FIXED, MREMAP_MAYMOVE, PROT_EXEC, PROT_READ, PROT_WRITE,
};

/// Bytes of a huge page.
const HUGE: usize = 2 << 20;

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

/// Linux 6.13, asm-generic/mman-common.h.
const MADV_GUARD_INSTALL: i32 = 102;

/// Linux 5.14, asm-generic/mman-common.h.
const MADV_POPULATE_WRITE: i32 = 23;

/// mmap(2).
pub extern "C" fn mmap(call: &mut Call) -> Step {
    let [address, length, _, flags, fd, _] = call.args;
    let (flags, fd) = (flags as i32, fd as i32);
    let shared = matches!(flags & MAP_TYPE, MAP_SHARED | MAP_SHARED_VALIDATE);
    if shared && flags & MAP_ANONYMOUS == 0 && !descriptors::is_untagged(fd) {
        let look = Look::begin(fd);
        if let Some(tag) = subject::tag_of_descriptor(fd) {
            return map_tagged(call, fd, &tag, look);
        }
    }
    if check::on()
        && flags & MAP_ANONYMOUS == 0
        && let Some(kind) = watched_kind(call, fd, shared)
    {
        if flags & MAP_FIXED != 0 {
            replace(address, length);
        }
        call.note = kind as usize;
        return call.then(after_tagged);
    }
    if mappings::is_empty() && !modules::is_code(call) {
        return Step::PASS;
    }
    if flags & MAP_FIXED != 0 {
        replace(address, length);
    }
    call.then(after_untagged)
}

/// What only `DAXSHIM_CHECK` wants to know of: untagged files on DAX, private mappings of tagged ones.
fn watched_kind(call: &Call, fd: i32, shared: bool) -> Option<Kind> {
    let [_, _, protection, ..] = call.args;
    if shared {
        return check::kind_of_untagged(fd);
    }
    let writable = protection as i32 & PROT_WRITE != 0;
    (writable && subject::tag_of_descriptor(fd).is_some()).then_some(Kind::Private)
}

/// A mapping is about to be put over whatever is there.
fn replace(address: usize, length: usize) {
    check::unmapping(address, page_end(address, length), Code::MappedOver);
    check::blame::release(address, length);
    if mappings::first_in(address, length).is_some() {
        suspend(address, length);
    }
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
    let [address, length, protection, flags, ..] = call.args;
    let (protection, flags) = (protection as i32, flags as i32);
    if flags & MAP_FIXED != 0 {
        replace(address, length);
    }
    let kind = if protection & PROT_WRITE == 0 {
        Kind::ReadOnly
    } else if config().force_pmem == Some(false) {
        Kind::Denied
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
                let file = Mapped {
                    device: tag.file.device,
                    inode: tag.record.inode,
                    size: tag.record.size,
                    generation: tag.file.generation,
                };
                let index = record(call, start, Kind::Sync, Some(file));
                if index != files::Index::SHARED {
                    look.found_mapped(index);
                    index.file().set_descriptor(fd);
                }
                return Step::answer(start as isize);
            }
            // Whatever else is wrong, the call itself will be told.
            Err(_) if config().force_pmem == Some(true) => Kind::Forced,
            Err(_) => Kind::NotGranted,
        }
    };
    call.note = kind as usize;
    call.then(after_tagged)
}

fn map_sync(call: &Call) -> Result<usize, Errno> {
    let [address, length, protection, flags, fd, offset] = call.args;
    let flags = flags as i32;
    let kept = match flags & MAP_TYPE {
        MAP_SHARED => flags & LEGACY_FLAGS,
        _ => flags,
    };
    let upgraded = kept & !MAP_TYPE | MAP_SHARED_VALIDATE | MAP_SYNC;
    // SAFETY: the program's own mmap with another flag; the kernel checks it all.
    unsafe { sys!(SYS_mmap, address, length, protection, upgraded, fd, offset) }
}

extern "C" fn after_tagged(call: &Call, result: isize) -> isize {
    if result != MAP_FAILED as isize {
        let [_, _, _, _, fd, _] = call.args;
        let file = Place::Descriptor(fd as i32).stat().ok().map(|stat| Mapped {
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
struct Mapped {
    device: u64,
    inode: u64,
    size: u64,
    generation: Option<u32>,
}

/// Records a new mapping of a tagged file; the file's place.
fn record(call: &Call, start: usize, kind: Kind, mapped: Option<Mapped>) -> files::Index {
    let [_, length, protection, flags, fd, offset] = call.args;
    let (protection, flags, fd) = (protection as i32, flags as i32, fd as i32);
    // MAP_SHARED_VALIDATE fails where it is not granted.
    let asked_for_sync = flags & MAP_TYPE == MAP_SHARED_VALIDATE && flags & MAP_SYNC != 0;
    let size = mapped.map_or(0, |mapped| mapped.size as usize);
    let data = page_end(0, size).saturating_sub(offset);
    let device = mapped.map_or(0, |mapped| mapped.device);
    let eadr = kind == Kind::Sync && eadr::covers(device);
    let huge = start % HUGE == offset % HUGE;
    let file = match mapped {
        Some(mapped) if !is_watched_only(kind) => files::mapped(mapped.device, mapped.inode),
        _ => files::Index::SHARED,
    };
    if file != files::Index::SHARED {
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
            .bits(),
        origin: start.wrapping_sub(offset),
    });
    check::holding(start, page_end(start, length));
    if config().prefault && kind.is_sync() && protection & PROT_WRITE != 0 {
        // A failure (EINVAL before Linux 5.14) leaves the faults to the stores, as ever.
        // SAFETY: populates a mapping that was just made; changes no data.
        let _ = unsafe { sys!(SYS_madvise, start, length.min(data), MADV_POPULATE_WRITE) };
    }
    if !is_readable(protection as usize) {
        // Written back lines are read lines.
        suspend(start, length);
    }
    check::blame::lend(start, page_end(start, length), protection);
    if let Some(page) = process::page().filter(|_| !is_watched_only(kind)) {
        let name = mapped.map_or(0, |mapped| mapped.inode ^ mapped.device.rotate_left(32));
        page.mapped(name, kind, length as u64, huge, |path| {
            let mut link = Line::<32>::new();
            link.c_str(format_args!("/proc/self/fd/{fd}"))
                .map_or(0, |link| process::link_target(link, path))
        });
    }
    file
}

/// Whether a mapping is none of a tagged file's that could be stored to.
fn is_watched_only(kind: Kind) -> bool {
    matches!(kind, Kind::Untagged | Kind::Private)
}

fn is_tmpfs(fd: i32) -> bool {
    const TMPFS_MAGIC: i64 = 0x0102_1994;
    subject::borrow(fd)
        .and_then(|fd| rustix::fs::fstatfs(fd).ok())
        .is_some_and(|fs| fs.f_type == TMPFS_MAGIC)
}

/// munmap(2).
pub extern "C" fn munmap(call: &mut Call) -> Step {
    let [address, length, ..] = call.args;
    let refused = address % PAGE != 0 || length == 0;
    if refused || mappings::first_in(address, length).is_none() {
        return Step::PASS;
    }
    check::unmapping(address, page_end(address, length), Code::Unmapped);
    check::blame::release(address, length);
    take_away(address, length);
    call.then(after_munmap)
}

extern "C" fn after_munmap(call: &Call, result: isize) -> isize {
    let [address, length, ..] = call.args;
    if result as i32 == 0 {
        forget_taken(address, length);
    }
    result
}

/// mremap(2).
pub extern "C" fn mremap(call: &mut Call) -> Step {
    let [old, old_length, new_length, flags, new, _] = call.args;
    let known = MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP;
    let refused = old % PAGE != 0 || new_length == 0 || flags as i32 & !known != 0;
    if mappings::is_empty() || refused {
        return Step::PASS;
    }
    call.note = 0;
    if mappings::first_in(old, old_length.max(1)).is_some() {
        if new_length < old_length {
            let cut = page_end(old, new_length);
            check::unmapping(cut, page_end(old, old_length), Code::MappedOver);
        }
        call.note = check::blame::release(old, old_length.max(1));
        take_away(old, old_length.max(1));
    }
    if flags as i32 & MREMAP_FIXED != 0 {
        replace(new, new_length);
    }
    call.then(after_mremap)
}

extern "C" fn after_mremap(call: &Call, result: isize) -> isize {
    let [old, old_length, new_length, flags, ..] = call.args;
    if result == MAP_FAILED as isize {
        return result;
    }
    if mappings::first_in(old, old_length.max(1)).is_some() {
        let keep_old = old_length == 0 || flags as i32 & MREMAP_DONTUNMAP != 0;
        mappings::relocate(old, old_length, result as usize, new_length, keep_old);
        if keep_old {
            give_back(old, old_length.max(1));
        }
        let start = result as usize;
        check::holding(start, page_end(start, new_length));
        check::blame::lend(start, page_end(start, new_length), call.note as i32);
    } else {
        forget(result as usize, new_length);
    }
    result
}

/// mprotect(2).
pub extern "C" fn mprotect(call: &mut Call) -> Step {
    let [address, length, protection, ..] = call.args;
    protect(call, address, length, is_readable(protection))
}

/// pkey_mprotect(2): a key other than the default one may deny access at any moment.
pub extern "C" fn pkey_mprotect(call: &mut Call) -> Step {
    let [address, length, protection, key, ..] = call.args;
    let readable = is_readable(protection) && matches!(key as i32, -1 | 0);
    protect(call, address, length, readable)
}

/// Whether loads are allowed: on x86-64 by any protection but PROT_NONE (access_error in
/// arch/x86/mm/fault.c). fio maps with PROT_WRITE alone.
fn is_readable(protection: usize) -> bool {
    protection as i32 & (PROT_READ | PROT_WRITE | PROT_EXEC) != 0
}

fn protect(call: &mut Call, address: usize, length: usize, readable: bool) -> Step {
    if mappings::first_in(address, length).is_none() {
        return Step::PASS;
    }
    check::blame::release(address, length);
    if readable {
        call.then(after_made_readable)
    } else {
        suspend(address, length);
        Step::PASS
    }
}

extern "C" fn after_made_readable(call: &Call, result: isize) -> isize {
    let [address, length, protection, ..] = call.args;
    if result as i32 == 0 {
        resume(address, length);
        check::blame::lend(address, page_end(address, length), protection as i32);
    }
    result
}

/// madvise(2).
pub extern "C" fn madvise(call: &mut Call) -> Step {
    let [address, length, advice, ..] = call.args;
    advise(address, length, advice as i32, || None)
}

/// process_madvise(2), which from Linux 6.13 on takes any advice about the calling process itself;
/// about others it knows none that concerns us. Refused as a whole where a part is.
pub extern "C" fn process_madvise(call: &mut Call) -> Step {
    let [pidfd, vector, count, advice, flags, _] = call.args;
    if mappings::is_empty() || vector_error(vector, count).is_some() {
        return Step::PASS;
    }
    // SAFETY: advises nothing.
    let earlier = || unsafe { sys!(SYS_process_madvise, pidfd, 0, 0, advice, flags) }.err();
    (0..count)
        .map_while(|i| read_value::<[usize; 2]>(vector + i * size_of::<[usize; 2]>()))
        .map(|[address, length]| advise(address, length, advice as i32, earlier))
        .find(|step| !step.is_pass())
        .unwrap_or(Step::PASS)
}

/// One range. `earlier` is what the kernel has against the call as a whole.
fn advise(address: usize, length: usize, advice: i32, earlier: impl Fn() -> Option<Errno>) -> Step {
    if mappings::first_in(address, length).is_none() || !address.is_multiple_of(PAGE) {
        return Step::PASS;
    }
    match advice {
        libc::MADV_REMOVE => enforce(
            Operation::Punch,
            subject_of(address, length),
            || match earlier() {
                None => Earlier::refuses_if(remove_is_refused(address, length)),
                says => Earlier::says(says),
            },
            || Effect::Changes,
        ),
        // A guard page faults whoever touches it.
        MADV_GUARD_INSTALL => {
            suspend(address, length);
            Step::PASS
        }
        libc::MADV_DONTFORK => {
            set_inherited(address, length, false);
            Step::PASS
        }
        libc::MADV_DOFORK => {
            set_inherited(address, length, true);
            Step::PASS
        }
        _ => Step::PASS,
    }
}

/// remap_file_pages(2). What it maps is shared, and not MAP_SYNC (mm/mmap.c).
pub extern "C" fn remap_file_pages(call: &mut Call) -> Step {
    let [address, length, ..] = call.args;
    if mappings::first_in(address, length).is_none() {
        return Step::PASS;
    }
    check::blame::release(address, length);
    take_away(address, length);
    call.then(after_munmap)
}

/// shmat(2). Without SHM_REMAP it takes nobody's place.
pub extern "C" fn shmat(call: &mut Call) -> Step {
    let [id, address, flags, ..] = call.args;
    if mappings::is_empty() || address == 0 || flags as i32 & libc::SHM_REMAP == 0 {
        return Step::PASS;
    }
    // Where the kernel does not say how long the segment is, all above the address may be taken.
    let mut segment = core::mem::MaybeUninit::<libc::shmid_ds>::zeroed();
    // SAFETY: the kernel fills in a structure of ours.
    let asked = unsafe { sys!(SYS_shmctl, id, libc::IPC_STAT, segment.as_mut_ptr()) };
    // SAFETY: zeroed, and made of integers.
    let segment = unsafe { segment.assume_init() };
    let start = address & !(PAGE - 1);
    let length = asked.map_or(usize::MAX - start, |_| segment.shm_segsz);
    call.note = length;
    replace(start, length);
    call.then(after_shmat)
}

extern "C" fn after_shmat(call: &Call, result: isize) -> isize {
    if result != -1 {
        forget(result as usize, call.note);
    }
    result
}

fn subject_of(address: usize, length: usize) -> Subject {
    let kind = mappings::first_in(address, length).map(|region| Attributes::of(region).kind());
    match kind {
        Some(kind) if is_watched_only(kind) => Subject::Untagged,
        _ => Subject::Tagged,
    }
}

/// Whether the kernel has nothing to do, finds the range too long, or the file open for reading
/// only.
fn remove_is_refused(address: usize, length: usize) -> bool {
    let too_long = address
        .checked_add(length)
        .is_none_or(|end| end > usize::MAX - PAGE);
    let read_only = mappings::first_in(address, length)
        .is_some_and(|region| !Attributes::of(region).is_file_writable());
    length == 0 || too_long || read_only
}
