//! What `inspect` shows.

use std::path::Path;

use daxshim_core::host::{Inspection, Mapped, PageSizes, Unseen, shown};

use super::tagging::word;
use super::{BAD, GOOD, ODD, bytes, styled, table};

/// A block for each mapping; `nothing` where there is none.
pub fn text(inspection: &Inspection, nothing: &str) -> String {
    let mut blocks: Vec<String> = inspection.mappings.iter().map(mapping).collect();
    if blocks.is_empty() {
        blocks.push(nothing.to_owned());
    }
    if !inspection.unseen.is_empty() {
        blocks.push(unseen(&inspection.unseen));
    }
    blocks.join("\n\n")
}

/// Processes that are named, at most; the JSON has all.
const NAMED: usize = 20;

fn unseen(unseen: &[Unseen]) -> String {
    let named = unseen.iter().take(NAMED);
    let mut names: Vec<String> = named
        .map(|process| format!("{} ({})", process.pid, process.name))
        .collect();
    let more = unseen.len() - names.len();
    if more > 0 {
        names.push(format!("and {more} more (--json names them)"));
    }
    let many = match unseen.len() {
        1 => "1 process".to_owned(),
        count => format!("{count} processes"),
    };
    let names = names.join(", ");
    format!("{many} that could not be looked at may map it (root can look): {names}")
}

fn mapping(mapped: &Mapped) -> String {
    let rows = [
        ("process", format!("{} ({})", mapped.pid, mapped.process)),
        ("addresses", addresses(mapped)),
        ("DAX", mapped.dax.map_or("cannot be told", yes).into()),
        ("MAP_SYNC", yes(mapped.sync).into()),
        ("tag", tag(mapped)),
        (
            "pages",
            mapped.pages.map_or("not told (Linux 6.7)".into(), pages),
        ),
        ("user flush", user_flush(mapped)),
    ];
    let rows = rows.map(|(label, value)| vec![label.to_owned(), value]);
    let gone = if mapped.at_path {
        ""
    } else {
        " (no longer at this path)"
    };
    let path = shown(Path::new(&mapped.path));
    format!("{path}{gone}\n{}", table(rows.into()))
}

fn yes(is_so: bool) -> &'static str {
    if is_so { "yes" } else { "no" }
}

fn addresses(mapped: &Mapped) -> String {
    format!(
        "{:x}-{:x} ({}), {}, offset {}",
        mapped.start,
        mapped.end,
        bytes(mapped.end - mapped.start),
        mapped.permissions,
        mapped.offset
    )
}

fn tag(mapped: &Mapped) -> String {
    let Some(tag) = &mapped.tag else {
        return match &mapped.unread {
            Some(why) => format!("cannot be told: {why}"),
            None => "none".into(),
        };
    };
    let emulated = if tag.emulated { ", emulated" } else { "" };
    match &tag.reason {
        Some(reason) => styled(
            if tag.binds() { BAD } else { ODD },
            &format!("{}{emulated}: {reason}", word(tag.condition)),
        ),
        None => format!("{}{emulated}", word(tag.condition)),
    }
}

fn pages(sizes: PageSizes) -> String {
    let parts: Vec<String> = [
        (sizes.pte, "4 KiB"),
        (sizes.pmd, "2 MiB"),
        (sizes.pud, "1 GiB"),
    ]
    .into_iter()
    .filter(|&(mapped, _)| mapped > 0)
    .map(|(mapped, size)| format!("{} in pages of {size}", bytes(mapped)))
    .collect();
    if parts.is_empty() {
        return "none mapped now".into();
    }
    parts.join(", ")
}

fn user_flush(mapped: &Mapped) -> String {
    let verdict = if mapped.user_flush {
        styled(GOOD, "suffices")
    } else {
        "does not suffice".into()
    };
    format!("{verdict}; {}", mapped.reason.text())
}
