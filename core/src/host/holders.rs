//! Who has a file open or mapped, by /proc: descriptors, memory maps, loop devices.

use std::fmt;
use std::os::fd::RawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, StatxFlags};
use serde::Serialize;

use crate::fnv::Fnv64;
use crate::holders::{self, Found};
use crate::maps::Mapping;

/// A process that has the file open or mapped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Holder {
    /// Process.
    pub pid: i32,
    /// Its name (`comm`).
    pub name: String,
    /// It has a descriptor of the file.
    pub open: bool,
    /// One of its descriptors can write.
    pub writes: bool,
    /// It maps the file.
    pub mapped: bool,
    /// The kernel granted it MAP_SYNC (`sf` in smaps); `None` where that cannot be read.
    pub sync: Option<bool>,
}

/// Everybody found, and everybody who could not be looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Holders {
    /// Processes that hold the file.
    pub known: Vec<Holder>,
    /// Loop devices on it.
    pub loops: Vec<String>,
    /// Processes that could not be looked at: they may hold it.
    pub unseen: Vec<Unseen>,
}

/// A process that could not be looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unseen {
    /// Process.
    pub pid: i32,
    /// Its name (`comm`).
    pub name: String,
}

impl Holders {
    /// Nobody was found and everybody was looked at.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.known.is_empty() && self.loops.is_empty() && self.unseen.is_empty()
    }

    /// Nobody maps it, and everybody was looked at.
    #[must_use]
    pub fn none_maps(&self) -> bool {
        self.loops.is_empty() && self.unseen.is_empty() && self.known.iter().all(|h| !h.mapped)
    }

    /// Nobody can write to it or maps it, and everybody was looked at.
    #[must_use]
    pub fn none_writes(&self) -> bool {
        self.none_maps() && self.known.iter().all(|h| !h.writes)
    }

    pub(super) fn help(&self) -> String {
        if !self.known.is_empty() {
            let pids: Vec<String> = self.known.iter().map(|h| h.pid.to_string()).collect();
            format!(
                "end what uses the file (pid {}), then try again",
                pids.join(", ")
            )
        } else if let Some(device) = self.loops.first() {
            format!("losetup -d {device}, then try again")
        } else if self.unseen.is_empty() {
            "look from outside the container or PID namespace (fuser, lsof), and for NFS exports \
             and swap files"
                .into()
        } else {
            "run as root in the initial PID namespace, where every process can be looked at".into()
        }
    }
}

impl fmt::Display for Holders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        for holder in &self.known {
            let how = match (holder.open, holder.mapped) {
                (true, true) => "open and mapped",
                (false, true) => "mapped",
                _ => "open",
            };
            parts.push(format!("{how} in process {} ({})", holder.pid, holder.name));
        }
        parts.extend(self.loops.iter().map(|name| format!("behind {name}")));
        if parts.is_empty() && self.unseen.is_empty() {
            parts.push("held by something that /proc does not show".into());
        }
        if !self.unseen.is_empty() {
            let named: Vec<String> = self
                .unseen
                .iter()
                .take(3)
                .map(|unseen| format!("{} ({})", unseen.pid, unseen.name))
                .collect();
            let dots = if self.unseen.len() > named.len() {
                ", …"
            } else {
                ""
            };
            let many = match self.unseen.len() {
                1 => "a process could not be looked at and counts".to_owned(),
                count => format!("{count} processes could not be looked at and count"),
            };
            parts.push(format!("{many} as holding it: {}{dots}", named.join(", ")));
        }
        f.write_str(&parts.join("; "))
    }
}

/// Looks through /proc. `own` is a descriptor of this process that does not count.
pub(super) fn scan(device: u64, inode: u64, path: &Path, own: Option<RawFd>) -> Holders {
    let path = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let target = holders::Target {
        device,
        inode,
        path: Fnv64::of(path.as_os_str().as_bytes()),
    };
    let mut holders = Holders::default();
    let scanned = holders::scan(&target, own, &mut |found| match found {
        Found::Process(pid, holding) => holders.known.push(Holder {
            pid,
            name: name(pid),
            open: holding.open,
            writes: holding.writes,
            mapped: holding.mapped,
            sync: if holding.mapped {
                sync(pid, inode)
            } else {
                None
            },
        }),
        Found::Unseen(pid) => holders.unseen.push(Unseen {
            pid,
            name: name(pid),
        }),
        Found::Loop(device) => holders
            .loops
            .push(format!("/dev/{}", device.to_string_lossy())),
    });
    if scanned.is_err() {
        holders.unseen.push(Unseen {
            pid: 0,
            name: "any process: /proc cannot be read".into(),
        });
    }
    holders
}

