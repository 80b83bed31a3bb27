//! Who has a file open or mapped, by /proc: descriptors, memory maps, loop devices.

use std::fmt;
use std::os::fd::RawFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, StatxFlags};
use serde::Serialize;

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
    let target = Target::new(device, inode, path);
    let mut holders = Holders {
        loops: target.loops(),
        ..Holders::default()
    };
    let me = std::process::id();
    for pid in pids() {
        let own = own.filter(|_| u32::try_from(pid) == Ok(me));
        match target.process(pid, own) {
            Look::Holds(holder) => holders.known.push(holder),
            Look::Free => {}
            Look::Unseen => holders.unseen.push(Unseen {
                pid,
                name: name(pid),
            }),
        }
    }
    holders
}

/// The file behind a mapping, proc_pid_map_files(5): also where it was renamed or removed. Only for
/// root and CAP_CHECKPOINT_RESTORE.
pub(super) fn map_file(proc: &Path, mapping: &Mapping<'_>) -> PathBuf {
    proc.join(format!("map_files/{:x}-{:x}", mapping.start, mapping.end))
}

enum Look {
    Holds(Holder),
    Free,
    Unseen,
}

/// The file that is looked for.
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

    fn process(&self, pid: i32, own: Option<RawFd>) -> Look {
        let proc = PathBuf::from(format!("/proc/{pid}"));
        let maps = match std::fs::read(proc.join("maps")) {
            Ok(maps) => maps,
            Err(error) if is_denied(&error) && !is_without_memory(pid) => return Look::Unseen,
            // Gone, a zombie, or a kernel thread.
            Err(_) => return Look::Free,
        };
        let mapped = maps
            .split(|&b| b == b'\n')
            .filter_map(Mapping::parse)
            .any(|mapping| self.maps(&proc, &mapping));
        let (open, writes) = match self.descriptors(&proc, own) {
            Ok(found) => found,
            Err(error) if is_denied(&error) => return Look::Unseen,
            Err(_) => (false, false),
        };
        if !mapped && !open {
            return Look::Free;
        }
        Look::Holds(Holder {
            pid,
            name: name(pid),
            open,
            writes,
            mapped,
            sync: if mapped { self.sync(pid) } else { None },
        })
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

    /// Whether the process has a descriptor of the file, and one that can write.
    fn descriptors(&self, proc: &Path, own: Option<RawFd>) -> std::io::Result<(bool, bool)> {
        let (mut open, mut writes) = (false, false);
        for entry in std::fs::read_dir(proc.join("fd"))?.flatten() {
            let path = entry.path();
            let number: Option<RawFd> = entry.file_name().to_str().and_then(|n| n.parse().ok());
            // Only what has a path can be a regular file; a stat of the rest would be wasted.
            let has_path = std::fs::read_link(&path)
                .is_ok_and(|link| link.as_os_str().as_bytes().starts_with(b"/"));
            if !has_path || (own.is_some() && number == own) || self.is(&path) != Some(true) {
                continue;
            }
            let flags = descriptor_flags(proc, number).unwrap_or(libc::O_RDWR);
            if flags & libc::O_PATH != 0 {
                continue;
            }
            open = true;
            writes |= flags & libc::O_ACCMODE != libc::O_RDONLY;
        }
        Ok((open, writes))
    }

    /// `sf` in smaps: the kernel granted MAP_SYNC to one of the mappings.
    fn sync(&self, pid: i32) -> Option<bool> {
        let maps = procfs::process::Process::new(pid).ok()?.smaps().ok()?;
        Some(maps.iter().any(|map| {
            map.inode == self.inode
                && map
                    .extension
                    .vm_flags
                    .contains(procfs::process::VmFlags::SF)
        }))
    }

    /// Loop devices whose backing file this is: the kernel holds it then, no process does.
    fn loops(&self) -> Vec<String> {
        let Ok(devices) = std::fs::read_dir("/sys/block") else {
            return Vec::new();
        };
        devices
            .flatten()
            .filter(|device| {
                std::fs::read(device.path().join("loop/backing_file")).is_ok_and(|backing| {
                    let name = backing.strip_suffix(b"\n").unwrap_or(&backing);
                    let path = std::ffi::OsString::from_vec(name.to_vec());
                    self.is(Path::new(&path)) == Some(true)
                })
            })
            .map(|device| format!("/dev/{}", device.file_name().to_string_lossy()))
            .collect()
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

/// The descriptor's open flags, proc_pid_fdinfo(5).
fn descriptor_flags(proc: &Path, number: Option<RawFd>) -> Option<i32> {
    let info = std::fs::read_to_string(proc.join(format!("fdinfo/{}", number?))).ok()?;
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:"))?;
    i32::from_str_radix(flags.trim(), 8).ok()
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
