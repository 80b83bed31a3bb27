//! The instructions of a program, hook by hook.
//!
//! Longer than other files: what each hook asks is one method, and they share the registers that are said below.

use super::*;

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
pub(super) struct Body<'a> {
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
    pub(super) fn of(
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
    pub(super) fn program(mut self, hook: &Hook) -> Result<Option<Vec<u64>>, Error> {
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
