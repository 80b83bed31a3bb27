//! Reading who stored first, from the tables that the library left beside the shadows.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::Ordering;

use crate::check::blame::{self, PAGES, Table};
use crate::check::lines::PAGE;

/// Who stored first to pages that have lines never synced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirstWriter {
    /// Process ID.
    pub pid: u32,
    /// Return addresses, innermost first.
    pub stack: Vec<u64>,
    /// Such pages.
    pub pages: u64,
}

/// The writers of a file's pages.
#[derive(Debug, Default)]
pub struct Blame {
    /// By number.
    writers: BTreeMap<u16, (u32, Vec<u64>)>,
    /// Of each page.
    pages: Vec<u16>,
    /// Pages opened without taking a stack.
    pub unsampled: u64,
    /// Pages that the kernel stores to, which are never taken: nobody is named for them.
    pub by_kernel: u64,
}

impl Blame {
    /// Reads the table beside a shadow. `None` where there is none, or it is not whole.
    #[must_use]
    pub fn beside(shadow: &Path) -> Option<Blame> {
        let name = shadow.file_name()?.to_str()?;
        let name = name.strip_prefix(crate::check::shadow::FILE_PREFIX)?;
        let path = shadow.with_file_name(format!("{}{name}", blame::FILE_PREFIX));
        let bytes = fs::read(path).ok()?;
        let mut table = Box::<Table>::new_uninit();
        let head = bytes.get(..size_of::<Table>())?;
        // SAFETY: all of it is copied, and a table is nothing but integers.
        let table = unsafe {
            let to: *mut u8 = table.as_mut_ptr().cast();
            to.copy_from_nonoverlapping(head.as_ptr(), head.len());
            table.assume_init()
        };
        (table.magic.load(Ordering::Relaxed) == blame::MAGIC).then_some(())?;
        let pages = bytes.get(PAGES..)?.chunks_exact(size_of::<u16>());
        let pages = pages.map(|pair| {
            pair.iter()
                .rev()
                .fold(0, |number, &byte| number << 8 | u16::from(byte))
        });
        let pages: Vec<u16> = pages.collect();
        let numbers = 1..=u16::try_from(blame::WRITERS).ok()?;
        let writers = numbers.filter_map(|number| {
            let writer = table.of_number(number)?;
            let pid = writer.pid.load(Ordering::Relaxed);
            Some((number, (pid, writer.frames()?.collect())))
        });
        let by_kernel = pages.iter().filter(|&&page| page == blame::BY_KERNEL);
        Some(Blame {
            writers: writers.collect(),
            by_kernel: by_kernel.count() as u64,
            pages,
            unsampled: table.unsampled.load(Ordering::Relaxed),
        })
    }

    /// Who stored first to the pages of these ranges (bytes), most pages first.
    #[must_use]
    pub fn of(&self, ranges: &[(u64, u64)]) -> Vec<FirstWriter> {
        let mut counts: BTreeMap<u16, u64> = BTreeMap::new();
        let mut last = None;
        for &(start, end) in ranges {
            for page in start / PAGE as u64..end.div_ceil(PAGE as u64) {
                let number = usize::try_from(page)
                    .ok()
                    .and_then(|page| self.pages.get(page));
                if let Some(number) = number.filter(|_| last != Some(page)) {
                    *counts.entry(*number).or_default() += 1;
                }
                last = Some(page);
            }
        }
        let known = counts.into_iter().filter_map(|(number, pages)| {
            let (pid, stack) = self.writers.get(&number)?.clone();
            Some(FirstWriter { pid, stack, pages })
        });
        let mut known: Vec<FirstWriter> = known.collect();
        known.sort_by_key(|writer| std::cmp::Reverse(writer.pages));
        known
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_counted_once_and_by_writer() {
        let writers = [(1, (7, vec![10])), (2, (8, vec![20]))];
        let blame = Blame {
            writers: writers.into_iter().collect(),
            pages: vec![1, 2, 2, 0, blame::BY_KERNEL],
            unsampled: 0,
            by_kernel: 1,
        };
        let found = blame.of(&[
            (0, 64),
            (128, 192),
            (4096, 8256),
            (12288, 20480),
            (40960, 41024),
        ]);
        let found: Vec<_> = found
            .iter()
            .map(|w| (w.pid, w.pages, w.stack.as_slice()))
            .collect();
        assert_eq!(found, [(8, 2, &[20][..]), (7, 1, &[10][..])]);
    }

    #[test]
    fn what_is_not_whole_is_left_out() {
        let directory = tempfile::tempdir().unwrap();
        let shadow = directory.path().join("shadow.1.2.3");
        assert!(Blame::beside(&shadow).is_none());
        for bytes in [vec![], vec![0; 10], vec![0; PAGES + 2]] {
            fs::write(directory.path().join("blame.1.2.3"), bytes).unwrap();
            assert!(Blame::beside(&shadow).is_none());
        }
    }
}
