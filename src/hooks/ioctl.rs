//! ioctl(2): what changes extents, flags or identity of a file, which may be the one that is asked
//! or one that the argument names.

use super::copy::is_open_for_reading;
use super::descriptors::forget_result;
use super::flags;
use super::range::{answer, is_no_range, kernel};
use super::write::is_open_for_writing;
use crate::entry::shortcut::IOCTL_TYPES;
use crate::entry::slot::{Call, Step};
use crate::ground::memory::read_value;
use crate::ground::place::{Place, borrow, open_flags};
use crate::ground::real::{is_sealed, sys};
use crate::mappings::{self, Reasons, during, page_end, suspend_in};
use crate::tag::enforce::{Earlier, enforce};
use crate::tag::subject;
use daxshim_core::contract::{Effect, Operation, Subject};
use daxshim_core::filesystem::Filesystem;
use daxshim_core::requests::{self, *};

/// Where the files are that a request is about.
#[derive(Clone, Copy)]
enum Victim {
    /// The descriptor itself.
    Asked,
    /// It, and the descriptor at this offset (bytes) of the argument.
    AskedAndAt(usize),
    /// It as target of a clone, and as source the descriptor that is the argument.
    Clone,
    /// The same, with the source at the beginning of the argument.
    CloneRange,
    /// It, and the destinations of a struct file_dedupe_range.
    Dedupe,
    /// It, and both descriptors of a struct xfs_swapext.
    Swap,
    /// The descriptor itself, which must be open for writing.
    Written,
    /// The descriptor itself, by a struct space_resv.
    Space,
    /// The same, of which only the start counts: as the file's new end.
    End,
    /// The descriptor itself, and its tag (FS_IOC_SETFLAGS).
    SetFlags,
    /// The same for FS_IOC_FSSETXATTR.
    SetAttributes,
    /// The descriptor's tag is shown (FS_IOC_GETFLAGS).
    GetFlags,
    /// The same for FS_IOC_FSGETXATTR.
    GetAttributes,
    /// The one whose handle is in a struct xfs_fsop_handlereq, in the filesystem of the descriptor.
    ByHandle,
    /// The same, where a struct xfs_fsop_attrmulti_handlereq wants attributes set or removed.
    XattrsByHandle,
    /// None: a range of memory is.
    UserFaults,
    /// None: a descriptor is handed out.
    HandedOut,
    /// Where the descriptor is a loop device, the one that is the argument.
    Loop,
    /// The same, with the descriptor at the beginning of the argument.
    LoopConfigure,
}

