//! Stops a thread amid a call, after each so many instructions, and lets another make its own call meanwhile: the
//! interleavings that a scheduler would hit once in thousands of runs, the same each time (x86-64, ptrace).

use crate::trace::{Tracee, spawn_traced};
use crate::{Failed, fail};
use iced_x86::Mnemonic;
use libc::{c_long, pid_t};
use std::collections::HashSet;
use std::io;
use std::mem::offset_of;
use std::process::Command;
use std::time::{Duration, Instant};

/// What the program shows at the last breakpoint of a round: rdi, rsi, rdx.
pub type Shown = [i64; 3];

/// System calls that the second makes while the first is stopped, before it is taken to wait for the first.
const CALLS_OF_WAITING: usize = 40;

/// The same, should it wait without system calls. Nothing but the duration depends on it.
const PATIENCE: Duration = Duration::from_millis(200);

/// Two threads of a traced program.
#[derive(Clone, Copy, Debug)]
struct Threads {
    first: Tracee,
    second: Tracee,
}

/// What a thread was stopped by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    Breakpoint,
    Call,
}

/// Runs the command once. In each round both threads reach a breakpoint; the first then goes on to an instruction of
/// its call, the second makes its call, the first ends its own, and what is shown is handed to `check`, with the
/// number of the instruction. These are each `stride`th of those that the call came by in a round before; where it
/// does not come by, it has ended when the second makes its own. Returns the number of rounds.
///
/// # Errors
/// When a thread ends or crashes, and those of `check`.
pub fn interleave(
    command: &mut Command,
    stride: usize,
    mut check: impl FnMut(usize, Shown) -> Result<(), Failed>,
) -> Result<usize, Failed> {
    let mut child = spawn_traced(command)?;
    let started = Threads::started(child.id().cast_signed());
    let outcome = started.as_ref().map_err(message).and_then(|threads| {
        let mut places = Vec::new();
        threads
            .round(&mut Until::Recorded(&mut places))
            .map_err(|why| message(&why))?;
        for (number, &place) in places.iter().enumerate().step_by(stride) {
            let shown = threads.round(&mut Until::At(place));
            shown
                .and_then(|shown| check(number, shown))
                .map_err(|why| format!("at instruction {number}, {place:#x}: {}", message(&why)))?;
        }
        Ok(places.len().div_ceil(stride))
    });
    child.kill()?;
    // A traced thread holds its process until it is waited for.
    if let Ok(threads) = started {
        // SAFETY: what it ended with is of no interest.
        unsafe { libc::waitpid(threads.second.pid, std::ptr::null_mut(), libc::__WALL) };
    }
    child.wait()?;
    Ok(outcome?)
}

fn message(why: &Failed) -> String {
    why.message().unwrap_or_default().to_owned()
}

/// Where the first stops in a round.
enum Until<'a> {
    /// Nowhere: each instruction that it comes by is recorded, once.
    Recorded(&'a mut Vec<u64>),
    /// At this one.
    At(u64),
}

impl Threads {
    /// From the start of the program to when the second thread is there.
    fn started(pid: pid_t) -> Result<Threads, Failed> {
        let first = Tracee { pid };
        first.stopped()?; // at exec
        let options =
            libc::PTRACE_O_EXITKILL | libc::PTRACE_O_TRACECLONE | libc::PTRACE_O_TRACESYSGOOD;
        first.request(libc::PTRACE_SETOPTIONS, options as usize)?;
        first.request(libc::PTRACE_CONT, 0)?;
        if first.stopped()? != libc::SIGTRAP {
            fail!("the first thread stopped before it made a second");
        }
        let mut number: c_long = 0;
        // SAFETY: `number` is what this request fills in.
        if unsafe { libc::ptrace(libc::PTRACE_GETEVENTMSG, pid, 0, &raw mut number) } != 0 {
            fail!("no second thread");
        }
        let second = Tracee {
            pid: number as pid_t,
        };
        second.stopped()?;
        first.request(libc::PTRACE_CONT, 0)?;
        second.request(libc::PTRACE_CONT, 0)?;
        Ok(Threads { first, second })
    }

