//! What processes have mapped, and whether user flush suffices for it.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, StatxAttributes, StatxFlags};
use rustix::io::Errno;
use serde::Serialize;

use super::error::{Action, Cause, Error, call};
use super::file::Opened;
use super::holders::{Target, Unseen, is_denied, is_without_memory, map_file, name, pids};
use super::state::{self, Condition, TagState};
use crate::maps::{Line, Mapping};
use crate::pagemap::{self, Pages};
use crate::{dax, extents};

/// What was found.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Inspection {
    /// By process and address.
    pub mappings: Vec<Mapped>,
    /// Processes that could not be looked at: they may map the file.
    pub unseen: Vec<Unseen>,
}

/// A mapping of a file.
#[derive(Clone, Debug, Serialize)]
pub struct Mapped {
    /// Process.
    pub pid: i32,
    /// Its name (`comm`).
    pub process: String,
    /// The file's path in the process's own namespace, as the kernel shows it.
    pub path: String,
    /// Whether that path still leads to the file: it may have been removed or replaced.
    pub at_path: bool,
    /// First address.
    pub start: u64,
    /// First address behind it.
    pub end: u64,
    /// Where in the file it begins, bytes.
    pub offset: u64,
    /// As /proc/PID/maps shows them: `rw-s`.
    pub permissions: String,
    /// MAP_SHARED: stores reach the file.
    pub shared: bool,
    /// STATX_ATTR_DAX; `None` where the file could not be looked at.
    pub dax: Option<bool>,
    /// The kernel granted MAP_SYNC (`sf` in smaps).
    pub sync: bool,
    /// The tag that counts; `None`: not tagged, or it could not be looked at.
    pub tag: Option<TagState>,
    /// Why the file could not be looked at for a tag.
    pub unread: Option<String>,
    /// What is mapped now, by size of its pages; `None` before Linux 6.7.
    pub pages: Option<PageSizes>,
    /// Whether stores are durable after write-back of their lines and a fence.
    pub user_flush: bool,
    /// Why.
    pub reason: FlushReason,
}

/// Bytes that are mapped now, by the size of the pages that map them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PageSizes {
    /// In pages of 4 KiB.
    pub pte: u64,
    /// In pages of 2 MiB.
    pub pmd: u64,
    /// In pages of 1 GiB: hugetlbfs; fs-DAX has none.
    pub pud: u64,
}

/// Why user flush suffices for a mapping or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FlushReason {
    /// MAP_SYNC and a valid tag.
    Tagged,
    /// MAP_SYNC, and no tag that binds.
    MapSync,
    /// An emulated tag on tmpfs.
    Emulated,
    /// MAP_PRIVATE.
    Private,
    /// No PROT_WRITE.
    ReadOnly,
    /// The tag is broken.
    Broken,
    /// DAX without MAP_SYNC.
    NotSync,
    /// Not DAX.
    PageCache,
    /// Without MAP_SYNC, and nothing is known of the file.
    Unknown,
}

impl FlushReason {
    /// Whether user flush suffices.
    #[must_use]
    pub fn suffices(self) -> bool {
        matches!(
            self,
            FlushReason::Tagged | FlushReason::MapSync | FlushReason::Emulated
        )
    }

    /// The reason, as a sentence without a full stop.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            FlushReason::Tagged => {
                "MAP_SYNC and a valid tag: only cache lines are left to be made durable"
            }
            FlushReason::MapSync => {
                "MAP_SYNC: metadata is durable before a page's first store; the file has no valid \
                 tag, so the shim leaves its msync to the kernel"
            }
            FlushReason::Emulated => {
                "emulated tag on tmpfs, for processes with DAXSHIM_EMULATE=1: nothing there \
                 outlives a power failure, whatever is called"
            }
            FlushReason::Private => "MAP_PRIVATE: stores never reach the file",
            FlushReason::ReadOnly => "not writable: there are no stores to make durable",
            FlushReason::Broken => {
                "the tag is broken, its extents have moved, so every sync is the kernel's"
            }
            FlushReason::NotSync => {
                "DAX, but without MAP_SYNC: a store may have changed metadata that only msync \
                 makes durable"
            }
            FlushReason::PageCache => {
                "not DAX: stores stay in the page cache until msync writes them out"
            }
            FlushReason::Unknown => {
                "not MAP_SYNC, and the file could not be looked at: only msync is safe"
            }
        }
    }
}

