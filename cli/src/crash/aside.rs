//! Images that earlier runs have kept.

use std::io;
use std::path::{Path, PathBuf};

/// What describes a kept image, beside it.
pub const DESCRIPTION: &str = "state.json";

/// Moves the images of earlier runs to a directory of their own, below that in which they are; where to, if there were any.
///
/// # Errors
/// Those of reading and renaming.
pub fn set_aside(images: &Path) -> io::Result<Option<PathBuf>> {
    let entries = match images.read_dir() {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut kept = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        let is_state = name.is_some_and(|name| name.bytes().all(|byte| byte.is_ascii_digit()));
        // Nobody else's directory is touched.
        if is_state && path.join(DESCRIPTION).is_file() {
            kept.push(path);
        }
    }
    if kept.is_empty() {
        return Ok(None);
    }
    let mut number = 1;
    let aside = loop {
        let aside = images.join(format!("before-{number}"));
        match std::fs::create_dir(&aside) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
            made => break made.map(|()| aside)?,
        }
    };
    for path in kept {
        std::fs::rename(&path, aside.join(path.file_name().unwrap_or_default()))?;
    }
    Ok(Some(aside))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_of_earlier_runs_go_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        assert_eq!(set_aside(&at("none")).unwrap(), None);
        assert_eq!(set_aside(directory.path()).unwrap(), None);
        for run in 1..3 {
            for state in ["7", "12"] {
                std::fs::create_dir_all(at(state)).unwrap();
                std::fs::write(at(state).join("data"), [run]).unwrap();
                std::fs::write(at(state).join(DESCRIPTION), "{}").unwrap();
            }
            std::fs::create_dir_all(at("33")).unwrap();
            let aside = set_aside(directory.path()).unwrap().unwrap();
            assert_eq!(aside, at(&format!("before-{run}")));
            assert_eq!(std::fs::read(aside.join("12/data")).unwrap(), [run]);
            assert!(!at("7").exists() && at("33").exists());
        }
    }
}
