//! Programs that the library will not be loaded into: those whose loader can't load it, which must be executed
//! without it, and all that the report has to name.

use crate::exec::environment;
use crate::exec::scratch::Desk;
use crate::ground::opened::{self, Opened};
use crate::ground::page::{self, link_target};
use crate::ground::place::{Place, Stat, borrow};
use crate::ground::real::sys;
use core::ffi::{CStr, c_void};
use core::mem::offset_of;
use core::sync::atomic::{AtomicU64, Ordering};
use daxshim_core::line::Line;
use daxshim_core::loader;
use daxshim_core::report::{Executions, PATH_LEN, Unseen};
use libc::{Elf32_Ehdr, Elf32_Phdr, Elf64_Ehdr, Elf64_Phdr};
use rustix::fs::{StatVfsMountFlags, fstatvfs};

/// A field of a structure whose bytes these are, of whatever alignment; `None` where they end before it.
macro_rules! number {
    ($bytes:expr, $of:ident, $field:ident) => {{
        const SIZE: usize = {
            let zeroed = core::mem::MaybeUninit::<$of>::zeroed();
            // SAFETY: all of these structures' fields are numbers.
            size_of_val(unsafe { &zeroed.assume_init_ref().$field })
        };
        number_at::<SIZE>($bytes, offset_of!($of, $field))
    }};
}

/// How many scripts the kernel follows to their interpreters, one after the other (exec_binprm in fs/exec.c).
const SCRIPTS: usize = 5;

/// The loader that loaded this program, which can load the library: `st_dev`, `st_ino`. 0: not known.
static LOADER: [AtomicU64; 2] = [AtomicU64::new(0), AtomicU64::new(0)];

/// Notes this program's loader. Once, by the constructor.
pub fn start() {
    let mut found = core::mem::MaybeUninit::<libc::Dl_info>::zeroed();
    // SAFETY: getauxval(3) looks at what the kernel handed over; dladdr(3) fills `found` in, or leaves zeros,
    // and its name lives as long as the loader.
    let name = unsafe {
        let base = libc::getauxval(libc::AT_BASE) as *const c_void;
        libc::dladdr(base, found.as_mut_ptr());
        found.assume_init().dli_fname
    };
    if !name.is_null()
        && let Ok(stat) = Place::path(name as usize, true).stat()
    {
        let [device, inode] = &LOADER;
        device.store(stat.st_dev, Ordering::Relaxed);
        inode.store(stat.st_ino, Ordering::Relaxed);
    }
}

fn is_own_loader(stat: &Stat) -> bool {
    let [device, inode] = &LOADER;
    (stat.st_dev, stat.st_ino)
        == (
            device.load(Ordering::Relaxed),
            inode.load(Ordering::Relaxed),
        )
}

/// A program that the library will not be in.
pub struct Found {
    reason: Unseen,
    /// Whether it is of another machine, and has no loader at all.
    loads_nothing: bool,
    /// Where its executions are counted, if there is a report.
    pub counter: Option<Executions<'static>>,
}

impl Found {
    /// Whether its loader would fail, or complain, if it were told to load the library. One that loads nothing
    /// may hand on what it is told.
    pub fn cannot_load(&self) -> bool {
        match self.reason {
            Unseen::Machine => !self.loads_nothing,
            Unseen::Loader | Unseen::NotFound => true,
            _ => false,
        }
    }
}

/// Looks at what is to be executed; the arguments are those of execveat(2). What can't be looked at is taken
/// for good.
#[inline(never)]
pub fn look(at: i32, path: usize, flags: i32, desk: &mut Desk) -> Option<Found> {
    let mut program = File::of(at, path, flags)?;
    for _ in 0..SCRIPTS {
        let stat = program.stat()?;
        if stat.st_mode & libc::S_IFMT != libc::S_IFREG || stat.st_mode & 0o111 == 0 {
            return None;
        }
        let reason = match program.format(&stat, desk) {
            Format::Script => {
                program = interpreter(&mut desk.file)?;
                continue;
            }
            Format::Unseen(reason) => Some(reason),
            // Only the report wants to know: their loaders ignore LD_PRELOAD.
            Format::Good if page::page().is_some() => privileges(&program, &stat),
            Format::Good => None,
        };
        let reason = reason.or_else(|| is_lost().then_some(Unseen::NotFound))?;
        return Some(Found {
            reason,
            loads_nothing: reason == Unseen::Machine && is_static_32(&desk.file),
            counter: count(&program, reason, desk),
        });
    }
    None
}

