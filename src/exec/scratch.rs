//! Memory for the moment in which a program is executed.
//!
//! A child of vfork(2) or posix_spawn(3) is in its parent's memory: it may neither allocate there
//! nor leave anything behind, and when its exec succeeds none of its code is run any more that could
//! free something. So there are slots that are part of the library, and it is the kernel that gives
//! one back: at a successful exec, as at the end of a thread, it clears the word that
//! set_tid_address(2) named, if others share the memory.

use crate::ground::memory::PageCopy;
use crate::ground::process::is_owner;
use crate::ground::real::{sys, yield_now};
use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use daxshim_core::loader;

/// How many programs can be executed from this memory at once before one has to wait.
const SLOTS: usize = 64;
/// Bytes of a slot for an environment: some 4000 variables.
const ROOM: usize = 32 << 10;
/// Bytes of a slot for a stack: looking at a program takes 1.5 KiB, in an unoptimised build 8.
const STACK: usize = 16 << 10;
/// How often a free slot is looked for.
const PATIENCE: usize = 10_000;

/// Whose a slot is.
struct Slot {
    /// Thread ID; 0: nobody's. What the kernel clears.
    owner: AtomicU32,
    /// A mapping that served in place of the slot's memory, as that was too small. It stays until
    /// the slot is used next.
    spill: AtomicUsize,
    /// Its length, bytes.
    spill_length: AtomicUsize,
}

static OWNERS: [Slot; SLOTS] = [const {
    Slot {
        owner: AtomicU32::new(0),
        spill: AtomicUsize::new(0),
        spill_length: AtomicUsize::new(0),
    }
}; SLOTS];

/// What would be too large for the program's stack: nothing is kept there from one look to the next.
pub struct Desk {
    /// Of the program's memory.
    pub page: PageCopy,
    /// Of a file.
    pub file: [u8; loader::BEGINNING],
}

#[repr(C, align(16))]
struct Space {
    stack: [u8; STACK],
    environment: [u8; ROOM],
    desk: Desk,
}

struct Memory(UnsafeCell<Space>);

// SAFETY: only the owner of the slot touches it.
unsafe impl Sync for Memory {}

static MEMORY: [Memory; SLOTS] = [const {
    Memory(UnsafeCell::new(Space {
        stack: [0; STACK],
        environment: [0; ROOM],
        desk: Desk {
            page: PageCopy::new(),
            file: [0; loader::BEGINNING],
        },
    }))
}; SLOTS];

/// A slot that is ours until this is dropped or a program executed.
pub struct Scratch {
    slot: &'static Slot,
    /// Where one looks at things.
    pub desk: &'static mut Desk,
    /// Where one does it, see [`on_stack`](crate::ground::memory::on_stack).
    pub stack: &'static mut [u8],
    environment: &'static mut [u8],
    /// What the kernel would have cleared otherwise.
    cleared: usize,
}

impl Scratch {
    /// `None`: no slot is free for too long.
    pub fn take() -> Option<Scratch> {
        // SAFETY: gettid takes nothing.
        let me = unsafe { sys!(SYS_gettid) }.ok()? as u32;
        for _ in 0..PATIENCE {
            for (slot, memory) in OWNERS.iter().zip(&MEMORY) {
                let order = (Ordering::Acquire, Ordering::Relaxed);
                let taken = slot.owner.compare_exchange(0, me, order.0, order.1);
                if taken.is_ok() {
                    return Some(Scratch::of(slot, memory));
                }
            }
            yield_now();
        }
        None
    }

    fn of(slot: &'static Slot, memory: &'static Memory) -> Scratch {
        // SAFETY: the slot was just taken, so nobody else has a reference into it.
        let Space {
            stack,
            environment,
            desk,
        } = unsafe { &mut *memory.0.get() };
        // Of whoever had the slot before.
        desk.page.forget();
        let mut scratch = Scratch {
            slot,
            desk,
            stack,
            environment,
            cleared: 0,
        };
        // In a process of its own the word belongs to libc, and the memory goes with the exec.
        if !is_owner() {
            // SAFETY: the kernel writes a word of ours, or answers EINVAL.
            let _ = unsafe {
                let cleared = &raw mut scratch.cleared;
                sys!(SYS_prctl, libc::PR_GET_TID_ADDRESS, cleared)
            };
            name_word(slot.owner.as_ptr() as usize);
        }
        slot.unmap();
        scratch
    }

    /// At least `length` bytes for an environment, from a multiple of 8. `None` where there is no memory.
    pub fn environment(&mut self, length: usize) -> Option<&mut [u8]> {
        if length > self.environment.len() {
            self.slot.unmap();
            self.environment = self.slot.map(length)?;
        }
        Some(self.environment)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        self.slot.unmap();
        if !is_owner() {
            name_word(self.cleared);
        }
        self.slot.owner.store(0, Ordering::Release);
    }
}

impl Slot {
    fn map(&self, length: usize) -> Option<&'static mut [u8]> {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: a new mapping at an address of the kernel's choice.
        let at = unsafe { sys!(SYS_mmap, 0, length, protection, flags, -1isize, 0) }.ok()?;
        self.spill_length.store(length, Ordering::Relaxed);
        self.spill.store(at, Ordering::Relaxed);
        // SAFETY: the mapping just made, zeroed; it is unmapped by this slot's owner only.
        Some(unsafe { core::slice::from_raw_parts_mut(at as *mut u8, length) })
    }

    fn unmap(&self) {
        let at = self.spill.swap(0, Ordering::Relaxed);
        if at != 0 {
            let length = self.spill_length.load(Ordering::Relaxed);
            // SAFETY: made by `map`, and used by nobody since the slot changed hands.
            let _ = unsafe { sys!(SYS_munmap, at, length) };
        }
    }
}

/// Names the word that the kernel clears when this thread's memory is no longer its own.
fn name_word(address: usize) {
    // SAFETY: a word of ours, or the one that was named before.
    let _ = unsafe { sys!(SYS_set_tid_address, address) };
}

/// In a forked child the owners of all slots are gone.
pub fn forked() {
    for slot in &OWNERS {
        slot.owner.store(0, Ordering::Relaxed);
    }
}
