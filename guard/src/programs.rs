//! The hooks, a row each, and the program that is attached to each.
//!
//! Every program begins with the inode's S_DAX, which the set's files all have: other files pay for
//! the hook alone. Then come the look-up in the set, what the hook asks, and the record of the
//! refusal. Where arguments and fields lie is taken from the kernel's BTF, by prototype and name.

use daxshim_core::contract::Operation;
use daxshim_core::requests::{
    EXT4_IOC_ALLOC_DA_BLKS, EXT4_IOC_MIGRATE, EXT4_IOC_MOVE_EXT, EXT4_IOC_SETVERSION,
    EXT4_IOC_SWAP_BOOT, EXT4_IOC32_SETVERSION, FS_IOC_ENABLE_VERITY, FS_IOC_FSSETXATTR,
    FS_IOC_SET_ENCRYPTION_POLICY, FS_IOC_SETFLAGS, FS_IOC_SETVERSION, FS_IOC32_SETFLAGS,
    FS_IOC32_SETVERSION, LOOP_CHANGE_FD, LOOP_CONFIGURE, LOOP_SET_FD, XFS_IOC_ALLOCSP,
    XFS_IOC_ALLOCSP64, XFS_IOC_ATTRMULTI_BY_HANDLE, XFS_IOC_COMMIT_RANGE, XFS_IOC_EXCHANGE_RANGE,
    XFS_IOC_FREESP, XFS_IOC_FREESP64, XFS_IOC_FSSETDM, XFS_IOC_SWAPEXT,
};

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

/// Where the kernel has what the programs read.
#[derive(Clone, Copy, Debug)]
struct Layout {
    file_inode: Field,
    file_mode: Field,
    dentry_inode: Field,
    flags: Field,
    inode: Field,
    generation: Field,
    superblock: Field,
    device: Field,
    mode: Field,
    size: Field,
    uid: Field,
    gid: Field,
    valid: Field,
    new_size: Field,
    new_mode: Field,
    new_uid: Field,
    new_gid: Field,
    call: Field,
    files: Field,
    table: Field,
    table_size: Field,
    table_files: Field,
}

impl Layout {
    fn of(btf: &Btf) -> Result<Layout, Error> {
        let field = |of, path| btf.field(of, path);
        Ok(Layout {
            file_inode: field("file", "f_inode")?,
            file_mode: field("file", "f_mode")?,
            dentry_inode: field("dentry", "d_inode")?,
            flags: field("inode", "i_flags")?,
            inode: field("inode", "i_ino")?,
            generation: field("inode", "i_generation")?,
            superblock: field("inode", "i_sb")?,
            device: field("super_block", "s_dev")?,
            mode: field("inode", "i_mode")?,
            size: field("inode", "i_size")?,
            uid: field("inode", "i_uid.val")?,
            gid: field("inode", "i_gid.val")?,
            valid: field("iattr", "ia_valid")?,
            new_size: field("iattr", "ia_size")?,
            new_mode: field("iattr", "ia_mode")?,
            new_uid: field("iattr", "ia_uid.val")?,
            new_gid: field("iattr", "ia_gid.val")?,
            call: field("pt_regs", call::FIELD)?,
            files: field("task_struct", "files")?,
            table: field("files_struct", "fdt")?,
            table_size: field("fdtable", "max_fds")?,
            table_files: field("fdtable", "fd")?,
        })
    }
}

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

/// Places on the stack, from its end.
mod stack {
    /// A [`crate::set::Key`].
    pub const INODE: i16 = -16;
    pub const DEVICE: i16 = -8;
    pub const GENERATION: i16 = -4;
    /// Number of a slot of the ring.
    pub const SLOT: i16 = -24;
    /// What is attempted.
    pub const OPERATION: i16 = -32;
    /// Not 0: the answer is EXDEV.
    pub const CROSS: i16 = -40;
    /// The argument of ioctl(2).
    pub const ARGUMENT: i16 = -48;
    /// An address in the kernel.
    pub const ADDRESS: i16 = -56;
    /// A value of up to eight bytes.
    pub const VALUE: i16 = -64;
    /// Up to 72 bytes of the program's.
    pub const USER: i16 = -144;
    /// A `struct xfs_handle`.
    pub const HANDLE: i16 = -176;
}

const EPERM: i32 = -1;
const EFAULT: i32 = -14;
const EXDEV: i32 = -18;