/// `sf` in smaps: the kernel granted MAP_SYNC to one of the mappings.
fn sync(pid: i32, inode: u64) -> Option<bool> {
    let maps = procfs::process::Process::new(pid).ok()?.smaps().ok()?;
    Some(maps.iter().any(|map| {
        map.inode == inode
            && map
                .extension
                .vm_flags
                .contains(procfs::process::VmFlags::SF)
    }))
}

/// The file behind a mapping, proc_pid_map_files(5): also where it was renamed or removed. Only for
/// root and CAP_CHECKPOINT_RESTORE.
pub(super) fn map_file(proc: &Path, mapping: &Mapping<'_>) -> PathBuf {
    proc.join(format!("map_files/{:x}-{:x}", mapping.start, mapping.end))
}

/// A file whose mappings are looked for one by one.
pub(super) struct Target {
    device: u64,
    inode: u64,
    path: PathBuf,
}

impl Target {
    pub(super) fn new(device: u64, inode: u64, path: &Path) -> Target {
        Target {
            device,
            inode,
            path: std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned()),
        }
    }

    pub(super) fn is(&self, path: &Path) -> Option<bool> {
        let stat = rustix::fs::statx(
            CWD,
            path,
            AtFlags::STATX_DONT_SYNC | AtFlags::NO_AUTOMOUNT,
            StatxFlags::BASIC_STATS,
        )
        .ok()?;
        let device = rustix::fs::makedev(stat.stx_dev_major, stat.stx_dev_minor);
        Some((device, stat.stx_ino) == (self.device, self.inode))
    }

    /// Whether a mapping is one of this file. The device number there is not stat's on btrfs and
    /// overlayfs, so what looks like it is looked at through map_files.
    pub(super) fn maps(&self, proc: &Path, mapping: &Mapping<'_>) -> bool {
        let same_path = mapping.path == self.path.as_os_str().as_bytes();
        if mapping.inode == 0 || mapping.inode != self.inode && !same_path {
            return false;
        }
        self.is(&map_file(proc, mapping))
            .unwrap_or(mapping.device == self.device || same_path)
    }
}

pub(super) fn pids() -> Vec<i32> {
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect()
}

pub(super) fn name(pid: i32) -> String {
    std::fs::read(format!("/proc/{pid}/comm")).map_or_else(
        |_| "?".into(),
        |name| {
            String::from_utf8_lossy(name.trim_ascii_end())
                .chars()
                .map(|c| if c.is_control() { '?' } else { c })
                .collect()
        },
    )
}

/// A kernel thread or a zombie: it maps nothing, whoever may look.
pub(super) fn is_without_memory(pid: i32) -> bool {
    const PF_KTHREAD: u32 = 0x0020_0000;
    procfs::process::Process::new(pid)
        .and_then(|process| process.stat())
        .is_ok_and(|stat| stat.flags & PF_KTHREAD != 0 || matches!(stat.state, 'Z' | 'X'))
}

pub(super) fn is_denied(error: &std::io::Error) -> bool {
    error.kind() == std::io::ErrorKind::PermissionDenied
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_names_pid_and_program() {
        let holders = Holders {
            known: vec![Holder {
                pid: 7,
                name: "fio".into(),
                open: false,
                writes: false,
                mapped: true,
                sync: None,
            }],
            ..Holders::default()
        };
        assert_eq!(holders.to_string(), "mapped in process 7 (fio)");
        assert!(holders.help().contains('7'));
        assert!(!holders.none_maps());
    }

    #[test]
    fn what_cannot_be_looked_at_counts_as_holding() {
        let holders = Holders {
            unseen: (1..5)
                .map(|pid| Unseen {
                    pid,
                    name: "x".into(),
                })
                .collect(),
            ..Holders::default()
        };
        assert!(!holders.none_maps());
        assert!(holders.to_string().contains("4 processes could not"));
    }
}
