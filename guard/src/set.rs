//! The maps of the guard: who is held, what was refused, how it was started.
//!
//! The set is a hash map: its entries outlive the command, the inode cache and an unmount, and a
//! reused inode has another generation. (Storage in the inode itself would go when it is evicted.)
//!
//! Refusals go into a ring, an array of the last [`RING`] with a counter: whoever reads it takes
//! nothing from others, nobody has to drain it, and what is overwritten is the oldest. (The kernel's
//! own ring buffer has one reader, and loses the newest when that one is away.)

use std::os::fd::OwnedFd;

use daxshim_core::contract::Operation;
use rustix::io::Errno;

use crate::bpf::{self, MapKind, Plain};

/// Files that can be held at once.
pub const CAPACITY: u32 = 65536;
/// Refusals that are kept.
pub const RING: u32 = 1024;
/// Processes that are known to be of a run.
pub const PROCESSES: u32 = 32768;
/// Changes with every change of the structs below.
pub const LAYOUT: u32 = 2;

/// Who is held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(C)]
pub struct Key {
    /// `i_ino`
    pub inode: u64,
    /// `s_dev`, as the kernel has it.
    pub device: u32,
    /// `i_generation`
    pub generation: u32,
}

impl Key {
    /// From `st_dev`, whose bits lie otherwise.
    #[must_use]
    pub fn new(st_dev: u64, inode: u64, generation: u32) -> Key {
        let (major, minor) = (rustix::fs::major(st_dev), rustix::fs::minor(st_dev));
        Key {
            inode,
            device: major << 20 | minor,
            generation,
        }
    }

    /// `major:minor`
    #[must_use]
    pub fn device_name(&self) -> String {
        format!("{}:{}", self.device >> 20, self.device & 0xf_ffff)
    }

    /// `st_dev`
    #[must_use]
    pub fn st_dev(&self) -> u64 {
        rustix::fs::makedev(self.device >> 20, self.device & 0xf_ffff)
    }
}

/// How a file is held: bits of [`Entry::flags`].
pub mod flag {
    /// Refuse nothing, record what would have been refused.
    pub const AUDIT: u32 = 1;
    /// Let through what changes nothing (`DAXSHIM_COMPAT=1`).
    pub const COMPAT: u32 = 2;
    /// Refuse reads (`DAXSHIM_READS=deny`).
    pub const DENY_READS: u32 = 4;
    /// The filesystem can share extents, so a copy from the file must not.
    pub const REFLINK: u32 = 8;
    /// Count refusals, and do not record them: a scratch file of the self-test.
    pub const UNRECORDED: u32 = 16;
}

/// A file that is held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Entry {
    /// [`flag`]
    pub flags: u32,
    /// FS_IOC_GETFLAGS when it was added: setting them so changes nothing.
    pub inode_flags: u32,
    /// The same of FS_IOC_FSGETXATTR.
    pub xflags: u32,
    /// The same.
    pub extent_size: u32,
    /// The same.
    pub project: u32,
    /// The same.
    pub cow_extent_size: u32,
    /// Calls that were refused.
    pub refused: u64,
    /// Calls that [`flag::AUDIT`] let through.
    pub audited: u64,
}

/// A refusal, as the programs write it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Refusal {
    /// Its number plus one, written last; 0: never written.
    pub number: u64,
    /// The file.
    pub key: Key,
    /// Thread in the lower half, process in the upper.
    pub ids: u64,
    /// An [`Operation`].
    pub operation: u32,
    /// 1: it was let through ([`flag::AUDIT`]).
    pub audited: u32,
    /// The hook's own: request of ioctl(2), `ia_valid`, mask.
    pub detail: u32,
    /// Number of the system call, where a system call it was.
    pub call: u32,
    /// The thread's name.
    pub name: [u8; 16],
    /// The [`crate::runs::Run`] that the process is of; 0: none.
    pub run: u64,
}

