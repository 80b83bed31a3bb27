//! One report file, read in whole and checked.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};

use super::latency::Moment;
use super::tally::{Counted, Execution, Mapping, Refusal, Sync, Tally};
use super::{Program, latency::Buckets};
use crate::config::{FlushPolicy, Misunderstood};
use crate::contract::{Mode, Operation};
use crate::flush::WriteBack;
use crate::report::{
    Event, Kind, MAGIC, MappingCounters, ModuleName, OperationCounters, PATH_LEN, Page, SyncCall,
    SyncCounters, Unseen, UnseenCounters, Way,
};

/// Why a file is no report page.
#[derive(Debug)]
pub(super) enum Flaw {
    /// It could not be read.
    Unreadable(io::Error),
    /// Not a regular file.
    NotRegular,
    /// Its process was stopped before it had written the beginning.
    Unfinished,
    /// Something else.
    Foreign,
    /// A page of another layout.
    Version,
    /// Fewer bytes than a page has.
    Truncated,
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Flaw::Unreadable(error) => write!(f, "it cannot be read: {error}"),
            Flaw::NotRegular => f.write_str("it is not a regular file"),
            Flaw::Unfinished => f.write_str("its process ended before it had begun to report, or had no room for it (/dev/shm is full, or a \
                 limit of file sizes)"),
            Flaw::Foreign => f.write_str("it was not written by libdaxshim.so"),
            Flaw::Version => f.write_str("it was written by another version of libdaxshim.so"),
            Flaw::Truncated => f.write_str("it is truncated"),
        }
    }
}

/// What a file holds.
pub(super) struct Snapshot {
    /// Without latencies: how long a tick is, all files together tell.
    pub(super) program: Program,
    /// When the page was made.
    pub(super) started: Moment,
}

impl Snapshot {
    /// Reads a file. Not mapped: the file may shrink meanwhile, and a copy stands still.
    pub(super) fn read(path: &Path, image: u32) -> Result<Snapshot, Flaw> {
        // Whatever has been put there must neither be followed nor waited for.
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
            .open(path)
            .map_err(Flaw::Unreadable)?;
        let metadata = file.metadata().map_err(Flaw::Unreadable)?;
        if !metadata.is_file() {
            return Err(Flaw::NotRegular);
        }
        let (page, length) = read_page(&file).map_err(Flaw::Unreadable)?;
        check(&page, length, metadata.len())?;
        let started = Moment {
            ticks: wide(&page.started_ticks),
            nanoseconds: wide(&page.started_ns),
        };
        Ok(Snapshot {
            program: program(&page, image),
            started,
        })
    }
}

fn program(page: &Page, image: u32) -> Program {
    let misunderstood = Misunderstood(page.misunderstood.load(Ordering::Relaxed));
    Program {
        pid: number(&page.pid),
        parent: number(&page.parent),
        image,
        program: text(&page.program, &page.program_len),
        running: false,
        mode: mode(byte(&page.mode)).word(),
        flush: FlushPolicy::from_u8(byte(&page.flush)).word(),
        compat: byte(&page.compat) != 0,
        emulate: byte(&page.emulate) != 0,
        instruction: WriteBack::from_u8(byte(&page.write_back)).word(),
        misunderstood: misunderstood
            .iter()
            .map(|variable| variable.name().to_string_lossy().into_owned())
            .collect(),
        tally: tally(page),
    }
}

/// The page, and how many of its bytes the file had; the rest is 0.
fn read_page(file: &File) -> io::Result<(Box<Page>, usize)> {
    let mut bytes = Vec::with_capacity(size_of::<Page>());
    file.take(size_of::<Page>() as u64)
        .read_to_end(&mut bytes)?;
    let mut page = Box::<Page>::new_uninit();
    // SAFETY: at most the size of a page is copied, the rest is zeroed; a page is nothing but
    // integers, for which any bytes will do.
    let page = unsafe {
        let start = page.as_mut_ptr().cast::<u8>();
        start.write_bytes(0, size_of::<Page>());
        start.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
        page.assume_init()
    };
    Ok((page, bytes.len()))
}

