//! Takes SIGSEGV for itself, unnoticed by the program: it sees the disposition that it has set, and gets its own faults by
//! the kernel's own delivery.
//!
//! A fault kills the process while SIGSEGV is blocked or ignored. So SIGSEGV is left out of every mask that the program
//! sets by libc's functions: of a thread, of a handler, of a wait. Where the program ignores SIGSEGV, our handler does so in
//! the kernel's place; before another program is executed, which inherits that, the kernel is told to ignore it again.

use super::super::stacks;
use crate::entry::slot::{Call, Step};
use crate::ground::memory::{read_value, write_value};
use crate::ground::process;
use crate::ground::real::{SignalsBlocked, sys, yield_now};
use core::arch::naked_asm;
use core::ffi::{c_int, c_void};
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use libc::{
    SA_NODEFER, SA_ONSTACK, SA_RESTART, SA_SIGINFO, SIG_BLOCK, SIG_IGN, SIG_UNBLOCK, SIGSEGV,
    siginfo_t,
};
use once_cell::race::OnceRef;
use parking_lot::lock_api::RawMutex as _;

/// asm/signal.h of x86.
const SA_RESTORER: u64 = 0x0400_0000;
/// asm-generic/siginfo.h: the mapping does not permit it.
const SEGV_ACCERR: c_int = 2;
/// A fault's error code: a store (arch/x86/include/asm/trap_pf.h).
const IS_STORE: i64 = 1 << 1;

/// A set of signals as the kernel has it.
type Mask = u64;

const fn bit(signal: c_int) -> Mask {
    1 << (signal - 1)
}

/// struct sigaction of the kernel.
#[derive(Clone, Copy)]
#[repr(C)]
struct Action {
    handler: u64,
    flags: u64,
    restorer: u64,
    mask: Mask,
}

impl Action {
    const NONE: Action = Action {
        handler: 0,
        flags: 0,
        restorer: 0,
        mask: 0,
    };

    fn ours() -> Action {
        // Whatever the handler's own code may raise stays deliverable.
        let kept = bit(SIGSEGV) | bit(libc::SIGBUS) | bit(libc::SIGTRAP);
        Action {
            handler: enter as *const () as u64,
            flags: (SA_SIGINFO | SA_ONSTACK | SA_NODEFER) as u64 | SA_RESTORER,
            restorer: restorer(),
            mask: !kept,
        }
    }

    /// Ours, where the program has this: what it ignores interrupts no system call, as far as the kernel can
    /// restart them.
    fn replaced(self) -> Action {
        let ours = Action::ours();
        let restart = if self.is_ignored() {
            SA_RESTART as u64
        } else {
            0
        };
        Action {
            flags: ours.flags | restart,
            ..ours
        }
    }

    fn is_ignored(self) -> bool {
        self.handler == SIG_IGN as u64
    }

    /// As the program wants it, but that SIGSEGV is never blocked.
    fn unblocking(self, signal: c_int) -> Action {
        let not_deferred = match signal {
            SIGSEGV => SA_NODEFER as u64,
            _ => 0,
        };
        Action {
            flags: self.flags | not_deferred,
            mask: self.mask & !bit(SIGSEGV),
            ..self
        }
    }

    /// What the kernel has now, and, if there is something, what it is to have.
    fn exchange(signal: c_int, new: Option<Action>) -> Result<Action, i32> {
        let mut before = Action::NONE;
        let null = core::ptr::null();
        let new = new.as_ref().map_or(null, |new| new);
        // SAFETY: both are ours; a handler is the program's, or `enter`.
        unsafe { sys!(SYS_rt_sigaction, signal, new, &raw mut before, 8) }?;
        Ok(before)
    }
}

/// What is to be done about pages, which is the caller of [`arm`]'s to know.
pub struct Pages {
    /// A store to this address was refused: whether that was our doing, and the store is to be tried again.
    pub stored: fn(usize) -> bool,
    /// Makes every page writable that the program has so.
    pub restore_all: fn(),
    /// The same, and no page is protected again.
    pub give_up: fn(),
}

static PAGES: OnceRef<Pages> = OnceRef::new();

/// Says what is to be done about pages. Once, by the constructor.
pub fn start(pages: &'static Pages) {
    let _ = PAGES.set(pages);
}

