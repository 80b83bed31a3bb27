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
