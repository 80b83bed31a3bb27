//! Findings go into the log, each with the stack that led to it.

use super::budget::clock;
use super::log::log;
use super::{budget, stack, stacks};
use daxshim_core::check::log::{Finding, Stack};

/// Notes a finding with the stack of the present call.
#[cold]
#[inline(never)]
pub fn note(finding: &Finding) {
    let Some(log) = log() else { return };
    if !budget::allows() {
        log.note(finding, None, clock());
        return;
    }
    budget::spend(|| {
        let stack = stacks::stack();
        log.note(
            finding,
            Some(stack.as_ref().unwrap_or(&Stack::new())),
            clock(),
        );
    });
}

/// As [`note`], with the stack of an earlier call, of which only the caller is known.
#[cold]
#[inline(never)]
pub fn note_of(finding: &Finding, caller: usize) {
    let Some(log) = log() else { return };
    let mut stack = Stack::new();
    stack.push(caller as u64);
    stacks::spacious(|| stack::note_modules(log, &stack));
    log.note(finding, Some(&stack), clock());
}
