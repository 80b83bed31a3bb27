//! Who called: return addresses, by the program's unwind information.
//!
//! libgcc's unwinder finds it through `_dl_find_object` (glibc 2.35, GCC 12), which takes no lock and
//! allocates nothing. With older ones it would take the loader's lock, which no hook may: then no
//! stack is taken.

use crate::entry::wide::{keep_wide, look_at_wide_registers};
use crate::ground::loaded::{Code, code_at};
use crate::ground::maps::each_mapping_in;
use core::ffi::{c_int, c_void};
use core::ops::ControlFlow;
use core::ptr;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use daxshim_core::check::log::{Log, Stack};

/// Our own code: its frames are left out.
static OWN_START: AtomicUsize = AtomicUsize::new(0);
static OWN_END: AtomicUsize = AtomicUsize::new(0);

static USABLE: AtomicBool = AtomicBool::new(false);

unsafe extern "C" {
    fn _Unwind_Backtrace(
        visit: extern "C" fn(*mut c_void, *mut c_void) -> c_int,
        argument: *mut c_void,
    ) -> c_int;
    fn _Unwind_GetIPInfo(context: *mut c_void, before: *mut c_int) -> usize;
}

const URC_NO_REASON: c_int = 0;
const URC_NORMAL_STOP: c_int = 4;

/// Once, by the constructor.
pub fn start() {
    if let Some(Code { start, end }) = code_at(start as *const () as usize) {
        OWN_START.store(start, Ordering::Relaxed);
        OWN_END.store(end, Ordering::Relaxed);
    }
    // SAFETY: a C string with its NUL; the default lookup order.
    let found = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"_dl_find_object".as_ptr()) };
    USABLE.store(!found.is_null(), Ordering::Relaxed);
    look_at_wide_registers();
    // The unwinder prepares itself at its first use, which must not be inside a hook.
    fill(&mut Stack::new());
}

extern "C" fn visit(context: *mut c_void, stack: *mut c_void) -> c_int {
    let mut before = 0;
    // SAFETY: the unwinder's own context, and what `fill` handed it.
    let (address, stack) = unsafe {
        let address = _Unwind_GetIPInfo(context, &raw mut before);
        (address, &mut *stack.cast::<Stack>())
    };
    // The instruction that a signal interrupted is itself meant, not the one before it.
    let address = address + usize::from(before != 0);
    let own = OWN_START.load(Ordering::Relaxed)..OWN_END.load(Ordering::Relaxed);
    let outside = !own.contains(&address) && address != 0;
    if outside && !stack.push(address as u64) {
        return URC_NORMAL_STOP;
    }
    URC_NO_REASON
}

unsafe extern "C" fn unwind(stack: *mut c_void) {
    // SAFETY: `visit` gets the stack that it expects.
    unsafe { _Unwind_Backtrace(visit, stack) };
}

/// Whether stacks can be taken.
pub fn is_usable() -> bool {
    USABLE.load(Ordering::Relaxed)
}

/// Fills in the present stack, without our own frames. Needs some 2 KiB of it.
#[inline(never)]
pub fn fill(stack: &mut Stack) {
    if USABLE.load(Ordering::Relaxed) {
        // SAFETY: `unwind` gets the stack that it expects.
        unsafe { keep_wide(unwind, ptr::from_mut(stack).cast()) };
    }
}

/// Bytes of /proc/self/maps read together, on the stack: what is needed of a path is found in its beginning.
pub const TEXT: usize = 1024;

/// Has the log know the modules that a stack leads through.
#[inline(never)]
pub fn note_modules(log: &Log, stack: &Stack) {
    if stack.frames().iter().all(|&frame| log.knows(frame)) {
        return;
    }
    let _ = each_mapping_in(&mut [0; TEXT], |mapping| {
        log.add_module(mapping);
        ControlFlow::Continue(())
    });
}
