//! Whether this machine has anything that does DAX. Where it has nothing, no tag binds (rule 7 of the
//! proposal: the flag means something only where the backing store does DAX), and no call need ask
//! for one. Without this, chmod(2) by path would cost twice as much.

use crate::real::sys;
use core::ffi::CStr;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
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

/// pmem, whether NFIT, e820, CXL or virtio, is on the kernel's nvdimm bus, whose numbers begin at 0;
/// virtiofs has its DAX window elsewhere. Looked up by name, as opening even for a moment a
/// descriptor that a forked child might inherit is out of the question here.
#[cold]
#[inline(never)]
fn look(now: u64) -> bool {
    let found = !exists(c"/sys/bus")
        || exists(c"/sys/bus/nd/devices/ndbus0")
        || exists(c"/sys/bus/virtio/drivers/virtiofs");
    if found {
        FOUND.store(true, Ordering::Relaxed);
    } else {
        LOOKED.store(now, Ordering::Relaxed);
    }
    found
}

fn exists(path: &CStr) -> bool {
    // SAFETY: a C string.
    unsafe { sys!(SYS_access, path.as_ptr(), libc::F_OK) }.is_ok()
}
