//! Setting and clearing tags.
//!
//! A file is tagged from the moment its attribute is there, so the attribute is set last and
//! removed first; signals are held off from the first change to the last.

use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use rustix::fs::OFlags;

use super::error::{Action, Cause, Error, call};
use super::file::{Lease, Opened};
use super::holders::Holders;
use super::privilege::Undisturbed;
use super::state::{self, Condition, TagState};
use crate::dax;
use crate::extents::{self, Survey};
use crate::lease::Hold;
use crate::tag::change::{self, Flags, Plan, Refusal};
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
/// CAP_LINUX_IMMUTABLE (unless emulated), DAX set and active (unless emulated), nobody else changing it, and every
/// byte in an allocated, written, unshared extent. The file is fsynced first. On an error it is as
/// it was.
///
/// # Errors
/// [`Error`] says what failed, why, and what to do; its errno is the contract's.
pub fn tag(path: &Path, options: &TagOptions) -> Result<Tagged, Error> {
    set(path, options).map_err(|cause| Error::new(Action::Tag, path, cause))
}

/// Clears a file's tag, be it valid, stale, broken or malformed, and puts back the inode flags
/// that `tag` had set. Needs CAP_LINUX_IMMUTABLE, unless the tag is emulated, and that nobody maps the file.
///
/// # Errors
/// [`Error`]: EPERM without the capability, EBUSY naming the processes while it is mapped.
pub fn untag(path: &Path) -> Result<Untagged, Error> {
    clear(path).map_err(|cause| Error::new(Action::Untag, path, cause))
}

fn set(path: &Path, options: &TagOptions) -> Result<Tagged, Cause> {
    let opened = Opened::open(path, OFlags::RDONLY)?;
    change::may_change(!options.emulate)?;
    let lease = unwritten_by_others(&opened)?;
    if !options.emulate {
        change::could_have_dax(opened.fd(), options.set_dax)
            .map_err(|refusal| cause(&opened, refusal))?;
    }
    let survey = change::look(opened.fd(), opened.size())?;
    let tags = state::read(opened.fd(), &opened.identity, survey.fingerprint)
        .map_err(call("fgetxattr"))?;
    let bound = tags.iter().find(|tag| tag.binds());
    if bound.is_some_and(|tag| tag.condition == Condition::Broken) {
        return Err(Cause::Broken);
    }
    change::sound(&survey)?;
    match bound {
        Some(tag) if (!tag.emulated || options.emulate) && !tag.is_being_cleared() => {
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
    let flags =
        Flags::set(opened.fd(), !options.emulate).map_err(|refusal| cause(&opened, refusal))?;
    let (opened, has_dax) = if options.emulate {
        (opened, Ok(()))
    } else {
        active(opened, !readers)?
    };
    let committed = has_dax.and_then(|()| commit(&opened, options, &flags, &tags));
    let survey = committed.inspect_err(|_| flags.restore(opened.fd()))?;
    Ok(Tagged {
        already: false,
        emulated: options.emulate,
        replaced: tags.into_iter().next(),
        size: opened.size(),
        extents: survey.extents,
        set_dax: flags.set & dax::DAX != 0,
    })
}

/// Checks once more under a lease and sets the attribute.
fn commit(
    opened: &Opened,
    options: &TagOptions,
    flags: &Flags,
    tags: &[TagState],
) -> Result<Survey, Cause> {
    let _lease = unwritten_by_others(opened)?;
    // A tag that went stale because the file grew knows which flags `tag` set back then.
    let before = tags.iter().find_map(|tag| tag.own_record(&opened.identity));
    let ours = |flag, earlier: fn(&Record) -> bool| {
        flags.set & flag != 0 || before.as_ref().is_some_and(earlier)
    };
    let plan = Plan {
        emulate: options.emulate,
        nodefrag: ours(dax::NODEFRAG, |record| record.nodefrag),
        dax: ours(dax::DAX, |record| record.dax),
    };
    Ok(change::set(opened.fd(), &opened.identity, plan)?)
}

/// The lease under which nobody can write to the file; EBUSY if somebody can. Looks more than once,
/// as between fork and exec a child has its parent's descriptors, those that it will not keep too.
fn unwritten_by_others(opened: &Opened) -> Result<Lease<'_>, Cause> {
    const ATTEMPTS: u32 = 10;
    const PAUSE: Duration = Duration::from_millis(20);
    let mut attempt = 1;
    loop {
        let lease = opened.lease();
        if matches!(lease.hold, Hold::Alone | Hold::NoWriters) {
            return Ok(lease);
        }
        let holders = opened.holders();
        if lease.hold == Hold::Unknown && holders.none_writes() {
            return Ok(lease);
        }
        if attempt == ATTEMPTS {
            return Err(Cause::Held(holders));
        }
        attempt += 1;
        drop(lease);
        sleep(PAUSE);
    }
}

/// A refusal with what the command can add to it.
fn cause(opened: &Opened, refusal: Refusal) -> Cause {
    match refusal {
        Refusal::NoDax => no_dax(opened),
        other => other.into(),
    }
}

fn no_dax(opened: &Opened) -> Cause {
    Cause::NoDax(
        opened
            .mount
            .as_ref()
            .map_or_else(|| "STATX_ATTR_DAX stays 0".into(), |m| m.why_no_dax()),
    )
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

/// EBUSY where somebody maps the file, or may do so.
fn unmapped_by_others(opened: &Opened, lease: &Lease<'_>) -> Result<(), Cause> {
    if lease.hold == Hold::Alone {
        return Ok(());
    }
    let holders = opened.holders();
    // Somebody refused us the lease: if nobody is found, it is somebody whom /proc hides.
    let hidden = lease.hold != Hold::Unknown && holders == Holders::default();
    match hidden || !holders.none_maps() {
        true => Err(Cause::Held(holders)),
        false => Ok(()),
    }
}

fn clear(path: &Path) -> Result<Untagged, Cause> {
    let opened = Opened::open(path, OFlags::RDONLY)?;
    // Only to say what it was: it comes off whatever the extents are.
    let extents = extents::fingerprint(opened.fd(), opened.size(), false).unwrap_or(None);
    let tags = state::read(opened.fd(), &opened.identity, extents).map_err(call("fgetxattr"))?;
    let security = tags.iter().any(|tag| tag.name() == tag::XATTR);
    change::may_change(security)?;
    if tags.is_empty() {
        return Ok(Untagged { removed: tags });
    }
    let lease = opened.lease();
    unmapped_by_others(&opened, &lease)?;
    let _undisturbed = Undisturbed::begin();
    let ours = tags.iter().find_map(|tag| tag.own_record(&opened.identity));
    let bound = tags
        .iter()
        .find(|tag| tag.binds() && lease.hold != Hold::Alone);
    if let Some(bound) = bound
        && let Some(record) = bound.own_record(&opened.identity)
    {
        let put = |clearing| {
            let record = Record { clearing, ..record };
            change::write(opened.fd(), bound.name(), &record).map_err(call("fsetxattr"))
        };
        // It binds until nobody maps the file by an earlier look any more.
        put(true)?;
        sleep(tag::GOES_BY);
        if let Err(held) = unmapped_by_others(&opened, &lease) {
            put(false)?;
            return Err(held);
        }
    }
    for tag in &tags {
        rustix::fs::fremovexattr(&opened.file, tag.name()).map_err(call("fremovexattr"))?;
    }
    if let Some(record) = ours {
        change::take_off(opened.fd(), &record)?;
    }
    rustix::fs::fsync(&opened.file).map_err(call("fsync"))?;
    Ok(Untagged { removed: tags })
}
