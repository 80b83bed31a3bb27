//! What an inode says about DAX: statx(2)'s STATX_ATTR_DAX, the persistent FS_XFLAG_DAX, and the
//! identity that a tag is held against. Usable inside hooks.

#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic
    )
)]

use rustix::fd::BorrowedFd;
use rustix::fs::{AtFlags, StatxAttributes, StatxFlags};
use rustix::io::Errno;
use rustix::ioctl;

/// FS_XFLAG_NODEFRAG: xfs_fsr(8) leaves the file's extents where they are.
pub const NODEFRAG: u32 = 0x0000_2000;
/// FS_XFLAG_EXTSIZE: [`Attributes::extent_size`] counts.
pub const EXTSIZE: u32 = 0x0000_0800;
/// FS_XFLAG_DAX: use DAX for this inode (where the mount says `dax=inode`).
pub const DAX: u32 = 0x0000_8000;
/// FS_XFLAG_DAX_IMMUTABLE as proposed; no kernel knows it.
pub const DAX_IMMUTABLE: u32 = 0x4000_0000;
/// FS_XFLAG_HASATTR: the inode has extended attributes; reported, and ignored when set.
pub const HASATTR: u32 = 0x8000_0000;
/// FS_DAX_FL: FS_XFLAG_DAX as FS_IOC_GETFLAGS and FS_IOC_SETFLAGS name it.
pub const DAX_FL: u32 = 0x0200_0000;

/// `struct fsxattr`, ioctl_xfs_fsgetxattr(2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Attributes {
    /// FS_XFLAG_*.
    pub flags: u32,
    /// Extent size hint, bytes.
    pub extent_size: u32,
    /// Extents of the data fork (read only).
    pub extents: u32,
    /// Project.
    pub project: u32,
    /// Copy-on-write extent size hint, bytes.
    pub cow_extent_size: u32,
    padding: [u8; 8],
}

impl Attributes {
    /// The same with other FS_XFLAG_*.
    #[must_use]
    pub const fn with_flags(mut self, flags: u32) -> Attributes {
        self.flags = flags;
        self
    }
}

const FSGETXATTR: ioctl::Opcode = ioctl::opcode::read::<Attributes>(b'X', 31);
const FSSETXATTR: ioctl::Opcode = ioctl::opcode::write::<Attributes>(b'X', 32);
const GETVERSION: ioctl::Opcode = ioctl::opcode::read::<core::ffi::c_long>(b'v', 1);

/// statx(2): whether the kernel accesses this inode by DAX at this moment (STATX_ATTR_DAX, since
/// Linux 5.8).
///
/// # Errors
/// The errors of statx(2).
pub fn is_active(fd: BorrowedFd<'_>) -> Result<bool, Errno> {
    let stat = rustix::fs::statx(
        fd,
        c"",
        AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC,
        StatxFlags::empty(),
    )?;
    Ok(stat.stx_attributes.contains(StatxAttributes::DAX))
}

/// ioctl_xfs_fsgetxattr(2): the inode's persistent attributes.
///
/// # Errors
/// ENOTTY or EOPNOTSUPP where the filesystem has none.
pub fn attributes(fd: BorrowedFd<'_>) -> Result<Attributes, Errno> {
    // SAFETY: FS_IOC_FSGETXATTR fills a struct fsxattr and touches nothing else.
    unsafe { ioctl::ioctl(fd, ioctl::Getter::<FSGETXATTR, Attributes>::new()) }
}

/// ioctl_xfs_fssetxattr(2): sets the inode's persistent attributes.
///
/// # Errors
/// ENOTTY or EOPNOTSUPP where the filesystem has none or not these; EPERM, EINVAL.
pub fn set_attributes(fd: BorrowedFd<'_>, attributes: Attributes) -> Result<(), Errno> {
    // SAFETY: FS_IOC_FSSETXATTR reads a struct fsxattr and touches no memory of ours.
    unsafe { ioctl::ioctl(fd, ioctl::Setter::<FSSETXATTR, Attributes>::new(attributes)) }
}

/// FS_IOC_GETVERSION: the inode's generation, which tells a new file from a deleted one that had
/// the same inode number. `None` where the filesystem or the descriptor (O_PATH) has no answer.
#[must_use]
pub fn generation(fd: BorrowedFd<'_>) -> Option<u32> {
    // The number announces a long; every filesystem writes an int.
    let mut answer = [0_u32; 2];
    // SAFETY: the kernel writes 4 or 8 bytes, and there are 8.
    let asked =
        unsafe { ioctl::ioctl(fd, ioctl::Updater::<GETVERSION, [u32; 2]>::new(&mut answer)) };
    let [low, _] = answer;
    asked.ok().map(|()| low)
}

/// `struct file_handle`, name_to_handle_at(2): inode number and generation of a file that nobody has to
/// open for it. Opening wakes whoever watches the file or has a lease on it, and closing drops the record
/// locks that the process has on it.
#[derive(Debug)]
#[repr(C)]
pub struct Handle {
    length: u32,
    kind: i32,
    bytes: [u8; Handle::ROOM],
}

impl Default for Handle {
    fn default() -> Handle {
        Handle {
            length: Handle::ROOM as u32,
            kind: 0,
            bytes: [0; Handle::ROOM],
        }
    }
}

