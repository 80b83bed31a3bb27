//! Who was the last to have lines mapped, and let go of them: after that, nobody could sync them.

use daxshim_core::check::Code;
use daxshim_core::check::log::Ending;
use daxshim_core::host::check::{LogEntry, ProcessLog};

/// A process, and its munmap (or the like); without, its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LetGo {
    /// Which of the processes.
    pub process: usize,
    /// Which of its entries.
    pub entry: Option<usize>,
}

/// The last to let go of a range of a file. Where nobody is known to have held it, the last process that
/// used the file at all.
pub fn last(processes: &[ProcessLog], file: (u64, u64), range: (u64, u64)) -> Option<LetGo> {
    let overlaps = |(start, end): (u64, u64)| start < range.1 && range.0 < end;
    let of = |(number, process): (usize, &ProcessLog)| {
        let used = process.files.iter().find(|used| used.file == file)?;
        let unmapped = last_unmap(process, file, overlaps);
        let time = match unmapped {
            Some((_, entry)) => entry.time,
            None => end(processes, process),
        };
        let held = unmapped.is_some() || overlaps(used.held);
        let entry = unmapped.map(|(entry, _)| entry);
        let let_go = LetGo {
            process: number,
            entry,
        };
        Some(((held, time), let_go))
    };
    let all = processes.iter().enumerate().filter_map(of);
    all.max_by_key(|&(when, _)| when).map(|(_, let_go)| let_go)
}

fn last_unmap(
    process: &ProcessLog,
    file: (u64, u64),
    overlaps: impl Fn((u64, u64)) -> bool,
) -> Option<(usize, &LogEntry)> {
    let entries = process.entries.iter().enumerate();
    entries
        .filter(|(_, entry)| matches!(entry.code, Code::Unmapped | Code::MappedOver))
        .filter(|(_, entry)| entry.file == file && overlaps(entry.range))
        .max_by_key(|(_, entry)| entry.time)
}

/// The next image of the process: what it executed.
pub fn successor<'a>(processes: &'a [ProcessLog], process: &ProcessLog) -> Option<&'a ProcessLog> {
    let mut others = processes.iter();
    others.find(|other| other.pid == process.pid && other.image > process.image)
}

/// When all that it had mapped went. A process that was killed did not say; it may have been the last.
fn end(processes: &[ProcessLog], process: &ProcessLog) -> u64 {
    match process.ending {
        Ending::Exit | Ending::Exec => process.ended,
        Ending::Unsaid => successor(processes, process).map_or(u64::MAX, |next| next.began),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use daxshim_core::host::check::LogFile;
    use std::path::PathBuf;

    const FILE: (u64, u64) = (1, 2);

    fn process(pid: u32, ending: Ending, ended: u64, unmaps: &[(u64, (u64, u64))]) -> ProcessLog {
        let entry = |&(time, range): &(u64, (u64, u64))| LogEntry {
            code: Code::Unmapped,
            detail: 0,
            file: FILE,
            path: PathBuf::new(),
            address: 0,
            range,
            count: 1,
            time,
            asked: 0,
            lines: 0,
            stack: Vec::new(),
        };
        ProcessLog {
            pid,
            image: 0,
            ending,
            began: 0,
            ended,
            entries: unmaps.iter().map(entry).collect(),
            modules: Vec::new(),
            files: vec![LogFile {
                file: FILE,
                held: (0, 8192),
            }],
            left_out: 0,
            unsampled: 0,
            unshadowed: 0,
            unlooked: 0,
            uncompared: 0,
            sealed: false,
            unwatched: 0,
            blameless: 0,
            stackless: false,
        }
    }

    fn last_of(processes: &[ProcessLog], range: (u64, u64)) -> Option<(u32, Option<usize>)> {
        let found = last(processes, FILE, range)?;
        Some((processes[found.process].pid, found.entry))
    }

    #[test]
    fn an_unmap_is_the_end_unless_another_process_lives_on() {
        let alone = [process(1, Ending::Exit, 9, &[(5, (0, 4096)), (7, (0, 64))])];
        assert_eq!(last_of(&alone, (0, 64)), Some((1, Some(1))));
        assert_eq!(last_of(&alone, (64, 128)), Some((1, Some(0))));
        assert_eq!(last_of(&alone, (4096, 8192)), Some((1, None)));
        let parent = process(1, Ending::Exit, 9, &[]);
        let child = process(2, Ending::Exit, 6, &[(5, (0, 4096))]);
        assert_eq!(last_of(&[parent, child], (0, 64)), Some((1, None)));
    }

    #[test]
    fn the_last_to_end_is_named() {
        let early = process(2, Ending::Exec, 5, &[]);
        let late = process(1, Ending::Exit, 9, &[]);
        assert_eq!(last_of(&[late, early], (0, 64)), Some((1, None)));
        let killed = process(3, Ending::Unsaid, 0, &[]);
        let late = process(1, Ending::Exit, 9, &[]);
        assert_eq!(last_of(&[late, killed], (0, 64)), Some((3, None)));
        let mut replaced = process(3, Ending::Unsaid, 0, &[]);
        let mut image = process(3, Ending::Exit, 20, &[]);
        (image.image, image.began) = (1, 7);
        image.files.clear();
        let late = process(1, Ending::Exit, 9, &[]);
        assert_eq!(last_of(&[late, replaced, image], (0, 64)), Some((1, None)));
        replaced = process(1, Ending::Exec, 3, &[]);
        replaced.files[0].held = (0, 0);
        assert_eq!(last_of(&[replaced], (0, 64)), Some((1, None)));
    }
}
