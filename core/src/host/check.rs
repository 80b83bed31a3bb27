//! Reading what checking left in the report directory: logs, shadows, and, by comparing shadows with
//! their files, the lines that were never synced.
//!
//! As with report pages, nothing is believed that is not checked.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use crate::check::Code;
use crate::check::lines::{self, Digest, LINE};
use crate::check::log::{self, Ending, Entry, Log, Module};
use crate::check::shadow::{self, DIGESTS, FoundBy, Header};
use crate::host::blame::Blame;

/// What a process found.
#[derive(Debug)]
pub struct ProcessLog {
    /// Process ID.
    pub pid: u32,
    /// 0, and one more for each exec that kept the PID.
    pub image: u32,
    /// How it ended, as it said itself.
    pub ending: Ending,
    /// When it began; a clock that all processes share.
    pub began: u64,
    /// When it said how it ends; 0 where it did not.
    pub ended: u64,
    /// What was found.
    pub entries: Vec<LogEntry>,
    /// Code that stacks lead through.
    pub modules: Vec<LogModule>,
    /// Files used.
    pub files: Vec<LogFile>,
    /// Findings that found no room.
    pub left_out: u64,
    /// Findings whose stack was not taken.
    pub unsampled: u64,
    /// Mappings of files that have no shadow.
    pub unshadowed: u64,
    /// Times that what is mapped could not be looked at.
    pub unlooked: u64,
    /// Answers at which large ranges were not compared.
    pub uncompared: u64,
    /// Whether nothing was looked at from some moment on, as it filters its system calls.
    pub sealed: bool,
    /// Forked children of which nothing was looked at.
    pub unwatched: u64,
    /// Why nobody is blamed, [`Log::blameless`].
    pub blameless: u64,
    /// Whether no stack could be taken.
    pub stackless: bool,
}

/// A file that a process used.
#[derive(Clone, Copy, Debug)]
pub struct LogFile {
    /// `st_dev`, `st_ino`.
    pub file: (u64, u64),
    /// From the lowest offset that it could ever store to by a mapping to behind the highest.
    pub held: (u64, u64),
}

/// A kind of finding.
#[derive(Clone, Debug)]
pub struct LogEntry {
    /// Its code.
    pub code: Code,
    /// What the code does not say.
    pub detail: u8,
    /// `st_dev`, `st_ino`; 0 where not known.
    pub file: (u64, u64),
    /// Path of the file; empty where not known.
    pub path: PathBuf,
    /// Address of the mapping.
    pub address: u64,
    /// Lowest and behind the highest offset.
    pub range: (u64, u64),
    /// How often.
    pub count: u64,
    /// When it was found last; a clock that all processes share.
    pub time: u64,
    /// Bytes asked for, altogether.
    pub asked: u64,
    /// Dirty lines, altogether.
    pub lines: u64,
    /// Return addresses, innermost first.
    pub stack: Vec<u64>,
}

/// Code in a process.
#[derive(Clone, Debug)]
pub struct LogModule {
    /// First address.
    pub start: u64,
    /// First address behind it.
    pub end: u64,
    /// Offset in the file, bytes.
    pub offset: u64,
    /// Its file.
    pub path: PathBuf,
}

/// A watched file.
#[derive(Debug)]
pub struct ShadowFile {
    /// The shadow.
    shadow: PathBuf,
    /// `st_dev`, `st_ino`.
    pub file: (u64, u64),
    /// Bytes.
    pub size: u64,
    /// Its path when it was mapped.
    pub path: PathBuf,
    /// Syncs that were not compared.
    pub skipped: u64,
    /// Where a difference may be durable nevertheless.
    pub uncertain: Option<(u64, u64)>,
    /// Whether a process that is not watched may have synced it.
    pub unwatched: bool,
    /// Whether its content is meant to be durable.
    pub meant: bool,
    /// When it was made, ns since the epoch; 0 where that is not known.
    pub birth: u64,
    /// Whether it may have grown.
    pub grows: bool,
    /// Whether it lies in the page cache.
    pub paged: bool,
    /// Who stored first to its pages, if that was asked.
    pub blame: Option<Blame>,
    /// msync(2) calls that made nothing durable.
    pub asyncs: u64,
    /// By msync(2).
    pub msyncs: Syncs,
    /// By fsync(2) and its like.
    pub fsyncs: Syncs,
}

