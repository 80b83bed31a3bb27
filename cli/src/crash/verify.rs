//! States to the checker, several at once; those that fail by their place, with an image of one.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::time::Duration;

use daxshim_core::check::journal::Moment;
use nix::sys::signal::Signal;

use super::chain::Point;
use super::checker::{Checker, Output, Verdict};
use super::follow::Recording;
use super::image::Base;
use super::states::{Choice, Side, State, overlay};
use crate::check::finding::Frame;
use crate::copy::copy_sparsely;
use crate::output::progress::Count;
use crate::run::signals::asked_to_end;

/// How states are verified.
pub struct Options<'a> {
    /// By what.
    pub checker: &'a Checker,
    /// So many at once.
    pub jobs: usize,
    /// How states were chosen.
    pub choice: Choice,
    /// Where they are built.
    pub scratch: &'a Path,
    /// Whether the other files of the directory are copied beside each.
    pub siblings: bool,
}

/// The states of a file.
pub struct Task<'a> {
    /// What happened to it.
    pub recording: &'a Recording,
    /// What was chosen of it.
    pub states: Vec<State>,
    /// Of each point, who called.
    pub frames: Vec<Vec<Frame>>,
}

/// Where a state belongs: when, and from where.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub moment: Moment,
    pub side: Side,
    stack: Vec<(Option<String>, u64)>,
}

/// Failed states of a place.
#[derive(Debug)]
pub struct Failures {
    /// So many failed.
    pub failed: usize,
    /// The one that tells most: least lost, or least written back.
    pub example: State,
    /// What the checker said of it.
    pub verdict: Verdict,
    rank: (usize, usize),
}

/// What verification came to.
#[derive(Debug, Default)]
pub struct Verified {
    /// States that were verified.
    pub verified: usize,
    /// Those that failed.
    pub failures: BTreeMap<Place, Failures>,
    /// The signal that ended it early.
    pub interrupted: Option<Signal>,
}

type Message = (State, Verdict);

impl Task<'_> {
    /// Where a state was built.
    pub fn point(&self, state: &State) -> Option<&Point> {
        self.recording.points.get(state.point)
    }

    fn place(&self, state: &State) -> Option<Place> {
        let frames = self.frames.get(state.point)?.iter();
        Some(Place {
            moment: self.point(state)?.moment,
            side: state.side,
            stack: frames
                .map(|frame| (frame.module.clone(), frame.offset))
                .collect(),
        })
    }

    /// Verifies all states.
    ///
    /// # Errors
    /// The errors of building a state, and of starting the checker.
    pub fn verify(&self, options: &Options<'_>, bar: &Count) -> io::Result<Verified> {
        let next = AtomicUsize::new(0);
        let stop = AtomicBool::new(false);
        let (sender, receiver) = mpsc::channel();
        let mut verified = Verified::default();
        std::thread::scope(|scope| {
            let work = |number, sender| {
                let worker = Worker {
                    task: self,
                    options,
                    directory: options.scratch.join(format!("job-{number}")),
                    next: &next,
                    stop: &stop,
                };
                let done = worker.work(&sender);
                // One that can't go on is enough to end it.
                stop.fetch_or(done.is_err(), Ordering::Relaxed);
                done
            };
            let workers = (0..options.jobs).map(|number| {
                let sender = sender.clone();
                scope.spawn(move || work(number, sender))
            });
            let workers: Vec<_> = workers.collect();
            drop(sender);
            loop {
                match receiver.recv_timeout(Duration::from_millis(50)) {
                    Ok((state, verdict)) => {
                        self.count(&mut verified, state, verdict, options.choice);
                        bar.show(verified.verified, verified.failed());
                    }
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => break,
                }
                if let Some(signal) = asked_to_end() {
                    verified.interrupted = Some(signal);
                    stop.store(true, Ordering::Relaxed);
                }
            }
            let ends = workers.into_iter().map(|worker| match worker.join() {
                Ok(done) => done,
                Err(panic) => std::panic::resume_unwind(panic),
            });
            ends.collect::<io::Result<()>>()
        })?;
        Ok(verified)
    }

    fn count(&self, verified: &mut Verified, state: State, verdict: Verdict, choice: Choice) {
        verified.verified += 1;
        let (Some(place), Some(point)) = (self.place(&state), self.point(&state)) else {
            return;
        };
        if verdict.passed() {
            return;
        }
        let overlay = overlay(point, &state, choice);
        let small = overlay.lost.len().min(overlay.written.len()) + overlay.torn();
        let rank = (small, state.number);
        let found = verified.failures.entry(place).or_insert(Failures {
            failed: 0,
            example: state,
            verdict: verdict.clone(),
            rank,
        });
        found.failed += 1;
        if rank < found.rank {
            (found.example, found.verdict, found.rank) = (state, verdict, rank);
        }
    }

    /// Writes the image of a state to a file.
    ///
    /// # Errors
    /// The errors of building it.
    pub fn keep(
        &self,
        state: &State,
        choice: Choice,
        file: &Path,
        scratch: &Path,
    ) -> io::Result<()> {
        let base = scratch.join("kept");
        let mut walk = Walk::new(self, &base)?;
        walk.go_to(state.point)?;
        let kept = walk.base.copy(file);
        std::fs::remove_file(base)?;
        let point = self.point(state).ok_or(io::ErrorKind::NotFound)?;
        overlay(point, state, choice).write_to(&kept?)
    }

    /// How many of the states belong to a place.
    pub fn states_at(&self, place: &Place) -> usize {
        let same = |state: &&State| self.place(state).as_ref() == Some(place);
        self.states.iter().filter(same).count()
    }
}