/// Whether a loader would look for the library in vain: after chroot(2), or chdir(2) where it was named by a
/// relative path.
fn is_lost() -> bool {
    environment::library().is_some_and(|library| {
        let stat = Place::path(library.as_ptr() as usize, true).stat();
        matches!(stat, Err(libc::ENOENT | libc::ENOTDIR | libc::EACCES))
    })
}

#[cold]
#[inline(never)]
fn count(program: &File, reason: Unseen, desk: &mut Desk) -> Option<Executions<'static>> {
    let page = page::page()?;
    let path = desk.file.first_chunk_mut::<PATH_LEN>()?;
    let name = program.name();
    let length = link_target(CStr::from_bytes_until_nul(name.as_bytes()).ok()?, path);
    Some(page.unseen(reason, path.get(..length)?))
}

enum Format {
    Good,
    Unseen(Unseen),
    /// Its first line is on the desk.
    Script,
}

/// A program's file.
struct File {
    fd: i32,
    is_ours: bool,
}

impl Drop for File {
    fn drop(&mut self) {
        if self.is_ours {
            // SAFETY: opened by `File::open`.
            let _ = unsafe { sys!(SYS_close, self.fd) };
        }
    }
}

impl File {
    /// The program's own descriptor where it executes that.
    fn of(at: i32, path: usize, flags: i32) -> Option<File> {
        let is_empty = flags & libc::AT_EMPTY_PATH != 0;
        if is_empty && Place::at(at, path, true).or_empty(true).is_descriptor() {
            let given = File {
                fd: at,
                is_ours: false,
            };
            return match given.read(0, &mut [0]) {
                0 => File::readable(libc::AT_FDCWD, given.name().as_bytes().as_ptr() as usize, 0),
                _ => Some(given),
            };
        }
        let follow = match flags & libc::AT_SYMLINK_NOFOLLOW {
            0 => 0,
            _ => libc::O_NOFOLLOW,
        };
        File::readable(at, path, follow)
    }

    /// To read from, if that is allowed.
    fn readable(at: i32, path: usize, flags: i32) -> Option<File> {
        // Nothing but a regular file is opened in earnest.
        let place = Place::at(at, path, flags & libc::O_NOFOLLOW == 0);
        let stat = place.stat().ok()?;
        if stat.st_mode & libc::S_IFMT != libc::S_IFREG {
            return None;
        }
        match opened::of_file(&stat) {
            Opened::No => File::open(at, path, flags | libc::O_RDONLY)
                .or_else(|| File::open(at, path, flags | libc::O_PATH)),
            // What somebody writes to is not executed.
            Opened::Readable(fd) | Opened::Writable(fd) => Some(File { fd, is_ours: false }),
        }
    }

    fn open(at: i32, path: usize, flags: i32) -> Option<File> {
        let flags = flags | libc::O_CLOEXEC | libc::O_NOCTTY | libc::O_NONBLOCK;
        // SAFETY: the kernel reads the path, or answers EFAULT.
        let fd = unsafe { sys!(SYS_openat, at, path, flags) }.ok()?;
        Some(File {
            fd: fd as i32,
            is_ours: true,
        })
    }

    fn stat(&self) -> Option<Stat> {
        Place::Descriptor(self.fd).stat().ok()
    }

    /// `/proc/thread-self/fd/N`.
    fn name(&self) -> Line<32> {
        let mut line = Line::new();
        let _ = line.descriptor(self.fd, "");
        line
    }