fn check(page: &Page, read: usize, length: u64) -> Result<(), Flaw> {
    let magic = wide(&page.magic).to_le_bytes();
    let same_but_version = |(i, (a, b)): (usize, (&u8, &u8))| i == 7 || a == b;
    let ours = MAGIC.to_le_bytes();
    if magic == [0; 8] {
        // The library writes it last.
        return Err(Flaw::Unfinished);
    }
    if !magic.iter().zip(&ours).enumerate().all(same_but_version) {
        return Err(Flaw::Foreign);
    }
    let expected = size_of::<Page>() as u64;
    if magic != ours || length > expected {
        return Err(Flaw::Version);
    }
    if read < size_of::<Page>() {
        return Err(Flaw::Truncated);
    }
    if wide(&page.length) == expected {
        Ok(())
    } else {
        Err(Flaw::Version)
    }
}

fn mode(value: u8) -> Mode {
    match value {
        1 => Mode::Audit,
        2 => Mode::Off,
        _ => Mode::Enforce,
    }
}

fn tally(page: &Page) -> Tally {
    let operations = Operation::ALL.iter().zip(&page.operations);
    let syncs = SyncCall::ALL
        .iter()
        .zip(&page.syncs)
        .flat_map(|(&call, ways)| {
            let ways = Way::ALL.iter().zip(ways);
            ways.filter_map(move |(&way, counters)| sync(call, way, counters))
        });
    let events = Event::ALL.iter().zip(&page.events);
    Tally {
        refusals: operations
            .filter_map(|(&operation, counters)| refusal(operation, counters))
            .collect(),
        syncs: syncs.collect(),
        mappings: page.mappings.iter().filter_map(mapping).collect(),
        mappings_left_out: u64::from(number(&page.mappings_left_out)),
        events: events
            .map(|(&event, counter)| Counted {
                event,
                count: wide(counter),
            })
            .filter(|counted| counted.count > 0)
            .collect(),
        unseen: page.unseen.iter().filter_map(execution).collect(),
        unseen_left_out: u64::from(number(&page.unseen_left_out)),
        modules: page.modules.iter().filter_map(module).collect(),
    }
}

fn refusal(operation: Operation, counters: &OperationCounters) -> Option<Refusal> {
    let refusal = Refusal {
        operation,
        refused: wide(&counters.refused),
        compat_would_allow: wide(&counters.compat_would_allow),
        pretended: wide(&counters.pretended),
        recorded: wide(&counters.recorded),
    };
    (refusal.refused | refusal.pretended | refusal.recorded > 0).then_some(refusal)
}

fn sync(call: SyncCall, way: Way, counters: &SyncCounters) -> Option<Sync> {
    let calls = wide(&counters.calls);
    (calls > 0).then(|| Sync {
        call,
        way,
        calls,
        bytes: wide(&counters.bytes),
        lines: wide(&counters.lines),
        errors: wide(&counters.errors),
        latency_ns: None,
        buckets: counters.latency.0.iter().map(wide).collect::<Buckets>(),
    })
}

fn mapping(counters: &MappingCounters) -> Option<Mapping> {
    let kind = Kind::from_u8(byte(&counters.kind));
    // 1: its process was stopped while it filled it in.
    (byte(&counters.state) == 2).then(|| Mapping {
        path: text(&counters.path, &counters.path_len),
        kind,
        sync: kind.is_sync(),
        count: wide(&counters.count),
        largest: wide(&counters.largest),
        huge_aligned: byte(&counters.huge_aligned) != 0,
        file: wide(&counters.file),
    })
}

fn execution(counters: &UnseenCounters) -> Option<Execution> {
    let reason = *Unseen::ALL.get(usize::from(byte(&counters.reason)))?;
    let count = wide(&counters.count);
    // None where the execution failed after all.
    (byte(&counters.state) == 2 && count > 0).then(|| Execution {
        program: text(&counters.path, &counters.path_len),
        reason,
        count,
    })
}

fn module(name: &ModuleName) -> Option<String> {
    (byte(&name.state) == 2).then(|| text(&name.path, &name.path_len))
}

/// A path; a long one lost its beginning.
fn text(bytes: &[AtomicU8; PATH_LEN], length: &AtomicU8) -> String {
    let bytes: Vec<u8> = bytes
        .iter()
        .take(usize::from(byte(length)))
        .map(byte)
        .collect();
    let text = String::from_utf8_lossy(&bytes);
    if bytes.len() == PATH_LEN {
        format!("…{text}")
    } else {
        text.into_owned()
    }
}

fn byte(cell: &AtomicU8) -> u8 {
    cell.load(Ordering::Relaxed)
}

fn number(cell: &AtomicU32) -> u32 {
    cell.load(Ordering::Relaxed)
}

fn wide(cell: &AtomicU64) -> u64 {
    cell.load(Ordering::Relaxed)
}
