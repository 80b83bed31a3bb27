//! Under how many system call filters a process is, by proc_pid_status(5): learnt with calls that the
//! dynamic loader makes in every program. Usable inside hooks.

use core::ffi::CStr;
use core::ops::ControlFlow;

use rustix::fd::AsFd;
use rustix::fs::{CWD, OFlags};
use rustix::io::Errno;

use crate::line::Line;
use crate::proc::{Own, decimal, each_byte};

/// The variable that says how many filters were found to be harmless: none of them kills for a system call
/// of the library's own. Set by `daxshim run`, which tries them.
pub const HARMLESS: &CStr = c"DAXSHIM_SECCOMP";

/// What `/proc/self/status` says of filters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// SECCOMP_MODE_*; `None` where the kernel has no seccomp.
    pub mode: Option<u32>,
    /// How many filters, from Linux 5.9 on.
    pub filters: Option<u32>,
}

impl Status {
    /// Reads it: openat(2), read(2), close(2).
    ///
    /// # Errors
    /// The errors of the calls, where there is no /proc for one.
    pub fn of_self() -> Result<Status, Errno> {
        let file = Own::open(CWD, c"/proc/thread-self/status", OFlags::RDONLY)?;
        let mut status = Status::default();
        let mut line = Line::<32>::new();
        each_byte(file.as_fd(), |byte| {
            if byte == b'\n' {
                status.take(line.as_bytes());
                line = Line::new();
            } else {
                // What is longer is none of the lines that count.
                let _ = core::fmt::Write::write_char(&mut line, char::from(byte));
            }
            ControlFlow::Continue(())
        })?;
        Ok(status)
    }

    fn take(&mut self, line: &[u8]) {
        let number = |name: &[u8]| decimal(line.strip_prefix(name)?.trim_ascii());
        if let Some(mode) = number(b"Seccomp:") {
            self.mode = Some(mode);
        }
        if let Some(filters) = number(b"Seccomp_filters:") {
            self.filters = Some(filters);
        }
    }

    /// Whether there is any filter.
    #[must_use]
    pub fn is_filtered(&self) -> bool {
        self.mode.is_some_and(|mode| mode != 0)
    }

    /// Whether these are all the filters that [`HARMLESS`] speaks of. One more may be any.
    #[must_use]
    pub fn is_harmless(&self, value: Option<&[u8]>) -> bool {
        !self.is_filtered()
            || (self.filters.is_some() && self.filters == value.and_then(decimal::<u32>))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(text: &str) -> Status {
        let mut status = Status::default();
        text.lines().for_each(|line| status.take(line.as_bytes()));
        status
    }

    #[test]
    fn an_unfiltered_process_is_harmless() {
        let free = status("Name:\tSeccomp:\nSeccomp:\t0\nSeccomp_filters:\t0\n");
        assert!(!free.is_filtered());
        assert!(free.is_harmless(None));
        // A kernel without seccomp.
        assert!(status("Pid:\t1\n").is_harmless(None));
    }

    #[test]
    fn only_as_many_filters_as_were_tried_are_harmless() {
        let two = status("Seccomp:\t2\nSeccomp_filters:\t2\n");
        assert!(two.is_filtered());
        assert!(two.is_harmless(Some(b"2")));
        for other in [None, Some(&b""[..]), Some(b"1"), Some(b"3"), Some(b"x")] {
            assert!(!two.is_harmless(other), "{other:?}");
        }
        // Before Linux 5.9 nothing tells how many there are.
        assert!(!status("Seccomp:\t2\n").is_harmless(Some(b"0")));
        assert!(!status("Seccomp:\t1\n").is_harmless(Some(b"1")));
    }

    #[test]
    fn that_of_this_process_is_read() {
        assert!(Status::of_self().unwrap().mode.is_some());
    }
}
