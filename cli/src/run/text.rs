//! The report for people.

use anstyle::Style;
use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use daxshim_core::host::report::{Latency, Program, Refusal, Report, Tally};
use daxshim_core::report::Call;

use super::outcome::Outcome;
use crate::output::{BAD, GOOD, ODD, bytes, counted, number, styled};

const HEADING: Style = Style::new().bold();

/// The whole report.
pub fn text(outcome: &Outcome) -> String {
    let total = &outcome.report.total;
    let sections = [
        Some(head(outcome)),
        section("sync calls on tagged files", syncs(total)),
        section("calls that tagged files refuse", refusals(total)),
        section("mappings of tagged files", mappings(total)),
        warnings(outcome),
    ];
    let sections: Vec<String> = sections.into_iter().flatten().collect();
    sections.join("\n\n") + "\n"
}

fn head(outcome: &Outcome) -> String {
    let mut rows = vec![
        vec!["command".into(), outcome.command.join(" ")],
        vec!["ended".into(), outcome.ended.to_string()],
    ];
    let label = |rows: &[Vec<String>], label: &str| {
        let is_first = rows
            .iter()
            .all(|row| row.first().is_none_or(|l| l != label));
        String::from(if is_first { label } else { "" })
    };
    for program in programs(&outcome.report) {
        let label = label(&rows, "programs");
        rows.push(vec![label, program]);
    }
    for settings in settings(&outcome.report.programs) {
        let label = label(&rows, "settings");
        rows.push(vec![label, settings]);
    }
    let style = match (outcome.conclusion.accelerated, outcome.conclusion.reason) {
        (true, _) => GOOD,
        (false, super::conclusion::Reason::Skipped) => BAD,
        _ => ODD,
    };
    format!(
        "{}\n{}\n\n{}",
        styled(HEADING, "daxshim report"),
        table(rows, &[]),
        styled(style, &outcome.conclusion.text)
    )
}

/// Each program that touched a tagged file, with the processes that ran it; the others in a line.
fn programs(report: &Report) -> Vec<String> {
    let (idle, busy): (Vec<&Program>, Vec<&Program>) = report
        .programs
        .iter()
        .partition(|program| program.tally.is_empty());
    let mut lines: Vec<String> = names(&busy)
        .into_iter()
        .map(|name| with_pids(name, &busy))
        .collect();
    match idle.as_slice() {
        [] => {}
        [only] if busy.is_empty() => lines.push(with_pids(&only.program, &idle)),
        _ => {
            let names: Vec<String> = names(&idle).into_iter().map(file_name).collect();
            lines.push(format!("no tagged file used by {}", few(&names)));
        }
    }
    if report.programs.len() > 1 {
        lines.push(format!(
            "in all {}, {} by one of them, {}",
            plural(report.processes(), "process", "processes"),
            plural(report.forked(), "started", "started"),
            plural(report.executed(), "exec", "execs"),
        ));
    }
    lines
}

fn names<'a>(programs: &[&'a Program]) -> Vec<&'a str> {
    let mut names: Vec<&str> = Vec::new();
    for program in programs {
        if !names.contains(&program.program.as_str()) {
            names.push(&program.program);
        }
    }
    names
}

fn with_pids(name: &str, programs: &[&Program]) -> String {
    let mut pids: Vec<String> = Vec::new();
    for program in programs.iter().filter(|program| program.program == name) {
        let running = if program.running {
            " still running"
        } else {
            ""
        };
        pids.push(format!("{}{running}", program.pid));
    }
    pids.dedup();
    let word = if pids.len() == 1 { "pid" } else { "pids" };
    format!("{} ({word} {})", clean(name), few(&pids))
}

fn file_name(path: &str) -> String {
    clean(path.rsplit('/').next().unwrap_or(path))
}

