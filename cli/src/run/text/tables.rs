//! Syncs, refusals and mappings, a row each.

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use daxshim_core::host::report::{Latency, Refusal, Tally};
use daxshim_core::report::Call;

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
            if sync.call == Call::Msync {
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
        ("answered 0 by --compat", |refusal| refusal.pretended),
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
            "\n  --compat answers 0 to those that would change nothing ({})",
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
        "2 MiB-aligned",
        "msync can be",
        "because",
    ])];
    for mapping in &total.mappings {
        rows.push(vec![
            clean(&mapping.path),
            format!("{} ×", number(mapping.count)),
            bytes(mapping.largest),
            yes(mapping.huge_aligned),
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

fn yes(value: bool) -> String {
    if value { "yes" } else { "no" }.into()
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
