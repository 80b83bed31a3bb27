//! The program gets signals as if `daxshim run` were not there.

use std::io;
use std::process::{Child, ExitStatus};
use std::sync::atomic::{AtomicU64, Ordering};

use nix::sys::signal::{SigHandler, SigSet, Signal, kill, signal};
use nix::unistd::Pid;

/// Signals that were ignored when the command was started (nohup, a background job, systemd's
/// IgnoreSIGPIPE), a bit each. Rust's runtime has SIGPIPE ignored before `main`, so this is noted
/// earlier.
static IGNORED: AtomicU64 = AtomicU64::new(0);

#[used]
#[unsafe(link_section = ".init_array")]
static CONSTRUCTOR: extern "C" fn() = note_ignored;

extern "C" fn note_ignored() {
    let mut ignored = 0;
    for signal in Signal::iterator() {
        let mut action = std::mem::MaybeUninit::<libc::sigaction>::zeroed();
        // SAFETY: only asks, into memory of its own; all-zero is a valid sigaction.
        let action = unsafe {
            libc::sigaction(signal as i32, std::ptr::null(), action.as_mut_ptr());
            action.assume_init()
        };
        if action.sa_sigaction == libc::SIG_IGN {
            ignored |= bit(signal);
        }
    }
    IGNORED.store(ignored, Ordering::Relaxed);
}

fn bit(signal: Signal) -> u64 {
    1 << (signal as i32)
}

/// Whether the command was started with it ignored.
pub fn was_ignored(signal: Signal) -> bool {
    IGNORED.load(Ordering::Relaxed) & bit(signal) != 0
}

/// What the command was started with, for the program.
#[derive(Clone)]
pub struct Inherited {
    mask: SigSet,
}

impl Inherited {
    /// To be called before anything changes the mask.
    pub fn now() -> io::Result<Inherited> {
        Ok(Inherited {
            mask: SigSet::thread_get_mask()?,
        })
    }

    /// Puts it back, for an exec.
    pub fn restore(&self) -> io::Result<()> {
        for number in [Signal::SIGPIPE, Signal::SIGCHLD] {
            let handler = if was_ignored(number) {
                SigHandler::SigIgn
            } else {
                SigHandler::SigDfl
            };
            // SAFETY: sets no function as handler.
            unsafe { signal(number, handler) }?;
        }
        self.mask.thread_set_mask()?;
        Ok(())
    }
}

/// One of the signals that ask the command to end, if it was sent since [`Watch::begin`] or the last
/// call.
pub fn asked_to_end() -> Option<Signal> {
    let mut asking = SigSet::empty();
    for signal in [
        Signal::SIGINT,
        Signal::SIGQUIT,
        Signal::SIGTERM,
        Signal::SIGHUP,
    ] {
        asking.add(signal);
    }
    let at_once = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: set and time are ours; nothing else is wanted.
    let number = unsafe { libc::sigtimedwait(asking.as_ref(), std::ptr::null_mut(), &at_once) };
    Signal::try_from(number).ok()
}

/// Signals held back from the command while the program runs.
pub struct Watch {
    signals: SigSet,
}

impl Watch {
    /// From now on SIGINT and SIGQUIT, which a terminal sends to the program too, don't end the
    /// command, and SIGTERM and SIGHUP are kept for the program. For good: the report is still to
    /// be written when the program has ended.
    pub fn begin() -> io::Result<Watch> {
        let mut signals = SigSet::empty();
        for signal in [Signal::SIGINT, Signal::SIGQUIT, Signal::SIGCHLD] {
            signals.add(signal);
        }
        for signal in [Signal::SIGTERM, Signal::SIGHUP] {
            if !was_ignored(signal) {
                signals.add(signal);
            }
        }
        signals.thread_block()?;
        // Ignored, it would have the kernel throw the program's exit status away.
        // SAFETY: sets no function as handler.
        unsafe { signal(Signal::SIGCHLD, SigHandler::SigDfl) }?;
        Ok(Watch { signals })
    }

    /// Waits for the program to end; hands on what was sent to the command alone.
    pub fn wait(&self, child: &mut Child) -> io::Result<ExitStatus> {
        loop {
            if let Some(status) = child.try_wait()? {
                return Ok(status);
            }
            let received = self.signals.wait()?;
            if matches!(received, Signal::SIGTERM | Signal::SIGHUP)
                && let Ok(pid) = i32::try_from(child.id())
            {
                // Not waited for yet, so the PID is still the program's.
                let _ = kill(Pid::from_raw(pid), received);
            }
        }
    }
}
