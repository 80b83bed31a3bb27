//! Whether there is room for what a run needs.

use std::ffi::{CStr, OsString};
use std::io;
use std::path::{Path, PathBuf};

use daxshim_core::host::shown;
use daxshim_core::tag::{XATTR, XATTR_EMULATED};
use rustix::fs::{getxattr, statfs};

use crate::output::bytes;
use crate::run::Failure;

/// What the journal of a file and the log of a process take.
const RECORDS: u64 = 4 << 20;

const TMPFS_MAGIC: i64 = 0x0102_1994;

/// Bytes that can be written to the filesystem of a directory.
fn available(directory: &Path) -> io::Result<u64> {
    let filesystem = statfs(directory)?;
    let free = filesystem
        .f_bavail
        .saturating_mul(filesystem.f_bsize as u64);
    // A tmpfs may promise more than there is memory.
    let memory = (filesystem.f_type == TMPFS_MAGIC).then(memory_available);
    Ok(memory.flatten().map_or(free, |memory| memory.min(free)))
}

fn memory_available() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib << 10)
}

/// Before the program runs: whether the files that it will map, as far as its command line tells, can
/// be watched.
///
/// # Errors
/// They cannot.
pub fn for_watching(files: &[PathBuf], directory: &Path) -> Result<(), Failure> {
    // What is to be named by a pattern, or opened later, is not known yet.
    let named: u64 = files.iter().map(|file| size(file)).sum();
    let needed = named.saturating_add(RECORDS);
    let free = available(directory).unwrap_or(u64::MAX);
    if needed <= free {
        return Ok(());
    }
    let mut names: Vec<String> = files.iter().map(|file| shown(file)).collect();
    if names.is_empty() {
        names.push("any file".into());
    }
    Err(Failure::own(
        format!(
            "cannot watch {}; the program was not started",
            names.join(", ")
        ),
        format_args!(
            "a copy and room for records are needed, {}; there are {} in {}",
            bytes(needed),
            bytes(free),
            shown(directory)
        ),
        "use a smaller file, make room, or name a directory with more by --scratch",
    ))
}

/// Arguments that name tagged files.
pub fn tagged(words: &[OsString]) -> Vec<PathBuf> {
    let is_tagged = |path: &PathBuf| {
        let has = |name: &CStr| getxattr(path, name, &mut [0u8; 0][..]).is_ok();
        path.is_file() && (has(XATTR) || has(XATTR_EMULATED))
    };
    let mut files: Vec<PathBuf> = words.iter().map(PathBuf::from).filter(is_tagged).collect();
    files.sort();
    files.dedup();
    files
}

fn size(file: &Path) -> u64 {
    file.metadata().map_or(0, |metadata| metadata.len())
}

/// How many states can be verified at once, where each takes two copies of `data` bytes at most.
///
/// # Errors
/// Not even one.
pub fn jobs(wanted: usize, data: u64, scratch: &Path) -> Result<usize, Failure> {
    let free = available(scratch).unwrap_or(u64::MAX);
    let each = data.saturating_mul(2).max(1);
    let possible = (free / each).min(wanted as u64);
    match usize::try_from(possible) {
        Ok(0) | Err(_) => Err(Failure::own(
            "cannot build a state".into(),
            format_args!(
                "two copies of the file are needed, up to {}; there are {} in {}",
                bytes(each),
                bytes(free),
                shown(scratch)
            ),
            "name a directory with more room by --scratch",
        )),
        Ok(possible) => Ok(possible),
    }
}
