//! What a dynamic loader says of itself: whether it can load the library.

/// The newest version of glibc's symbols that the library needs (a test holds it to that). From there on,
/// each glibc's loader defines this name itself, so that what was linked against it is refused by older ones.
pub const NEEDED: &[u8] = b"GLIBC_2.34";

/// Bytes of a loader's file in which the names of the versions it defines are: .dynstr stands in front.
pub const BEGINNING: usize = 8 << 10;

/// Whether the loader whose file begins so is of a glibc that is new enough. Others define other names, or
/// none.
#[must_use]
pub fn can_load(beginning: &[u8]) -> bool {
    let mut names = beginning.split(|&byte| byte == 0);
    names.any(|name| name == NEEDED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_name_counts() {
        assert!(can_load(b"\x7fELF\0GLIBC_2.4\0GLIBC_2.34\0GLIBC_PRIVATE"));
        for other in [&b""[..], b"GLIBC_2.3\0GLIBC_2.340", b"\0XGLIBC_2.34\0"] {
            assert!(!can_load(other));
        }
    }

    #[test]
    fn this_loader_can() {
        let loader = std::fs::read("/lib64/ld-linux-x86-64.so.2");
        if let Ok(bytes) = loader {
            assert!(can_load(&bytes[..BEGINNING]));
        }
    }
}
