//! For `daxshim crash`: what is not durable when something happens, and what of it a sync makes so,
//! into the file's journal ([`daxshim_core::check::journal`]).
//!
//! A file is compared as a whole, through a mapping of our own: what the program has unmapped, or
//! another process has stored, is as little durable as the rest. Whoever records waits for the
//! command to read and for other threads and processes to end their records; where that takes too
//! long the journal is closed, as a journal with a gap would show states that could not have been.

use super::shadows::{Shadow, Stretch, all, region_from};
use super::stacks;
use crate::ground::allocate::allocate;
use crate::ground::memory;
use crate::ground::page;
use crate::ground::place::Place;
use crate::ground::process;
use crate::ground::real::{SignalsBlocked, sys};
use core::ops::Range;
use core::ptr;
use core::sync::atomic::Ordering;
use daxshim_core::check::journal::{self, BEGIN, END, Entry, Journal, LINE, Moment, STACK, WORDS};
use daxshim_core::check::lines::{self, Digest};
use daxshim_core::check::log::Stack;
use daxshim_core::check::shadow::Header;
use daxshim_core::config::Checking;
use daxshim_core::line::Line;
use daxshim_core::report::Kind;
use rustix::fd::OwnedFd;
use rustix::fs::{OFlags, openat};
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags};

/// Lines outside a sync's range that one record holds, more or less.
const OUTSIDE: u64 = 4096;

/// A wait sleeps so long, nanoseconds.
const NAP: libc::c_long = 100_000;
/// And gives up after so many in which nothing moves: some ten seconds.
const NAPS: u32 = 60_000;

/// Whether states are recorded, and nothing is judged.
pub fn on() -> bool {
    process::config().check == Checking::Crash
}

/// Maps a watched file and its journal; the first process of the run makes it.
pub fn attach(shadow: &Shadow, fd: i32, length: usize) -> Result<(), Errno> {
    let protection = ProtFlags::READ;
    let file = crate::ground::place::borrow(fd).ok_or(Errno::BADF)?;
    // SAFETY: a new mapping at an address of the kernel's choice.
    let live = unsafe {
        let anywhere = ptr::null_mut();
        rustix::mm::mmap(anywhere, length, protection, MapFlags::SHARED, file, 0)?
    };
    let (device, inode) = shadow.identity();
    let directory = page::report_directory()?;
    let mut name = Line::<80>::new();
    let prefix = journal::FILE_PREFIX;
    let size = shadow.size();
    let name = name
        .c_str(format_args!("{prefix}{device:x}.{inode}.{size}"))
        .ok_or(Errno::NAMETOOLONG)?;
    let flags = OFlags::RDWR | OFlags::CLOEXEC;
    let new = flags | OFlags::CREATE | OFlags::EXCL;
    let (journal, is_new) = match openat(&directory, name, new, 0o600.into()) {
        Err(Errno::EXIST) => (
            map(&openat(&directory, name, flags, 0.into())?, false)?,
            false,
        ),
        file => (map(&file?, true)?, true),
    };
    shadow.live.store(live.cast(), Ordering::Relaxed);
    shadow
        .journal
        .store(ptr::from_ref(journal).cast_mut(), Ordering::Release);
    if is_new {
        fill_in(journal, shadow);
        first(journal, shadow);
        journal.ready.store(1, Ordering::Release);
    } else {
        wait(journal, || journal.ready.load(Ordering::Acquire) == 1).ok_or(Errno::AGAIN)?;
    }
    Ok(())
}

/// Ends a journal, as another goes on with the file.
pub fn supersede(shadow: &Shadow) {
    if let Some(journal) = shadow.journal() {
        journal.superseded.store(1, Ordering::Relaxed);
        journal.close();
    }
}

fn map(file: &OwnedFd, new: bool) -> Result<&'static Journal, Errno> {
    let length = size_of::<Journal>();
    if new {
        allocate(file, 0, length as u64)?;
    } else {
        // Its maker is between creating and allocating it.
        let enough = || rustix::fs::fstat(file).map(|stat| stat.st_size as usize >= length);
        super::shadows::wait(|| enough() == Ok(true)).ok_or(Errno::AGAIN)?;
    }
    let protection = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: a new mapping at an address of the kernel's choice.
    let mapping = unsafe {
        let anywhere = ptr::null_mut();
        rustix::mm::mmap(anywhere, length, protection, MapFlags::SHARED, file, 0)?
    };
    // SAFETY: as long as a journal, for which any bytes will do; never unmapped.
    Ok(unsafe { &*mapping.cast() })
}

