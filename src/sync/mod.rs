//! What msync, fsync, fdatasync and sync_file_range become.
//!
//! *Plan*: a range is split by mapping. *Choose*: for each part of a sync mapping, the cheapest way
//! that is sufficient. *Carry out*: the parts in order of addresses, and one fence.
//!
//! The ways:
//!
//! - *lines*: write-back of every line of the part, and a fence.
//! - *range*: sync_file_range(2) with its three flags, and a fence. It needs a descriptor: what the
//!   program calls, or for msync the one that the file was mapped from, see [`by_range`](part::by_range).
//! - *kernel*: msync(2), or what was called.
//!
//! # Why the range way is durable
//!
//! With all three flags ksys_sync_file_range (fs/sync.c) starts write-out in WB_SYNC_ALL, and
//! ext4_dax_writepages and xfs_dax_writepages are dax_writeback_mapping_range (fs/dax.c): every DAX
//! entry with a dirty tag in the range is write-protected in all mappings of all processes, and its
//! lines written back by dax_flush: arch_wb_cache_pmem (arch/x86/lib/usercopy_64.c), which is clwb
//! without a fence behind it. What msync does beyond that:
//!
//! - it commits the metadata that leads to the data (ext4_sync_file, xfs_file_fsync): durable since
//!   the tag was set, as it then was synced and cannot change; MAP_SYNC says the same of whatever was
//!   stored through the mapping. Only the time of modification is left, which is not owed.
//! - it flushes the device (REQ_PREFLUSH, nvdimm_flush): a wmb(), which orders the write-backs, and
//!   with flush hints the memory controller's queues, which are inside the persistence domain (ADR).
//!   The first is the fence here: it comes later on the same CPU, or behind the locked instructions
//!   of a migration. The second is `DAXSHIM_DEEP`. A device that needs more than that, as
//!   virtio-pmem does, does not grant MAP_SYNC.
//!
//! So it is taken only for mappings that were granted MAP_SYNC and whose tag was valid.
//!
//! "Every DAX entry with a dirty tag" holds only while nobody else syncs or faults at the same entry:
//! dax_writeback_one skips one that it meets locked, and clears a tag before the lines are flushed, so that a
//! sync may return before another thread's is done (docs/kernel-race.md). Lines are immune. msync and fdatasync
//! go through the same code and have nothing to commit here, so the range way leaves no more to chance; fsync
//! commits the time of modification, and meanwhile another's flush may end, so it is never replaced by that. And
//! where others are known to be there ([`is_alone`](crate::ground::thread::is_alone)), the kernel gets the call
//! that was made.
//!
//! # Entry
//!
//! Every sync of a tagged file comes through [`msync`] or [`of_descriptor`], but for the short ones
//! that [`quick`](crate::sync::quick) does; [`quick::may_serve`] says whether it may.

mod done;
mod msync;
mod part;
mod persist;
mod pieces;
mod plan;
pub mod quick;
pub mod spared;
mod tell;
mod whole_file;

pub use msync::msync;
pub use persist::persist;
pub use tell::{after_fdatasync, after_fsync, after_sync_file_range};
pub use whole_file::of_descriptor;
