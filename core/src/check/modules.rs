//! Lines of /proc/PID/maps, a byte at a time: no buffer is needed but the one for the path.

use crate::report::PATH_LEN;

/// A mapping of a file.
#[derive(Clone, Copy, Debug)]
pub struct Mapping {
    /// First address.
    pub start: u64,
    /// First address behind it.
    pub end: u64,
    /// Offset in the file, bytes.
    pub offset: u64,
    /// Whether it is code.
    pub executable: bool,
    /// Whether it is shared.
    pub shared: bool,
    /// `st_ino` of the file; 0 where there is none.
    pub inode: u64,
    path: [u8; PATH_LEN],
    path_len: usize,
}

impl Mapping {
    const NONE: Mapping = Mapping {
        start: 0,
        end: 0,
        offset: 0,
        executable: false,
        shared: false,
        inode: 0,
        path: [0; PATH_LEN],
        path_len: 0,
    };

    /// The path; cut off where it is too long, empty where there is none.
    #[must_use]
    pub fn path(&self) -> &[u8] {
        self.path.get(..self.path_len).unwrap_or(&[])
    }

    /// Whether stores to it go to a file, through the page cache: if it is of no file on DAX, which only
    /// the caller knows. Memory that is merely shared is no file's, and device DAX has no cache.
    #[must_use]
    pub fn is_cached_file(&self) -> bool {
        const OTHERS: [&[u8]; 4] = [b"/dev/zero", b"/dev/dax", b"/memfd:", b"/SYSV"];
        let is_other = OTHERS.iter().any(|name| self.path().starts_with(name));
        self.shared && self.path().starts_with(b"/") && !is_other
    }
}

/// Reads lines.
pub struct Parser {
    line: Mapping,
    /// Field of the line: start, end, permissions, offset, device, inode, path.
    field: usize,
    /// Bytes of the field.
    position: usize,
}

impl Default for Parser {
    fn default() -> Self {
        Self::new()
    }
}

impl Parser {
    /// At the beginning of a line.
    #[must_use]
    pub const fn new() -> Parser {
        Parser {
            line: Mapping::NONE,
            field: 0,
            position: 0,
        }
    }

    /// Takes a byte; at the end of a line that is what the line says.
    pub fn push(&mut self, byte: u8) -> Option<Mapping> {
        let hexadecimal = |value: u64| {
            let digit = (byte as char).to_digit(16).unwrap_or(0);
            value << 4 | u64::from(digit)
        };
        match (self.field, byte) {
            (_, b'\n') => {
                let line = self.line;
                *self = Parser::new();
                return Some(line);
            }
            (0, b'-') | (1..=5, b' ') => {
                self.field += 1;
                self.position = 0;
                return None;
            }
            (0, _) => self.line.start = hexadecimal(self.line.start),
            (1, _) => self.line.end = hexadecimal(self.line.end),
            (2, b'x') => self.line.executable = true,
            (2, b's') => self.line.shared = true,
            (3, _) => self.line.offset = hexadecimal(self.line.offset),
            (5, b'0'..=b'9') => {
                let digit = u64::from(byte - b'0');
                self.line.inode = self.line.inode.wrapping_mul(10).wrapping_add(digit);
            }
            // Blanks before the path.
            (6, b' ') if self.line.path_len == 0 => {}
            (6, _) => {
                if let Some(place) = self.line.path.get_mut(self.line.path_len) {
                    *place = byte;
                    self.line.path_len += 1;
                }
            }
            _ => {}
        }
        self.position += 1;
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_whole() {
        let text = "55d0c000-55d0d000 r-xp 00001000 fe:01 1234       /usr/bin/a b\n\
                    7ffd0000-7ffd1000 rw-p 00000000 00:00 0 \n\
                    7f00-7f01 r--s 2f 00:1b 77 /dev/shm/x (deleted)\n";
        let mut parser = Parser::new();
        let lines: Vec<Mapping> = text.bytes().filter_map(|b| parser.push(b)).collect();
        let [code, stack, data] = lines.as_slice() else {
            panic!("{} lines", lines.len())
        };
        assert_eq!(
            (code.start, code.end, code.offset),
            (0x55d0_c000, 0x55d0_d000, 0x1000)
        );
        assert!(code.executable && !stack.executable && !data.executable);
        assert!(data.shared && !code.shared && !stack.shared);
        assert_eq!((code.inode, stack.inode, data.inode), (1234, 0, 77));
        assert_eq!(code.path(), b"/usr/bin/a b");
        assert_eq!(stack.path(), b"");
        assert_eq!(
            (data.offset, data.path()),
            (0x2f, &b"/dev/shm/x (deleted)"[..])
        );
    }

    #[test]
    fn what_a_flush_cannot_make_durable_is_told() {
        let is = |line: &str| {
            let mut parser = Parser::new();
            let read = line.bytes().find_map(|byte| parser.push(byte)).unwrap();
            read.is_cached_file()
        };
        assert!(is("1-2 rw-s 0 0:0 1 /data\n"));
        assert!(!is("1-2 rw-p 0 0:0 1 /data\n"));
        assert!(!is("1-2 rw-s 0 0:0 1 /dev/dax0.0\n"));
        assert!(!is("1-2 rw-s 0 0:0 1 /dev/zero (deleted)\n"));
        assert!(!is("1-2 rw-p 0 0:0 0 [heap]\n"));
    }

    #[test]
    fn a_long_path_is_cut() {
        let mut parser = Parser::new();
        let line = format!("1-2 r-xp 0 0:0 1 /{}\n", "x".repeat(1000));
        let read = line.bytes().find_map(|b| parser.push(b)).unwrap();
        assert_eq!(read.path().len(), PATH_LEN);
        assert_eq!(parser.push(b'\n').unwrap().path(), b"");
    }
}
