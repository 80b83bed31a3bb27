//! The program's memory, looked at without ever faulting: process_vm_readv(2) on ourselves.

use crate::ground::real::{Errno, is_sealed, sys};
use core::arch::asm;
use core::cell::UnsafeCell;
use core::ffi::{c_char, c_void};
use core::mem::ManuallyDrop;
use core::sync::atomic::{AtomicBool, Ordering};
use libc::iovec;

pub use daxshim_core::units::{HUGE, PAGE};

fn read(into: &mut [u8], from: &[iovec]) -> Result<usize, Errno> {
    let local = iovec {
        iov_base: into.as_mut_ptr().cast(),
        iov_len: into.len(),
    };
    match read_to(&local, from.as_ptr(), from.len()) {
        Err(errno) if errno != libc::EFAULT && !is_sealed() => read_probed(into, from),
        read => read,
    }
}

/// In a sandbox without process_vm_readv(2).
#[cold]
#[inline(never)]
fn read_probed(into: &mut [u8], from: &[iovec]) -> Result<usize, Errno> {
    let mut read = 0;
    for part in from {
        let start = part.iov_base as usize;
        let length = part.iov_len.min(into.len() - read);
        let room = into.get_mut(read..read + length).unwrap_or_default();
        let end = start.checked_add(length).ok_or(libc::EFAULT)?;
        let mut pages = (start & !(PAGE - 1)..end).step_by(PAGE);
        if length != 0 && !pages.all(is_readable) {
            return if read == 0 {
                Err(libc::EFAULT)
            } else {
                Ok(read)
            };
        }
        // SAFETY: each page was readable just now. Who takes one away meanwhile does that to libc too.
        unsafe {
            let bytes = core::ptr::with_exposed_provenance::<u8>(start);
            core::ptr::copy_nonoverlapping(bytes, room.as_mut_ptr(), length);
        }
        read += length;
    }
    Ok(read)
}

/// Whether a page can be read: a signal mask is, before the kernel finds that nothing is to be done with it.
fn is_readable(page: usize) -> bool {
    const NOTHING: i32 = -1;
    const MASK: usize = 8;
    // SAFETY: reads 8 bytes, or answers EFAULT; changes nothing.
    let asked = unsafe { sys!(SYS_rt_sigprocmask, NOTHING, page, 0, MASK) };
    asked == Err(libc::EINVAL)
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
#[inline(never)]
pub fn is_bad(buffer: usize, length: usize) -> bool {
    let from = iovec {
        iov_base: buffer as *mut c_void,
        iov_len: 1,
    };
    length != 0 && read(&mut [0], &[from]) == Err(libc::EFAULT)
}

/// As [`is_bad`], for a call that wants all of `buffer` before it looks at the file.
pub fn is_bad_somewhere(buffer: usize, length: usize) -> bool {
    let end = buffer.saturating_add(length);
    let last = end.saturating_sub(1);
    length != 0
        && (buffer..end)
            .step_by(PAGE)
            .chain([last])
            .any(|at| is_bad(at, 1))
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
    let mut value = core::mem::MaybeUninit::<T>::zeroed();
    // SAFETY: bytes of ours, which are zeros.
    let bytes =
        unsafe { core::slice::from_raw_parts_mut(value.as_mut_ptr().cast::<u8>(), size_of::<T>()) };
    // SAFETY: filled in whole, and any bytes are a value, by the caller's choice of `T`.
    copy(address, bytes).then(|| unsafe { value.assume_init() })
}

/// Fills the buffer from an address of the program's; whether all of it could be read.
pub fn copy(address: usize, into: &mut [u8]) -> bool {
    let from = iovec {
        iov_base: address as *mut c_void,
        iov_len: into.len(),
    };
    into.is_empty() || read(into, &[from]) == Ok(from.iov_len)
}

/// Puts a value at an address of the program's; nothing happens where it can't be written.
pub fn write_value<T: Copy>(address: usize, value: T) {
    let local = iovec {
        iov_base: (&raw const value).cast_mut().cast(),
        iov_len: size_of::<T>(),
    };
    let to = iovec {
        iov_base: address as *mut c_void,
        iov_len: size_of::<T>(),
    };
    // SAFETY: the local vector is ours; what can't be written to is EFAULT.
    let _ = unsafe {
        sys!(SYS_getpid).and_then(|pid| {
            let (local, to) = (&raw const local, &raw const to);
            sys!(SYS_process_vm_writev, pid, local, 1, to, 1, 0)
        })
    };
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
    let length = read(into, &from).ok()?;
    let read = into.get(..length)?;
    let end = read.iter().position(|&byte| byte == 0)?;
    read.get(..end)
}

/// Reads all of `from`, one behind the other. `None` if any of it is unreadable.
pub fn read_all<'a>(from: &[iovec], into: &'a mut [u8]) -> Option<&'a [u8]> {
    let total: usize = from.iter().map(|part| part.iov_len).sum();
    let into = into.get_mut(..total)?;
    (read(into, from) == Ok(total)).then_some(into)
}

