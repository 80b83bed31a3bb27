//! `daxshim crash`. Longer than other commands: its options are its documentation.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::Args;
use daxshim_core::host::check::{Checked, LogModule, ShadowFile, Syncs};
use daxshim_core::host::report::Report;
use daxshim_core::host::shown;
use daxshim_core::report::Event;
use nix::sys::signal::Signal;
use tempfile::TempDir;

use super::options::{ShimOptions, WatchOptions};
use crate::check::finding::Frame;
use crate::check::symbols::Symbols;
use crate::copy::copy_sparsely;
use crate::crash::chain::Point;
use crate::crash::checker::{Checker, Output, Verdict};
use crate::crash::follow::{Follower, Recording, Wanted};
use crate::crash::outcome::{self, Example, Outcome, SCHEMA, ranges};
use crate::crash::states::{Choice, Planner, State, overlay};
use crate::crash::verify::{Failures, Options, Place, Task, Verified, copy_siblings};
use crate::crash::{aside, room, text};
use crate::output::progress::Count;
use crate::output::{self, note};
use crate::run::before::Before;
use crate::run::destination::{Content, Destination};
use crate::run::directory::{self, ReportDirectory};
use crate::run::launch::Image;
use crate::run::outcome::Ended;
use crate::run::program::{announce, cannot_run, inspect};
use crate::run::signals::asked_to_end;
use crate::run::{FAILED, Failure, library, lookup, program_of, watching, words};

/// Run a program, and have its own checker look at what power cuts would leave of its files
///
/// At each sync (its start and its end), each answer to a pipe or socket, and at the end, the file is
/// what the syncs made durable, and any part of what they did not, in cache lines, torn at 8 bytes.
/// Such files are built, at random, and given to the checker. Watched are tagged files, files on
/// DAX that are mapped shared, and with --watch any others; each state is of one file, and all others are as they are.
#[derive(Args)]
#[command(after_long_help = AFTER_HELP)]
pub struct Crash {
    #[command(flatten)]
    shim: ShimOptions,

    #[command(flatten)]
    watching: WatchOptions,

    /// The checker: words as the shell has them, {} is the image; exit status 0 means that the file is
    /// sound, or was made so by the checker
    #[arg(long, value_name = "CHECKER")]
    verify: String,

    /// States to verify, of each file: some at each point, at a quarter as many syncs at most
    #[arg(long, value_name = "N", default_value = "200", value_parser = clap::value_parser!(u32).range(1..))]
    states: u32,

    /// Chooses points and states: the same ones for the same seed, if the program does the same
    #[arg(long, value_name = "S", default_value_t = 0)]
    seed: u64,

    /// What the medium writes whole or not at all, bytes: 8 for persistent memory, and 512 or 4096 for
    /// what a program expects of a disk [default: 8; 4096 for files in the page cache]
    #[arg(long, value_name = "BYTES", value_parser = atomic)]
    atomic: Option<u64>,

    /// Only this file; may be repeated
    #[arg(long, value_name = "FILE")]
    file: Vec<PathBuf>,

    /// Kill a checker after so many seconds: the state has failed
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    timeout: Duration,

    /// Checkers at once [default: one for each CPU]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    jobs: Option<u32>,

    /// Copy the other files of the directory, as they are at the end, beside each image
    #[arg(long)]
    with_siblings: bool,

    /// Where the copies of watched files are kept and images are built [default: in memory]
    #[arg(long, value_name = "DIR")]
    scratch: Option<PathBuf>,

    /// Where images of failed states are kept; those of earlier runs are moved to DIR/before-N
    #[arg(long, value_name = "DIR", default_value = "daxshim-crash")]
    images: PathBuf,

    /// Write the outcome as a JSON document (docs/json.md); - is standard output
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,

    /// Run no program, but the checker on a copy of a kept image
    #[arg(long, value_name = "IMAGE", conflicts_with = "command")]
    replay: Option<PathBuf>,

    /// The program and its arguments
    #[arg(
        required_unless_present = "replay",
        trailing_var_arg = true,
        value_name = "CMD"
    )]
    command: Vec<OsString>,
}

