//! A line of text on the stack, for places that must not allocate.

use core::ffi::CStr;
use core::fmt;

/// Up to `N` bytes; what does not fit is an error to the formatter and is left out.
#[derive(Clone, Copy)]
pub struct Line<const N: usize> {
    bytes: [u8; N],
    len: usize,
}

impl<const N: usize> Default for Line<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize> Line<N> {
    /// Nothing yet.
    #[must_use]
    pub const fn new() -> Line<N> {
        Line {
            bytes: [0; N],
            len: 0,
        }
    }

    /// What was written.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or(&[])
    }

    /// Formats `text` and a NUL. `None` if it does not fit.
    pub fn c_str(&mut self, text: fmt::Arguments<'_>) -> Option<&CStr> {
        self.len = 0;
        fmt::write(self, text).ok()?;
        fmt::Write::write_char(self, '\0').ok()?;
        CStr::from_bytes_until_nul(self.as_bytes()).ok()
    }
}

impl<const N: usize> fmt::Write for Line<N> {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        let end = self.len.checked_add(s.len()).ok_or(fmt::Error)?;
        self.bytes
            .get_mut(self.len..end)
            .ok_or(fmt::Error)?
            .copy_from_slice(s.as_bytes());
        self.len = end;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_refused() {
        let mut line = Line::<5>::new();
        assert_eq!(line.c_str(format_args!("{}", 1234)), Some(c"1234"));
        assert_eq!(line.c_str(format_args!("{}", 12345)), None);
    }
}