/// `address` and up to `length` bytes, no further than its page: whether memory can be read changes
/// at pages only.
pub fn within_page(address: usize, length: usize) -> iovec {
    iovec {
        iov_base: address as *mut c_void,
        iov_len: length.min(PAGE - address % PAGE),
    }
}

/// Bytes of a C string without its NUL. `None` if it is unreadable, or has `most` bytes or more. A piece at a
/// time, as it may be longer than there is room for.
#[inline(never)]
pub fn string_length(text: usize, most: usize) -> Option<usize> {
    const PIECE: usize = 64;
    let mut length = 0;
    while length < most {
        let mut bytes = [0; PIECE];
        let at = text.checked_add(length)?;
        let read = read_all(&[within_page(at, PIECE)], &mut bytes)?;
        match read.iter().position(|&byte| byte == 0) {
            Some(end) => return Some(length + end).filter(|&length| length < most),
            None => length += read.len(),
        }
    }
    None
}

/// Zeroed memory of our own for the length of a look: a path's 4 KiB would be too much for the program's
/// stack, which may be as small as MINSIGSTKSZ. Not for what may end in an exec, see
/// [`scratch`](crate::exec::scratch).
pub struct Room {
    address: usize,
    length: usize,
    /// Which of [`SPARE`] it is, if it was not mapped.
    spare: Option<&'static Spare>,
}

/// Rooms for a path that are there where a process may map no more memory (RLIMIT_AS, vm.max_map_count): what
/// can't be looked at would not be refused.
static SPARE: [Spare; 8] = [const {
    Spare {
        taken: AtomicBool::new(false),
        bytes: UnsafeCell::new([0; SPARE_LENGTH]),
    }
}; 8];

/// Bytes of one: a path and what stands before it.
const SPARE_LENGTH: usize = PAGE + 64;

struct Spare {
    taken: AtomicBool,
    bytes: UnsafeCell<[u8; SPARE_LENGTH]>,
}

// SAFETY: only who has taken it touches its bytes.
unsafe impl Sync for Spare {}

impl Room {
    /// Maps `length` bytes, mmap(2), or has a spare one where that is long enough. `None` where there is no
    /// memory, or the call is not allowed.
    pub fn map(length: usize) -> Option<Room> {
        Room::new(length).or_else(|| Room::spare(length))
    }

    #[cold]
    fn spare(length: usize) -> Option<Room> {
        let mut spares = SPARE.iter().filter(|_| length <= SPARE_LENGTH);
        let spare = spares.find(|spare| !spare.taken.swap(true, Ordering::Acquire))?;
        let address = spare.bytes.get() as usize;
        // SAFETY: taken just now, so nobody else's.
        unsafe { core::ptr::write_bytes(address as *mut u8, 0, length) };
        Some(Room {
            address,
            length,
            spare: Some(spare),
        })
    }

    fn new(length: usize) -> Option<Room> {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: a new mapping at an address of the kernel's choice.
        let address = unsafe { sys!(SYS_mmap, 0, length, protection, flags, -1isize, 0) }.ok()?;
        Some(Room {
            address,
            length,
            spare: None,
        })
    }

    /// All of it.
    pub fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: mapped or taken by `map`, readable and writable, nobody else's, and it lives as long as `self`.
        unsafe { core::slice::from_raw_parts_mut(self.address as *mut u8, self.length) }
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        match self.spare {
            Some(spare) => spare.taken.store(false, Ordering::Release),
            None => {
                // SAFETY: mapped by `map`; no reference into it outlives `self`.
                let _ = unsafe { sys!(SYS_munmap, self.address, self.length) };
            }
        }
    }
}

/// Bytes of the stack that [`on_own_stack`] makes: what looks through /proc takes 8 KiB.
const STACK: usize = 64 << 10;

/// Does what needs more stack than a hook may take of the program's. To be called with signals held back, as
/// a handler must not run there. `None` where there is no memory, or the call is not allowed.
pub fn on_own_stack<R>(work: impl FnOnce() -> R) -> Option<R> {
    on_stack(Room::map(STACK)?.bytes(), work)
}

