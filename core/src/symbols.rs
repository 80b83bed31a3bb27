//! The table of hooks. One row per function of the library: the names libc exports it under, its
//! system call (NONE if its arguments are not those of one, ITS_ARGUMENT for syscall(2) itself, ELSEWHERE
//! for a function of another library, which may be loaded later or never), and the operations that it can
//! ask the contract about. A row without names is a system call that libc has no function for, or one with
//! other arguments; then it stands before that one's.
//!
//! The library expands [`for_each_hook!`](crate::for_each_hook) into exported symbols, this module
//! into [`HOOKS`] for the tests and the documentation. A new hook is a row here, a function of
//! that name in `src/hooks/`, and a program of that name in `cdylib-tests/programs/hooks/`; leave one
//! out, and the build or a test fails.

use crate::contract::Operation;

/// What the library exports besides: functions for programs that know of it, `src/ask.rs` and
/// `include/daxshim.h`.
pub const QUESTIONS: &[&str] = &[
    "daxshim_is_sync",
    "daxshim_needs_msync",
    "daxshim_mincore",
    "daxshim_persist",
];

/// Hands every row to the macro `$expand`:
/// `family::function [names…] SYS_syscall => [operations…];`
#[macro_export]
macro_rules! for_each_hook {
    ($expand:ident) => {
        $expand! {
            open::open [open open64 __open __open64] SYS_open => [Handle Truncate];
            open::open_2 [__open_2 __open64_2] SYS_open => [Handle Truncate];
            open::openat [openat openat64] SYS_openat => [Handle Truncate];
            open::openat_2 [__openat_2 __openat64_2] SYS_openat => [Handle Truncate];
            open::creat [creat creat64] SYS_creat => [Truncate];
            open::openat2 [] SYS_openat2 => [Handle Truncate];
            open::open_by_handle_at [open_by_handle_at] SYS_open_by_handle_at => [Handle Truncate];

            write::write [write __write] SYS_write => [Write];
            write::pwrite [pwrite pwrite64 __pwrite64] SYS_pwrite64 => [Write];
            write::writev [writev] SYS_writev => [Write];
            write::pwritev [pwritev pwritev64] SYS_pwritev => [Write];
            write::pwritev2 [pwritev2 pwritev64v2] SYS_pwritev2 => [Write];

            read::read [read __read] SYS_read => [Read];
            read::pread [pread pread64 __pread64] SYS_pread64 => [Read];
            read::readv [readv] SYS_readv => [Read];
            read::preadv [preadv preadv64] SYS_preadv => [Read];
            read::preadv2 [preadv2 preadv64v2] SYS_preadv2 => [Read];

            copy::sendfile [sendfile sendfile64] SYS_sendfile => [CopyInto Read];
            copy::splice [splice] SYS_splice => [CopyInto Read];
            copy::copy_file_range [copy_file_range] SYS_copy_file_range => [CopyInto Read ShareExtents];

            size::ftruncate [ftruncate ftruncate64] SYS_ftruncate => [Resize];
            size::truncate [truncate truncate64] SYS_truncate => [Resize];
            size::fallocate [fallocate fallocate64] SYS_fallocate => [Allocate];

            attributes::chmod [chmod] SYS_chmod => [SetMode];
            attributes::fchmod [fchmod] SYS_fchmod => [SetMode];
            attributes::fchmodat_no_flags [] SYS_fchmodat => [SetMode];
            attributes::fchmodat [fchmodat] SYS_fchmodat => [SetMode];
            attributes::fchmodat2 [] SYS_fchmodat2 => [SetMode];
            attributes::lchmod [lchmod] NONE => [SetMode];
            attributes::chown [chown] SYS_chown => [SetOwner];
            attributes::fchown [fchown] SYS_fchown => [SetOwner];
            attributes::lchown [lchown] SYS_lchown => [SetOwner];
            attributes::fchownat [fchownat] SYS_fchownat => [SetOwner];

            times::utimensat [utimensat] SYS_utimensat => [SetTimes];
            times::utime [utime] SYS_utime => [SetTimes];
            times::utimes [utimes] SYS_utimes => [SetTimes];
            times::futimesat [futimesat] SYS_futimesat => [SetTimes];
            times::lutimes [lutimes] NONE => [SetTimes];
            times::futimes [futimes] NONE => [SetTimes];
            times::futimens [futimens] NONE => [SetTimes];

            xattr::setxattrat [] SYS_SETXATTRAT => [SetXattr];
            xattr::removexattrat [] SYS_REMOVEXATTRAT => [RemoveXattr];
            xattr::setxattr [setxattr] SYS_setxattr => [SetXattr];
            xattr::lsetxattr [lsetxattr] SYS_lsetxattr => [SetXattr];
            xattr::fsetxattr [fsetxattr] SYS_fsetxattr => [SetXattr];
            xattr::removexattr [removexattr] SYS_removexattr => [RemoveXattr];
            xattr::lremovexattr [lremovexattr] SYS_lremovexattr => [RemoveXattr];
            xattr::fremovexattr [fremovexattr] SYS_fremovexattr => [RemoveXattr];

            names::link [link] SYS_link => [Link];
            names::linkat [linkat] SYS_linkat => [Link];
            names::rename [rename] SYS_rename => [Rename];
            names::renameat [renameat] SYS_renameat => [Rename];
            names::renameat2 [renameat2] SYS_renameat2 => [Rename];
            names::unlink [unlink] SYS_unlink => [Unlink];
            names::unlinkat [unlinkat] SYS_unlinkat => [Unlink];
            names::remove [remove] NONE => [Unlink];

            map::mmap [mmap mmap64] SYS_mmap => [Map];
            map::munmap [munmap] SYS_munmap => [Map];
            map::mremap [mremap] SYS_mremap => [Map];
            map::mprotect [mprotect __mprotect] SYS_mprotect => [Map];
            map::pkey_mprotect [pkey_mprotect] SYS_pkey_mprotect => [Map];
            map::madvise [madvise __madvise] SYS_madvise => [Map Punch];
            map::process_madvise [process_madvise] SYS_process_madvise => [Map Punch];
            map::remap_file_pages [remap_file_pages] SYS_remap_file_pages => [Map];
            map::shmat [shmat] SYS_shmat => [Map];

            jump::longjmp [longjmp _longjmp siglongjmp __longjmp_chk] NONE => [Sync];

            sync::msync [msync] SYS_msync => [Sync];
            sync::fsync [fsync] SYS_fsync => [Sync];
            sync::fdatasync [fdatasync] SYS_fdatasync => [Sync];
            sync::sync_file_range [sync_file_range] SYS_sync_file_range => [Sync];

            descriptors::dup [dup] SYS_dup => [Handle];
            descriptors::dup2 [dup2 __dup2] SYS_dup2 => [Handle];
            descriptors::dup3 [dup3] SYS_dup3 => [Handle];
            descriptors::fcntl [fcntl fcntl64 __fcntl] SYS_fcntl => [Handle];
            descriptors::close [close __close] SYS_close => [Handle];
            descriptors::close_range [close_range] SYS_close_range => [Handle];
            descriptors::closefrom [closefrom] NONE => [Handle];
            descriptors::recvmsg [recvmsg] SYS_recvmsg => [Handle];
            descriptors::recvmmsg [recvmmsg] SYS_recvmmsg => [Handle];
            descriptors::pidfd_getfd [pidfd_getfd] SYS_pidfd_getfd => [Handle];

            share::vfork [vfork __vfork] SYS_vfork => [Handle];
            share::clone [clone __clone] NONE => [Handle];
            share::clone_call [] SYS_clone => [Handle];
            share::clone3 [] SYS_clone3 => [Handle];
            share::unshare [unshare] SYS_unshare => [Handle];

            filter::prctl [prctl] SYS_prctl => [Handle];
            filter::seccomp [] SYS_seccomp => [Handle];

            exec::execve [execve] SYS_execve => [Handle];
            exec::execveat [execveat] SYS_execveat => [Handle];
            exec::fexecve [fexecve] NONE => [Handle];

            aio::io_submit_by_number [] SYS_io_submit => [Write Read];
            aio::io_submit [io_submit] NONE => [Write Read];
            aio::aio_fsync [aio_fsync aio_fsync64] NONE => [Sync];
            aio::io_uring_setup [] SYS_io_uring_setup => [Handle];

            flags::file_setattr [] SYS_FILE_SETATTR => [SetFlags];
            flags::file_getattr [] SYS_FILE_GETATTR => [Handle];

            ioctl::ioctl [ioctl] SYS_ioctl => [ShareExtents SetFlags Allocate Resize Write SetXattr LoopAttach Handle];
            check::sendto [] SYS_sendto => [Handle];
            check::sendmsg [] SYS_sendmsg => [Handle];
            check::sendmmsg [] SYS_sendmmsg => [Handle];
            check::sync [] SYS_sync => [Sync];
            check::syncfs [] SYS_syncfs => [Sync];
            check::exit_group [_exit _Exit] SYS_exit_group => [Handle];

            pmem::pmem_flush [pmem_flush pmem_deep_flush] ELSEWHERE => [Sync];
            pmem::pmem_drain [pmem_drain] ELSEWHERE => [Sync];
            pmem::pmem_persist [pmem_persist] ELSEWHERE => [Sync];
            pmem::pmem_copy [pmem_memcpy pmem_memmove pmem_memset] ELSEWHERE => [Sync];
            pmem::pmem_copy_nodrain [pmem_memcpy_nodrain pmem_memmove_nodrain pmem_memset_nodrain] ELSEWHERE => [Sync];
            pmem::pmem_copy_persist [pmem_memcpy_persist pmem_memmove_persist pmem_memset_persist] ELSEWHERE => [Sync];
            pmem2::pmem2_get_flush_fn [pmem2_get_flush_fn] ELSEWHERE => [Sync];
            pmem2::pmem2_get_drain_fn [pmem2_get_drain_fn] ELSEWHERE => [Sync];
            pmem2::pmem2_get_persist_fn [pmem2_get_persist_fn] ELSEWHERE => [Sync];
            pmem2::pmem2_get_copy_fn [pmem2_get_memcpy_fn pmem2_get_memmove_fn pmem2_get_memset_fn] ELSEWHERE => [Sync];

            system::syscall [syscall] ITS_ARGUMENT => [Handle];
        }
    };
}

