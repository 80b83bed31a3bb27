//! Single-steps a program between two breakpoints and records what it did to the cache and which
//! system calls it made (x86-64, ptrace).

use crate::{Failed, fail};
use iced_x86::{Decoder, DecoderOptions, Instruction, Mnemonic, Register};
use libc::{c_long, c_void, pid_t, user_regs_struct};
use std::collections::HashMap;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};

/// Something worth recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A write-back instruction and the cache line it names.
    WriteBack(Mnemonic, u64),
    /// sfence or mfence.
    Fence,
    /// A system call: its number and first two arguments.
    Call(u64, u64, u64),
}

/// What was recorded.
#[derive(Clone, Debug)]
pub struct Trace {
    /// rdi, rsi and rdx at the first breakpoint.
    pub announced: [u64; 3],
    /// rax at the second.
    pub result: u64,
    /// In program order.
    pub events: Vec<Event>,
    /// `/proc/PID/smaps` at the first breakpoint.
    pub smaps: String,
}

/// Runs the command under the tracer.
///
/// # Errors
/// When it cannot be traced, or ends before the second breakpoint.
pub fn trace(command: &mut Command) -> Result<Trace, Failed> {
    trace_at_most(command, STEPS_AT_MOST)
}

/// The same, with so many instructions between the breakpoints at most.
///
/// # Errors
/// The same, and when there are more.
pub fn trace_at_most(command: &mut Command, steps: usize) -> Result<Trace, Failed> {
    let mut child = spawn_traced(command)?;
    let tracee = Tracee {
        pid: child.id().cast_signed(),
    };
    let trace = tracee.record(steps);
    child.kill()?;
    child.wait()?;
    trace
}

/// Starts the command, which stops at its exec.
pub(crate) fn spawn_traced(command: &mut Command) -> Result<Child, Failed> {
    // SAFETY: between fork and exec only this one system call is made.
    unsafe {
        command.pre_exec(|| match libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0) {
            -1 => Err(io::Error::last_os_error()),
            _ => Ok(()),
        });
    }
    Ok(command.spawn()?)
}

/// A traced thread.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tracee {
    pub(crate) pid: pid_t,
}

const STEPS_AT_MOST: usize = 5_000_000;

impl Tracee {
    fn record(&self, at_most: usize) -> Result<Trace, Failed> {
        self.stopped()?; // at exec
        self.request(libc::PTRACE_SETOPTIONS, libc::PTRACE_O_EXITKILL as usize)?;
        let at_first = self.run_to_breakpoint()?;
        let smaps = std::fs::read_to_string(format!("/proc/{}/smaps", self.pid))?;
        let mut known = HashMap::new();
        let mut events = Vec::new();
        for _ in 0..at_most {
            let registers = self.registers()?;
            let instruction = match known.get(&registers.rip) {
                Some(instruction) => *instruction,
                None => {
                    let instruction = self.decode(registers.rip)?;
                    known.insert(registers.rip, instruction);
                    instruction
                }
            };
            if instruction.mnemonic() == Mnemonic::Int3 {
                let announced = [at_first.rdi, at_first.rsi, at_first.rdx];
                return Ok(Trace {
                    announced,
                    result: registers.rax,
                    events,
                    smaps,
                });
            }
            events.extend(event(&instruction, &registers));
            self.step()?;
        }
        fail!("no second breakpoint within {at_most} instructions");
    }

    /// Lets it run until it has executed a breakpoint instruction.
    fn run_to_breakpoint(&self) -> Result<user_regs_struct, Failed> {
        let mut signal = 0;
        loop {
            self.request(libc::PTRACE_CONT, signal)?;
            signal = self.stopped()? as usize;
            let registers = self.registers()?;
            if signal == libc::SIGTRAP as usize && self.has_executed_breakpoint()? {
                return Ok(registers);
            }
        }
    }

    /// Whether it is a breakpoint instruction that it was stopped by, and not its own trap flag.
    fn has_executed_breakpoint(&self) -> Result<bool, Failed> {
        // SAFETY: all zeros is a value of this structure, which the request fills in.
        let mut signal: libc::siginfo_t = unsafe { std::mem::zeroed() };
        // SAFETY: as above.
        let done = unsafe { libc::ptrace(libc::PTRACE_GETSIGINFO, self.pid, 0, &raw mut signal) };
        if done == -1 {
            return Err(io::Error::last_os_error().into());
        }
        Ok(signal.si_code == libc::SI_KERNEL)
    }

