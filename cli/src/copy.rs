//! Copies of files that share blocks or leave holes where they can.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use rustix::fs::{FallocateFlags, SeekFrom, copy_file_range, fallocate, ioctl_ficlone, seek};
use rustix::io::Errno;

/// Bytes that are written at once.
const RUN: usize = 1 << 20;

/// Copies a file's content to another of the same size: a reflink, or else its data, and its holes.
pub fn copy_sparsely(from: &File, to: &File, size: u64) -> io::Result<()> {
    if ioctl_ficlone(to, from).is_ok() {
        return Ok(());
    }
    let mut at = 0;
    while at < size {
        let start = match seek(from, SeekFrom::Data(at)) {
            Ok(start) => start,
            // Nothing but a hole to the end.
            Err(Errno::NXIO) => size,
            // Not all filesystems know: all is data.
            Err(_) => at,
        };
        if start > at {
            punch(to, at, start)?;
        }
        if start >= size {
            break;
        }
        let end = seek(from, SeekFrom::Hole(start)).unwrap_or(size).min(size);
        copy_range(from, to, start, end)?;
        at = end.max(start + 1);
    }
    Ok(())
}

/// What a new file has there anyway, and a used one may not.
fn punch(to: &File, start: u64, end: u64) -> io::Result<()> {
    if matches!(seek(to, SeekFrom::Data(start)), Err(Errno::NXIO)) {
        return Ok(());
    }
    let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    match fallocate(to, flags, start, end - start) {
        Err(Errno::OPNOTSUPP) => {
            let zeros = vec![0; RUN];
            let mut at = start;
            while at < end {
                let length = zeros.len().min((end - at) as usize);
                to.write_all_at(zeros.get(..length).unwrap_or_default(), at)?;
                at += length as u64;
            }
            Ok(())
        }
        other => Ok(other?),
    }
}

fn copy_range(from: &File, to: &File, start: u64, end: u64) -> io::Result<()> {
    let (mut read, mut written) = (start, start);
    while read < end {
        let left = usize::try_from(end - read).unwrap_or(usize::MAX);
        match copy_file_range(from, Some(&mut read), to, Some(&mut written), left) {
            // Its end is nearer than it was.
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(Errno::INTR) => {}
            // Between filesystems of different kinds.
            Err(Errno::XDEV | Errno::INVAL | Errno::OPNOTSUPP | Errno::NOSYS) => {
                return copy_bytes(from, to, read, end);
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn copy_bytes(from: &File, to: &File, mut at: u64, end: u64) -> io::Result<()> {
    let mut bytes = vec![0; 1 << 20];
    while at < end {
        let length = bytes.len().min((end - at) as usize);
        let room = bytes.get_mut(..length).unwrap_or_default();
        match from.read_at(room, at)? {
            0 => return Ok(()),
            read => {
                to.write_all_at(room.get(..read).unwrap_or_default(), at)?;
                at += read as u64;
            }
        }
    }
    Ok(())
}
