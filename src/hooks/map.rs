//! mmap(2), munmap(2), mremap(2), mprotect(2), madvise(2): where tagged files are mapped.
//!
//! Whatever may take pages away, move or protect them is carried out while nobody can look up what is
//! recorded there ([`during`]), and what came of it is recorded before anybody can again. Such calls are
//! made here, not by the function that the symbol led to before: so are mappings of tagged files.

use super::write::is_open_for_writing;
use crate::check;
use crate::entry::modules;
use crate::entry::slot::{Call, Step};
use crate::ground::descriptors::{self, Look};
use crate::ground::files;
use crate::ground::memory::{PAGE, on_own_stack, read_value, vector_error};
use crate::ground::page::{self, event};
use crate::ground::place::{Place, borrow};
use crate::ground::process::config;
use crate::ground::real::{Errno, SignalsBlocked, is_sealed, sys, syscall_of_program};
use crate::mappings::eadr;
use crate::mappings::{
    self, Attributes, Reasons, during, forget, forget_in, page_end, set_inherited, suspend,
    suspend_in,
};
use crate::tag::enforce::{Earlier, enforce};
use crate::tag::listed::subject_in;
use crate::tag::subject::{self, Tag};
use core::ffi::c_long;
use daxshim_core::check::Code;
use daxshim_core::contract::{Effect, Operation, Subject};
use daxshim_core::line::Line;
use daxshim_core::regions::{Full, Region, Writing};
use daxshim_core::report::{Event, Kind};
use libc::{
    MAP_ANONYMOUS, MAP_FAILED, MAP_FIXED, MAP_SHARED, MAP_SHARED_VALIDATE, MAP_SYNC, MAP_TYPE,
    MREMAP_DONTUNMAP, MREMAP_FIXED, MREMAP_MAYMOVE, PROT_READ, PROT_WRITE,
};

/// First address, and the first behind it.
type Range = (usize, usize);

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

/// Linux 6.13, asm-generic/mman-common.h.
const MADV_GUARD_REMOVE: i32 = 103;

