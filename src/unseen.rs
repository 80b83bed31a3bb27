//! Programs that the library will not be loaded into: what the report has to name.

use crate::process::{self, link_target};
use crate::real::sys;
use crate::subject::{Place, borrow};
use core::ffi::CStr;
use daxshim_core::line::Line;
use daxshim_core::preload::file_name;
use daxshim_core::report::{Executions, PATH_LEN, Unseen};
use rustix::fs::{StatVfsMountFlags, fstatvfs};

/// Where an execution is to be counted, if the report is to name it; the arguments are those of
/// execveat(2). What can't be looked at is taken for good.
#[inline(never)]
pub fn look(at: i32, path: usize, flags: i32) -> Option<Executions<'static>> {
    process::page()?;
    let follow = match flags & libc::AT_SYMLINK_NOFOLLOW {
        0 => 0,
        _ => libc::O_NOFOLLOW,
    };
    let program = Open::at(at, path, libc::O_PATH | follow);
    let program = match flags & libc::AT_EMPTY_PATH {
        0 => program?,
        _ => program.or_else(|| {
            let name = proc_name(at);
            Open::at(
                libc::AT_FDCWD,
                name.as_bytes().as_ptr() as usize,
                libc::O_PATH,
            )
        })?,
    };
    match look_at(&program)? {
        Look::Unseen(reason) => count(&program, reason),
        Look::Script(interpreter) => match look_at(&interpreter)? {
            Look::Unseen(reason) => count(&interpreter, reason),
            Look::Script(_) => None,
        },
    }
}

enum Look {
    Unseen(Unseen),
    /// Its interpreter.
    Script(Open),
}

fn look_at(program: &Open) -> Option<Look> {
    let stat = program.stat()?;
    if stat.st_mode & libc::S_IFMT != libc::S_IFREG || stat.st_mode & 0o111 == 0 {
        return None;
    }
    match program.format() {
        Format::Script(interpreter) => Some(Look::Script(interpreter?)),
        Format::Unseen(reason) => Some(Look::Unseen(reason)),
        Format::Good => privileges(program, &stat).map(Look::Unseen),
    }
}

/// Not inlined, as it needs room for a path.
#[cold]
#[inline(never)]
fn count(program: &Open, reason: Unseen) -> Option<Executions<'static>> {
    let mut path = [0; PATH_LEN];
    let name = program.name();
    let length = link_target(CStr::from_bytes_until_nul(name.as_bytes()).ok()?, &mut path);
    Some(process::page()?.unseen(reason, path.get(..length)?))
}

enum Format {
    Good,
    Unseen(Unseen),
    /// `None`: its interpreter is not there.
    Script(Option<Open>),
}

/// A descriptor of ours for a moment.
struct Open(usize);

impl Drop for Open {
    fn drop(&mut self) {
        // SAFETY: opened by `Open::at`.
        let _ = unsafe { sys!(SYS_close, self.0) };
    }
}

impl Open {
    fn at(at: i32, path: usize, flags: i32) -> Option<Open> {
        let flags = flags | libc::O_CLOEXEC | libc::O_NOCTTY | libc::O_NONBLOCK;
        // SAFETY: the kernel reads the path, or answers EFAULT.
        unsafe { sys!(SYS_openat, at, path, flags) }.ok().map(Open)
    }

    fn stat(&self) -> Option<libc::stat> {
        Place::Descriptor(self.0 as i32).stat().ok()
    }

    fn name(&self) -> Line<32> {
        proc_name(self.0 as i32)
    }

    /// The beginning of the file: enough for a `#!` line, and for the headers of a usual ELF file.
    #[inline(never)]
    fn format(&self) -> Format {
        const LINE: usize = 256;
        let mut bytes = [0; 1024];
        let name = self.name();
        let Some(file) = Open::at(
            libc::AT_FDCWD,
            name.as_bytes().as_ptr() as usize,
            libc::O_RDONLY,
        ) else {
            return Format::Good;
        };
        let length = file.read(0, &mut bytes);
        let bytes = bytes.get_mut(..length).unwrap_or(&mut []);
        if let [b'#', b'!', line @ ..] = bytes {
            let length = line.len().min(LINE - 2);
            return Format::Script(line.get_mut(..length).and_then(interpreter));
        }
        match elf(bytes, &file) {
            Some(reason) => Format::Unseen(reason),
            None => Format::Good,
        }
    }

    fn read(&self, offset: usize, into: &mut [u8]) -> usize {
        let (at, length) = (into.as_mut_ptr(), into.len());
        // SAFETY: the buffer is ours.
        unsafe { sys!(SYS_pread64, self.0, at, length, offset) }.unwrap_or(0)
    }
}

