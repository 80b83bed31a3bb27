//! What a dynamic loader says of itself: whether it can load the library.

/// What the loader of each glibc defines that can load the library, and no other C library's does. The library
/// itself refers to nothing newer than glibc 2.17 has (a test holds it to that), whose loader defines no name that
/// those before it did not; of these, none is left that runs on a kernel with DAX.
pub const NEEDED: &[u8] = if cfg!(target_arch = "aarch64") {
    b"GLIBC_2.17"
} else {
    b"GLIBC_2.4"
};

/// Bytes of a loader's file in which the names of the versions it defines are: .dynstr stands in front.
pub const BEGINNING: usize = 8 << 10;

/// Whether the loader whose file begins so is of a glibc that is new enough. Others define other names, or none.
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
        let with = |before: &[u8], after: &[u8]| can_load(&[before, NEEDED, after].concat());
        assert!(with(b"\x7fELF\0GLIBC_2.3\0", b"\0GLIBC_PRIVATE"));
        assert!(!with(b"GLIBC_2.3\0", b"0") && !with(b"\0X", b"\0"));
        assert!(!can_load(b"GLIBC_2.3\0GLIBC_PRIVATE"));
    }

    #[test]
    fn this_loader_can() {
        let loader = std::fs::read("/lib64/ld-linux-x86-64.so.2");
        if let Ok(bytes) = loader {
            assert!(can_load(&bytes[..BEGINNING]));
        }
    }
}