impl Handle {
    /// MAX_HANDLE_SZ (linux/exportfs.h), bytes.
    const ROOM: usize = 128;
    /// linux/exportfs.h
    const FILEID_INO32_GEN: i32 = 1;
    /// linux/exportfs.h; XFS has named its own so for longer.
    const FILEID_INO64_GEN: i32 = 0x81;

    /// The generation that FS_IOC_GETVERSION would tell, if the layout is one that is known: that of ext4
    /// and most others (generic_encode_ino32_fh), of XFS (xfs_fs_encode_fh), of tmpfs (shmem_encode_fh). A
    /// handle that names another inode than `inode` has another layout.
    #[must_use]
    pub fn generation(&self, inode: u64) -> Option<u32> {
        let word = |at: usize| {
            let (words, _) = self.bytes.as_chunks::<4>();
            words.get(at).map(|word| u32::from_ne_bytes(*word))
        };
        let wide = |low: u32, high: u32| u64::from(high) << 32 | u64::from(low);
        let (first, second, third) = (word(0)?, word(1)?, word(2)?);
        let (named, generation) = match (self.kind, self.length) {
            (Handle::FILEID_INO32_GEN, 8) => (u64::from(first), second),
            (Handle::FILEID_INO32_GEN, 12) => (wide(second, third), first),
            (Handle::FILEID_INO64_GEN, 12) => (wide(first, second), third),
            _ => return None,
        };
        (named == inode).then_some(generation)
    }
}

/// Whether two generations are proof enough that a descriptor which was one inode's still is. They are
/// random numbers on ext4 and XFS; a small one may be a counter's or an image maker's, and none proves
/// nothing.
#[must_use]
pub fn is_proof(then: Option<u32>, now: Option<u32>) -> bool {
    then == now && then.is_some_and(|generation| generation > 0xffff)
}

/// What the inode says of itself, to be held against a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// `st_ino`.
    pub inode: u64,
    /// FS_IOC_GETVERSION, where the filesystem has it and the file could be opened to ask.
    pub generation: Option<u32>,
    /// `st_size`, bytes.
    pub size: u64,
}

/// fstat(2) and FS_IOC_GETVERSION: what a tag's record is held against.
///
/// # Errors
/// The errors of fstat(2).
pub fn identity(fd: BorrowedFd<'_>) -> Result<Identity, Errno> {
    let stat = rustix::fs::fstat(fd)?;
    Ok(Identity {
        inode: stat.st_ino,
        generation: generation(fd),
        size: u64::try_from(stat.st_size).unwrap_or(0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn the_ioctls_have_the_kernel_s_numbers() {
        assert_eq!(size_of::<Attributes>(), 28);
        assert_eq!(FSGETXATTR, 0x801c_581f);
        assert_eq!(FSSETXATTR, 0x401c_5820);
        if cfg!(target_pointer_width = "64") {
            assert_eq!(GETVERSION, 0x8008_7601);
        }
    }

    #[test]
    fn only_the_same_random_generation_is_proof() {
        assert!(is_proof(Some(0x1234_5678), Some(0x1234_5678)));
        assert!(!is_proof(Some(0x1234_5678), Some(0x1234_5679)));
        assert!(!is_proof(Some(0x1234_5678), None));
        assert!(!is_proof(None, Some(0x1234_5678)));
        assert!(!is_proof(None, None));
        assert!(!is_proof(Some(0), Some(0)));
        assert!(!is_proof(Some(7), Some(7)));
    }

    #[test]
    fn the_layouts_of_handles_are_known() {
        let handle = |kind, words: &[u32]| {
            let mut handle = Handle {
                kind,
                length: 4 * words.len() as u32,
                ..Handle::default()
            };
            for (to, word) in handle.bytes.chunks_mut(4).zip(words) {
                to.copy_from_slice(&word.to_ne_bytes());
            }
            handle
        };
        let (inode, generation) = (0x2_0000_0007_u64, 0xdead_beef);
        assert_eq!(handle(1, &[7, generation]).generation(7), Some(generation));
        let tmpfs = handle(1, &[generation, 7, 2]);
        assert_eq!(tmpfs.generation(inode), Some(generation));
        let xfs = handle(0x81, &[7, 2, generation]);
        assert_eq!(xfs.generation(inode), Some(generation));
        // Another inode's, another layout.
        assert_eq!(xfs.generation(7), None);
        assert_eq!(tmpfs.generation(7), None);
        assert_eq!(handle(1, &[7, generation]).generation(inode), None);
        assert_eq!(handle(0x4d, &[7, 0, 5, 0, generation]).generation(7), None);
        assert_eq!(handle(0xf8, &[7, generation]).generation(7), None);
        assert_eq!(handle(2, &[7, generation, 1, 1]).generation(7), None);
        assert_eq!(size_of::<Handle>(), 136);
    }

    #[test]
    fn tmpfs_has_no_dax() {
        let file = tempfile::tempfile_in("/dev/shm").unwrap();
        assert_eq!(is_active(file.as_fd()), Ok(false));
    }

    #[test]
    fn the_identity_is_that_of_fstat() {
        use std::os::unix::fs::MetadataExt;
        let file = tempfile::tempfile().unwrap();
        file.set_len(4097).unwrap();
        let identity = identity(file.as_fd()).unwrap();
        assert_eq!(identity.inode, file.metadata().unwrap().ino());
        assert_eq!(identity.size, 4097);
    }
}
