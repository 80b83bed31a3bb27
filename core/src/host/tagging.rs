//! Setting and clearing tags.
//!
//! A file is tagged from the moment its attribute is there, so the attribute is set last and
//! removed first; signals are held off from the first change to the last.

use std::ffi::CStr;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use rustix::fs::{OFlags, XattrFlags};
use rustix::io::Errno;

use super::error::{Action, Cause, Error, call};
use super::file::{Hold, Opened};
use super::holders::Holders;
use super::privilege::{self, Undisturbed};
use super::state::{self, Condition, TagState};
use crate::dax::{self, Attributes};
use crate::extents::{self, Survey};
use crate::tag::{self, Record};

/// How to tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TagOptions {
    /// Set an emulated tag; DAX is neither needed nor touched.
    pub emulate: bool,
    /// Set FS_XFLAG_DAX where it is not set yet; else its absence is an error.
    pub set_dax: bool,
}

/// What tagging did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tagged {
    /// The file carried this very tag before; nothing was changed.
    pub already: bool,
    /// The tag is an emulated one.
    pub emulated: bool,
    /// A tag that bound nobody and was replaced.
    pub replaced: Option<TagState>,
    /// Size of the file, bytes.
    pub size: u64,
    /// Extents of the file; 0 where the filesystem does not tell.
    pub extents: u64,
    /// FS_XFLAG_DAX was set along with the tag.
    pub set_dax: bool,
}

/// What clearing did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Untagged {
    /// The tags that were removed; none if there was none.
    pub removed: Vec<TagState>,
}

/// Tags a file after checking every precondition of the contract: a regular file,
/// CAP_LINUX_IMMUTABLE, DAX set and active (unless emulated), nobody else changing it, and every
/// byte in an allocated, written, unshared extent. The file is fsynced first. On an error it is as
/// it was.
///
/// # Errors
/// [`Error`] says what failed, why, and what to do; its errno is the contract's.
pub fn tag(path: &Path, options: &TagOptions) -> Result<Tagged, Error> {
    set(path, options).map_err(|cause| Error::new(Action::Tag, path, cause))
}

/// Clears a file's tag, be it valid, stale, broken or malformed, and puts back the inode flags
/// that `tag` had set. Needs CAP_LINUX_IMMUTABLE, and that nobody maps the file.
///
/// # Errors
/// [`Error`]: EPERM without the capability, EBUSY naming the processes while it is mapped.
pub fn untag(path: &Path) -> Result<Untagged, Error> {
    clear(path).map_err(|cause| Error::new(Action::Untag, path, cause))
}

fn set(path: &Path, options: &TagOptions) -> Result<Tagged, Cause> {
    let opened = Opened::open(path, OFlags::RDONLY)?;
    privilege::require(!options.emulate)?;
    let lease = opened.lease();
    unwritten_by_others(&opened, lease.hold)?;
    if !options.emulate {
        could_have_dax(&opened, options)?;
    }
    let survey = look(&opened)?;
    let tags = state::read(opened.fd(), &opened.identity, survey.fingerprint)
        .map_err(call("fgetxattr"))?;
    let bound = tags.iter().find(|tag| tag.binds());
    if bound.is_some_and(|tag| tag.condition == Condition::Broken) {
        return Err(Cause::Broken);
    }
    sound(&survey)?;
    match bound {
        Some(tag) if !tag.emulated || options.emulate => {
            return Ok(Tagged {
                already: true,
                emulated: tag.emulated,
                replaced: None,
                size: opened.size(),
                extents: survey.extents,
                set_dax: false,
            });
        }
        _ => {}
    }
    let readers = lease.hold == Hold::NoWriters;
    drop(lease);

    let _undisturbed = Undisturbed::begin();
    let flags = Flags::set(&opened, options)?;
    let (opened, has_dax) = if options.emulate {
        (opened, Ok(()))
    } else {
        active(opened, !readers)?
    };
    let committed = has_dax.and_then(|()| commit(&opened, options, &flags, &tags));
    let survey = committed.inspect_err(|_| flags.restore(&opened))?;
    Ok(Tagged {
        already: false,
        emulated: options.emulate,
        replaced: tags.into_iter().next(),
        size: opened.size(),
        extents: survey.extents,
        set_dax: flags.set & dax::DAX != 0,
    })
}

