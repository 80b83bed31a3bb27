//! The two counters of scripts/powercut.d/workloads/race.c: none is behind what its writer has acknowledged.

use super::{Checker, Loss, word};
use crate::file::File;
use crate::trace::LINE;

const WRITERS: usize = 2;
const APART: usize = 1 << 20;

/// Two counters, 1 MiB apart, in the file's last 2 MiB.
pub struct Race {
    places: [usize; WRITERS],
    acknowledged: [u64; WRITERS],
}

impl Race {
    /// Both at 0.
    pub fn new(file: &File) -> Result<Self, String> {
        let start = file
            .size()
            .checked_sub(WRITERS * APART)
            .ok_or("the file has less than 2 MiB")?;
        Ok(Self {
            places: [start, start + APART],
            acknowledged: [0; WRITERS],
        })
    }
}

impl Checker for Race {
    fn changed(&mut self, _: &File, _: u64) {}

    fn acknowledged(&mut self, _: &File, writer: u32, number: u64) -> Result<(), String> {
        let known = self
            .acknowledged
            .get_mut(writer as usize)
            .ok_or_else(|| format!("there is no writer {writer}"))?;
        *known = number;
        Ok(())
    }

    fn lines_of(&self, writer: u32, _: u64) -> Vec<u64> {
        let place = self.places.get(writer as usize);
        place
            .map(|place| (place / LINE) as u64)
            .into_iter()
            .collect()
    }

    fn check(&mut self, file: &File) -> Result<(), Loss> {
        let mut lost = Vec::new();
        let mut lines = Vec::new();
        for (writer, (place, acknowledged)) in self.places.iter().zip(self.acknowledged).enumerate()
        {
            let there = word(file.content(), *place);
            if there < acknowledged {
                lost.push(format!(
                    "writer {writer} acknowledged {acknowledged}, and {there} is there"
                ));
                lines.push((place / LINE) as u64);
            }
        }
        if lines.is_empty() {
            return Ok(());
        }
        Err(Loss {
            what: lost.join("; "),
            lines,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file::Layout;

    #[test]
    fn a_counter_behind_its_acknowledgement_is_lost() {
        let mut layout = Layout::default();
        layout.add(1024, 0, 0);
        let mut file = File::new(layout).expect("a file");
        let mut race = Race::new(&file).expect("a race");
        assert_eq!(race.check(&file), Ok(()));
        race.acknowledged(&file, 1, 3).expect("a writer");
        let line = race.lines_of(1, 3)[0];
        assert_eq!(line, 3 * (1 << 20) / 64);
        assert_eq!(race.check(&file).expect_err("lost").lines, [line]);
        let mut content = [0; 64];
        content[0] = 4;
        file.set_line(line, &content);
        assert_eq!(race.check(&file), Ok(()));
        assert!(race.acknowledged(&file, 2, 1).is_err());
    }
}