const AFTER_HELP: &str = "\
The checker runs outside the shim, in a directory that holds nothing but the image, under the name of
the original; it may change it and leave files beside it. What it says is shown where it fails.
Images of one failed state for each place in the program are kept: --images DIR/STATE/NAME.

What is in a file when it is first mapped counts as durable, and then what msync, fsync, fdatasync,
sync_file_range, sync, syncfs and libpmem made so, in processes under the shim. What a program writes
back by its own instructions, or syncs by raw system calls, counts as lost. A line that was stored to several times between two syncs is
taken as it is at the second.

Each watched file is copied into memory (/dev/shm), as are images, or to where --scratch says.

Exit status: 1 if a state fails; else 125 if not all of the run could be recorded; else the program's, 128+N if signal N ended it (or ended the
verification), 127 if it or the checker is not found, 126 if one of them cannot be executed, 125 if
daxshim itself fails, is used wrongly, had nothing to verify, or has a checker that refuses the finished file, too.

Examples:
  daxshim crash --verify './fsck {}' -- ./server /mnt/pmem/data
  daxshim crash --watch '*.db' --setup 'rm -f test.db' --verify './fsck {}' -- ./server test.db
  daxshim crash --emulate --states 1000 --seed 7 --verify 'python3 check.py {}' -- ./app /dev/shm/data
  daxshim crash --verify './fsck {}' --replay daxshim-crash/17/data";

