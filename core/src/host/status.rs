//! Everything that can be said about a file.

use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use serde::{Serialize, Serializer};

use super::error::{Action, Cause, Error, call};
use super::file::Opened;
use super::holders::Holders;
use super::mount::Mount;
use super::state::{self, TagState};
use crate::dax;
use crate::extents::{self, Defect};

/// A file as `daxshim status` shows it.
#[derive(Clone, Debug, Serialize)]
pub struct Status {
    /// As the user named it.
    #[serde(serialize_with = "super::json::path")]
    pub path: PathBuf,
    /// `st_ino`.
    pub inode: u64,
    /// FS_IOC_GETVERSION, where the filesystem has it.
    pub generation: Option<u32>,
    /// `st_size`, bytes.
    pub size: u64,
    /// The tag that counts; `None`: not tagged.
    pub tag: Option<TagState>,
    /// What the inode and its mount say about DAX.
    pub dax: DaxState,
    /// Where the file's blocks lie.
    pub extents: ExtentState,
    /// Who has it open or mapped.
    pub holders: Holders,
}

/// What the inode and its mount say about DAX.
#[derive(Clone, Debug, Serialize)]
pub struct DaxState {
    /// STATX_ATTR_DAX: the kernel uses DAX for the file now.
    pub active: bool,
    /// FS_XFLAG_DAX; `None` where the filesystem has no such flags.
    pub flag: Option<bool>,
    /// FS_XFLAG_NODEFRAG; `None` where the filesystem has no such flags.
    pub nodefrag: Option<bool>,
    /// The mount it lies on.
    pub mount: Option<Mount>,
}

/// Where the file's blocks lie.
#[derive(Clone, Debug, Serialize)]
pub struct ExtentState {
    /// Extents, contiguous ones counted as one; `None` where the filesystem does not tell.
    pub count: Option<u64>,
    /// Fingerprint of the extent map, hexadecimal.
    #[serde(serialize_with = "hexadecimal")]
    pub fingerprint: Option<u64>,
    /// Whether it is the one that was tagged; `None` without a tag or a fingerprint.
    pub match_tag: Option<bool>,
    /// Bytes that lie so that 2 MiB pages can map them.
    pub huge: u64,
    /// The first range that keeps the file from being tagged.
    #[serde(serialize_with = "defect")]
    pub defect: Option<Defect>,
}

fn hexadecimal<S: Serializer>(value: &Option<u64>, serializer: S) -> Result<S::Ok, S::Error> {
    value.map(|v| format!("{v:016x}")).serialize(serializer)
}

fn defect<S: Serializer>(value: &Option<Defect>, serializer: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Plain {
        kind: &'static str,
        offset: u64,
        length: u64,
    }
    value
        .map(|defect| Plain {
            kind: defect.flaw.word(),
            offset: defect.offset,
            length: defect.length,
        })
        .serialize(serializer)
}

/// Looks at a file without changing anything.
///
/// # Errors
/// [`Error`]: it cannot be opened for reading or is not a regular file.
pub fn status(path: &Path) -> Result<Status, Error> {
    look(path).map_err(|cause| Error::new(Action::Status, path, cause))
}

fn look(path: &Path) -> Result<Status, Cause> {
    let opened = Opened::open(path, OFlags::RDONLY)?;
    let survey =
        extents::survey(opened.fd(), opened.size(), false).map_err(call("ioctl FIEMAP"))?;
    let tag = state::read(opened.fd(), &opened.identity, survey.fingerprint)
        .map_err(call("fgetxattr"))?
        .into_iter()
        .next();
    let attributes = dax::attributes(opened.fd()).ok();
    let has = |flag| attributes.map(|a| a.flags & flag != 0);
    let tagged_extents = tag
        .as_ref()
        .filter(|tag| tag.binds())
        .and_then(|tag| tag.record)
        .and_then(|record| record.extents);
    let match_tag = tagged_extents
        .zip(survey.fingerprint)
        .map(|(then, now)| then == now);
    let holders = opened.holders();
    Ok(Status {
        path: path.to_owned(),
        inode: opened.identity.inode,
        generation: opened.identity.generation,
        size: opened.size(),
        tag,
        dax: DaxState {
            active: dax::is_active(opened.fd()).map_err(call("statx"))?,
            flag: has(dax::DAX),
            nodefrag: has(dax::NODEFRAG),
            mount: opened.mount,
        },
        extents: ExtentState {
            count: survey.fingerprint.map(|_| survey.extents),
            fingerprint: survey.fingerprint,
            match_tag,
            huge: survey.huge,
            defect: survey.defect,
        },
        holders,
    })
}