/// `/proc/self/fd/N`.
fn proc_name(fd: i32) -> Line<32> {
    let mut line = Line::new();
    let _ = line.c_str(format_args!("/proc/self/fd/{fd}"));
    line
}

/// Opens what runs a script, as the kernel splits the line.
fn interpreter(line: &mut [u8]) -> Option<Open> {
    let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let start = line.iter().position(|byte| !is_blank(byte))?;
    let path = line.get_mut(start..)?;
    let end = path
        .iter()
        .position(|byte| is_blank(byte) || *byte == b'\n')?;
    *path.get_mut(end)? = 0;
    Open::at(libc::AT_FDCWD, path.as_ptr() as usize, libc::O_PATH)
}

/// See elf(5).
fn elf(bytes: &[u8], file: &Open) -> Option<Unseen> {
    const CLASS_64: u8 = 2;
    const MACHINE: usize = 18;
    const X86_64: u64 = 62;
    const PROGRAM_HEADERS: usize = 32;
    const HEADER_COUNT: usize = 56;
    const HEADER: usize = 56;
    const INTERPRETER: u64 = 3;
    let [0x7f, b'E', b'L', b'F', class, ..] = bytes else {
        return None;
    };
    if *class != CLASS_64 || number::<2>(bytes, MACHINE)? != X86_64 {
        return Some(Unseen::Machine);
    }
    let first = number::<8>(bytes, PROGRAM_HEADERS)? as usize;
    for header in 0..number::<2>(bytes, HEADER_COUNT)? as usize {
        let at = first.checked_add(header * HEADER)?;
        let kind = number::<4>(bytes, at).or_else(|| {
            let mut kind = [0; 4];
            (file.read(at, &mut kind) == kind.len()).then(|| number::<4>(&kind, 0))?
        });
        if kind? == INTERPRETER {
            return None;
        }
    }
    let is_loader = || {
        let mut path = [0; PATH_LEN];
        let name = file.name();
        let length = CStr::from_bytes_until_nul(name.as_bytes())
            .map_or(0, |name| link_target(name, &mut path));
        let name = file_name(path.get(..length).unwrap_or(&[]));
        name.starts_with(b"ld-linux") || name.starts_with(b"ld-2.") || name == b"ld.so"
    };
    // The loader itself, given a program, reads LD_PRELOAD.
    (!is_loader()).then_some(Unseen::Static)
}

/// A little-endian number of `N` bytes.
fn number<const N: usize>(bytes: &[u8], at: usize) -> Option<u64> {
    let bytes = bytes.get(at..at.checked_add(N)?)?;
    let number = bytes.iter().rev();
    Some(number.fold(0, |number, &byte| number << 8 | u64::from(byte)))
}

/// Whether executing it is a change of privileges, which the kernel tells the loader by AT_SECURE
/// (cap_bprm_creds_from_file in security/commoncap.c): by IDs if the effective one will not be the
/// present real one.
fn privileges(program: &Open, stat: &libc::stat) -> Option<Unseen> {
    // Without group execution the bit means mandatory locking.
    let set_gid = libc::S_ISGID | libc::S_IXGRP;
    let (mut user, mut group) = (id(libc::SYS_geteuid)?, id(libc::SYS_getegid)?);
    let ignored = is_ignored(program);
    if stat.st_mode & libc::S_ISUID != 0 && !ignored {
        user = stat.st_uid;
    }
    if stat.st_mode & set_gid == set_gid && !ignored {
        group = stat.st_gid;
    }
    let real = id(libc::SYS_getuid)?;
    if user != real {
        return Some(Unseen::SetUser);
    }
    if group != id(libc::SYS_getgid)? {
        return Some(Unseen::SetGroup);
    }
    // Root has them all without the file.
    (real != 0 && !ignored && has_capabilities(program)).then_some(Unseen::Capabilities)
}

fn id(number: libc::c_long) -> Option<u32> {
    // SAFETY: takes nothing.
    let id = unsafe { crate::real::syscall(number, [0; 6]) };
    id.ok().map(|id| id as u32)
}

/// On a mount with nosuid, and where new privileges were given up.
fn is_ignored(program: &Open) -> bool {
    // SAFETY: takes no pointer.
    let given_up = unsafe { sys!(SYS_prctl, libc::PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) };
    let mount = borrow(program.0 as i32).and_then(|fd| fstatvfs(fd).ok());
    let nosuid = mount.is_some_and(|mount| mount.f_flag.contains(StatVfsMountFlags::NOSUID));
    given_up == Ok(1) || nosuid
}

fn has_capabilities(program: &Open) -> bool {
    let (path, name) = (program.name(), c"security.capability");
    // SAFETY: both texts are ours; no value is asked for.
    let length = unsafe { sys!(SYS_getxattr, path.as_bytes().as_ptr(), name.as_ptr(), 0, 0) };
    length.is_ok()
}