fn atomic(text: &str) -> Result<u64, String> {
    match text.parse() {
        Ok(bytes @ (8 | 64 | 128 | 256 | 512 | 1024 | 2048 | 4096)) => Ok(bytes),
        _ => Err("neither 8 nor a power of two from 64 to 4096".into()),
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number of seconds")?;
    match Duration::try_from_secs_f64(seconds) {
        Ok(duration) if !duration.is_zero() => Ok(duration),
        _ => Err("not a number of seconds above 0".into()),
    }
}

/// Ranges of an example that are told.
const RANGES: usize = 8;

impl Crash {
    pub fn execute(self) -> ExitCode {
        Failure::exit_code(match &self.replay {
            Some(image) => self.replay(image),
            None => self.start(),
        })
    }

    fn start(self) -> Result<u8, Failure> {
        let mut environment = self.shim.environment(&library::find()?);
        environment.set("DAXSHIM_CHECK", "crash");
        self.watching.set(&mut environment)?;
        let name = program_of(&self.command, "crash --verify 'CHECKER {}'")?;
        let path = environment.get("PATH");
        let file = lookup::find(name, path)?;
        let inspection = inspect(&file, path);
        let checker = Checker::parse(&self.verify, self.timeout)?;
        let [json] = Destination::all([(&self.json, Content::Document)], &self.command)?;
        let wanted = Wanted {
            files: self.wanted_files()?,
            states: self.states as usize,
            seed: self.seed,
        };
        environment.examine();
        announce(&inspection, &mut environment);
        let directory = ReportDirectory::temporary_in(self.scratch.as_deref())?;
        let mut files = room::tagged(&self.command);
        files.extend(self.file.iter().cloned());
        room::for_watching(&files, directory.path())?;
        let scratch = self.scratch(&directory)?;
        environment.set(directory::VARIABLE, directory.path());
        let failed = |error: io::Error| cannot_run(&file, &error, &inspection);
        let by_shell = inspection.by_shell;
        let image = Image::new(&file, &self.command, environment, by_shell).map_err(failed)?;
        let before = self.watching.begin(&self.command)?;
        let running = image.start().map_err(failed);
        let running = running.inspect_err(|_| {
            before.put_back(None);
        })?;
        let follower =
            Follower::start(directory.path(), scratch.path(), wanted).map_err(cannot_record)?;
        let status = running.wait();
        let recordings = follower.finish().map_err(cannot_record);
        // What ended the program is not meant for the verification.
        while asked_to_end().is_some() {}
        let files = recordings.iter().flatten();
        let files: Vec<&Path> = files.map(|file| file.path.as_path()).collect();
        let tried = self.try_finished(&checker, &files, scratch.path());
        let names = recordings.iter().flatten().map(|file| shown(&file.path));
        let is_restored = before.put_back(Some(&names.collect::<Vec<_>>()));
        let recordings = recordings?;
        let paths = recordings.iter().map(|file| file.path.clone());
        let unmatched = watching::unmatched(&self.watching.watch, &paths.collect::<Vec<_>>());
        let ended = Ended::from(status.map_err(cannot_record)?);
        if let Some((path, verdict)) = tried.refused {
            return Err(refuses_all(ended, &path, &verdict));
        }
        let report = directory.read().unwrap_or_else(|_| Report::default());
        let checked = Checked::read(directory.path()).map_err(cannot_record)?;
        let outcome = Verification {
            crash: &self,
            checker: &checker,
            scratch: scratch.path(),
            checked: &checked,
            before: &before,
        }
        .outcome(&recordings, ended, &report, tried.interrupted)?;
        let status = self.write(&outcome, json)?;
        let instead = "leave the pattern out if none is expected";
        watching::warn_unmatched(&unmatched, status == 0, instead);
        Ok(match status {
            0 if !is_restored || !unmatched.is_empty() => FAILED,
            status => status,
        })
    }

    fn choice(&self, recording: &Recording) -> Choice {
        Choice {
            seed: self.seed,
            atomic: self.atomic.unwrap_or(match recording.paged {
                true => 4096,
                false => 8,
            }),
        }
    }

    fn wanted_files(&self) -> Result<Vec<(u64, u64)>, Failure> {
        let identity = |path: &PathBuf| match path.metadata() {
            Ok(metadata) => Ok((metadata.dev(), metadata.ino())),
            Err(error) => Err(Failure::own(
                format!("cannot watch {}", shown(path)),
                error,
                "name a file that exists when the program starts",
            )),
        };
        self.file.iter().map(identity).collect()
    }

    fn scratch(&self, directory: &ReportDirectory) -> Result<TempDir, Failure> {
        let parent = self.scratch.as_deref().unwrap_or(directory.path());
        let made = tempfile::Builder::new()
            .prefix("daxshim-crash-")
            .tempdir_in(parent);
        made.map_err(|error| {
            Failure::own(
                format!("cannot build images in {}", shown(parent)),
                error,
                "name a directory that can be written by --scratch",
            )
        })
    }

    fn write(&self, outcome: &Outcome, json: Option<Destination>) -> Result<u8, Failure> {
        let text = text::text(outcome);
        let written = [
            Destination::open("-".as_ref(), Content::Text).and_then(|to| to.write(&text)),
            json.map_or(Ok(()), |to| to.write(&outcome.json())),
        ];
        Ok(Failure::after_writing(outcome.exit_status, written))
    }

    /// Has the checker look at the files as the program has left them: what one that refuses these says of others tells
    /// nothing.
    fn try_finished(&self, checker: &Checker, files: &[&Path], scratch: &Path) -> Tried {
        let directory = scratch.join("finished");
        let stop = AtomicBool::new(false);
        let look = |path: &&Path| {
            let verdict = self.verdict(checker, path, &directory, Output::Kept, &stop);
            let _ = std::fs::remove_dir_all(&directory);
            // What is not there any more, or has no room, is no matter of the checker's.
            let verdict = verdict.ok().flatten()?;
            (!verdict.passed()).then(|| (path.to_path_buf(), verdict))
        };
        let mut interrupted = None;
        let refused = std::thread::scope(|scope| {
            let looking = scope.spawn(|| files.iter().find_map(look));
            while !looking.is_finished() {
                if let Some(signal) = asked_to_end() {
                    interrupted = Some(signal);
                    stop.store(true, Ordering::Relaxed);
                }
                std::thread::sleep(Duration::from_millis(1));
            }
            looking
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        });
        Tried {
            refused,
            interrupted,
        }
    }

    /// What the checker says of a copy of a file, in a new directory, under the file's own name.
    fn verdict(
        &self,
        checker: &Checker,
        file: &Path,
        directory: &Path,
        output: Output,
        stop: &AtomicBool,
    ) -> io::Result<Option<Verdict>> {
        std::fs::create_dir_all(directory)?;
        if self.with_siblings {
            copy_siblings(file, directory)?;
        }
        let copy = directory.join(file.file_name().unwrap_or(file.as_os_str()));
        let from = File::open(file)?;
        let to = File::create_new(&copy)?;
        let size = from.metadata()?.len();
        to.set_len(size)?;
        copy_sparsely(&from, &to, size)?;
        drop(to);
        checker.run(&copy, output, stop)
    }

    /// The checker, on a copy under the image's own name.
    fn replay(&self, image: &Path) -> Result<u8, Failure> {
        let checker = Checker::parse(&self.verify, self.timeout)?;
        let directory = ReportDirectory::temporary()?;
        let scratch = self.scratch(&directory)?;
        let cannot = |error: io::Error| {
            let what = format!("cannot replay {}", shown(image));
            Failure::own(what, error, "name an image that was kept")
        };
        let verdict = self
            .verdict(
                &checker,
                image,
                scratch.path(),
                Output::Shown,
                &AtomicBool::new(false),
            )
            .map_err(cannot)?;
        let passed = verdict.as_ref().is_some_and(|verdict| verdict.passed());
        let says = verdict.map_or_else(String::new, |verdict| text::says(&verdict));
        note(&format!("the checker {says}"));
        Ok(u8::from(!passed))
    }
}

/// What the checker says of the finished files.
struct Tried {
    /// The first that it refuses.
    refused: Option<(PathBuf, Verdict)>,
    /// The signal that ended that.
    interrupted: Option<Signal>,
}

/// What is left to do when the program has ended.
struct Verification<'a> {
    crash: &'a Crash,
    checker: &'a Checker,
    scratch: &'a Path,
    checked: &'a Checked,
    before: &'a Before,
}

