//! What the machine offers: pmem, DAX mounts, flush instructions, kernel features, privileges.

use std::ffi::OsStr;
use std::fs::File;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, XattrFlags};
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags};
use serde::Serialize;

use super::mount;
use super::privilege::{Capabilities, capabilities};
use crate::config::Config;
use crate::flush::WriteBack;

/// Everything that `daxshim doctor` shows.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    /// Block devices of persistent memory.
    pub devices: Vec<PmemDevice>,
    /// Regions of persistent memory and their persistence domains.
    pub regions: Vec<PmemRegion>,
    /// Mounts whose files can have DAX.
    pub mounts: Vec<DaxMount>,
    /// The instruction that writes cache lines back.
    pub flush: &'static str,
    /// Whether CPU caches are within the persistence domain (eADR): every region says
    /// `cpu_cache`, every device's `write_cache` is 0.
    pub eadr: bool,
    /// The kernel.
    pub kernel: Kernel,
    /// The caller's effective capabilities.
    pub capabilities: Capabilities,
    /// Where emulated tags work with the flush path.
    pub emulation: Emulation,
    /// What is missing, and how to get it.
    pub advice: Vec<Advice>,
}

/// A block device of persistent memory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PmemDevice {
    /// Its name, as in /dev.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// `queue/dax`: it can be accessed directly.
    pub dax: bool,
    /// `dax/write_cache`: stores have to be flushed; `None` where the kernel does not say.
    pub write_cache: Option<bool>,
}

/// A region of /sys/bus/nd.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PmemRegion {
    /// Its name.
    pub name: String,
    /// `cpu_cache` (eADR), `memory_controller` (ADR); `None` where the kernel does not say.
    pub persistence_domain: Option<String>,
}

/// A mount whose files can have DAX.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DaxMount {
    /// Where it is mounted.
    #[serde(serialize_with = "super::json::path")]
    pub point: PathBuf,
    /// The device.
    pub source: String,
    /// Filesystem type.
    pub filesystem: String,
    /// The `dax` mount option.
    pub dax: Option<String>,
}

/// The kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Kernel {
    /// As uname(2) says.
    pub release: String,
    /// mmap(2) knows MAP_SYNC.
    pub map_sync: bool,
    /// getxattrat(2), Linux 6.13.
    pub getxattrat: bool,
    /// `user.` attributes on tmpfs, Linux 6.6; `None` where it could not be tried.
    pub tmpfs_user_xattr: Option<bool>,
}

/// Where emulated tags work with the flush path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Emulation {
    /// A writable tmpfs.
    #[serde(serialize_with = "super::json::optional")]
    pub directory: Option<PathBuf>,
    /// The attribute that an emulated tag would use there.
    pub attribute: Option<&'static str>,
}

/// Something missing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Advice {
    /// What is missing.
    pub missing: String,
    /// How to get it.
    pub remedy: String,
}

/// Looks at the machine. Needs no privilege and changes nothing.
#[must_use]
pub fn doctor() -> Machine {
    let devices = devices(Path::new("/sys/block"));
    let regions = regions(Path::new("/sys/bus/nd/devices"));
    let mounts = dax_mounts();
    let kernel = kernel();
    let capabilities = capabilities();
    let mut machine = Machine {
        eadr: is_eadr(&devices, &regions),
        flush: WriteBack::choose(&Config::default()).word(),
        emulation: emulation(&kernel, capabilities),
        devices,
        regions,
        mounts,
        kernel,
        capabilities,
        advice: Vec::new(),
    };
    machine.advice = advice(&machine);
    machine
}

