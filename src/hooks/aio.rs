//! io_submit(2), under libaio's name for it and by number; aio_fsync(3); io_uring, which can only be
//! noticed.

use super::copy::is_open_for_reading;
use super::write::{is_open_for_writing, negative, unknown_flags};
use crate::check;
use crate::entry::slot::{self, Step};

use crate::ground::descriptors;
use crate::ground::memory::{read_all, read_value};
use crate::ground::page::{self, event};
use crate::ground::process;
use crate::ground::real::{self, sys_of_program};
use crate::mappings;
use crate::tag::enforce::{Earlier, enforce};
use crate::tag::subject;
use core::ffi::c_void;
use daxshim_core::contract::{Effect, Operation};
use daxshim_core::report::{Event, SyncCall, Way};
use libc::iovec;

/// Control blocks looked at together.
const BATCH: usize = 4;

/// io_submit(2).
pub extern "C" fn io_submit_by_number(call: &mut slot::Call) -> Step {
    let [context, count, blocks, ..] = call.args;
    check::blame::give_up();
    match allowed(count as isize, blocks) {
        Allowed::All => Step::PASS,
        Allowed::None => match submit(context, 0, blocks) {
            Ok(_) => Step::fail(libc::EPERM),
            // The kernel has an earlier reason.
            Err(errno) => Step::fail(errno),
        },
        Allowed::First(count) => match submit(context, count, blocks) {
            Ok(submitted) => Step::answer(submitted as isize),
            Err(errno) => Step::fail(errno),
        },
    }
}

/// libaio's io_submit(3): the same, but it returns the error and leaves errno alone. libaio may be
/// loaded at any time, so there is no function behind this one that could be called.
pub extern "C" fn io_submit(call: &mut slot::Call) -> Step {
    let [context, count, blocks, ..] = call.args;
    check::blame::give_up();
    let result = match allowed(count as isize, blocks) {
        Allowed::All => submit(context, count, blocks),
        Allowed::None => submit(context, 0, blocks).and(Err(libc::EPERM)),
        Allowed::First(count) => submit(context, count, blocks),
    };
    Step::answer(match result {
        Ok(submitted) => submitted as isize,
        Err(errno) => -(errno as isize),
    })
}

fn submit(context: usize, count: usize, blocks: usize) -> Result<usize, real::Errno> {
    // SAFETY: the program's pointers; the kernel answers EFAULT to those it can't follow.
    unsafe { sys_of_program!(SYS_io_submit, context, count, blocks) }
}

/// io_uring_setup(2). What is told to a ring, madvise(2) for one, nobody sees.
pub extern "C" fn io_uring_setup(call: &mut slot::Call) -> Step {
    event(Event::IoUring);
    check::blame::give_up();
    call.then(after_ring)
}

extern "C" fn after_ring(_: &slot::Call, result: isize) -> isize {
    if result >= 0 {
        let errno = real::errno();
        mappings::changes_unseen(|| true);
        real::set_errno(errno);
    }
    result
}

/// aio_fsync(3): fsync or fdatasync, by a thread of libc's and within libc, where neither is hooked.
pub extern "C" fn aio_fsync(call: &mut slot::Call) -> Step {
    let [operation, block, ..] = call.args;
    let kind = match operation as i32 {
        libc::O_SYNC => SyncCall::Fsync,
        libc::O_DSYNC => SyncCall::Fdatasync,
        _ => return Step::PASS,
    };
    if check::on() || page::page().is_some() {
        let errno = real::errno();
        // aio_fildes is the first member of struct aiocb.
        if let Some(fd) = read_value(block) {
            sync_begins(kind, fd);
        }
        real::set_errno(errno);
    }
    Step::PASS
}

/// A sync of a file in the background: checked as of now, as what is stored later may be left out, and
/// counted as the kernel's. How long it takes, and what becomes of it, is not looked at.
fn sync_begins(call: SyncCall, fd: i32) {
    check::file_sync_begins(fd);
    if let Some(page) = page::page()
        && subject::is_tagged(fd)
    {
        page.synced(call, Way::Kernel, 0, 0, 0, false);
    }
}

/// How many of the control blocks the contract lets the kernel see.
enum Allowed {
    All,
    First(usize),
    None,
}

/// Leaves errno alone.
fn allowed(count: isize, blocks: usize) -> Allowed {
    let errno = real::errno();
    let allowed = look_at_all(count, blocks);
    real::set_errno(errno);
    allowed
}