impl Verification<'_> {
    fn outcome(
        &self,
        recordings: &[Recording],
        ended: Ended,
        report: &Report,
        interrupted: Option<Signal>,
    ) -> Result<Outcome, Failure> {
        if recordings.is_empty() {
            return Err(nothing_watched(ended));
        }
        let crash = self.crash;
        let unseen = [Event::MapFull, Event::LockTimeout, Event::Sealed];
        let mut outcome = Outcome {
            schema: SCHEMA,
            version: env!("CARGO_PKG_VERSION"),
            command: words(&crash.command),
            verify: crash.verify.clone(),
            ended,
            exit_status: ended.exit_status,
            seed: crash.seed,
            atomic: {
                let units = recordings.iter().map(|file| crash.choice(file).atomic);
                units.max().unwrap_or(8)
            },
            states_wanted: crash.states as usize,
            verified: 0,
            failed: 0,
            interrupted: interrupted.map(|signal| signal as i32),
            unseen_syncs: unseen.iter().any(|&event| report.total.event(event) > 0),
            not_watched: self.checked.processes.iter().map(|p| p.unshadowed).sum(),
            files: Vec::new(),
            failures: Vec::new(),
        };
        let mut symbols = Symbols::default();
        for recording in recordings {
            let states = if outcome.interrupted.is_none() {
                self.plan(recording).map_err(cannot_build)?
            } else {
                Vec::new()
            };
            let frames = recording.points.iter();
            let frames = frames.map(|point| self.frames(&mut symbols, point));
            let task = Task {
                recording,
                frames: frames.collect(),
                states,
            };
            self.verify(&task, &mut outcome)?;
        }
        if outcome.verified == 0 && outcome.interrupted.is_none() {
            return Err(nothing_stored(ended));
        }
        if outcome.failed > 0 {
            outcome.exit_status = 1;
        } else if let Some(signal) = outcome.interrupted {
            outcome.exit_status = u8::try_from(128 + signal).unwrap_or(FAILED);
        } else if outcome.exit_status == 0 && outcome.is_in_part() {
            outcome.exit_status = FAILED;
        }
        Ok(outcome)
    }

    fn plan(&self, recording: &Recording) -> io::Result<Vec<State>> {
        let path = self.scratch.join("plan");
        let base = recording.base.copy(&path)?;
        let planner = Planner::new(&recording.points, base, self.crash.choice(recording));
        let states = planner.plan(self.crash.states as usize);
        std::fs::remove_file(path)?;
        states
    }

    fn frames(&self, symbols: &mut Symbols, point: &Point) -> Vec<Frame> {
        // An exec keeps the PID and not the code: the image that knows most of the stack is the one.
        let known = |modules: &&[LogModule]| {
            let holds = |address: &&u64| {
                let at = **address;
                modules.iter().any(|m| (m.start..m.end).contains(&at))
            };
            point.stack.iter().filter(holds).count()
        };
        let images = self.checked.processes.iter();
        let images = images.filter(|process| process.pid == point.pid);
        let modules = images.map(|process| process.modules.as_slice());
        let modules = modules.max_by_key(known).unwrap_or(&[]);
        symbols.frames(&point.stack, modules)
    }

    fn verify(&self, task: &Task<'_>, outcome: &mut Outcome) -> Result<(), Failure> {
        let recording = task.recording;
        let (syncs, idle_syncs) = self.syncs(recording);
        outcome.files.push(outcome::File {
            path: shown(&recording.path),
            size: recording.size,
            points: recording.seen,
            points_used: recording.points.len(),
            states: task.states.len(),
            ended_early: recording.ended_early,
            atomic: self.crash.choice(recording).atomic,
            syncs,
            idle_syncs,
            used: self.before.is_used(&recording.path),
        });
        if task.states.is_empty() {
            return Ok(());
        }
        let jobs = match self.crash.jobs {
            Some(jobs) => jobs as usize,
            None => std::thread::available_parallelism().map_or(1, usize::from),
        };
        let options = Options {
            checker: self.checker,
            jobs: room::jobs(
                jobs.min(task.states.len()),
                recording.data().min(recording.size),
                self.scratch,
            )?,
            choice: self.crash.choice(recording),
            scratch: self.scratch,
            siblings: self.crash.with_siblings,
        };
        let bar = Count::new(task.states.len());
        let verified = task.verify(&options, &bar);
        bar.finish();
        let Verified {
            verified: count,
            failures,
            interrupted,
        } = verified.map_err(cannot_build)?;
        outcome.verified += count;
        outcome.interrupted = interrupted.map(|signal| signal as i32);
        if outcome.failures.is_empty() && !failures.is_empty() {
            self.set_aside();
        }
        for (place, failures) in &failures {
            outcome.failed += failures.failed;
            outcome.failures.push(self.failure(task, place, failures));
        }
        Ok(())
    }

    /// Syncs of a file, and those that found nothing dirty. Where it is synced by msync, fsync is expected to find
    /// nothing.
    fn syncs(&self, recording: &Recording) -> (u64, u64) {
        let shadows = self.checked.shadows.iter();
        let shadows: Vec<_> = shadows
            .filter(|shadow| shadow.path == recording.path && shadow.size == recording.size)
            .collect();
        let sum = |of: fn(&ShadowFile) -> Syncs| {
            let each = shadows.iter().map(|shadow| of(shadow));
            each.fold((0, 0), |sum, syncs| {
                (sum.0 + syncs.calls, sum.1 + syncs.idle)
            })
        };
        match sum(|shadow| shadow.msyncs) {
            (0, _) => sum(|shadow| shadow.fsyncs),
            msyncs => msyncs,
        }
    }

    /// Moves what earlier runs have kept out of the way, so that what is there is today's.
    fn set_aside(&self) {
        match aside::set_aside(&self.crash.images) {
            Ok(None) => {}
            Ok(Some(to)) => note(&format!("images of earlier runs are in {}", shown(&to))),
            Err(error) => output::warning(
                &format!(
                    "images of earlier runs are still in {}",
                    shown(&self.crash.images)
                ),
                &error.to_string(),
                "look at the dates of their state.json, or name another directory by --images",
            ),
        }
    }

    fn failure(&self, task: &Task<'_>, place: &Place, failures: &Failures) -> outcome::Failure {
        let state = &failures.example;
        let (range, process, number, left_out, overlay) = match task.point(state) {
            Some(point) => (
                point.range,
                point.pid,
                point.number,
                point.left_out,
                overlay(point, state, self.crash.choice(task.recording)),
            ),
            None => Default::default(),
        };
        let frames = task.frames.get(state.point);
        let image = self.keep(task, failures);
        let written = || overlay.written.iter().map(|written| written.line.0);
        let failure = outcome::Failure {
            file: shown(&task.recording.path),
            moment: outcome::word(place.moment),
            side: place.side,
            bytes: place.moment.is_sync().then_some(range),
            process,
            stack: frames.cloned().unwrap_or_default(),
            states: task.states_at(place),
            failed: failures.failed,
            example: Example {
                state: state.number,
                point: number,
                written: overlay.written.len() as u64,
                torn: overlay.torn() as u64,
                lost: overlay.lost.len() as u64,
                written_ranges: ranges(written(), RANGES),
                lost_ranges: ranges(overlay.lost.iter().copied(), RANGES),
                left_out,
                checker: failures.verdict.clone(),
                image: image.as_deref().map(shown),
            },
        };
        if let Some(image) = image {
            describe(&image, &failure);
        }
        failure
    }

    /// Keeps the image of the example.
    fn keep(&self, task: &Task<'_>, failures: &Failures) -> Option<PathBuf> {
        let state = &failures.example;
        let directory = self.crash.images.join(state.number.to_string());
        let name = task.recording.path.file_name().unwrap_or("image".as_ref());
        let image = directory.join(name);
        let kept = || -> io::Result<()> {
            std::fs::create_dir_all(&directory)?;
            // Of a run before.
            match std::fs::remove_file(&image) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            task.keep(
                state,
                self.crash.choice(task.recording),
                &image,
                self.scratch,
            )
        };
        match kept() {
            Ok(()) => Some(image),
            Err(error) => {
                output::warning(
                    &format!("cannot keep {}", shown(&image)),
                    &error.to_string(),
                    "name a directory with room, that can be written, by --images",
                );
                None
            }
        }
    }
}

