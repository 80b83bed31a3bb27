//! The report for people.

mod programs;
pub mod tables;

use anstyle::Style;
use daxshim_core::host::report::Program;

use super::conclusion::Reason;
use super::outcome::Outcome;
use crate::output::{BAD, GOOD, ODD, counted, number, styled};
use programs::programs;
use tables::{mappings, refusals, syncs, table};

const HEADING: Style = Style::new().bold();

/// The whole report.
pub fn text(outcome: &Outcome) -> String {
    let total = &outcome.report.total;
    let sections = [
        Some(head(outcome)),
        section("sync calls on tagged files", syncs(total)),
        section("calls that tagged files refuse", refusals(total)),
        section("mappings of tagged files", mappings(total)),
        section(
            "the guard in the kernel",
            outcome.guard.as_ref().map(super::strict::text),
        ),
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
        (false, Reason::Skipped) => BAD,
        _ => ODD,
    };
    format!(
        "{}\n{}\n\n{}",
        styled(HEADING, "daxshim report"),
        table(rows, &[]),
        styled(style, &outcome.conclusion.text)
    )
}

/// The different settings that programs ran under; usually one.
pub fn settings(programs: &[Program]) -> Vec<String> {
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

fn warnings(outcome: &Outcome) -> Option<String> {
    let report = &outcome.report;
    let mut lines: Vec<String> = Vec::new();
    // That no process reported is said already, with the reason.
    let is_said = outcome.conclusion.reason == Reason::NoProcess;
    for unseen in outcome.unseen.iter().filter(|_| !is_said) {
        let times = match unseen.count {
            1 => String::new(),
            count => format!(", executed {} times", number(count)),
        };
        lines.push(format!(
            "the shim does not see {}{times}: {} ({})",
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
    if !report.total.modules.is_empty() {
        let names: Vec<_> = report
            .total
            .modules
            .iter()
            .map(|name| clean(name))
            .collect();
        lines.push(format!(
            "system calls that a module makes itself are not all seen; if they change mappings of tagged files, \
             syncs may go wrong: {}",
            names.join(", ")
        ));
    }
    if report.total.unseen_left_out > 0 {
        let left_out = counted(report.total.unseen_left_out, "execution");
        lines.push(format!(
            "{left_out} of programs without the shim found no room in the report and are not listed"
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

/// A program's or file's name as it may go to a terminal.
pub fn clean(name: &str) -> String {
    daxshim_core::host::shown(std::path::Path::new(name))
}
