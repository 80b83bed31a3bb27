//! Findings for people, as compilers show theirs.

use std::path::Path;

use anstyle::{AnsiColor, Style};
use daxshim_core::check::{Code, Level};

use super::finding::{Finding, Findings, Frame, Limits, Unit};
use crate::output::{BAD, GOOD, ODD, counted, number, styled};
use crate::run::FAILED;

/// So many of those who stored first are shown.
const WRITERS: usize = 3;

const FRAME: Style = AnsiColor::Blue.on_default().bold();

/// The findings that are not suppressed, and a summary.
pub fn text(findings: &Findings) -> String {
    let mut text = String::new();
    for finding in findings.findings.iter().filter(|f| !f.suppressed) {
        text += &one(finding);
        text.push('\n');
    }
    for policy in &findings.policies {
        text += &format!("{}\n", policy.text());
    }
    for unused in &findings.unused_suppressions {
        text += &format!("daxshim check: nothing was found that {unused} suppresses\n");
    }
    for limit in blind(&findings.limits) {
        text += &format!("daxshim check: {limit}\n");
    }
    text += &look_further(findings).unwrap_or_default();
    text + &summary(findings)
}

fn style(level: Level) -> Style {
    match level {
        Level::Error => BAD.bold(),
        Level::Warning => ODD.bold(),
        Level::Note => GOOD.bold(),
    }
}

fn one(finding: &Finding) -> String {
    let level = finding.level;
    let head = format!("{}[{}]", level.word(), finding.code.id());
    let mut text = format!("{}: {}\n", styled(style(level), &head), finding.title);
    if let Some(place) = place(finding) {
        text += &arrow(&place);
    }
    text += &stack(&finding.stack);
    for writer in finding.written_first.iter().take(WRITERS) {
        let plural = if writer.pages == 1 { "" } else { "s" };
        let pages = format!("{} page{plural}", number(writer.pages));
        text += &note("written first by", &pages);
        text += &stack(&writer.stack);
    }
    let more = finding.written_first.len().saturating_sub(WRITERS);
    if more > 0 {
        text += &note(
            "written first by",
            &format!("{} others", number(more as u64)),
        );
    }
    for (word, line) in notes(finding) {
        text += &note(word, &line);
    }
    text
}

/// Where it is.
pub fn arrow(place: &str) -> String {
    format!("  {} {place}\n", styled(FRAME, "-->"))
}

/// A stack, a line for each frame; of an interpreter's or a virtual machine's own, which are the same in every
/// program, the innermost, and how many follow it.
pub fn stack(frames: &[Frame]) -> String {
    let frames = of_program(frames);
    let functions: Vec<String> = frames.iter().map(function).collect();
    let width = functions.iter().map(|name| name.chars().count()).max();
    let width = width.unwrap_or(0).min(40);
    let mut text = String::new();
    let mut line = |line: &str| {
        text += &format!("   {} {}\n", styled(FRAME, "|"), line.trim_end());
    };
    let mut rest = frames.iter().zip(&functions).peekable();
    while let Some((frame, function)) = rest.next() {
        line(&format!("{function:width$}  {}", source(frame)));
        let Some(owner) = runtime(frame) else {
            continue;
        };
        let mut run = 0;
        let mut followers = rest.clone();
        while followers
            .next_if(|(next, _)| runtime(next) == Some(owner))
            .is_some()
        {
            run += 1;
        }
        if run >= FOLDED {
            line(&format!("… {run} frames of {owner}"));
            rest = followers;
        }
    }
    text
}

/// So many frames of a runtime are worth no more than a line.
const FOLDED: usize = 3;

/// Whose frame it is, if it is an interpreter's or a virtual machine's.
fn runtime(frame: &Frame) -> Option<&'static str> {
    let module = Path::new(frame.module.as_deref()?);
    let name = module.file_name()?.to_str()?;
    let starts = |words: &[&str]| words.iter().any(|word| name.starts_with(word));
    if starts(&["libpython", "python3", "python2"]) || name == "python" {
        Some("CPython")
    } else if name == "libjvm.so" {
        Some("the JVM")
    } else if name == "node" || starts(&["libnode.so"]) {
        Some("node")
    } else {
        None
    }
}

/// What is said below a finding.
pub fn note(word: &str, text: &str) -> String {
    format!("   {} {word}: {text}\n", styled(FRAME, "="))
}

fn place(finding: &Finding) -> Option<String> {
    let mut place = finding.file.clone()?;
    if let Some((start, end)) = finding.bytes {
        // Several ranges that leave something out between them.
        let is_hull = finding.code == Code::Redundant && finding.asked < end.saturating_sub(start);
        let inside = if is_hull { "several ranges in " } else { "" };
        place += &format!(", {inside}bytes {start}..{end}");
    }
    if let Some(address) = finding.address {
        place += &format!(", mapped at {address:#x}");
    }
    Some(place)
}