/// mmap(2).
pub extern "C" fn mmap(call: &mut Call) -> Step {
    let [_, _, _, flags, fd, _] = call.args;
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

/// Whether the kernel has nothing to do for a range, or refuses it before it looks at what is mapped there.
fn is_no_range(address: usize, length: usize) -> bool {
    !address.is_multiple_of(PAGE) || length == 0 || address.checked_add(length).is_none()
}

/// The same of calls that look first whether the range ends where addresses do.
fn is_no_place(address: usize, length: usize) -> bool {
    // TASK_SIZE_MAX with five levels of page tables (arch/x86/include/asm/page_64.h).
    const LAST: usize = 1 << 56;
    is_no_range(address, length) || address + length > LAST
}

/// What the program has called, made here.
fn kernel(call: &Call) -> Result<usize, Errno> {
    // SAFETY: the program's own call; the kernel checks it all.
    unsafe { syscall_of_program(call.number() as c_long, call.args) }
}

fn answer(result: Result<usize, Errno>) -> Step {
    match result {
        Ok(value) => Step::answer(value as isize),
        Err(errno) => Step::fail(errno),
    }
}

/// A mapping is put over whatever is there.
fn replace(
    (start, end): Range,
    map: impl FnOnce() -> Result<usize, Errno>,
) -> Result<usize, Errno> {
    check::unmapping(start, end, Code::MappedOver);
    check::blame::release(start, end - start);
    during((start, end), map, |regions, result| match result {
        Ok(_) => forget_in(regions, start, end),
        Err(_) => forget_unmapped(regions, start, end),
    })
}

/// Forgets what of a range is not mapped any more, in a change: what failed may have been the new mapping,
/// whose place is empty by then.
fn forget_unmapped(regions: &Writing<'_>, start: usize, end: usize) -> Result<(), Full> {
    regions.rewrite(start, end, |region| {
        is_mapped(region.start, region.end - region.start).then_some(region)
    })
}

/// Whether all of a range is mapped.
fn is_mapped(start: usize, length: usize) -> bool {
    // SAFETY: syncs nothing; it tells whether there is a hole (mm/msync.c).
    unsafe { sys!(SYS_msync, start, length, libc::MS_ASYNC) }.is_ok()
}

/// What only `DAXSHIM_CHECK` wants to know of: untagged files on DAX, private mappings of tagged ones.
fn watched_kind(call: &Call, fd: i32, shared: bool) -> Option<Kind> {
    let [_, _, protection, ..] = call.args;
    if shared {
        return check::kind_of_untagged(fd);
    }
    let writable = protection as i32 & PROT_WRITE != 0;
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
    map_as(call, kind)
}

/// Maps as the program called, and records it.
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
            // A kernel that takes it for a wish.
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
        // Not after all. The range is empty, or somebody else's.
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
    check::blame::lend(start, page_end(start, length), protection);
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

/// Whether a mapping is none of a tagged file's that could be stored to.
fn is_watched_only(kind: Kind) -> bool {
    matches!(kind, Kind::Untagged | Kind::Private)
}

fn is_tmpfs(fd: i32) -> bool {
    const TMPFS_MAGIC: i64 = 0x0102_1994;
    borrow(fd)
        .and_then(|fd| rustix::fs::fstatfs(fd).ok())
        .is_some_and(|fs| fs.f_type == TMPFS_MAGIC)
}

/// munmap(2). What it fails for, it fails for before anything is unmapped.
pub extern "C" fn munmap(call: &mut Call) -> Step {
    let [address, length, ..] = call.args;
    if is_no_place(address, length) || !mappings::concerns(address, length) {
        return Step::PASS;
    }
    let (start, end) = (address, page_end(address, length));
    check::unmapping(start, end, Code::Unmapped);
    let lent = check::blame::release(start, length);
    let result = during(
        (start, end),
        || kernel(call),
        |regions, result| match result {
            Ok(_) => forget_in(regions, start, end),
            Err(_) => Ok(()),
        },
    );
    if result.is_err() {
        check::blame::lend(start, end, lent as i32);
    }
    answer(result)
}

/// mremap(2).
pub extern "C" fn mremap(call: &mut Call) -> Step {
    let [old, old_length, new_length, flags, new, _] = call.args;
    let flags = flags as i32;
    let known = MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP;
    let is_fixed = flags & MREMAP_FIXED != 0;
    // Without these flags the function has no such argument.
    if flags & (MREMAP_FIXED | MREMAP_DONTUNMAP) == 0 {
        let [_, _, _, _, new, _] = &mut call.args;
        *new = 0;
    }
    let refused = old % PAGE != 0
        || new_length == 0
        || flags & !known != 0
        || is_fixed && (is_no_place(new, new_length) || flags & MREMAP_MAYMOVE == 0);
    if mappings::is_empty() || refused {
        return Step::PASS;
    }
    // A mapping of length 0 is the request for a second mapping of the same pages.
    let from = (old, page_end(old, old_length.max(1)));
    let to = (new, page_end(new, new_length));
    let moves = mappings::concerns(old, old_length.max(1));
    let replaces = is_fixed && mappings::concerns(new, new_length);
    if !moves && !replaces {
        return call.then(after_untagged_mremap);
    }
    if moves && new_length < old_length {
        check::unmapping(page_end(old, new_length), from.1, Code::MappedOver);
    }
    let lent = check::blame::release(old, old_length.max(1));
    if replaces {
        check::unmapping(to.0, to.1, Code::MappedOver);
        check::blame::release(new, new_length);
    }
    let keeps_old = old_length == 0 || flags & MREMAP_DONTUNMAP != 0;
    let is_there = || is_mapped(old, PAGE);
    let was_there = is_fixed && is_there();
    let settle = |regions: &Writing<'_>, result: &Result<usize, Errno>| match *result {
        Ok(at) => mappings::relocate_in(regions, from, (at, page_end(at, new_length)), keeps_old),
        // Of several mappings, the first may have been moved (remap_move in mm/mremap.c, from Linux 6.17 on).
        Err(_) if was_there && !is_there() => {
            regions.lose();
            forget_in(regions, to.0, to.1).and(forget_unmapped(regions, from.0, from.1))
        }
        // It may have unmapped already what was to make room (mremap_to in mm/mremap.c), and what
        // was too much.
        Err(_) if is_fixed => {
            let rest = page_end(old, new_length).min(from.1);
            forget_unmapped(regions, to.0, to.1).and(forget_unmapped(regions, rest, from.1))
        }
        Err(_) => Ok(()),
    };
    let result = match replaces {
        // Both ranges, and what is between them.
        true => during(
            (from.0.min(to.0), from.1.max(to.1)),
            || kernel(call),
            settle,
        ),
        false => during(from, || kernel(call), settle),
    };
    match result {
        Ok(start) => {
            check::holding(start, page_end(start, new_length));
            check::blame::lend(start, page_end(start, new_length), lent as i32);
        }
        Err(_) => check::blame::lend(from.0, from.1, lent as i32),
    }
    answer(result)
}