/// Every mapping of a file in a process; unless `all`, of those that are shared only, and of files
/// that are DAX or carry a tag.
///
/// # Errors
/// [`Cause::NoProcess`], [`Cause::ForeignProcess`].
pub fn inspect_process(pid: u64, all: bool) -> Result<Inspection, Error> {
    let error = |cause| {
        let named = PathBuf::from(format!("process {pid}"));
        Error::new(Action::Inspect, &named, cause)
    };
    let number = i32::try_from(pid).map_err(|_| error(Cause::NoProcess))?;
    let is_wanted = |mapping: &Mapping<'_>| mapping.inode != 0 && (all || mapping.is_shared());
    let mut mappings = Process::new(number)
        .mappings(&mut HashMap::new(), is_wanted)
        .map_err(error)?;
    let matters = |mapped: &Mapped| mapped.sync || mapped.dax == Some(true) || mapped.tag.is_some();
    mappings.retain(|mapped| all || matters(mapped));
    Ok(Inspection {
        mappings,
        unseen: Vec::new(),
    })
}

/// Every mapping of a file, in all processes that can be looked at.
///
/// # Errors
/// [`Error`]: it cannot be opened for reading or is not a regular file.
pub fn inspect_file(path: &Path) -> Result<Inspection, Error> {
    let opened = Opened::open(path, OFlags::RDONLY)
        .map_err(|cause| Error::new(Action::Inspect, path, cause))?;
    let target = Target::new(opened.device, opened.identity.inode, path);
    // Not held: it would be a holder itself, and a lease's taker would wait for it.
    drop(opened);
    let mut files = HashMap::new();
    let mut inspection = Inspection::default();
    for pid in pids() {
        let process = Process::new(pid);
        let is_of_it = |mapping: &Mapping<'_>| target.maps(&process.proc, mapping);
        // smaps walks page tables; maps tells at little cost whether it is worth it.
        let maps = match std::fs::read(process.proc.join("maps")) {
            Ok(maps) => maps,
            Err(error) if is_denied(&error) && !is_without_memory(pid) => {
                inspection.unseen.push(Unseen {
                    pid,
                    name: name(pid),
                });
                continue;
            }
            Err(_) => continue,
        };
        let mut mappings = maps.split(|&byte| byte == b'\n').filter_map(Mapping::parse);
        if mappings.any(|mapping| is_of_it(&mapping))
            // An error here: it ended meanwhile.
            && let Ok(found) = process.mappings(&mut files, is_of_it)
        {
            inspection.mappings.extend(found);
        }
    }
    Ok(inspection)
}

struct Process {
    pid: i32,
    proc: PathBuf,
}

impl Process {
    fn new(pid: i32) -> Process {
        Process {
            pid,
            proc: PathBuf::from(format!("/proc/{pid}")),
        }
    }

