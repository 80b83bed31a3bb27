//! ioctl(2): what changes extents, flags or identity of a file, which may be the one that is asked
//! or one that the argument names.

use crate::enforce::{Earlier, enforce};
use crate::memory::read_value;
use crate::subject::{self, Place};
use crate::trampoline::{Call, Step};
use daxshim_core::contract::{Effect, Operation};
use daxshim_core::dax;

/// Where the files are that a request is about.
#[derive(Clone, Copy)]
enum Victim {
    /// The descriptor itself.
    Asked,
    /// It, and the descriptor that is the argument.
    AskedAndArgument,
    /// It, and the descriptor at this offset (bytes) of the argument: an `int` or, of 8 bytes, the
    /// low half of a `long`.
    AskedAndAt(usize),
    /// It, and the destinations of a struct file_dedupe_range.
    Dedupe,
    /// Only the descriptor that is the argument.
    Argument,
    /// Only the descriptor at the beginning of the argument.
    ArgumentBegins,
    /// The descriptor itself, if inode flags would change (FS_IOC_SETFLAGS).
    Flags,
    /// The same for FS_IOC_FSSETXATTR.
    Attributes,
}

/// linux/fs.h, linux/falloc.h, fs/ext4/ext4.h, fs/xfs/libxfs/xfs_fs.h, linux/loop.h.
const REQUESTS: &[(u32, Operation, Victim)] = &[
    (
        0x4004_9409,
        Operation::ShareExtents,
        Victim::AskedAndArgument,
    ), // FICLONE
    (0x4020_940d, Operation::ShareExtents, Victim::AskedAndAt(0)), // FICLONERANGE
    (0xc018_9436, Operation::ShareExtents, Victim::Dedupe),        // FIDEDUPERANGE
    (0x4008_6602, Operation::SetFlags, Victim::Flags),             // FS_IOC_SETFLAGS
    (0x4004_6602, Operation::SetFlags, Victim::Flags),             // FS_IOC32_SETFLAGS
    (0x401c_5820, Operation::SetFlags, Victim::Attributes),        // FS_IOC_FSSETXATTR
    (0x4008_7602, Operation::SetFlags, Victim::Asked),             // FS_IOC_SETVERSION
    (0x4080_6685, Operation::SetFlags, Victim::Asked),             // FS_IOC_ENABLE_VERITY
    (0x800c_6613, Operation::SetFlags, Victim::Asked),             // FS_IOC_SET_ENCRYPTION_POLICY
    (0x4030_5828, Operation::Allocate, Victim::Asked),             // FS_IOC_RESVSP
    (0x4030_582a, Operation::Allocate, Victim::Asked),             // FS_IOC_RESVSP64
    (0x4030_5829, Operation::Allocate, Victim::Asked),             // FS_IOC_UNRESVSP
    (0x4030_582b, Operation::Allocate, Victim::Asked),             // FS_IOC_UNRESVSP64
    (0x4030_5839, Operation::Allocate, Victim::Asked),             // FS_IOC_ZERO_RANGE
    (0xc028_660f, Operation::ShareExtents, Victim::AskedAndAt(4)), // EXT4_IOC_MOVE_EXT
    (0x0000_6611, Operation::ShareExtents, Victim::Asked),         // EXT4_IOC_SWAP_BOOT
    (0x0000_6609, Operation::SetFlags, Victim::Asked),             // EXT4_IOC_MIGRATE
    (0x0000_660c, Operation::Allocate, Victim::Asked),             // EXT4_IOC_ALLOC_DA_BLKS
    (0xc0c0_586d, Operation::ShareExtents, Victim::AskedAndAt(8)), // XFS_IOC_SWAPEXT
    (0x4028_5881, Operation::ShareExtents, Victim::AskedAndAt(0)), // XFS_IOC_EXCHANGE_RANGE
    (0x4048_5883, Operation::ShareExtents, Victim::AskedAndAt(0)), // XFS_IOC_COMMIT_RANGE
    (0x0000_4c00, Operation::LoopAttach, Victim::Argument),        // LOOP_SET_FD
    (0x0000_4c06, Operation::LoopAttach, Victim::Argument),        // LOOP_CHANGE_FD
    (0x0000_4c0a, Operation::LoopAttach, Victim::ArgumentBegins),  // LOOP_CONFIGURE
];

