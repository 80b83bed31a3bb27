//! Whether the CPU's caches are inside the persistence domain (eADR) for a device.

use crate::process::config;
use core::sync::atomic::{AtomicU64, Ordering};
use daxshim_core::line::Line;
use rustix::fs::{CWD, Mode, OFlags, openat};

/// Regions of NVDIMMs that are looked at; machines have a handful.
const REGIONS: u32 = 256;

/// One more than the device that was last found to need write-back: a mapping would pay four times its
/// price to ask sysfs again, and write-back that the caches no longer need loses nothing.
static NEEDS_WRITE_BACK: AtomicU64 = AtomicU64::new(0);

/// Whether stores to `device` (`st_dev`) are durable without write-back: the pmem driver's own
/// switch says so, which the kernel's dax_flush obeys too, and no region denies it. PMDK's
/// `PMEM_NO_FLUSH` overrides both.
pub fn covers(device: u64) -> bool {
    if let Some(no_flush) = config().no_flush {
        return no_flush;
    }
    if NEEDS_WRITE_BACK.load(Ordering::Relaxed) == device.wrapping_add(1) {
        return false;
    }
    let (major, minor) = (libc::major(device), libc::minor(device));
    let switch = first_byte(format_args!(
        "/sys/dev/block/{major}:{minor}/dax/write_cache"
    ));
    let covers = switch == Some(b'0') && !(0..REGIONS).any(needs_flush);
    if !covers {
        NEEDS_WRITE_BACK.store(device.wrapping_add(1), Ordering::Relaxed);
    }
    covers
}

/// Whether a region says that its persistence domain ends before the caches. One that is not there
/// or says nothing (e820) does not.
fn needs_flush(region: u32) -> bool {
    let path = format_args!("/sys/bus/nd/devices/region{region}/persistence_domain");
    first_byte(path).is_some_and(|byte| byte != b'c')
}

/// The first byte of a file of sysfs.
fn first_byte(path: core::fmt::Arguments<'_>) -> Option<u8> {
    let mut line = Line::<96>::new();
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let file = openat(CWD, line.c_str(path)?, flags, Mode::empty()).ok()?;
    let mut byte = [0u8; 1];
    (rustix::io::read(&file, &mut byte) == Ok(1)).then_some(byte[0])
}
