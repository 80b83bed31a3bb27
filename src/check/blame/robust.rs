//! What the kernel stores to by itself when a thread ends: the words of the robust mutexes that it holds
//! (handle_futex_death in kernel/futex/core.c). In a page that is read-only it lets that be, and the
//! mutex's next owner waits for ever.
//!
//! A mutex is looked for before pages are write-protected, and once more after: one that was locked in between is
//! found then, as from then on a lock is a store that faults, with the mutex in the list as pending. What
//! remains is a thread that first locks a page's mutex and is killed, both within these few µs.

use crate::ground::memory::read_value;
use crate::ground::real::sys;
use crate::ground::thread::is_alone;

/// struct robust_list_head of linux/futex.h.
#[derive(Clone, Copy)]
#[repr(C)]
struct Head {
    first: usize,
    /// From an entry to its word, bytes.
    offset: usize,
    /// The entry that is being locked or unlocked; 0: none.
    pending: usize,
}

/// An entry's lowest bit: the mutex is one with priority inheritance.
const IS_PI: usize = 1;

/// As many entries the kernel looks at: linux/futex.h.
const ROBUST_LIST_LIMIT: usize = 2048;

impl Head {
    fn word(self, entry: usize) -> usize {
        (entry & !IS_PI).wrapping_add(self.offset)
    }

    fn pending(self) -> Option<usize> {
        (self.pending != 0).then(|| self.word(self.pending))
    }
}

/// What a thread's end may store to.
pub enum KernelStore {
    /// A mutex's word.
    Word(usize),
    /// Somewhere in what libc keeps for the thread, which lies on the thread's stack: there the kernel
    /// stores all the time (rseq(2), the words of set_tid_address(2), frames of signals).
    Thread(usize),
}

/// Where the list of a thread begins; 0, the present one. `None`: it cannot be asked for.
fn head_of(thread: usize) -> Result<usize, i32> {
    let (mut head, mut length) = (0usize, 0usize);
    // SAFETY: both are ours.
    unsafe { sys!(SYS_get_robust_list, thread, &raw mut head, &raw mut length) }?;
    Ok(head)
}

/// The word that this thread is about to lock or unlock.
pub fn pending() -> Option<usize> {
    let head = head_of(0).ok().filter(|head| *head != 0)?;
    read_value::<Head>(head)?.pending()
}

/// Calls `look` for each place. Whether all threads could be looked at.
pub fn each_store(mut look: impl FnMut(KernelStore)) -> bool {
    // If the present thread's can be read, so can all.
    let own = match head_of(0) {
        Ok(0) => true,
        Ok(head) => each_of(head, &mut look),
        Err(_) => false,
    };
    own && (is_alone()
        || each_thread(&mut |thread| match head_of(thread) {
            Ok(0) => true,
            Ok(head) => {
                // What cannot be read has ended meanwhile.
                each_of(head, &mut look);
                true
            }
            Err(errno) => errno == libc::ESRCH,
        }))
}

/// Whether it could be read.
fn each_of(head: usize, look: &mut impl FnMut(KernelStore)) -> bool {
    look(KernelStore::Thread(head));
    let Some(list) = read_value::<Head>(head) else {
        return false;
    };
    if let Some(word) = list.pending() {
        look(KernelStore::Word(word));
    }
    let mut entry = list.first;
    for _ in 0..ROBUST_LIST_LIMIT {
        if entry & !IS_PI == head {
            break;
        }
        look(KernelStore::Word(list.word(entry)));
        match read_value(entry & !IS_PI) {
            Some(next) => entry = next,
            None => break,
        }
    }
    true
}

/// Calls `look` for each thread, as long as it says so. Whether all were there.
#[inline(never)]
fn each_thread(look: &mut dyn FnMut(usize) -> bool) -> bool {
    let path = c"/proc/self/task".as_ptr();
    let flags = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_CLOEXEC;
    // SAFETY: the path ends in NUL.
    let Ok(directory) = (unsafe { sys!(SYS_openat, libc::AT_FDCWD, path, flags) }) else {
        return false;
    };
    let mut buffer = [0u8; 512];
    let whole = loop {
        // SAFETY: the buffer is ours.
        let read = unsafe { sys!(SYS_getdents64, directory, &raw mut buffer, buffer.len()) };
        let entries = match read {
            Ok(0) => break true,
            Ok(length) => buffer.get(..length).unwrap_or(&[]),
            Err(_) => break false,
        };
        if !threads(entries).all(&mut *look) {
            break false;
        }
    };
    // SAFETY: opened above.
    let _ = unsafe { sys!(SYS_close, directory) };
    whole
}

/// The numbers among the names of getdents64(2).
fn threads(mut entries: &[u8]) -> impl Iterator<Item = usize> {
    /// struct linux_dirent64: where its length and its name are.
    const LENGTH: usize = 16;
    const NAME: usize = 19;
    core::iter::from_fn(move || {
        let length = entries.get(LENGTH..LENGTH + 2)?.try_into().ok()?;
        let (entry, rest) = entries.split_at_checked(u16::from_ne_bytes(length).into())?;
        entries = rest;
        entry.get(NAME..)
    })
    .filter_map(|name| {
        let digits = name.split(|&byte| byte == 0).next()?;
        core::str::from_utf8(digits).ok()?.parse().ok()
    })
}
