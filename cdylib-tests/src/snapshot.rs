//! What a process without the library sees of a file: the independent witness that nothing changed.
//!
//! It holds what is against what was; no crate for snapshots of output (`expect-test`) does that.

use crate::{Failed, Outcome, fail};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Everything about a file that a refused call must leave alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Inode number: the name still leads to the same file.
    pub inode: u64,
    /// Type and permissions.
    pub mode: u32,
    /// User and group.
    pub owner: (u32, u32),
    /// Number of names.
    pub links: u64,
    /// Size in bytes.
    pub size: u64,
    /// Blocks of 512 bytes.
    pub blocks: u64,
    /// Extended attributes, the tag among them.
    pub xattrs: Vec<(String, Vec<u8>)>,
    /// Change and modification time, seconds and nanoseconds.
    pub times: [i64; 4],
    /// The bytes.
    pub content: Vec<u8>,
}

impl Snapshot {
    /// Looks at the file.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn take(path: &Path) -> Result<Snapshot, Failed> {
        let meta = fs::symlink_metadata(path)?;
        Ok(Snapshot {
            inode: meta.ino(),
            mode: meta.mode(),
            owner: (meta.uid(), meta.gid()),
            links: meta.nlink(),
            size: meta.size(),
            blocks: meta.blocks(),
            xattrs: xattrs(path)?,
            times: [
                meta.ctime(),
                meta.ctime_nsec(),
                meta.mtime(),
                meta.mtime_nsec(),
            ],
            content: fs::read(path)?,
        })
    }

    /// The same file in every respect.
    ///
    /// # Errors
    /// Names the first respect in which it is not.
    pub fn same(&self, now: &Snapshot) -> Outcome {
        self.same_but_for_times(now)?;
        if self.times != now.times {
            fail!(
                "ctime or mtime moved: {:?} became {:?}",
                self.times,
                now.times
            );
        }
        Ok(())
    }

    /// The same file but for its times.
    ///
    /// # Errors
    /// Names what differs.
    pub fn same_but_for_times(&self, now: &Snapshot) -> Outcome {
        self.same_but_for_stores(now)?;
        if self.content != now.content {
            fail!("the content changed");
        }
        Ok(())
    }

    /// The same file but for its content and the times that a store to a mapping moves.
    ///
    /// # Errors
    /// Names what differs.
    pub fn same_but_for_stores(&self, now: &Snapshot) -> Outcome {
        let bare = |s: &Snapshot| Snapshot {
            times: [0; 4],
            content: Vec::new(),
            ..s.clone()
        };
        if bare(self) == bare(now) {
            Ok(())
        } else {
            fail!("the file changed: {:?} became {:?}", bare(self), bare(now));
        }
    }
}

fn xattrs(path: &Path) -> Result<Vec<(String, Vec<u8>)>, Failed> {
    let mut names = vec![0u8; 4096];
    let n = rustix::fs::listxattr(path, &mut names)?;
    let mut all = Vec::new();
    for name in names[..n]
        .split(|&b| b == 0)
        .filter(|name| !name.is_empty())
    {
        let name = String::from_utf8_lossy(name).into_owned();
        let mut value = vec![0u8; 4096];
        let n = rustix::fs::getxattr(path, name.as_str(), &mut value)?;
        value.truncate(n);
        all.push((name, value));
    }
    all.sort();
    Ok(all)
}
