//! In one sentence: was anything accelerated, and if not, why not?

use daxshim_core::host::report::{Mapping, Report, Tally};
use daxshim_core::host::shown;
use daxshim_core::report::{Event, Kind, SyncCall, Way};
use serde::Serialize;

use super::program::Unseen;
use crate::output::{bytes, number};

/// The sentence, and what it comes down to.
#[derive(Debug, Serialize)]
pub struct Conclusion {
    /// Whether at least one sync was a user flush.
    pub accelerated: bool,
    /// One word for it.
    pub reason: Reason,
    /// The sentence.
    pub text: String,
}

/// Why syncs were accelerated or were not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// They were.
    UserFlush,
    /// `DAXSHIM_FLUSH=none`: skipped, nothing is durable.
    Skipped,
    /// No process reported.
    NoProcess,
    /// `DAXSHIM_MODE=off`.
    Off,
    /// No tagged file was mapped.
    NotMapped,
    /// Mapped, but nothing that can be flushed.
    NotSync,
    /// `DAXSHIM_FLUSH=kernel`.
    KernelFlush,
    /// No msync was called.
    NoMsync,
    /// The kernel's msync was cheaper.
    KernelCheaper,
    /// Only the kernel could do it.
    KernelNeeded,
}

/// Counts of msync by way.
struct Msync {
    user: u64,
    mixed: u64,
    skipped: u64,
    kernel: u64,
    kernel_bytes: u64,
}

impl Msync {
    fn of(total: &Tally) -> Msync {
        let calls = |ways: &[Way]| {
            let of = |sync: &daxshim_core::host::report::Sync| {
                sync.call == SyncCall::Msync && ways.contains(&sync.way)
            };
            (
                total.syncs_of(of, |sync| sync.calls),
                total.syncs_of(of, |sync| sync.bytes),
            )
        };
        let (kernel, kernel_bytes) = calls(&[Way::Kernel, Way::Range]);
        Msync {
            user: calls(&[Way::User]).0,
            mixed: calls(&[Way::Mixed]).0,
            skipped: calls(&[Way::Skipped]).0,
            kernel,
            kernel_bytes,
        }
    }
}

impl Conclusion {
    /// What a report comes down to.
    pub fn of(report: &Report, unseen: &[Unseen]) -> Conclusion {
        let (reason, text) = judge(report, unseen);
        let accelerated = reason == Reason::UserFlush;
        let text = if accelerated || reason == Reason::Skipped {
            text
        } else {
            format!("Nothing was accelerated: {text}.")
        };
        Conclusion {
            accelerated,
            reason,
            text,
        }
    }
}

fn judge(report: &Report, unseen: &[Unseen]) -> (Reason, String) {
    let total = &report.total;
    let msync = Msync::of(total);
    let flushable = total.mappings.iter().any(|mapping| mapping.sync);
    let all = |test: &dyn Fn(&daxshim_core::host::report::Program) -> bool| {
        report.programs.iter().all(test)
    };
    if report.programs.is_empty() {
        (Reason::NoProcess, no_process(report, unseen))
    } else if msync.skipped > 0 {
        (Reason::Skipped, skipped(&msync))
    } else if user_flushes(total) > 0 {
        (Reason::UserFlush, accelerated(report, &msync))
    } else if all(&|program| program.mode == "off") {
        (
            Reason::Off,
            "DAXSHIM_MODE=off, the shim touched nothing".into(),
        )
    } else if total.mappings.is_empty() {
        (Reason::NotMapped, not_mapped(report))
    } else if !flushable {
        (Reason::NotSync, not_sync(&total.mappings))
    } else if all(&|program| program.flush == "kernel") {
        let text = "DAXSHIM_FLUSH=kernel leaves every sync to the kernel";
        (Reason::KernelFlush, text.into())
    } else if msync.kernel == 0 {
        (Reason::NoMsync, no_msync(total))
    } else if all(&|program| program.flush != "auto") {
        (Reason::KernelNeeded, kernel_needed(&msync))
    } else {
        (Reason::KernelCheaper, kernel_cheaper(&msync))
    }
}

fn user_flushes(total: &Tally) -> u64 {
    total.syncs_of(
        |sync| matches!(sync.way, Way::User | Way::Mixed),
        |sync| sync.calls,
    )
}

fn no_process(report: &Report, unseen: &[Unseen]) -> String {
    if let Some(unseen) = unseen.first() {
        return format!(
            "the shim was not in {}, as {}; {}",
            shown(&unseen.program),
            unseen.reason,
            unseen.reason.help()
        );
    }
    if !report.unreadable.is_empty() {
        return "no process left a report that can be read".into();
    }
    "no process loaded the shim (a program that cleans its environment, changes its root or \
     ends before its libraries are loaded can cause that; so can a message of ld.so above)"
        .into()
}