fn fill_in(journal: &Journal, shadow: &Shadow) {
    let (device, inode) = shadow.identity();
    journal.device.store(device, Ordering::Relaxed);
    journal.inode.store(inode, Ordering::Relaxed);
    journal.size.store(shadow.size() as u64, Ordering::Relaxed);
    if let Some(header) = shadow.header() {
        for (to, from) in journal.path.iter().zip(&header.path) {
            to.store(from.load(Ordering::Relaxed), Ordering::Relaxed);
        }
        let len = header.path_len.load(Ordering::Relaxed);
        journal.path_len.store(len, Ordering::Relaxed);
    }
    journal
        .paged
        .store(u8::from(shadow.is_paged()), Ordering::Relaxed);
    let length = size_of::<Journal>() as u64;
    journal.length.store(length, Ordering::Relaxed);
    // Last: whoever sees it sees the rest.
    journal.magic.store(journal::MAGIC, Ordering::Release);
}

/// The record of what was there before.
#[inline(never)]
fn first(journal: &Journal, shadow: &Shadow) {
    let size = shadow.size();
    let stack = here();
    let mut record = Recording::new(journal, Moment::Mapped, 0..size, &stack);
    with_both(journal, shadow, |live, durable| {
        let take = |at, words, digest| {
            // SAFETY: of a line inside both. What is recorded is what is durable.
            unsafe { durable.add(at / lines::LINE).write_volatile(digest) };
            if words != [0; WORDS] {
                record.line(at, words);
            }
        };
        // SAFETY: inside both, see `with_both`.
        unsafe { lines::for_each(live, size, take) };
    });
    record.end();
}

/// Yields until something is so; `None` if it does not become so in a long time, or nobody reads.
fn wait(journal: &Journal, mut is_so: impl FnMut() -> bool) -> Option<()> {
    let mut naps = 0;
    let mut progress = journal.progress();
    while !is_so() {
        if journal.is_closed() {
            return None;
        }
        let read = journal.progress();
        naps = if read == progress { naps + 1 } else { 0 };
        progress = read;
        if naps == NAPS {
            journal.close();
            return None;
        }
        let nap = libc::timespec {
            tv_sec: 0,
            tv_nsec: NAP,
        };
        let none: *mut libc::timespec = ptr::null_mut();
        // SAFETY: the time is ours.
        let _ = unsafe { sys!(SYS_nanosleep, &raw const nap, none) };
    }
    Some(())
}

/// A record under way.
struct Recording<'a> {
    journal: &'a Journal,
    moment: Moment,
    range: Range<usize>,
    stack: &'a Stack,
    begun: bool,
    /// Lines outside the range.
    outside: u64,
}

impl<'a> Recording<'a> {
    fn new(
        journal: &'a Journal,
        moment: Moment,
        range: Range<usize>,
        stack: &'a Stack,
    ) -> Recording<'a> {
        Recording {
            journal,
            moment,
            range,
            stack,
            begun: false,
            outside: 0,
        }
    }

    fn push(&self, kind: u8, number: u64, words: [u64; WORDS]) -> Option<()> {
        let entry = Entry {
            kind,
            number,
            words,
        };
        match self.journal.push(&entry) {
            true => Some(()),
            false => wait(self.journal, || self.journal.push(&entry)),
        }
    }

    /// A line that is not durable. `None`: the journal was closed.
    fn line(&mut self, at: usize, words: [u64; WORDS]) -> Option<()> {
        self.begin()?;
        self.push(LINE, at as u64, words)
    }

    /// What is durable anyway and all of it needs no record.
    fn begin(&mut self) -> Option<()> {
        if self.begun {
            return Some(());
        }
        self.begun = true;
        let (start, end) = (self.range.start as u64, self.range.end as u64);
        let pid = u64::from(process::pid());
        self.push(BEGIN, 0, [self.moment as u64, pid, start, end, 0, 0, 0, 0])?;
        for frames in self.stack.frames().chunks(WORDS) {
            let mut words = [0; WORDS];
            for (word, frame) in words.iter_mut().zip(frames) {
                *word = *frame;
            }
            self.push(STACK, frames.len() as u64, words)?;
        }
        Some(())
    }

    fn end(mut self) -> Option<()> {
        if self.moment == Moment::Mapped {
            self.begin()?;
        }
        match self.begun {
            true => self.push(END, self.outside, [0; WORDS]),
            false => Some(()),
        }
    }
}

fn here() -> Stack {
    stacks::stack().unwrap_or_default()
}

/// Records a moment of a file; in `range`, what is not durable will be.
#[inline(never)]
fn record(shadow: &Shadow, moment: Moment, range: Range<usize>) {
    let Some(journal) = shadow.journal().filter(|journal| !journal.is_closed()) else {
        return;
    };
    let stack = here();
    // A handler that came here in the middle of it would wait for itself.
    let _signals = SignalsBlocked::new();
    let Some(header) = shadow.header() else {
        return;
    };
    if wait(journal, || header.try_lock(process::pid())).is_some() {
        compare(shadow, Recording::new(journal, moment, range, &stack));
        header.unlock();
    }
}

