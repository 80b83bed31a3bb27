//! Tags set and cleared through the kernel interface as proposed: FS_XFLAG_DAX_IMMUTABLE among the
//! inode flags that a program sets. The preconditions and the steps are those of the command
//! (`daxshim_core::tag::change`); what differs is that the program itself has the file open.
//!
//! Rare, and slow by its nature: all of /proc is looked through. Signals are held back, so that no
//! handler sees a file between two states, nor a thread is cancelled there; and it is done on a stack of
//! our own.

use crate::ground::descriptors;
use crate::ground::files;
use crate::ground::memory::on_own_stack;
use crate::ground::place::{Place, borrow};
use crate::ground::process;
use crate::ground::real::numbers::{SYS_FILE_GETATTR, SYS_FILE_SETATTR};
use crate::ground::real::{Errno, SignalsBlocked, sleep, sys, syscall};
use crate::tag::subject::Tag;
use daxshim_core::holders::Holding;
use daxshim_core::lease::Hold;
use daxshim_core::requests::{FS_IOC_FSSETXATTR, FS_IOC_SETFLAGS};
use daxshim_core::tag::change::{self, Flags, Plan, Refusal};
use daxshim_core::tag::{self, Record, Value, XATTR, XATTR_EMULATED};
use daxshim_core::{dax, extents};
use rustix::fd::{AsFd, AsRawFd, BorrowedFd};

use super::held::{File, Lease, is_held, is_only_one, may_change_elsewhere, may_look_everywhere};

/// Inode flags, in the form in which a program sets them.
#[derive(Clone, Copy)]
pub enum InodeFlags {
    /// FS_*_FL, for FS_IOC_SETFLAGS.
    Flags(u32),
    /// struct fsxattr, for FS_IOC_FSSETXATTR.
    Attributes([u32; 7]),
    /// struct file_attr, for file_setattr(2).
    File([u64; 3]),
}

impl InodeFlags {
    /// What the inode has, in the same form.
    pub fn present(&self, place: Place) -> Result<InodeFlags, Errno> {
        let borrowed = || match place {
            Place::Descriptor(fd) => borrow(fd).ok_or(libc::EBADF),
            Place::Path { .. } => Err(libc::EBADF),
        };
        match self {
            InodeFlags::Flags(_) => rustix::fs::ioctl_getflags(borrowed()?)
                .map(|flags| InodeFlags::Flags(flags.bits()))
                .map_err(number),
            InodeFlags::Attributes(_) => dax::attributes(borrowed()?)
                .map(|now| {
                    InodeFlags::Attributes([
                        now.flags,
                        now.extent_size,
                        now.extents,
                        now.project,
                        now.cow_extent_size,
                        0,
                        0,
                    ])
                })
                .map_err(number),
            InodeFlags::File(_) => {
                let mut now = [0; 3];
                call_file_attr(SYS_FILE_GETATTR, place, &mut now)?;
                Ok(InodeFlags::File(now))
            }
        }
    }

    /// Sets them.
    pub fn set(self, place: Place) -> Result<(), Errno> {
        let ioctl = |request: u32, argument: usize| {
            let Place::Descriptor(fd) = place else {
                return Err(libc::EBADF);
            };
            // SAFETY: the argument is the request's own, and only read.
            unsafe { sys!(SYS_ioctl, fd, request, argument) }.map(|_| ())
        };
        match self {
            InodeFlags::Flags(flags) => ioctl(FS_IOC_SETFLAGS, &raw const flags as usize),
            InodeFlags::Attributes(flags) => ioctl(FS_IOC_FSSETXATTR, &raw const flags as usize),
            InodeFlags::File(mut flags) => call_file_attr(SYS_FILE_SETATTR, place, &mut flags),
        }
    }

    /// Whether FS_XFLAG_DAX_IMMUTABLE is among them.
    pub fn is_immutable(&self) -> bool {
        match self {
            InodeFlags::Flags(_) => false,
            InodeFlags::Attributes([flags, ..]) => flags & dax::DAX_IMMUTABLE != 0,
            InodeFlags::File([flags, ..]) => flags & u64::from(dax::DAX_IMMUTABLE) != 0,
        }
    }

    /// Whether FS_XFLAG_DAX is.
    pub fn has_dax(&self) -> bool {
        match self {
            InodeFlags::Flags(flags) => flags & dax::DAX_FL != 0,
            InodeFlags::Attributes([flags, ..]) => flags & dax::DAX != 0,
            InodeFlags::File([flags, ..]) => flags & u64::from(dax::DAX) != 0,
        }
    }