/// What changes a file's data, metadata or extents, and what shows its tag. Not here: what is about a
/// whole filesystem (to grow or label it, GOINGDOWN, FREE_EOFBLOCKS), what only repairs
/// (SCRUB_METADATA) or caches (PRECACHE_EXTENTS). Those of filesystems without DAX bind where tags are
/// emulated.
fn look_up(request: u32) -> Option<(Operation, Victim)> {
    use Operation::{
        Allocate, Handle, LoopAttach, Resize, SetFlags, SetXattr, ShareExtents, Write,
    };
    Some(match request {
        FICLONE => (ShareExtents, Victim::Clone),
        FICLONERANGE => (ShareExtents, Victim::CloneRange),
        FIDEDUPERANGE => (ShareExtents, Victim::Dedupe),
        FS_IOC_GETFLAGS => (Handle, Victim::GetFlags),
        FS_IOC_SETFLAGS => (SetFlags, Victim::SetFlags),
        FS_IOC_FSGETXATTR => (Handle, Victim::GetAttributes),
        FS_IOC_FSSETXATTR => (SetFlags, Victim::SetAttributes),
        FS_IOC32_SETFLAGS
        | FS_IOC_SETVERSION
        | FS_IOC32_SETVERSION
        | EXT4_IOC_SETVERSION
        | EXT4_IOC32_SETVERSION
        | FS_IOC_ENABLE_VERITY
        | FS_IOC_SET_ENCRYPTION_POLICY
        | EXT4_IOC_MIGRATE
        | XFS_IOC_FSSETDM
        | F2FS_IOC_SET_PIN_FILE => (SetFlags, Victim::Asked),
        F2FS_IOC_SET_COMPRESS_OPTION => (SetFlags, Victim::Written),
        XFS_IOC_FSSETDM_BY_HANDLE => (SetFlags, Victim::ByHandle),
        XFS_IOC_ATTRMULTI_BY_HANDLE => (SetXattr, Victim::XattrsByHandle),
        FS_IOC_RESVSP | FS_IOC_UNRESVSP | FS_IOC_RESVSP64 | FS_IOC_UNRESVSP64
        | FS_IOC_ZERO_RANGE => (Allocate, Victim::Space),
        EXT4_IOC_ALLOC_DA_BLKS => (Allocate, Victim::Asked),
        F2FS_IOC_RELEASE_COMPRESS_BLOCKS
        | F2FS_IOC_RESERVE_COMPRESS_BLOCKS
        | F2FS_IOC_SEC_TRIM_FILE
        | F2FS_IOC_DECOMPRESS_FILE
        | F2FS_IOC_COMPRESS_FILE => (Allocate, Victim::Written),
        XFS_IOC_ALLOCSP | XFS_IOC_FREESP | XFS_IOC_ALLOCSP64 | XFS_IOC_FREESP64 => {
            (Resize, Victim::End)
        }
        EXT4_IOC_MOVE_EXT => (ShareExtents, Victim::AskedAndAt(4)),
        XFS_IOC_EXCHANGE_RANGE | XFS_IOC_COMMIT_RANGE | F2FS_IOC_MOVE_RANGE => {
            (ShareExtents, Victim::AskedAndAt(0))
        }
        XFS_IOC_SWAPEXT => (ShareExtents, Victim::Swap),
        EXT4_IOC_SWAP_BOOT | BTRFS_IOC_DEFRAG | BTRFS_IOC_DEFRAG_RANGE => {
            (ShareExtents, Victim::Asked)
        }
        F2FS_IOC_DEFRAGMENT => (ShareExtents, Victim::Written),
        BTRFS_IOC_ENCODED_WRITE
        | F2FS_IOC_START_ATOMIC_WRITE
        | F2FS_IOC_START_ATOMIC_REPLACE
        | F2FS_IOC_COMMIT_ATOMIC_WRITE
        | F2FS_IOC_START_VOLATILE_WRITE => (Write, Victim::Written),
        XFS_IOC_OPEN_BY_HANDLE => (Handle, Victim::HandedOut),
        UFFDIO_REGISTER => (Handle, Victim::UserFaults),
        LOOP_SET_FD | LOOP_CHANGE_FD => (LoopAttach, Victim::Loop),
        LOOP_CONFIGURE => (LoopAttach, Victim::LoopConfigure),
        _ => return None,
    })
}

/// Each has a type that is looked at.
const _: () = {
    let mut all = requests::ALL;
    while let [(_, request), rest @ ..] = all {
        let mut types: &[u8] = &IOCTL_TYPES;
        while let [first, others @ ..] = types
            && *first != requests::kind(*request)
        {
            types = others;
        }
        assert!(!types.is_empty());
        all = rest;
    }
};

/// Most destinations of a dedupe that are looked at; the kernel takes about as many (a page).
const DESTINATIONS: u16 = 127;

