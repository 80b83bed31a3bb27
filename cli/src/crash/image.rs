//! Files as a power cut would leave them: copies that share blocks or leave holes where they can.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use daxshim_core::check::journal::WORDS;
use daxshim_core::check::lines::LINE;
use daxshim_core::host::journal::Line;

use crate::copy::copy_sparsely;

/// Bytes that are written at once.
const RUN: usize = 1 << 20;

/// What is durable of a file, or an image of it.
#[derive(Debug)]
pub struct Base {
    file: File,
    size: u64,
}

impl Base {
    /// A new one, all zeros, which take no room.
    pub fn create(path: &Path, size: u64) -> io::Result<Base> {
        let file = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(path)?;
        file.set_len(size)?;
        Ok(Base { file, size })
    }

    /// A copy of it, in place of whatever content a file has: half the price of a new one. The file
    /// must be a regular one, of which this is the only name.
    pub fn copy_over(&self, path: &Path) -> io::Result<Base> {
        let file = File::options()
            .read(true)
            .write(true)
            .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
            .open(path)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() || metadata.nlink() != 1 {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        file.set_len(self.size)?;
        copy_sparsely(&self.file, &file, self.size)?;
        Ok(Base {
            file,
            size: self.size,
        })
    }

    /// A copy of it.
    pub fn copy(&self, path: &Path) -> io::Result<Base> {
        let copy = Base::create(path, self.size)?;
        copy_sparsely(&self.file, &copy.file, self.size)?;
        Ok(copy)
    }

    /// Its file.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// A line of it; zeros behind the end.
    pub fn line(&self, at: u64) -> io::Result<[u64; WORDS]> {
        let mut bytes = [0; LINE];
        let room = bytes.get_mut(..self.room(at)).unwrap_or_default();
        self.file.read_exact_at(room, at)?;
        let mut words = [0; WORDS];
        for (word, bytes) in words.iter_mut().zip(bytes.as_chunks().0) {
            *word = u64::from_ne_bytes(*bytes);
        }
        Ok(words)
    }

    /// Writes a line, but nothing behind the end.
    pub fn write(&self, (at, words): Line) -> io::Result<()> {
        let mut bytes = [0; LINE];
        for (bytes, word) in bytes.as_chunks_mut().0.iter_mut().zip(words) {
            *bytes = word.to_ne_bytes();
        }
        let bytes = bytes.get(..self.room(at)).unwrap_or_default();
        self.file.write_all_at(bytes, at)
    }

    /// Writes lines in order of offsets, those that follow each other at once.
    pub fn write_all(&self, lines: impl IntoIterator<Item = Line>) -> io::Result<()> {
        let mut run = Vec::with_capacity(RUN);
        let mut start = 0;
        for (at, words) in lines {
            if at != start + run.len() as u64 || run.len() >= RUN {
                self.write_run(start, &run)?;
                run.clear();
                start = at;
            }
            run.extend(words.iter().flat_map(|word| word.to_ne_bytes()));
        }
        self.write_run(start, &run)
    }

    fn write_run(&self, start: u64, bytes: &[u8]) -> io::Result<()> {
        let room = self.size.saturating_sub(start).min(bytes.len() as u64);
        let bytes = bytes.get(..room as usize).unwrap_or_default();
        self.file.write_all_at(bytes, start)
    }

    fn room(&self, at: u64) -> usize {
        self.size.saturating_sub(at).min(LINE as u64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_used_file_becomes_a_copy() {
        let directory = tempfile::tempdir_in("/dev/shm").unwrap();
        let at = |name: &str| directory.path().join(name);
        let base = Base::create(&at("base"), 1 << 20).unwrap();
        base.write((500 << 10, [1; WORDS])).unwrap();
        for length in [0, 100, 1 << 20, 5 << 20] {
            std::fs::write(at("used"), vec![9; length]).unwrap();
            base.copy_over(&at("used")).unwrap();
            let used = std::fs::read(at("used")).unwrap();
            assert!(used == std::fs::read(at("base")).unwrap(), "{length}");
        }
        // Not what other names lead to.
        std::fs::hard_link(at("used"), at("linked")).unwrap();
        std::os::unix::fs::symlink("base", at("symlink")).unwrap();
        assert!(base.copy_over(&at("linked")).is_err());
        assert!(base.copy_over(&at("symlink")).is_err());
        assert!(base.copy_over(&at("none")).is_err());
    }

    #[test]
    fn lines_are_written_where_they_belong() {
        let directory = tempfile::tempdir().unwrap();
        let size = 4 * RUN as u64 + 100;
        let base = Base::create(&directory.path().join("base"), size).unwrap();
        // Runs longer than are written at once, with a gap, to behind the end.
        let all = (0..size).step_by(LINE);
        let lines: Vec<Line> = all.map(|at| (at, [at | 1; WORDS])).collect();
        let is_written = |line: &Line| line.0 < 64 || line.0 > 4096;
        base.write_all(lines.iter().copied().filter(is_written))
            .unwrap();
        assert_eq!(base.file.metadata().unwrap().len(), size);
        for line in &lines[..lines.len() - 1] {
            let expected = if is_written(line) { line.1 } else { [0; WORDS] };
            assert_eq!(base.line(line.0).unwrap(), expected, "{}", line.0);
        }
    }

    #[test]
    fn a_copy_has_the_content_and_the_holes() {
        for directory in ["/dev/shm", std::env::temp_dir().to_str().unwrap()] {
            let directory = tempfile::tempdir_in(directory).unwrap();
            let at = |name: &str| directory.path().join(name);
            let size = (8 << 20) + 100;
            let base = Base::create(&at("base"), size).unwrap();
            let lines = [
                (0, [1; WORDS]),
                (4 << 20, [2; WORDS]),
                (8 << 20, [3; WORDS]),
            ];
            // The last is cut at the end of the file.
            let last = ((8 << 20) + 64, [4; WORDS]);
            for line in lines.into_iter().chain([last]) {
                base.write(line).unwrap();
            }
            let copy = base.copy(&at("copy")).unwrap();
            assert_eq!(copy.file.metadata().unwrap().len(), size);
            for line in lines {
                assert_eq!(copy.line(line.0).unwrap(), line.1);
            }
            let tail = u64::from_ne_bytes([4, 0, 0, 0, 0, 0, 0, 0]);
            assert_eq!(copy.line(last.0).unwrap()[..4], [4; 4]);
            assert_eq!(copy.line(last.0).unwrap()[5..], [0; 3]);
            assert!(copy.line(last.0).unwrap()[4] & 0xff == tail & 0xff);
            assert!(copy.file.metadata().unwrap().blocks() * 512 < size / 2);
            assert_eq!(
                std::fs::read(at("base")).unwrap(),
                std::fs::read(at("copy")).unwrap()
            );
        }
    }
}