/// Syncs of a kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Syncs {
    /// All of them.
    pub calls: u64,
    /// Those that are known to have found dirty lines.
    pub needed: u64,
    /// Those that are known to have found none.
    pub idle: u64,
}

impl Syncs {
    fn of(calls: &AtomicU64, found: &FoundBy) -> Syncs {
        Syncs {
            calls: wide(calls),
            needed: wide(&found.needed),
            idle: wide(&found.idle),
        }
    }
}

/// Lines of a file that are not as in its shadow.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Unsynced {
    /// Ranges of lines, bytes, ascending.
    pub ranges: Vec<(u64, u64)>,
    /// Lines of which it is not known whether they were synced.
    pub uncertain_lines: u64,
}

/// Everything in a report directory.
#[derive(Debug, Default)]
pub struct Checked {
    /// By process ID and image.
    pub processes: Vec<ProcessLog>,
    /// By path.
    pub shadows: Vec<ShadowFile>,
}

impl Checked {
    /// Reads a directory.
    ///
    /// # Errors
    /// The errors of reading it. Files that are not whole are left out: their process ended before it had
    /// begun.
    pub fn read(directory: &Path) -> io::Result<Checked> {
        let mut checked = Checked::default();
        let spilled = spill(directory).read_dir().into_iter().flatten();
        for entry in directory.read_dir()?.chain(spilled) {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str());
            let name = name.unwrap_or_default();
            if let Some(numbers) = name.strip_prefix(log::FILE_PREFIX) {
                checked.processes.extend(read_log(&path, numbers));
            } else if name.starts_with(shadow::FILE_PREFIX) {
                checked.shadows.extend(read_shadow(&path));
            }
        }
        checked
            .processes
            .sort_by_key(|process| (process.pid, process.image));
        checked.shadows.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(checked)
    }
}

/// Where the library puts what a report directory has no room for, if there is such a directory.
#[must_use]
pub fn spill(directory: &Path) -> PathBuf {
    directory.join(std::ffi::OsStr::from_bytes(shadow::SPILL.to_bytes()))
}

fn open(path: &Path) -> io::Result<File> {
    // Whatever has been put there must neither be followed nor waited for.
    File::options()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(path)
}

/// A structure of atomics from the beginning of a file. `None` where the file is too short.
///
/// # Safety
/// Any bytes must be a valid `T`.
unsafe fn read_struct<T>(path: &Path) -> Option<Box<T>> {
    let mut bytes = Vec::with_capacity(size_of::<T>());
    let file = open(path).ok()?;
    file.take(size_of::<T>() as u64)
        .read_to_end(&mut bytes)
        .ok()?;
    if bytes.len() < size_of::<T>() {
        return None;
    }
    let mut value = Box::<T>::new_uninit();
    // SAFETY: all of it is copied, and any bytes will do, by the caller's promise.
    unsafe {
        value
            .as_mut_ptr()
            .cast::<u8>()
            .copy_from_nonoverlapping(bytes.as_ptr(), size_of::<T>());
        Some(value.assume_init())
    }
}

fn wide(cell: &AtomicU64) -> u64 {
    cell.load(Ordering::Relaxed)
}

fn path(bytes: &[AtomicU8], len: usize) -> PathBuf {
    let bytes: Vec<u8> = bytes
        .iter()
        .take(len)
        .map(|byte| byte.load(Ordering::Relaxed))
        .collect();
    PathBuf::from(std::ffi::OsStr::from_bytes(&bytes))
}