/// ioctl(2).
pub extern "C" fn ioctl(call: &mut Call) -> Step {
    let [fd, request, argument, ..] = call.args;
    let request = request as u32;
    // Most requests are about terminals and sockets.
    if !IOCTL_TYPES.contains(&requests::kind(request)) {
        return Step::PASS;
    }
    let Some((operation, victim)) = look_up(request) else {
        return Step::PASS;
    };
    let asked = fd as i32;
    if Place::Descriptor(asked).is_path_only() {
        return Step::PASS;
    }
    let on = |files: &[Option<i32>], refused: &dyn Fn() -> bool| {
        files
            .iter()
            .flatten()
            .map(|&fd| {
                enforce(
                    operation,
                    subject::of(Place::Descriptor(fd)),
                    || Earlier::refuses_if(refused()),
                    || Effect::Changes,
                )
            })
            .find(|step| !step.is_pass())
            .unwrap_or(Step::PASS)
    };
    let at = |offset: usize| argument.checked_add(offset).and_then(read_value::<i32>);
    let clone = |from: Option<i32>| {
        let open = |from| is_open_for_reading(from) && is_appendless(asked);
        on(&[Some(asked), from], &|| !from.is_some_and(open))
    };
    match victim {
        Victim::Asked => on(&[Some(asked)], &|| false),
        Victim::AskedAndAt(offset) => on(&[Some(asked), at(offset)], &|| at(offset).is_none()),
        Victim::Clone => clone(Some(argument as i32)),
        Victim::CloneRange => clone(at(0)),
        Victim::Dedupe => match destination(argument) {
            Some(fd) => on(&[Some(asked), fd], &|| !is_open_for_reading(asked)),
            None => Step::PASS,
        },
        Victim::Swap => on(&[Some(asked), at(8), at(16)], &|| at(16).is_none()),
        Victim::Written => on(&[Some(asked)], &|| !is_open_for_writing(asked)),
        Victim::Space => on(&[Some(asked)], &|| {
            space_is_refused(asked, argument, |length| length <= 0)
        }),
        Victim::End => on(&[Some(asked)], &|| {
            space_is_refused(asked, argument, |_| false)
        }),
        Victim::SetFlags => flags::set_flags(asked, argument),
        Victim::SetAttributes => flags::set_attributes(asked, argument),
        Victim::GetFlags => flags::get_flags(call, asked),
        Victim::GetAttributes => flags::get_attributes(call, asked),
        Victim::ByHandle => by_handle(asked, argument, &on),
        Victim::XattrsByHandle if !changes_xattrs(argument) => Step::PASS,
        Victim::XattrsByHandle => by_handle(asked, argument, &on),
        Victim::UserFaults => register_faults(call, argument),
        Victim::HandedOut => call.then(forget_result),
        Victim::Loop => on(&[Some(argument as i32)], &|| !is_loop(asked)),
        Victim::LoopConfigure => on(&[at(0)], &|| !is_loop(asked)),
    }
}

/// UFFDIO_REGISTER: loads from the range may wait for whoever handles its faults, but for those that are about
/// stores alone. A struct uffdio_register: start, length, modes.
fn register_faults(call: &Call, argument: usize) -> Step {
    const WRITE_PROTECTED: usize = 1 << 1;
    let Some([start, length, modes]) = read_value::<[usize; 3]>(argument) else {
        if is_sealed() {
            mappings::give_up();
        }
        return Step::PASS;
    };
    if modes & !WRITE_PROTECTED == 0
        || is_no_range(start, length)
        || !mappings::concerns(start, length)
    {
        return Step::PASS;
    }
    let range = (start, page_end(start, length));
    let why = Reasons::ELSEWHERE;
    answer(during(
        range,
        || kernel(call),
        |regions, result| match result {
            Ok(_) => suspend_in(regions, range, why, why),
            Err(_) => Ok(()),
        },
    ))
}

type On<'a> = &'a dyn Fn(&[Option<i32>], &dyn Fn() -> bool) -> Step;

/// Whether a clone may have this target.
fn is_appendless(fd: i32) -> bool {
    is_open_for_writing(fd) && open_flags(fd).is_some_and(|flags| flags & libc::O_APPEND == 0)
}

/// Whether it is a loop device: others answer ENOTTY.
fn is_loop(fd: i32) -> bool {
    const LOOP_MAJOR: u32 = 7;
    Place::Descriptor(fd).stat().is_ok_and(|stat| {
        stat.st_mode & libc::S_IFMT == libc::S_IFBLK && libc::major(stat.st_rdev) == LOOP_MAJOR
    })
}

