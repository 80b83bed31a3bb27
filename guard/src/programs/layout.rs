//! Where the kernel has what the programs read.

use super::call;
use crate::Error;
use crate::btf::{Btf, Field};

/// Where the kernel has what the programs read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    pub(super) file_inode: Field,
    pub(super) file_mode: Field,
    pub(super) dentry_inode: Field,
    pub(super) flags: Field,
    pub(super) inode: Field,
    pub(super) generation: Field,
    pub(super) superblock: Field,
    pub(super) device: Field,
    pub(super) mode: Field,
    pub(super) size: Field,
    pub(super) uid: Field,
    pub(super) gid: Field,
    pub(super) valid: Field,
    pub(super) new_size: Field,
    pub(super) new_mode: Field,
    pub(super) new_uid: Field,
    pub(super) new_gid: Field,
    pub(super) call: Field,
    pub(super) files: Field,
    pub(super) table: Field,
    pub(super) table_size: Field,
    pub(super) table_files: Field,
}

impl Layout {
    pub(super) fn of(btf: &Btf) -> Result<Layout, Error> {
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
