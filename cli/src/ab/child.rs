//! Runs a program to its end, measured, or to the user's interruption.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{SigHandler, SigSet, Signal, killpg, signal};
use nix::unistd::Pid;
use rustix::process::{WaitId, WaitIdOptions, WaitIdStatus, waitid};

use crate::run::launch::Image;
use crate::run::signals::was_ignored;

/// How long a program that is told to end may take.
const GRACE: Duration = Duration::from_secs(2);

/// What a program used, its children that it waited for included.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    /// From just before fork until the end was seen.
    pub wall: Duration,
    /// wait4(2): `ru_utime`.
    pub user: Duration,
    /// wait4(2): `ru_stime`.
    pub system: Duration,
}

/// How a run came to its end.
pub enum Ending {
    /// By itself.
    Itself(ExitStatus, Usage),
    /// By this signal to the command.
    Interrupted(Signal),
    /// It was killed, as it had stopped to wait for the terminal.
    WantedTerminal,
}

/// What becomes of a program's output; its standard input is always empty.
#[derive(Clone, Copy)]
pub enum Output<'a> {
    /// Standard output and error go nowhere.
    Null,
    /// They are the command's.
    Shown,
    /// Standard output goes to a file, standard error is the command's.
    Kept(&'a File),
}

/// Keeps signals away from the command: they end the program that runs.
pub struct Watch {
    signals: SigSet,
}

impl Watch {
    /// For good: results are still to be written when a program has been interrupted.
    pub fn begin() -> io::Result<Watch> {
        let mut signals = SigSet::empty();
        signals.add(Signal::SIGCHLD);
        for number in [
            Signal::SIGINT,
            Signal::SIGQUIT,
            Signal::SIGTERM,
            Signal::SIGHUP,
        ] {
            if !was_ignored(number) {
                signals.add(number);
            }
        }
        signals.thread_block()?;
        // Ignored, it would have the kernel throw the program's exit status away.
        // SAFETY: sets no function as handler.
        unsafe { signal(Signal::SIGCHLD, SigHandler::SigDfl) }?;
        Ok(Watch { signals })
    }

    /// Runs a program in a process group of its own.
    ///
    /// # Errors
    /// It could not be executed.
    pub fn run(&self, image: &Image, output: Output) -> io::Result<Ending> {
        let mut command = Command::new("daxshim-program");
        command.stdin(Stdio::null()).process_group(0);
        match output {
            Output::Null => {
                command.stdout(Stdio::null()).stderr(Stdio::null());
            }
            Output::Shown => {}
            Output::Kept(file) => {
                command.stdout(file.try_clone()?);
            }
        }
        let started = Instant::now();
        let child = image.spawn(&mut command)?;
        let pid = i32::try_from(child.id()).map_err(io::Error::other)?;
        self.wait(pid, started)
    }

    fn wait(&self, pid: i32, started: Instant) -> io::Result<Ending> {
        let group = Pid::from_raw(pid);
        let mut interrupted = None;
        let mut wanted_terminal = false;
        let wall = loop {
            // Left unreaped, so that the PID and the group stay its own.
            let status = look(pid)?;
            match status {
                Some(status) if !status.stopped() => break started.elapsed(),
                Some(status) if waits_for_terminal(&status) && !wanted_terminal => {
                    wanted_terminal = true;
                    let _ = killpg(group, Signal::SIGKILL);
                }
                _ => {}
            }
            let patience = interrupted.map(|_| GRACE);
            match self.next(patience)? {
                Some(Signal::SIGCHLD) => {}
                Some(number) if interrupted.is_none() => {
                    interrupted = Some(number);
                    let _ = killpg(group, Signal::SIGTERM);
                    let _ = killpg(group, Signal::SIGCONT);
                }
                // Asked for twice, or it takes too long.
                Some(_) | None => {
                    let _ = killpg(group, Signal::SIGKILL);
                }
            }
        };
        if interrupted.is_some() || wanted_terminal {
            let _ = killpg(group, Signal::SIGKILL);
        }
        let (status, user, system) = reap(pid)?;
        Ok(match interrupted {
            Some(number) => Ending::Interrupted(number),
            None if wanted_terminal => Ending::WantedTerminal,
            None => Ending::Itself(status, Usage { wall, user, system }),
        })
    }

    /// The next signal; `None` when `patience` is over.
    fn next(&self, patience: Option<Duration>) -> io::Result<Option<Signal>> {
        let Some(patience) = patience else {
            return Ok(Some(self.signals.wait()?));
        };
        let timeout = libc::timespec {
            tv_sec: patience.as_secs().try_into().unwrap_or(libc::time_t::MAX),
            tv_nsec: patience.subsec_nanos().into(),
        };
        // SAFETY: reads a set and a time that live on, and writes nothing.
        let number = unsafe {
            libc::sigtimedwait(
                self.signals.as_ref(),
                std::ptr::null_mut(),
                &raw const timeout,
            )
        };
        match Errno::result(number) {
            Ok(number) => Ok(Signal::try_from(number).ok()),
            Err(Errno::EAGAIN) => Ok(None),
            Err(Errno::EINTR) => Ok(Some(Signal::SIGCHLD)),
            Err(errno) => Err(errno.into()),
        }
    }
}

fn look(pid: i32) -> io::Result<Option<WaitIdStatus>> {
    let options = WaitIdOptions::EXITED
        | WaitIdOptions::STOPPED
        | WaitIdOptions::NOHANG
        | WaitIdOptions::NOWAIT;
    let id = rustix::process::Pid::from_raw(pid).ok_or(io::ErrorKind::InvalidInput)?;
    Ok(waitid(WaitId::Pid(id), options)?)
}

/// Its group is not the terminal's: reading from it stops a program for good.
fn waits_for_terminal(status: &WaitIdStatus) -> bool {
    matches!(
        status.stopping_signal(),
        Some(libc::SIGTTIN | libc::SIGTTOU)
    )
}

/// wait4(2): exit status, user and system time.
fn reap(pid: i32) -> io::Result<(ExitStatus, Duration, Duration)> {
    let mut status = 0;
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: writes to memory of its own; all-zero is a valid rusage.
    let (result, usage) = unsafe {
        let result = libc::wait4(pid, &raw mut status, 0, usage.as_mut_ptr());
        (result, usage.assume_init())
    };
    Errno::result(result)?;
    let duration = |time: libc::timeval| {
        Duration::from_secs(time.tv_sec.unsigned_abs())
            + Duration::from_micros(time.tv_usec.unsigned_abs())
    };
    Ok((
        ExitStatus::from_raw(status),
        duration(usage.ru_utime),
        duration(usage.ru_stime),
    ))
}

/// What a program wrote to a file that was kept for it.
///
/// # Errors
/// The errors of read(2).
pub fn kept(mut file: File) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut content)?;
    Ok(content)
}
