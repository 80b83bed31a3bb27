//! Paths in JSON, which is UTF-8 whatever files are called.

use std::path::{Path, PathBuf};

use serde::Serializer;

/// As it is; bytes that are no UTF-8 as U+FFFD.
///
/// # Errors
/// The serializer's.
pub(in crate::host) fn path<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&path.to_string_lossy())
}

/// As [`path`], or null.
///
/// # Errors
/// The serializer's.
pub(in crate::host) fn optional<S: Serializer>(
    path: &Option<PathBuf>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match path {
        Some(given) => self::path(given, serializer),
        None => serializer.serialize_none(),
    }
}