    /// One round, which both threads are running to.
    fn round(self, until: &mut Until) -> Result<Shown, Failed> {
        let Threads { first, second } = self;
        first.to_breakpoint()?;
        second.to_breakpoint()?;
        let amid = match until {
            Until::Recorded(places) => {
                let mut seen = HashSet::new();
                loop {
                    let place = first.registers()?.rip;
                    if seen.insert(place) {
                        if first.decode(place)?.mnemonic() == Mnemonic::Int3 {
                            break;
                        }
                        places.push(place);
                    }
                    first.one_instruction()?;
                }
                true
            }
            Until::At(place) => first.run_to(*place)?,
        };
        // The second's call, which may wait for the first's.
        let waits = !second.run_alone()?;
        if amid {
            first.request(libc::PTRACE_CONT, 0)?;
            first.to_breakpoint()?;
        }
        if waits {
            second.to_breakpoint()?;
        }
        // Both on to the end of the round.
        second.request(libc::PTRACE_CONT, 0)?;
        first.request(libc::PTRACE_CONT, 0)?;
        first.to_breakpoint()?;
        let registers = first.registers()?;
        first.request(libc::PTRACE_CONT, 0)?;
        Ok([registers.rdi, registers.rsi, registers.rdx].map(u64::cast_signed))
    }
}

impl Tracee {
    /// Waits until the thread, which runs, has executed a breakpoint.
    fn to_breakpoint(self) -> Result<(), Failed> {
        while self.stop_of(self.stopped()?)? != Stop::Breakpoint {
            self.request(libc::PTRACE_CONT, 0)?;
        }
        Ok(())
    }

    /// Lets it run to its breakpoint: false if it waits for somebody, and then runs on.
    fn run_alone(self) -> Result<bool, Failed> {
        let started = Instant::now();
        for _ in 0..CALLS_OF_WAITING {
            self.request(libc::PTRACE_SYSCALL, 0)?;
            let signal = loop {
                if let Some(signal) = self.stopped_now()? {
                    break signal;
                }
                if started.elapsed() > PATIENCE {
                    return Ok(false);
                }
                std::thread::yield_now();
            };
            if self.stop_of(signal)? == Stop::Breakpoint {
                return Ok(true);
            }
        }
        self.request(libc::PTRACE_CONT, 0)?;
        Ok(false)
    }

    /// The signal it was stopped by, if it is.
    fn stopped_now(self) -> Result<Option<i32>, Failed> {
        let mut status = 0;
        let flags = libc::__WALL | libc::WNOHANG;
        // SAFETY: `status` is valid for writing, and the thread is traced by us.
        match unsafe { libc::waitpid(self.pid, &raw mut status, flags) } {
            0 => Ok(None),
            pid if pid == self.pid && libc::WIFSTOPPED(status) => Ok(Some(libc::WSTOPSIG(status))),
            _ => fail!("the program ended under the tracer: wait status {status:#x}"),
        }
    }

    fn stop_of(self, signal: i32) -> Result<Stop, Failed> {
        if signal == libc::SIGTRAP | 0x80 {
            return Ok(Stop::Call);
        }
        let registers = self.registers()?;
        if signal == libc::SIGTRAP && self.decode(registers.rip - 1)?.mnemonic() == Mnemonic::Int3 {
            return Ok(Stop::Breakpoint);
        }
        // A child of its own that ended is nothing.
        if signal == libc::SIGCHLD {
            return Ok(Stop::Call);
        }
        fail!(
            "signal {signal} at {:#x}: {:?}",
            registers.rip,
            self.decode(registers.rip)?.mnemonic()
        );
    }

    /// Lets it run to this instruction, by a debug register: false if it comes to its breakpoint first.
    fn run_to(self, place: u64) -> Result<bool, Failed> {
        const ADDRESS: usize = offset_of!(libc::user, u_debugreg);
        const CONTROL: usize = ADDRESS + 7 * size_of::<u64>();
        self.poke(ADDRESS, place)?;
        self.poke(CONTROL, 1)?; // register 0, of this thread, an instruction
        self.request(libc::PTRACE_CONT, 0)?;
        let signal = self.stopped()?;
        self.poke(CONTROL, 0)?;
        if signal == libc::SIGTRAP && self.registers()?.rip == place {
            return Ok(true);
        }
        self.stop_of(signal).map(|_| false)
    }

    fn poke(self, offset: usize, value: u64) -> Result<(), Failed> {
        // SAFETY: writes to the thread's debug registers, which the kernel checks.
        if unsafe { libc::ptrace(libc::PTRACE_POKEUSER, self.pid, offset, value) } != 0 {
            fail!("debug registers: {}", io::Error::last_os_error());
        }
        Ok(())
    }

    fn one_instruction(self) -> Result<(), Failed> {
        self.request(libc::PTRACE_SINGLESTEP, 0)?;
        match self.stopped()? {
            libc::SIGTRAP => Ok(()),
            signal => self.stop_of(signal).map(drop),
        }
    }
}
