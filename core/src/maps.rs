//! Lines of /proc/PID/maps and /proc/PID/smaps, proc_pid_maps(5) and proc_pid_smaps(5).

#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic
    )
)]

use core::ops::ControlFlow;

/// The line that begins a mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapping<'a> {
    /// First address.
    pub start: usize,
    /// First address behind it.
    pub end: usize,
    /// `rwxs`, `rwxp`, with `-` for what is not allowed.
    pub permissions: [u8; 4],
    /// Where in the file it begins, bytes.
    pub offset: u64,
    /// Device, as `st_dev` encodes it; on btrfs and overlayfs not the one that stat(2) gives.
    pub device: u64,
    /// `st_ino`; 0 where no file is mapped.
    pub inode: u64,
    /// The file's path when it was mapped, or since it was renamed; newlines as `\012`, and with
    /// ` (deleted)` behind it where it is no more. For other mappings a name like `[heap]`, or
    /// nothing.
    pub path: &'a [u8],
}

impl<'a> Mapping<'a> {
    /// `None`: not such a line.
    #[must_use]
    pub fn parse(line: &'a [u8]) -> Option<Mapping<'a>> {
        let mut fields = line.splitn(6, |&byte| byte == b' ');
        let range = core::str::from_utf8(fields.next()?).ok()?;
        let (start, end) = range.split_once('-')?;
        let permissions = fields.next()?.try_into().ok()?;
        let offset = core::str::from_utf8(fields.next()?).ok()?;
        let device = core::str::from_utf8(fields.next()?).ok()?;
        let (major, minor) = device.split_once(':')?;
        let inode = core::str::from_utf8(fields.next()?).ok()?;
        Some(Mapping {
            start: usize::from_str_radix(start, 16).ok()?,
            end: usize::from_str_radix(end, 16).ok()?,
            permissions,
            offset: u64::from_str_radix(offset, 16).ok()?,
            device: rustix::fs::makedev(
                u32::from_str_radix(major, 16).ok()?,
                u32::from_str_radix(minor, 16).ok()?,
            ),
            inode: inode.parse().ok()?,
            path: fields.next().unwrap_or_default().trim_ascii_start(),
        })
    }

    /// Whether stores reach the file.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.permissions.ends_with(b"s")
    }

    /// Whether it is code.
    #[must_use]
    pub fn is_executable(&self) -> bool {
        self.permissions.contains(&b'x')
    }

    /// Whether stores to it go to a file, through the page cache: if it is of no file on DAX, which only
    /// the caller knows. Memory that is merely shared is no file's, and device DAX has no cache.
    #[must_use]
    pub fn is_cached_file(&self) -> bool {
        const OTHERS: [&[u8]; 4] = [b"/dev/zero", b"/dev/dax", b"/memfd:", b"/SYSV"];
        let is_other = OTHERS.iter().any(|name| self.path.starts_with(name));
        self.is_shared() && self.path.starts_with(b"/") && !is_other
    }
}

