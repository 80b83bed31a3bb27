//! The report page: what the library counts, in memory shared with a file of the report directory.
//!
//! One page (in the loose sense: [`Page`] is some tens of KiB, touched sparsely) per process and
//! program image. It is written with relaxed atomics, without locks or allocation, from any thread
//! and any signal handler; being page cache, it survives the process however it ends.
//!
//! Longer than other files, as it is one layout, which two programs read.

use crate::contract::Operation;
use core::sync::atomic::{AtomicPtr, AtomicU8, AtomicU32, AtomicU64, Ordering};

/// `Page::magic`: "DAXSHIM" and the layout's version.
pub const MAGIC: u64 = u64::from_le_bytes(*b"DAXSHIM\x02");

/// Names of report files begin with this; PID and a number follow.
pub const FILE_PREFIX: &str = "daxshim.";

/// What a sync call was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum SyncCall {
    /// msync(2) with MS_SYNC.
    Msync,
    /// fsync(2).
    Fsync,
    /// fdatasync(2).
    Fdatasync,
    /// sync_file_range(2).
    SyncFileRange,
}

impl SyncCall {
    /// All of them, in table order.
    pub const ALL: [SyncCall; 4] = [
        SyncCall::Msync,
        SyncCall::Fsync,
        SyncCall::Fdatasync,
        SyncCall::SyncFileRange,
    ];

    /// The name of the system call.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            SyncCall::Msync => "msync",
            SyncCall::Fsync => "fsync",
            SyncCall::Fdatasync => "fdatasync",
            SyncCall::SyncFileRange => "sync_file_range",
        }
    }
}

/// How a sync call was carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Way {
    /// Cache-line write-backs and a fence; no system call.
    User,
    /// sync_file_range(2) and a fence: the kernel's dirty tags, without a commit of metadata.
    Range,
    /// Partly write-backs, partly by the kernel.
    Mixed,
    /// The kernel's, as called.
    Kernel,
    /// Not at all (`DAXSHIM_FLUSH=none`).
    Skipped,
}

impl Way {
    /// All of them, in table order.
    pub const ALL: [Way; 5] = [Way::User, Way::Range, Way::Mixed, Way::Kernel, Way::Skipped];

    /// The word in reports.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Way::User => "user flush",
            Way::Range => "sync_file_range",
            Way::Mixed => "user flush and kernel sync",
            Way::Kernel => "kernel sync",
            Way::Skipped => "skipped",
        }
    }
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident $flushable:literal $words:literal,)+) => {
        /// What kind of mapping a mapping of a tagged file is, and, where msync can't be replaced,
        /// why not.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Kind { $($(#[$doc])* $name,)+ }

        impl Kind {
            /// All of them, in table order.
            pub const ALL: &'static [Kind] = &[$(Kind::$name),+];

            /// The words in reports.
            #[must_use]
            pub const fn words(self) -> &'static str {
                match self { $(Kind::$name => $words,)+ }
            }

            /// Whether msync on it may become a user flush.
            #[must_use]
            pub const fn is_sync(self) -> bool {
                match self { $(Kind::$name => $flushable,)+ }
            }

            /// The kind with this number; an unknown number is the most cautious kind.
            #[must_use]
            pub fn from_u8(number: u8) -> Kind {
                Kind::ALL.get(usize::from(number)).copied().unwrap_or(Kind::Suspended)
            }
        }
    };
}

kinds! {
    /// The kernel granted MAP_SYNC.
    Sync true "MAP_SYNC",
    /// An emulated tag on tmpfs: the flush path is used, nothing there outlives power loss.
    Emulated true "emulated on tmpfs",
    /// `PMEM_IS_PMEM_FORCE=1`: the user vouches for it.
    Forced true "forced by PMEM_IS_PMEM_FORCE=1",
    /// No PROT_WRITE when mapped, so nothing was upgraded.
    ReadOnly false "mapped without PROT_WRITE",
    /// The kernel answered EOPNOTSUPP to MAP_SYNC.
    NotGranted false "the kernel does not grant MAP_SYNC here (no DAX on this file, or a device without it)",
    /// An emulated tag elsewhere than on tmpfs: enforced, never flushed.
    NotTmpfs false "emulated tag on a filesystem that is not DAX",
    /// The extents are not those of the tag.
    Broken false "the tag is broken: extents have moved since it was set (daxshim verify says more)",
    /// `PMEM_IS_PMEM_FORCE=0`.
    Denied false "denied by PMEM_IS_PMEM_FORCE=0",
    /// An untagged file on DAX, watched by `DAXSHIM_CHECK`.
    Untagged false "untagged",
    /// A private mapping of a tagged file, watched by `DAXSHIM_CHECK`.
    Private false "MAP_PRIVATE",
    /// Being changed by another call, or not readable now.
    Suspended false "not readable, or being remapped",
}