/// The first of many.
fn few(words: &[String]) -> String {
    const SHOWN: usize = 8;
    let first: Vec<&str> = words.iter().take(SHOWN).map(String::as_str).collect();
    let more = words.len() - first.len();
    let more = match more {
        0 => String::new(),
        _ => format!(" and {} more", number(more as u64)),
    };
    first.join(", ") + &more
}

fn plural(count: usize, one: &str, many: &str) -> String {
    let count = count as u64;
    format!("{} {}", number(count), if count == 1 { one } else { many })
}

/// The different settings that programs ran under; usually one.
fn settings(programs: &[Program]) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for program in programs {
        let mut settings = format!(
            "mode {}, flush {} by {}",
            program.mode, program.flush, program.instruction
        );
        if program.compat {
            settings += ", compat";
        }
        if program.emulate {
            settings += ", emulated tags honoured";
        }
        if !all.contains(&settings) {
            all.push(settings);
        }
    }
    all
}

/// `None` without rows.
fn section(heading: &str, table: Option<String>) -> Option<String> {
    table.map(|table| format!("{}\n{table}", styled(HEADING, heading)))
}

fn syncs(total: &Tally) -> Option<String> {
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

fn refusals(total: &Tally) -> Option<String> {
    if total.refusals.is_empty() {
        return None;
    }
    type Column = (&'static str, fn(&Refusal) -> u64);
    let columns: [Column; 4] = [
        ("refused", |refusal| refusal.refused),
        ("of these idle", |refusal| refusal.compat_would_allow),
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
            "\n  idle: would have changed nothing; --compat answers 0 to such ({})",
            number(idle)
        );
    }
    Some(text)
}

fn mappings(total: &Tally) -> Option<String> {
    if total.mappings.is_empty() {
        return None;
    }
    let mut rows = vec![header(&[
        "file",
        "mapped",
        "largest",
        "2 MiB-aligned",
        "msync is",
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

fn warnings(outcome: &Outcome) -> Option<String> {
    let report = &outcome.report;
    let mut lines: Vec<String> = Vec::new();
    for unseen in &outcome.unseen {
        lines.push(format!(
            "the shim does not see {}: {} ({})",
            clean(&unseen.program.to_string_lossy()),
            unseen.reason,
            unseen.reason.help()
        ));
    }
    for counted in &report.total.events {
        lines.push(format!(
            "{} ×  {}",
            number(counted.count),
            counted.event.words()
        ));
    }
    if report.total.mappings_left_out > 0 {
        let left_out = counted(report.total.mappings_left_out, "mapping");
        lines.push(format!(
            "{left_out} found no room in the report and are not listed"
        ));
    }
    let mut misunderstood: Vec<&str> = report
        .programs
        .iter()
        .flat_map(|program| &program.misunderstood)
        .filter(|variable| !outcome.misunderstood.contains(variable))
        .map(String::as_str)
        .collect();
    misunderstood.sort_unstable();
    misunderstood.dedup();
    for variable in misunderstood {
        lines.push(format!(
            "{variable} had an unknown value: its default was used"
        ));
    }
    for file in &report.unreadable {
        lines.push(format!(
            "no report from {}: {}",
            file.file.display(),
            file.reason
        ));
    }
    let lines: Vec<String> = lines.iter().map(|line| format!("  {line}")).collect();
    (!lines.is_empty()).then(|| format!("{}\n{}", styled(ODD, "warnings"), lines.join("\n")))
}

fn header(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

/// Aligned columns; the numbered ones to the right.
fn table(rows: Vec<Vec<String>>, right: &[usize]) -> String {
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

/// A program's or file's name as it may go to a terminal.
fn clean(name: &str) -> String {
    daxshim_core::host::shown(std::path::Path::new(name))
}

fn yes(value: bool) -> String {
    if value { "yes" } else { "no" }.into()
}

/// `812 ns`, `1.3 µs`: three digits are more than the buckets hold.
fn duration(nanoseconds: u64) -> String {
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