impl Verified {
    /// States that failed.
    pub fn failed(&self) -> usize {
        self.failures.values().map(|failures| failures.failed).sum()
    }
}

/// What is durable, from point to point.
struct Walk<'a> {
    points: &'a [Point],
    base: Base,
    /// Points whose `before` has been applied.
    applied: usize,
}

impl<'a> Walk<'a> {
    fn new(task: &'a Task<'_>, file: &Path) -> io::Result<Walk<'a>> {
        Ok(Walk {
            points: &task.recording.points,
            base: task.recording.base.copy(file)?,
            applied: 0,
        })
    }

    /// To the beginning of a point, forwards.
    fn go_to(&mut self, place: usize) -> io::Result<()> {
        while self.applied <= place {
            let before = self.applied.checked_sub(1);
            if let Some(passed) = before.and_then(|place| self.points.get(place)) {
                self.base.write_all(passed.inside.iter().copied())?;
            }
            if let Some(point) = self.points.get(self.applied) {
                let before = point.before.iter();
                self.base
                    .write_all(before.map(|(&at, &words)| (at, words)))?;
            }
            self.applied += 1;
        }
        Ok(())
    }
}

struct Worker<'a> {
    task: &'a Task<'a>,
    options: &'a Options<'a>,
    directory: PathBuf,
    next: &'a AtomicUsize,
    stop: &'a AtomicBool,
}

impl Worker<'_> {
    fn work(&self, sender: &Sender<Message>) -> io::Result<()> {
        let mut base = self.directory.clone();
        base.as_mut_os_string().push(".base");
        let mut walk = Walk::new(self.task, &base)?;
        std::fs::create_dir(&self.directory)?;
        while !self.stop.load(Ordering::Relaxed) {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let Some(state) = self.task.states.get(number) else {
                break;
            };
            walk.go_to(state.point)?;
            match self.verify(state, &walk.base)? {
                Some(verdict) => {
                    // Whoever counts is there until all senders are gone.
                    let _ = sender.send((*state, verdict));
                }
                None => break,
            }
        }
        std::fs::remove_dir_all(&self.directory)?;
        std::fs::remove_file(base)
    }

    fn verify(&self, state: &State, base: &Base) -> io::Result<Option<Verdict>> {
        let original = &self.task.recording.path;
        let name = original.file_name().unwrap_or("image".as_ref());
        let file = self.directory.join(name);
        // A checker may have left anything behind.
        remove_others(&self.directory, name)?;
        let image = match base.copy_over(&file) {
            Ok(image) => image,
            Err(_) => {
                remove(&file)?;
                base.copy(&file)?
            }
        };
        if self.options.siblings {
            copy_siblings(original, &self.directory)?;
        }
        let point = self.task.point(state).ok_or(io::ErrorKind::NotFound)?;
        overlay(point, state, self.options.choice).write_to(&image)?;
        if let Ok(metadata) = original.metadata() {
            let mode = metadata.permissions().mode() & 0o777 | 0o600;
            image.file().set_permissions(Permissions::from_mode(mode))?;
        }
        drop(image);
        self.options.checker.run(&file, Output::Kept, self.stop)
    }
}

fn remove_others(directory: &Path, name: &OsStr) -> io::Result<()> {
    for entry in directory.read_dir()? {
        let entry = entry?;
        if entry.file_name() != name {
            remove(&entry.path())?;
        }
    }
    Ok(())
}

/// Whatever it is, if it is there.
fn remove(path: &Path) -> io::Result<()> {
    let removed = match path.symlink_metadata() {
        Ok(metadata) if metadata.is_dir() => std::fs::remove_dir_all(path),
        Ok(_) => std::fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// The regular files beside the original, as they are now.
pub fn copy_siblings(original: &Path, directory: &Path) -> io::Result<()> {
    let parent = original.parent().unwrap_or(Path::new("/"));
    for entry in parent.read_dir()? {
        let entry = entry?;
        let is_other = Some(entry.file_name().as_os_str()) != original.file_name();
        if is_other && entry.file_type()?.is_file() {
            let from = std::fs::File::open(entry.path())?;
            let size = from.metadata()?.len();
            let to = std::fs::File::create_new(directory.join(entry.file_name()))?;
            to.set_len(size)?;
            copy_sparsely(&from, &to, size)?;
        }
    }
    Ok(())
}