impl Refusal {
    /// The process.
    #[must_use]
    pub const fn process(&self) -> u32 {
        (self.ids >> 32) as u32
    }

    /// What was attempted.
    #[must_use]
    pub fn attempted(&self) -> Option<Operation> {
        Operation::ALL.get(self.operation as usize).copied()
    }

    /// The thread's name, fit to be printed.
    #[must_use]
    pub fn command(&self) -> String {
        let end = self.name.iter().position(|&byte| byte == 0);
        let name = self.name.get(..end.unwrap_or(self.name.len()));
        String::from_utf8_lossy(name.unwrap_or_default())
            .chars()
            .map(|c| if c.is_control() { '?' } else { c })
            .collect()
    }
}

/// How the guard was started, and what the programs have to heed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct About {
    /// [`LAYOUT`]
    pub layout: u32,
    /// 1: some entry has [`flag::DENY_READS`] or [`flag::REFLINK`], so reads have to be looked at.
    pub reads: u32,
    /// What kind of programs: [`crate::kind::Kind`].
    pub kind: u32,
    /// [`flag`]s that files are added with where nothing else is said.
    pub flags: u32,
    /// The hooks that were attached: a bit for each row of [`crate::programs::HOOKS`].
    pub hooks: u32,
    /// Nothing yet.
    pub reserved: u32,
}

// SAFETY: integers, without padding (see the tests).
unsafe impl Plain for Key {}
// SAFETY: as above.
unsafe impl Plain for Entry {}
// SAFETY: as above.
unsafe impl Plain for Refusal {}
// SAFETY: as above.
unsafe impl Plain for About {}

/// The maps, by name and shape, in the order of [`Maps::descriptors`].
pub const MAPS: [(&str, MapKind, usize, usize, u32); 5] = [
    (
        "files",
        MapKind::Hash,
        size_of::<Key>(),
        size_of::<Entry>(),
        CAPACITY,
    ),
    ("refusals", MapKind::Array, 4, size_of::<Refusal>(), RING),
    ("counter", MapKind::Array, 4, 8, 1),
    ("about", MapKind::Array, 4, size_of::<About>(), 1),
    ("runs", MapKind::LruHash, 4, 8, PROCESSES),
];

/// The maps of a guard.
#[derive(Debug)]
pub struct Maps {
    /// Who is held: [`Key`] to [`Entry`].
    pub files: OwnedFd,
    /// The last refusals: number modulo [`RING`] to [`Refusal`].
    pub refusals: OwnedFd,
    /// Refusals so far.
    pub counter: OwnedFd,
    /// [`About`].
    pub about: OwnedFd,
    /// Process to [`crate::runs::Run`].
    pub runs: OwnedFd,
}

impl Maps {
    /// New ones, with nothing in them.
    ///
    /// # Errors
    /// The errors of bpf(2).
    pub fn create() -> Result<Maps, Errno> {
        Maps::each(|(name, kind, key, value, entries)| {
            bpf::create_map(name, kind, key, value, entries)
        })
    }