/// Beside a kept image: what it is.
fn describe(image: &Path, failure: &outcome::Failure) {
    let path = image.with_file_name(aside::DESCRIPTION);
    let text = serde_json::to_string_pretty(failure).unwrap_or_default();
    if let Err(error) = std::fs::write(&path, text + "\n") {
        output::warning(
            &format!("cannot write {}", shown(&path)),
            &error.to_string(),
            "the image itself is kept",
        );
    }
}

fn nothing_watched(ended: Ended) -> Failure {
    nothing_to_verify(
        ended,
        "it mapped no file that is watched, or none that could be copied",
        "--watch shared watches every file that is mapped shared and writable, --watch PATTERN those that it \
         names; or tag the file (daxshim tag; with --emulate here and there where there is no DAX)",
    )
}

fn nothing_stored(ended: Ended) -> Failure {
    nothing_to_verify(
        ended,
        "whenever it synced, answered or ended, all that it had stored was durable, or was there before",
        "have it change the file; one that it has run on before holds its values already: --setup CMD makes fresh \
         files, --restore puts back what was there",
    )
}

fn refuses_all(ended: Ended, file: &Path, verdict: &Verdict) -> Failure {
    let why = format!(
        "the checker refuses {} even as the program has left it: it {}",
        shown(file),
        text::says(verdict)
    );
    let help = "try the checker on such a file: it has to accept a sound one with exit status 0; it gets a copy, in a \
                directory with nothing else (--with-siblings copies the other files), so its own paths must be absolute";
    nothing_to_verify(ended, &why, help)
}

fn nothing_to_verify(ended: Ended, why: &str, help: &str) -> Failure {
    let what = format!("nothing to verify; the program ended: {ended}");
    let failure = Failure::own(what, why, help);
    match ended.exit_status {
        0 => failure,
        // Then that is why, most likely.
        status => Failure { status, ..failure },
    }
}

fn cannot_record(error: io::Error) -> Failure {
    Failure::own(
        "cannot record what the program did".into(),
        error,
        "is there room in /dev/shm, or where --scratch says?",
    )
}

fn cannot_build(error: io::Error) -> Failure {
    Failure::own(
        "cannot verify a state".into(),
        error,
        "is there room in /dev/shm, or where --scratch says?",
    )
}
