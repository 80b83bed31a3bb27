//! The report for people, as `daxshim check` has it.

use super::checker::Verdict;
use super::outcome::{Failure, Outcome};
use super::states::Side;
use crate::check::text::{arrow, note, stack};
use crate::output::{BAD, counted, number, styled};

/// Failures, and a summary.
pub fn text(outcome: &Outcome) -> String {
    let mut text = String::new();
    for failure in &outcome.failures {
        text += &one(failure);
        text.push('\n');
    }
    for limit in limits(outcome) {
        text += &format!("daxshim crash: {limit}\n");
    }
    text + &summary(outcome)
}

fn one(failure: &Failure) -> String {
    let example = &failure.example;
    let head = styled(BAD.bold(), "error");
    let mut text = format!(
        "{head}: the checker fails after a power cut {}\n",
        when(failure)
    );
    let mut place = failure.file.clone();
    if let Some((start, end)) = failure.bytes {
        place += &format!(", bytes {start}..{end}");
    }
    text += &arrow(&place);
    text += &stack(&failure.stack);
    text += &note(
        "note",
        &format!(
            "{} of {} here fail, for example state {}: {}",
            number(failure.failed as u64),
            counted(failure.states as u64, "state"),
            example.state,
            what_is_left(failure),
        ),
    );
    text += &note("note", &format!("the checker {}", says(&example.checker)));
    if let Some(image) = &example.image {
        text += &note("note", &format!("the image is kept: {image}"));
    }
    text + &note("help", help(failure))
}

fn when(failure: &Failure) -> String {
    match (failure.moment, failure.side) {
        ("answer", _) => "while the program answers (a write or send to a pipe or socket)".into(),
        ("end", _) => "when the program has ended".into(),
        (sync, Side::Start) => format!("at the start of {sync}"),
        (sync, Side::End) => format!("at the end of {sync}"),
    }
}

fn what_is_left(failure: &Failure) -> String {
    let example = &failure.example;
    let torn = match example.torn {
        0 => String::new(),
        torn => format!(", {} of them torn", number(torn)),
    };
    let open = example.written + example.lost;
    let were = if open == 1 { "was" } else { "were" };
    let of = format!("of {} that {were} not durable, ", counted(open, "line"));
    let part = |count: u64, ranges: &[(u64, u64)], what: &str| {
        let mut places: Vec<String> = ranges.iter().map(|(a, b)| format!("{a}..{b}")).collect();
        let shown: u64 = ranges.iter().map(|(start, end)| (end - start) / 64).sum();
        if shown < count {
            places.push("…".into());
        }
        format!("{} {what} (bytes {})", number(count), places.join(", "))
    };
    let written = part(example.written, &example.written_ranges, "had been written");
    let lost = part(example.lost, &example.lost_ranges, "lost");
    match (example.written, example.lost) {
        (0, 0) => "everything that was stored was durable".into(),
        (0, _) => of + &lost,
        (_, 0) => of + &written + &torn,
        _ => format!("{of}{written}{torn}, {lost}"),
    }
}

/// How the checker ended, and the last that it said.
pub fn says(verdict: &Verdict) -> String {
    let end = match (verdict.timed_out, verdict.signal, verdict.exit_status) {
        (true, ..) => "was still at work at its --timeout".to_owned(),
        (_, Some(signal), _) => match nix::sys::signal::Signal::try_from(signal) {
            Ok(signal) => format!("was killed by {signal}"),
            Err(_) => format!("was killed by signal {signal}"),
        },
        (_, _, status) => format!("ended with status {}", status.unwrap_or_default()),
    };
    let last = verdict.output.lines().rfind(|line| !line.trim().is_empty());
    match last {
        Some(line) => format!("{end}: {}", printable(line.trim())),
        None => end,
    }
}

/// A foreign text for a terminal: control characters are escaped, quotes are not.
fn printable(text: &str) -> String {
    let escaped = |c: char| match c.is_control() {
        true => c.escape_debug().to_string(),
        false => c.to_string(),
    };
    text.chars().map(escaped).collect()
}

fn help(failure: &Failure) -> &'static str {
    match (failure.moment, failure.side) {
        ("msync" | "fsync" | "sync", Side::End) => {
            "what is durable now relies on something that is not: sync that before"
        }
        _ => {
            "lines reach the medium in any order, and in parts of 8 bytes: where one relies on \
             another, sync the other before storing the one; guard records by a checksum, or by a \
             flag that is stored when they are durable"
        }
    }
}

fn limits(outcome: &Outcome) -> Vec<String> {
    let mut limits = Vec::new();
    for file in &outcome.files {
        if file.ended_early {
            limits.push(format!(
                "{}: recording ended early: a process was killed while it recorded, filtered its own \
                 system calls (seccomp), had no room or descriptor for it, or the file was truncated; \
                 later points are not in it",
                file.path
            ));
        }
        if file.used && file.idle_syncs > 0 {
            limits.push(format!(
                "{} of {} of {} found nothing dirty, and the file was there before the run: it may hold these values \
                 from an earlier one, and then little is tried; --setup CMD makes fresh files, --restore puts back \
                 what was there",
                number(file.idle_syncs),
                counted(file.syncs, "sync"),
                file.path
            ));
        }
        if file.states > 0 && outcome.failed == outcome.verified && outcome.verified > 1 {
            limits.push("every state fails: does the checker accept such a file at all?".into());
        }
    }
    if outcome.not_watched > 0 {
        limits.push(format!(
            "{} could not be watched: no memory for a copy, or too many files",
            counted(outcome.not_watched, "file")
        ));
    }
    if outcome.unseen_syncs {
        limits.push(
            "a process filtered its own system calls, or more was mapped than could be recorded, so a \
             sync may not have been seen: failures may be none"
                .into(),
        );
    }
    limits
}

fn summary(outcome: &Outcome) -> String {
    let points: u64 = outcome.files.iter().map(|file| file.points).sum();
    let used: usize = outcome.files.iter().map(|file| file.points_used).sum();
    let states = counted(outcome.verified as u64, "state");
    let mut text = match outcome.failed {
        0 => format!("daxshim crash: the checker passes {states}"),
        failed => format!(
            "daxshim crash: the checker fails {} of {states}",
            number(failed as u64)
        ),
    };
    text += &format!(
        " at {} of {}, seed {}",
        number(used as u64),
        counted(points, "point"),
        outcome.seed
    );
    if (used as u64) < points {
        text += " (of each some states: more of --states, more points)";
    }
    if outcome.interrupted.is_some() {
        let built: usize = outcome.files.iter().map(|file| file.states).sum();
        text += &format!("; interrupted, {} were chosen", number(built as u64));
    }
    if outcome.failed == 0 && outcome.is_in_part() {
        text += "; not all of the run was recorded, so that says little";
    }
    text + "\n"
}

#[cfg(test)]
mod tests {
    #[test]
    fn only_control_characters_are_escaped() {
        let text = "it's \"b'\\0'\" \u{1b}[31m\u{7}ä";
        assert_eq!(super::printable(text), "it's \"b'\\0'\" \\u{1b}[31m\\u{7}ä");
    }
}