fn read_log(file: &Path, numbers: &str) -> Option<ProcessLog> {
    let (_, image) = numbers.split_once('.')?;
    // SAFETY: a log is nothing but integers.
    let log: Box<Log> = unsafe { read_struct(file) }?;
    let is_whole = wide(&log.magic) == log::MAGIC && wide(&log.length) == size_of::<Log>() as u64;
    is_whole.then_some(())?;
    let files = log.files.iter();
    Some(ProcessLog {
        pid: log.pid.load(Ordering::Relaxed),
        image: image.parse().ok()?,
        ending: Ending::from_u8(log.ending.load(Ordering::Relaxed)),
        began: wide(&log.began),
        ended: wide(&log.ended),
        entries: log.entries.iter().filter_map(entry).collect(),
        modules: log.modules.iter().filter_map(module).collect(),
        files: files
            .map(|file| LogFile {
                file: (wide(&file.device), wide(&file.inode)),
                held: file.held(),
            })
            .filter(|file| file.file.1 != 0)
            .collect(),
        left_out: wide(&log.left_out),
        unsampled: wide(&log.unsampled),
        unshadowed: wide(&log.unshadowed),
        unlooked: wide(&log.unlooked),
        uncompared: wide(&log.uncompared),
        sealed: wide(&log.sealed) != 0,
        unwatched: wide(&log.unwatched),
        blameless: wide(&log.blameless),
        stackless: wide(&log.stackless) != 0,
    })
}

fn entry(entry: &Entry) -> Option<LogEntry> {
    let byte = |cell: &AtomicU8| cell.load(Ordering::Relaxed);
    let count = wide(&entry.count);
    (byte(&entry.state) == 2 && count > 0).then_some(())?;
    let depth = usize::from(byte(&entry.stack_len));
    Some(LogEntry {
        code: Code::from_u8(byte(&entry.code))?,
        detail: byte(&entry.detail),
        file: (wide(&entry.device), wide(&entry.inode)),
        path: path(&entry.path, usize::from(byte(&entry.path_len))),
        address: wide(&entry.address),
        range: (wide(&entry.start), wide(&entry.end)),
        count,
        time: wide(&entry.time),
        asked: wide(&entry.asked),
        lines: wide(&entry.lines),
        stack: entry.stack.iter().take(depth).map(wide).collect(),
    })
}

fn module(module: &Module) -> Option<LogModule> {
    let (start, end) = (wide(&module.start), wide(&module.end));
    (start < end).then(|| LogModule {
        start,
        end,
        offset: wide(&module.offset),
        path: path(&module.path, wide(&module.path_len) as usize),
    })
}

fn read_shadow(file: &Path) -> Option<ShadowFile> {
    // SAFETY: a header is nothing but integers.
    let header: Box<Header> = unsafe { read_struct(file) }?;
    (wide(&header.magic) == shadow::MAGIC).then(|| ShadowFile {
        shadow: file.to_owned(),
        file: (wide(&header.device), wide(&header.inode)),
        size: wide(&header.size),
        path: path(
            &header.path,
            usize::from(header.path_len.load(Ordering::Relaxed)),
        ),
        skipped: wide(&header.skipped),
        uncertain: header.skipped_range(),
        unwatched: header.unwatched.load(Ordering::Relaxed) != 0,
        meant: header.is_meant(),
        birth: wide(&header.birth),
        grows: header.grows.load(Ordering::Relaxed) != 0,
        paged: header.paged.load(Ordering::Relaxed) != 0,
        asyncs: wide(&header.asyncs),
        msyncs: Syncs::of(&header.msyncs, &header.msyncs_found),
        fsyncs: Syncs::of(&header.fsyncs, &header.fsyncs_found),
        blame: Blame::beside(file),
    })
}

/// Bytes compared at a time: what a CPU keeps in its own cache.
const CHUNK: usize = 128 << 10;
/// Bytes of a digest.
const DIGEST: usize = size_of::<Digest>();

