//! From verdict to answer: what every refusing hook does after it has named operation and subject.

use crate::check;
use crate::entry::slot::Step;
use crate::ground::page;
use crate::ground::process;
use crate::ground::real::Errno;
use crate::tag::audit;
use core::sync::atomic::Ordering;
use daxshim_core::check::Code;
use daxshim_core::contract::{Effect, Operation, Subject, Verdict, verdict};

/// What the kernel would have said before it came to look at the tag.
pub enum Earlier {
    /// Nothing.
    Nothing,
    /// It will refuse; let it.
    Refuses,
    /// This errno; the kernel can't be asked without doing it.
    Says(Errno),
}

impl Earlier {
    /// [`Earlier::Refuses`] if so.
    pub fn refuses_if(refuses: bool) -> Earlier {
        if refuses {
            Earlier::Refuses
        } else {
            Earlier::Nothing
        }
    }

    /// [`Earlier::Says`] if there is something to say.
    pub fn says(errno: Option<Errno>) -> Earlier {
        errno.map_or(Earlier::Nothing, Earlier::Says)
    }
}

/// Asks the contract and carries its answer out. `earlier` and `effect` are looked at only where a
/// tag is in force.
pub fn enforce(
    operation: Operation,
    subject: Subject,
    earlier: impl FnOnce() -> Earlier,
    effect: impl FnOnce() -> Effect,
) -> Step {
    if !matches!(subject, Subject::Tagged | Subject::Broken) {
        return Step::PASS;
    }
    match earlier() {
        Earlier::Nothing => {}
        Earlier::Refuses => return Step::PASS,
        Earlier::Says(errno) => return Step::fail(errno),
    }
    let counters = page::page().and_then(|page| page.operation(operation));
    match verdict(operation, subject, effect(), process::config().policy) {
        Verdict::Allow => Step::PASS,
        Verdict::Record => {
            if let Some(counters) = counters {
                counters.recorded.fetch_add(1, Ordering::Relaxed);
            }
            check::refused(operation, Code::Audited);
            if operation != Operation::Read {
                audit::letting_through();
            }
            Step::PASS
        }
        by_compat @ (Verdict::Pretend | Verdict::LetThrough) => {
            if let Some(counters) = counters {
                counters.pretended.fetch_add(1, Ordering::Relaxed);
            }
            match by_compat {
                Verdict::Pretend => Step::answer(0),
                _ => Step::PASS,
            }
        }
        Verdict::Refuse { compat_would_allow } => {
            if let Some(counters) = counters {
                counters.refused.fetch_add(1, Ordering::Relaxed);
                counters
                    .compat_would_allow
                    .fetch_add(u64::from(compat_would_allow), Ordering::Relaxed);
            }
            check::refused(
                operation,
                if compat_would_allow {
                    Code::RefusedIdle
                } else {
                    Code::Refused
                },
            );
            Step::fail(libc::EPERM)
        }
    }
}
