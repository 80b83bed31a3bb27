//! Code that is written at run time: stubs near the code that leads to them, and the jumps there.

use crate::ground::loaded::Code;
use crate::ground::memory::PAGE;
use crate::ground::real::sys;
use core::ffi::c_int;
use core::sync::atomic::{AtomicU64, Ordering};
use daxshim_core::sites::MOV;
use libc::{PROT_EXEC, PROT_READ, PROT_WRITE};

/// Most bytes of a site's stub.
pub const STUB: usize = 48;

/// Room for stubs, not yet written to.
pub struct Stubs {
    next: usize,
    end: usize,
}

impl Stubs {
    /// Writes a stub; its address. `None` where there is no room left.
    ///
    /// # Safety
    /// The room must be writable.
    pub unsafe fn write(&mut self, parts: &[&[u8]]) -> Option<usize> {
        let start = self.next;
        for part in parts {
            if part.len() > self.end - self.next {
                return None;
            }
            // SAFETY: within the room, as just looked.
            unsafe {
                core::ptr::copy_nonoverlapping(part.as_ptr(), self.next as *mut u8, part.len());
            }
            self.next += part.len();
        }
        Some(start)
    }
}

/// `jmp *0(%rip)`, with its target behind it.
pub fn jump_to(target: *const ()) -> [u8; 14] {
    let [a, b, c, d, e, f, g, h] = (target as usize).to_le_bytes();
    [0xff, 0x25, 0, 0, 0, 0, a, b, c, d, e, f, g, h]
}

/// `mov $value, %register`, with the instruction's first two bytes.
pub fn load([rex, opcode]: [u8; 2], value: usize) -> [u8; 10] {
    let [a, b, c, d, e, f, g, h] = value.to_le_bytes();
    [rex, opcode, a, b, c, d, e, f, g, h]
}

/// `mov $…, %r11`.
pub const TO_R11: [u8; 2] = [0x49, 0xbb];
/// `mov $…, %rcx`.
pub const TO_RCX: [u8; 2] = [0x48, 0xb9];
pub const JUMP: u8 = 0xe9;
pub const CALL: u8 = 0xe8;

/// Writes a jump or call at `at`, in place of one instruction of the same length. `None` where `to` is out
/// of reach; or where others may run there and it does not lie in one aligned word, of which they fetch
/// either all that was there or all that is (AMD64 APM vol. 2, 7.6.1).
///
/// # Safety
/// The aligned words that [`MOV`] bytes lie in there must be writable.
pub unsafe fn lead(at: usize, opcode: u8, to: usize, alone: bool) -> Option<()> {
    const WORD: usize = size_of::<u64>();
    let distance = i32::try_from(to as isize - (at + MOV) as isize).ok()?;
    let [a, b, c, d] = distance.to_le_bytes();
    let jump = [opcode, a, b, c, d];
    let within = at % WORD;
    if within + MOV <= WORD {
        // SAFETY: aligned, and writable by the caller's promise.
        let word = unsafe { AtomicU64::from_ptr((at - within) as *mut u64) };
        let mut bytes = word.load(Ordering::Relaxed).to_le_bytes();
        bytes.get_mut(within..within + MOV)?.copy_from_slice(&jump);
        word.store(u64::from_le_bytes(bytes), Ordering::Release);
    } else if alone {
        // SAFETY: by the caller's promise.
        unsafe { (at as *mut [u8; MOV]).write(jump) };
    } else {
        return None;
    }
    Some(())
}

/// Makes code and room for its stubs writable for the length of `write`; both stay executable.
pub fn change(
    room: usize,
    length: usize,
    code: Code,
    protection: c_int,
    write: impl FnOnce(&mut Stubs),
) -> Result<(), i32> {
    let (first, end) = (code.start & !(PAGE - 1), code.end.next_multiple_of(PAGE));
    let writable = PROT_READ | PROT_WRITE | PROT_EXEC;
    // If this is refused, it must be before anything leads there.
    let allowed = protect(room, length, PROT_READ | PROT_EXEC)
        .and_then(|()| protect(room, length, writable))
        .and_then(|()| protect(first, end - first, writable));
    if allowed.is_err() {
        // SAFETY: mapped for this, and nothing leads there.
        let _ = unsafe { sys!(SYS_munmap, room, length) };
        return allowed;
    }
    write(&mut Stubs {
        next: room,
        end: room + length,
    });
    protect(first, end - first, protection)?;
    protect(room, length, PROT_READ | PROT_EXEC)
}

/// Writable memory within reach of a 32-bit jump from `code`.
pub fn room_near(code: usize, length: usize) -> Result<usize, i32> {
    const STEP: usize = 1 << 20;
    const TRIES: usize = 1024;
    for i in 1..TRIES {
        let Some(wish) = code.checked_sub(i * STEP).map(|at| at & !(PAGE - 1)) else {
            break;
        };
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE;
        // SAFETY: a new mapping where there is none.
        let got = unsafe {
            sys!(
                SYS_mmap,
                wish,
                length,
                PROT_READ | PROT_WRITE,
                flags,
                -1isize,
                0
            )
        };
        match got {
            Ok(at) if at == wish => return Ok(at),
            // A kernel that does not know MAP_FIXED_NOREPLACE.
            Ok(at) => {
                // SAFETY: mapped just above.
                let _ = unsafe { sys!(SYS_munmap, at, length) };
            }
            Err(_) => {}
        }
    }
    Err(libc::ENOMEM)
}

fn protect(start: usize, length: usize, protection: c_int) -> Result<(), i32> {
    // SAFETY: libc's code and our stubs, which stay readable and executable throughout.
    unsafe { sys!(SYS_mprotect, start, length, protection) }.map(|_| ())
}