    /// Those of its mappings that are wanted. `files` remembers files from one call to the next.
    fn mappings(
        &self,
        files: &mut HashMap<(u64, u64), Facts>,
        is_wanted: impl Fn(&Mapping<'_>) -> bool,
    ) -> Result<Vec<Mapped>, Cause> {
        let smaps = match std::fs::read(self.proc.join("smaps")) {
            Ok(smaps) => smaps,
            Err(_) if is_without_memory(self.pid) => return Ok(Vec::new()),
            Err(error) if is_denied(&error) => return Err(Cause::ForeignProcess),
            Err(_) => return Err(Cause::NoProcess),
        };
        let pagemap = File::open(self.proc.join("pagemap")).ok();
        let process = name(self.pid);
        let mut found = Vec::new();
        let mut current: Option<(Mapping<'_>, u64)> = None;
        for line in smaps.split(|&byte| byte == b'\n') {
            match Line::parse(line) {
                Line::Mapping(mapping) => current = is_wanted(&mapping).then_some((mapping, 0)),
                Line::PageSize(size) => {
                    if let Some((_, page_size)) = &mut current {
                        *page_size = size;
                    }
                }
                Line::Sync(sync) => {
                    if let Some((mapping, page_size)) = current.take() {
                        let facts = files
                            .entry((mapping.device, mapping.inode))
                            .or_insert_with(|| self.facts(&mapping));
                        let pages = pagemap
                            .as_ref()
                            .and_then(|file| page_sizes(file, &mapping, page_size).ok());
                        found.push(self.mapped(&process, &mapping, sync, facts, pages));
                    }
                }
                Line::Other => {}
            }
        }
        Ok(found)
    }

    fn mapped(
        &self,
        process: &str,
        mapping: &Mapping<'_>,
        sync: bool,
        facts: &Facts,
        pages: Option<PageSizes>,
    ) -> Mapped {
        let reason = reason(mapping, sync, facts);
        let now = self.path_now(mapping);
        let at_path = now.is_some();
        let path = match (&now, mapping.path.strip_suffix(b" (deleted)")) {
            (Some(path), _) => path,
            (None, Some(path)) => path,
            (None, None) => mapping.path,
        };
        Mapped {
            pid: self.pid,
            process: process.to_owned(),
            path: String::from_utf8_lossy(path).into_owned(),
            at_path,
            start: mapping.start as u64,
            end: mapping.end as u64,
            offset: mapping.offset,
            permissions: String::from_utf8_lossy(&mapping.permissions).into_owned(),
            shared: mapping.is_shared(),
            dax: facts.dax,
            sync,
            tag: facts.tag.clone(),
            unread: facts.unread.clone(),
            pages,
            user_flush: reason.suffices(),
            reason,
        }
    }

    /// Where a path of the process leads: it may have another root or other mounts.
    fn seen(&self, path: &[u8]) -> PathBuf {
        let path = path.strip_prefix(b"/").unwrap_or(path);
        let path = Path::new(std::ffi::OsStr::from_bytes(path));
        self.proc.join("root").join(path)
    }

    /// The path that leads to the mapping's file, if one still does.
    fn path_now<'a>(&self, mapping: &Mapping<'a>) -> Option<Cow<'a, [u8]>> {
        let target = |device| Target::new(device, mapping.inode, Path::new(""));
        // On btrfs and overlayfs the device of maps is another than stat's.
        let device = look(&map_file(&self.proc, mapping)).map_or(mapping.device, |at| at.device);
        names(mapping.path).find(|path| target(device).is(&self.seen(path)) == Some(true))
    }

    /// What the mapping's file says of itself: through map_files, or, for who may not use it, by
    /// its path, if that still leads to it.
    fn facts(&self, mapping: &Mapping<'_>) -> Facts {
        let direct = map_file(&self.proc, mapping);
        let (place, at) = match look(&direct) {
            Ok(at) => (direct, at),
            Err(_) => {
                let found = names(mapping.path).find_map(|path| {
                    let path = self.seen(&path);
                    let at = look(&path).ok()?;
                    let is_it = (at.device, at.inode) == (mapping.device, mapping.inode);
                    is_it.then_some((path, at))
                });
                match found {
                    Some(found) => found,
                    None => return Facts::unread("its path leads elsewhere now"),
                }
            }
        };
        let mut facts = Facts {
            dax: Some(at.dax),
            ..Facts::default()
        };
        if at.is_regular {
            match tag(&place, &at) {
                Ok((tag, on_tmpfs)) => (facts.tag, facts.on_tmpfs) = (tag, on_tmpfs),
                Err(cause) => facts.unread = Some(cause.to_string()),
            }
        }
        facts
    }
}

/// What a path of /proc/PID/maps may stand for: the kernel writes a newline as `\012`, and a backslash as
/// it is (seq_file_path in fs/seq_file.c).
fn names(path: &[u8]) -> impl Iterator<Item = Cow<'_, [u8]>> {
    const NEWLINE: &[u8] = b"\\012";
    let mut with_newlines = Vec::new();
    let mut rest = path;
    while let [first, behind @ ..] = rest {
        let (byte, next) = match rest.strip_prefix(NEWLINE) {
            Some(behind) => (b'\n', behind),
            None => (*first, behind),
        };
        with_newlines.push(byte);
        rest = next;
    }
    let differs = with_newlines != path;
    [Cow::Borrowed(path)]
        .into_iter()
        .chain(differs.then_some(Cow::Owned(with_newlines)))
}