fn give_up() {
    if let Some(pages) = PAGES.get() {
        (pages.give_up)();
    }
}

/// What the program has set for SIGSEGV.
static PROGRAM: [AtomicU64; 4] = [const { AtomicU64::new(0) }; 4];
/// Whether the kernel has ours.
static ARMED: AtomicBool = AtomicBool::new(false);
/// For [`PROGRAM`] and [`ARMED`]; held with signals blocked. Only ever tried: parking_lot's slow path
/// allocates.
static CHANGING: parking_lot::RawMutex = parking_lot::RawMutex::INIT;
/// Signals whose handlers' masks have SIGSEGV, as the program thinks.
static MASKED: AtomicU64 = AtomicU64::new(0);

fn program() -> Action {
    let [handler, flags, restorer, mask] = PROGRAM.each_ref().map(|v| v.load(Ordering::Relaxed));
    Action {
        handler,
        flags,
        restorer,
        mask,
    }
}

fn set_program(action: Action) {
    let values = [action.handler, action.flags, action.restorer, action.mask];
    for (cell, value) in PROGRAM.iter().zip(values) {
        cell.store(value, Ordering::Relaxed);
    }
}

fn changing<T>(change: impl Fn() -> T) -> T {
    loop {
        if let Some(result) = try_changing(&change) {
            return result;
        }
        yield_now();
    }
}

/// `None` where another thread is changing something.
fn try_changing<T>(change: impl FnOnce() -> T) -> Option<T> {
    let _signals = SignalsBlocked::new();
    CHANGING.try_lock().then(|| {
        let result = change();
        // SAFETY: locked by this thread, above.
        unsafe { CHANGING.unlock() };
        result
    })
}

/// In a forked child.
pub fn forked() {
    if CHANGING.is_locked() {
        // SAFETY: by a thread that does not exist here.
        unsafe { CHANGING.unlock() };
    }
}

/// Takes SIGSEGV over, if it is not ours; whether it is. Waits for nobody: who restores everything
/// waits for those who protect.
pub fn arm() -> bool {
    if ARMED.load(Ordering::Acquire) {
        return true;
    }
    // A child of vfork(2) has dispositions of its own.
    if !process::is_owner() {
        return false;
    }
    let armed = try_changing(|| {
        if ARMED.load(Ordering::Relaxed) {
            return true;
        }
        let Ok(before) = Action::exchange(SIGSEGV, Some(Action::ours())) else {
            return false;
        };
        // Where it was reset by being delivered (SA_RESETHAND), the kernel knows better.
        if before.handler != program().handler {
            set_program(before);
        }
        if program().is_ignored() {
            let _ = Action::exchange(SIGSEGV, Some(program().replaced()));
        }
        ARMED.store(true, Ordering::Release);
        true
    });
    armed == Some(true) && unblock()
}

/// Whether SIGSEGV is ours, as far as we know.
pub fn is_armed() -> bool {
    ARMED.load(Ordering::Acquire)
}

fn unblock() -> bool {
    let mask = bit(SIGSEGV);
    let none: *mut Mask = core::ptr::null_mut();
    // SAFETY: the mask is ours.
    unsafe { sys!(SYS_rt_sigprocmask, SIG_UNBLOCK, &raw const mask, none, 8) }.is_ok()
}

/// Whether the kernel has our handler indeed.
pub fn is_ours() -> bool {
    let now = Action::exchange(SIGSEGV, None);
    now.is_ok_and(|now| now.handler == Action::ours().handler)
}

/// The program gets SIGSEGV, and all its pages.
pub fn hand_over() {
    changing(|| {
        if ARMED.swap(false, Ordering::AcqRel) {
            // First of all: from then on other threads' faults are the program's.
            if let Some(pages) = PAGES.get() {
                (pages.restore_all)();
            }
            let action = program().unblocking(SIGSEGV);
            let _ = Action::exchange(SIGSEGV, Some(action));
        }
    });
}

