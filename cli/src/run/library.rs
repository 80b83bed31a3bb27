//! Where libdaxshim.so is, and how it gets into `LD_PRELOAD`.

use std::ffi::{OsStr, OsString};
use std::io::{self, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use daxshim_core::host::shown;
use daxshim_core::preload::Preload;
use object::{Object, ObjectSymbol};

use super::Failure;

const NAME: &str = "libdaxshim.so";

/// Names the library outright, for unusual installations.
pub const VARIABLE: &str = "DAXSHIM_LIBRARY";

/// Where libraries of this architecture are on distributions that keep several apart (Debian).
const MULTIARCH: &str = if cfg!(target_arch = "aarch64") {
    "lib/aarch64-linux-gnu"
} else {
    "lib/x86_64-linux-gnu"
};

/// Finds the library: `DAXSHIM_LIBRARY`, beside the command, or in one of the directories for libraries
/// beside its own.
///
/// # Errors
/// There is none, or its path can't be written into `LD_PRELOAD`.
pub fn find() -> Result<PathBuf, Failure> {
    let candidates = match std::env::var_os(VARIABLE).filter(|path| !path.is_empty()) {
        Some(path) => vec![PathBuf::from(path)],
        None => beside(&std::env::current_exe().map_err(|error| {
            Failure::own(
                format!("cannot find {NAME}"),
                format_args!("/proc/self/exe cannot be read: {error}"),
                format_args!("mount /proc, or set {VARIABLE} to its path"),
            )
        })?),
    };
    let mut tried = Vec::new();
    for candidate in candidates {
        match shim(&candidate) {
            Ok(path) => return preloadable(path),
            Err(error) => tried.push(format!("{}: {error}", shown(&candidate))),
        }
    }
    Err(Failure::own(
        format!("cannot find {NAME}"),
        tried.join("; "),
        format_args!(
            "put it beside the daxshim command or into ../lib, ../lib64 or ../{MULTIARCH}, or set \
             {VARIABLE} to its path"
        ),
    ))
}

fn beside(command: &Path) -> Vec<PathBuf> {
    let mut places = Vec::new();
    if let Some(directory) = command.parent() {
        places.push(directory.join(NAME));
        if let Some(prefix) = directory.parent() {
            let directories = ["lib", MULTIARCH, "lib64"];
            places.extend(directories.map(|libraries| prefix.join(libraries).join(NAME)));
        }
    }
    places
}

fn shim(path: &Path) -> io::Result<PathBuf> {
    let path = std::path::absolute(path)?;
    let mut file = std::fs::File::open(&path)?;
    // Before it is read: a pipe would not end.
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    if is_shim(&bytes) {
        Ok(path)
    } else {
        Err(io::Error::other("not daxshim's library for this machine"))
    }
}

/// Whether it is a shared library for this machine, with a function of daxshim.h. Of another file the loader
/// would tell each program, and go on without it.
fn is_shim(bytes: &[u8]) -> bool {
    let own = if cfg!(target_arch = "aarch64") {
        object::Architecture::Aarch64
    } else {
        object::Architecture::X86_64
    };
    let Ok(file) = object::read::elf::ElfFile64::<object::Endianness>::parse(bytes) else {
        return false;
    };
    let is_own_function = |symbol: object::read::elf::ElfSymbol64<'_, '_>| {
        symbol.is_definition() && symbol.name_bytes() == Ok(b"daxshim_persist")
    };
    file.architecture() == own && file.dynamic_symbols().any(is_own_function)
}

/// The list is split at spaces and colons, and `$` begins what the loader expands (ld.so(8)); none
/// of them can be quoted.
fn preloadable(path: PathBuf) -> Result<PathBuf, Failure> {
    match path
        .as_os_str()
        .as_bytes()
        .iter()
        .find(|byte| b" :$\t\n".contains(byte))
    {
        None => Ok(path),
        Some(&byte) => Err(Failure::own(
            format!("cannot preload {}", shown(&path)),
            format_args!(
                "its path contains {:?}, and LD_PRELOAD has no way to quote that",
                char::from(byte)
            ),
            format_args!(
                "install it, or put a copy, where the path has none, and set {VARIABLE} to it"
            ),
        )),
    }
}

/// The value of `LD_PRELOAD` without the library. `None` if nothing is left.
pub fn without(library: &Path, present: &OsStr) -> Option<OsString> {
    let list = present.as_bytes();
    let name = library.file_name().unwrap_or_default();
    let Some(preload) = Preload::new(list, name.as_bytes()) else {
        return Some(present.to_owned());
    };
    let mut others = vec![0; list.len()];
    let length = preload.write_without(list, &mut others)?;
    others.truncate(length);
    (!others.is_empty()).then(|| OsString::from_vec(others))
}

/// The value of `LD_PRELOAD` with the library first, once, and everything else kept.
pub fn preload(library: &Path, present: Option<&OsStr>) -> OsString {
    let mut list = library.as_os_str().as_bytes().to_vec();
    let present = present.map_or(&b""[..], OsStr::as_bytes);
    let entries = present.split(|byte| matches!(byte, b' ' | b':'));
    for entry in entries.filter(|entry| !entry.is_empty()) {
        let name = entry.rsplit(|&byte| byte == b'/').next();
        if name != Some(NAME.as_bytes()) && entry != library.as_os_str().as_bytes() {
            list.push(b':');
            list.extend_from_slice(entry);
        }
    }
    OsString::from_vec(list)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_library_can_be_left_out() {
        let without = |list: &str| without(Path::new("/x/libdaxshim.so"), list.as_ref());
        assert_eq!(without("/l/libdaxshim.so"), None);
        assert_eq!(without("/l/libdaxshim.so:a.so"), Some("a.so".into()));
        assert_eq!(without("a.so b.so"), Some("a.so b.so".into()));
    }

    #[test]
    fn the_library_is_first_and_there_once() {
        let with = |present: &str| preload(Path::new("/l/libdaxshim.so"), Some(present.as_ref()));
        assert_eq!(preload(Path::new("/l/x.so"), None), "/l/x.so");
        assert_eq!(with(""), "/l/libdaxshim.so");
        assert_eq!(with("a.so b.so:c.so"), "/l/libdaxshim.so:a.so:b.so:c.so");
        assert_eq!(
            with("/l/libdaxshim.so:a.so:/old/libdaxshim.so libdaxshim.so"),
            "/l/libdaxshim.so:a.so"
        );
        assert_eq!(
            with("/libdaxshim.so/a.so"),
            "/l/libdaxshim.so:/libdaxshim.so/a.so"
        );
    }

    #[test]
    fn what_the_loader_would_split_or_expand_is_refused() {
        for path in ["/a b/l.so", "/a:b/l.so", "/$ORIGIN/l.so"] {
            assert_eq!(preloadable(path.into()).map_err(|f| f.status), Err(125));
        }
        assert!(preloadable("/a-b/l.so".into()).is_ok());
    }

    #[test]
    fn it_is_sought_beside_the_command_and_in_lib() {
        assert_eq!(
            beside(Path::new("/usr/bin/daxshim")),
            [
                PathBuf::from("/usr/bin/libdaxshim.so"),
                PathBuf::from("/usr/lib/libdaxshim.so"),
                Path::new("/usr").join(MULTIARCH).join(NAME),
                PathBuf::from("/usr/lib64/libdaxshim.so"),
            ]
        );
    }
}
