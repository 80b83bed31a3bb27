//! Which processes belong to a run: whoever descends from its command.
//!
//! A process can leave its parent, its session and its environment, and not where it was forked from. A
//! program on the scheduler's tracepoint of fork(2) puts children of a run's processes into the map
//! [`crate::set::Maps::runs`], and takes out numbers that others get anew. It is there for as long as
//! the run is; the guard's programs write into each record which run its process is of.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::io::Errno;

use crate::Error;
use crate::bpf;
use crate::btf::Btf;
use crate::emit::Register::{R0, R1, R2, R3, R4, R6, R10};
use crate::emit::{Emitter, Helper, Test, Width};
use crate::set::Maps;

/// The tracepoint, which has the parent and the child.
const FORK: &str = "sched_process_fork";

/// Places on the stack.
const PARENT: i16 = -4;
const CHILD: i16 = -8;
const RUN: i16 = -16;

/// A run: this process, and whom it and they fork while this is there.
#[derive(Debug)]
pub struct Run {
    number: u32,
    _link: OwnedFd,
}

impl Run {
    /// From here on.
    ///
    /// # Errors
    /// The kernel or the caller can't.
    pub fn begin(maps: &Maps) -> Result<Run, Error> {
        let number = number();
        let map = maps.runs.as_raw_fd();
        let btf = Btf::of_kernel()?;
        let load = |name, code: Result<Vec<u64>, Error>| {
            let loaded = bpf::load_for_tracepoint(name, &code?);
            loaded.map_err(|(errno, _)| failed(errno))
        };
        let fork = load("run_fork", on_fork(&btf, map))?;
        let join = load("run_join", join(number, map))?;
        let link = bpf::attach_to(&fork, FORK).map_err(failed)?;
        // This process, as the kernel numbers it: getpid(2) has the number of its namespace.
        bpf::run(&join).map_err(failed)?;
        Ok(Run {
            number,
            _link: link,
        })
    }

    /// What records of its processes have in [`crate::set::Refusal::run`].
    #[must_use]
    pub const fn number(&self) -> u32 {
        self.number
    }
}

fn failed(errno: Errno) -> Error {
    Error::system(
        "cannot follow the processes of the run",
        errno,
        "run as root, or with CAP_BPF and CAP_PERFMON, in the initial user namespace",
    )
}

/// One that no other run has, and not 0.
fn number() -> u32 {
    let random = RandomState::new().build_hasher().finish();
    (random as u32 & 0x7fff_ffff).max(1)
}

/// The current process becomes the run's first.
fn join(number: u32, runs: i32) -> Result<Vec<u64>, Error> {
    let mut e = Emitter::new();
    e.call(Helper::PidTgid)
        .shift_right(R0, 32)
        .store(Width::B4, R10, CHILD, R0)
        .store_value(Width::B8, R10, RUN, number.cast_signed());
    enter(&mut e, runs);
    e.set(R0, 0).exit();
    e.finish()
}

/// The child is of the run that its parent is of, or of none.
fn on_fork(btf: &Btf, runs: i32) -> Result<Vec<u64>, Error> {
    let tgid = btf.field("task_struct", "tgid")?;
    let mut e = Emitter::new();
    let (none, done) = (e.label(), e.label());
    e.load(Width::B8, R6, R1, 8)
        .call(Helper::PidTgid)
        .shift_right(R0, 32)
        .store(Width::B4, R10, PARENT, R0)
        .copy(R1, R10)
        .add(R1, i32::from(CHILD))
        .set(R2, 4)
        .copy(R3, R6)
        .add(R3, i32::from(tgid.offset))
        .call(Helper::ReadKernel)
        .jump_if(R0, Test::NotEqual, 0, done)
        .map(R1, runs)
        .copy(R2, R10)
        .add(R2, i32::from(PARENT))
        .call(Helper::Lookup)
        .jump_if(R0, Test::Equal, 0, none)
        .load(Width::B8, R1, R0, 0)
        .store(Width::B8, R10, RUN, R1);
    enter(&mut e, runs);
    e.jump(done)
        .place(none)
        .map(R1, runs)
        .copy(R2, R10)
        .add(R2, i32::from(CHILD))
        .call(Helper::Delete)
        .place(done)
        .set(R0, 0)
        .exit();
    e.finish()
}

/// Puts what is on the stack into the map.
fn enter(e: &mut Emitter, runs: i32) {
    e.map(R1, runs)
        .copy(R2, R10)
        .add(R2, i32::from(CHILD))
        .copy(R3, R10)
        .add(R3, i32::from(RUN))
        .set(R4, 0)
        .call(Helper::Update);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_fit_into_an_instruction_and_are_not_0() {
        for _ in 0..1000 {
            assert!((1..=0x7fff_ffff).contains(&number()));
        }
    }

    #[test]
    fn the_programs_can_be_made() {
        join(7, 3).unwrap();
        if let Ok(btf) = Btf::of_kernel() {
            on_fork(&btf, 3).unwrap();
        }
    }
}