fn look_at_all(count: isize, blocks: usize) -> Allowed {
    if !subject::can_bind() {
        return Allowed::All;
    }
    let count = usize::try_from(count).unwrap_or(0);
    let mut done = 0;
    while done < count {
        let Some(refused) = look(blocks, done, BATCH.min(count - done)) else {
            // The kernel comes as far as this, and says so.
            return Allowed::All;
        };
        match refused {
            Some(0) if done == 0 => return Allowed::None,
            Some(number) => return Allowed::First(done + number),
            None => done += BATCH,
        }
    }
    Allowed::All
}

/// The first refused one of `count` blocks. `None`: one can't be read.
#[inline(never)]
fn look(blocks: usize, first: usize, count: usize) -> Option<Option<usize>> {
    const POINTER: usize = size_of::<usize>();
    let vector = |base: usize, length| iovec {
        iov_base: base as *mut c_void,
        iov_len: length,
    };
    let mut pointers = [0; BATCH * POINTER];
    let from = vector(
        blocks.checked_add(first.checked_mul(POINTER)?)?,
        count * POINTER,
    );
    let (pointers, _) = read_all(&[from], &mut pointers)?.as_chunks::<POINTER>();
    let mut parts = [vector(0, 0); BATCH];
    for (part, pointer) in parts.iter_mut().zip(pointers) {
        *part = vector(usize::from_ne_bytes(*pointer), Block::LENGTH);
    }
    let mut bytes = [0; BATCH * Block::LENGTH];
    let (bytes, _) = read_all(parts.get(..count)?, &mut bytes)?.as_chunks();
    Some(bytes.iter().position(|bytes| {
        let block = Block(bytes);
        block.sync_begins();
        block.is_refused()
    }))
}

/// struct iocb of io_submit(2), to where its offset ends.
struct Block<'a>(&'a [u8; Block::LENGTH]);

impl Block<'_> {
    const LENGTH: usize = 48;

    fn word(&self, at: usize) -> usize {
        let word = self.0.get(at..at + 8).and_then(|word| word.try_into().ok());
        word.map_or(0, usize::from_ne_bytes)
    }

    fn descriptor(&self) -> i32 {
        (self.word(16) >> 32) as i32
    }

    /// RWF_ flags.
    fn flags(&self) -> u32 {
        (self.word(8) >> 32) as u32
    }

    /// Notes a sync of the file.
    fn sync_begins(&self) {
        const FSYNC: u16 = 2;
        const FDSYNC: u16 = 3;
        let call = match self.word(16) as u16 {
            FSYNC => SyncCall::Fsync,
            FDSYNC => SyncCall::Fdatasync,
            _ => return,
        };
        // The kernel refuses those with any argument.
        if [
            self.word(8) >> 32,
            self.word(24),
            self.word(32),
            self.word(40),
        ] == [0; 4]
        {
            sync_begins(call, self.descriptor());
        }
    }

    fn is_refused(&self) -> bool {
        const PREAD: u16 = 0;
        const PWRITE: u16 = 1;
        const PREADV: u16 = 7;
        const PWRITEV: u16 = 8;
        let (kind, fd) = (self.word(16) as u16, self.descriptor());
        let writes = matches!(kind, PWRITE | PWRITEV);
        let reads = matches!(kind, PREAD | PREADV) && process::config().policy.deny_reads;
        if !(writes || reads) || descriptors::is_untagged(fd) {
            return false;
        }
        let (buffer, length, offset) = (self.word(24), self.word(32), self.word(40));
        let is_vector = matches!(kind, PREADV | PWRITEV);
        // What the kernel says at once; a bad buffer is found out later, when it is refused already.
        let is_bad = || {
            let unreadable = || length != 0 && read_value::<[usize; 2]>(buffer).is_none();
            negative(offset).is_some()
                || (is_vector && unreadable())
                || unknown_flags(self.flags()).is_some()
        };
        let (operation, is_open) = if writes {
            (Operation::Write, is_open_for_writing(fd))
        } else {
            (Operation::Read, is_open_for_reading(fd))
        };
        let earlier = || Earlier::refuses_if(!is_open || is_bad());
        let step = enforce(operation, subject::of_descriptor(fd), earlier, || {
            Effect::Changes
        });
        !step.is_pass()
    }
}