    #[inline(never)]
    fn format(&self, stat: &Stat, desk: &mut Desk) -> Format {
        // Enough for a `#!` line, and for the headers of a usual ELF file.
        const HEAD: usize = 1024;
        let head = desk.file.get_mut(..HEAD).unwrap_or_default();
        let length = self.read(0, head);
        for byte in head.iter_mut().skip(length) {
            *byte = 0;
        }
        match head {
            [b'#', b'!', ..] => Format::Script,
            [0x7f, b'E', b'L', b'F', ..] => match elf(self, stat, length, desk) {
                Some(reason) => Format::Unseen(reason),
                None => Format::Good,
            },
            _ => Format::Good,
        }
    }

    /// Bytes read.
    fn read(&self, offset: usize, into: &mut [u8]) -> usize {
        let (at, length) = (into.as_mut_ptr(), into.len());
        // SAFETY: the buffer is ours.
        unsafe { sys!(SYS_pread64, self.fd, at, length, offset) }.unwrap_or(0)
    }
}

/// Opens what runs a script, as the kernel splits its first line.
fn interpreter(beginning: &mut [u8]) -> Option<File> {
    const LINE: usize = 256;
    let line = beginning.get_mut(2..LINE)?;
    let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let start = line.iter().position(|byte| !is_blank(byte))?;
    let path = line.get_mut(start..)?;
    let end = path
        .iter()
        .position(|byte| is_blank(byte) || matches!(byte, b'\n' | 0))?;
    *path.get_mut(end)? = 0;
    File::readable(libc::AT_FDCWD, path.as_ptr() as usize, 0)
}

/// See elf(5). The first `length` bytes of the file are on the desk.
///
/// Read by libc's structures, not by `object`: most files tell what is asked in their first KiB, and the headers of
/// others are read one at a time, as there is no room for a file.
fn elf(file: &File, stat: &Stat, length: usize, desk: &mut Desk) -> Option<Unseen> {
    const HEADER: usize = size_of::<Elf64_Phdr>();
    let head = desk.file.get(..length)?;
    let is_64 = *head.get(libc::EI_CLASS)? == libc::ELFCLASS64;
    if !is_64 || number!(head, Elf64_Ehdr, e_machine)? != u64::from(libc::EM_X86_64) {
        return Some(Unseen::Machine);
    }
    let is_shared = number!(head, Elf64_Ehdr, e_type)? == u64::from(libc::ET_DYN);
    let first = number!(head, Elf64_Ehdr, e_phoff)? as usize;
    let count = number!(head, Elf64_Ehdr, e_phnum)? as usize;
    let mut dynamic = None;
    for header in 0..count {
        let at = first.checked_add(header * HEADER)?;
        let mut bytes = [0; HEADER];
        match desk.file.get(at..at.saturating_add(HEADER)) {
            Some(known) if at + HEADER <= length => bytes.copy_from_slice(known),
            _ if file.read(at, &mut bytes) == HEADER => {}
            _ => return None,
        }
        let part = || {
            let at = number!(&bytes, Elf64_Phdr, p_offset)? as usize;
            Some((at, number!(&bytes, Elf64_Phdr, p_filesz)? as usize))
        };
        match number!(&bytes, Elf64_Phdr, p_type)? as u32 {
            libc::PT_INTERP => {
                let (at, size) = part()?;
                return foreign_loader(file, at, size, desk).then_some(Unseen::Loader);
            }
            libc::PT_DYNAMIC => dynamic = part(),
            _ => {}
        }
    }
    // A loader itself, given a program, reads LD_PRELOAD.
    match dynamic.filter(|_| is_shared) {
        Some((at, size)) if !is_static_pie(file, at, size, desk) => {
            let can_load = is_own_loader(stat) || can_load(file, desk);
            (!can_load).then_some(Unseen::Loader)
        }
        _ => Some(Unseen::Static),
    }
}