/// Checks once more under a lease, sets the attribute, checks that nothing moved meanwhile.
fn commit(
    opened: &Opened,
    options: &TagOptions,
    flags: &Flags,
    tags: &[TagState],
) -> Result<Survey, Cause> {
    let lease = opened.lease();
    unwritten_by_others(opened, lease.hold)?;
    let survey = look(opened)?;
    sound(&survey)?;
    // A tag that went stale because the file grew knows which flags `tag` set back then.
    let before = tags.iter().find_map(|tag| tag.own_record(&opened.identity));
    let ours = |flag, earlier: fn(&Record) -> bool| {
        flags.set & flag != 0 || before.as_ref().is_some_and(earlier)
    };
    let mut record = Record {
        inode: opened.identity.inode,
        generation: opened.identity.generation,
        size: opened.size(),
        extents: survey
            .fingerprint
            .filter(|_| !(options.emulate && moves_on_write(opened.filesystem()))),
        emulated: false,
        nodefrag: ours(dax::NODEFRAG, |record| record.nodefrag),
        dax: ours(dax::DAX, |record| record.dax),
    };
    let name = write_attribute(opened, options.emulate, &mut record)?;
    let now = extents::survey(opened.fd(), opened.size(), true).map_err(call("FIEMAP"));
    let identity = dax::identity(opened.fd()).map_err(call("fstat"));
    let unmoved = match (now, identity) {
        (Ok(now), Ok(identity)) if now == survey && identity == opened.identity => Ok(()),
        (Err(cause), _) | (_, Err(cause)) => Err(cause),
        _ => Err(Cause::Moved),
    };
    let durable = unmoved.and_then(|()| rustix::fs::fsync(&opened.file).map_err(call("fsync")));
    if let Err(cause) = durable {
        let _ = rustix::fs::fremovexattr(&opened.file, name);
        return Err(cause);
    }
    for other in tags.iter().filter(|tag| tag.name() != name) {
        let _ = rustix::fs::fremovexattr(&opened.file, other.name());
    }
    Ok(survey)
}

/// fsetxattr(2): the moment from which the file is tagged.
fn write_attribute(
    opened: &Opened,
    emulate: bool,
    record: &mut Record,
) -> Result<&'static CStr, Cause> {
    let write = |name, record: &Record| {
        let text = record.to_text();
        rustix::fs::fsetxattr(&opened.file, name, text.as_bytes(), XattrFlags::empty())
    };
    if emulate {
        match write(tag::XATTR_EMULATED, record) {
            Ok(()) => return Ok(tag::XATTR_EMULATED),
            // tmpfs before Linux 6.6 has no `user.` attributes.
            Err(Errno::OPNOTSUPP) => {
                privilege::require(true)?;
                record.emulated = true;
            }
            Err(errno) => return Err(call("fsetxattr")(errno)),
        }
    }
    write(tag::XATTR, record).map_err(call("fsetxattr"))?;
    Ok(tag::XATTR)
}

/// EBUSY unless nobody can write to the file while it is checked.
fn unwritten_by_others(opened: &Opened, hold: Hold) -> Result<(), Cause> {
    match hold {
        Hold::Alone | Hold::NoWriters => Ok(()),
        Hold::Shared => Err(Cause::Held(opened.holders())),
        Hold::Unknown => {
            let holders = opened.holders();
            if holders.none_writes() {
                Ok(())
            } else {
                Err(Cause::Held(holders))
            }
        }
    }
}

/// The extents, once everything is durable.
fn look(opened: &Opened) -> Result<Survey, Cause> {
    rustix::fs::fsync(&opened.file).map_err(call("fsync"))?;
    extents::survey(opened.fd(), opened.size(), true).map_err(call("ioctl FIEMAP"))
}

/// EINVAL unless every byte lies in a written extent of the file's own.
fn sound(survey: &Survey) -> Result<(), Cause> {
    survey
        .defect
        .map_or(Ok(()), |defect| Err(Cause::Defect(defect)))
}

/// What can be said about DAX without changing the file.
fn could_have_dax(opened: &Opened, options: &TagOptions) -> Result<(), Cause> {
    let attributes = match dax::attributes(opened.fd()) {
        Ok(attributes) => attributes,
        Err(Errno::NOTTY | Errno::OPNOTSUPP | Errno::NOSYS) => return Err(no_dax(opened)),
        Err(errno) => return Err(call("ioctl FS_IOC_FSGETXATTR")(errno)),
    };
    if attributes.flags & dax::DAX == 0 && !options.set_dax {
        return Err(Cause::DaxNotSet);
    }
    let active = dax::is_active(opened.fd()).map_err(call("statx"))?;
    if !active && opened.mount.as_ref().is_some_and(|m| m.never_dax()) {
        return Err(no_dax(opened));
    }
    Ok(())
}

fn no_dax(opened: &Opened) -> Cause {
    Cause::NoDax(
        opened
            .mount
            .as_ref()
            .map_or_else(|| "STATX_ATTR_DAX stays 0".into(), |m| m.why_no_dax()),
    )
}

/// Filesystems that write to new places: there a mapped store moves extents by design, so an
/// emulated tag cannot remember them.
fn moves_on_write(filesystem: &str) -> bool {
    matches!(filesystem, "btrfs" | "bcachefs" | "zfs" | "f2fs" | "nilfs2")
}

/// Inode flags that were set along with the tag.
struct Flags {
    before: Option<Attributes>,
    set: u32,
}