/// The handler of SIGSEGV. On the interrupted stack, or the alternate one, as little as possible.
extern "C" fn enter(_: c_int, info: *mut siginfo_t, context: *mut c_void) {
    // SAFETY: what the kernel hands to a handler with SA_SIGINFO.
    let (info, registers) = unsafe {
        let context = &mut *context.cast::<libc::ucontext_t>();
        (&*info, &mut context.uc_mcontext.gregs)
    };
    let register =
        |registers: &[i64; 23], which: c_int| registers.get(which as usize).copied().unwrap_or(0);
    let sent = info.si_code <= 0;
    if !sent && let Some((to, frame)) = stacks::way_out(register(registers, libc::REG_RSP) as usize)
    {
        for (which, value) in [(libc::REG_RIP, to), (libc::REG_RBP, frame)] {
            if let Some(register) = registers.get_mut(which as usize) {
                *register = value as i64;
            }
        }
        return;
    }
    // SAFETY: a fault's siginfo has its address.
    let address = unsafe { info.si_addr() } as usize;
    let is_store = register(registers, libc::REG_ERR) & IS_STORE != 0;
    let stored = |pages: &Pages| (pages.stored)(address);
    if info.si_code == SEGV_ACCERR && is_store && PAGES.get().is_some_and(stored) {
        return;
    }
    if sent && program().is_ignored() {
        return;
    }
    // A fault happens again when this returns, and is then the program's. What was sent is sent again,
    // and delivered when this has returned.
    hand_over();
    if sent {
        resend(info);
    }
}

/// Another program is about to be executed: a disposition of ours would be reset to the default by it.
pub fn executing() {
    if !is_armed() || !program().is_ignored() {
        return;
    }
    if process::is_owner() {
        hand_over();
    } else if is_ours() {
        // A child of vfork(2): its own, while the pages are its parent's.
        let _ = Action::exchange(SIGSEGV, Some(program()));
    }
}

/// The execution that [`executing`] was told of has failed.
pub fn execution_failed() {
    if is_armed() && program().is_ignored() && !process::is_owner() {
        let _ = Action::exchange(SIGSEGV, Some(program().replaced()));
    }
}

fn resend(info: &siginfo_t) {
    let mask = bit(SIGSEGV);
    let none: *mut Mask = core::ptr::null_mut();
    // SAFETY: mask and siginfo are valid; the mask is that of the handler, which is about to return.
    let _ = unsafe {
        sys!(SYS_rt_sigprocmask, SIG_BLOCK, &raw const mask, none, 8).and_then(|_| {
            let thread = sys!(SYS_gettid)?;
            let info: *const siginfo_t = info;
            sys!(SYS_rt_tgsigqueueinfo, process::pid(), thread, SIGSEGV, info)
        })
    };
}

/// What [`restorer`] is, behind an instruction of its own: the unwinder looks for a caller one byte before the address, which must
/// not be the end of whatever function the linker put there.
///
/// # Safety
/// Not to be called.
#[unsafe(naked)]
unsafe extern "C" fn before_restore() {
    naked_asm!("nop", "mov rax, 15", "syscall")
}

/// What the handler returns to. The unwinder knows a signal's frame by these very instructions.
fn restorer() -> u64 {
    const NOP: u64 = 1;
    before_restore as *const () as u64 + NOP
}

/// rt_sigaction(2).
pub fn action(call: &Call) -> Option<Step> {
    let [signal, new, old, size, ..] = call.args;
    let signal = signal as c_int;
    if size != 8 || !(1..=64).contains(&signal) {
        return None;
    }
    if !process::is_owner() {
        // posix_spawn(3) resets what has a handler, and leaves what is ignored.
        let asked = signal == SIGSEGV && new == 0 && old != 0;
        return (asked && program().is_ignored() && is_ours()).then(|| {
            write_value(old, program());
            Step::answer(0)
        });
    }
    let new = match new {
        0 => None,
        // What cannot be read the kernel refuses.
        new => Some(read_value::<Action>(new)?),
    };
    let before = match signal {
        SIGSEGV => Ok(changing(|| of_segv(new))),
        _ => of_other(signal, new),
    };
    Some(match before {
        Ok(before) => {
            if old != 0 {
                write_value(old, before);
            }
            Step::answer(0)
        }
        Err(errno) => Step::fail(errno),
    })
}