/// Whether it is a program of 32 bits that names no interpreter, as far as its first bytes tell.
fn is_static_32(head: &[u8]) -> bool {
    let kind = |first: u64, header: u64| {
        let at = (header as usize)
            .checked_mul(size_of::<Elf32_Phdr>())?
            .checked_add(first as usize)?;
        number!(head.get(at..)?, Elf32_Phdr, p_type)
    };
    let is_32 = head.get(libc::EI_CLASS) == Some(&libc::ELFCLASS32);
    let first = number!(head, Elf32_Ehdr, e_phoff).filter(|_| is_32);
    let count = number!(head, Elf32_Ehdr, e_phnum);
    first.zip(count).is_some_and(|(first, count)| {
        (0..count).all(|header| {
            kind(first, header).is_some_and(|kind| kind != u64::from(libc::PT_INTERP))
        })
    })
}

/// Whether the interpreter that a program names there is one that can't load the library.
fn foreign_loader(program: &File, at: usize, size: usize, desk: &mut Desk) -> bool {
    let Some(path) = desk.file.get_mut(..size.min(libc::PATH_MAX as usize)) else {
        return false;
    };
    if program.read(at, path) != path.len() || path.last() != Some(&0) {
        return false;
    }
    let place = Place::path(path.as_ptr() as usize, true);
    // Where there is none, the kernel says so.
    let Ok(stat) = place.stat() else { return false };
    if is_own_loader(&stat) {
        return false;
    }
    let path = path.as_ptr() as usize;
    let loader = File::readable(libc::AT_FDCWD, path, 0);
    loader.is_some_and(|loader| !can_load(&loader, desk))
}

fn can_load(loader: &File, desk: &mut Desk) -> bool {
    let length = loader.read(0, &mut desk.file);
    desk.file.get(..length).is_some_and(loader::can_load)
}

/// Whether its dynamic section says that it is a program. What has no interpreter and is none is a loader.
fn is_static_pie(file: &File, at: usize, size: usize, desk: &mut Desk) -> bool {
    const FLAGS_1: u64 = 0x6fff_fffb;
    const PIE: u64 = 0x0800_0000;
    let room = desk.file.len();
    let section = desk.file.get_mut(..size.min(room)).unwrap_or_default();
    let length = file.read(at, section);
    let (entries, _) = section.get(..length).unwrap_or_default().as_chunks::<16>();
    entries.iter().any(|entry| {
        number_at::<8>(entry, 0) == Some(FLAGS_1)
            && number_at::<8>(entry, 8).is_some_and(|flags| flags & PIE != 0)
    })
}

/// A little-endian number of `N` bytes.
fn number_at<const N: usize>(bytes: &[u8], at: usize) -> Option<u64> {
    let bytes = bytes.get(at..at.checked_add(N)?)?;
    let number = bytes.iter().rev();
    Some(number.fold(0, |number, &byte| number << 8 | u64::from(byte)))
}

/// Whether executing it is a change of privileges, which the kernel tells the loader by AT_SECURE
/// (cap_bprm_creds_from_file in security/commoncap.c): by IDs if the effective one will not be the
/// present real one.
fn privileges(program: &File, stat: &Stat) -> Option<Unseen> {
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
    let id = unsafe { crate::ground::real::syscall(number, [0; 6]) };
    id.ok().map(|id| id as u32)
}

/// On a mount with nosuid, and where new privileges were given up.
fn is_ignored(program: &File) -> bool {
    // SAFETY: takes no pointer.
    let given_up = unsafe { sys!(SYS_prctl, libc::PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) };
    let mount = borrow(program.fd).and_then(|fd| fstatvfs(fd).ok());
    let nosuid = mount.is_some_and(|mount| mount.f_flag.contains(StatVfsMountFlags::NOSUID));
    given_up == Ok(1) || nosuid
}

fn has_capabilities(program: &File) -> bool {
    let (path, name) = (program.name(), c"security.capability");
    // SAFETY: both texts are ours; no value is asked for.
    let length = unsafe { sys!(SYS_getxattr, path.as_bytes().as_ptr(), name.as_ptr(), 0, 0) };
    length.is_ok()
}