impl ShadowFile {
    /// The lines of the file that no sync covered since they were stored to.
    ///
    /// # Errors
    /// The errors of reading shadow and file; NotFound also where another file is there now.
    pub fn unsynced(&self) -> io::Result<Unsynced> {
        let shadow = open(&self.shadow)?;
        let file = self.file()?;
        let length = file.metadata()?.len();
        // What a file has grown by was never synced, as a sync takes that over.
        let size = if self.grows {
            length
        } else {
            self.size.min(length)
        };
        // Of the last line, what was cut off may have been durable.
        let cut = (length < self.size && self.grows).then_some(length / LINE as u64 * LINE as u64);
        let mut unsynced = Unsynced::default();
        let mut now = vec![0; CHUNK];
        let mut durable = vec![0; CHUNK / LINE * DIGEST];
        let mut offset = 0;
        while offset < size {
            now.truncate(CHUNK.min((size - offset) as usize));
            durable.truncate(now.len().div_ceil(LINE) * DIGEST);
            file.read_exact_at(&mut now, offset)?;
            let lines = offset / LINE as u64;
            let known = read_at(
                &shadow,
                &mut durable,
                DIGESTS as u64 + lines * DIGEST as u64,
            )?;
            if !self.grows && known < durable.len() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            durable.iter_mut().skip(known).for_each(|byte| *byte = 0);
            let durable = durable.as_chunks().0.iter().copied();
            let both = lines::digests(&now).zip(durable.map(Digest::from_ne_bytes));
            for (line, _) in both.enumerate().filter(|(_, (now, before))| now != before) {
                let start = offset + (line * LINE) as u64;
                if cut != Some(start) {
                    self.add(&mut unsynced, start, size);
                }
            }
            offset += now.len() as u64;
        }
        Ok(unsynced)
    }

