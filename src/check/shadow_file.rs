//! The files in which shadows are kept, in the report directory: made by the first process of the run that maps
//! the file, and mapped by the others.

use super::log::path_of;
use super::shadows::{each_chunk, wait};
use crate::ground::allocate::allocate;
use crate::ground::page;
use crate::ground::place::{Stat, borrow};
use core::ffi::CStr;
use core::ptr;
use core::sync::atomic::Ordering;
use daxshim_core::check::lines::{Digest, LINE, PAGE};
use daxshim_core::check::shadow::{self, DIGESTS, Header};
use daxshim_core::line::Line;
use daxshim_core::report::{PATH_LEN, store_bytes};
use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, OFlags, StatxFlags, openat, symlinkat, unlinkat};
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags};

/// Which file a shadow is of.
#[derive(Clone, Copy)]
pub(super) struct Kept {
    pub(super) device: u64,
    pub(super) inode: u64,
    /// Its size, or of one that may grow its time of birth.
    pub(super) number: u64,
    pub(super) grows: bool,
}

/// When an open file was made, ns since the epoch; 0 where that is not known.
pub(super) fn birth(fd: i32) -> u64 {
    let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
    let asked = StatxFlags::BTIME;
    let stat = borrow(fd).and_then(|fd| rustix::fs::statx(fd, c"", flags, asked).ok());
    let stat = stat.filter(|stat| stat.stx_mask & asked.bits() != 0);
    stat.map_or(0, |stat| {
        let seconds = (stat.stx_btime.tv_sec as u64).wrapping_mul(1_000_000_000);
        seconds.wrapping_add(u64::from(stat.stx_btime.tv_nsec))
    })
}

/// `PREFIX.DEV.INO.NUMBER`.
pub(super) fn file_name<'a>(line: &'a mut Line<80>, prefix: &str, kept: Kept) -> Option<&'a CStr> {
    let (device, inode, number) = (kept.device, kept.inode, kept.number);
    line.c_str(format_args!("{prefix}{device:x}.{inode}.{number}"))
}

const FLAGS: OFlags = OFlags::RDWR.union(OFlags::CLOEXEC);
const NEW: OFlags = FLAGS.union(OFlags::CREATE).union(OFlags::EXCL);

/// The shadow's file, mapped: that of another process of the run, or a new one; and for how many bytes of the file
/// it has digests.
pub(super) fn open(
    fd: i32,
    stat: &Stat,
    kept: Kept,
    bytes: usize,
) -> Result<(*mut Header, usize), Errno> {
    let length = Header::shadow_length(stat.st_size as u64);
    let directory = page::report_directory()?;
    let mut name = Line::<80>::new();
    let name = file_name(&mut name, shadow::FILE_PREFIX, kept).ok_or(Errno::NAMETOOLONG)?;
    match openat(&directory, name, NEW, 0o600.into()) {
        Ok(file) => {
            let size = stat.st_size as usize;
            let file = match fill(&file, fd, size, length) {
                Ok(()) => file,
                Err(errno) => {
                    drop(file);
                    let _ = unlinkat(&directory, name, AtFlags::empty());
                    if errno != Errno::NOSPC {
                        return Err(errno);
                    }
                    let file = spill(&directory, name)?;
                    fill(&file, fd, size, length)?;
                    file
                }
            };
            let header = map(&file, length)?;
            // SAFETY: a mapping of a whole shadow, whose header is zeros.
            fill_in(unsafe { &*header }, fd, stat, kept);
            Ok((header, bytes))
        }
        Err(Errno::EXIST) => {
            let file = openat(&directory, name, FLAGS, 0.into())?;
            // Its maker may still be filling it.
            let size = || rustix::fs::fstat(&file).map(|stat| stat.st_size as u64);
            let least = if kept.grows { DIGESTS as u64 } else { length };
            wait(|| size().is_ok_and(|size| size >= least)).ok_or(Errno::AGAIN)?;
            // The header alone, to begin with: it may have had another size when it was made.
            let first = map(&file, DIGESTS as u64)?;
            // SAFETY: a mapping of a header, never unmapped.
            let filled = unsafe { &*first };
            wait(|| filled.magic.load(Ordering::Acquire) == shadow::MAGIC).ok_or(Errno::AGAIN)?;
            filled.elsewhere.store(1, Ordering::Relaxed);
            if !kept.grows {
                return Ok((map(&file, length)?, bytes));
            }
            map_whole(&file)
        }
        Err(errno) => Err(errno),
    }
}

