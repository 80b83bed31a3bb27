//! The hooks, a row each, and the program that is attached to each.
//!
//! Every program begins with the inode's S_DAX, which the set's files all have: other files pay for
//! the hook alone. Then come the look-up in the set, what the hook asks, and the record of the
//! refusal. Where arguments and fields lie is taken from the kernel's BTF, by prototype and name.

mod body;
mod layout;

use daxshim_core::contract::Operation;
use daxshim_core::requests::{
    EXT4_IOC_ALLOC_DA_BLKS, EXT4_IOC_MIGRATE, EXT4_IOC_MOVE_EXT, EXT4_IOC_SETVERSION,
    EXT4_IOC_SWAP_BOOT, EXT4_IOC32_SETVERSION, FS_IOC_ENABLE_VERITY, FS_IOC_FSSETXATTR,
    FS_IOC_SET_ENCRYPTION_POLICY, FS_IOC_SETFLAGS, FS_IOC_SETVERSION, FS_IOC32_SETFLAGS,
    FS_IOC32_SETVERSION, LOOP_CHANGE_FD, LOOP_CONFIGURE, LOOP_SET_FD, XFS_IOC_ALLOCSP,
    XFS_IOC_ALLOCSP64, XFS_IOC_ATTRMULTI_BY_HANDLE, XFS_IOC_COMMIT_RANGE, XFS_IOC_EXCHANGE_RANGE,
    XFS_IOC_FREESP, XFS_IOC_FREESP64, XFS_IOC_FSSETDM, XFS_IOC_SWAPEXT,
};

use self::body::Body;
use self::layout::Layout;
use crate::Error;
use crate::btf::{Btf, Field, Function};
use crate::emit::Register::{R0, R1, R2, R3, R6, R7, R8, R9, R10};
use crate::emit::{Emitter, Helper, Label, Register, Test, Width};
use crate::kind::Kind;
use crate::set::{About, Entry, RING, Refusal, flag};

/// Where a hook has an inode that it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// The only `struct file *`.
    File,
    /// The so-manyth `struct dentry *`, which has an inode.
    Dentry(usize),
    /// The same, which may have none.
    PerhapsDentry(usize),
}

/// What a hook asks of a file that is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Nothing: it is refused.
    Refused(Operation),
    /// Reading or writing, by the mask.
    Permission,
    /// Size, mode, owner, times, by the `struct iattr`.
    Attributes,
    /// ioctl(2), of the file and of others that its argument names.
    Request,
    /// file_setattr(2): whether anything changes.
    InodeFlags,
    /// Opening, by somebody who does not open files for programs.
    Open,
}

/// Which kernels have a hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// All that have BPF on their security hooks.
    Always,
    /// Only some; what it is asked for there is asked of another one elsewhere.
    Sometimes,
    /// All; it is attached only where wanted, as every open(2) pays for it.
    Wanted,
}

/// A security hook (linux/lsm_hook_defs.h).
#[derive(Clone, Copy, Debug)]
pub struct Hook {
    /// Its name there.
    pub name: &'static str,
    /// What it is about.
    pub subjects: &'static [Subject],
    /// What it asks.
    pub ask: Ask,
    /// Which kernels have it.
    pub presence: Presence,
}

const fn hook(
    name: &'static str,
    subjects: &'static [Subject],
    ask: Ask,
    presence: Presence,
) -> Hook {
    Hook {
        name,
        subjects,
        ask,
        presence,
    }
}

/// All of them.
pub const HOOKS: &[Hook] = &{
    use Operation::{Link, RemoveXattr, Rename, SetMode, SetXattr, Unlink};
    use Presence::{Always, Sometimes, Wanted};
    use Subject::{Dentry, File, PerhapsDentry};
    [
        // write(2) and all its kin, io_uring, aio, splice, fallocate, MADV_REMOVE, clone targets; reads.
        hook("file_permission", &[File], Ask::Permission, Always),
        // truncate(2), O_TRUNC, chmod(2), chown(2), utimensat(2).
        hook("inode_setattr", &[Dentry(0)], Ask::Attributes, Always),
        hook(
            "inode_setxattr",
            &[Dentry(0)],
            Ask::Refused(SetXattr),
            Always,
        ),
        hook(
            "inode_removexattr",
            &[Dentry(0)],
            Ask::Refused(RemoveXattr),
            Always,
        ),
        // From Linux 6.2 on; before, ACLs come by the two above.
        hook(
            "inode_set_acl",
            &[Dentry(0)],
            Ask::Refused(SetMode),
            Sometimes,
        ),
        hook(
            "inode_remove_acl",
            &[Dentry(0)],
            Ask::Refused(SetMode),
            Sometimes,
        ),
        hook("inode_link", &[Dentry(0)], Ask::Refused(Link), Always),
        hook("inode_unlink", &[Dentry(0)], Ask::Refused(Unlink), Always),
        hook(
            "inode_rename",
            &[Dentry(0), PerhapsDentry(1)],
            Ask::Refused(Rename),
            Always,
        ),
        // quotactl(2): a file of quotas is written by the kernel.
        hook(
            "quota_on",
            &[Dentry(0)],
            Ask::Refused(Operation::Write),
            Always,
        ),
        hook("file_ioctl", &[File], Ask::Request, Always),
        // From Linux 6.8 on; before, requests of 32-bit programs come by the one above.
        hook("file_ioctl_compat", &[File], Ask::Request, Sometimes),
        // From Linux 6.17 on, as file_setattr(2).
        hook(
            "inode_file_setattr",
            &[Dentry(0)],
            Ask::InodeFlags,
            Sometimes,
        ),
        // acct(2), nvmet and whatever else the kernel writes to itself, behind all of the above.
        hook("file_open", &[File], Ask::Open, Wanted),
    ]
};