    /// One by one, by a function.
    ///
    /// # Errors
    /// The errors of the function.
    pub fn each<E>(
        mut one: impl FnMut((&'static str, MapKind, usize, usize, u32)) -> Result<OwnedFd, E>,
    ) -> Result<Maps, E> {
        let [files, refusals, counter, about, runs] = MAPS;
        Ok(Maps {
            files: one(files)?,
            refusals: one(refusals)?,
            counter: one(counter)?,
            about: one(about)?,
            runs: one(runs)?,
        })
    }

    /// In the order of [`MAPS`].
    #[must_use]
    pub fn descriptors(&self) -> [&OwnedFd; 5] {
        [
            &self.files,
            &self.refusals,
            &self.counter,
            &self.about,
            &self.runs,
        ]
    }

    /// How the guard was started.
    ///
    /// # Errors
    /// The errors of bpf(2).
    pub fn about(&self) -> Result<About, Errno> {
        bpf::look_up(&self.about, &0_u32)?.ok_or(Errno::NOENT)
    }

    /// Sets it.
    ///
    /// # Errors
    /// The errors of bpf(2).
    pub fn set_about(&self, about: &About) -> Result<(), Errno> {
        bpf::update(&self.about, &0_u32, about)
    }

    /// How a file is held; `None`: it is not.
    ///
    /// # Errors
    /// The errors of bpf(2).
    pub fn entry(&self, key: &Key) -> Result<Option<Entry>, Errno> {
        bpf::look_up(&self.files, key)
    }

    /// Holds a file. Programs are told first that reads matter, should they.
    ///
    /// # Errors
    /// The errors of bpf(2): E2BIG when the set is full.
    pub fn insert(&self, key: &Key, entry: &Entry) -> Result<(), Errno> {
        if entry.flags & (flag::DENY_READS | flag::REFLINK) != 0 {
            let about = self.about()?;
            if about.reads == 0 {
                self.set_about(&About { reads: 1, ..about })?;
            }
        }
        bpf::update(&self.files, key, entry)
    }

    /// Lets a file go; `false`: it was not held.
    ///
    /// # Errors
    /// The errors of bpf(2).
    pub fn remove(&self, key: &Key) -> Result<bool, Errno> {
        bpf::delete(&self.files, key)
    }

    /// All that are held.
    ///
    /// # Errors
    /// The errors of bpf(2).
    pub fn keys(&self) -> Result<Vec<Key>, Errno> {
        let mut keys = Vec::new();
        let mut last: Option<Key> = None;
        // Entries that come and go meanwhile may begin it anew; not for ever.
        for _ in 0..2 * CAPACITY {
            let Some(key) = bpf::next_key(&self.files, last.as_ref())? else {
                break;
            };
            keys.push(key);
            last = Some(key);
        }
        keys.sort_unstable();
        keys.dedup();
        Ok(keys)
    }

    /// Refusals so far.
    ///
    /// # Errors
    /// The errors of bpf(2).
    pub fn count(&self) -> Result<u64, Errno> {
        Ok(bpf::look_up(&self.counter, &0_u32)?.unwrap_or(0))
    }

    /// Those from number `from` on that are still there, the oldest first, and how many are not.
    ///
    /// # Errors
    /// The errors of bpf(2).
    pub fn refusals_since(&self, from: u64) -> Result<(Vec<Refusal>, u64), Errno> {
        let end = self.count()?;
        let first = end.saturating_sub(u64::from(RING)).max(from);
        let mut found = Vec::new();
        for number in first..end {
            let slot = (number % u64::from(RING)) as u32;
            let refusal: Option<Refusal> = bpf::look_up(&self.refusals, &slot)?;
            // Overwritten meanwhile, or not yet whole.
            found.extend(refusal.filter(|refusal| refusal.number == number + 1));
        }
        let lost = end.saturating_sub(from) - found.len() as u64;
        Ok((found, lost))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_structs_have_no_padding() {
        assert_eq!(size_of::<Key>(), 16);
        assert_eq!(size_of::<Entry>(), 6 * 4 + 2 * 8);
        assert_eq!(size_of::<Refusal>(), 8 + 16 + 8 + 4 * 4 + 16 + 8);
        assert_eq!(size_of::<About>(), 24);
    }

    #[test]
    fn the_device_is_the_kernel_s() {
        let st_dev = rustix::fs::makedev(259, 0x12345);
        let key = Key::new(st_dev, 7, 9);
        assert_eq!(key.device, 259 << 20 | 0x12345);
        assert_eq!(key.device_name(), "259:74565");
        assert_eq!(key.st_dev(), st_dev);
    }

    #[test]
    fn names_are_fit_to_be_printed() {
        let mut refusal = Refusal::default();
        refusal.name[..4].copy_from_slice(b"a\x1b[b");
        assert_eq!(refusal.command(), "a?[b");
    }
}
