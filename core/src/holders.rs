//! Who has a file open or mapped, by /proc: descriptors, memory maps, loop devices. Usable inside
//! hooks.

use core::ffi::CStr;
use core::fmt::Write;
use core::ops::ControlFlow;

use rustix::fd::{AsFd, BorrowedFd, RawFd};
use rustix::fs::{AtFlags, CWD, OFlags, StatxFlags};
use rustix::io::Errno;

use crate::fnv::Fnv64;
use crate::line::Line;
use crate::proc::{Own, beginning, decimal, each_byte, each_entry};

/// The file that is looked for.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// `st_dev`.
    pub device: u64,
    /// `st_ino`.
    pub inode: u64,
    /// Of its canonical path, for filesystems whose maps show another inode (overlayfs).
    pub path: Fnv64,
}

/// How a process holds a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Holding {
    /// It has a descriptor of the file.
    pub open: bool,
    /// One of its descriptors can write.
    pub writes: bool,
    /// It maps the file.
    pub mapped: bool,
    /// One of its mappings is shared: stores through it reach the file.
    pub shared: bool,
}

/// Somebody who holds the file, or may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found<'a> {
    /// A process.
    Process(i32, Holding),
    /// A process that could not be looked at.
    Unseen(i32),
    /// The loop device of this name, whose backing file it is: the kernel holds it then, no
    /// process does.
    Loop(&'a CStr),
}