/// Most destinations of a dedupe that are looked at; the kernel takes about as many (a page).
const DESTINATIONS: u16 = 127;

/// ioctl(2).
pub extern "C" fn ioctl(call: &mut Call) -> Step {
    let [fd, request, argument, ..] = call.args;
    let request = request as u32;
    // Most requests are about terminals and sockets.
    if !matches!((request >> 8) as u8, 0x94 | 0x66 | 0x58 | 0x76 | 0x4c) {
        return Step::PASS;
    }
    let Some(&(_, operation, victim)) = REQUESTS.iter().find(|row| row.0 == request) else {
        return Step::PASS;
    };
    let asked = fd as i32;
    let on = |fd: i32, earlier: &dyn Fn() -> Earlier| {
        let place = Place::Descriptor(fd);
        enforce(
            operation,
            subject::of(place),
            || {
                if Place::Descriptor(asked).is_path_only() {
                    Earlier::Refuses
                } else {
                    earlier()
                }
            },
            || Effect::Changes,
        )
    };
    let nothing = || Earlier::Nothing;
    let both = |other: Option<i32>| {
        let Some(other) = other else {
            return Step::PASS;
        };
        let step = on(asked, &nothing);
        if step.is_pass() {
            on(other, &nothing)
        } else {
            step
        }
    };
    match victim {
        Victim::Asked => on(asked, &nothing),
        Victim::AskedAndArgument => both(Some(argument as i32)),
        Victim::AskedAndAt(offset) => {
            both(argument.checked_add(offset).and_then(read_value::<i32>))
        }
        Victim::Argument => on(argument as i32, &nothing),
        Victim::ArgumentBegins => match read_value::<i32>(argument) {
            Some(file) => on(file, &nothing),
            None => Step::PASS,
        },
        Victim::Dedupe => dedupe(argument, &on, asked),
        Victim::Flags => on(asked, &|| Earlier::refuses_if(keeps_flags(asked, argument))),
        Victim::Attributes => on(asked, &|| {
            Earlier::refuses_if(keeps_attributes(asked, argument))
        }),
    }
}

type On<'a> = &'a dyn Fn(i32, &dyn Fn() -> Earlier) -> Step;

/// struct file_dedupe_range: offset, length, count (u16), two reserved, then for each destination
/// its descriptor (s64), offset, bytes, status, reserved: 32 bytes.
fn dedupe(argument: usize, on: On<'_>, asked: i32) -> Step {
    let Some(count) = argument.checked_add(16).and_then(read_value::<u16>) else {
        return Step::PASS;
    };
    let step = on(asked, &|| Earlier::Nothing);
    if !step.is_pass() {
        return step;
    }
    for i in 0..usize::from(count.min(DESTINATIONS)) {
        let destination = argument
            .checked_add(24 + 32 * i)
            .and_then(read_value::<i32>);
        if let Some(destination) = destination {
            let step = on(destination, &|| Earlier::Nothing);
            if !step.is_pass() {
                return step;
            }
        }
    }
    Step::PASS
}

/// Whether FS_IOC_SETFLAGS would leave the flags as they are, or can't read its argument.
fn keeps_flags(fd: i32, argument: usize) -> bool {
    let Some(wanted) = read_value::<u32>(argument) else {
        return true;
    };
    let present = subject::borrow(fd).and_then(|fd| rustix::fs::ioctl_getflags(fd).ok());
    present.is_some_and(|present| present.bits() == wanted)
}

/// The same for FS_IOC_FSSETXATTR.
fn keeps_attributes(fd: i32, argument: usize) -> bool {
    let Some(wanted) = read_value::<[u32; 7]>(argument) else {
        return true;
    };
    let [flags, extent_size, _, project, cow_extent_size, ..] = wanted;
    let present = subject::borrow(fd).and_then(|fd| dax::attributes(fd).ok());
    present.is_some_and(|present| {
        (
            present.flags,
            present.extent_size,
            present.project,
            present.cow_extent_size,
        ) == (flags, extent_size, project, cow_extent_size)
    })
}