fn advice(machine: &Machine) -> Vec<Advice> {
    let mut advice = Vec::new();
    let mut add = |missing: &str, remedy: &str| {
        advice.push(Advice {
            missing: missing.into(),
            remedy: remedy.into(),
        });
    };
    if machine.devices.is_empty() {
        add(
            "no persistent memory",
            "boot with memmap=SIZE!START to use RAM as /dev/pmem0; or, with the sources at hand, \
             scripts/vm -- COMMAND runs COMMAND on real fs-DAX in a virtual machine",
        );
    } else if machine.mounts.is_empty() {
        add(
            "no DAX mount",
            "mkfs.ext4 -b 4096 /dev/pmem0, or mkfs.xfs -m reflink=0 /dev/pmem0; then mount -o \
             dax=always",
        );
    }
    if !machine.kernel.map_sync {
        add(
            "the kernel does not know MAP_SYNC",
            "Linux 4.15 or newer, with CONFIG_FS_DAX",
        );
    }
    if !(machine.capabilities.linux_immutable && machine.capabilities.sys_admin) {
        add(
            "CAP_LINUX_IMMUTABLE and CAP_SYS_ADMIN, to set and clear tags",
            "run tag and untag as root; using tagged files needs neither, nor do emulated tags",
        );
    }
    if machine.emulation.attribute.is_none() {
        add(
            "no place for emulated tags with the flush path",
            "a writable tmpfs on /dev/shm, with Linux 6.6 or as root",
        );
    }
    advice
}

/// The text of a sysfs file.
fn read(path: impl AsRef<Path>) -> Option<String> {
    std::fs::read_to_string(path)
        .ok()
        .map(|text| text.trim().to_owned())
}

fn entries(directory: &Path, prefix: &str) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = std::fs::read_dir(directory)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix))
        .map(|entry| entry.path())
        .collect();
    found.sort();
    found
}

fn name(path: &Path) -> String {
    path.file_name()
        .unwrap_or_else(|| OsStr::new(""))
        .to_string_lossy()
        .into_owned()
}

fn devices(block: &Path) -> Vec<PmemDevice> {
    entries(block, "pmem")
        .iter()
        .map(|path| PmemDevice {
            name: name(path),
            // In units of 512 bytes, whatever the device's sectors are.
            size: read(path.join("size"))
                .and_then(|size| size.parse::<u64>().ok())
                .unwrap_or(0)
                .saturating_mul(512),
            dax: read(path.join("queue/dax")).as_deref() == Some("1"),
            write_cache: read(path.join("dax/write_cache")).map(|value| value != "0"),
        })
        .collect()
}

fn regions(bus: &Path) -> Vec<PmemRegion> {
    entries(bus, "region")
        .iter()
        .map(|path| PmemRegion {
            name: name(path),
            persistence_domain: read(path.join("persistence_domain")),
        })
        .collect()
}

fn is_eadr(devices: &[PmemDevice], regions: &[PmemRegion]) -> bool {
    !devices.is_empty()
        && !regions.is_empty()
        && devices.iter().all(|d| d.write_cache == Some(false))
        && regions
            .iter()
            .all(|r| r.persistence_domain.as_deref() == Some("cpu_cache"))
}

fn dax_mounts() -> Vec<DaxMount> {
    mount::dax_mounts()
        .into_iter()
        .map(|mount| DaxMount {
            point: mount.point,
            source: mount.source,
            filesystem: mount.filesystem,
            dax: mount.dax,
        })
        .collect()
}

fn kernel() -> Kernel {
    Kernel {
        release: read("/proc/sys/kernel/osrelease").unwrap_or_else(|| "unknown".into()),
        map_sync: knows_map_sync(),
        getxattrat: knows_getxattrat(),
        tmpfs_user_xattr: tmpfs_user_xattr(),
    }
}

