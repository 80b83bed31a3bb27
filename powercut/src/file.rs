//! The file in the image: what its lines hold, in a file of its own that databases can open.

use std::os::fd::{AsRawFd, OwnedFd};

use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

use crate::trace::{LINE, PAGE_LINES};

/// A part of the file that lies in one piece, in lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Extent {
    device: u64,
    file: u64,
    lines: u64,
}

/// The file. Its blocks stay where they are: it is tagged.
pub struct File {
    memory: OwnedFd,
    start: *mut u8,
    size: usize,
    /// In the order of the device.
    extents: Vec<Extent>,
    /// Of all lines together: the same content, the same number.
    digest: u64,
}

/// Extents, as a trace names them, before the file can be made.
#[derive(Default)]
pub struct Layout(Vec<Extent>);

impl Layout {
    /// One more.
    pub fn add(&mut self, pages: u32, device_page: u32, file_page: u32) {
        self.0.push(Extent {
            device: u64::from(device_page) * PAGE_LINES,
            file: u64::from(file_page) * PAGE_LINES,
            lines: u64::from(pages) * PAGE_LINES,
        });
    }

    /// Whether the workload has said nothing yet.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl File {
    /// A file of zeros with this layout.
    pub fn new(layout: Layout) -> std::io::Result<Self> {
        let mut extents = layout.0;
        extents.sort_unstable_by_key(|extent| extent.device);
        let lines = extents
            .iter()
            .map(|extent| extent.file + extent.lines)
            .max();
        let size = lines.unwrap_or(0).max(PAGE_LINES) as usize * LINE;
        let memory = memfd_create("powercut", MemfdFlags::CLOEXEC)?;
        ftruncate(&memory, size as u64)?;
        // SAFETY: a new mapping, where the kernel wants it.
        let start = unsafe {
            mmap(
                std::ptr::null_mut(),
                size,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::SHARED,
                &memory,
                0,
            )
        }?;
        Ok(Self {
            memory,
            start: start.cast(),
            size,
            extents,
            digest: 0,
        })
    }

    /// What it holds.
    pub fn content(&self) -> &[u8] {
        // SAFETY: the mapping is that long and lives as long as this. Who opens the file by its path
        // does not write to it (see `path`).
        unsafe { std::slice::from_raw_parts(self.start, self.size) }
    }

    /// A name under which this process can open it: to be read only.
    pub fn path(&self) -> String {
        format!("/proc/self/fd/{}", self.memory.as_raw_fd())
    }

    /// A number for what it holds.
    pub fn digest(&self) -> u64 {
        self.digest
    }

    /// The line of the file that a line of the device is.
    pub fn line_at(&self, device_line: u32) -> Option<u64> {
        let line = u64::from(device_line);
        let after = self.extents.partition_point(|extent| extent.device <= line);
        let extent = self.extents.get(after.checked_sub(1)?)?;
        (line - extent.device < extent.lines).then(|| extent.file + (line - extent.device))
    }

    /// The other way round.
    pub fn device_line(&self, file_line: u64) -> Option<u64> {
        let extent = self
            .extents
            .iter()
            .find(|extent| file_line.wrapping_sub(extent.file) < extent.lines)?;
        Some(extent.device + (file_line - extent.file))
    }

    /// The lines of the file that lines of the device are, piece by piece: first and last.
    pub fn lines_within(&self, first: u32, last: u32) -> Vec<(u64, u64)> {
        let (first, last) = (u64::from(first), u64::from(last));
        let mut pieces = Vec::new();
        for extent in &self.extents {
            let start = first.max(extent.device);
            let end = last.min(extent.device + extent.lines - 1);
            if start <= end {
                let to_file = |line: u64| extent.file + (line - extent.device);
                pieces.push((to_file(start), to_file(end)));
            }
        }
        pieces
    }

    /// What a line holds.
    pub fn line(&self, line: u64) -> &[u8] {
        let start = line as usize * LINE;
        &self.content()[start..start + LINE]
    }

    /// Writes a line of it.
    pub fn set_line(&mut self, line: u64, content: &[u8]) {
        self.digest ^= mixed(line, self.line(line)) ^ mixed(line, content);
        let start = line as usize * LINE;
        assert!(start + LINE <= self.size && content.len() == LINE);
        // SAFETY: within the mapping, as was just checked; nobody holds a reference into it, as `self` is
        // borrowed mutably.
        unsafe {
            std::ptr::copy_nonoverlapping(content.as_ptr(), self.start.add(start), LINE);
        }
    }

    /// Bytes of it.
    pub fn size(&self) -> usize {
        self.size
    }
}

impl Drop for File {
    fn drop(&mut self) {
        // SAFETY: the mapping that `new` made, of which no reference outlives `self`.
        let _ = unsafe { munmap(self.start.cast(), self.size) };
    }
}

/// A number for a line's content: 0 where that is zero, as all lines are first.
fn mixed(line: u64, content: &[u8]) -> u64 {
    if content.iter().all(|byte| *byte == 0) {
        return 0;
    }
    let mut hash = line ^ 0x51_7c_c1_b7_27_22_0a_95;
    for word in content.chunks_exact(8) {
        let word = word.try_into().map(u64::from_le_bytes).unwrap_or(0);
        hash = (hash.rotate_left(5) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
    hash ^ hash >> 29
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::PAGE;

    fn of_two_extents() -> File {
        let mut layout = Layout::default();
        layout.add(2, 100, 1);
        layout.add(1, 50, 0);
        File::new(layout).expect("a file")
    }

    #[test]
    fn lines_are_found_both_ways() {
        let file = of_two_extents();
        assert_eq!(file.size(), 3 * PAGE);
        assert_eq!(file.line_at(50 * 64), Some(0));
        assert_eq!(file.line_at(51 * 64), None);
        assert_eq!(file.line_at(101 * 64 + 3), Some(2 * 64 + 3));
        assert_eq!(file.line_at(102 * 64), None);
        assert_eq!(file.line_at(0), None);
        assert_eq!(file.device_line(2 * 64 + 3), Some(101 * 64 + 3));
        assert_eq!(file.device_line(3 * 64), None);
        assert_eq!(
            file.lines_within(50 * 64 + 60, 100 * 64 + 1),
            [(60, 63), (64, 65)]
        );
    }

    #[test]
    fn the_same_content_has_the_same_digest() {
        let mut file = of_two_extents();
        let before = file.digest();
        file.set_line(3, &[7; 64]);
        let with_one = file.digest();
        file.set_line(4, &[7; 64]);
        assert_ne!(file.digest(), with_one);
        file.set_line(4, &[0; 64]);
        assert_eq!(file.digest(), with_one);
        file.set_line(3, &[0; 64]);
        assert_eq!(file.digest(), before);
        assert_ne!(before, with_one);
    }

    #[test]
    fn others_see_what_it_holds() {
        let mut file = of_two_extents();
        file.set_line(1, &[9; 64]);
        let read = std::fs::read(file.path()).expect("content");
        assert_eq!(read, file.content());
        assert_eq!(read[64], 9);
    }
}