    /// One instruction; signals that arrive meanwhile are delivered.
    fn step(&self) -> Result<(), Failed> {
        let mut signal = 0;
        loop {
            self.request(libc::PTRACE_SINGLESTEP, signal)?;
            match self.stopped()? {
                libc::SIGTRAP => return Ok(()),
                other => signal = other as usize,
            }
            if [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL].contains(&(signal as i32)) {
                let registers = self.registers()?;
                let mnemonic = self.decode(registers.rip)?.mnemonic();
                fail!("signal {signal} at {:#x}: {mnemonic:?}", registers.rip);
            }
        }
    }

    /// Waits for a stop, and says which signal it was.
    pub(crate) fn stopped(&self) -> Result<i32, Failed> {
        let mut status = 0;
        // SAFETY: `status` is valid for writing, and the process is our child.
        if unsafe { libc::waitpid(self.pid, &raw mut status, libc::__WALL) } != self.pid {
            return Err(io::Error::last_os_error().into());
        }
        if !libc::WIFSTOPPED(status) {
            fail!("the program ended under the tracer: wait status {status:#x}");
        }
        Ok(libc::WSTOPSIG(status))
    }

    pub(crate) fn request(&self, request: libc::c_uint, data: usize) -> Result<c_long, Failed> {
        // SAFETY: none of these requests writes to our memory.
        match unsafe { libc::ptrace(request, self.pid, 0, data) } {
            -1 => Err(format!("ptrace({request}): {}", io::Error::last_os_error()).into()),
            done => Ok(done),
        }
    }

    pub(crate) fn registers(&self) -> Result<user_regs_struct, Failed> {
        // SAFETY: all zeros is a value of this structure of integers.
        let mut registers: user_regs_struct = unsafe { std::mem::zeroed() };
        // SAFETY: `registers` is what this request fills in.
        let done = unsafe { libc::ptrace(libc::PTRACE_GETREGS, self.pid, 0, &raw mut registers) };
        if done == -1 {
            return Err(io::Error::last_os_error().into());
        }
        Ok(registers)
    }

    pub(crate) fn decode(&self, address: u64) -> Result<Instruction, Failed> {
        let mut bytes = [0u8; 15];
        let local = libc::iovec {
            iov_base: bytes.as_mut_ptr().cast::<c_void>(),
            iov_len: bytes.len(),
        };
        let remote = libc::iovec {
            iov_base: address as *mut c_void,
            iov_len: bytes.len(),
        };
        // SAFETY: `local` names `bytes`; the remote side is only read.
        let n = unsafe {
            libc::process_vm_readv(self.pid, &raw const local, 1, &raw const remote, 1, 0)
        };
        let Ok(n) = usize::try_from(n) else {
            return Err(format!(
                "reading code at {address:#x}: {}",
                io::Error::last_os_error()
            )
            .into());
        };
        Ok(Decoder::with_ip(64, &bytes[..n], address, DecoderOptions::NONE).decode())
    }
}

fn event(instruction: &Instruction, registers: &user_regs_struct) -> Option<Event> {
    match instruction.mnemonic() {
        kind @ (Mnemonic::Clwb | Mnemonic::Clflushopt | Mnemonic::Clflush) => {
            let address =
                instruction.virtual_address(0, 0, |register, _, _| value(register, registers))?;
            Some(Event::WriteBack(kind, address & !63))
        }
        Mnemonic::Sfence | Mnemonic::Mfence => Some(Event::Fence),
        Mnemonic::Syscall => Some(Event::Call(registers.rax, registers.rdi, registers.rsi)),
        _ => None,
    }
}

fn value(register: Register, r: &user_regs_struct) -> Option<u64> {
    Some(match register {
        Register::RAX => r.rax,
        Register::RBX => r.rbx,
        Register::RCX => r.rcx,
        Register::RDX => r.rdx,
        Register::RSI => r.rsi,
        Register::RDI => r.rdi,
        Register::RBP => r.rbp,
        Register::RSP => r.rsp,
        Register::R8 => r.r8,
        Register::R9 => r.r9,
        Register::R10 => r.r10,
        Register::R11 => r.r11,
        Register::R12 => r.r12,
        Register::R13 => r.r13,
        Register::R14 => r.r14,
        Register::R15 => r.r15,
        Register::FS => r.fs_base,
        Register::GS => r.gs_base,
        Register::CS | Register::DS | Register::ES | Register::SS => 0,
        _ => return None,
    })
}