    /// Whether setting the one leaves the other as it is. Number of extents and FS_XFLAG_HASATTR
    /// are not set.
    pub fn are(&self, other: &InodeFlags) -> bool {
        self.settable() == other.settable()
    }

    fn settable(&self) -> (u64, u32, u32, u32) {
        let without = |flags: u64| flags & !u64::from(dax::HASATTR);
        match *self {
            InodeFlags::Flags(flags) => (u64::from(flags), 0, 0, 0),
            InodeFlags::Attributes([flags, extent, _, project, cow, ..]) => {
                (without(u64::from(flags)), extent, project, cow)
            }
            InodeFlags::File([flags, extent, rest]) => {
                let (project, cow) = (rest as u32, (rest >> 32) as u32);
                (without(flags), extent as u32, project, cow)
            }
        }
    }

    fn map(self, change: impl Fn(u32) -> u32) -> InodeFlags {
        match self {
            InodeFlags::Flags(flags) => InodeFlags::Flags(flags),
            InodeFlags::Attributes([flags, rest @ ..]) => {
                let [a, b, c, d, e, f] = rest;
                InodeFlags::Attributes([change(flags), a, b, c, d, e, f])
            }
            InodeFlags::File([flags, a, b]) => {
                let high = flags & !u64::from(u32::MAX);
                InodeFlags::File([high | u64::from(change(flags as u32)), a, b])
            }
        }
    }

    /// As a program sees them on a file with this tag.
    pub fn shown(self, tag: &Tag) -> InodeFlags {
        let (xflags, flags) = shown_with(tag);
        match self {
            InodeFlags::Flags(present) => InodeFlags::Flags(present | flags),
            other => other.map(|present| present | xflags),
        }
    }

    /// As the kernel may get them, for a file with this tag.
    pub fn stripped(self, tag: &Tag) -> InodeFlags {
        let (xflags, flags) = shown_with(tag);
        match self {
            InodeFlags::Flags(wanted) => InodeFlags::Flags(wanted & !flags),
            other => other.map(|wanted| wanted & !xflags),
        }
    }
}

/// What a tag adds to the inode's flags: FS_XFLAG_*, and FS_*_FL. An emulated tag emulates
/// FS_XFLAG_DAX too, if it was set so.
pub fn shown_with(tag: &Tag) -> (u32, u32) {
    if tag.emulated && tag.record.dax {
        (dax::DAX_IMMUTABLE | dax::DAX, dax::DAX_FL)
    } else {
        (dax::DAX_IMMUTABLE, 0)
    }
}

/// file_getattr(2) or file_setattr(2).
fn call_file_attr(number: i64, place: Place, flags: &mut [u64; 3]) -> Result<(), Errno> {
    let (at, path, at_flags) = place.at_path();
    let (flags, size) = (&raw mut *flags as usize, size_of::<[u64; 3]>());
    let arguments = [
        at as usize,
        path as usize,
        flags,
        size,
        at_flags as usize,
        0,
    ];
    // SAFETY: the kernel reads the path, or answers EFAULT; the struct is as long as it says.
    unsafe { syscall(number, arguments) }.map(|_| ())
}

/// Sets these flags and a tag: FS_XFLAG_DAX_IMMUTABLE is among them.
///
/// The errnos are those of the contract's table of preconditions.
#[cold]
#[inline(never)]
pub fn set(place: Place, wanted: InodeFlags) -> Result<(), Errno> {
    let _blocked = SignalsBlocked::new();
    on_own_stack(|| set_there(place, wanted)).unwrap_or(Err(libc::ENOMEM))
}