/// Without what calls main, or a thread's function, in every program.
fn of_program(stack: &[Frame]) -> &[Frame] {
    let is_start = |frame: &Frame| {
        let name = frame.function.as_deref().unwrap_or_default();
        name.starts_with("__libc_start") || matches!(name, "_start" | "start_thread" | "__clone3")
    };
    let len = stack.iter().rposition(|frame| !is_start(frame));
    stack.get(..=len.unwrap_or(0)).unwrap_or(stack)
}

fn function(frame: &Frame) -> String {
    match (&frame.function, &frame.module) {
        (Some(function), _) => function.clone(),
        (None, Some(module)) => format!("{module}+{:#x}", frame.offset),
        (None, None) => format!("{:#x}", frame.address),
    }
}

fn source(frame: &Frame) -> String {
    let inlined = if frame.inlined { " (inlined)" } else { "" };
    match (&frame.source, frame.line, &frame.module) {
        (Some(source), Some(line), _) => format!("{source}:{line}{inlined}"),
        (Some(source), None, _) => format!("{source}{inlined}"),
        (None, _, Some(module)) if frame.function.is_some() => format!("{module}{inlined}"),
        _ => String::new(),
    }
}

fn notes(finding: &Finding) -> Vec<(&'static str, String)> {
    let mut notes = Vec::new();
    if let Some(detail) = &finding.detail {
        notes.push(("note", detail.clone()));
    }
    let mut times = Vec::new();
    if finding.count > 1 && finding.code != Code::Sampled {
        times.push(format!("{} times", number(finding.count)));
    }
    if finding.lines > 0 && !matches!(finding.code, Code::Amplified | Code::Sampled) {
        let plural = if finding.lines == 1 { "" } else { "s" };
        let unit = match finding.unit {
            Unit::Line => "cache line",
            Unit::Page => "page",
        };
        let behind = match finding.unit {
            Unit::Page if finding.level > Level::Note => {
                ", which the kernel writes back at any time, or not at all"
            }
            _ => "",
        };
        times.push(format!("{} {unit}{plural}{behind}", number(finding.lines)));
    }
    if let Some(process) = finding.process.filter(|_| finding.stack.is_empty()) {
        times.push(format!("process {process}"));
    }
    if !times.is_empty() {
        notes.push(("note", times.join(", ")));
    }
    notes.push(("help", finding.help.to_owned()));
    notes
}

const NOTHING_WATCHED: &str = "\
the program mapped no file that has a tag (daxshim status FILE says whether it counts; an emulated one does with \
--emulate), no file MAP_SHARED on DAX, and none that --watch names";

/// What was mapped that could have been watched; then that is what to do.
fn not_asked(findings: &Findings) -> Option<String> {
    let all = findings.findings.iter();
    let mut names: Vec<&str> = all
        .filter(|finding| finding.code == Code::NotAsked)
        .filter_map(|finding| finding.file.as_deref())
        .collect();
    names.sort_unstable();
    names.dedup();
    let [first, ..] = names.as_slice() else {
        return None;
    };
    let more = match names.len() {
        1 => String::new(),
        count => format!(" and {} more", number(count as u64 - 1)),
    };
    Some(format!(
        "{first}{more} was mapped shared and writable: --watch shared watches such files"
    ))
}

/// That nothing was watched, why, and what comes of it.
fn nothing_watched(findings: &Findings) -> String {
    let why = not_asked(findings).unwrap_or_else(|| NOTHING_WATCHED.to_owned());
    let mut text = format!("daxshim check: nothing was watched: {why}");
    if findings.exit_status == FAILED && !findings.allow_nothing {
        text += &format!(
            "; the exit status is {FAILED} for that (--allow-nothing takes it for success)"
        );
    }
    text
}

/// What was asked for, and can't be had.
fn blind(limits: &Limits) -> Vec<String> {
    let mut blind = Vec::new();
    if let [first, others @ ..] = limits.files_gone.as_slice() {
        let more = match others.len() {
            0 => String::new(),
            count => format!(" and {} more", number(count as u64)),
        };
        blind.push(format!(
            "{first}{more} was not compared, as it is not there any more: removed, moved to another directory, or \
             to be seen by the program alone"
        ));
    }
    if let Some(why) = limits.why_without_blame {
        let count = counted_processes(limits.processes_without_blame);
        blind.push(format!("--blame names nobody in {count}: {why}"));
    }
    if limits.processes_without_stacks > 0 {
        let count = counted_processes(limits.processes_without_stacks);
        blind.push(format!(
            "no stacks in {count}: taking them needs glibc 2.35 or newer"
        ));
    }
    blind
}

fn counted_processes(count: u64) -> String {
    match count {
        1 => "1 process".to_owned(),
        count => format!("{} processes", number(count)),
    }
}

