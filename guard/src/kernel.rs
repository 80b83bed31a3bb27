//! Who in the kernel writes to a file, as far as it can be seen while processes have it open too: these
//! users have no descriptor, and a lease tells only that there is somebody.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Where targets are set up.
const CONFIGURATION: &str = "/sys/kernel/config";

/// Files in which a target has a path, below [`CONFIGURATION`]; `*` stands for a directory, or for the
/// end of a name.
const PATHS: [(&str, &str); 3] = [
    (
        "nvmet/subsystems/*/namespaces/*/device_path",
        "an NVMe target",
    ),
    ("target/core/fileio_*/*/udev_path", "a SCSI target"),
    (
        "usb_gadget/*/functions/mass_storage.*/*/file",
        "a USB gadget",
    ),
];

/// What of the kernel uses the file, in words.
#[must_use]
pub fn user_of(file: &File) -> Option<String> {
    target(Path::new(CONFIGURATION), file)
        .or_else(|| is_accounted_to(file).then(|| "process accounting (acct(2))".to_owned()))
}

/// A target that has the path of the file.
fn target(configuration: &Path, file: &File) -> Option<String> {
    let file = file.metadata().ok()?;
    let is = |path: &Path| {
        fs::metadata(path).is_ok_and(|other| (other.dev(), other.ino()) == (file.dev(), file.ino()))
    };
    PATHS.iter().find_map(|(pattern, what)| {
        let mut places = vec![configuration.to_owned()];
        for part in pattern.split('/') {
            places = places
                .iter()
                .flat_map(|place| matching(place, part))
                .collect();
        }
        let place = places.into_iter().find(|place| {
            fs::read_to_string(place).is_ok_and(|path| is(Path::new(path.trim_end_matches('\n'))))
        })?;
        Some(format!("{what} ({})", place.display()))
    })
}

/// Entries of a directory that a part of a pattern names.
fn matching(directory: &Path, part: &str) -> Vec<PathBuf> {
    let Some(start) = part.strip_suffix('*') else {
        return vec![directory.join(part)];
    };
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(start))
        .map(|entry| entry.path())
        .collect()
}

/// Whether the kernel accounts processes to it: then it grows when one ends. Those of another PID
/// namespace than ours and its parents are not seen.
fn is_accounted_to(file: &File) -> bool {
    let size = || file.metadata().map_or(0, |metadata| metadata.len());
    let before = size();
    // SAFETY: the child does nothing but end.
    match unsafe { libc::fork() } {
        -1 => return false,
        0 => {
            // SAFETY: ends without running what the parent registered.
            unsafe { libc::_exit(0) }
        }
        child => {
            // SAFETY: waits for that child; no status is written.
            while unsafe { libc::waitpid(child, std::ptr::null_mut(), 0) } < 0
                && std::io::Error::last_os_error().kind() == std::io::ErrorKind::Interrupted
            {
            }
        }
    }
    size() != before
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_found_by_the_file_and_not_by_its_name() {
        let root = tempfile::tempdir().unwrap();
        let (held, link) = (root.path().join("held"), root.path().join("link"));
        fs::write(&held, "x").unwrap();
        fs::hard_link(&held, &link).unwrap();
        let file = File::open(&held).unwrap();
        assert_eq!(target(root.path(), &file), None);
        for (place, what) in [
            (
                "nvmet/subsystems/a/namespaces/1/device_path",
                "an NVMe target",
            ),
            ("target/core/fileio_0/disk/udev_path", "a SCSI target"),
            (
                "usb_gadget/g/functions/mass_storage.0/lun.0/file",
                "a USB gadget",
            ),
        ] {
            let place = root.path().join(place);
            fs::create_dir_all(place.parent().unwrap()).unwrap();
            fs::write(&place, "/dev/null\n").unwrap();
            assert_eq!(target(root.path(), &file), None);
            fs::write(&place, format!("{}\n", link.display())).unwrap();
            let found = target(root.path(), &file).unwrap();
            assert!(found.starts_with(what), "{found}");
            fs::remove_file(&place).unwrap();
        }
    }

    #[test]
    fn nobody_accounts_to_a_new_file() {
        assert!(!is_accounted_to(&tempfile::tempfile().unwrap()));
    }
}
