//! What a hook is given and what it answers, and the slot that each symbol and each system call has.

use crate::ground::real::numbers::ELSEWHERE;
use crate::ground::real::set_errno;
use core::mem::offset_of;
use core::sync::atomic::{AtomicPtr, Ordering};

/// What the hook wants done. Returned in two registers.
#[repr(C)]
pub struct Step {
    kind: usize,
    pub(super) value: isize,
}

impl Step {
    /// On to the real function.
    pub const PASS: Step = Step { kind: 0, value: 0 };

    /// The real function, and then what [`Call::after`] says.
    pub(super) const AROUND: Step = Step { kind: 2, value: 0 };

    /// Whether it is [`Step::PASS`].
    pub const fn is_pass(&self) -> bool {
        self.kind == 0
    }

    /// Return `value` to the program.
    pub const fn answer(value: isize) -> Step {
        Step { kind: 1, value }
    }

    /// As [`Step::answer`], but where the real function would have been a cancellation point, be
    /// one: a thread that calls nothing else must stay cancellable.
    pub const fn answer_cancellable(value: isize) -> Step {
        Step { kind: 3, value }
    }

    /// Return -1 with errno set.
    pub fn fail(errno: i32) -> Step {
        set_errno(errno);
        Step::answer(-1)
    }
}

/// A hook: looks at the call and says what is to be done.
pub type Check = extern "C" fn(&mut Call) -> Step;

/// What runs behind the real function of an *around*; its value goes to the program. It must
/// preserve errno.
pub type After = extern "C" fn(&Call, isize) -> isize;

/// Of one exported symbol.
#[repr(C)]
pub struct Slot {
    /// Where the symbol leads: [`enter`](super::trampoline::enter), or straight on once libc's own system calls are asked
    /// about, which is where its real function ends up.
    pub(super) entry: AtomicPtr<()>,
    /// The next definition of the symbol; until the constructor has run, what serves until then.
    pub real: AtomicPtr<()>,
    /// The hook.
    pub check: Check,
    /// The system call that serves until the constructor has run.
    pub number: usize,
    /// The symbol, with a NUL behind it, as dlsym(3) and redhook want it; nothing for a system call itself, or for what no symbol leads to.
    pub name: &'static str,
    /// The hook's family.
    pub family: &'static str,
}

impl Slot {
    /// Whether its function is none of libc's.
    pub fn is_elsewhere(&self) -> bool {
        self.number == ELSEWHERE as usize
    }

    /// Where the symbol leads.
    pub fn leads_to(&self) -> *mut () {
        self.entry.load(Ordering::Acquire)
    }

    /// Leads it elsewhere: to code that expects r11 at the slot.
    pub fn lead_to(&self, entry: *mut ()) {
        self.entry.store(entry, Ordering::Release);
    }
}

/// The registers of a call, on the stack of [`enter`](super::trampoline::enter).
#[repr(C)]
pub struct Call {
    /// rdi, rsi, rdx, rcx, r8, r9.
    pub args: [usize; 6],
    pub(super) rax: usize,
    pub(super) slot: *const Slot,
    pub(super) after: Option<After>,
    /// Room for a hook to hand something to its `After`.
    pub note: usize,
}

impl Call {
    /// Where the program called from.
    pub fn return_address(&self) -> usize {
        // SAFETY: a call lies at the end of the frame of `enter`, whose caller's address is above it.
        unsafe { (&raw const *self).cast::<usize>().add(FRAME / 8).read() }
    }

    /// The program's stack pointer, at the exported symbol.
    pub fn frame(&self) -> usize {
        (&raw const *self as usize) + FRAME
    }

    /// The seventh argument, where a symbol that has one was called.
    pub fn seventh(&self) -> usize {
        // SAFETY: as in `return_address`, above which the caller's stack goes on.
        unsafe { (&raw const *self).cast::<usize>().add(FRAME / 8 + 1).read() }
    }

    /// The number of the system call.
    pub fn number(&self) -> usize {
        // SAFETY: the slot that the call came through, which lives as long as the library.
        unsafe { (*self.slot).number }
    }

    /// Whether it is a system call, made in libc or by syscall(2), and not a call of a function.
    pub fn is_by_number(&self) -> bool {
        // SAFETY: as in `number`.
        let slot = unsafe { &*self.slot };
        slot.name.is_empty() && !slot.is_elsewhere()
    }

    /// Calls the real function, then `after`.
    pub fn then(&mut self, after: After) -> Step {
        self.after = Some(after);
        Step::AROUND
    }
}

/// Where `Slot`'s entry is.
pub const ENTRY: usize = offset_of!(Slot, entry);

/// Bytes of [`enter`](super::trampoline::enter)'s frame: it holds a [`Call`], and keeps the stack aligned to 16.
pub(super) const FRAME: usize = 88;
const _: () = assert!(size_of::<Call>() <= FRAME && FRAME % 16 == 8);