/// Calls `visit` with each mapping, until it breaks off. `read` is handed part of `text`, fills it from its start
/// with what comes next of the file, and returns how many bytes that are. A path that `text` (1 KiB or more) has no
/// room for is cut.
pub fn each(
    text: &mut [u8],
    mut read: impl FnMut(&mut [u8]) -> usize,
    mut visit: impl FnMut(&Mapping<'_>) -> ControlFlow<()>,
) {
    let (mut filled, mut is_rest_of_cut) = (0, false);
    while let Some(free) = text.get_mut(filled..) {
        let count = read(free);
        if count == 0 {
            return;
        }
        filled += count;
        let is_full = filled == text.len();
        let known = text.get(..filled).unwrap_or(&[]);
        let mut line_start = 0;
        for line in known.split_inclusive(|&byte| byte == b'\n') {
            let is_whole = line.ends_with(b"\n");
            if !is_whole && (line_start > 0 || !is_full) {
                break;
            }
            line_start += line.len();
            let is_rest = core::mem::replace(&mut is_rest_of_cut, !is_whole);
            let mapping = Mapping::parse(line.strip_suffix(b"\n").unwrap_or(line));
            if !is_rest && mapping.is_some_and(|mapping| visit(&mapping).is_break()) {
                return;
            }
        }
        text.copy_within(line_start..filled, 0);
        filled -= line_start;
    }
}

/// A line of smaps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line<'a> {
    /// It begins a mapping; the lines that follow are about it.
    Mapping(Mapping<'a>),
    /// `KernelPageSize`, bytes: what the kernel maps it with at most, but for what it puts together
    /// by itself (transparent huge pages, fs-DAX).
    PageSize(u64),
    /// `VmFlags`, the last line of a mapping: whether `sf` is there, the kernel granted MAP_SYNC.
    Sync(bool),
    /// Any other.
    Other,
}

impl<'a> Line<'a> {
    /// Reads one line, without its newline.
    #[must_use]
    pub fn parse(line: &'a [u8]) -> Line<'a> {
        if let Some(flags) = line.strip_prefix(b"VmFlags:") {
            return Line::Sync(flags.split(|&byte| byte == b' ').any(|flag| flag == b"sf"));
        }
        if let Some(size) = line.strip_prefix(b"KernelPageSize:") {
            let kibibytes = size.trim_ascii().strip_suffix(b" kB");
            let kibibytes = kibibytes.and_then(|size| core::str::from_utf8(size).ok());
            return match kibibytes.and_then(|size| size.parse::<u64>().ok()) {
                Some(kibibytes) => Line::PageSize(kibibytes << 10),
                None => Line::Other,
            };
        }
        Mapping::parse(line).map_or(Line::Other, Line::Mapping)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_maps_is_read() {
        let text = b"7f00-7f10 rw-s 00001000 fe:10 4711                     /a b (deleted)";
        let mapping = Mapping::parse(text).unwrap();
        assert_eq!((mapping.start, mapping.end), (0x7f00, 0x7f10));
        assert_eq!(mapping.offset, 4096);
        assert_eq!(mapping.device, rustix::fs::makedev(0xfe, 0x10));
        assert_eq!(mapping.inode, 4711);
        assert_eq!(mapping.path, b"/a b (deleted)");
        assert!(mapping.is_shared());
        let anonymous = Mapping::parse(b"7f00-7f10 rw-p 00000000 00:00 0 ").unwrap();
        assert_eq!(
            (anonymous.inode, anonymous.path, anonymous.is_shared()),
            (0, &b""[..], false)
        );
        for bad in [
            &b""[..],
            b"garbage",
            b"7f00-7f10 rw-s 0 fe:10",
            b"Rss: 4 kB",
        ] {
            assert_eq!(Mapping::parse(bad), None);
        }
    }

    /// What [`each`] finds, handed `piece` bytes at a time, with room for so many.
    fn all(text: &str, piece: usize, room: usize) -> Vec<(usize, Vec<u8>)> {
        let (mut text, mut room) = (text.as_bytes(), vec![0; room]);
        let mut found = Vec::new();
        let read = |into: &mut [u8]| {
            let count = piece.min(into.len()).min(text.len());
            into[..count].copy_from_slice(&text[..count]);
            text = &text[count..];
            count
        };
        each(&mut room, read, |mapping| {
            found.push((mapping.start, mapping.path.to_vec()));
            ControlFlow::Continue(())
        });
        found
    }

    #[test]
    fn each_line_is_read_whole_however_it_comes() {
        let text = "1-2 r-xp 0 0:0 1 /usr/bin/a b\n\
                    2-3 rw-p 0 0:0 0 \n\
                    3-4 r--s 2f 0:1b 77 /dev/shm/x (deleted)\n";
        let expected = [
            (1, b"/usr/bin/a b".to_vec()),
            (2, Vec::new()),
            (3, b"/dev/shm/x (deleted)".to_vec()),
        ];
        for piece in [1, 2, 3, 7, 40, 1000] {
            for room in [42, 64, 1000] {
                assert_eq!(all(text, piece, room), expected, "{piece} of {room}");
            }
        }
    }

    #[test]
    fn a_path_without_room_is_cut_and_its_rest_passed_over() {
        let rest = " 8-9 r-xp 0 0:0 1 /no".repeat(50);
        let text = format!("1-2 r-xp 0 0:0 1 /{rest}\n2-3 r-xp 0 0:0 1 /b\n");
        for piece in [1, 5, 1000] {
            let found = all(&text, piece, 100);
            assert_eq!(found.len(), 2, "{found:?}");
            assert_eq!((found[0].0, found[0].1.len()), (1, 100 - 17));
            assert_eq!(found[1], (2, b"/b".to_vec()));
        }
    }

    #[test]
    fn breaking_off_ends_it() {
        let (mut lines, mut seen) = (b"1-2 r-xp 0 0:0 1 /a\n2-3 r-xp 0 0:0 1 /b\n".as_slice(), 0);
        let read = |into: &mut [u8]| std::io::Read::read(&mut lines, into).unwrap();
        each(&mut [0; 64], read, |_| {
            seen += 1;
            ControlFlow::Break(())
        });
        assert_eq!(seen, 1);
    }

    #[test]
    fn what_a_flush_cannot_make_durable_is_told() {
        let is = |line: &str| Mapping::parse(line.as_bytes()).unwrap().is_cached_file();
        assert!(is("1-2 rw-s 0 0:0 1 /data"));
        assert!(!is("1-2 rw-p 0 0:0 1 /data"));
        assert!(!is("1-2 rw-s 0 0:0 1 /dev/dax0.0"));
        assert!(!is("1-2 rw-s 0 0:0 1 /dev/zero (deleted)"));
        assert!(!is("1-2 rw-p 0 0:0 0 [heap]"));
    }

    #[test]
    fn the_lines_of_smaps_that_matter_are_told_from_the_others() {
        assert_eq!(Line::parse(b"VmFlags: rd wr sh sf "), Line::Sync(true));
        assert_eq!(Line::parse(b"VmFlags: rd wr sh sfx"), Line::Sync(false));
        assert_eq!(
            Line::parse(b"KernelPageSize:     2048 kB"),
            Line::PageSize(2 << 20)
        );
        assert_eq!(Line::parse(b"KernelPageSize: many"), Line::Other);
        assert_eq!(Line::parse(b"Rss:                4 kB"), Line::Other);
    }
}