fn set_there(place: Place, wanted: InodeFlags) -> Result<(), Errno> {
    let emulate = process::config().emulate;
    change::may_change(!emulate).map_err(errno)?;
    let file = File::of(place)?;
    let lease = Lease::on(&file);
    // The program's own descriptors are no obstacle, which a lease can't tell from others.
    if !matches!(lease.hold, Hold::Alone | Hold::NoWriters) && may_change_elsewhere(&file) {
        return Err(libc::EBUSY);
    }
    let fd = file.as_fd();
    if !emulate {
        if !wanted.has_dax() {
            return Err(errno(Refusal::DaxNotSet));
        }
        change::could_have_dax(fd, true).map_err(errno)?;
    }
    let identity = dax::identity(fd).map_err(number)?;
    let survey = extents::survey(fd, identity.size, true).map_err(number)?;
    change::sound(&survey).map_err(errno)?;

    let before = dax::attributes(fd);
    let present = wanted.present(Place::Descriptor(file.as_raw_fd()))?;
    let dax_too = emulate && wanted.has_dax() && !present.has_dax();
    let stripped =
        wanted.map(|flags| flags & !dax::DAX_IMMUTABLE & !(if dax_too { dax::DAX } else { 0 }));
    stripped.set(Place::Descriptor(file.as_raw_fd()))?;
    let tagged = Flags::set(fd, false).and_then(|flags| {
        let plan = Plan {
            emulate,
            nodefrag: flags.set & dax::NODEFRAG != 0 || was_nodefrag_ours(fd, &identity),
            dax: dax_too,
        };
        change::set(fd, &identity, plan)
    });
    if tagged.is_err()
        && let Ok(before) = before
    {
        let _ = dax::set_attributes(fd, before);
    }
    // Those of this file may be known as untagged.
    descriptors::forget_range(0, u32::MAX);
    tagged.map(|_| ()).map_err(errno)
}

/// Whether a tag that went stale because the file grew had FS_XFLAG_NODEFRAG set.
fn was_nodefrag_ours(fd: BorrowedFd<'_>, identity: &tag::Identity) -> bool {
    [XATTR, XATTR_EMULATED].iter().any(|name| {
        matches!(tag::read(fd, name), Ok(Value::Record(record))
            if record.is_own(identity) && record.nodefrag)
    })
}

/// Clears a tag and sets these flags: FS_XFLAG_DAX_IMMUTABLE or FS_XFLAG_DAX is no longer among
/// them.
///
/// EPERM without the capability, EBUSY while anybody maps the file or may do so.
#[cold]
#[inline(never)]
pub fn clear(place: Place, wanted: InodeFlags, tag: &Tag) -> Result<(), Errno> {
    let _blocked = SignalsBlocked::new();
    on_own_stack(|| clear_there(place, wanted, tag)).unwrap_or(Err(libc::ENOMEM))
}

fn clear_there(place: Place, wanted: InodeFlags, tag: &Tag) -> Result<(), Errno> {
    let file = File::of(place)?;
    let unseen = !(may_look_everywhere() && is_only_one(&file));
    let fd = file.as_fd();
    let is_there = |name| !matches!(tag::read(fd, name), Ok(Value::Absent));
    let names = [XATTR, XATTR_EMULATED].map(|name| (name, is_there(name)));
    let is_security = names.iter().any(|&(name, there)| there && name == XATTR);
    change::may_change(is_security).map_err(errno)?;
    let lease = Lease::on(&file);
    let maps = |_, holding: Holding| holding.mapped;
    let is_mapped = || lease.hold != Hold::Alone && is_held(&file, maps, unseen);
    if is_mapped() {
        return Err(libc::EBUSY);
    }
    let own = if tag.emulated && !tag.record.emulated {
        XATTR_EMULATED
    } else {
        XATTR
    };
    let put = |clearing| {
        let record = Record {
            clearing,
            ..tag.record
        };
        change::write(fd, own, &record).map_err(number)
    };
    if lease.hold != Hold::Alone {
        // It binds until nobody maps the file by an earlier look any more.
        put(true)?;
        let stat = Place::Descriptor(file.as_raw_fd()).stat();
        if let Some(index) = stat
            .ok()
            .and_then(|stat| files::find(stat.st_dev, stat.st_ino))
        {
            index.file().forget_found();
        }
        let me = rustix::process::getpid().as_raw_nonzero().get();
        let is_other = |pid, holding: Holding| pid != me && (holding.open || holding.mapped);
        if is_held(&file, is_other, unseen) {
            // Signals are held back.
            let _ = sleep(tag::GOES_BY);
        }
        if is_mapped() {
            put(false)?;
            return Err(libc::EBUSY);
        }
    }
    for (name, _) in names.iter().filter(|(_, there)| *there) {
        rustix::fs::fremovexattr(fd, *name).map_err(number)?;
    }
    let cleared = wanted
        .stripped(tag)
        .set(Place::Descriptor(file.as_raw_fd()));
    if cleared.is_err() {
        let _ = put(false);
        return cleared;
    }
    // The program has said what FS_XFLAG_DAX is to be.
    let record = Record {
        dax: false,
        ..tag.record
    };
    change::take_off(fd, &record).map_err(errno)?;
    rustix::fs::fsync(fd).map_err(number)
}

fn errno(refusal: Refusal) -> Errno {
    number(refusal.errno())
}

fn number(errno: rustix::io::Errno) -> Errno {
    errno.raw_os_error()
}
