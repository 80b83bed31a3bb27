//! The numbers of ioctl(2)'s requests, computed as linux/ioctl.h does: from direction, type, number and
//! the size of the argument. In the order of the kernel's headers, which say what each does.

use core::ffi::{c_int, c_long, c_uint};
use rustix::ioctl::opcode::{none, read, read_write, write};

/// Types of requests.
const FS: u8 = b'f';
const VERSION: u8 = b'v';
const XFS: u8 = b'X';
const BTRFS: u8 = 0x94;
const F2FS: u8 = 0xf5;
const LOOP: u8 = 0x4c;
const UFFD: u8 = 0xaa;

/// `struct file_clone_range`.
type CloneRange = [u64; 4];
/// `struct file_dedupe_range`, without its destinations.
type DedupeRange = [u64; 3];
/// `struct fsxattr`.
type Attributes = crate::dax::Attributes;
/// `struct space_resv`, which XFS calls `xfs_flock64`.
type Space = [u64; 6];
/// `struct fsverity_enable_arg`.
type Verity = [u64; 16];
/// `struct fscrypt_policy_v1`.
type Policy = [u8; 12];
/// `struct move_extent`.
type MoveExtent = [u64; 5];
/// `struct fsdmidata`.
type DataMigration = [u32; 2];
/// `struct xfs_fsop_handlereq`.
type HandleRequest = [u64; 7];
/// `struct xfs_swapext`, with a `struct xfs_bstat`.
type SwapExtents = [u64; 24];
/// `struct xfs_fsop_setdm_handlereq`.
type DataMigrationByHandle = [u64; 8];
/// `struct xfs_fsop_attrmulti_handlereq`.
type AttributesByHandle = [u64; 9];
/// `struct xfs_exchange_range`.
type ExchangeRange = [u64; 5];
/// `struct xfs_commit_range`.
type CommitRange = [u64; 11];
/// `struct btrfs_ioctl_vol_args`.
type Volume = [u64; 512];
/// `struct btrfs_ioctl_defrag_range_args`.
type DefragRange = [u64; 6];
/// `struct btrfs_ioctl_encoded_io_args`.
type EncodedIo = [u64; 16];
/// `struct f2fs_defragment`.
type Defragment = [u64; 2];
/// `struct f2fs_move_range`.
type MoveRange = [u64; 4];
/// `struct f2fs_sectrim_range`.
type TrimRange = [u64; 3];
/// `struct f2fs_comp_option`.
type Compression = [u8; 2];
/// `struct uffdio_register`.
type UserFaults = [u64; 4];

