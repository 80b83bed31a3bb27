//! ioctl(2): what changes extents, flags or identity of a file, which may be the one that is asked
//! or one that the argument names.

use super::copy::is_open_for_reading;
use super::flags;
use super::write::is_open_for_writing;
use crate::enforce::{Earlier, enforce};
use crate::memory::read_value;
use crate::subject::{self, Place};
use crate::trampoline::{Call, IOCTL_TYPES, Step};
use daxshim_core::contract::{Effect, Operation};

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
    /// The descriptor itself, by a struct space_resv.
    Space,
    /// The descriptor itself, and its tag (FS_IOC_SETFLAGS).
    SetFlags,
    /// The same for FS_IOC_FSSETXATTR.
    SetAttributes,
    /// The descriptor's tag is shown (FS_IOC_GETFLAGS).
    GetFlags,
    /// The same for FS_IOC_FSGETXATTR.
    GetAttributes,
    /// Where the descriptor is a loop device, the one that is the argument.
    Loop,
    /// The same, with the descriptor at the beginning of the argument.
    LoopConfigure,
}

/// linux/fs.h, linux/falloc.h, fs/ext4/ext4.h, fs/xfs/libxfs/xfs_fs.h, linux/loop.h.
const REQUESTS: &[(u32, Operation, Victim)] = &[
    (0x4004_9409, Operation::ShareExtents, Victim::Clone), // FICLONE
    (0x4020_940d, Operation::ShareExtents, Victim::CloneRange), // FICLONERANGE
    (0xc018_9436, Operation::ShareExtents, Victim::Dedupe), // FIDEDUPERANGE
    (0x4008_6602, Operation::SetFlags, Victim::SetFlags),  // FS_IOC_SETFLAGS
    (0x4004_6602, Operation::SetFlags, Victim::Asked),     // FS_IOC32_SETFLAGS
    (0x401c_5820, Operation::SetFlags, Victim::SetAttributes), // FS_IOC_FSSETXATTR
    (0x8008_6601, Operation::Handle, Victim::GetFlags),    // FS_IOC_GETFLAGS
    (0x801c_581f, Operation::Handle, Victim::GetAttributes), // FS_IOC_FSGETXATTR
    (0x4008_7602, Operation::SetFlags, Victim::Asked),     // FS_IOC_SETVERSION
    (0x4080_6685, Operation::SetFlags, Victim::Asked),     // FS_IOC_ENABLE_VERITY
    (0x800c_6613, Operation::SetFlags, Victim::Asked),     // FS_IOC_SET_ENCRYPTION_POLICY
    (0x4030_5828, Operation::Allocate, Victim::Space),     // FS_IOC_RESVSP
    (0x4030_582a, Operation::Allocate, Victim::Space),     // FS_IOC_RESVSP64
    (0x4030_5829, Operation::Allocate, Victim::Space),     // FS_IOC_UNRESVSP
    (0x4030_582b, Operation::Allocate, Victim::Space),     // FS_IOC_UNRESVSP64
    (0x4030_5839, Operation::Allocate, Victim::Space),     // FS_IOC_ZERO_RANGE
    (0xc028_660f, Operation::ShareExtents, Victim::AskedAndAt(4)), // EXT4_IOC_MOVE_EXT
    (0x0000_6611, Operation::ShareExtents, Victim::Asked), // EXT4_IOC_SWAP_BOOT
    (0x0000_6609, Operation::SetFlags, Victim::Asked),     // EXT4_IOC_MIGRATE
    (0x0000_660c, Operation::Allocate, Victim::Asked),     // EXT4_IOC_ALLOC_DA_BLKS
    (0xc0c0_586d, Operation::ShareExtents, Victim::Swap),  // XFS_IOC_SWAPEXT
    (0x4028_5881, Operation::ShareExtents, Victim::AskedAndAt(0)), // XFS_IOC_EXCHANGE_RANGE
    (0x4058_5883, Operation::ShareExtents, Victim::AskedAndAt(0)), // XFS_IOC_COMMIT_RANGE
    (0x0000_4c00, Operation::LoopAttach, Victim::Loop),    // LOOP_SET_FD
    (0x0000_4c06, Operation::LoopAttach, Victim::Loop),    // LOOP_CHANGE_FD
    (0x0000_4c0a, Operation::LoopAttach, Victim::LoopConfigure), // LOOP_CONFIGURE
];

/// Most destinations of a dedupe that are looked at; the kernel takes about as many (a page).
const DESTINATIONS: u16 = 127;

/// ioctl(2).
pub extern "C" fn ioctl(call: &mut Call) -> Step {
    let [fd, request, argument, ..] = call.args;
    let request = request as u32;
    // Most requests are about terminals and sockets.
    if !IOCTL_TYPES.contains(&((request >> 8) as u8)) {
        return Step::PASS;
    }
    let Some(&(_, operation, victim)) = REQUESTS.iter().find(|row| row.0 == request) else {
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
        Victim::Dedupe => dedupe(argument, &on, asked),
        Victim::Swap => on(&[Some(asked), at(8), at(16)], &|| at(16).is_none()),
        Victim::Space => on(&[Some(asked)], &|| space_is_refused(asked, argument)),
        Victim::SetFlags => flags::set_flags(asked, argument),
        Victim::SetAttributes => flags::set_attributes(asked, argument),
        Victim::GetFlags => flags::get_flags(call, asked),
        Victim::GetAttributes => flags::get_attributes(call, asked),
        Victim::Loop => on(&[Some(argument as i32)], &|| !is_loop(asked)),
        Victim::LoopConfigure => on(&[at(0)], &|| !is_loop(asked)),
    }
}

type On<'a> = &'a dyn Fn(&[Option<i32>], &dyn Fn() -> bool) -> Step;

/// Whether a clone may have this target.
fn is_appendless(fd: i32) -> bool {
    is_open_for_writing(fd)
        && subject::open_flags(fd).is_some_and(|flags| flags & libc::O_APPEND == 0)
}

/// Whether it is a loop device: others answer ENOTTY.
fn is_loop(fd: i32) -> bool {
    const LOOP_MAJOR: u32 = 7;
    Place::Descriptor(fd).stat().is_ok_and(|stat| {
        stat.st_mode & libc::S_IFMT == libc::S_IFBLK && libc::major(stat.st_rdev) == LOOP_MAJOR
    })
}

/// struct space_resv: type and whence (s16), start and length (s64).
fn space_is_refused(fd: i32, argument: usize) -> bool {
    let Some([kind, start, length]) = read_value::<[i64; 3]>(argument) else {
        return true;
    };
    let whence = (kind >> 16) as i16;
    !(0..=2).contains(&whence)
        || (whence == 0 && start < 0)
        || length <= 0
        || !is_open_for_writing(fd)
}

/// struct file_dedupe_range: offset, length, count (u16), two reserved, then for each destination
/// its descriptor (s64), offset, bytes, status, reserved: 32 bytes.
fn dedupe(argument: usize, on: On<'_>, asked: i32) -> Step {
    let Some(count) = argument.checked_add(16).and_then(read_value::<u16>) else {
        return Step::PASS;
    };
    let unreadable = || !is_open_for_reading(asked);
    let step = on(&[Some(asked)], &unreadable);
    if !step.is_pass() {
        return step;
    }
    for i in 0..usize::from(count.min(DESTINATIONS)) {
        let destination = argument
            .checked_add(24 + 32 * i)
            .and_then(read_value::<i32>)
            .filter(|&fd| !Place::Descriptor(fd).is_path_only());
        let step = on(&[destination], &unreadable);
        if !step.is_pass() {
            return step;
        }
    }
    Step::PASS
}
