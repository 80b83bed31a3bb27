//! Whether this machine has anything that does DAX. Where it has nothing, no tag binds (rule 7 of the
//! proposal: the flag means something only where the backing store does DAX), and no call need ask
//! for one. Without this, chmod(2) by path would cost twice as much.

use crate::ground::real::{is_sealed, sys};
use core::ffi::CStr;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use daxshim_core::line::Line;
use daxshim_core::report::ticks;

/// How long it holds that there is nothing, in ticks: less than a second on every CPU with clwb. A
/// device that comes later (ndctl, hot-plug) must get a filesystem and a tagged file first.
const HOLDS: u64 = 1 << 30;

static FOUND: AtomicBool = AtomicBool::new(false);

/// When nothing was last found, ticks; 0 before the first look.
static LOOKED: AtomicU64 = AtomicU64::new(0);

/// Whether there is such a device, or it can't be ruled out. What was found once counts for ever.
#[inline]
pub fn may_exist() -> bool {
    if FOUND.load(Ordering::Relaxed) {
        return true;
    }
    let (now, looked) = (ticks(), LOOKED.load(Ordering::Relaxed));
    (looked == 0 || now.wrapping_sub(looked) > HOLDS) && look(now)
}

#[cold]
#[inline(never)]
fn look(now: u64) -> bool {
    if is_sealed() {
        return true;
    }
    let found = !exists(c"/sys/bus") || exists(c"/sys/bus/virtio/drivers/virtiofs") || has_pmem();
    if found {
        FOUND.store(true, Ordering::Relaxed);
    } else {
        LOOKED.store(now, Ordering::Relaxed);
    }
    found
}

/// pmem, whether of NFIT, e820, CXL or virtio and whatever device-mapper puts above it, is on a bus of
/// the kernel's nvdimm subsystem. There is one for NFIT, one for e820, and one for each device of
/// virtio-pmem and each root of CXL. A bus gets the lowest number that is free when it comes.
///
/// Looked up by name, as opening even for a moment a descriptor that a forked child might inherit is
/// out of the question here. The driver, where it is a module, is loaded only for what it drives: that
/// counts whatever numbers are in use.
fn has_pmem() -> bool {
    /// Buses that are looked for.
    const BUSES: u32 = 64;
    let mut line = Line::<40>::new();
    let mut is_bus = |number| {
        line.c_str(format_args!("/sys/bus/nd/devices/ndbus{number}"))
            .is_none_or(exists)
    };
    exists(c"/sys/bus/nd")
        && (exists(c"/sys/module/nd_pmem/initstate") || (0..BUSES).any(&mut is_bus))
}

/// Whether the path leads to something, or what it leads to can't be seen.
fn exists(path: &CStr) -> bool {
    // SAFETY: a C string.
    let answer = unsafe { sys!(SYS_access, path.as_ptr(), libc::F_OK) };
    !matches!(answer, Err(libc::ENOENT | libc::ENOTDIR))
}
