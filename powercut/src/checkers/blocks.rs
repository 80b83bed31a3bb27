//! What scripts/powercut.d/workloads/fio.sh writes: blocks, one after the other, each full of its own offset, and synced.

use super::{Checker, Loss, word};
use crate::file::File;
use crate::trace::LINE;

const BLOCK: usize = 4096;
const BLOCK_LINES: u64 = (BLOCK / LINE) as u64;

/// The blocks.
pub struct Blocks {
    acknowledged: u64,
    /// Which lines hold what they must.
    written: Vec<bool>,
}

impl Blocks {
    /// None is written, but the first, as zeros are what it is full of.
    pub fn new(file: &File) -> Self {
        let mut blocks = Self {
            acknowledged: 0,
            written: vec![false; file.size() / LINE],
        };
        for line in 0..blocks.written.len() as u64 {
            blocks.changed(file, line);
        }
        blocks
    }
}

impl Checker for Blocks {
    fn changed(&mut self, file: &File, line: u64) {
        let offset = (line / BLOCK_LINES) * BLOCK as u64;
        let start = line as usize * LINE;
        if let Some(written) = self.written.get_mut(line as usize) {
            *written = (start..start + LINE)
                .step_by(8)
                .all(|at| word(file.content(), at) == offset);
        }
    }

    fn acknowledged(&mut self, _: &File, _: u32, number: u64) -> Result<(), String> {
        self.acknowledged = number;
        Ok(())
    }

    fn lines_of(&self, _: u32, number: u64) -> Vec<u64> {
        let first = number.saturating_sub(1) * BLOCK_LINES;
        (first..first + BLOCK_LINES).collect()
    }

    fn check(&mut self, _: &File) -> Result<(), Loss> {
        let owed = self.acknowledged * BLOCK_LINES;
        let lines: Vec<u64> = (0..owed)
            .zip(&self.written)
            .filter(|(_, written)| !**written)
            .map(|(line, _)| line)
            .collect();
        let Some(first) = lines.first() else {
            return Ok(());
        };
        Err(Loss {
            what: format!(
                "{} lines are not there, the first in block {} of {} that were synced",
                lines.len(),
                first / BLOCK_LINES,
                self.acknowledged
            ),
            lines,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file::Layout;

    #[test]
    fn every_line_of_a_block_that_was_synced_is_there() {
        let mut layout = Layout::default();
        layout.add(4, 0, 0);
        let mut file = File::new(layout).expect("a file");
        let mut blocks = Blocks::new(&file);
        blocks.acknowledged(&file, 0, 1).expect("a number");
        assert_eq!(blocks.check(&file), Ok(()));
        blocks.acknowledged(&file, 0, 2).expect("a number");
        let line: Vec<u8> = (0..8).flat_map(|_| 4096u64.to_le_bytes()).collect();
        for number in blocks.lines_of(0, 2) {
            assert!(blocks.check(&file).is_err());
            file.set_line(number, &line);
            blocks.changed(&file, number);
        }
        assert_eq!(blocks.check(&file), Ok(()));
        file.set_line(100, &[1; 64]);
        blocks.changed(&file, 100);
        assert_eq!(blocks.check(&file).expect_err("lost").lines, [100]);
    }
}
