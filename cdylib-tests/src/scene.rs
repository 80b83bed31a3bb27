//! A fresh directory with the files that `programs/lib/common.h` describes, and the ways to tag them.

use crate::{Failed, Run, Shim, Snapshot, built, fail};
use daxshim_core::tag::Record;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// How the scene's `file` (and `tail`) is tagged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tag {
    /// Not at all.
    None,
    /// As a user does it: `daxshim prepare`, `daxshim tag`; emulated where there is no DAX.
    Valid,
    /// A well-formed record that names another inode, as root's `cp -a` leaves behind.
    OtherInode,
    /// A well-formed record that names another size.
    OtherSize,
    /// A record cut short.
    Truncated,
    /// A record edited by hand: the checksum is wrong.
    Forged,
    /// Bytes that are no record at all.
    Garbage,
    /// A record of this inode and size, with other extents.
    Broken,
    /// A record of this inode and size that is not emulated, on a filesystem without DAX (as root).
    WithoutDax,
    /// An emulated tag where nobody asked for emulation, or on a run without it.
    Emulated,
}

/// Length of `file`: four pages.
pub const FILE_SIZE: usize = 4 * 4096;
/// Length of `tail`: a page and a bit.
pub const TAIL_SIZE: usize = 4096 + 100;

/// Whether the tests run on real fs-DAX, with real tags.
#[must_use]
pub fn real() -> bool {
    std::env::var_os("DAXSHIM_TEST_DIR").is_some()
}

/// The directory all scenes are made in.
#[must_use]
pub fn root() -> PathBuf {
    std::env::var_os("DAXSHIM_TEST_DIR").map_or_else(|| "/dev/shm".into(), PathBuf::from)
}

/// A scene; it goes with everything in it when dropped.
#[derive(Debug)]
pub struct Scene {
    dir: PathBuf,
    _parent: TempDir,
}

impl Scene {
    /// Lays out the files and tags `file` and `tail`.
    ///
    /// # Errors
    /// When that does not work.
    pub fn new(tag: Tag) -> Result<Scene, Failed> {
        let parent = tempfile::Builder::new()
            .prefix("daxshim-test-")
            .permissions(fs::Permissions::from_mode(0o755))
            .tempdir_in(root())?;
        let scene = Scene {
            dir: parent.path().join("scene"),
            _parent: parent,
        };
        fs::create_dir(scene.dir())?;
        fs::create_dir(scene.path("sub"))?;
        for (name, content) in [
            ("file", pattern(FILE_SIZE)),
            ("tail", pattern(TAIL_SIZE)),
            ("plain", vec![b'p'; 100]),
        ] {
            fs::write(scene.path(name), content)?;
            fs::set_permissions(scene.path(name), fs::Permissions::from_mode(0o644))?;
        }
        for name in ["sub", "."] {
            fs::set_permissions(scene.path(name), fs::Permissions::from_mode(0o755))?;
        }
        for (to, name) in [
            ("file", "symlink"),
            ("new", "dangling"),
            ("loop", "loop"),
            ("../file", "sub/inner"),
        ] {
            symlink(to, scene.path(name))?;
        }
        set_xattr(&scene.path("file"), "user.present", b"yes")?;
        for name in ["file", "tail"] {
            scene.tag(name, tag)?;
        }
        // Outside the library nobody refuses it.
        fs::hard_link(scene.path("file"), scene.path("hardlink"))?;
        Ok(scene)
    }

    /// The directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// A directory beside it, for `DAXSHIM_REPORT`.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn report(&self) -> Result<PathBuf, Failed> {
        let dir = self.dir.with_file_name("report");
        fs::create_dir_all(&dir)?;
        Ok(dir)
    }

    /// A file in it.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// What this, an unshimmed process, sees of one of the files.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn snapshot(&self, name: &str) -> Result<Snapshot, Failed> {
        Snapshot::take(&self.path(name))
    }

    /// Tags one of the files.
    ///
    /// # Errors
    /// When that does not work.
    pub fn tag(&self, name: &str, tag: Tag) -> Result<(), Failed> {
        let path = self.path(name);
        if tag == Tag::Valid {
            return tag_valid(&path);
        }
        let meta = fs::metadata(&path)?;
        let record = Record {
            inode: meta.ino(),
            generation: None,
            size: meta.len(),
            extents: None,
            emulated: false,
            nodefrag: false,
            dax: false,
            clearing: false,
        };
        let text = |record: &Record| record.to_text().as_bytes().to_vec();
        let value = match tag {
            Tag::None | Tag::Valid => return Ok(()),
            Tag::OtherInode => text(&Record {
                inode: record.inode + 1,
                ..record
            }),
            Tag::OtherSize => text(&Record {
                size: record.size + 1,
                ..record
            }),
            Tag::WithoutDax => {
                return set_xattr(&path, "security.dax_immutable", &text(&record));
            }
            Tag::Truncated => text(&record)[..40].to_vec(),
            Tag::Forged => {
                let mut value = text(&record);
                let last = value.len() - 1;
                value[last] = if value[last] == b'0' { b'1' } else { b'0' };
                value
            }
            Tag::Garbage => vec![0xff; 300],
            Tag::Broken => text(&Record {
                extents: Some(0x0bad_0bad_0bad_0bad),
                ..record
            }),
            Tag::Emulated => return set_xattr(&path, "user.dax_immutable", &text(&record)),
        };
        let name = if real() {
            "security.dax_immutable"
        } else {
            "user.dax_immutable"
        };
        set_xattr(&path, name, &value)
    }
}

/// A scene in which `programs/crash/NAME.c` has made its database, `store`, which then was tagged.
///
/// # Errors
/// When that does not work.
pub fn with_database(name: &str) -> Result<Scene, Failed> {
    let scene = Scene::new(Tag::None)?;
    let mut command = Shim::none().command(crate::program("crash").join(name));
    let made = Run::of(command.args(["make", "."]).current_dir(scene.dir()))?;
    if !made.status.success() {
        fail!("{name} make: {}\n{}", made.status, made.output);
    }
    // Some leave holes.
    daxshim(&["prepare"], &scene.path("store"))?;
    scene.tag("store", Tag::Valid)?;
    Ok(scene)
}

/// The byte at each offset is the one that `original` in `common.h` gives.
#[must_use]
pub fn pattern(size: usize) -> Vec<u8> {
    (0..size)
        .map(|i| b'a' + ((i / 64 + i / 4096) % 26) as u8)
        .collect()
}

fn tag_valid(path: &Path) -> Result<(), Failed> {
    if real() {
        daxshim(&["prepare"], path)?;
        daxshim(&["tag"], path)
    } else {
        daxshim(&["tag", "--emulate"], path)
    }
}

/// Runs the command, which must succeed.
///
/// # Errors
/// When it does not, with all that it said.
pub fn daxshim(arguments: &[&str], path: &Path) -> Result<(), Failed> {
    let mut command: Command = Shim::none().command(built("daxshim"));
    let run = Run::of(command.args(arguments).arg(path))?;
    if !run.status.success() {
        fail!(
            "daxshim {arguments:?} {}: {}\n{}",
            path.display(),
            run.status,
            run.output
        );
    }
    Ok(())
}

fn set_xattr(path: &Path, name: &str, value: &[u8]) -> Result<(), Failed> {
    rustix::fs::setxattr(path, name, value, rustix::fs::XattrFlags::empty())
        .map_err(|e| format!("setting {name} on {}: {e}", path.display()).into())
}