extern "C" fn after_untagged_mremap(call: &Call, result: isize) -> isize {
    let [_, _, new_length, ..] = call.args;
    if result != MAP_FAILED as isize {
        forget(result as usize, new_length);
    }
    result
}

/// What mprotect(2) changes of the reasons to keep flushes off: an own key stays (mm/mprotect.c).
const PROTECTION: Reasons = Reasons::UNREADABLE;

/// mprotect(2).
pub extern "C" fn mprotect(call: &mut Call) -> Step {
    protect(call, PROTECTION, Reasons::NONE)
}

/// pkey_mprotect(2): a key other than the default one may deny access at any moment; -1 keeps what is
/// there.
pub extern "C" fn pkey_mprotect(call: &mut Call) -> Step {
    let [_, _, _, key, ..] = call.args;
    match key as i32 {
        -1 => protect(call, PROTECTION, Reasons::NONE),
        key => protect(
            call,
            PROTECTION.and(Reasons::KEY),
            Reasons::KEY.only_if(key != 0),
        ),
    }
}

/// Whether loads are allowed on every x86-64: by PROT_WRITE too (access_error in arch/x86/mm/fault.c; fio
/// maps with that alone), but where the CPU has protection keys not by PROT_EXEC alone
/// (__execute_only_pkey in arch/x86/mm/pkeys.c).
fn is_readable(protection: i32) -> bool {
    protection & (PROT_READ | PROT_WRITE) != 0
}

/// Of `reasons`, `key` holds afterwards, and what the protection says.
fn protect(call: &mut Call, reasons: Reasons, key: Reasons) -> Step {
    let [address, length, protection, ..] = call.args;
    let protection = protection as i32;
    if is_no_range(address, length) || !mappings::concerns(address, length) {
        return Step::PASS;
    }
    let now = key.and(Reasons::UNREADABLE.only_if(!is_readable(protection)));
    let range = (address, page_end(address, length));
    let lent = check::blame::release(address, length);
    // From readable to readable.
    if now == Reasons::NONE && !mappings::is_suspended(address, length, reasons) {
        return call.then(after_made_readable);
    }
    let result = during(
        range,
        || kernel(call),
        |regions, result| match result {
            Ok(_) => suspend_in(regions, range, reasons, now),
            // Nothing was changed.
            Err(libc::EINVAL) => Ok(()),
            // Of several mappings, the first may have been.
            Err(_) => suspend_in(regions, range, Reasons::NONE, now),
        },
    );
    match result {
        Ok(_) => check::blame::lend(range.0, range.1, protection),
        Err(_) => check::blame::lend(range.0, range.1, lent as i32),
    }
    answer(result)
}

extern "C" fn after_made_readable(call: &Call, result: isize) -> isize {
    let [address, length, protection, ..] = call.args;
    if result as i32 == 0 {
        check::blame::lend(address, page_end(address, length), protection as i32);
    }
    result
}

/// madvise(2).
pub extern "C" fn madvise(call: &mut Call) -> Step {
    let [address, length, advice, ..] = call.args;
    let range = (address, page_end(address, length));
    match advice as i32 {
        MADV_GUARD_INSTALL | MADV_GUARD_REMOVE
            if !is_no_range(address, length) && mappings::concerns(address, length) =>
        {
            let installs = advice as i32 == MADV_GUARD_INSTALL;
            let now = Reasons::GUARD.only_if(installs);
            answer(during(
                range,
                || kernel(call),
                |regions, result| match result {
                    Ok(_) => suspend_in(regions, range, Reasons::GUARD, now),
                    Err(libc::EINVAL) if !knows_guards(address) => Ok(()),
                    // Of several mappings, the first may have been guarded.
                    Err(_) => suspend_in(regions, range, Reasons::NONE, now),
                },
            ))
        }
        advice => advise(address, length, advice, || None),
    }
}