/// S_DAX (linux/fs.h), a macro, so not in BTF.
const S_DAX: u32 = 1 << 13;
/// S_IFMT, S_IFBLK (linux/stat.h).
const S_IFMT: i32 = 0o170_000;
const S_IFBLK: i32 = 0o060_000;
/// MAY_WRITE (linux/fs.h).
const MAY_WRITE: u32 = 2;
/// FMODE_WRITE (linux/fs.h).
const FMODE_WRITE: u32 = 2;
/// ATTR_* (linux/fs.h).
mod attribute {
    pub const MODE: u32 = 1;
    pub const UID: u32 = 1 << 1;
    pub const GID: u32 = 1 << 2;
    pub const SIZE: u32 = 1 << 3;
    pub const ATIME: u32 = 1 << 4;
    pub const MTIME: u32 = 1 << 5;
}

/// System calls by their numbers, those of 32-bit programs too: the numbers that the other kind has
/// for them reach none of the hooks that ask.
#[cfg(target_arch = "x86_64")]
mod call {
    /// __X32_SYSCALL_BIT
    pub const X32: i32 = 0x4000_0000;
    /// Where `struct pt_regs` has it.
    pub const FIELD: &str = "orig_ax";
    pub const IOCTL: &[u32] = &[16, 54, 0x4000_0202];
    pub const COPY_FILE_RANGE: &[u32] = &[326, 377, 0x4000_0146];
    /// read and readv with all their kin, sendfile, splice, io_submit, execve and execveat, finit_module,
    /// kexec_file_load; of 64 bits, of 32, of x32 without its bit. io_uring_setup, io_uring_enter and
    /// io_uring_register: its threads have the number of the call that started them. 0, read, is that of the
    /// kernel's own threads.
    pub const READING: &[u32] = &[
        0, 17, 19, 295, 327, 40, 275, 209, 59, 322, 313, 320, 425, 426, 427, 3, 180, 145, 333, 378,
        187, 239, 248, 11, 358, 350, 515, 534, 546, 544, 520, 545,
    ];
    /// acct, swapon, write, writev, pwrite64 (by configfs and sysfs the kernel is told what to open).
    pub const NOT_FOR_PROGRAMS: &[u32] = &[163, 51, 167, 87, 1, 4, 20, 146, 18, 181];
}
#[cfg(target_arch = "aarch64")]
mod call {
    /// There are none.
    pub const X32: i32 = 0;
    /// Where `struct pt_regs` has it.
    pub const FIELD: &str = "syscallno";
    pub const IOCTL: &[u32] = &[29, 54];
    pub const COPY_FILE_RANGE: &[u32] = &[285, 391];
    /// As above.
    pub const READING: &[u32] = &[
        0, 63, 65, 67, 69, 286, 71, 76, 2, 221, 281, 273, 294, 425, 426, 427, 3, 180, 145, 361,
        392, 187, 239, 340, 246, 11, 387, 379, 401,
    ];
    /// acct, swapon, write, writev, pwrite64.
    pub const NOT_FOR_PROGRAMS: &[u32] = &[89, 224, 64, 66, 68, 51, 87, 4, 146, 181];
}