/// One row of the table of hooks.
#[derive(Clone, Copy, Debug)]
pub struct Hook {
    /// The module in `src/hooks/` it lives in.
    pub family: &'static str,
    /// The function there, and the program in `cdylib-tests/programs/hooks/`.
    pub function: &'static str,
    /// Every name libc exports it under.
    pub symbols: &'static [&'static str],
    /// Its system call as libc's headers name it; see the module's head for what is none.
    pub syscall: &'static str,
    /// What it can ask the contract about.
    pub operations: &'static [Operation],
}

impl Hook {
    /// Whether it stands in front of libc's function, or of a system call.
    #[must_use]
    pub fn is_of_libc(&self) -> bool {
        self.syscall != "ELSEWHERE"
    }
}

macro_rules! hook_rows {
    ($($family:ident::$function:ident [$($symbol:ident)*] $syscall:ident => [$($operation:ident)+];)+) => {
        /// Every hook of the library.
        pub const HOOKS: &[Hook] = &[$(Hook {
            family: stringify!($family),
            function: stringify!($function),
            symbols: &[$(stringify!($symbol)),*],
            syscall: stringify!($syscall),
            operations: &[$(Operation::$operation),+],
        }),+];
    };
}
for_each_hook!(hook_rows);

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn each_symbol_has_one_row() {
        let mut seen = HashSet::new();
        for symbol in HOOKS.iter().flat_map(|hook| hook.symbols) {
            assert!(seen.insert(symbol), "{symbol} stands in two rows");
        }
    }
}
