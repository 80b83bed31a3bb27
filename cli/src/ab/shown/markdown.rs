//! The comparison as Markdown, for issues and change logs.

use super::rows::{self, Rows};
use crate::ab::comparison::{Comparison, Finding};

/// The whole comparison.
pub fn markdown(comparison: &Comparison) -> String {
    let mut parts = vec![
        "## Kernel sync (A) against user flush (B)".to_owned(),
        fenced(&comparison.command.join(" ")),
        format!("**{}**", escaped(&comparison.verdict.text)),
    ];
    if let Some(conclusion) = &comparison.conclusion
        && comparison.verdict.result != Finding::NotAccelerated
    {
        parts.push(format!("In all runs of B, {}", escaped(&conclusion.text)));
    }
    if !comparison.runs.is_empty() {
        parts.push(table(&rows::times(comparison)));
    }
    parts.extend(rows::syncs(comparison).map(|rows| table(&rows)));
    parts.extend(rows::saved(comparison));
    parts.push(escaped(&format!("{}.", rows::design(comparison))));
    let warnings = comparison.warnings.iter();
    let warnings: Vec<String> = warnings
        .map(|doubt| format!("- Warning: {}", escaped(&doubt.text)))
        .collect();
    if !warnings.is_empty() {
        parts.push(warnings.join("\n"));
    }
    parts.join("\n\n") + "\n"
}

fn table(rows: &Rows) -> String {
    let line = |cells: Vec<String>| format!("| {} |", cells.join(" | "));
    let cells = |row: &Vec<String>| line(row.iter().map(|cell| escaped(cell)).collect());
    let align = |(index, _)| String::from(if index == 0 { ":--" } else { "--:" });
    let mut lines = vec![
        cells(&rows.header),
        line(rows.header.iter().enumerate().map(align).collect()),
    ];
    lines.extend(rows.rows.iter().map(cells));
    lines.join("\n")
}

/// A code block that its content cannot end.
fn fenced(text: &str) -> String {
    let mut longest = 0;
    let mut run = 0;
    for letter in text.chars() {
        run = if letter == '`' { run + 1 } else { 0 };
        longest = longest.max(run);
    }
    let fence = "`".repeat(3.max(longest + 1));
    format!("{fence}\n{text}\n{fence}")
}

/// Text that means nothing to Markdown; line breaks become breaks.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '\n' => out.push_str("<br>"),
            '<' => out.push_str("&lt;"),
            '&' => out.push_str("&amp;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '#' | '~' => {
                out.push('\\');
                out.push(letter);
            }
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_text_is_markup() {
        assert_eq!(escaped("a|b <i>\n`c`"), "a\\|b &lt;i><br>\\`c\\`");
        assert_eq!(fenced("a ``` b"), "````\na ``` b\n````");
    }
}