/// struct space_resv: type and whence (s16), start and length (s64).
fn space_is_refused(fd: i32, argument: usize, is_bad: fn(i64) -> bool) -> bool {
    let Some([kind, start, length]) = read_value::<[i64; 3]>(argument) else {
        return true;
    };
    let whence = (kind >> 16) as i16;
    !(0..=2).contains(&whence)
        || (whence == 0 && start < 0)
        || is_bad(length)
        || !is_open_for_writing(fd)
}

/// The first tagged destination of a struct file_dedupe_range: offset, length, count (u16), two reserved,
/// then for each destination its descriptor (s64), offset, bytes, status, reserved: 32 bytes. `None`: it
/// can't be read.
#[inline(never)]
fn destination(argument: usize) -> Option<Option<i32>> {
    let count = argument.checked_add(16).and_then(read_value::<u16>)?;
    let destinations = (0..usize::from(count.min(DESTINATIONS)))
        .filter_map(|i| argument.checked_add(24 + 32 * i).and_then(read_value));
    let mut tagged = destinations.filter(|&fd| {
        let place = Place::Descriptor(fd);
        !place.is_path_only() && subject::of(place) != Subject::Untagged
    });
    Some(tagged.next())
}

/// Whether a struct xfs_fsop_attrmulti_handlereq has an operation that changes something. Their number
/// is behind the handle, then where they are: 32 bytes each, beginning with what is to be done. The
/// kernel reads all of them before it does any.
fn changes_xattrs(argument: usize) -> bool {
    // xfs_fs.h; the kernel takes no more than 16 pages of them.
    const SET: u32 = 2;
    const REMOVE: u32 = 3;
    const SIZE: usize = 32;
    const MOST: u32 = 16 * 4096 / SIZE as u32;
    let behind = argument.checked_add(56).and_then(read_value::<[usize; 2]>);
    let Some([count, operations]) = behind.filter(|[count, _]| *count as u32 <= MOST) else {
        return false;
    };
    let mut changes = false;
    for i in 0..count as u32 as usize {
        match operations.checked_add(i * SIZE).and_then(read_value) {
            Some(what) => changes |= [SET, REMOVE].contains(&what),
            None => return false,
        }
    }
    changes
}

/// The file that a struct xfs_fsop_handlereq names: its handle is a pointer at 24, its length (u32) at
/// 32. Only the kernel knows whose handle it is, so it finds the file first, by O_PATH, which nobody
/// who watches the file is told of.
fn by_handle(directory: i32, argument: usize, on: On<'_>) -> Step {
    // linux/exportfs.h, fs/xfs/xfs_export.h: inode number of 64 bits and generation.
    const XFS_FILEID: u32 = 0x80 | 1;
    let is_xfs = borrow(directory).is_some_and(|fd| Filesystem::of(fd) == Filesystem::Xfs);
    let is_directory = Place::Descriptor(directory)
        .stat()
        .is_ok_and(|stat| stat.st_mode & libc::S_IFMT == libc::S_IFDIR);
    // struct xfs_handle: the filesystem, what the rest is long, nothing, generation, inode number.
    let handle = argument
        .checked_add(24)
        .and_then(read_value::<[usize; 2]>)
        .filter(|_| is_xfs && is_directory)
        .filter(|[_, length]| *length as u32 as usize == size_of::<[u32; 6]>())
        .and_then(|[handle, _]| read_value::<[u32; 6]>(handle));
    let Some([_, _, length, generation, inode, inode_high]) = handle else {
        return Step::PASS;
    };
    if length as u16 != 14 {
        return Step::PASS;
    }
    // struct file_handle: 12 bytes of this kind.
    let handle = [12, XFS_FILEID, inode, inode_high, generation];
    let flags = libc::O_PATH | libc::O_CLOEXEC;
    // SAFETY: the handle is ours.
    let found = unsafe { sys!(SYS_open_by_handle_at, directory, handle.as_ptr(), flags) };
    let Ok(file) = found else { return Step::PASS };
    let step = on(&[Some(file as i32)], &|| false);
    // SAFETY: opened just above.
    let _ = unsafe { sys!(SYS_close, file) };
    step
}