/// A kernel that knows MAP_SYNC answers EOPNOTSUPP where it cannot grant it; others EINVAL.
fn knows_map_sync() -> bool {
    let Ok(file) = File::open("/proc/self/exe") else {
        return false;
    };
    // SAFETY: a fresh mapping, unmapped at once.
    let mapped = unsafe {
        rustix::mm::mmap(
            std::ptr::null_mut(),
            1,
            ProtFlags::READ,
            MapFlags::SHARED_VALIDATE | MapFlags::SYNC,
            &file,
            0,
        )
    };
    match mapped {
        Ok(address) => {
            // SAFETY: nobody else knows the mapping.
            let _ = unsafe { rustix::mm::munmap(address, 1) };
            true
        }
        Err(errno) => errno == Errno::OPNOTSUPP,
    }
}

fn knows_getxattrat() -> bool {
    const GETXATTRAT: libc::c_long = 464;
    // SAFETY: a bad descriptor and null pointers; the kernel answers with an error.
    let answer = unsafe { libc::syscall(GETXATTRAT, -1, 0, 0, 0, 0, 0) };
    answer == 0 || std::io::Error::last_os_error().raw_os_error() != Some(libc::ENOSYS)
}

const SHM: &str = "/dev/shm";

/// Tries it on a file without a name, which goes with its descriptor.
fn tmpfs_user_xattr() -> Option<bool> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    let file = rustix::fs::open(SHM, flags, Mode::RUSR | Mode::WUSR).ok()?;
    match rustix::fs::fsetxattr(&file, "user.daxshim_probe", b"1", XattrFlags::empty()) {
        Ok(()) => Some(true),
        Err(Errno::OPNOTSUPP) => Some(false),
        Err(_) => None,
    }
}

fn emulation(kernel: &Kernel, capabilities: Capabilities) -> Emulation {
    let directory = kernel.tmpfs_user_xattr.map(|_| PathBuf::from(SHM));
    let attribute = match kernel.tmpfs_user_xattr {
        Some(true) => Some("user.dax_immutable"),
        Some(false) if capabilities.sys_admin => Some("security.dax_immutable"),
        _ => None,
    };
    Emulation {
        directory,
        attribute,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(write_cache: Option<bool>) -> PmemDevice {
        PmemDevice {
            name: "pmem0".into(),
            size: 1 << 30,
            dax: true,
            write_cache,
        }
    }

    fn region(domain: Option<&str>) -> PmemRegion {
        PmemRegion {
            name: "region0".into(),
            persistence_domain: domain.map(Into::into),
        }
    }

    #[test]
    fn eadr_needs_every_device_and_every_region_to_say_so() {
        let eadr = |device, region| is_eadr(&[device], &[region]);
        assert!(eadr(device(Some(false)), region(Some("cpu_cache"))));
        assert!(!eadr(device(Some(true)), region(Some("cpu_cache"))));
        assert!(!eadr(device(None), region(Some("cpu_cache"))));
        assert!(!eadr(
            device(Some(false)),
            region(Some("memory_controller"))
        ));
        assert!(!eadr(device(Some(false)), region(None)));
        assert!(!is_eadr(&[], &[]));
    }

    #[test]
    fn sysfs_is_read() {
        let sys = tempfile::tempdir().unwrap();
        let pmem = sys.path().join("pmem0");
        std::fs::create_dir_all(pmem.join("queue")).unwrap();
        std::fs::create_dir_all(pmem.join("dax")).unwrap();
        std::fs::write(pmem.join("size"), "2097152\n").unwrap();
        std::fs::write(pmem.join("queue/dax"), "1\n").unwrap();
        std::fs::write(pmem.join("dax/write_cache"), "0\n").unwrap();
        std::fs::create_dir_all(sys.path().join("sda")).unwrap();
        assert_eq!(devices(sys.path()), [device(Some(false))]);
        std::fs::create_dir_all(sys.path().join("region0")).unwrap();
        assert_eq!(regions(sys.path()), [region(None)]);
    }

    #[test]
    fn this_machine_can_be_looked_at() {
        let machine = doctor();
        assert!(!machine.kernel.release.is_empty());
        assert!(
            machine.devices.is_empty() || !machine.mounts.is_empty() || !machine.advice.is_empty()
        );
    }
}