/// A program being written. R8 is the context until something is refused, R6 an inode, R9 its entry
/// in the set, R7 the hook's own detail.
struct Body<'a> {
    e: Emitter,
    btf: &'a Btf,
    layout: &'a Layout,
    maps: MapNumbers,
    function: &'a Function,
    /// How the program's memory is read: waiting for its pages, where the hook may.
    read_user: Helper,
    allow: Label,
    refuse: Label,
}

macro_rules! at {
    ($type:ty, $field:ident) => {
        const { std::mem::offset_of!($type, $field) as i16 }
    };
}

impl<'a> Body<'a> {
    fn of(
        btf: &'a Btf,
        layout: &'a Layout,
        maps: MapNumbers,
        function: &'a Function,
        sleeps: bool,
    ) -> Body<'a> {
        let mut e = Emitter::new();
        let (allow, refuse) = (e.label(), e.label());
        Body {
            e,
            btf,
            layout,
            maps,
            function,
            read_user: if sleeps {
                Helper::CopyUser
            } else {
                Helper::ReadUser
            },
            allow,
            refuse,
        }
    }

    /// The whole program; `None`: the hook does not take what it should.
    fn program(mut self, hook: &Hook) -> Result<Option<Vec<u64>>, Error> {
        let held = self.e.label();
        if self.quick(hook, held).is_none() {
            return Ok(None);
        }
        self.e.place(held).copy(R8, R1).set(R7, 0);
        let written = match hook.ask {
            Ask::Refused(operation) => self.refused(hook.subjects, operation),
            Ask::Permission => self.permission(),
            Ask::Attributes => self.attributes(),
            Ask::Request => self.request(),
            Ask::InodeFlags => self.inode_flags()?,
            Ask::Open => self.open(),
        };
        if written.is_none() {
            return Ok(None);
        }
        self.ending();
        self.e.finish().map(Some)
    }

    /// What everybody's files pay for: is it one with DAX? The rest is a function of its own, so that
    /// the registers it needs are not saved here.
    fn quick(&mut self, hook: &Hook, rest: Label) -> Option<()> {
        let slow = self.e.label();
        if hook.ask == Ask::Request {
            let request = self.function.named("cmd")?;
            let watched = self.e.label();
            self.e
                .load(Width::B8, R2, R1, 8 * request as i16)
                .copy(R3, R2)
                .and(R3, TYPE);
            for kind in WATCHED_TYPES {
                self.e
                    .jump_if_low(R3, Test::Equal, u32::from(kind) << 8, watched);
            }
            self.e.set(R0, 0).exit().place(watched);
            for request in NAMING_REQUESTS {
                self.e.jump_if_low(R2, Test::Equal, request, slow);
            }
        }
        let is_certain = |subject: &Subject| !matches!(subject, Subject::PerhapsDentry(_));
        if hook.subjects.iter().all(is_certain) {
            for &subject in hook.subjects {
                let (place, field) = self.place_of(subject)?;
                let none = self.e.label();
                self.e
                    .load(Width::B8, R2, R1, 8 * place as i16)
                    .load(Width::B8, R2, R2, field.offset)
                    .jump_if(R2, Test::Equal, 0, none)
                    .load(Width::B4, R2, R2, self.layout.flags.offset)
                    .jump_if_low(R2, Test::AnyBit, S_DAX, slow)
                    .place(none);
            }
            self.e.set(R0, 0).exit();
        }
        self.e.place(slow).call_own(rest).exit();
        Some(())
    }

    // ---- what the hooks ask ----

    /// Refused, whatever the other arguments are.
    fn refused(&mut self, subjects: &[Subject], operation: Operation) -> Option<()> {
        self.operation(operation);
        for &subject in subjects {
            let next = self.e.label();
            if let Subject::PerhapsDentry(nth) = subject {
                let place = self.function.pointer_to("dentry", nth)?;
                self.inode_of_dentry_that_may_have_none(place, next);
                self.look_up_by_address(next);
            } else {
                self.inode(subject)?;
                self.look_up(next);
            }
            self.e.jump(self.refuse).place(next);
        }
        self.e.jump(self.allow);
        Some(())
    }

    fn permission(&mut self) -> Option<()> {
        let mask = self.function.named("mask")?;
        let (write, share, cross) = (self.e.label(), self.e.label(), self.e.label());
        self.inode(Subject::File)?;
        self.leave_unless_dax(self.allow);
        self.argument(R7, mask);
        self.e.jump_if_low(R7, Test::AnyBit, MAY_WRITE, write);

        // Reading: only where some file of the set is to refuse it, or copies that share extents.
        self.e
            .map_value(R1, self.maps.about)
            .load(Width::B4, R1, R1, at!(About, reads))
            .jump_if(R1, Test::Equal, 0, self.allow);
        self.look_up_dax(self.allow);
        self.operation(Operation::Read);
        self.e
            .load(Width::B4, R2, R9, at!(Entry, flags))
            .jump_if_low(R2, Test::AnyBit, flag::DENY_READS, self.refuse);
        let reflinks = self.e.label();
        self.e
            .jump_if_low(R2, Test::AnyBit, flag::REFLINK, reflinks)
            .jump(self.allow)
            .place(reflinks);
        self.system_call();
        // Calls that read do not share extents. Others that ask whether they may do: clones by ioctl(2), an
        // overlayfs that copies a file up, when it is opened to be written or changed otherwise.
        self.jump_if_call(call::COPY_FILE_RANGE, cross);
        self.e.and(R1, !call::X32);
        self.jump_if_call(call::READING, self.allow);
        self.e.jump(share);
        self.e
            .place(cross)
            .store_value(Width::B8, R10, stack::CROSS, 1);
        self.operation(Operation::ShareExtents);
        self.e.jump(self.refuse).place(share);
        self.operation(Operation::ShareExtents);
        self.e.jump(self.refuse);

        self.e.place(write);
        self.look_up_dax(self.allow);
        self.operation(Operation::Write);
        self.e.jump(self.refuse);
        Some(())
    }

    fn attributes(&mut self) -> Option<()> {
        let changes = self.function.pointer_to("iattr", 0)?;
        let layout = self.layout;
        self.inode(Subject::Dentry(0))?;
        self.look_up(self.allow);
        self.argument(R8, changes);
        self.e.load(Width::B4, R7, R8, layout.valid.offset);

        // By the first that it has of these.
        let named = self.e.label();
        for (bits, operation) in [
            (attribute::SIZE, Operation::Resize),
            (attribute::UID | attribute::GID, Operation::SetOwner),
            (attribute::MODE, Operation::SetMode),
        ] {
            let next = self.e.label();
            let is = self.e.label();
            self.e
                .jump_if_low(R7, Test::AnyBit, bits, is)
                .jump(next)
                .place(is);
            self.operation(operation);
            self.e.jump(named).place(next);
        }
        self.operation(Operation::SetTimes);
        self.e.place(named);

        // With compat, what is there already may be set: times go along with a size only.
        self.e.load(Width::B4, R1, R9, at!(Entry, flags));
        let compat = self.e.label();
        self.e
            .jump_if_low(R1, Test::AnyBit, flag::COMPAT, compat)
            .jump(self.refuse)
            .place(compat);
        for (bit, new, old) in [
            (attribute::SIZE, layout.new_size, layout.size),
            (attribute::MODE, layout.new_mode, layout.mode),
            (attribute::UID, layout.new_uid, layout.uid),
            (attribute::GID, layout.new_gid, layout.gid),
        ] {
            let (asked, next) = (self.e.label(), self.e.label());
            self.e
                .jump_if_low(R7, Test::AnyBit, bit, asked)
                .jump(next)
                .place(asked);
            self.e
                .load(Width::of(new.size)?, R1, R8, new.offset)
                .load(Width::of(old.size)?, R2, R6, old.offset)
                .jump_if_register(R1, Test::NotEqual, R2, self.refuse)
                .place(next);
        }
        self.e
            .jump_if_low(R7, Test::AnyBit, attribute::SIZE, self.allow)
            .jump_if_low(
                R7,
                Test::AnyBit,
                attribute::ATIME | attribute::MTIME,
                self.refuse,
            )
            .jump(self.allow);
        Some(())
    }

    fn request(&mut self) -> Option<()> {
        let (request, argument) = (self.function.named("cmd")?, self.function.named("arg")?);
        let (own, read_failed) = (self.e.label(), self.e.label());
        self.argument(R7, request);
        self.argument(R1, argument);
        self.e
            .low_half(R7)
            .store(Width::B8, R10, stack::ARGUMENT, R1);

        // Requests that name another file: whoever they are asked of.
        let descriptor = self.e.label();
        let (donor, swap) = (self.e.label(), self.e.label());
        let (handle, handle32) = (self.e.label(), self.e.label());
        let looped = self.e.label();
        let places = [looped, looped, looped, donor, swap, handle, handle32];
        for (request, to) in NAMING_REQUESTS.into_iter().zip(places) {
            self.e.jump_if_low(R7, Test::Equal, request, to);
        }

        self.e.place(own);
        self.inode(Subject::File)?;
        self.leave_unless_dax(self.allow);
        let mut labels = Vec::new();
        for &(request, operation) in REFUSED_REQUESTS {
            let to = self.e.label();
            self.e.jump_if_low(R7, Test::Equal, request, to);
            labels.push((to, operation));
        }
        let (flags, attributes) = (self.e.label(), self.e.label());
        self.e
            .jump_if_low(R7, Test::Equal, FS_IOC_SETFLAGS, flags)
            .jump_if_low(R7, Test::Equal, FS_IOC32_SETFLAGS, flags)
            .jump_if_low(R7, Test::Equal, FS_IOC_FSSETXATTR, attributes)
            .jump(self.allow);
        let found = self.e.label();
        for (label, operation) in labels {
            self.e.place(label);
            self.operation(operation);
            self.e.jump(found);
        }
        self.e.place(found);
        self.look_up_dax(self.allow);
        self.e.jump(self.refuse);

        // Setting what is there already changes nothing.
        self.e.place(flags);
        self.look_up_dax(self.allow);
        self.operation(Operation::SetFlags);
        // An overlayfs above asks with what it was asked, and tells not what that was.
        self.e
            .load(Width::B8, R1, R10, stack::ARGUMENT)
            .jump_if(R1, Test::Equal, 0, self.refuse);
        self.read_user(4, read_failed);
        self.same_as_recorded(&[(0, at!(Entry, inode_flags))]);
        self.e.jump(self.allow).place(attributes);
        self.look_up_dax(self.allow);
        self.operation(Operation::SetFlags);
        self.e
            .load(Width::B8, R1, R10, stack::ARGUMENT)
            .jump_if(R1, Test::Equal, 0, self.refuse);
        self.read_user(28, read_failed);
        self.same_as_recorded(&[
            (0, at!(Entry, xflags)),
            (4, at!(Entry, extent_size)),
            (12, at!(Entry, project)),
            (16, at!(Entry, cow_extent_size)),
        ]);
        self.e.jump(self.allow);
        // As the kernel would answer; a page that is not there now is not waited for here.
        self.e.place(read_failed).set(R0, EFAULT).exit();

        // A loop device's backing file: the descriptor is the argument, or begins what it points to.
        self.e.place(looped);
        self.inode(Subject::File)?;
        self.e
            .load(
                Width::of(self.layout.mode.size)?,
                R1,
                R6,
                self.layout.mode.offset,
            )
            .and(R1, S_IFMT)
            .jump_if(R1, Test::NotEqual, S_IFBLK, self.allow)
            .jump_if_low(R7, Test::NotEqual, LOOP_CONFIGURE, descriptor);
        self.read_user(4, self.allow);
        self.e.load(Width::B4, R1, R10, stack::USER);
        let by_descriptor = self.e.label();
        self.e
            .jump(by_descriptor)
            .place(descriptor)
            .load(Width::B4, R1, R10, stack::ARGUMENT)
            .place(by_descriptor);
        self.operation(Operation::LoopAttach);
        self.descriptor(self.allow);
        self.e.jump(self.refuse);

        self.e.place(donor);
        self.operation(Operation::ShareExtents);
        self.read_user(8, own);
        self.e.load(Width::B4, R1, R10, stack::USER + 4);
        self.descriptor(own);
        self.e.jump(self.refuse);

        self.e.place(swap);
        self.operation(Operation::ShareExtents);
        self.read_user(24, own);
        let other = self.e.label();
        self.e.load(Width::B4, R1, R10, stack::USER + 8);
        self.descriptor(other);
        self.e.jump(self.refuse).place(other);
        self.e.load(Width::B4, R1, R10, stack::USER + 16);
        self.descriptor(own);
        self.e.jump(self.refuse);

        // struct xfs_fsop_attrmulti_handlereq: where the handle is, how many operations, and they.
        self.e.place(handle);
        self.read_user(72, self.allow);
        self.by_handle(Width::B8, [24, 56, 64], 32)?;
        self.e.place(handle32);
        self.read_user(36, self.allow);
        self.by_handle(Width::B4, [12, 28, 32], 24)?;
        Some(())
    }

    /// Extended attributes set by handle: refused if the file is held, and anything but reading is
    /// among the operations, or they are more than are looked at.
    fn by_handle(
        &mut self,
        pointer: Width,
        [handle, count, list]: [i16; 3],
        size: i32,
    ) -> Option<()> {
        const LOOKED_AT: i32 = 8;
        const ATTR_OP_GET: i32 = 1;
        self.operation(Operation::SetXattr);
        self.e.load(pointer, R3, R10, stack::USER + handle);
        self.read(self.read_user, stack::HANDLE, 24, self.allow);
        // struct xfs_handle: fsid, then length, padding, generation (12), inode (16).
        self.e
            .load(Width::B4, R1, R10, stack::HANDLE + 12)
            .store(Width::B4, R10, stack::GENERATION, R1)
            .load(Width::B8, R1, R10, stack::HANDLE + 16)
            .store(Width::B8, R10, stack::INODE, R1);
        self.inode(Subject::File)?;
        self.e
            .load(Width::B8, R1, R6, self.layout.superblock.offset)
            .load(Width::B4, R1, R1, self.layout.device.offset)
            .store(Width::B4, R10, stack::DEVICE, R1);
        self.find(self.allow);
        self.e.load(Width::B4, R1, R10, stack::USER + count);
        self.e
            .jump_if_low(R1, Test::Greater, LOOKED_AT as u32, self.refuse);
        for number in 0..LOOKED_AT {
            self.e
                .load(Width::B4, R1, R10, stack::USER + count)
                .jump_if_low(R1, Test::Equal, number as u32, self.allow)
                .load(pointer, R3, R10, stack::USER + list)
                .add(R3, number * size);
            self.read(self.read_user, stack::VALUE, 4, self.allow);
            self.e.load(Width::B4, R1, R10, stack::VALUE).jump_if(
                R1,
                Test::NotEqual,
                ATTR_OP_GET,
                self.refuse,
            );
        }
        self.e.jump(self.allow);
        Some(())
    }

    fn inode_flags(&mut self) -> Result<Option<()>, Error> {
        let names = ["file_kattr", "fileattr"];
        let found = names.iter().find_map(|name| {
            let place = self.function.pointer_to(name, 0)?;
            Some((*name, place))
        });
        let Some((name, changes)) = found else {
            return Ok(None);
        };
        if self.inode(Subject::Dentry(0)).is_none() {
            return Ok(None);
        }
        self.look_up(self.allow);
        self.operation(Operation::SetFlags);
        // A request has been looked at before, in the form that the program gave it.
        self.system_call();
        self.jump_if_call(call::IOCTL, self.allow);
        self.argument(R8, changes);
        for (field, recorded) in [
            ("fsx_xflags", at!(Entry, xflags)),
            ("fsx_extsize", at!(Entry, extent_size)),
            ("fsx_projid", at!(Entry, project)),
            ("fsx_cowextsize", at!(Entry, cow_extent_size)),
        ] {
            let field = self.btf.field(name, field)?;
            self.e
                .load(Width::B4, R1, R8, field.offset)
                .load(Width::B4, R2, R9, recorded)
                .jump_if_register(R1, Test::NotEqual, R2, self.refuse);
        }
        self.e.jump(self.allow);
        Ok(Some(()))
    }

    fn open(&mut self) -> Option<()> {
        let place = self.function.pointer_to("file", 0)?;
        self.inode(Subject::File)?;
        self.leave_unless_dax(self.allow);
        let writes = self.e.label();
        self.argument(R1, place);
        self.e
            .load(
                Width::of(self.layout.file_mode.size)?,
                R7,
                R1,
                self.layout.file_mode.offset,
            )
            .jump_if_low(R7, Test::AnyBit, FMODE_WRITE, writes)
            .jump(self.allow)
            .place(writes);
        self.look_up_dax(self.allow);
        self.operation(Operation::Write);
        self.system_call();
        self.jump_if_call(call::NOT_FOR_PROGRAMS, self.refuse);
        self.e.jump(self.allow);
        Some(())
    }

    // ---- what they share ----

    fn argument(&mut self, to: Register, place: usize) {
        self.e.load(Width::B8, to, R8, 8 * place as i16);
    }

    fn operation(&mut self, operation: Operation) {
        self.e
            .store_value(Width::B8, R10, stack::OPERATION, operation as i32);
    }

    /// The argument that leads to the subject's inode, and the field that does.
    fn place_of(&self, subject: Subject) -> Option<(usize, Field)> {
        Some(match subject {
            Subject::File => (self.function.pointer_to("file", 0)?, self.layout.file_inode),
            Subject::Dentry(nth) | Subject::PerhapsDentry(nth) => (
                self.function.pointer_to("dentry", nth)?,
                self.layout.dentry_inode,
            ),
        })
    }

    /// R6 = the inode of the subject, which has one.
    fn inode(&mut self, subject: Subject) -> Option<()> {
        let (place, field) = self.place_of(subject)?;
        self.argument(R6, place);
        self.e.load(Width::B8, R6, R6, field.offset);
        // Kernels that are not sure of it want it asked; others take the question out.
        self.e.jump_if(R6, Test::Equal, 0, self.allow);
        Some(())
    }

    fn leave_unless_dax(&mut self, to: Label) {
        let is = self.e.label();
        self.e
            .load(Width::B4, R1, R6, self.layout.flags.offset)
            .jump_if_low(R1, Test::AnyBit, S_DAX, is)
            .jump(to)
            .place(is);
    }

    /// R9 = the entry of R6; elsewhere if it is not held.
    fn look_up(&mut self, missing: Label) {
        self.leave_unless_dax(missing);
        self.look_up_dax(missing);
    }

    /// The same, S_DAX being known.
    fn look_up_dax(&mut self, missing: Label) {
        let layout = self.layout;
        self.e
            .load(Width::B8, R1, R6, layout.inode.offset)
            .store(Width::B8, R10, stack::INODE, R1)
            .load(Width::B8, R1, R6, layout.superblock.offset)
            .load(Width::B4, R1, R1, layout.device.offset)
            .store(Width::B4, R10, stack::DEVICE, R1)
            .load(Width::B4, R1, R6, layout.generation.offset)
            .store(Width::B4, R10, stack::GENERATION, R1);
        self.find(missing);
    }

    /// R9 = the entry of the key on the stack.
    fn find(&mut self, missing: Label) {
        self.e
            .map(R1, self.maps.files)
            .copy(R2, R10)
            .add(R2, i32::from(stack::INODE))
            .call(Helper::Lookup)
            .jump_if(R0, Test::Equal, 0, missing)
            .copy(R9, R0)
            .store_value(Width::B8, R10, stack::CROSS, 0);
    }

    /// `stack::ADDRESS` = the inode of a dentry that may have none. Some kernels take it for certain
    /// that there is one, and leave out whatever asks: so it is read as a mere number.
    fn inode_of_dentry_that_may_have_none(&mut self, place: usize, none: Label) {
        self.argument(R3, place);
        self.e.add(R3, i32::from(self.layout.dentry_inode.offset));
        self.address(none);
    }

    /// `stack::ADDRESS` = the pointer at R3, if it is one.
    fn address(&mut self, none: Label) {
        self.read(Helper::ReadKernel, stack::ADDRESS, 8, none);
        self.e
            .load(Width::B8, R3, R10, stack::ADDRESS)
            .jump_if(R3, Test::Equal, 0, none);
    }

    /// R9 = the entry of the inode whose address is on the stack.
    fn look_up_by_address(&mut self, missing: Label) {
        let layout = self.layout;
        let is = self.e.label();
        self.read_field(layout.flags, 4, stack::VALUE, missing);
        self.e
            .load(Width::B4, R1, R10, stack::VALUE)
            .jump_if_low(R1, Test::AnyBit, S_DAX, is)
            .jump(missing)
            .place(is);
        self.read_field(layout.inode, 8, stack::INODE, missing);
        self.read_field(layout.generation, 4, stack::GENERATION, missing);
        self.read_field(layout.superblock, 8, stack::ADDRESS, missing);
        self.read_field(layout.device, 4, stack::DEVICE, missing);
        self.find(missing);
    }

    fn read_field(&mut self, field: Field, size: i32, to: i16, failed: Label) {
        self.e
            .load(Width::B8, R3, R10, stack::ADDRESS)
            .add(R3, i32::from(field.offset));
        self.read(Helper::ReadKernel, to, size, failed);
    }

    /// So many bytes from R3 to the stack.
    fn read(&mut self, by: Helper, to: i16, size: i32, failed: Label) {
        self.e
            .copy(R1, R10)
            .add(R1, i32::from(to))
            .set(R2, size)
            .call(by)
            .jump_if(R0, Test::NotEqual, 0, failed);
    }

    /// So many bytes from where the argument of ioctl(2) points.
    fn read_user(&mut self, size: i32, failed: Label) {
        self.e.load(Width::B8, R3, R10, stack::ARGUMENT);
        self.read(self.read_user, stack::USER, size, failed);
    }

    /// Refuses unless these words of `stack::USER` are those of the entry.
    fn same_as_recorded(&mut self, words: &[(i16, i16)]) {
        for &(user, recorded) in words {
            self.e
                .load(Width::B4, R1, R10, stack::USER + user)
                .load(Width::B4, R2, R9, recorded)
                .jump_if_register(R1, Test::NotEqual, R2, self.refuse);
        }
    }

    /// R9 = the entry of the file behind descriptor R1 of this process; elsewhere if it is not held.
    /// Another thread may put another file there before the kernel looks.
    fn descriptor(&mut self, missing: Label) {
        let layout = self.layout;
        self.e
            .store(Width::B8, R10, stack::VALUE, R1)
            .call(Helper::Task)
            .load(Width::B8, R1, R0, layout.files.offset)
            .jump_if(R1, Test::Equal, 0, missing)
            .load(Width::B8, R1, R1, layout.table.offset)
            .jump_if(R1, Test::Equal, 0, missing)
            .load(Width::B4, R2, R1, layout.table_size.offset)
            .load(Width::B8, R3, R10, stack::VALUE)
            .jump_if_register(R3, Test::GreaterOrEqual, R2, missing)
            .load(Width::B8, R1, R1, layout.table_files.offset)
            .shift_left(R3, 3)
            .add_register(R3, R1);
        self.address(missing);
        self.e.add(R3, i32::from(layout.file_inode.offset));
        self.address(missing);
        self.look_up_by_address(missing);
    }

    /// R1 = the number of the system call.
    fn system_call(&mut self) {
        self.e
            .call(Helper::Task)
            .copy(R1, R0)
            .call(Helper::TaskRegisters)
            .load(Width::B4, R1, R0, self.layout.call.offset);
    }

    fn jump_if_call(&mut self, calls: &[u32], to: Label) {
        for &number in calls {
            self.e.jump_if_low(R1, Test::Equal, number, to);
        }
    }

    /// Where all programs end: nothing to say, or the refusal of R9's file, counted and recorded.
    fn ending(&mut self) {
        let (audited, record, full) = (self.e.label(), self.e.label(), self.e.label());
        let (cross, no) = (self.e.label(), self.e.label());
        let of_none = self.e.label();
        self.e.place(self.allow).set(R0, 0).exit();

        self.e
            .place(self.refuse)
            .set(R2, 1)
            .load(Width::B4, R1, R9, at!(Entry, flags))
            .jump_if_low(R1, Test::AnyBit, flag::AUDIT, audited)
            .count(R9, at!(Entry, refused), R2)
            .jump(record)
            .place(audited)
            .count(R9, at!(Entry, audited), R2);

        self.e
            .place(record)
            .load(Width::B4, R1, R9, at!(Entry, flags))
            .jump_if_low(R1, Test::AnyBit, flag::UNRECORDED, full)
            .map_value(R1, self.maps.counter)
            .fetch_and_add(R1, 0, R2)
            .copy(R8, R2)
            .and(R2, (RING - 1).cast_signed())
            .store(Width::B4, R10, stack::SLOT, R2)
            .map(R1, self.maps.refusals)
            .copy(R2, R10)
            .add(R2, i32::from(stack::SLOT))
            .call(Helper::Lookup)
            .jump_if(R0, Test::Equal, 0, full)
            .copy(R6, R0)
            .store_value(Width::B8, R6, at!(Refusal, number), 0);
        let key = at!(Refusal, key);
        for (from, to) in [(stack::INODE, key), (stack::DEVICE, key + 8)] {
            self.e
                .load(Width::B8, R1, R10, from)
                .store(Width::B8, R6, to, R1);
        }
        self.e
            .call(Helper::PidTgid)
            .store(Width::B8, R6, at!(Refusal, ids), R0)
            .shift_right(R0, 32)
            .store(Width::B4, R10, stack::SLOT, R0)
            .map(R1, self.maps.runs)
            .copy(R2, R10)
            .add(R2, i32::from(stack::SLOT))
            .call(Helper::Lookup)
            .set(R1, 0)
            .jump_if(R0, Test::Equal, 0, of_none)
            .load(Width::B8, R1, R0, 0)
            .place(of_none)
            .store(Width::B8, R6, at!(Refusal, run), R1)
            .load(Width::B8, R1, R10, stack::OPERATION)
            .store(Width::B4, R6, at!(Refusal, operation), R1)
            .load(Width::B4, R1, R9, at!(Entry, flags))
            .and(R1, flag::AUDIT.cast_signed())
            .store(Width::B4, R6, at!(Refusal, audited), R1)
            .store(Width::B4, R6, at!(Refusal, detail), R7);
        self.system_call();
        self.e
            .store(Width::B4, R6, at!(Refusal, call), R1)
            .copy(R1, R6)
            .add(R1, i32::from(at!(Refusal, name)))
            .set(R2, 16)
            .call(Helper::Comm)
            .add(R8, 1)
            .store(Width::B8, R6, at!(Refusal, number), R8)
            .place(full)
            .load(Width::B4, R1, R9, at!(Entry, flags))
            .jump_if_low(R1, Test::AnyBit, flag::AUDIT, no)
            .load(Width::B8, R1, R10, stack::CROSS)
            .jump_if(R1, Test::NotEqual, 0, cross)
            .set(R0, EPERM)
            .exit()
            .place(cross)
            .set(R0, EXDEV)
            .exit()
            .place(no)
            .set(R0, 0)
            .exit();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn hooks_have_one_row_and_fit_into_the_mask() {
        let names: HashSet<&str> = HOOKS.iter().map(|hook| hook.name).collect();
        assert_eq!(names.len(), HOOKS.len());
        assert!(HOOKS.len() <= 32);
        // A pinned one has its own name; the kernel cuts a program's at 15.
        assert!(HOOKS.iter().all(|hook| !hook.subjects.is_empty()));
    }

    #[test]
    fn requests_are_looked_at_once() {
        let mut seen = HashSet::new();
        let own = REFUSED_REQUESTS.iter().map(|(request, _)| *request);
        for request in own.chain([FS_IOC_SETFLAGS, FS_IOC32_SETFLAGS, FS_IOC_FSSETXATTR]) {
            assert!(seen.insert(request), "{request:#x}");
        }
    }

    #[test]
    fn requests_are_of_the_types_that_are_looked_at() {
        let refused = REFUSED_REQUESTS.iter().map(|(request, _)| *request);
        let flags = [FS_IOC_SETFLAGS, FS_IOC32_SETFLAGS, FS_IOC_FSSETXATTR];
        for request in refused.chain(NAMING_REQUESTS).chain(flags) {
            let kind = (request & TYPE.cast_unsigned()) >> 8;
            assert!(
                WATCHED_TYPES
                    .iter()
                    .any(|&watched| u32::from(watched) == kind),
                "{request:#x}"
            );
        }
    }

    /// The records of the programs name operations by their place in the table.
    #[test]
    fn operations_are_found_again_by_number() {
        for (number, operation) in Operation::ALL.iter().enumerate() {
            assert_eq!(*operation as usize, number);
        }
    }

    #[test]
    fn programs_can_be_made_for_this_machine_s_kernel_if_it_has_the_hooks() {
        let Ok(btf) = Btf::of_kernel() else {
            return;
        };
        let maps = MapNumbers {
            files: 3,
            refusals: 4,
            counter: 5,
            about: 6,
            runs: 7,
        };
        for kind in [Kind::Lsm, Kind::ModifyReturn] {
            if btf.function(&kind.function("file_permission")).is_none() {
                continue;
            }
            let without = programs(&btf, kind, maps, false).unwrap();
            let all = programs(&btf, kind, maps, true).unwrap();
            assert_eq!(without.len() + 1, all.len());
            for program in &all {
                let length = program.code.len();
                assert!(
                    (20..2000).contains(&length),
                    "{}: {length}",
                    program.hook.name
                );
            }
        }
    }
}