/// Maps a shadow, however long it is by now; and for how many bytes of the file it has digests.
pub(super) fn map_whole(file: &OwnedFd) -> Result<(*mut Header, usize), Errno> {
    let length = rustix::fs::fstat(file)?.st_size as u64;
    let digests = (length as usize).checked_sub(DIGESTS).ok_or(Errno::AGAIN)?;
    let bytes = digests / size_of::<Digest>() * LINE;
    Ok((map(file, length)?, bytes))
}

/// Makes the shadow of a file that may grow long enough for `size` bytes, and maps it anew: zeros are added.
pub(super) fn lengthen(kept: Kept, size: usize) -> Result<(*mut Header, usize), Errno> {
    let directory = page::report_directory()?;
    let mut name = Line::<80>::new();
    let name = file_name(&mut name, shadow::FILE_PREFIX, kept).ok_or(Errno::NAMETOOLONG)?;
    let file = openat(&directory, name, FLAGS, 0.into())?;
    let length = Header::shadow_length(size as u64);
    let now = rustix::fs::fstat(&file)?.st_size as u64;
    if now < length {
        reserve(&file, now, length - now)?;
    }
    map_whole(&file)
}

/// A place in the second directory, where the first is full: the command has made one, and reads both.
fn spill(directory: &OwnedFd, name: &CStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::RDONLY;
    let other = openat(directory, shadow::SPILL, flags, 0.into()).map_err(|_| Errno::NOSPC)?;
    let file = openat(&other, name, NEW, 0o600.into())?;
    let mut target = Line::<96>::new();
    let path = name.to_str().map_err(|_| Errno::ILSEQ)?;
    let spill = shadow::SPILL.to_str().map_err(|_| Errno::ILSEQ)?;
    let target = target.c_str(format_args!("{spill}/{path}"));
    symlinkat(target.ok_or(Errno::NAMETOOLONG)?, directory, name)?;
    Ok(file)
}

fn map(file: &OwnedFd, length: u64) -> Result<*mut Header, Errno> {
    let (anywhere, length) = (ptr::null_mut(), length as usize);
    let protection = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: a new mapping at an address of the kernel's choice.
    let mapping =
        unsafe { rustix::mm::mmap(anywhere, length, protection, MapFlags::SHARED, file, 0)? };
    Ok(mapping.cast())
}

/// Zeros. Where the filesystem can't allocate, they are written.
fn reserve(file: &OwnedFd, offset: u64, length: u64) -> Result<(), Errno> {
    match allocate(file, offset, length) {
        Err(Errno::OPNOTSUPP) => {
            let zeros = [0; LINE * 8];
            let mut at = offset;
            while at < offset + length {
                let rest = (offset + length - at).min(zeros.len() as u64) as usize;
                write_all(file, zeros.get(..rest).unwrap_or(&[]), at)?;
                at += rest as u64;
            }
            Ok(())
        }
        other => other,
    }
}

/// Writes a new shadow of a file of `size` bytes: zeros, and the digests. By the kernel: a mapping would
/// cost a fault for each page, and zeros that are overwritten. What is written is allocated, and not
/// merely sized: a store on a full filesystem would be SIGBUS.
fn fill(shadow: &OwnedFd, fd: i32, size: usize, length: u64) -> Result<(), Errno> {
    let last = (length - 1) / PAGE as u64 * PAGE as u64;
    reserve(shadow, 0, DIGESTS as u64)?;
    reserve(shadow, last, length - last)?;
    each_chunk(fd, size, |offset, digests| {
        let place = DIGESTS + offset / LINE * size_of::<Digest>();
        // SAFETY: integers, as bytes.
        let bytes =
            unsafe { core::slice::from_raw_parts(digests.as_ptr().cast(), size_of_val(digests)) };
        write_all(shadow, bytes, place as u64)
    })
}

fn write_all(file: &OwnedFd, mut bytes: &[u8], mut at: u64) -> Result<(), Errno> {
    while !bytes.is_empty() {
        match rustix::io::pwrite(file, bytes, at) {
            Ok(written) => {
                bytes = bytes.get(written..).unwrap_or(&[]);
                at += written as u64;
            }
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

fn fill_in(header: &Header, fd: i32, stat: &Stat, kept: Kept) {
    header.device.store(stat.st_dev, Ordering::Relaxed);
    header.inode.store(stat.st_ino, Ordering::Relaxed);
    header.size.store(stat.st_size as u64, Ordering::Relaxed);
    if kept.grows {
        header.birth.store(kept.number, Ordering::Relaxed);
        header.grows.store(1, Ordering::Relaxed);
    }
    let mut path = [0; PATH_LEN];
    let len = path_of(fd, &mut path);
    store_bytes(&header.path, &path);
    header.path_len.store(len as u8, Ordering::Relaxed);
    // Last: whoever sees it sees the rest.
    header.magic.store(shadow::MAGIC, Ordering::Release);
}
