//! Syncs, refusals and mappings, a row each.

use std::fs::{File, Metadata};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use daxshim_core::extents::survey;
use daxshim_core::host::report::{Latency, Mapping, Refusal, Tally};
use daxshim_core::report::SyncCall;

use super::clean;
use crate::output::{bytes, number};

/// Sync calls; `None` if there were none.
pub fn syncs(total: &Tally) -> Option<String> {
    if total.syncs.is_empty() {
        return None;
    }
    let mut rows = vec![header(&[
        "call",
        "carried out by",
        "calls",
        "bytes",
        "lines",
        "failed",
        "p50",
        "p90",
        "p99",
        "p99.9",
        "max",
    ])];
    for sync in &total.syncs {
        let mut row = vec![
            sync.call.word().to_owned(),
            sync.way.word().to_owned(),
            number(sync.calls),
            // A descriptor has no range.
            if sync.call == SyncCall::Msync {
                bytes(sync.bytes)
            } else {
                "-".into()
            },
            number(sync.lines),
            number(sync.errors),
        ];
        row.extend(match &sync.latency_ns {
            Some(latency) => percentiles(latency).map(duration),
            None => std::array::from_fn(|_| "-".into()),
        });
        rows.push(row);
    }
    let numbers: Vec<usize> = (2..11).collect();
    Some(table(rows, &numbers))
}

fn percentiles(latency: &Latency) -> [u64; 5] {
    [
        latency.p50,
        latency.p90,
        latency.p99,
        latency.p99_9,
        latency.max,
    ]
}

/// Refused calls; `None` if there were none.
pub fn refusals(total: &Tally) -> Option<String> {
    if total.refusals.is_empty() {
        return None;
    }
    type Column = (&'static str, fn(&Refusal) -> u64);
    let columns: [Column; 4] = [
        ("refused", |refusal| refusal.refused),
        ("would change nothing", |refusal| refusal.compat_would_allow),
        ("let through by --compat", |refusal| refusal.pretended),
        ("let through by audit", |refusal| refusal.recorded),
    ];
    let filled = |(_, value): &&Column| total.refusals.iter().any(|refusal| value(refusal) > 0);
    let columns: Vec<&Column> = columns.iter().filter(filled).collect();
    let mut names = vec!["operation"];
    names.extend(columns.iter().map(|(name, _)| name));
    let mut rows = vec![header(&names)];
    for refusal in &total.refusals {
        let mut row = vec![refusal.operation.word().to_owned()];
        row.extend(columns.iter().map(|(_, value)| number(value(refusal))));
        rows.push(row);
    }
    let mut text = table(rows, &[1, 2, 3, 4]);
    let idle = total.refusals.iter().fold(0u64, |sum, refusal| {
        sum.saturating_add(refusal.compat_would_allow)
    });
    if idle > 0 {
        text += &format!(
            "\n  --compat lets through those that would change nothing ({})",
            number(idle)
        );
    }
    Some(text)
}

/// Mappings; `None` if there were none.
pub fn mappings(total: &Tally) -> Option<String> {
    if total.mappings.is_empty() {
        return None;
    }
    let mut rows = vec![header(&[
        "file",
        "mapped",
        "largest",
        "2 MiB pages",
        "msync can be",
        "because",
    ])];
    for mapping in &total.mappings {
        rows.push(vec![
            clean(&mapping.path),
            format!("{} ×", number(mapping.count)),
            bytes(mapping.largest),
            large_pages(mapping).into(),
            if mapping.sync {
                "user flush"
            } else {
                "kernel sync"
            }
            .into(),
            mapping.kind.words().into(),
        ]);
    }
    Some(table(rows, &[1, 2]))
}

/// Whether pages of 2 MiB can map it, and why not.
fn large_pages(mapping: &Mapping) -> &'static str {
    const LARGE: u64 = 2 << 20;
    if mapping.largest < LARGE {
        return "no: shorter";
    }
    if !mapping.huge_aligned {
        return "no: address and offset do not agree modulo 2 MiB";
    }
    // Children inherit it, and what is set here was set for the program too.
    // SAFETY: takes and changes nothing.
    if unsafe { libc::prctl(libc::PR_GET_THP_DISABLE, 0, 0, 0, 0) } == 1 {
        return "no: the process has PR_SET_THP_DISABLE";
    }
    match laid_out(&mapping.path) {
        Some(0) => "no: no extent of the file lies so (daxshim prepare makes one that does)",
        Some(_) => "yes",
        None => "not known",
    }
}

/// Bytes of the file that lie so that 2 MiB pages can map them, as it is now; `None` where it is not
/// there or the filesystem does not tell.
fn laid_out(path: &str) -> Option<u64> {
    let file = File::options()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path)
        .ok()?;
    let about = file.metadata().ok().filter(Metadata::is_file)?;
    let survey = survey(file.as_fd(), about.len(), false).ok()?;
    survey.fingerprint.map(|_| survey.huge)
}

/// Names of columns.
pub fn header(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

/// Aligned columns; the numbered ones to the right.
pub fn table(rows: Vec<Vec<String>>, right: &[usize]) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_content_arrangement(ContentArrangement::Disabled);
    table.add_rows(rows);
    for &index in right {
        if let Some(column) = table.column_mut(index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let lines: Vec<String> = table
        .lines()
        .map(|line| format!(" {}", line.trim_end()))
        .collect();
    lines.join("\n")
}

/// `812 ns`, `1.3 µs`: three digits are more than the buckets hold.
pub fn duration(nanoseconds: u64) -> String {
    let value = nanoseconds as f64;
    let (value, unit) = match nanoseconds {
        0..1_000 => return format!("{nanoseconds} ns"),
        1_000..1_000_000 => (value / 1e3, "µs"),
        1_000_000..1_000_000_000 => (value / 1e6, "ms"),
        _ => (value / 1e9, "s"),
    };
    if value < 10.0 {
        format!("{value:.1} {unit}")
    } else {
        format!("{value:.0} {unit}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_two_or_three_digits() {
        for (nanoseconds, text) in [
            (1, "1 ns"),
            (999, "999 ns"),
            (1_340, "1.3 µs"),
            (12_900, "13 µs"),
            (2_000_000, "2.0 ms"),
            (61_000_000_000, "61 s"),
        ] {
            assert_eq!(duration(nanoseconds), text);
        }
    }
}
