//! The program's own checker: one process for each state, in a process group of its own.

use std::io::{self, PipeReader, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};
use serde::Serialize;

use crate::run::{Failure, lookup};

/// What stands for the image.
const PLACE: &str = "{}";

/// Of what a checker says, the end is kept: bytes.
const TAIL: usize = 4096;

/// How long a wait may not notice that everything is to stop.
const SLICE: Duration = Duration::from_millis(100);

/// A command with a place for an image.
#[derive(Debug)]
pub struct Checker {
    file: PathBuf,
    words: Vec<String>,
    timeout: Duration,
}

/// What a checker came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// Exit status; none where a signal ended it.
    pub exit_status: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// Whether it was killed because it took too long.
    pub timed_out: bool,
    /// The end of what it said, both streams.
    pub output: String,
}

impl Verdict {
    /// Whether the state is sound.
    pub fn passed(&self) -> bool {
        self.exit_status == Some(0) && !self.timed_out
    }
}

/// Where a checker's output goes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// Into the verdict.
    Kept,
    /// To the command's own streams.
    Shown,
}

impl Checker {
    /// Understands a command line, and finds its program.
    ///
    /// # Errors
    /// It is not understood, has no `{}`, or there is no such program, or it cannot be executed.
    pub fn parse(text: &str, timeout: Duration) -> Result<Checker, Failure> {
        let odd = |why: &str| {
            let help = "--verify 'CHECKER ARGUMENT… {}': words as the shell has them; for more, \
                        'sh -c \"…\" sh {}'";
            Failure::own(format!("cannot use the checker {text}"), why, help)
        };
        let words = shell_words::split(text).map_err(|error| odd(&error.to_string()))?;
        let name = words.first().ok_or_else(|| odd("it is empty"))?;
        if !words.iter().skip(1).any(|word| word.contains(PLACE)) {
            return Err(odd("no word of it has a {} for the image"));
        }
        let path = std::env::var_os("PATH");
        let file = lookup::find(name.as_ref(), path.as_deref()).map_err(|failure| Failure {
            what: format!("{}, the checker; nothing was run", failure.what),
            ..failure
        })?;
        Ok(Checker {
            file,
            words,
            timeout,
        })
    }

    /// Runs it on an image. `None`: everything is to stop.
    ///
    /// # Errors
    /// It could not be started or waited for.
    pub fn run(
        &self,
        image: &Path,
        output: Output,
        stop: &AtomicBool,
    ) -> io::Result<Option<Verdict>> {
        let image = image.to_string_lossy();
        let words = self.words.iter().map(|word| word.replace(PLACE, &image));
        let words: Vec<String> = words.collect();
        let (name, arguments) = words.split_first().ok_or(io::ErrorKind::InvalidInput)?;
        let mut command = Command::new(&self.file);
        command.arg0(name).args(arguments).stdin(Stdio::null());
        // A terminal's signals are not for it, and whatever it starts can be killed with it.
        command.process_group(0);
        let mut pipe = None;
        if output == Output::Kept {
            let (reader, writer) = io::pipe()?;
            command.stdout(writer.try_clone()?).stderr(writer);
            pipe = Some(reader);
        }
        let mut child = command.spawn()?;
        // It holds the pipe's other end.
        drop(command);
        let mut tail = Vec::new();
        let waited = self.wait(&child, pipe, &mut tail, stop);
        let group = Pid::from_child(&child);
        // Not waited for yet, so the group is still its own.
        let _ = kill_process_group(group, Signal::KILL);
        let status = child.wait()?;
        Ok(match waited? {
            End::Stopped => None,
            end => Some(verdict(status, end == End::TimedOut, &tail)),
        })
    }