/// Requests that change the file that they are asked of, whatever their argument says. (FICLONE and
/// its kin ask file_permission for both files, as does what allocates space.)
const REFUSED_REQUESTS: &[(u32, Operation)] = &[
    (FS_IOC_SETVERSION, Operation::SetFlags),
    (FS_IOC32_SETVERSION, Operation::SetFlags),
    (EXT4_IOC_SETVERSION, Operation::SetFlags),
    (EXT4_IOC32_SETVERSION, Operation::SetFlags),
    (FS_IOC_ENABLE_VERITY, Operation::SetFlags),
    (FS_IOC_SET_ENCRYPTION_POLICY, Operation::SetFlags),
    (EXT4_IOC_MIGRATE, Operation::SetFlags),
    (EXT4_IOC_ALLOC_DA_BLKS, Operation::Allocate),
    (EXT4_IOC_SWAP_BOOT, Operation::ShareExtents),
    (EXT4_IOC_MOVE_EXT, Operation::ShareExtents),
    (XFS_IOC_SWAPEXT, Operation::ShareExtents),
    (XFS_IOC_EXCHANGE_RANGE, Operation::ShareExtents),
    (XFS_IOC_COMMIT_RANGE, Operation::ShareExtents),
    (XFS_IOC_ALLOCSP, Operation::Resize),
    (XFS_IOC_ALLOCSP64, Operation::Resize),
    (XFS_IOC_FREESP, Operation::Resize),
    (XFS_IOC_FREESP64, Operation::Resize),
    (XFS_IOC_FSSETDM, Operation::SetFlags),
];

/// Requests whose argument names another file: they are looked at, whoever is asked.
const NAMING_REQUESTS: [u32; 7] = [
    LOOP_SET_FD,
    LOOP_CHANGE_FD,
    LOOP_CONFIGURE,
    EXT4_IOC_MOVE_EXT,
    XFS_IOC_SWAPEXT,
    XFS_IOC_ATTRMULTI_BY_HANDLE,
    ATTRMULTI_OF_32_BITS,
];

/// The types of all requests that are looked at: those of terminals, sockets, devices are let through
/// before anything of the file is read.
const WATCHED_TYPES: [u8; 4] = [b'f', b'X', b'v', b'L'];
/// The bits of a request that hold its type (linux/ioctl.h).
const TYPE: i32 = 0xff00;

/// XFS_IOC_ATTRMULTI_BY_HANDLE of 32-bit programs, whose struct has pointers of four bytes.
const ATTRMULTI_OF_32_BITS: u32 = 0x4024_587b;

/// Descriptors of the maps, as instructions name them.
#[derive(Clone, Copy, Debug)]
pub struct MapNumbers {
    /// [`crate::set::Maps::files`]
    pub files: i32,
    /// [`crate::set::Maps::refusals`]
    pub refusals: i32,
    /// [`crate::set::Maps::counter`]
    pub counter: i32,
    /// [`crate::set::Maps::about`]
    pub about: i32,
    /// [`crate::set::Maps::runs`]
    pub runs: i32,
}

/// A program, and the function that it is for.
#[derive(Clone, Debug)]
pub struct Program {
    /// The hook.
    pub hook: &'static Hook,
    /// The function's number.
    pub function: u32,
    /// It may wait for memory of the program's.
    pub sleeps: bool,
    /// Its instructions.
    pub code: Vec<u64>,
}

/// The programs for this kernel. With `opens`, also what is only attached where wanted.
///
/// # Errors
/// The kernel lacks a hook or a field, or a hook does not take what it should.
pub fn programs(
    btf: &Btf,
    kind: Kind,
    maps: MapNumbers,
    opens: bool,
) -> Result<Vec<Program>, Error> {
    let layout = Layout::of(btf)?;
    let mut programs = Vec::new();
    for hook in HOOKS {
        if hook.presence == Presence::Wanted && !opens {
            continue;
        }
        let name = kind.function(hook.name);
        let missing = |what: String| {
            Error::new(
                "cannot make the guard's programs for this kernel",
                what,
                "please report it, with the kernel's release",
            )
        };
        let Some(function) = btf.function(&name) else {
            if hook.presence == Presence::Sometimes {
                continue;
            }
            return Err(missing(format!("it has no function {name}")));
        };
        let sleeps = sleeps(kind, hook);
        let code = Body::of(btf, &layout, maps, &function, sleeps)
            .program(hook)?
            .ok_or_else(|| missing(format!("{name} does not take what it should")))?;
        programs.push(Program {
            hook,
            function: function.id,
            sleeps,
            code,
        });
    }
    Ok(programs)
}

/// Whether a hook's program may wait for what is not in memory: kernels allow it of this one alone, of
/// those that read the program's memory, and only to programs of kind `lsm`.
fn sleeps(kind: Kind, hook: &Hook) -> bool {
    kind == Kind::Lsm && hook.name == "file_ioctl"
}

#[cfg(test)]
mod tests;