/// What a file says of itself.
#[derive(Clone, Debug, Default)]
struct Facts {
    dax: Option<bool>,
    tag: Option<TagState>,
    on_tmpfs: bool,
    unread: Option<String>,
}

impl Facts {
    fn unread(why: &str) -> Facts {
        Facts {
            unread: Some(why.to_owned()),
            ..Facts::default()
        }
    }
}

/// A file, not opened.
struct At {
    device: u64,
    inode: u64,
    is_regular: bool,
    dax: bool,
}

fn look(path: &Path) -> Result<At, Errno> {
    let flags = AtFlags::STATX_DONT_SYNC | AtFlags::NO_AUTOMOUNT;
    let stat = rustix::fs::statx(CWD, path, flags, StatxFlags::BASIC_STATS)?;
    Ok(At {
        device: rustix::fs::makedev(stat.stx_dev_major, stat.stx_dev_minor),
        inode: stat.stx_ino,
        is_regular: FileType::from_raw_mode(u32::from(stat.stx_mode)) == FileType::RegularFile,
        dax: stat.stx_attributes.contains(StatxAttributes::DAX),
    })
}

/// The tag that counts, and whether the file lies on tmpfs.
fn tag(path: &Path, at: &At) -> Result<(Option<TagState>, bool), Cause> {
    const TMPFS_MAGIC: i64 = 0x0102_1994;
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags, Mode::empty()).map_err(call("open"))?;
    let fd = file.as_fd();
    let stat = rustix::fs::fstat(fd).map_err(call("fstat"))?;
    if (stat.st_dev, stat.st_ino) != (at.device, at.inode) {
        return Err(Cause::Replaced);
    }
    let identity = dax::identity(fd).map_err(call("fstat"))?;
    let read = |extents| state::read(fd, &identity, extents).map_err(call("fgetxattr"));
    let mut tags = read(None)?;
    if !tags.is_empty() {
        let survey = extents::survey(fd, identity.size, false).map_err(call("ioctl FIEMAP"))?;
        tags = read(survey.fingerprint)?;
    }
    let on_tmpfs = rustix::fs::fstatfs(fd).is_ok_and(|fs| fs.f_type == TMPFS_MAGIC);
    Ok((tags.into_iter().next(), on_tmpfs))
}

fn reason(mapping: &Mapping<'_>, sync: bool, facts: &Facts) -> FlushReason {
    let binding = facts.tag.as_ref().filter(|tag| tag.binds());
    let condition = binding.map(|tag| tag.condition);
    if !mapping.is_shared() {
        FlushReason::Private
    } else if condition == Some(Condition::Broken) {
        FlushReason::Broken
    } else if sync && binding.is_some() {
        FlushReason::Tagged
    } else if sync {
        FlushReason::MapSync
    } else if !mapping.permissions.contains(&b'w') {
        FlushReason::ReadOnly
    } else if binding.is_some_and(|tag| tag.emulated) && facts.on_tmpfs {
        FlushReason::Emulated
    } else {
        match facts.dax {
            Some(true) => FlushReason::NotSync,
            Some(false) => FlushReason::PageCache,
            None => FlushReason::Unknown,
        }
    }
}

/// What the page table has of a mapping whose `KernelPageSize` is known.
fn page_sizes(pagemap: &File, mapping: &Mapping<'_>, page_size: u64) -> Result<PageSizes, Errno> {
    const GIGABYTE: u64 = 1 << 30;
    let (mut cursor, end) = (mapping.start as u64, mapping.end as u64);
    let mut sizes = PageSizes::default();
    let mut room = [Pages::default(); 256];
    while cursor < end {
        let (found, next) = pagemap::scan(pagemap.as_fd(), cursor, end, &mut room)?;
        for pages in found {
            let size = match pages.are_huge() {
                false => &mut sizes.pte,
                true if page_size >= GIGABYTE => &mut sizes.pud,
                true => &mut sizes.pmd,
            };
            *size += pages.end - pages.start;
        }
        if next <= cursor {
            break;
        }
        cursor = next;
    }
    Ok(sizes)
}

#[cfg(test)]
mod tests;