impl Flags {
    /// FS_XFLAG_DAX (unless emulated) and, on XFS, FS_XFLAG_NODEFRAG.
    fn set(opened: &Opened, options: &TagOptions) -> Result<Flags, Cause> {
        let mut wanted = 0;
        if !options.emulate {
            wanted |= dax::DAX;
        }
        if opened.is_xfs() {
            wanted |= dax::NODEFRAG;
        }
        if wanted == 0 {
            return Ok(Flags {
                before: None,
                set: 0,
            });
        }
        let before = dax::attributes(opened.fd()).map_err(call("ioctl FS_IOC_FSGETXATTR"))?;
        let set = wanted & !before.flags;
        if set != 0 {
            match dax::set_attributes(opened.fd(), before.with_flags(before.flags | set)) {
                Ok(()) => {}
                Err(Errno::NOTTY | Errno::OPNOTSUPP | Errno::INVAL) => return Err(no_dax(opened)),
                Err(errno) => return Err(call("ioctl FS_IOC_FSSETXATTR")(errno)),
            }
        }
        Ok(Flags {
            before: Some(before),
            set,
        })
    }

    fn restore(&self, opened: &Opened) {
        if let (Some(before), true) = (self.before, self.set != 0) {
            let _ = dax::set_attributes(opened.fd(), before);
        }
    }
}

/// On a mount with `dax=inode`, FS_XFLAG_DAX takes effect at the first open after the last close.
/// Closes and opens the file until it has. The inner error says why it has not: then the caller,
/// who set the flag, takes it off again.
pub(super) fn active(opened: Opened, alone: bool) -> Result<(Opened, Result<(), Cause>), Cause> {
    const ATTEMPTS: u32 = 20;
    const PAUSE: Duration = Duration::from_millis(20);
    let is_active = |opened: &Opened| dax::is_active(opened.fd()) == Ok(true);
    if is_active(&opened) {
        return Ok((opened, Ok(())));
    }
    if !alone {
        let holders = opened.holders();
        return Ok((opened, Err(Cause::Held(holders))));
    }
    let path = opened.path.clone();
    let (device, identity) = (opened.device, opened.identity);
    let access = rustix::fs::fcntl_getfl(&opened.file)
        .map_or(OFlags::RDONLY, |flags| flags & OFlags::RWMODE);
    let mut current = opened;
    for _ in 0..ATTEMPTS {
        // Closed before it is opened: the inode must leave the cache.
        drop(current);
        current = Opened::open(&path, access)?;
        if (current.device, current.identity) != (device, identity) {
            return Err(Cause::Replaced);
        }
        if is_active(&current) {
            return Ok((current, Ok(())));
        }
        sleep(PAUSE);
    }
    let cause = no_dax(&current);
    Ok((current, Err(cause)))
}

fn clear(path: &Path) -> Result<Untagged, Cause> {
    let opened = Opened::open(path, OFlags::RDONLY)?;
    // Only to say what it was: it comes off whatever the extents are.
    let extents = extents::fingerprint(opened.fd(), opened.size(), false).unwrap_or(None);
    let tags = state::read(opened.fd(), &opened.identity, extents).map_err(call("fgetxattr"))?;
    let security = tags.iter().any(|tag| tag.name() == tag::XATTR);
    privilege::require(security)?;
    if tags.is_empty() {
        return Ok(Untagged { removed: tags });
    }
    let lease = opened.lease();
    if lease.hold != Hold::Alone {
        let holders = opened.holders();
        // Somebody refused us the lease: if nobody is found, it is somebody whom /proc hides.
        let hidden = lease.hold != Hold::Unknown && holders == Holders::default();
        if hidden || !holders.none_maps() {
            return Err(Cause::Held(holders));
        }
    }
    let _undisturbed = Undisturbed::begin();
    for tag in &tags {
        rustix::fs::fremovexattr(&opened.file, tag.name()).map_err(call("fremovexattr"))?;
    }
    let ours = tags.iter().find_map(|tag| tag.own_record(&opened.identity));
    if let Some(record) = ours {
        take_off(&opened, &record)?;
    }
    rustix::fs::fsync(&opened.file).map_err(call("fsync"))?;
    Ok(Untagged { removed: tags })
}

/// Puts back the inode flags that the record says `tag` had set.
fn take_off(opened: &Opened, record: &Record) -> Result<(), Cause> {
    let mut flags = 0;
    if record.dax {
        flags |= dax::DAX;
    }
    if record.nodefrag {
        flags |= dax::NODEFRAG;
    }
    if flags == 0 {
        return Ok(());
    }
    let before = dax::attributes(opened.fd()).map_err(call("ioctl FS_IOC_FSGETXATTR"))?;
    let attributes = before.with_flags(before.flags & !flags);
    dax::set_attributes(opened.fd(), attributes).map_err(call("ioctl FS_IOC_FSSETXATTR"))
}
