//! Reads journals while the program runs, in a thread of its own: the program waits where it is
//! ahead of the reader.

use std::ffi::OsString;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use daxshim_core::check::journal::{FILE_PREFIX, Moment};
use daxshim_core::host::journal::{Reader, Record};

use super::chain::{Chain, Point};
use super::image::Base;

/// How often journals that were empty are looked at again.
const PAUSE: Duration = Duration::from_micros(500);

/// What is to be recorded.
pub struct Wanted {
    /// Files by `st_dev` and `st_ino`; none: all.
    pub files: Vec<(u64, u64)>,
    /// States that will be wanted of each.
    pub states: usize,
    /// What points are chosen by.
    pub seed: u64,
}

/// What happened to a file.
#[derive(Debug)]
pub struct Recording {
    /// Its path when it was mapped.
    pub path: PathBuf,
    /// Bytes.
    pub size: u64,
    /// It as it was when it was first mapped.
    pub base: Base,
    /// Points of which states can be built.
    pub points: Vec<Point>,
    /// Points that there were.
    pub seen: u64,
    /// Whether recording ended before the program did.
    pub ended_early: bool,
    /// Whether the file lies in the page cache.
    pub paged: bool,
}

impl Recording {
    /// Bytes of data that an image may have: what was there, and all that was stored.
    pub fn data(&self) -> u64 {
        let lines = self.points.iter();
        let lines = lines.map(|point| point.before.len() + point.inside.len());
        let held = self.base.file().metadata();
        let held = held.map_or(self.size, |file| file.blocks() * 512);
        // A line takes a page.
        held + lines.sum::<usize>() as u64 * 4096
    }
}

/// The thread.
pub struct Follower {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<io::Result<Vec<Recording>>>,
}

impl Follower {
    /// Begins to read the journals of `directory`; what files were goes to `scratch`.
    pub fn start(directory: &Path, scratch: &Path, wanted: Wanted) -> io::Result<Follower> {
        let stop = Arc::new(AtomicBool::new(false));
        let following = Following {
            directory: directory.to_owned(),
            scratch: scratch.to_owned(),
            wanted,
            known: Vec::new(),
            watched: Vec::new(),
        };
        let stopped = Arc::clone(&stop);
        let thread = std::thread::Builder::new().name("daxshim-journal".into());
        Ok(Follower {
            thread: thread.spawn(move || following.run(&stopped))?,
            stop,
        })
    }

    /// The program has ended: what it left, by path.
    pub fn finish(self) -> io::Result<Vec<Recording>> {
        self.stop.store(true, Ordering::Release);
        match self.thread.join() {
            Ok(recordings) => recordings,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

struct Watched {
    reader: Reader,
    base: Base,
    chain: Chain,
    ended_early: bool,
}

struct Following {
    directory: PathBuf,
    scratch: PathBuf,
    wanted: Wanted,
    known: Vec<OsString>,
    watched: Vec<Watched>,
}

impl Following {
    fn run(mut self, stop: &AtomicBool) -> io::Result<Vec<Recording>> {
        let result = self.read(stop);
        // Whoever still runs must not wait for a reader that is not there.
        self.watched
            .iter()
            .for_each(|watched| watched.reader.close());
        result?;
        let recordings = self.watched.into_iter().map(|watched| Recording {
            path: watched.reader.path.clone(),
            size: watched.reader.size,
            base: watched.base,
            seen: watched.chain.seen(),
            points: watched.chain.into_points(),
            ended_early: watched.ended_early,
            paged: watched.reader.paged,
        });
        let mut recordings: Vec<Recording> = recordings.collect();
        recordings.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(recordings)
    }

    fn read(&mut self, stop: &AtomicBool) -> io::Result<()> {
        loop {
            let last = stop.load(Ordering::Acquire);
            self.discover()?;
            let mut moved = false;
            for watched in &mut self.watched {
                moved |= watched.read(last)?;
            }
            match (moved, last) {
                (_, true) => return Ok(()),
                (true, false) => {}
                (false, false) => std::thread::sleep(PAUSE),
            }
        }
    }

    fn discover(&mut self) -> io::Result<()> {
        for entry in self.directory.read_dir()? {
            let entry = entry?;
            let name = entry.file_name();
            let is_journal = name.to_string_lossy().starts_with(FILE_PREFIX);
            if !is_journal || self.known.contains(&name) {
                continue;
            }
            let Some(reader) = Reader::open(&entry.path())? else {
                continue;
            };
            self.known.push(name);
            let files = &self.wanted.files;
            if !files.is_empty() && !files.contains(&reader.file) {
                reader.close();
                continue;
            }
            let base = format!("base-{}", self.known.len());
            let base = Base::create(&self.scratch.join(base), reader.size)?;
            self.watched.push(Watched {
                base,
                chain: Chain::new(self.wanted.states, self.wanted.seed),
                reader,
                ended_early: false,
            });
        }
        Ok(())
    }
}

impl Watched {
    /// Takes what is there; whether there was something. The last time nothing more may come.
    fn read(&mut self, last: bool) -> io::Result<bool> {
        if last {
            self.ended_early = self.reader.is_closed() && !self.reader.is_superseded();
            self.reader.close();
        }
        let mut moved = false;
        while let Some(record) = self.reader.next() {
            moved = true;
            self.take(record)?;
        }
        Ok(moved)
    }

    fn take(&mut self, record: Record) -> io::Result<()> {
        if record.moment != Moment::Mapped {
            self.chain.add(record);
            return Ok(());
        }
        self.base.write_all(record.lines)
    }
}
