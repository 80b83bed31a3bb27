//! execve(2) and its kin: the program that is executed stays under the library. All other ways to
//! execute one (execvp, posix_spawn, system, popen …) end in one of these inside libc.

use crate::check;
use crate::entry::slot::{Call, Step};
use crate::exec::environment::{self, NoRoom};
use crate::exec::scratch::Scratch;
use crate::exec::unseen::{self, Found};
use crate::ground::memory::on_stack;
use crate::ground::page::event;
use crate::ground::process;
use crate::ground::real::{SignalsBlocked, syscall_of_program};
use crate::tag::audit;
use daxshim_core::contract::Mode;
use daxshim_core::report::{Event, Executions};

/// execve(2).
pub extern "C" fn execve(call: &mut Call) -> Step {
    let [path, arguments, environment, ..] = call.args;
    let step = execute(Execution {
        at: libc::AT_FDCWD,
        path,
        arguments,
        environment,
        flags: 0,
    });
    passed(call, step)
}

/// execveat(2).
pub extern "C" fn execveat(call: &mut Call) -> Step {
    let [at, path, arguments, environment, flags, ..] = call.args;
    let step = execute(Execution {
        at: at as i32,
        path,
        arguments,
        environment,
        flags: flags as i32,
    });
    passed(call, step)
}

/// fexecve(3).
pub extern "C" fn fexecve(call: &mut Call) -> Step {
    let [fd, arguments, environment, ..] = call.args;
    if (fd as i32) < 0 || arguments == 0 || environment == 0 {
        return Step::PASS;
    }
    execute(Execution {
        at: fd as i32,
        path: c"".as_ptr() as usize,
        arguments,
        environment,
        flags: libc::AT_EMPTY_PATH,
    })
}

/// Checking wants to know of an execution that is left to libc, too, and whether it failed.
fn passed(call: &mut Call, step: Step) -> Step {
    if check::on() && step.is_pass() {
        check::executing();
        return call.then(after_failed);
    }
    step
}

extern "C" fn after_failed(_: &Call, result: isize) -> isize {
    check::execution_failed();
    result
}

/// The arguments of execveat(2).
struct Execution {
    at: i32,
    path: usize,
    arguments: usize,
    environment: usize,
    flags: i32,
}

fn execute(execution: Execution) -> Step {
    match process::config().policy.mode {
        Mode::Off => return Step::PASS,
        // What that program is let change, whoever has forked this process is not told of.
        Mode::Audit => audit::letting_through(),
        Mode::Enforce => {}
    }
    let Some(mut scratch) = Scratch::take() else {
        event(Event::ExecLeft);
        return Step::PASS;
    };
    let (environment, counter) = execution.prepare(&mut scratch);
    if environment.is_none() && counter.is_none() {
        return Step::PASS;
    }
    let environment = environment.unwrap_or(execution.environment);
    if let Some(counter) = counter {
        counter.begin();
    }
    let errno = match execution.carry_out(environment) {
        // What does not fit now may have fitted as it was.
        libc::E2BIG if environment != execution.environment => {
            event(Event::ExecLeft);
            execution.carry_out(execution.environment)
        }
        errno => errno,
    };
    if let Some(counter) = counter {
        counter.failed();
    }
    Step::fail(errno)
}

impl Execution {
    /// The environment, if the program is to get another one, and where it is counted, if it is. On a stack
    /// of its own: it may be called on a child's small one.
    #[inline(never)]
    fn prepare(&self, scratch: &mut Scratch) -> (Option<usize>, Option<Executions<'static>>) {
        let stack = core::mem::take(&mut scratch.stack);
        // No longer than this: a signal mask outlives the exec.
        let _signals = SignalsBlocked::new();
        let prepared = on_stack(stack, || {
            let found = unseen::look(self.at, self.path, self.flags, scratch.desk);
            let environment = self.environment_for(found.as_ref(), scratch);
            (environment, found.and_then(|found| found.counter))
        });
        prepared.unwrap_or((None, None))
    }

    /// The address of another environment, if the program is to get one.
    fn environment_for(&self, found: Option<&Found>, scratch: &mut Scratch) -> Option<usize> {
        let look = environment::look(self.environment, &mut scratch.desk.page)?;
        let other = if found.is_some_and(Found::cannot_load) {
            look.strip(scratch)
        } else if look.is_right(&mut scratch.desk.page) {
            return None;
        } else {
            look.complete(scratch)
        };
        other.unwrap_or_else(|NoRoom| {
            event(Event::ExecLeft);
            None
        })
    }

    /// Returns only if it fails.
    fn carry_out(&self, environment: usize) -> i32 {
        // Not always execveat: a seccomp filter must see the call that the program made.
        let (number, arguments) = match (self.at, self.flags) {
            (libc::AT_FDCWD, 0) => (
                libc::SYS_execve,
                [self.path, self.arguments, environment, 0, 0, 0],
            ),
            (at, flags) => (
                libc::SYS_execveat,
                [
                    at as usize,
                    self.path,
                    self.arguments,
                    environment,
                    flags as usize,
                    0,
                ],
            ),
        };
        check::executing();
        // SAFETY: the program's pointers, or an environment that was completed; the kernel answers
        // EFAULT to those it can't follow.
        let errno = unsafe { syscall_of_program(number, arguments) }
            .err()
            .unwrap_or(0);
        check::execution_failed();
        errno
    }
}