/// Calls `look` with the file, mapped and readable, and the digests of its lines, unless it is empty.
fn with_both(journal: &Journal, shadow: &Shadow, look: impl FnOnce(*const u8, *mut Digest)) {
    let size = shadow.size();
    let live = shadow.live.load(Ordering::Relaxed).cast_const();
    let (Some(durable), false) = (shadow.digests(0, size), live.is_null() || size == 0) else {
        return;
    };
    // It may have been truncated from outside.
    if memory::is_bad(live as usize + size - 1, 1) {
        journal.close();
        return;
    }
    look(live, durable);
}

fn compare(shadow: &Shadow, mut record: Recording<'_>) {
    let size = shadow.size();
    let journal = record.journal;
    let moment = record.moment;
    let mut open = Some(());
    let mut is_needed = false;
    let sequence = shadow.records.fetch_add(1, Ordering::Relaxed);
    let thinning = thinning(shadow.outside.load(Ordering::Relaxed));
    with_both(journal, shadow, |live, durable| {
        let different = |at, words, digest| {
            let inside = record.range.contains(&at);
            if !inside {
                record.outside += 1;
                if mix(at as u64 ^ sequence.rotate_left(32)) & thinning != 0 {
                    return;
                }
            }
            open = open.and_then(|()| record.line(at, words));
            if inside {
                is_needed = true;
                // SAFETY: of a line inside both.
                unsafe { durable.add(at / lines::LINE).write_volatile(digest) };
            }
        };
        // SAFETY: inside both, see `with_both`.
        unsafe { lines::for_each_different(live, durable, size, different) };
    });
    shadow.outside.store(record.outside, Ordering::Relaxed);
    if let Some(header) = shadow.header() {
        count(header, moment, is_needed);
    }
    let _ = open.and_then(|()| record.end());
}

/// A sync was compared; whether it found something.
fn count(header: &Header, moment: Moment, is_needed: bool) {
    let (calls, found) = match moment {
        Moment::Msync => (&header.msyncs, &header.msyncs_found),
        Moment::Fsync | Moment::Sync => (&header.fsyncs, &header.fsyncs_found),
        Moment::Mapped | Moment::Acknowledged | Moment::Ended | Moment::Drain => return,
    };
    calls.fetch_add(1, Ordering::Relaxed);
    found.count(is_needed);
}

/// A mask of bits that must be 0 for a line to be taken, so that about [`OUTSIDE`] are, if there are
/// as many as last time.
fn thinning(lines: u64) -> u64 {
    (lines / OUTSIDE).next_power_of_two() - 1
}

/// The finalizer of MurmurHash3: each bit of the input moves all of the output.
fn mix(value: u64) -> u64 {
    let value = (value ^ value >> 33).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let value = (value ^ value >> 33).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    value ^ value >> 33
}

/// As [`record`], for a file; it has several shadows where its size has changed.
fn record_file(device: u64, inode: u64, moment: Moment, range: Range<usize>) {
    for shadow in all().filter(|shadow| shadow.identity() == (device, inode)) {
        let size = shadow.size();
        record(shadow, moment, range.start.min(size)..range.end.min(size));
    }
}

/// msync(2) of addresses begins.
pub fn msync(start: usize, end: usize) {
    let mut cursor = start;
    while cursor < end {
        let Ok(found) = region_from(cursor) else {
            // A sync that is not seen makes states that could not have been.
            super::log::unlooked();
            super::shadows::skip_all();
            return;
        };
        let Some(region) = found.filter(|region| region.start < end) else {
            break;
        };
        if let Some(stretch) =
            Stretch::of(region, start, end).filter(|stretch| stretch.kind != Kind::Private)
        {
            let (device, inode) = stretch.shadow.identity();
            record_file(device, inode, Moment::Msync, stretch.offset..stretch.end());
        }
        cursor = region.end;
    }
}

/// fsync(2), fdatasync(2) or sync_file_range(2) of a file begins.
pub fn fsync(fd: i32, range: Range<usize>) {
    if let Ok(stat) = Place::Descriptor(fd).stat() {
        record_file(stat.st_dev, stat.st_ino, Moment::Fsync, range);
    }
}

/// sync(2) or syncfs(2) begins.
pub fn sync(shadow: &Shadow) {
    record(shadow, Moment::Sync, 0..shadow.size());
}

/// A range that the program has flushed itself is durable, as it has drained.
pub fn drained(shadow: &Shadow, range: Range<usize>) {
    record(shadow, Moment::Drain, range);
}

/// Something that makes nothing durable.
pub fn point(moment: Moment) {
    for shadow in all() {
        record(shadow, moment, 0..0);
    }
}