/// What check can't find by its nature, said where it found nothing else and there was something to find.
fn look_further(findings: &Findings) -> Option<String> {
    let grave = |finding: &Finding| finding.level > Level::Note || finding.suppressed;
    if !findings.syncs || findings.findings.iter().any(grave) {
        return None;
    }
    let watch: String = findings
        .watch
        .iter()
        .map(|what| format!("--watch {} ", shell_words::quote(what)))
        .collect();
    let command = shell_words::join(&findings.command);
    Some(format!(
        "daxshim check: whether what was synced is sound after a power cut in between is not seen here; with a \
         checker of the file: daxshim crash {watch}--verify 'CHECKER {{}}' -- {command}\n"
    ))
}

fn summary(findings: &Findings) -> String {
    let shown = |level: Level| {
        let all = findings.findings.iter();
        all.filter(|f| !f.suppressed && f.level == level).count()
    };
    let mut parts: Vec<String> = Vec::new();
    for level in Level::ALL.into_iter().rev() {
        let count = shown(level);
        if count > 0 {
            let plural = if count == 1 { "" } else { "s" };
            parts.push(format!("{count} {}{plural}", level.word()));
        }
    }
    let suppressed = findings.findings.iter().filter(|f| f.suppressed).count();
    let mut text = match parts.as_slice() {
        [] => "daxshim check: nothing found".to_owned(),
        parts => format!("daxshim check: {}", parts.join(", ")),
    };
    if suppressed > 0 {
        text += &format!(", {suppressed} suppressed");
    }
    let limits = &findings.limits;
    if limits.left_out > 0 {
        text += &format!(
            "; {} findings more than there was room for",
            number(limits.left_out)
        );
    }
    if limits.stores_without_stack > 0 {
        let times = number(limits.stores_without_stack);
        text += &format!("; {times} times it was not noted who stored first");
    }
    if limits.pages_of_kernel > 0 {
        let pages = counted(limits.pages_of_kernel, "page");
        text += &format!("; {pages} that the kernel stores to, whoever else stored there first");
    }
    if let Some(first) = findings.findings.iter().find(|f| !f.suppressed) {
        text += &format!(" (daxshim explain {} says more)", first.code.id());
    }
    if is_nothing(&findings.watched, limits) {
        // What was not asked for is said by that; and where nothing was looked at, nothing found is nothing said.
        let is_told = |f: &Finding| f.suppressed || f.code == Code::NotAsked;
        let nothing = nothing_watched(findings);
        text = match findings.findings.iter().all(is_told) && suppressed == 0 {
            true => nothing,
            false => format!("{text}\n{nothing}"),
        };
    }
    text + "\n"
}

/// Whether nothing can have been found. Where there was no room to watch a file, that was found.
pub fn is_nothing(watched: &[String], limits: &Limits) -> bool {
    watched.is_empty() && limits.files_not_watched == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(module: &str, function: &str) -> Frame {
        Frame {
            address: 1,
            module: Some(module.to_owned()),
            offset: 0,
            function: Some(function.to_owned()),
            source: None,
            line: None,
            inlined: false,
        }
    }

    #[test]
    fn frames_of_an_interpreter_are_one_line() {
        let python = |name| frame("/usr/bin/python3.11", name);
        let mut frames = vec![frame("/usr/lib/mmap.cpython-311.so", "flush")];
        frames.extend(["a", "b", "c", "d", "e"].map(python));
        frames.push(frame("/usr/lib/libc.so.6", "__libc_start_main"));
        let text = stack(&frames);
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        let [flush, first, folded] = lines.as_slice() else {
            panic!("{text}");
        };
        assert!(flush.contains("flush") && first.contains('a') && !text.contains(" b "));
        assert!(folded.ends_with("… 4 frames of CPython"), "{folded}");
        // Of few, all are shown; others are nobody's runtime.
        assert_eq!(stack(&frames[..4]).lines().count(), 4);
        let own = ["a", "b", "c", "d", "e"].map(|name| frame("/opt/app/libpy.so", name));
        assert_eq!(stack(&own).lines().count(), 5);
    }

    #[test]
    fn what_was_asked_for_and_is_not_there_is_said() {
        assert!(blind(&Limits::default()).is_empty());
        let limits = Limits {
            processes_without_blame: 1,
            why_without_blame: Some("of old age"),
            processes_without_stacks: 3,
            files_gone: vec!["/a".to_owned(), "/b".to_owned()],
            ..Limits::default()
        };
        let [gone, blame, stacks] = blind(&limits).try_into().unwrap();
        assert!(gone.starts_with("/a and 1 more was not compared"), "{gone}");
        assert_eq!(blame, "--blame names nobody in 1 process: of old age");
        assert!(stacks.starts_with("no stacks in 3 processes: "), "{stacks}");
    }
}
