//! The mount that a file lies on: filesystem type, `dax=` option, device.

use std::path::{Path, PathBuf};

use rustix::fd::BorrowedFd;
use rustix::fs::{AtFlags, StatxFlags};
use serde::Serialize;

/// A line of /proc/self/mountinfo.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Mount {
    /// Where it is mounted.
    #[serde(serialize_with = "super::json::path")]
    pub point: PathBuf,
    /// What is mounted (a device, or a name).
    pub source: String,
    /// Filesystem type.
    pub filesystem: String,
    /// The `dax` mount option: `always`, `inode`, `never`; `None` where there is none (ext4 and
    /// XFS then behave as `inode`).
    pub dax: Option<String>,
    /// Whether the device underneath can do DAX (`queue/dax` in sysfs); `None` where it has no
    /// device.
    pub device_dax: Option<bool>,
    /// `major:minor`.
    pub device: String,
}

/// All mounts of this namespace.
pub(super) fn all() -> Vec<(i32, Mount)> {
    let Ok(mounts) = procfs::process::Process::myself().and_then(|me| me.mountinfo()) else {
        return Vec::new();
    };
    mounts
        .0
        .into_iter()
        .map(|mount| {
            let dax = mount
                .super_options
                .get("dax")
                .or_else(|| mount.mount_options.get("dax"))
                .map(|value| value.clone().unwrap_or_else(|| "always".into()));
            (
                mount.mnt_id,
                Mount {
                    point: unescaped(&mount.mount_point),
                    source: mount.mount_source.unwrap_or_default(),
                    filesystem: mount.fs_type,
                    dax,
                    device_dax: device_dax(&mount.majmin),
                    device: mount.majmin,
                },
            )
        })
        .collect()
}

/// All mounts of this namespace whose files can have DAX.
#[must_use]
pub fn dax_mounts() -> Vec<Mount> {
    let can = |mount: &Mount| {
        !mount.never_dax()
            && (mount.device_dax == Some(true)
                || mount.dax.as_deref().is_some_and(|option| option != "never"))
    };
    let mounts = all().into_iter().map(|(_, mount)| mount);
    mounts.filter(can).collect()
}

/// The mount that an open file lies on.
pub(super) fn of(fd: BorrowedFd<'_>) -> Option<Mount> {
    let stat = rustix::fs::statx(fd, c"", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID).ok()?;
    if stat.stx_mask & StatxFlags::MNT_ID.bits() == 0 {
        return None;
    }
    all()
        .into_iter()
        .find(|(id, _)| u64::try_from(*id) == Ok(stat.stx_mnt_id))
        .map(|(_, mount)| mount)
}

impl Mount {
    /// Why files here have no DAX, as far as the mount tells.
    pub(super) fn why_no_dax(&self) -> String {
        let filesystem = &self.filesystem;
        if !matches!(
            filesystem.as_str(),
            "ext2" | "ext4" | "xfs" | "virtiofs" | "fuse" | "erofs"
        ) {
            return format!("{filesystem} has no fs-DAX");
        }
        if self.dax.as_deref() == Some("never") {
            return format!("{} is mounted with dax=never", self.point.display());
        }
        if self.device_dax == Some(false) {
            return format!(
                "the device under {} ({}) is not persistent memory",
                self.point.display(),
                self.source
            );
        }
        format!(
            "{filesystem} on {} does not use DAX for it (block size other than the page size, a \
             feature that excludes DAX, or something keeps the inode in use; see dmesg)",
            self.source
        )
    }

    /// Whether it is certain that no file here can have DAX.
    pub(super) fn never_dax(&self) -> bool {
        self.dax.as_deref() == Some("never")
            || self.device_dax == Some(false)
            || !matches!(
                self.filesystem.as_str(),
                "ext2" | "ext4" | "xfs" | "virtiofs" | "fuse" | "erofs"
            )
    }
}

/// `queue/dax` of a block device or, for a partition, of its disk.
fn device_dax(device: &str) -> Option<bool> {
    let base = Path::new("/sys/dev/block").join(device);
    ["queue/dax", "../queue/dax"]
        .iter()
        .find_map(|name| std::fs::read_to_string(base.join(name)).ok())
        .map(|value| value.trim() == "1")
}

/// mountinfo writes space, tab, newline and backslash as three octal digits.
fn unescaped(path: &Path) -> PathBuf {
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    let mut rest = path.as_os_str().as_bytes();
    let mut plain = Vec::with_capacity(rest.len());
    while let Some((&first, tail)) = rest.split_first() {
        let octal = (first == b'\\')
            .then(|| tail.get(..3))
            .flatten()
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match octal {
            Some(byte) => {
                plain.push(byte);
                rest = tail.get(3..).unwrap_or_default();
            }
            None => {
                plain.push(first);
                rest = tail;
            }
        }
    }
    std::ffi::OsString::from_vec(plain).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn escaped_mount_points_are_read() {
        assert_eq!(
            unescaped(Path::new(r"/a\040b\134c\0")),
            Path::new(r"/a b\c\0")
        );
    }

    #[test]
    fn a_file_s_mount_is_found() {
        let file = tempfile::tempfile_in("/dev/shm").unwrap();
        let mount = of(file.as_fd()).unwrap();
        assert_eq!(mount.filesystem, "tmpfs");
        assert!(mount.never_dax());
        assert_eq!(mount.why_no_dax(), "tmpfs has no fs-DAX");
    }
}