macro_rules! requests {
    ($($(#[$doc:meta])* $name:ident = $number:expr;)+) => {
        $($(#[$doc])* #[allow(missing_docs)] pub const $name: u32 = $number;)+

        /// Each by its name in the kernel's headers.
        pub const ALL: &[(&str, u32)] = &[$((stringify!($name), $name)),+];
    };
}

requests! {
    // linux/fs.h
    FICLONE = write::<c_int>(BTRFS, 9);
    FICLONERANGE = write::<CloneRange>(BTRFS, 13);
    FIDEDUPERANGE = read_write::<DedupeRange>(BTRFS, 54);
    FS_IOC_GETFLAGS = read::<c_long>(FS, 1);
    FS_IOC_SETFLAGS = write::<c_long>(FS, 2);
    FS_IOC_SETVERSION = write::<c_long>(VERSION, 2);
    FS_IOC32_SETFLAGS = write::<c_int>(FS, 2);
    FS_IOC32_SETVERSION = write::<c_int>(VERSION, 2);
    FS_IOC_FSGETXATTR = read::<Attributes>(XFS, 31);
    FS_IOC_FSSETXATTR = write::<Attributes>(XFS, 32);
    // linux/falloc.h
    FS_IOC_RESVSP = write::<Space>(XFS, 40);
    FS_IOC_UNRESVSP = write::<Space>(XFS, 41);
    FS_IOC_RESVSP64 = write::<Space>(XFS, 42);
    FS_IOC_UNRESVSP64 = write::<Space>(XFS, 43);
    FS_IOC_ZERO_RANGE = write::<Space>(XFS, 57);
    // linux/fsverity.h, linux/fscrypt.h
    FS_IOC_ENABLE_VERITY = write::<Verity>(FS, 133);
    FS_IOC_SET_ENCRYPTION_POLICY = read::<Policy>(FS, 19);
    // linux/ext4.h
    EXT4_IOC_SETVERSION = write::<c_long>(FS, 4);
    EXT4_IOC32_SETVERSION = write::<c_int>(FS, 4);
    EXT4_IOC_MIGRATE = none(FS, 9);
    EXT4_IOC_ALLOC_DA_BLKS = none(FS, 12);
    EXT4_IOC_MOVE_EXT = read_write::<MoveExtent>(FS, 15);
    EXT4_IOC_SWAP_BOOT = none(FS, 17);
    // fs/xfs/libxfs/xfs_fs.h
    XFS_IOC_ALLOCSP = write::<Space>(XFS, 10);
    XFS_IOC_FREESP = write::<Space>(XFS, 11);
    XFS_IOC_ALLOCSP64 = write::<Space>(XFS, 36);
    XFS_IOC_FREESP64 = write::<Space>(XFS, 37);
    XFS_IOC_FSSETDM = write::<DataMigration>(XFS, 39);
    XFS_IOC_OPEN_BY_HANDLE = read_write::<HandleRequest>(XFS, 107);
    XFS_IOC_SWAPEXT = read_write::<SwapExtents>(XFS, 109);
    XFS_IOC_FSSETDM_BY_HANDLE = write::<DataMigrationByHandle>(XFS, 121);
    XFS_IOC_ATTRMULTI_BY_HANDLE = write::<AttributesByHandle>(XFS, 123);
    XFS_IOC_EXCHANGE_RANGE = write::<ExchangeRange>(XFS, 129);
    XFS_IOC_COMMIT_RANGE = write::<CommitRange>(XFS, 131);
    // linux/btrfs.h
    BTRFS_IOC_DEFRAG = write::<Volume>(BTRFS, 2);
    BTRFS_IOC_DEFRAG_RANGE = write::<DefragRange>(BTRFS, 16);
    BTRFS_IOC_ENCODED_WRITE = write::<EncodedIo>(BTRFS, 64);
    // linux/f2fs.h
    F2FS_IOC_START_ATOMIC_WRITE = none(F2FS, 1);
    F2FS_IOC_COMMIT_ATOMIC_WRITE = none(F2FS, 2);
    F2FS_IOC_START_VOLATILE_WRITE = none(F2FS, 3);
    F2FS_IOC_DEFRAGMENT = read_write::<Defragment>(F2FS, 8);
    F2FS_IOC_MOVE_RANGE = read_write::<MoveRange>(F2FS, 9);
    F2FS_IOC_SET_PIN_FILE = write::<c_uint>(F2FS, 13);
    F2FS_IOC_RELEASE_COMPRESS_BLOCKS = read::<u64>(F2FS, 18);
    F2FS_IOC_RESERVE_COMPRESS_BLOCKS = read::<u64>(F2FS, 19);
    F2FS_IOC_SEC_TRIM_FILE = write::<TrimRange>(F2FS, 20);
    F2FS_IOC_SET_COMPRESS_OPTION = write::<Compression>(F2FS, 22);
    F2FS_IOC_DECOMPRESS_FILE = none(F2FS, 23);
    F2FS_IOC_COMPRESS_FILE = none(F2FS, 24);
    F2FS_IOC_START_ATOMIC_REPLACE = none(F2FS, 25);
    // linux/userfaultfd.h
    UFFDIO_REGISTER = read_write::<UserFaults>(UFFD, 0);
    // linux/loop.h
    LOOP_SET_FD = none(LOOP, 0);
    LOOP_CHANGE_FD = none(LOOP, 6);
    LOOP_CONFIGURE = none(LOOP, 10);
}

/// The type of a request: the second byte of its number.
#[must_use]
pub const fn kind(request: u32) -> u8 {
    (request >> 8) as u8
}
