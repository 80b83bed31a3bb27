//! The program's memory, looked at without ever faulting: process_vm_readv(2) on ourselves.

use crate::real::{Errno, sys};
use core::ffi::{c_char, c_void};
use libc::iovec;

/// Bytes of a page; mappings and faults come in these.
pub const PAGE: usize = 4096;

fn read(into: &mut [u8], from: &[iovec]) -> Result<usize, Errno> {
    let local = iovec {
        iov_base: into.as_mut_ptr().cast(),
        iov_len: into.len(),
    };
    read_to(&local, from.as_ptr(), from.len())
}

fn read_to(local: &iovec, from: *const iovec, count: usize) -> Result<usize, Errno> {
    // SAFETY: the local vector is ours; what can't be read of the rest is EFAULT.
    unsafe {
        let pid = sys!(SYS_getpid)?;
        sys!(
            SYS_process_vm_readv,
            pid,
            local as *const iovec,
            1,
            from,
            count,
            0
        )
    }
}

/// Whether the kernel would find nothing readable at `buffer`. Where it can't be asked (a seccomp
/// filter), the answer is no.
pub fn is_bad(buffer: usize, length: usize) -> bool {
    let from = iovec {
        iov_base: buffer as *mut c_void,
        iov_len: 1,
    };
    length != 0 && read(&mut [0], &[from]) == Err(libc::EFAULT)
}

/// What the kernel would say of an array of buffers before it looks at the file: EINVAL or EFAULT.
pub fn vector_error(vector: usize, count: usize) -> Option<Errno> {
    if count == 0 {
        return None;
    }
    let mut byte = 0u8;
    let local = iovec {
        iov_base: (&raw mut byte).cast(),
        iov_len: 1,
    };
    match read_to(&local, vector as *const iovec, count) {
        Err(errno @ (libc::EFAULT | libc::EINVAL)) => Some(errno),
        _ => None,
    }
}

/// A value at an address of the program's; `None` if it is unreadable. `T` must be made of integers
/// only, so that any bytes are a value of it.
pub fn read_value<T: Copy>(address: usize) -> Option<T> {
    let mut value = core::mem::MaybeUninit::<T>::uninit();
    let local = iovec {
        iov_base: value.as_mut_ptr().cast(),
        iov_len: size_of::<T>(),
    };
    let from = iovec {
        iov_base: address as *mut c_void,
        iov_len: size_of::<T>(),
    };
    let read = read_to(&local, &raw const from, 1);
    // SAFETY: filled in whole, and any bytes are a value, by the caller's choice of `T`.
    (read == Ok(size_of::<T>())).then(|| unsafe { value.assume_init() })
}

/// Copies a C string without its NUL. `None` if it is unreadable or does not end within the buffer,
/// which is at most a page long.
pub fn copy_string(string: *const c_char, into: &mut [u8]) -> Option<&[u8]> {
    let start = string as usize;
    // A page at a time: the part before an unmapped page must still be seen.
    let in_first_page = (PAGE - start % PAGE).min(into.len());
    let from = [
        iovec {
            iov_base: start as *mut c_void,
            iov_len: in_first_page,
        },
        iovec {
            iov_base: start.checked_add(in_first_page)? as *mut c_void,
            iov_len: into.len() - in_first_page,
        },
    ];
    let len = match read(into, &from) {
        Ok(len) => len,
        Err(libc::EFAULT) => return None,
        // A sandbox without process_vm_readv: trust the program's pointer, as libc does.
        // SAFETY: only reached there; the program passes this pointer to a system call as a path.
        Err(_) => unsafe {
            let bytes = core::ffi::CStr::from_ptr(string).to_bytes_with_nul();
            let len = bytes.len().min(into.len());
            into.get_mut(..len)?.copy_from_slice(bytes.get(..len)?);
            len
        },
    };
    let read = into.get(..len)?;
    let end = read.iter().position(|&byte| byte == 0)?;
    read.get(..end)
}
