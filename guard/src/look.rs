//! What has to be known of a file before it is held, and who uses it past the hooks: a loop device,
//! acct(2), a target of NVMe or SCSI were let in when they opened it, and write without asking again.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;

use daxshim_core::dax;
use daxshim_core::filesystem::Filesystem;
use daxshim_core::host::{self, Condition, Holder, Status, shown};
use daxshim_core::lease::{F_SETSIG, Hold};
use rustix::io::Errno;
use rustix::ioctl::opcode;

use crate::Error;
use crate::kernel;
use crate::selftest::key_of;
use crate::set::{Entry, Key, flag};

/// A file that can be held.
#[derive(Clone, Debug)]
pub struct Looked {
    /// Its key.
    pub key: Key,
    /// What is recorded of it; without the caller's flags.
    pub entry: Entry,
    /// Processes that may write to it now: their writes will be refused.
    pub writers: Vec<Holder>,
}

/// Looks at a file that is to be held.
///
/// # Errors
/// It has no tag that binds, no DAX, or somebody in the kernel writes to it.
pub fn look(path: &Path) -> Result<Looked, Error> {
    let what = format!("cannot hold {}", shown(path));
    let status = host::status(path)
        .map_err(|error| Error::new(&what, error.cause.to_string(), error.help()))?;
    tagged(&what, path, &status)?;
    let file = File::open(path)
        .map_err(|error| Error::new(&what, error.to_string(), "run as root, and check the path"))?;
    let key = key_of(&file, path)?;
    if (key.inode, key.generation) != (status.inode, status.generation.unwrap_or(key.generation)) {
        return Err(Error::new(
            what,
            "the path names another file than a moment ago",
            "find out what changes it, then try again",
        ));
    }
    unused_by_the_kernel(&what, &file, &status)?;
    Ok(Looked {
        key,
        entry: recorded(&file),
        writers: status
            .holders
            .known
            .into_iter()
            .filter(|holder| holder.writes)
            .collect(),
    })
}

fn tagged(what: &str, path: &Path, status: &Status) -> Result<(), Error> {
    let bound = status
        .tag
        .as_ref()
        .filter(|tag| matches!(tag.condition, Condition::Tagged | Condition::Broken));
    let Some(tag) = bound else {
        return Err(Error::new(
            what,
            "it is not tagged DAX-immutable",
            format!(
                "daxshim tag {} (which holds it, where there is a guard)",
                shown(path)
            ),
        ));
    };
    if tag.emulated || !status.dax.active {
        return Err(Error::new(
            what,
            if tag.emulated {
                "its tag is an emulated one: the kernel has no DAX for it"
            } else {
                "DAX is not in use for it (STATX_ATTR_DAX is 0)"
            },
            "the guard holds files with fs-DAX alone: daxshim doctor lists where there is some",
        ));
    }
    Ok(())
}

/// Writers that no process explains are the kernel's own.
fn unused_by_the_kernel(what: &str, file: &File, status: &Status) -> Result<(), Error> {
    let holders = &status.holders;
    if !holders.loops.is_empty() {
        let devices = holders.loops.join(", ");
        return Err(Error::new(
            what,
            format!("it is behind {devices}, which writes to it without asking"),
            format!("losetup -d {}, then try again", holders.loops.join(" ")),
        ));
    }
    let help = "end that use (accton off; /sys/kernel/config/nvmet, /sys/kernel/config/target), then try again";
    if let Some(user) = kernel::user_of(file) {
        return Err(Error::new(
            what,
            format!("the kernel itself writes to it without asking: {user}"),
            help,
        ));
    }
    let explained =
        holders.known.iter().any(|h| h.writes || h.mapped) || !holders.unseen.is_empty();
    if !explained && is_written(file) {
        return Err(Error::new(
            what,
            "somebody has it open for writing, and no process does: the kernel itself (process \
             accounting, an NVMe or SCSI target, a swap file)",
            help,
        ));
    }
    Ok(())
}

/// Whether a lease says that somebody can write to it.
fn is_written(file: &File) -> bool {
    let set = |argument: i32| {
        // SAFETY: fcntl(2) with numbers.
        match unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, argument) } {
            0 => Ok(()),
            _ => Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)),
        }
    };
    // SAFETY: as above.
    let _ = unsafe { libc::fcntl(file.as_raw_fd(), F_SETSIG, libc::SIGURG) };
    let hold = Hold::take(Filesystem::of(file.as_fd()), set);
    let _ = set(libc::F_UNLCK);
    hold == Hold::Shared
}

/// What setting the inode's flags is held against, and whether its extents can be shared.
fn recorded(file: &File) -> Entry {
    let attributes = dax::attributes(file.as_fd()).unwrap_or_default();
    let inode_flags = rustix::fs::ioctl_getflags(file).map_or(0, |flags| flags.bits());
    Entry {
        flags: if can_share_extents(file) {
            flag::REFLINK
        } else {
            0
        },
        inode_flags,
        xflags: attributes.flags,
        extent_size: attributes.extent_size,
        project: attributes.project,
        cow_extent_size: attributes.cow_extent_size,
        ..Entry::default()
    }
}

/// Whether the filesystem has reflinks; where it does not tell, it may have.
fn can_share_extents(file: &File) -> bool {
    /// `struct xfs_fsop_geom_v4`: its flags are the 24th word.
    type Geometry = [u32; 28];
    const FSGEOMETRY: rustix::ioctl::Opcode = opcode::read::<Geometry>(b'X', 124);
    const REFLINK: u32 = 1 << 20;
    match Filesystem::of(file.as_fd()) {
        Filesystem::Ext => false,
        Filesystem::Xfs => {
            // SAFETY: XFS_IOC_FSGEOMETRY_V4 fills that struct and touches nothing else.
            let geometry = unsafe {
                rustix::ioctl::ioctl(file, rustix::ioctl::Getter::<FSGEOMETRY, Geometry>::new())
            };
            geometry.map_or(true, |words| {
                words.get(23).is_none_or(|flags| flags & REFLINK != 0)
            })
        }
        _ => true,
    }
}