fn of_segv(new: Option<Action>) -> Action {
    let armed = ARMED.load(Ordering::Relaxed);
    let mut before = program();
    if !armed && Action::exchange(SIGSEGV, None).is_ok_and(|now| now.handler == 0) {
        before.handler = 0;
    }
    if let Some(new) = new {
        set_program(new);
        let kept = if armed {
            new.replaced()
        } else {
            new.unblocking(SIGSEGV)
        };
        let _ = Action::exchange(SIGSEGV, Some(kept));
    }
    before
}

fn of_other(signal: c_int, new: Option<Action>) -> Result<Action, i32> {
    let before = Action::exchange(signal, new.map(|new| new.unblocking(signal)))?;
    let masked = MASKED.load(Ordering::Relaxed) & bit(signal) != 0;
    if let Some(new) = new {
        match new.mask & bit(SIGSEGV) {
            0 => MASKED.fetch_and(!bit(signal), Ordering::Relaxed),
            _ => MASKED.fetch_or(bit(signal), Ordering::Relaxed),
        };
    }
    let mask = before.mask | if masked { bit(SIGSEGV) } else { 0 };
    Ok(Action { mask, ..before })
}

/// rt_sigprocmask(2).
pub fn mask(call: &Call) -> Option<Step> {
    let [how, set, old, size, ..] = call.args;
    let wanted = (set != 0).then(|| read_value::<Mask>(set)).flatten()?;
    if size != 8 || how as c_int == SIG_UNBLOCK || wanted & bit(SIGSEGV) == 0 {
        return None;
    }
    let kept = wanted & !bit(SIGSEGV);
    // SAFETY: the mask is ours, the old one's place the program's, which the kernel checks.
    let result = unsafe { sys!(SYS_rt_sigprocmask, how, &raw const kept, old, 8) };
    Some(result.map_or_else(Step::fail, |_| Step::answer(0)))
}

/// What a wait takes for a mask, in the form of pselect6(2): address and size.
#[repr(C)]
struct Waiting {
    mask: AtomicU64,
    address: AtomicU64,
    size: AtomicU64,
}

/// Masks without SIGSEGV that some wait has had: the kernel reads them while the caller's frame is gone
/// already. They are few.
static WAITING: [Waiting; 64] = [const {
    Waiting {
        mask: AtomicU64::new(0),
        address: AtomicU64::new(0),
        size: AtomicU64::new(8),
    }
}; 64];

fn waiting(mask: Mask) -> Option<&'static Waiting> {
    let order = (Ordering::Relaxed, Ordering::Relaxed);
    let place = WAITING.iter().enumerate().find(|(i, place)| {
        // 0, an empty mask, is that of a free place as well: it has the first.
        let is_first = *i == 0;
        let known = || {
            let claimed = place.mask.compare_exchange(0, mask, order.0, order.1);
            claimed.is_ok() || claimed == Err(mask)
        };
        is_first == (mask == 0) && (is_first || known())
    });
    let (_, place) = place?;
    let address = (&raw const place.mask) as u64;
    place.address.store(address, Ordering::Relaxed);
    Some(place)
}

/// rt_sigsuspend(2), ppoll(2), epoll_pwait(2): the argument `which` is a mask.
pub fn wait(call: &mut Call, which: usize) {
    let Some(argument) = call.args.get_mut(which).filter(|argument| **argument != 0) else {
        return;
    };
    let wanted = read_value::<Mask>(*argument).unwrap_or(0);
    if wanted & bit(SIGSEGV) != 0 {
        match waiting(wanted & !bit(SIGSEGV)) {
            Some(place) => *argument = (&raw const place.mask) as usize,
            None => give_up(),
        }
    }
}

/// pselect6(2): its last argument holds address and size of a mask.
pub fn select(call: &mut Call) {
    let [.., argument] = &mut call.args;
    let pair = (*argument != 0).then(|| read_value::<[usize; 2]>(*argument));
    let Some([address, 8]) = pair.flatten().filter(|[address, _]| *address != 0) else {
        return;
    };
    let wanted = read_value::<Mask>(address).unwrap_or(0);
    if wanted & bit(SIGSEGV) != 0 {
        match waiting(wanted & !bit(SIGSEGV)) {
            Some(place) => *argument = (&raw const place.address) as usize,
            None => give_up(),
        }
    }
}