/// Whether the kernel knows of guard pages.
fn knows_guards(address: usize) -> bool {
    // SAFETY: advises nothing.
    unsafe { sys!(SYS_madvise, address & !(PAGE - 1), 0, MADV_GUARD_INSTALL) }.is_ok()
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
    let may_remove = advice == libc::MADV_REMOVE && !mappings::is_complete();
    if is_no_range(address, length) || !(may_remove || mappings::concerns(address, length)) {
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
        // A guard page faults whoever touches it, whatever the protection.
        MADV_GUARD_INSTALL => {
            if earlier().is_none() {
                suspend(address, length, Reasons::GUARD);
            }
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
    if !mappings::concerns(address, length) {
        return Step::PASS;
    }
    // The kernel rounds both down (mm/mmap.c).
    let range = (address & !(PAGE - 1), page_end(address, length));
    answer(replace(range, || kernel(call)))
}

/// shmat(2): with SHM_REMAP over whatever is there. Its length is the segment's.
pub extern "C" fn shmat(call: &mut Call) -> Step {
    let [segment, address, flags, ..] = call.args;
    let flags = flags as i32;
    if mappings::is_empty() || flags & libc::SHM_REMAP == 0 || address == 0 {
        return Step::PASS;
    }
    let start = match flags & libc::SHM_RND {
        0 => address,
        _ => address & !(PAGE - 1),
    };
    let length = match segment_length(segment) {
        Ok(length) => length,
        // A sealed process can't ask: it may be of any length.
        Err(libc::ENOSYS) => usize::MAX - start,
        // There is none, or who may not ask may not attach it either.
        Err(_) => return Step::PASS,
    };
    if is_no_range(start, PAGE) || !mappings::concerns(start, length) {
        return Step::PASS;
    }
    answer(replace((start, page_end(start, length)), || kernel(call)))
}

/// Bytes of a System V shared memory segment, shmctl(2).
fn segment_length(segment: usize) -> Result<usize, Errno> {
    let mut found = core::mem::MaybeUninit::<libc::shmid_ds>::uninit();
    // SAFETY: the kernel fills it in whole, or fails.
    unsafe {
        sys!(SYS_shmctl, segment, libc::IPC_STAT, found.as_mut_ptr())?;
        Ok(found.assume_init().shm_segsz)
    }
}

fn subject_of(address: usize, length: usize) -> Subject {
    match mappings::first_in(address, length) {
        Ok(Some(region)) if !is_watched_only(Attributes::of(region).kind()) => Subject::Tagged,
        Ok(_) if mappings::is_complete() => Subject::Untagged,
        // It can't ask.
        _ if is_sealed() => Subject::Untagged,
        _ => {
            let _signals = SignalsBlocked::new();
            let end = page_end(address, length);
            on_own_stack(|| subject_in(address, end)).unwrap_or(Subject::Untagged)
        }
    }
}

/// Whether the kernel has nothing to do, finds the range too long, or the file open for reading
/// only.
fn remove_is_refused(address: usize, length: usize) -> bool {
    let too_long = address
        .checked_add(length)
        .is_none_or(|end| end > usize::MAX - PAGE);
    let read_only = mappings::first_in(address, length)
        .ok()
        .flatten()
        .is_some_and(|region| !Attributes::of(region).is_file_writable());
    length == 0 || too_long || read_only || is_locked(address, length)
}

/// Whether memory of a range is locked (madvise_remove in mm/madvise.c): MADV_COLD is refused for that too,
/// and changes nothing but which pages are thought to be in use.
fn is_locked(address: usize, length: usize) -> bool {
    // SAFETY: no data is changed; without a length nothing is.
    let advise = |length| unsafe { sys!(SYS_madvise, address, length, libc::MADV_COLD) };
    // Linux 5.4 knows it.
    advise(0).is_ok() && advise(length) == Err(libc::EINVAL)
}
