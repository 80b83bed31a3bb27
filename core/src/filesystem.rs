//! What a filesystem is known for, by the number that statfs(2) gives.

use core::fmt::Write;
use core::ops::ControlFlow;

use rustix::fd::{AsFd, BorrowedFd};
use rustix::fs::{AtFlags, CWD, OFlags, StatxFlags};

use crate::line::Line;
use crate::proc::{Own, beginning, decimal, each_byte};

/// A filesystem that something is known of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filesystem {
    /// ext2, ext3, ext4.
    Ext,
    /// XFS.
    Xfs,
    /// btrfs.
    Btrfs,
    /// tmpfs.
    Tmpfs,
    /// Another one with fs-DAX: virtiofs, EROFS.
    OtherDax,
    /// Another one that writes to new places: bcachefs, ZFS, F2FS, NILFS2.
    OtherCow,
    /// Any other.
    Other,
}

impl Filesystem {
    /// fstatfs(2); linux/magic.h, and the filesystems' own sources for the last ones.
    #[must_use]
    pub fn of(fd: BorrowedFd<'_>) -> Filesystem {
        match rustix::fs::fstatfs(fd).map(|statfs| statfs.f_type as u32) {
            Ok(0xef53) => Filesystem::Ext,
            Ok(0x5846_5342) => Filesystem::Xfs,
            Ok(0x9123_683e) => Filesystem::Btrfs,
            Ok(0x0102_1994) => Filesystem::Tmpfs,
            Ok(0x6573_5546 | 0xe0f5_e1e2) => Filesystem::OtherDax,
            Ok(0xca45_1a4e | 0x2fc1_2fc1 | 0xf2f5_2010 | 0x3434) => Filesystem::OtherCow,
            _ => Filesystem::Other,
        }
    }

    /// Whether a lease sees everybody who has a file open or mapped (measured); elsewhere
    /// (overlayfs) it misses mappings whose descriptor was closed.
    #[must_use]
    pub const fn proves_leases(self) -> bool {
        matches!(
            self,
            Filesystem::Ext | Filesystem::Xfs | Filesystem::Btrfs | Filesystem::Tmpfs
        )
    }

    /// Whether what is stored to its files is meant to be found again: neither huge pages nor files by which the
    /// kernel and its devices are spoken to, to read which may do something (linux/magic.h).
    #[must_use]
    pub fn keeps_files(fd: BorrowedFd<'_>) -> bool {
        const OTHERS: [u32; 8] = [
            0x9584_58f6, // hugetlbfs
            0x6265_6572, // sysfs
            0x9fa0,      // proc
            0x6462_6720, // debugfs
            0x7472_6163, // tracefs
            0xde5e_81e4, // efivarfs
            0xcafe_4a11, // bpffs
            0x1cd1,      // devpts
        ];
        let found = rustix::fs::fstatfs(fd).map(|statfs| statfs.f_type as u32);
        found.is_ok_and(|found| !OTHERS.contains(&found))
    }

    /// Whether it writes to new places: there a mapped store moves extents by design, so an
    /// emulated tag can't remember them.
    #[must_use]
    pub const fn moves_on_write(self) -> bool {
        matches!(self, Filesystem::Btrfs | Filesystem::OtherCow)
    }

    /// Whether it has fs-DAX.
    #[must_use]
    pub const fn has_dax(self) -> bool {
        matches!(
            self,
            Filesystem::Ext | Filesystem::Xfs | Filesystem::OtherDax
        )
    }
}

/// Whether it is certain that a file can't have DAX: its filesystem has none, its device does none
/// (`queue/dax` in sysfs, of the device or, for a partition, its disk), or it is mounted with
/// `dax=never`.
#[must_use]
pub fn never_dax(fd: BorrowedFd<'_>) -> bool {
    if !Filesystem::of(fd).has_dax() {
        return true;
    }
    let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
    let Ok(stat) = rustix::fs::statx(fd, c"", flags, StatxFlags::MNT_ID) else {
        return false;
    };
    let device_has_none = ["queue/dax", "../queue/dax"].iter().find_map(|name| {
        let mut line = Line::<64>::new();
        let (major, minor) = (stat.stx_dev_major, stat.stx_dev_minor);
        let path = line.c_str(format_args!("/sys/dev/block/{major}:{minor}/{name}"))?;
        let mut digit = [0];
        Some(beginning(CWD, path, &mut digit).ok()? == b"0")
    });
    device_has_none == Some(true)
        || (stat.stx_mask & StatxFlags::MNT_ID.bits() != 0 && is_mounted_never(stat.stx_mnt_id))
}

/// Whether the mount with this ID says `dax=never` (proc_pid_mountinfo(5)).
fn is_mounted_never(id: u64) -> bool {
    let Ok(file) = Own::open(CWD, c"/proc/thread-self/mountinfo", OFlags::RDONLY) else {
        return false;
    };
    let mut search = Search::of(id);
    let _ = each_byte(file.as_fd(), |byte| search.take(byte));
    search.found
}

/// Looks for `dax=never` in mountinfo, byte by byte, as its lines have any length.
struct Search {
    id: u64,
    word: Line<24>,
    /// The word is the line's first.
    is_first: bool,
    /// The line is about the mount.
    is_ours: bool,
    /// Behind the `-` that ends the optional fields.
    is_behind: bool,
    found: bool,
}

impl Search {
    const fn of(id: u64) -> Search {
        Search {
            id,
            word: Line::new(),
            is_first: true,
            is_ours: false,
            is_behind: false,
            found: false,
        }
    }

    fn take(&mut self, byte: u8) -> ControlFlow<()> {
        if !matches!(byte, b' ' | b',' | b'\n') {
            // What does not fit is none of the words looked for, and stays none when cut.
            let _ = self.word.write_char(char::from(byte));
            return ControlFlow::Continue(());
        }
        let word = self.word.as_bytes();
        if self.is_first {
            self.is_ours = decimal(word) == Some(self.id);
        } else if word == b"-" {
            self.is_behind = true;
        } else if self.is_ours && self.is_behind && word == b"dax=never" {
            self.found = true;
        }
        self.word = Line::new();
        self.is_first = byte == b'\n';
        self.is_behind &= !self.is_first;
        if self.found || (self.is_first && self.is_ours) {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finds(text: &str, id: u64) -> bool {
        let mut search = Search::of(id);
        let _ = text.bytes().try_for_each(|byte| search.take(byte));
        search.found
    }

    #[test]
    fn the_mount_option_is_that_of_the_mount() {
        let text = "1 0 8:1 / / rw - ext4 /dev/a rw,dax=never\n\
                    2 1 8:2 / /x,dax=never rw,relatime shared:3 - ext4 /dev/b rw,dax=inode\n\
                    12 1 8:2 / /y rw - xfs /dev/c rw,attr2,dax=never,noquota\n";
        assert!(finds(text, 1));
        assert!(!finds(text, 2));
        assert!(finds(text, 12));
        assert!(!finds(text, 3));
    }

    #[test]
    fn tmpfs_never_has_dax() {
        let file = tempfile::tempfile_in("/dev/shm").unwrap();
        assert_eq!(Filesystem::of(file.as_fd()), Filesystem::Tmpfs);
        assert!(never_dax(file.as_fd()));
    }
}
