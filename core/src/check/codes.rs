//! The table of findings: code, level, title, help, and the page of `daxshim explain`.
//!
//! Codes are stable: a number is never given to another finding.
//!
//! Longer than other files: the pages are the documentation.

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Worth knowing: costs time, or limits what was seen.
    Note,
    /// May lose data, or does not what was meant.
    Warning,
    /// Data would be lost.
    Error,
}

impl Level {
    /// All of them, from the lowest.
    pub const ALL: [Level; 3] = [Level::Note, Level::Warning, Level::Error];

    /// The word in reports.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Level::Note => "note",
            Level::Warning => "warning",
            Level::Error => "error",
        }
    }
}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident $id:literal $level:ident $title:literal $help:literal $page:literal)+) => {
        /// What can be found.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum Code { $($(#[$doc])* $name,)+ }

        impl Code {
            /// All of them, in table order.
            pub const ALL: &'static [Code] = &[$(Code::$name),+];

            /// The stable code, `DAX` and three digits.
            #[must_use]
            pub const fn id(self) -> &'static str {
                match self { $(Code::$name => $id,)+ }
            }

            /// How much it matters.
            #[must_use]
            pub const fn level(self) -> Level {
                match self { $(Code::$name => Level::$level,)+ }
            }

            /// The title, in a few words.
            #[must_use]
            pub const fn title(self) -> &'static str {
                match self { $(Code::$name => $title,)+ }
            }

            /// What to change.
            #[must_use]
            pub const fn help(self) -> &'static str {
                match self { $(Code::$name => $help,)+ }
            }

            /// What it means and how to do it right.
            #[must_use]
            pub const fn explanation(self) -> &'static str {
                match self { $(Code::$name => $page,)+ }
            }
        }
    };
}