/// Looks through /proc and /sys/block. `own` is a descriptor of this process that does not count.
///
/// # Errors
/// The errors of opening and reading /proc: then nobody could be looked at.
pub fn scan(
    target: &Target,
    own: Option<RawFd>,
    visit: &mut dyn FnMut(Found<'_>),
) -> Result<(), Errno> {
    let me = rustix::process::getpid().as_raw_nonzero().get();
    // Without block devices there are no loop devices.
    let _ = each_entry(CWD, c"/sys/block", |name| {
        if name.to_bytes().starts_with(b"loop") && target.is_behind(name) {
            visit(Found::Loop(name));
        }
    });
    each_entry(CWD, c"/proc", |name| {
        let Some(pid) = decimal(name.to_bytes()) else {
            return;
        };
        match target.process(pid, own.filter(|_| pid == me)) {
            Look::Holds(holding) => visit(Found::Process(pid, holding)),
            Look::Free => {}
            Look::Unseen => visit(Found::Unseen(pid)),
        }
    })
}

enum Look {
    Holds(Holding),
    Free,
    Unseen,
}

impl Look {
    /// Gone, a zombie or a kernel thread; or somebody whom we may not look at.
    fn failed(errno: Errno, process: BorrowedFd<'_>) -> Look {
        if is_denied(errno) && !is_without_memory(process) {
            Look::Unseen
        } else {
            Look::Free
        }
    }
}

impl Target {
    fn is(&self, at: BorrowedFd<'_>, path: &CStr) -> Option<bool> {
        let flags = AtFlags::STATX_DONT_SYNC | AtFlags::NO_AUTOMOUNT;
        let stat = rustix::fs::statx(at, path, flags, StatxFlags::BASIC_STATS).ok()?;
        let device = rustix::fs::makedev(stat.stx_dev_major, stat.stx_dev_minor);
        Some((device, stat.stx_ino) == (self.device, self.inode))
    }

    fn process(&self, pid: i32, own: Option<RawFd>) -> Look {
        let mut path = Line::<24>::new();
        let Some(path) = path.c_str(format_args!("/proc/{pid}")) else {
            return Look::Unseen;
        };
        let process = match Own::open(CWD, path, OFlags::PATH | OFlags::DIRECTORY) {
            Ok(process) => process,
            Err(errno) if is_denied(errno) => return Look::Unseen,
            Err(_) => return Look::Free,
        };
        let process = process.as_fd();
        let mut holding = Holding::default();
        let maps = Own::open(process, c"maps", OFlags::RDONLY)
            .and_then(|maps| self.mappings(process, &maps, &mut holding));
        if let Err(errno) = maps {
            return Look::failed(errno, process);
        }
        let descriptors = each_entry(process, c"fd", |name| {
            self.descriptor(process, name, own, &mut holding);
        });
        match descriptors {
            Err(errno) if is_denied(errno) => Look::Unseen,
            _ if holding == Holding::default() => Look::Free,
            _ => Look::Holds(holding),
        }
    }

    fn mappings(
        &self,
        process: BorrowedFd<'_>,
        maps: &Own,
        holding: &mut Holding,
    ) -> Result<(), Errno> {
        let mut line = MapsLine::new();
        each_byte(maps.as_fd(), |byte| {
            if byte != b'\n' {
                line.take(byte);
                return ControlFlow::Continue(());
            }
            if self.is_mapped_by(process, &line) {
                holding.mapped = true;
                holding.shared |= line.is_shared;
            }
            line = MapsLine::new();
            ControlFlow::Continue(())
        })
    }

    /// Whether a line of maps is about this file. The device number there is not stat's on btrfs
    /// and overlayfs, so what looks like it is looked at through map_files.
    fn is_mapped_by(&self, process: BorrowedFd<'_>, line: &MapsLine) -> bool {
        let same_path = line.path == self.path;
        if line.inode == 0 || (line.inode != self.inode && !same_path) {
            return false;
        }
        let mut path = Line::<64>::new();
        let range = core::str::from_utf8(line.range.as_bytes()).unwrap_or_default();
        path.c_str(format_args!("map_files/{range}"))
            .and_then(|path| self.is(process, path))
            .unwrap_or(line.device() == self.device || same_path)
    }

    /// What a descriptor of the process adds.
    fn descriptor(
        &self,
        process: BorrowedFd<'_>,
        name: &CStr,
        own: Option<RawFd>,
        holding: &mut Holding,
    ) {
        let Some(number) = decimal::<RawFd>(name.to_bytes()) else {
            return;
        };
        let mut path = Line::<32>::new();
        let Some(path) = path.c_str(format_args!("fd/{number}")) else {
            return;
        };
        // Only what has a path can be a regular file; a stat of the rest would be wasted.
        let mut first = [0_u8; 1];
        let has_path =
            rustix::fs::readlinkat_raw(process, path, &mut first).is_ok() && first == *b"/";
        if !has_path || own == Some(number) || self.is(process, path) != Some(true) {
            return;
        }
        let flags = descriptor_flags(process, number).unwrap_or(libc::O_RDWR);
        if flags & libc::O_PATH == 0 {
            holding.open = true;
            holding.writes |= flags & libc::O_ACCMODE != libc::O_RDONLY;
        }
    }

    /// Whether it is the backing file of the loop device.
    #[inline(never)]
    fn is_behind(&self, device: &CStr) -> bool {
        let mut name = Line::<64>::new();
        let device = device.to_str().unwrap_or_default();
        let Some(name) = name.c_str(format_args!("/sys/block/{device}/loop/backing_file")) else {
            return false;
        };
        let mut backing = [0_u8; libc::PATH_MAX as usize];
        let Ok(read) = beginning(CWD, name, &mut backing) else {
            return false;
        };
        let end = read.strip_suffix(b"\n").unwrap_or(read).len();
        if let Some(end) = backing.get_mut(end) {
            *end = 0;
        }
        CStr::from_bytes_until_nul(&backing).is_ok_and(|path| self.is(CWD, path) == Some(true))
    }
}

/// The parts of a line of /proc/PID/maps that matter, proc_pid_maps(5), taken in byte by byte: [`crate::maps`] needs
/// the whole line, whose path may be longer than a hook may take of the stack.
struct MapsLine {
    field: u8,
    range: Line<40>,
    is_shared: bool,
    major: u32,
    minor: u32,
    is_minor: bool,
    inode: u64,
    path: Fnv64,
}

impl MapsLine {
    const fn new() -> MapsLine {
        MapsLine {
            field: 0,
            range: Line::new(),
            is_shared: false,
            major: 0,
            minor: 0,
            is_minor: false,
            inode: 0,
            path: Fnv64::EMPTY,
        }
    }

    fn device(&self) -> u64 {
        rustix::fs::makedev(self.major, self.minor)
    }

    fn take(&mut self, byte: u8) {
        const PATH: u8 = 5;
        if byte == b' ' && (self.field < PATH || self.path == Fnv64::EMPTY) {
            self.field = self.field.saturating_add(1).min(PATH);
            return;
        }
        let digit = |radix| char::from(byte).to_digit(radix).unwrap_or(0);
        match self.field {
            // Longer than any range: map_files will not have it.
            0 => drop(self.range.write_char(char::from(byte))),
            1 => self.is_shared |= byte == b's',
            3 if byte == b':' => self.is_minor = true,
            3 if self.is_minor => self.minor = self.minor.wrapping_mul(16) | digit(16),
            3 => self.major = self.major.wrapping_mul(16) | digit(16),
            4 => {
                self.inode = self
                    .inode
                    .wrapping_mul(10)
                    .wrapping_add(u64::from(digit(10)));
            }
            PATH => self.path.add(&[byte]),
            _ => {}
        }
    }
}

/// A kernel thread or a zombie: it maps nothing, whoever may look. proc_pid_stat(5): behind the name
/// in parentheses come the state and, six fields on, the kernel's flags.
fn is_without_memory(process: BorrowedFd<'_>) -> bool {
    const PF_KTHREAD: u32 = 0x0020_0000;
    let mut text = [0_u8; 256];
    let Ok(text) = beginning(process, c"stat", &mut text) else {
        return false;
    };
    let name_end = text.iter().rposition(|&byte| byte == b')').unwrap_or(0);
    let mut fields = text
        .get(name_end..)
        .unwrap_or(&[])
        .split(|&byte| byte == b' ')
        .skip(1);
    let state = fields.next();
    let flags = fields.nth(5).and_then(decimal::<u32>);
    matches!(state, Some(b"Z" | b"X")) || flags.is_some_and(|flags| flags & PF_KTHREAD != 0)
}

/// The descriptor's open flags, proc_pid_fdinfo(5).
fn descriptor_flags(process: BorrowedFd<'_>, number: RawFd) -> Option<i32> {
    let mut path = Line::<32>::new();
    let path = path.c_str(format_args!("fdinfo/{number}"))?;
    let mut text = [0_u8; 128];
    let text = beginning(process, path, &mut text).ok()?;
    let flags = text
        .split(|&byte| byte == b'\n')
        .find_map(|line| line.strip_prefix(b"flags:"))?;
    let digits = core::str::from_utf8(flags.trim_ascii()).ok()?;
    i32::from_str_radix(digits, 8).ok()
}

fn is_denied(errno: Errno) -> bool {
    errno == Errno::ACCESS || errno == Errno::PERM
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> MapsLine {
        let mut line = MapsLine::new();
        text.bytes().for_each(|byte| line.take(byte));
        line
    }

    #[test]
    fn a_line_of_maps_is_read() {
        let line = line("7f00-7f10 rw-s 00000000 fe:10 4711                     /a b (deleted)");
        assert_eq!(line.range.as_bytes(), b"7f00-7f10");
        assert!(line.is_shared);
        assert_eq!(line.device(), rustix::fs::makedev(0xfe, 0x10));
        assert_eq!(line.inode, 4711);
        assert_eq!(line.path, Fnv64::of(b"/a b (deleted)"));
    }

    #[test]
    fn lines_without_a_file_have_no_inode() {
        for text in ["7f00-7f10 rw-p 00000000 00:00 0 ", "", "garbage"] {
            assert_eq!(line(text).inode, 0, "{text}");
        }
        assert!(!line("7f00-7f10 rwxp 00000000 fe:10 4711 /s").is_shared);
    }

    #[test]
    fn a_zombie_has_no_memory_and_we_have() {
        let is_without = |pid| {
            let path = std::ffi::CString::new(format!("/proc/{pid}")).unwrap();
            is_without_memory(Own::open(CWD, &path, OFlags::PATH).unwrap().as_fd())
        };
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let how = libc::WEXITED | libc::WNOWAIT;
        // SAFETY: a null pointer for what is not wanted.
        let ended = unsafe { libc::waitid(libc::P_PID, child.id(), std::ptr::null_mut(), how) };
        assert_eq!(ended, 0);
        assert!(is_without(child.id()));
        assert!(!is_without(std::process::id()));
        child.wait().unwrap();
    }
}