    fn wait(
        &self,
        child: &Child,
        mut pipe: Option<PipeReader>,
        tail: &mut Vec<u8>,
        stop: &AtomicBool,
    ) -> io::Result<End> {
        let process = pidfd_open(Pid::from_child(child), PidfdFlags::empty())?;
        if let Some(pipe) = &pipe {
            rustix::io::ioctl_fionbio(pipe, true)?;
        }
        let deadline = Instant::now() + self.timeout;
        loop {
            let mut waited = vec![PollFd::new(&process, PollFlags::IN)];
            waited.extend(pipe.as_ref().map(|pipe| PollFd::new(pipe, PollFlags::IN)));
            let left = deadline.saturating_duration_since(Instant::now());
            let slice = Timespec::try_from(left.min(SLICE)).ok();
            match poll(&mut waited, slice.as_ref()) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            let has_ended = waited.first().is_some_and(|fd| !fd.revents().is_empty());
            if pipe.as_mut().is_some_and(|pipe| !keep(pipe, tail)) {
                pipe = None;
            }
            if has_ended {
                return Ok(End::Exited);
            }
            if stop.load(Ordering::Relaxed) {
                return Ok(End::Stopped);
            }
            if left.is_zero() {
                return Ok(End::TimedOut);
            }
        }
    }
}

#[derive(PartialEq, Eq)]
enum End {
    Exited,
    TimedOut,
    Stopped,
}

/// Takes what is in the pipe; whether more may come.
fn keep(pipe: &mut PipeReader, tail: &mut Vec<u8>) -> bool {
    let mut bytes = [0; TAIL];
    // Not for ever: somebody may write faster than this reads.
    for _ in 0..64 {
        match pipe.read(&mut bytes) {
            Ok(0) => return false,
            Ok(read) => {
                tail.extend(bytes.get(..read).unwrap_or_default());
                tail.drain(..tail.len().saturating_sub(TAIL));
            }
            Err(error) => return error.kind() == io::ErrorKind::WouldBlock,
        }
    }
    true
}

fn verdict(status: ExitStatus, timed_out: bool, tail: &[u8]) -> Verdict {
    Verdict {
        exit_status: status.code(),
        signal: status.signal().filter(|_| !timed_out),
        timed_out,
        output: String::from_utf8_lossy(tail).into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static GO: AtomicBool = AtomicBool::new(false);

    fn run(text: &str, timeout: Duration) -> Option<Verdict> {
        let checker = Checker::parse(text, timeout).unwrap();
        let image = Path::new("/some where/image");
        checker.run(image, Output::Kept, &GO).unwrap()
    }

    const LONG: Duration = Duration::from_secs(600);

    #[test]
    fn its_end_is_the_verdict() {
        let verdict = run("sh -c 'echo \"$1\"; echo b >&2; exit 3' sh x{}", LONG).unwrap();
        assert_eq!(verdict.exit_status, Some(3));
        assert_eq!(verdict.output, "x/some where/image\nb\n");
        assert!(!verdict.passed());
        assert!(run("true {}", LONG).unwrap().passed());
        let killed = run("sh -c 'kill -SEGV $$' {}", LONG).unwrap();
        assert_eq!((killed.exit_status, killed.signal), (None, Some(11)));
    }

    #[test]
    fn it_is_killed_with_its_children_when_it_takes_too_long() {
        let text = "sh -c 'sleep 1000 & echo $!; wait' {}";
        let verdict = run(text, Duration::from_millis(300)).unwrap();
        assert!(verdict.timed_out && !verdict.passed());
        let child = verdict.output.trim();
        let is_alive = || {
            let state = std::fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
            !(state.is_empty() || state.contains(") Z ") || state.contains(") X "))
        };
        // It was told to end; the kernel does it when it comes to it.
        while is_alive() {
            std::thread::yield_now();
        }
    }

    #[test]
    fn of_much_output_the_end_is_kept() {
        let verdict = run("sh -c 'yes | head -c 1000000; echo end' {}", LONG).unwrap();
        assert_eq!(verdict.output.len(), TAIL);
        assert!(verdict.output.ends_with("y\nend\n"));
    }

    #[test]
    fn it_stops_when_everything_does() {
        let checker = Checker::parse("sleep 1000 {}", LONG).unwrap();
        let stop = AtomicBool::new(true);
        let verdict = checker.run(Path::new("0"), Output::Kept, &stop).unwrap();
        assert_eq!(verdict, None);
    }

    #[test]
    fn what_cannot_be_used_is_an_error() {
        let status = |text: &str| Checker::parse(text, LONG).unwrap_err().status;
        assert_eq!(status("no-such-checker {}"), 127);
        assert_eq!(status("/dev/null {}"), 126);
        for text in ["true", "", "{}", "sh -c 'x"] {
            assert_eq!(status(text), 125, "{text}");
        }
    }
}