macro_rules! events {
    ($($(#[$doc:meta])* $name:ident $words:literal,)+) => {
        /// Something worth a warning in the report.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub enum Event { $($(#[$doc])* $name,)+ }

        impl Event {
            /// All of them, in table order.
            pub const ALL: &'static [Event] = &[$(Event::$name),+];

            /// The words in reports.
            #[must_use]
            pub const fn words(self) -> &'static str {
                match self { $(Event::$name => $words,)+ }
            }
        }
    };
}

events! {
    /// An attribute of the tag's name whose value is not a tag.
    MalformedTag "malformed or forged tag not believed: the file counts as untagged (daxshim status says what is wrong, daxshim tag sets it anew)",
    /// A tag that speaks of another inode or size.
    StaleTag "stale tag ignored: it was copied from another file, or the file was resized (daxshim tag sets it anew)",
    /// A tag whose extents have moved.
    BrokenTag "broken tag: extents have moved since it was set; every sync goes to the kernel (daxshim verify says more)",
    /// The attribute could not be read for a reason that says nothing about the file.
    UnreadableTag "a tag could not be read: the file counts as untagged",
    /// [`Regions`](crate::regions::Regions) was full.
    MapFull "too many mappings: some were not recorded, and their msync went to the kernel",
    /// A lookup raced with too many changes.
    MapBusy "a mapping lookup raced with changes and fell to the kernel",
    /// A wait for other threads' flushes was given up.
    DrainTimeout "a mapping was changed while another thread's flush on it did not end",
    /// libc's code could not be changed, or has not the form that is known.
    NotTurned "what libc does inside itself is not watched (fopen, fwrite, posix_fallocate …): its code could not be changed, or is not of a known form",
    /// io_uring_setup(2) was called.
    IoUring "io_uring is used: what goes through it is not seen, so it is not refused",
    /// An exec whose environment could not be completed.
    ExecLeft "a program was executed with the environment it was given, as there was no room for more: it may run without the shim",
    /// A fork or clone that the library was not told of left a lock held.
    LockTimeout "the mapping table was locked for too long and was not updated; msync went to the kernel",
    /// A sync of sync mappings went to the kernel, while other threads or processes may have been at the file.
    Contended "syncs were left to the kernel while other threads or processes may have synced or faulted there: the kernel's DAX code may answer before such data is durable (docs/kernel-race.md); what `--flush user` flushes is immune",
    /// seccomp(2) or prctl(2) was called.
    Sealed "the program filtered its own system calls: from then on the shim made none, so nothing more was looked up; only what was known as tagged by then stayed refused",
}

macro_rules! unseen {
    ($($(#[$doc:meta])* $name:ident $words:literal,)+) => {
        /// Why the library is not loaded into a program that was executed.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum Unseen { $($(#[$doc])* $name,)+ }

        impl Unseen {
            /// All of them, in table order.
            pub const ALL: &'static [Unseen] = &[$(Unseen::$name),+];

            /// The words in reports.
            #[must_use]
            pub const fn words(self) -> &'static str {
                match self { $(Unseen::$name => $words,)+ }
            }
        }
    };
}

unseen! {
    /// No PT_INTERP.
    Static "it is statically linked, so there is no dynamic loader that would read LD_PRELOAD",
    /// For another kind of machine, 32-bit programs among them.
    Machine "it is built for another kind of machine than libdaxshim.so",
    /// It changes the user that runs it, or runs as another one than the real user.
    SetUser "it is set-user-ID, so the loader ignores LD_PRELOAD",
    /// The same for the group.
    SetGroup "it is set-group-ID, so the loader ignores LD_PRELOAD",
    /// It has file capabilities.
    Capabilities "its file has capabilities, so the loader ignores LD_PRELOAD",
    /// Its loader is musl's, or of a glibc that lacks what the library needs.
    Loader "its loader is not glibc's, or of a glibc too old for libdaxshim.so",
    /// After a chroot, or where `LD_PRELOAD` names it by a relative path.
    NotFound "libdaxshim.so is not found under its name in LD_PRELOAD where it is executed",
}

/// Buckets of a [`Histogram`]: eight per power of two of 64-bit values.
pub const BUCKETS: usize = 62 * 8;

/// Latencies in clock ticks (see [`ticks`]), log-linear: bounds are at most 12.5 % apart.
#[repr(C)]
pub struct Histogram(pub [AtomicU64; BUCKETS]);

impl Histogram {
    /// Counts one value.
    pub fn add(&self, value: u64) {
        if let Some(bucket) = self.0.get(bucket(value)) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The bucket of a value.
#[must_use]
pub const fn bucket(value: u64) -> usize {
    if value < 8 {
        return value as usize;
    }
    let exponent = 63 - value.leading_zeros();
    let mantissa = (value >> (exponent - 3)) & 7;
    ((exponent - 2) as usize) * 8 + mantissa as usize
}

/// The smallest value of a bucket.
#[must_use]
pub const fn bucket_floor(index: usize) -> u64 {
    if index < 8 {
        return index as u64;
    }
    let exponent = index / 8 + 2;
    (8 + (index % 8) as u64) << (exponent - 3)
}

/// Counters of one call carried out one way.
#[repr(C)]
pub struct SyncCounters {
    /// Calls.
    pub calls: AtomicU64,
    /// Bytes asked for; for fsync and fdatasync 0.
    pub bytes: AtomicU64,
    /// Cache lines written back.
    pub lines: AtomicU64,
    /// Calls that returned an error.
    pub errors: AtomicU64,
    /// Latencies, ticks.
    pub latency: Histogram,
}

/// Refusals of one operation.
#[repr(C)]
pub struct OperationCounters {
    /// Answered EPERM.
    pub refused: AtomicU64,
    /// Of these, what `DAXSHIM_COMPAT=1` would have let through.
    pub compat_would_allow: AtomicU64,
    /// Let through by `DAXSHIM_COMPAT=1`: truncate went on to the kernel, the others were answered 0.
    pub pretended: AtomicU64,
    /// Let through by `DAXSHIM_MODE=audit`.
    pub recorded: AtomicU64,
}

/// Longest path kept, bytes; longer ones lose their beginning.
pub const PATH_LEN: usize = 232;

/// Mappings of one file and one kind.
#[repr(C)]
pub struct MappingCounters {
    /// 0 free, 1 being filled in, 2 valid.
    pub state: AtomicU8,
    /// [`Kind`].
    pub kind: AtomicU8,
    /// Whether all such mappings begin where a 2 MiB page could.
    pub huge_aligned: AtomicU8,
    /// Bytes of `path`.
    pub path_len: AtomicU8,
    /// `st_dev` and `st_ino`, folded.
    pub file: AtomicU64,
    /// How often mapped.
    pub count: AtomicU64,
    /// Bytes of the largest mapping.
    pub largest: AtomicU64,
    /// The path when first mapped.
    pub path: [AtomicU8; PATH_LEN],
}

/// How many different mappings a page can describe.
pub const MAPPINGS: usize = 64;

/// Executions of a program that the library is not loaded into.
#[repr(C)]
pub struct UnseenCounters {
    /// 0 free, 1 being filled in, 2 valid.
    pub state: AtomicU8,
    /// [`Unseen`].
    pub reason: AtomicU8,
    /// Bytes of `path`.
    pub path_len: AtomicU8,
    /// Reserved, 0.
    pub reserved: [AtomicU8; 5],
    /// How often executed.
    pub count: AtomicU64,
    /// The program's file.
    pub path: [AtomicU8; PATH_LEN],
}

/// How many different programs without the library a page can name.
pub const UNSEEN: usize = 32;

/// A module whose system calls are not all seen.
#[repr(C)]
pub struct ModuleName {
    /// 0 free, 1 being filled in, 2 valid.
    pub state: AtomicU8,
    /// Bytes of `path`.
    pub path_len: AtomicU8,
    /// Reserved, 0.
    pub reserved: [AtomicU8; 6],
    /// The module's file.
    pub path: [AtomicU8; PATH_LEN],
}

/// How many modules a page can name.
pub const MODULES: usize = 16;

/// What a process did, in the words of the contract.
#[repr(C)]
pub struct Page {
    /// [`MAGIC`].
    pub magic: AtomicU64,
    /// `size_of::<Page>()`.
    pub length: AtomicU64,
    /// Process ID, in the process's own namespace.
    pub pid: AtomicU32,
    /// Parent's process ID.
    pub parent: AtomicU32,
    /// [`Mode`](crate::contract::Mode).
    pub mode: AtomicU8,
    /// [`FlushPolicy`](crate::config::FlushPolicy).
    pub flush: AtomicU8,
    /// `DAXSHIM_COMPAT`.
    pub compat: AtomicU8,
    /// `DAXSHIM_EMULATE`.
    pub emulate: AtomicU8,
    /// [`WriteBack`](crate::flush::WriteBack).
    pub write_back: AtomicU8,
    /// Bytes of `program`.
    pub program_len: AtomicU8,
    /// Reserved, 0.
    pub reserved: [AtomicU8; 6],
    /// Executions that found no room in `unseen`.
    pub unseen_left_out: AtomicU32,
    /// [`Misunderstood`](crate::config::Misunderstood).
    pub misunderstood: AtomicU32,
    /// Mappings that found no room in `mappings`.
    pub mappings_left_out: AtomicU32,
    /// [`ticks`] and CLOCK_MONOTONIC nanoseconds when the page was made: with another such pair,
    /// the length of a tick.
    pub started_ticks: AtomicU64,
    /// See `started_ticks`.
    pub started_ns: AtomicU64,
    /// /proc/self/exe.
    pub program: [AtomicU8; PATH_LEN],
    /// By [`Event`].
    pub events: [AtomicU64; Event::ALL.len()],
    /// By [`Operation`].
    pub operations: [OperationCounters; Operation::ALL.len()],
    /// By [`SyncCall`] and [`Way`].
    pub syncs: [[SyncCounters; Way::ALL.len()]; SyncCall::ALL.len()],
    /// Different mappings of tagged files.
    pub mappings: [MappingCounters; MAPPINGS],
    /// Programs it executed that the library is not loaded into.
    pub unseen: [UnseenCounters; UNSEEN],
    /// Modules whose system calls are not all seen.
    pub modules: [ModuleName; MODULES],
}

impl Page {
    /// Counts an event.
    pub fn event(&self, event: Event) {
        if let Some(counter) = self.events.get(event as usize) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The counters of an operation.
    #[must_use]
    pub fn operation(&self, operation: Operation) -> Option<&OperationCounters> {
        self.operations.get(operation as usize)
    }

    /// The counters of a sync call.
    #[must_use]
    pub fn sync(&self, call: SyncCall, way: Way) -> Option<&SyncCounters> {
        self.syncs.get(call as usize)?.get(way as usize)
    }

    /// Counts a sync call: `bytes` asked for, `lines` written back, ticks it took.
    pub fn synced(
        &self,
        call: SyncCall,
        way: Way,
        bytes: u64,
        lines: u64,
        ticks: u64,
        failed: bool,
    ) {
        if let Some(counters) = self.sync(call, way) {
            counters.calls.fetch_add(1, Ordering::Relaxed);
            counters.bytes.fetch_add(bytes, Ordering::Relaxed);
            counters.lines.fetch_add(lines, Ordering::Relaxed);
            counters
                .errors
                .fetch_add(u64::from(failed), Ordering::Relaxed);
            counters.latency.add(ticks);
        }
    }

    /// Counts a mapping. `path` is asked for only when this file and kind are new.
    pub fn mapped(
        &self,
        file: u64,
        kind: Kind,
        length: u64,
        huge_aligned: bool,
        path: impl FnOnce(&mut [u8; PATH_LEN]) -> usize,
    ) {
        for slot in &self.mappings {
            let state = slot
                .state
                .compare_exchange(0, 1, Ordering::Acquire, Ordering::Acquire);
            match state {
                Ok(_) => {
                    let mut text = [0; PATH_LEN];
                    let len = path(&mut text).min(PATH_LEN);
                    store_bytes(&slot.path, &text);
                    slot.path_len.store(len as u8, Ordering::Relaxed);
                    slot.file.store(file, Ordering::Relaxed);
                    slot.kind.store(kind as u8, Ordering::Relaxed);
                    slot.huge_aligned
                        .store(u8::from(huge_aligned), Ordering::Relaxed);
                    slot.largest.store(length, Ordering::Relaxed);
                    slot.count.store(1, Ordering::Relaxed);
                    slot.state.store(2, Ordering::Release);
                    return;
                }
                Err(2)
                    if slot.file.load(Ordering::Relaxed) == file
                        && slot.kind.load(Ordering::Relaxed) == kind as u8 =>
                {
                    slot.count.fetch_add(1, Ordering::Relaxed);
                    slot.largest.fetch_max(length, Ordering::Relaxed);
                    slot.huge_aligned
                        .fetch_and(u8::from(huge_aligned), Ordering::Relaxed);
                    return;
                }
                Err(_) => {}
            }
        }
        self.mappings_left_out.fetch_add(1, Ordering::Relaxed);
    }

    /// Names a module whose system calls are not all seen. Of those that find no room, nothing is said.
    pub fn module(&self, path: &[u8]) {
        let path = path.get(..PATH_LEN).unwrap_or(path);
        for slot in &self.modules {
            let state = slot
                .state
                .compare_exchange(0, 1, Ordering::Acquire, Ordering::Acquire);
            if state.is_ok() {
                store_bytes(&slot.path, path);
                slot.path_len.store(path.len() as u8, Ordering::Relaxed);
                slot.state.store(2, Ordering::Release);
                return;
            }
            let same = |(cell, byte): (&AtomicU8, &u8)| cell.load(Ordering::Relaxed) == *byte;
            if slot.path_len.load(Ordering::Relaxed) as usize == path.len()
                && slot.path.iter().zip(path).all(same)
            {
                return;
            }
        }
    }

    /// Where executions of the program at `path` are counted.
    #[must_use]
    pub fn unseen(&self, reason: Unseen, path: &[u8]) -> Executions<'_> {
        let path = path.get(..PATH_LEN).unwrap_or(path);
        for slot in &self.unseen {
            let state = slot
                .state
                .compare_exchange(0, 1, Ordering::Acquire, Ordering::Acquire);
            match state {
                Ok(_) => {
                    store_bytes(&slot.path, path);
                    slot.path_len.store(path.len() as u8, Ordering::Relaxed);
                    slot.reason.store(reason as u8, Ordering::Relaxed);
                    slot.state.store(2, Ordering::Release);
                    return Executions::Of(&slot.count);
                }
                Err(2)
                    if slot.reason.load(Ordering::Relaxed) == reason as u8
                        && usize::from(slot.path_len.load(Ordering::Relaxed)) == path.len()
                        && slot
                            .path
                            .iter()
                            .zip(path)
                            .all(|(cell, byte)| cell.load(Ordering::Relaxed) == *byte) =>
                {
                    return Executions::Of(&slot.count);
                }
                Err(_) => {}
            }
        }
        Executions::LeftOut(&self.unseen_left_out)
    }
}

/// A counter of [`Page::unseen`].
#[derive(Clone, Copy, Debug)]
pub enum Executions<'a> {
    /// Of one program.
    Of(&'a AtomicU64),
    /// Of those that found no room.
    LeftOut(&'a AtomicU32),
}

impl Executions<'_> {
    /// One more. It is counted beforehand, as nothing is left to count it afterwards.
    pub fn begin(self) {
        match self {
            Executions::Of(count) => count.fetch_add(1, Ordering::Relaxed),
            Executions::LeftOut(count) => count.fetch_add(1, Ordering::Relaxed).into(),
        };
    }

    /// It failed.
    pub fn failed(self) {
        match self {
            Executions::Of(count) => count.fetch_sub(1, Ordering::Relaxed),
            Executions::LeftOut(count) => count.fetch_sub(1, Ordering::Relaxed).into(),
        };
    }
}

/// Stores as many bytes as fit.
pub fn store_bytes(to: &[AtomicU8], from: &[u8]) {
    for (cell, byte) in to.iter().zip(from) {
        cell.store(*byte, Ordering::Relaxed);
    }
}

/// What is read instead of the time-stamp counter; null: nothing.
static OTHER_CLOCK: AtomicPtr<()> = AtomicPtr::new(core::ptr::null_mut());

/// From now on [`ticks`] reads another clock: where PR_SET_TSC (prctl(2)) or strict seccomp mode has
/// made the time-stamp counter a SIGSEGV.
pub fn read_instead(clock: fn() -> u64) {
    OTHER_CLOCK.store(clock as *mut (), Ordering::SeqCst);
}

/// A clock that costs no system call and no vDSO call: the time-stamp counter (constant rate on
/// every CPU with clwb). It may stand still after [`read_instead`].
#[cfg(target_arch = "x86_64")]
#[must_use]
pub fn ticks() -> u64 {
    let other = OTHER_CLOCK.load(Ordering::Relaxed);
    if !other.is_null() {
        // SAFETY: `read_instead` stores such functions only.
        return unsafe { core::mem::transmute::<*mut (), fn() -> u64>(other)() };
    }
    // SAFETY: rdtsc reads a counter; every x86-64 CPU has it.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// The same on aarch64: the virtual counter.
#[cfg(target_arch = "aarch64")]
#[must_use]
pub fn ticks() -> u64 {
    let count: u64;
    // SAFETY: reads a counter that Linux lets EL0 read.
    unsafe {
        core::arch::asm!("mrs {}, cntvct_el0", out(reg) count, options(nomem, nostack, preserves_flags));
    }
    count
}

#[cfg(test)]
mod tests;