    /// The file, where it was mapped from, or under another name beside that: files are written under one name and
    /// get another when they are whole.
    fn file(&self) -> io::Result<File> {
        let there = open(&self.path);
        match there {
            Ok(file) if self.is(&file) => return Ok(file),
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let beside = self.path.parent().map(Path::read_dir);
        let entries = beside.and_then(Result::ok).into_iter().flatten().flatten();
        entries
            .filter(|entry| std::os::unix::fs::DirEntryExt::ino(entry) == self.file.1)
            .find_map(|entry| open(&entry.path()).ok().filter(|file| self.is(file)))
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn is(&self, file: &File) -> bool {
        let Ok(metadata) = file.metadata() else {
            return false;
        };
        let born = metadata.created().ok();
        let born = born.and_then(|born| born.duration_since(std::time::UNIX_EPOCH).ok());
        let born = born.map(|born| born.as_nanos() as u64);
        (metadata.dev(), metadata.ino()) == self.file
            && (self.birth == 0 || born.is_none_or(|born| born == self.birth))
    }

    fn add(&self, unsynced: &mut Unsynced, start: u64, size: u64) {
        let end = (start + LINE as u64).min(size);
        if let Some((from, to)) = self.uncertain
            && start < to
            && from < end
        {
            unsynced.uncertain_lines += 1;
            return;
        }
        match unsynced.ranges.last_mut() {
            Some((_, last)) if *last == start => *last = end,
            _ => unsynced.ranges.push((start, end)),
        }
    }
}

/// Fills the buffer as far as the file reaches; how far.
fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, offset + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Pages that hold something of these ranges.
#[must_use]
pub fn pages_of(ranges: &[(u64, u64)]) -> u64 {
    let page = lines::PAGE as u64;
    let (mut pages, mut next) = (0, 0);
    for &(start, end) in ranges {
        let (first, behind) = ((start / page).max(next), end.div_ceil(page));
        pages += behind.saturating_sub(first);
        next = next.max(behind);
    }
    pages
}

/// Lines of a range.
#[must_use]
pub fn lines_of((start, end): (u64, u64)) -> u64 {
    end.saturating_sub(start).div_ceil(LINE as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shadow(directory: &Path, size: u64) -> ShadowFile {
        let path = directory.join("file");
        std::fs::write(&path, vec![1; size as usize]).unwrap();
        let content = vec![1; size as usize];
        let digests = lines::digests(&content).flat_map(Digest::to_ne_bytes);
        let mut shadow: Vec<u8> = vec![0; DIGESTS].into_iter().chain(digests).collect();
        shadow.resize(Header::shadow_length(size) as usize, 0);
        std::fs::write(directory.join("shadow"), shadow).unwrap();
        let metadata = path.metadata().unwrap();
        ShadowFile {
            shadow: directory.join("shadow"),
            file: (metadata.dev(), metadata.ino()),
            size,
            path,
            skipped: 0,
            uncertain: None,
            unwatched: false,
            meant: true,
            birth: 0,
            grows: false,
            paged: false,
            asyncs: 0,
            msyncs: Syncs::default(),
            fsyncs: Syncs::default(),
            blame: None,
        }
    }

    #[test]
    fn each_different_line_is_found() {
        let directory = tempfile::tempdir().unwrap();
        let size = CHUNK as u64 + 5000;
        let mut shadow = shadow(directory.path(), size);
        assert_eq!(shadow.unsynced().unwrap(), Unsynced::default());
        let file = File::options().write(true).open(&shadow.path).unwrap();
        let last = size - 1;
        for offset in [0, 63, 64, 4096, CHUNK as u64 - 1, CHUNK as u64, last] {
            file.write_all_at(&[2], offset).unwrap();
        }
        let chunk = CHUNK as u64;
        let found = shadow.unsynced().unwrap();
        let tail = last / 64 * 64;
        assert_eq!(
            found.ranges,
            [
                (0, 128),
                (4096, 4160),
                (chunk - 64, chunk + 64),
                (tail, size)
            ]
        );
        shadow.uncertain = Some((0, 4096));
        let found = shadow.unsynced().unwrap();
        assert_eq!((found.ranges.len(), found.uncertain_lines), (3, 2));
    }

    #[test]
    fn another_file_in_its_place_is_not_it() {
        let directory = tempfile::tempdir().unwrap();
        let shadow = shadow(directory.path(), 100);
        let away = tempfile::tempdir().unwrap();
        std::fs::rename(&shadow.path, away.path().join("away")).unwrap();
        let gone = shadow.unsynced().unwrap_err();
        assert_eq!(gone.kind(), io::ErrorKind::NotFound);
        std::fs::write(&shadow.path, [2; 100]).unwrap();
        let other = shadow.unsynced().unwrap_err();
        assert_eq!(other.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn what_a_file_has_grown_by_was_never_synced() {
        let directory = tempfile::tempdir().unwrap();
        let mut shadow = shadow(directory.path(), 4096);
        let file = File::options().write(true).open(&shadow.path).unwrap();
        file.set_len(3 * 4096).unwrap();
        file.write_all_at(&[7], 2 * 4096).unwrap();
        assert_eq!(shadow.unsynced().unwrap(), Unsynced::default());
        shadow.grows = true;
        assert_eq!(shadow.unsynced().unwrap().ranges, [(8192, 8256)]);
        // Cut in the middle of a line.
        file.set_len(100).unwrap();
        assert_eq!(shadow.unsynced().unwrap(), Unsynced::default());
    }

    #[test]
    fn a_file_is_found_under_its_new_name_and_known_by_its_birth() {
        let directory = tempfile::tempdir().unwrap();
        let mut shadow = shadow(directory.path(), 4096);
        std::fs::rename(&shadow.path, directory.path().join("final")).unwrap();
        assert_eq!(shadow.unsynced().unwrap(), Unsynced::default());
        if shadow.file().unwrap().metadata().unwrap().created().is_ok() {
            shadow.birth = 1;
            let other = shadow.unsynced().unwrap_err();
            assert_eq!(other.kind(), io::ErrorKind::NotFound);
        }
    }

    #[test]
    fn a_page_counts_once() {
        assert_eq!(pages_of(&[]), 0);
        assert_eq!(pages_of(&[(0, 64), (128, 192), (4032, 4160)]), 2);
        assert_eq!(pages_of(&[(64, 128), (8192, 16384)]), 3);
    }

    #[test]
    fn what_is_not_whole_is_left_out() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["check.1.0", "check.x", "shadow.1.2.3", "daxshim.1.0"] {
            std::fs::write(directory.path().join(name), [0; 100]).unwrap();
        }
        let checked = Checked::read(directory.path()).unwrap();
        assert!(checked.processes.is_empty() && checked.shadows.is_empty());
    }
}
