//! Whether the CPU's caches are inside the persistence domain (eADR) for a device. What is not certain
//! is flushed.

use crate::ground::process::config;
use crate::ground::real::{Errno, sys};
use core::ffi::CStr;
use core::sync::atomic::{AtomicU64, Ordering};
use daxshim_core::line::Line;
use daxshim_core::report::ticks;

/// Regions of NVDIMMs that are looked at; machines have a handful.
const REGIONS: u32 = 256;

/// How long it holds that no region denies it, in ticks: less than a second on every CPU with clwb.
const HOLDS: u64 = 1 << 30;

/// One more than the device that was last found to need write-back: a mapping would pay four times its
/// price to ask sysfs again, and write-back that the caches no longer need loses nothing.
static NEEDS_WRITE_BACK: AtomicU64 = AtomicU64::new(0);

/// When no region was last found to deny it, ticks; 0: never.
static ALL_AGREED: AtomicU64 = AtomicU64::new(0);

/// Whether stores to `device` (`st_dev`) are durable without write-back: the pmem driver's own
/// switch says so, which the kernel's dax_flush obeys too, and no region denies it. PMDK's
/// `PMEM_NO_FLUSH` overrides both.
///
/// The device's own answers are asked for at each mapping, as a number may become another device's;
/// only that no other region denies it is remembered, and for a moment.
pub fn covers(device: u64) -> bool {
    if let Some(no_flush) = config().no_flush {
        return no_flush;
    }
    if NEEDS_WRITE_BACK.load(Ordering::Relaxed) == device.wrapping_add(1) {
        return false;
    }
    let (major, minor) = (libc::major(device), libc::minor(device));
    // What /sys/dev/block leads to is below the namespace, and that below its region.
    let switch = format_args!("/sys/dev/block/{major}:{minor}/dax/write_cache");
    let region = format_args!("/sys/dev/block/{major}:{minor}/device/../persistence_domain");
    let covers = first_byte(switch) == Ok(b'0') && !denies(region) && all_regions_agree();
    if !covers {
        NEEDS_WRITE_BACK.store(device.wrapping_add(1), Ordering::Relaxed);
    }
    covers
}

fn all_regions_agree() -> bool {
    let (now, agreed) = (ticks(), ALL_AGREED.load(Ordering::Relaxed));
    if agreed != 0 && now.wrapping_sub(agreed) <= HOLDS {
        return true;
    }
    let denied = (0..REGIONS).any(|region| {
        denies(format_args!(
            "/sys/bus/nd/devices/region{region}/persistence_domain"
        ))
    });
    ALL_AGREED.store(if denied { 0 } else { now }, Ordering::Relaxed);
    !denied
}

/// Whether a region says in this file that its persistence domain ends before the caches, or can't be
/// asked. One that is not there, or has no such file (e820), says nothing.
fn denies(domain: core::fmt::Arguments<'_>) -> bool {
    // cpu_cache, memory_controller
    !matches!(first_byte(domain), Ok(b'c') | Err(libc::ENOENT))
}

/// The first byte of a file of sysfs.
fn first_byte(path: core::fmt::Arguments<'_>) -> Result<u8, Errno> {
    let mut line = Line::<96>::new();
    let path: &CStr = line.c_str(path).ok_or(libc::ENAMETOOLONG)?;
    let flags = libc::O_RDONLY | libc::O_CLOEXEC;
    let mut byte = 0_u8;
    // SAFETY: path and byte are ours, and so is the descriptor, which nobody else has for longer than
    // this unless another thread forks meanwhile: its child keeps a file of sysfs open.
    let read = unsafe {
        let fd = sys!(SYS_openat, libc::AT_FDCWD, path.as_ptr(), flags)?;
        let read = sys!(SYS_read, fd, &raw mut byte, 1);
        let _ = sys!(SYS_close, fd);
        read?
    };
    if read == 1 { Ok(byte) } else { Err(libc::EIO) }
}
