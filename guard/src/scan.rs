//! Finds tagged files, on a filesystem or in a list.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use daxshim_core::tag::XATTR;

/// The regular files below a directory, on its filesystem, that have the attribute of a tag, each by one
/// of its names. What cannot be looked at is in the second list.
///
/// # Errors
/// The directory itself can't be read.
pub fn tagged_below(directory: &Path) -> io::Result<(Vec<PathBuf>, Vec<PathBuf>)> {
    let device = fs::metadata(directory)?.dev();
    let (mut found, mut unread) = (BTreeMap::new(), Vec::new());
    let mut open = vec![(directory.to_owned(), fs::read_dir(directory)?)];
    while let Some((directory, entries)) = open.last_mut() {
        let Some(entry) = entries.next() else {
            open.pop();
            continue;
        };
        let Ok(entry) = entry else {
            unread.push(directory.clone());
            open.pop();
            continue;
        };
        let path = entry.path();
        let Ok(metadata) = fs::symlink_metadata(&path) else {
            continue;
        };
        if metadata.dev() != device {
            continue;
        }
        if metadata.is_dir() {
            match fs::read_dir(&path) {
                Ok(entries) => open.push((path, entries)),
                Err(_) => unread.push(path),
            }
        } else if metadata.is_file() && has_tag(&path) {
            found.insert(metadata.ino(), path);
        }
    }
    let mut found: Vec<PathBuf> = found.into_values().collect();
    found.sort();
    Ok((found, unread))
}

fn has_tag(path: &Path) -> bool {
    let mut nothing = [0_u8; 0];
    rustix::fs::lgetxattr(path, XATTR, &mut nothing).is_ok()
}

/// The paths in a list: one a line; empty lines and those that begin with # do not count.
///
/// # Errors
/// The list can't be read.
pub fn listed(list: &Path) -> io::Result<Vec<PathBuf>> {
    use std::os::unix::ffi::OsStrExt;
    let bytes = fs::read(list)?;
    let lines = bytes.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii);
    Ok(lines
        .filter(|line| !line.is_empty() && !line.starts_with(b"#"))
        .map(|line| PathBuf::from(std::ffi::OsStr::from_bytes(line)))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_have_comments() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "# those\n/a b\n\n  /c\r\n").unwrap();
        assert_eq!(
            listed(file.path()).unwrap(),
            [PathBuf::from("/a b"), PathBuf::from("/c")]
        );
    }

    #[test]
    fn directories_are_walked_and_links_are_not() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir_all(directory.path().join("a/b")).unwrap();
        fs::write(directory.path().join("a/b/plain"), "x").unwrap();
        std::os::unix::fs::symlink("/", directory.path().join("a/root")).unwrap();
        let (found, unread) = tagged_below(directory.path()).unwrap();
        assert!(found.is_empty() && unread.is_empty());
        assert!(tagged_below(&directory.path().join("nowhere")).is_err());
    }
}
