//! What the user sees: results on standard output, everything else on standard error. Colour only
//! on a terminal, and not with NO_COLOR (anstream sees to both).

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use anstyle::{AnsiColor, Style};
use daxshim_core::host::Error;
use serde::Serialize;

pub mod doctor;
pub mod guard;
pub mod inspect;
pub mod prepare;
pub mod progress;
pub mod status;
pub mod tagging;
pub mod verify;

/// Something is as it should be.
pub const GOOD: Style = AnsiColor::Green.on_default();
/// Something is not.
pub const BAD: Style = AnsiColor::Red.on_default();
/// Something to look at.
pub const ODD: Style = AnsiColor::Yellow.on_default();

/// `text` in a style; anstream takes it out where it does not belong.
pub fn styled(style: Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
}

/// Whether results did not arrive where they were to go.
static LOST: AtomicBool = AtomicBool::new(false);

/// Tells of results that could not be written. A reader that has gone away (`| head`) is no reason to
/// complain.
pub fn written(outcome: io::Result<()>) {
    if let Err(error) = outcome
        && error.kind() != io::ErrorKind::BrokenPipe
        && !LOST.swap(true, Ordering::Relaxed)
    {
        failure(
            "cannot write to standard output",
            &error.to_string(),
            "make room where it leads, or send it elsewhere",
        );
    }
}

/// Whether [`written`] had to tell of something.
pub fn was_lost() -> bool {
    LOST.load(Ordering::Relaxed)
}

/// A line of results.
pub fn say(text: &str) {
    written(writeln!(anstream::stdout(), "{text}"));
}

/// A remark.
pub fn note(text: &str) {
    let _ = writeln!(anstream::stderr(), "daxshim: {text}");
}

/// The three parts of an error.
pub fn failure(what: &str, why: &str, help: &str) {
    let what = styled(BAD, what);
    let _ = writeln!(
        anstream::stderr(),
        "daxshim: {what}\n  why: {why}\n  help: {help}"
    );
}

/// Something that does not stop the command; in the same three parts.
pub fn warning(what: &str, why: &str, help: &str) {
    let what = styled(ODD, what);
    let _ = writeln!(
        anstream::stderr(),
        "daxshim: warning: {what}\n  why: {why}\n  help: {help}"
    );
}

/// A failed action on a file.
pub fn error(error: &Error) {
    failure(&error.to_string(), &error.cause.to_string(), &error.help());
}

/// A JSON document with its schema number; `name` holds the `content`.
pub fn json(name: &str, content: &impl Serialize) {
    let document = serde_json::json!({ "schema": 1, name: content });
    written(writeln!(io::stdout(), "{document:#}"));
}

/// A JSON document that says itself what it is.
pub fn document(content: &impl Serialize) -> String {
    match serde_json::to_string_pretty(content) {
        Ok(document) => document + "\n",
        // Neither maps with odd keys nor failing serializers are in it.
        Err(error) => format!("{{\"schema\": 1, \"error\": \"{error}\"}}\n"),
    }
}

/// A file of its own on standard output.
pub fn raw(bytes: &[u8]) {
    let mut stdout = io::stdout();
    written(stdout.write_all(bytes).and_then(|()| stdout.flush()));
}

/// Bytes for people: `64 MiB`.
pub fn bytes(count: u64) -> String {
    indicatif::BinaryBytes(count).to_string()
}

/// `1,234,567`.
pub fn number(count: u64) -> String {
    indicatif::HumanCount(count).to_string()
}

/// `1 extent`, `2 extents`.
pub fn counted(count: u64, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{plural}")
}

/// Lines of `label  value`, the values aligned.
pub fn table(rows: Vec<Vec<String>>) -> String {
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_content_arrangement(comfy_table::ContentArrangement::Disabled);
    for row in rows {
        table.add_row(row);
    }
    table
        .lines()
        .map(|line| format!(" {}", line.trim_end()))
        .collect::<Vec<_>>()
        .join("\n")
}
