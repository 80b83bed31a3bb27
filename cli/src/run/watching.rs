//! What `--watch` says, as the library reads it ([`daxshim_core::check::watch`]).

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

use daxshim_core::check::watch::{ALWAYS, SHARED, Watched, why};

use super::{FAILED, Failure, named, warn};

/// What the library is told by.
pub const VARIABLE: &str = "DAXSHIM_WATCH";

/// The words and patterns of all options, one a line.
///
/// # Errors
/// A pattern that could not be one.
pub fn variable(options: &[OsString]) -> Result<OsString, Failure> {
    let mut lines: Vec<Vec<u8>> = Vec::new();
    for option in options {
        let bytes = option.as_bytes();
        let words = || bytes.split(|byte| *byte == b',');
        if words().all(|word| word == SHARED || ALWAYS.contains(&word)) {
            lines.extend(words().map(<[u8]>::to_vec));
        } else if bytes.is_empty() || bytes.contains(&b'\n') {
            return Err(Failure::own(
                format!("--watch {} is not understood", named(option)),
                "a pattern is neither empty nor of several lines",
                "--watch tagged,dax, --watch shared, or --watch 'PATTERN' as the shell has them",
            ));
        } else {
            lines.push(pattern(option));
        }
    }
    Ok(OsString::from_vec(lines.join(&b'\n')))
}

/// The patterns alone, as the library gets them.
pub fn patterns(options: &[OsString]) -> Vec<OsString> {
    let lines = variable(options).unwrap_or_default();
    let lines = lines.as_bytes().split(|byte| *byte == b'\n');
    lines
        .filter(|line| daxshim_core::check::watch::is_pattern(line))
        .map(|line| OsStr::from_bytes(line).to_owned())
        .collect()
}

/// The patterns that name none of these files, as they were given.
pub fn unmatched<'a>(options: &'a [OsString], watched: &[PathBuf]) -> Vec<&'a OsString> {
    let names_none = |option: &&OsString| {
        let line = patterns(std::slice::from_ref(option));
        line.iter().any(|line| {
            let names = |path: &PathBuf| {
                let path = path.as_os_str().as_bytes();
                why(line.as_bytes(), path) == Some(Watched::Named)
            };
            !watched.iter().any(names)
        })
    };
    options.iter().filter(names_none).collect()
}

/// Says that nothing was watched of what was to be, whether that is why the command fails, and what can be done about
/// that then.
pub fn warn_unmatched(options: &[&OsString], decides: bool, instead: &str) {
    let mut why =
        "the program has mapped none of that name MAP_SHARED, or there was no room".to_owned();
    let mut help =
        "see what it maps with --watch shared; a pattern with a slash is a whole path".to_owned();
    if decides {
        why += &format!("; the exit status is {FAILED} for that alone");
        help += &format!("; {instead}");
    }
    for option in options {
        warn(
            &format!(
                "--watch {} has named no file that was watched",
                named(option)
            ),
            &why,
            &help,
        );
    }
}

/// The library knows whole paths: one that is there by its real name, any other from the working directory. What
/// has no slash is a file's name anywhere.
fn pattern(option: &OsStr) -> Vec<u8> {
    if let Ok(real) = Path::new(option).canonicalize()
        && option.as_bytes().contains(&b'/')
    {
        return escaped(real.as_os_str().as_bytes());
    }
    match option.as_bytes() {
        [b'/' | b'*', ..] => option.as_bytes().to_vec(),
        bytes if !bytes.contains(&b'/') => bytes.to_vec(),
        _ => {
            let here = std::env::current_dir().unwrap_or_default();
            let mut bytes = escaped(here.as_os_str().as_bytes());
            let mut behind = PathBuf::new();
            for part in Path::new(option).components() {
                match part {
                    Component::CurDir => {}
                    part => behind.push(part),
                }
            }
            bytes.push(b'/');
            bytes.extend(behind.as_os_str().as_bytes());
            bytes
        }
    }
}

fn escaped(path: &[u8]) -> Vec<u8> {
    let mut escaped = Vec::new();
    for byte in path {
        match byte {
            b'*' | b'?' | b'[' => escaped.extend([b'[', *byte, b']']),
            byte => escaped.push(*byte),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_words_and_all_else_is_a_pattern() {
        let variable = |options: &[&str]| {
            let options: Vec<OsString> = options.iter().map(OsString::from).collect();
            variable(&options).map(|lines| lines.into_string().unwrap())
        };
        assert_eq!(variable(&["tagged,dax"]).unwrap(), "tagged\ndax");
        assert_eq!(variable(&["shared", "*.db"]).unwrap(), "shared\n*.db");
        assert_eq!(variable(&["a,shared"]).unwrap(), "a,shared");
        assert!(variable(&[""]).is_err() && variable(&["a\nb"]).is_err());
        let here = std::env::current_dir().unwrap();
        let expected = format!("{}/data/*.db", here.display());
        assert_eq!(variable(&["./data/*.db"]).unwrap(), expected);
    }

    #[test]
    fn a_pattern_that_names_nothing_is_told() {
        let options = ["shared", "*.db", "other", "tagged,dax"].map(OsString::from);
        let watched = [PathBuf::from("/tmp/a.db"), PathBuf::from("/tmp/lock")];
        assert_eq!(unmatched(&options, &watched), ["other"]);
        assert_eq!(unmatched(&options, &[]), ["*.db", "other"]);
    }

    #[test]
    fn a_file_that_is_there_is_itself_and_no_pattern() {
        let directory = tempfile::tempdir().unwrap();
        let odd = directory.path().join("a[1]*");
        std::fs::write(&odd, "").unwrap();
        let lines = variable(&[odd.clone().into()]).unwrap();
        let real = odd.canonicalize().unwrap();
        let real = real.as_os_str().as_bytes();
        assert_eq!(why(lines.as_bytes(), real), Some(Watched::Named));
        let other = directory.path().join("a1x");
        assert_eq!(why(lines.as_bytes(), other.as_os_str().as_bytes()), None);
    }
}