fn skipped(msync: &Msync) -> String {
    format!(
        "NOTHING WAS MADE DURABLE: DAXSHIM_FLUSH=none skipped {} msync calls.",
        number(msync.skipped)
    )
}

fn accelerated(report: &Report, msync: &Msync) -> String {
    let total = &report.total;
    let mut instructions: Vec<&str> = report
        .programs
        .iter()
        .filter(|program| user_flushes(&program.tally) > 0)
        .map(|program| program.instruction)
        .collect();
    instructions.sort_unstable();
    instructions.dedup();
    let all = msync.user + msync.mixed + msync.kernel;
    let instructions = instructions.join(", ");
    let mut text = match (all, msync.user) {
        // It was fsync and its like.
        (0, _) => {
            let of = |sync: &daxshim_core::host::report::Sync| sync.way == Way::User;
            let whole = total.syncs_of(of, |sync| sync.calls);
            format!(
                "{} of {} calls of fsync and its like were user flushes: cache lines written back \
                 ({instructions}), no system call.",
                number(whole),
                number(total.syncs_of(|_| true, |sync| sync.calls)),
            )
        }
        (all, user) => format!(
            "{} of {} msync calls were user flushes: cache lines written back ({instructions}), no \
             system call.",
            number(user),
            number(all),
        ),
    };
    if msync.mixed > 0 {
        text += &format!(
            "\n{} were so in part, and in part the kernel's.",
            number(msync.mixed)
        );
    }
    if msync.kernel > 0 {
        let average = average(msync);
        let why = if total.mappings.iter().all(|mapping| mapping.sync) {
            format!("which is cheaper for large ranges ({average} on average; --flush user forces)")
        } else {
            format!(
                "as their mapping is not a sync mapping, or their range so large ({average} on \
                 average) that this is cheaper (--flush user forces)"
            )
        };
        text += &format!("\n{} went to the kernel, {why}.", number(msync.kernel));
    }
    let durable = total
        .mappings
        .iter()
        .filter(|mapping| mapping.sync)
        .any(|mapping| mapping.kind == Kind::Sync);
    if !durable {
        text += if total
            .mappings
            .iter()
            .any(|mapping| mapping.kind == Kind::Forced)
        {
            "\nOnly PMEM_IS_PMEM_FORCE=1 says that this makes anything durable."
        } else {
            "\nThe tags are emulated: nothing on tmpfs outlives power loss."
        };
    }
    text
}

fn not_mapped(report: &Report) -> String {
    let total = &report.total;
    let unbelieved = total.event(Event::StaleTag) + total.event(Event::MalformedTag);
    if unbelieved > 0 {
        return "no tagged file was mapped, as tags were not believed (see the warnings)".into();
    }
    let used = !total.refusals.is_empty() || !total.syncs.is_empty();
    let mut text = String::from(if used {
        "tagged files were used, but none was mapped MAP_SHARED"
    } else {
        "no tagged file was mapped MAP_SHARED (daxshim status FILE tells what is tagged)"
    });
    if !used && !report.programs.iter().any(|program| program.emulate) {
        text += "; emulated tags count only with --emulate";
    }
    text
}

fn not_sync(mappings: &[Mapping]) -> String {
    let mut kinds: Vec<Kind> = mappings.iter().map(|mapping| mapping.kind).collect();
    kinds.sort_by_key(|kind| *kind as u8);
    kinds.dedup();
    let words: Vec<&str> = kinds.iter().map(|kind| kind.words()).collect();
    format!(
        "tagged files were mapped, but not as sync mappings: {}",
        words.join("; ")
    )
}

fn no_msync(total: &Tally) -> String {
    if total.syncs.is_empty() {
        "a tagged file was mapped, but neither msync nor fsync was called on it (msync without MS_SYNC makes \
         nothing durable, and does not count)"
            .into()
    } else {
        "fsync and fdatasync were called on tagged files, msync was not".into()
    }
}

fn kernel_cheaper(msync: &Msync) -> String {
    format!(
        "all {} msync calls went to the kernel, which is cheaper for ranges this large ({} on \
         average); --flush user forces user flushes",
        number(msync.kernel),
        average(msync)
    )
}

fn kernel_needed(msync: &Msync) -> String {
    format!(
        "only the kernel could do any of the {} msync calls: what they were of is not in a sync \
         mapping, behind the end of the file, or not readable",
        number(msync.kernel)
    )
}

fn average(msync: &Msync) -> String {
    bytes(msync.kernel_bytes.checked_div(msync.kernel).unwrap_or(0))
}
