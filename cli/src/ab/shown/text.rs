//! The table for people.

use anstyle::Style;

use super::rows::{self, Rows};
use crate::ab::comparison::{Comparison, Finding};
use crate::output::{BAD, GOOD, ODD, styled};
use crate::run::text::{clean, tables};

const HEADING: Style = Style::new().bold();

/// The whole comparison.
pub fn text(comparison: &Comparison) -> String {
    let head = vec![
        vec!["command".into(), clean(&comparison.command.join(" "))],
        vec!["runs".into(), rows::design(comparison)],
    ];
    let mut sections = vec![format!(
        "{}\n{}",
        styled(HEADING, "daxshim ab"),
        tables::table(head, &[])
    )];
    sections.push(verdict(comparison));
    if !comparison.runs.is_empty() {
        sections.push(table(rows::times(comparison)));
    }
    sections.extend(rows::syncs(comparison).map(|rows| {
        let saved = rows::saved(comparison).unwrap_or_default();
        format!("{}\n {saved}", table(rows))
    }));
    if !comparison.warnings.is_empty() {
        let warnings = comparison.warnings.iter();
        let lines: Vec<String> = warnings.map(|doubt| format!("  {}", doubt.text)).collect();
        sections.push(format!("{}\n{}", styled(ODD, "warnings"), lines.join("\n")));
    }
    sections.join("\n\n") + "\n"
}

fn verdict(comparison: &Comparison) -> String {
    let verdict = &comparison.verdict;
    let style = match verdict.result {
        _ if verdict.failed => BAD,
        Finding::Faster => GOOD,
        Finding::Slower => BAD,
        Finding::NoDifference | Finding::NotAccelerated | Finding::Unknown => ODD,
    };
    let mut text = styled(style, &verdict.text);
    if let Some(conclusion) = &comparison.conclusion
        && verdict.result != Finding::NotAccelerated
    {
        text += &format!("\nIn all runs of B, {}", conclusion.text);
    }
    text
}

fn table(rows: Rows) -> String {
    let figures: Vec<usize> = (1..rows.header.len()).collect();
    let mut all = vec![rows.header];
    all.extend(rows.rows);
    tables::table(all, &figures)
}