codes! {
    /// Unsynced lines in a range that was unmapped.
    Unmapped "DAX001" Error
    "unmapped with lines that were never synced"
    "call msync(MS_SYNC) on the range before munmap, or fsync the file after it"
"munmap makes nothing durable. Lines that were stored to and not synced before lie in the CPU's caches
or in the page cache; a power cut takes them, also after the mapping is gone. A later msync of the same
part of the file, or fsync of its descriptor, still makes them durable, and then nothing is reported.
While another mapping has the lines, in this process or another, they are not lost either: whoever lets go
of them last is named.

Wrong:
    record->state = DONE;
    munmap(map, length);

Right:
    record->state = DONE;
    msync(map, length, MS_SYNC);
    munmap(map, length);
"

    /// Unsynced lines in a range that another mapping was put over.
    MappedOver "DAX002" Error
    "mapped over (MAP_FIXED, mremap) with lines that were never synced"
    "call msync(MS_SYNC) on the old range before another mapping takes its place"
"mmap with MAP_FIXED, and mremap with MREMAP_FIXED or a smaller length, unmap what was there, silently.
As with munmap (DAX001), that makes nothing durable.

Wrong:
    window[0] = 1;
    mmap(window, length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, next);

Right:
    window[0] = 1;
    msync(window, length, MS_SYNC);
    mmap(window, length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, next);
"

    /// Unsynced lines when the process exited.
    Exited "DAX003" Error
    "exited with lines that were never synced"
    "sync the last stores before the program ends"
"The process ended by itself while lines of the mapping were dirty: nothing that it did, and nothing that
another process of the run did, made them durable. Exit status 0 told its caller otherwise.

Wrong:
    map->count++;
    return 0;

Right:
    map->count++;
    return msync(map, length, MS_SYNC) ? 1 : 0;
"

    /// Unsynced lines when the process executed another program.
    Executed "DAX004" Error
    "executed another program with lines that were never synced"
    "sync before execve"
"execve unmaps everything, and makes nothing durable. What was stored and not synced is in the hands of a
program that knows nothing of it.

Wrong:
    map->generation++;
    execv(path, arguments);

Right:
    map->generation++;
    msync(map, length, MS_SYNC);
    execv(path, arguments);
"

    /// Unsynced lines when the process was killed.
    Killed "DAX005" Warning
    "killed with lines that were never synced"
    "nothing was promised for these lines yet; if something was, sync before promising it"
"A signal ended the process between a store and its sync. That alone is no fault: no sync was due yet. It
is one if somebody was told that the data is safe (see DAX008). The lines show what a power cut at this
moment would have taken; `daxshim crash` tries whether the program can do without them.
"

    /// Nothing dirty in the range of a sync, but elsewhere in the same file.
    WrongRange "DAX006" Warning
    "the range synced has nothing dirty, but other lines of the file are"
    "check start and length of the sync: the dirty lines lie elsewhere in the file"
"A sync was called on a range in which nothing had been stored, while lines outside it were dirty. Often
the address is that of the wrong structure, or the length counts elements instead of bytes. Where the dirty
lines are left on purpose for a later sync, this one is redundant (DAX101).

Wrong:
    map->tail[i] = value;
    msync(map, sizeof map->head, MS_SYNC);          /* `tail` begins a page later */

Right:
    map->tail[i] = value;
    char *page = (char *)((uintptr_t)&map->tail[i] & ~4095UL);
    msync(page, (char *)(&map->tail[i] + 1) - page, MS_SYNC);
"

    /// Nothing dirty in the file of a sync, but in another one.
    WrongFile "DAX007" Warning
    "the file synced has nothing dirty, but another one has"
    "check which mapping or descriptor is synced: the dirty lines are in another file"
"A sync was called on a file in which nothing had been stored, while lines of another mapped file were
dirty.

Wrong:
    data->value = 1;
    msync(log, log_length, MS_SYNC);

Right:
    data->value = 1;
    msync(data, data_length, MS_SYNC);
"

    /// Something was sent while lines were dirty.
    Acknowledged "DAX008" Warning
    "acknowledged before durable: sent while lines are dirty"
    "sync before the answer is sent; if this is no acknowledgement, suppress it"
"Something was written or sent to a socket or pipe while lines of a mapping were dirty. If it tells
somebody that their data is safe, it is too early: after a power cut the other side believes in data that is
gone. Standard error does not count as an answer. Whether a message is an acknowledgement, no tool can know:
what is none goes into the suppressions.

Wrong:
    store(map, request);
    send(client, \"OK\", 2, 0);
    msync(map, length, MS_SYNC);

Right:
    store(map, request);
    msync(map, length, MS_SYNC);
    send(client, \"OK\", 2, 0);
"

    /// Stores to the last page behind the end of the file.
    BeyondEnd "DAX009" Error
    "stored behind the end of the file"
    "make the file large enough (ftruncate, posix_fallocate) before mapping it"
"The last page of a mapping reaches to a page boundary, the file may end before. Stores in between fault
nobody and go nowhere: no sync writes them, and the next one to map the page finds zeros.

Wrong:
    ftruncate(fd, 5000);
    char *map = mmap(0, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    map[6000] = 1;

Right:
    ftruncate(fd, 8192);
    char *map = mmap(0, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    map[6000] = 1;
"

    /// A private mapping was stored to and synced.
    Private "DAX010" Error
    "MAP_PRIVATE stored to and synced as if it were shared"
    "map the file MAP_SHARED if stores are to reach it"
"Stores to a MAP_PRIVATE mapping go to copies of its pages that nobody else sees; msync answers 0 and writes
nothing.

Wrong:
    char *map = mmap(0, length, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    map[0] = 1;
    msync(map, length, MS_SYNC);

Right:
    char *map = mmap(0, length, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    map[0] = 1;
    msync(map, length, MS_SYNC);
"

    /// A file was truncated while mapped.
    Truncated "DAX011" Error
    "truncated while mapped: access behind the new end is SIGBUS"
    "unmap the part behind the new end first, or leave the file's size alone"
"Pages of a mapping that lie behind the end of the file raise SIGBUS when touched, and what was in them is
gone, synced or not. On a file with a tag the truncation is refused (DAX201).

Wrong:
    ftruncate(fd, 4096);
    map[4096] = 1;                                   /* SIGBUS */

Right:
    munmap(map + 4096, length - 4096);
    ftruncate(fd, 4096);
"

    /// Flushed by the program, and not drained.
    NotDrained "DAX012" Warning
    "flushed by libpmem, and not drained"
    "call pmem_drain (or pmem_persist instead of pmem_flush) before relying on it"
"pmem_flush and the copying functions that leave out the drain (pmem_memcpy_nodrain, PMEM_F_MEM_NODRAIN) only
start the write-back of cache lines. It has ended when the same thread has called pmem_drain, or synced: until
then a power cut may take any of the lines. Here the program answered somebody, unmapped the lines or ended
before. At the end of a process the stack is that of the flush. A fence instruction of the program's own is not
seen: where there is one, suppress this.

Wrong:
    pmem_memcpy_nodrain(record, source, length);
    send(client, \"OK\", 2, 0);

Right:
    pmem_memcpy_nodrain(record, source, length);
    pmem_drain();
    send(client, \"OK\", 2, 0);
"

    /// A user flush where that does not suffice.
    NotFlushable "DAX013" Error
    "flushed by libpmem, but the mapping is not MAP_SYNC"
    "call pmem_msync where pmem_is_pmem says no; or map a file on DAX by pmem_map_file, which asks for MAP_SYNC"
"A flush of cache lines makes stores durable only where the kernel granted MAP_SYNC. On the page cache the lines
go to memory, not to the medium; on DAX without MAP_SYNC they reach the medium, while metadata of the filesystem
that leads to them may not be durable. libpmem2 asks by itself, and syncs by msync there.

Wrong:
    char *map = mmap(0, length, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    pmem_memcpy_persist(map, source, size);

Right:
    char *map = pmem_map_file(path, 0, 0, 0, &length, &is_pmem);
    if (is_pmem)
        pmem_memcpy_persist(map, source, size);
    else
        memcpy(map, source, size), pmem_msync(map, size);
"

    /// msync without MS_SYNC, and nothing else.
    AsyncOnly "DAX014" Warning
    "msync without MS_SYNC makes nothing durable"
    "call msync with MS_SYNC; MS_ASYNC starts nothing on Linux, and waits for nothing"
"msync(MS_ASYNC) checks its arguments and returns (since Linux 2.6.19): the kernel writes dirty pages back when
it likes, after half a minute or so, and no call tells when that is done. Reported where a file was synced in
no other way and lines of it were left. Boost's mapped_region::flush() does this unless it is told otherwise.

Wrong:
    record->state = DONE;
    msync(map, length, MS_ASYNC);

Right:
    record->state = DONE;
    msync(map, length, MS_SYNC);
"

    /// Nothing dirty in the range of a sync, or anywhere.
    Redundant "DAX101" Note
    "redundant sync: nothing was dirty"
    "leave it out, or sync once after the stores instead of after each step"
"A sync was called on a range in which no line differed from what was durable already: stored to before and
synced since, or stored to with the same content. It costs a system call and, on DAX, write-protects pages.

Wrong:
    msync(map, length, MS_SYNC);
    msync(map, length, MS_SYNC);

Right:
    msync(map, length, MS_SYNC);
"

    /// A sync of far more than was dirty.
    Amplified "DAX102" Note
    "amplified sync: far more asked for than was dirty"
    "sync the pages that were stored to"
"A sync covers at least 16 pages, and at least eight times as many as have a dirty line. The kernel looks
at dirty pages only, but a whole 2 MiB where that is the page; a user flush writes back line by line: both
cost less when the range is what was stored to.

Wrong:
    map[i].value = 1;
    msync(map, whole, MS_SYNC);

Right:
    map[i].value = 1;
    char *page = (char *)((uintptr_t)&map[i] & ~4095UL);
    msync(page, (char *)(&map[i] + 1) - page, MS_SYNC);
"

    /// fsync found lines that msync of ranges had left.
    FsyncNeeded "DAX103" Note
    "fsync makes durable what msync left dirty"
    "keep the fsync, or have msync cover these lines too"
"The program syncs ranges by msync and the file by fsync, and at the fsync there were dirty lines: it is not
there for form's sake. Replacing it by nothing would lose them; replacing it by an msync of these lines is
the cheaper policy that is as safe.
"

    /// fsync found nothing that msync of ranges had left.
    FsyncIdle "DAX104" Note
    "fsync found nothing that msync had left dirty"
    "on a tagged file the fsync can be left out: its metadata is durable already"
"The program syncs ranges by msync and the file by fsync, and no fsync found a dirty line: all stores were
durable by msync already. On a tagged file, where no metadata can change, the fsync does nothing; on an
untagged one it also makes size and allocation durable, so keep it after the file has grown.
"

    /// An operation on a tagged file was refused.
    Refused "DAX201" Warning
    "refused with EPERM on a tagged file"
    "let the program change the file's data by mmap only, or untag the file for this step"
"A tagged file's data is changed through mmap, and its metadata not at all; everything else gets EPERM
(docs/semantics.md lists it). The stack shows who tried.
"

    /// An operation was refused that compat would have let through.
    RefusedIdle "DAX202" Warning
    "refused with EPERM, though it would change nothing"
    "run with --compat: it lets through calls that change nothing"
"The call would have left the file as it is: truncate to the present size, chmod to the present mode,
setting times. Legacy programs do that by habit, and `--compat` (DAXSHIM_COMPAT=1) lets it pass.
"

    /// An operation that enforcement would have refused.
    Audited "DAX203" Warning
    "would be refused with EPERM on a tagged file (audit)"
    "change it before the file is used with --mode enforce"
"With `--mode audit` the call was carried out as on an untagged file; under enforcement it gets EPERM.
"

    /// A mapping of a file that is not DAX.
    NotDax "DAX301" Warning
    "mapped, but the file is not DAX"
    "put it on a DAX mount and set the flag (daxshim doctor, daxshim prepare)"
"The file's pages are page cache: stores become durable when the kernel writes the pages out, and no user
flush can do that. `daxshim doctor` says what this machine offers, `daxshim status FILE` what the file is.
"

    /// A mapping that is DAX, but without MAP_SYNC.
    NotSync "DAX302" Warning
    "DAX, but the kernel does not grant MAP_SYNC"
    "use a device that can (not virtio-pmem), or leave every sync to the kernel"
"Stores reach the medium directly, but a write fault may leave metadata of the filesystem that only fsync
makes durable. Without MAP_SYNC a user flush alone is not enough; every sync goes to the kernel.
"

    /// A hole or an unwritten extent under a mapping.
    Hole "DAX303" Warning
    "a hole or unwritten extent lies under the mapping"
    "allocate and write the file first (daxshim prepare)"
"The first store to such a page allocates a block, in the middle of the program: it costs a journal
transaction, may fail with SIGBUS where the filesystem is full, and is durable only with the metadata.

Wrong:
    ftruncate(fd, length);                           /* all hole */

Right:
    posix_fallocate(fd, 0, length);                  /* still unwritten */
    for (off_t at = 0; at < length; at += sizeof zeros)
        pwrite(fd, zeros, sizeof zeros, at);
    fsync(fd);
"

    /// The extents are not those of the tag.
    Moved "DAX304" Warning
    "the file's extents have moved since it was tagged"
    "run daxshim verify on it, find what moved them, then untag and tag it again"
"The tag holds a fingerprint of where the file's blocks lie, and they lie elsewhere now: something outside
the shim (a defragmenter, a restore, a loop device) has moved them. EPERM stays in force, and every sync goes to
the kernel.
"

    /// Pages of 4 KiB where 2 MiB would do.
    SmallPages "DAX305" Note
    "mapped by 4 KiB pages although it is large enough for 2 MiB ones"
    "align address, offset and extents to 2 MiB (daxshim prepare aligns the extents)"
"A fault maps 2 MiB at once where the address and the offset in the file agree modulo 2 MiB, and the extent
lies at a multiple of 2 MiB on the device. Otherwise it takes 512 faults and as many TLB entries.
"

    /// An untagged file that was stored to and synced by nobody.
    NeverMeant "DAX306" Note
    "stored to, and synced by nobody at all"
    "sync it if it is meant to be durable (--watch FILE has check insist on it); else a file in /dev/shm does as well"
"A file without a tag was mapped shared and stored to, and no process of the run ever called msync or fsync for
it, while other files were synced. Lock files and the like are used so; then all is well. Data that is to
survive is not. `--watch` with a pattern that names the file says that it is meant to, and then each line that
is left is an error.
"

    /// Nothing was ever synced.
    NothingSynced "DAX307" Warning
    "stored to mapped files, and nothing was synced at all"
    "call msync(MS_SYNC) or fsync where the data must be durable; if it need not be, suppress this"
"Files were mapped shared and stored to, and in the whole run there was no msync and no fsync of any of them.
The kernel writes dirty pages back some time later; a power cut, or a crash of the machine, before that takes
them. In Python mmap.close() syncs nothing, flush() does; in Java force(), in Rust's memmap2 flush() (and not
flush_async()).

Wrong:
    map[:4] = b'DONE'
    map.close()

Right:
    map[:4] = b'DONE'
    map.flush()
    map.close()
"

    /// A program of the run that the shim was not in.
    Unseen "DAX401" Note
    "a program ran without the shim: what it does was not seen"
    "use a build that is dynamically linked, without set-ID bits or file capabilities"
"LD_PRELOAD reaches only dynamically linked programs that do not change their privileges. What others do to
the files is not in this report.
"

    /// Parts of libc are not watched.
    LibcUnseen "DAX402" Note
    "what libc does inside itself was not seen"
    "see the warning of daxshim run about it"
"libc's own system calls (fwrite, posix_fallocate, closing a stream) pass no symbol; they are watched by
turning the places in its code, which was not possible here.
"

    /// A module makes system calls by itself.
    RawCalls "DAX403" Note
    "code that makes system calls by itself: these were not seen"
    "look whether this code syncs, writes or maps; if so, what it does is missing here"
"The module contains `syscall` instructions of its own (Go programs, liburing, some allocators). Such calls
pass no symbol of libc.
"

    /// Not all syncs were compared.
    Sampled "DAX404" Note
    "not every sync was compared"
    "run it with --exact to compare all of them, however long that takes"
"Comparing a large range costs time; without --exact no more than about a thirtieth of the run time is spent
on it. Lines that changed since the last sync that was compared may have been made durable by those that
were not: they are counted here, and never reported as unsynced. Likewise answers are held against large ranges
only as long as there is time.
"

    /// A file without a shadow.
    Unshadowed "DAX405" Warning
    "a mapped file was not watched: no room for its shadow"
    "make room in the report directory (/dev/shm: an eighth of the file, and a MiB), or descriptors (ulimit -n)"
"What is durable is kept in digests, an eighth as large as the file. Where there is no room for them, no
descriptor left to make them by, or more than 255 files are mapped, the file is not watched.
"

    /// Something could not be looked at.
    NotLooked "DAX406" Warning
    "not everything that was done was looked at"
    "see the note; what it names may have gone wrong without a finding"
"A program that filters its own system calls (seccomp) could be killed for those of the shim: from then on
nothing is looked at in the process, and lines of the files it has mapped are never reported as unsynced.
Mappings are looked up while other threads change them; where that takes too long, or there are more mappings
than can be recorded, a call goes unlooked at. A forked child needs a descriptor for a moment, and room in the
report directory, for a log of its own.
"

    /// A file that could have been watched.
    NotAsked "DAX407" Note
    "mapped shared and writable, and not watched"
    "--watch shared watches every such file, --watch PATTERN those that it names"
"Without a tag, and elsewhere than on DAX, files are watched where `--watch` says so. Stores to this one, and
whether they were synced, are not in this report.
"

    /// Syncs that had nothing to do.
    AllIdle "DAX408" Warning
    "no sync of the run found anything dirty"
    "start from fresh files: --setup CMD makes them, --restore puts back what was there"
"Files were synced, and at no sync was there a line that differed from what was durable. Most often the program
has run on these files before: a store of the value that is there already can't be seen, and so neither can it
be seen whether it was synced. Then nothing is found, whatever the program does wrong. A run that stores
nothing at all is not worth a check either.
"
}

impl Code {
    /// The code with this number in a [`Log`](super::log::Log).
    #[must_use]
    pub fn from_u8(number: u8) -> Option<Code> {
        Code::ALL.get(usize::from(number)).copied()
    }

    /// The code with this name, `DAX001`.
    #[must_use]
    pub fn parse(id: &str) -> Option<Code> {
        Code::ALL
            .iter()
            .copied()
            .find(|code| code.id().eq_ignore_ascii_case(id))
    }
}

#[cfg(test)]
mod tests;
