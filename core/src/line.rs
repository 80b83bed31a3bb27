//! A line of text on the stack, for places that must not allocate.
//!
//! Not `arrayvec`'s: what is wanted besides its `push` are C strings, and the path of a descriptor without the formatter.

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

    /// `/proc/thread-self/fd/N` (a thread may have descriptors of its own), then `after`, and a NUL. `None` if it does not fit, or is no descriptor. Not by the
    /// formatter, which takes half a kibibyte of stack.
    pub fn descriptor(&mut self, fd: i32, after: &str) -> Option<&CStr> {
        // Those of a u32.
        const DIGITS: usize = 10;
        let mut number = u32::try_from(fd).ok()?;
        let mut digits = [0; DIGITS];
        let mut count = 0;
        for digit in digits.iter_mut().rev() {
            *digit = b'0' + (number % 10) as u8;
            number /= 10;
            count += 1;
            if number == 0 {
                break;
            }
        }
        self.len = 0;
        self.push(b"/proc/thread-self/fd/")?;
        self.push(digits.get(DIGITS - count..)?)?;
        self.push(after.as_bytes())?;
        self.push(&[0])?;
        CStr::from_bytes_until_nul(self.as_bytes()).ok()
    }

    fn push(&mut self, bytes: &[u8]) -> Option<()> {
        let end = self.len.checked_add(bytes.len())?;
        self.bytes.get_mut(self.len..end)?.copy_from_slice(bytes);
        self.len = end;
        Some(())
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
        self.push(s.as_bytes()).ok_or(fmt::Error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_are_written_in_full() {
        let mut line = Line::<33>::new();
        for (fd, expected) in [
            (0, Some(c"/proc/thread-self/fd/0/")),
            (1090, Some(c"/proc/thread-self/fd/1090/")),
            (i32::MAX, Some(c"/proc/thread-self/fd/2147483647/")),
            (-1, None),
        ] {
            assert_eq!(line.descriptor(fd, "/"), expected);
        }
        assert_eq!(line.descriptor(i32::MAX, "/x"), None);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let mut line = Line::<5>::new();
        assert_eq!(line.c_str(format_args!("{}", 1234)), Some(c"1234"));
        assert_eq!(line.c_str(format_args!("{}", 12345)), None);
    }
}