/// As [`on_own_stack`], on memory that is there already. Never `None`.
pub fn on_stack<R>(stack: &mut [u8], work: impl FnOnce() -> R) -> Option<R> {
    struct Job<F, R> {
        work: Option<F>,
        result: Option<R>,
    }
    extern "C" fn run<F: FnOnce() -> R, R>(job: &mut Job<F, R>) {
        job.result = job.work.take().map(|work| work());
    }
    fn runner<F: FnOnce() -> R, R>(_: &Job<F, R>) -> extern "C" fn(&mut Job<F, R>) {
        run::<F, R>
    }
    let mut job = Job {
        work: Some(work),
        result: None,
    };
    // The ABI wants it aligned to 16 at any call.
    let top = stack.as_mut_ptr_range().end as usize & !15;
    // SAFETY: the whole stack is there, and what runs on it comes back: nothing
    // unwinds through it, as panics abort. r12 is kept by the callee (System V ABI).
    unsafe {
        asm!(
            "mov r12, rsp",
            "mov rsp, {stack}",
            "call {run}",
            "mov rsp, r12",
            stack = in(reg) top,
            run = in(reg) runner(&job),
            in("rdi") &raw mut job,
            out("r12") _,
            clobber_abi("C"),
        );
    }
    job.result
}

/// Puts a value into memory of its own, where it stays. `None` where there is no memory.
pub fn leak<T>(value: T) -> Option<&'static T> {
    // Pages are aligned for everything that is put there.
    const { assert!(align_of::<T>() <= PAGE && size_of::<T>() != 0) };
    let room = ManuallyDrop::new(Room::new(size_of::<T>())?);
    let place = room.address as *mut T;
    // SAFETY: mapped just now, large enough, aligned, and never unmapped.
    unsafe {
        place.write(value);
        Some(&*place)
    }
}

/// As [`leak`], zeroed bytes.
pub fn leak_bytes(length: usize) -> Option<&'static mut [u8]> {
    let room = ManuallyDrop::new(Room::new(length)?);
    // SAFETY: mapped just now, nobody else's, and never unmapped.
    Some(unsafe { core::slice::from_raw_parts_mut(room.address as *mut u8, length) })
}

/// A copy of the page that was looked at last: texts that lie together, as those of an environment
/// do, cost one call.
pub struct PageCopy {
    address: usize,
    bytes: [u8; PAGE],
}

impl PageCopy {
    /// Of no page yet.
    pub const fn new() -> PageCopy {
        PageCopy {
            address: 0,
            bytes: [0; PAGE],
        }
    }

    /// What it was may have changed.
    pub fn forget(&mut self) {
        self.address = 0;
    }

    /// From `address` to the end of its page. `None` if it is unreadable.
    fn from(&mut self, address: usize) -> Option<&[u8]> {
        let page = address & !(PAGE - 1);
        // Nothing is in the page at 0.
        if page != self.address || page == 0 {
            self.address = 0;
            read_all(&[within_page(page, PAGE)], &mut self.bytes)?;
            self.address = page;
        }
        self.bytes.get(address - page..)
    }

    /// Fills `into` with what is at `address`. `None` if any of it is unreadable.
    pub fn exactly<'a>(&mut self, address: usize, into: &'a mut [u8]) -> Option<&'a [u8]> {
        let mut length = 0;
        while length < into.len() {
            let here = self.from(address.checked_add(length)?)?;
            length += copy_to(into.get_mut(length..)?, here);
        }
        Some(into)
    }

    /// The beginning of a C string: as much as there is room for, or up to its NUL. `None` if it is
    /// unreadable.
    pub fn prefix<'a>(&mut self, text: usize, into: &'a mut [u8]) -> Option<&'a [u8]> {
        let mut length = 0;
        while length < into.len() {
            let here = self.from(text.checked_add(length)?)?;
            let copied = copy_to(into.get_mut(length..)?, here);
            let copy = into.get(length..length + copied)?;
            if let Some(end) = copy.iter().position(|&byte| byte == 0) {
                return into.get(..length + end);
            }
            length += copied;
        }
        Some(into)
    }
}

/// Copies what there is and what fits; how much that is.
fn copy_to(to: &mut [u8], from: &[u8]) -> usize {
    for (to, from) in to.iter_mut().zip(from) {
        *to = *from;
    }
    to.len().min(from.len())
}
