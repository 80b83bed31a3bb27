//! Findings from what the library left in the report directory.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use daxshim_core::check::Code;
use daxshim_core::check::log::{self, Ending};
use daxshim_core::contract::Operation;
use daxshim_core::host::check::{Checked, LogEntry, ProcessLog, ShadowFile, lines_of, pages_of};
use daxshim_core::host::report::Report;
use daxshim_core::host::shown;
use daxshim_core::report::Event;
use daxshim_core::sites::sites;
use object::{Object, ObjectSection, SectionKind};

use super::finding::{Finding, Frame, Limits, Unit, Writer};
use super::letting_go::{self, LetGo};
use super::symbols::Symbols;
use crate::output::{counted, number};
use crate::run::program::Unseen;

/// Findings, gravest first, and what was not looked at.
pub fn findings(checked: &Checked, report: &Report, unseen: &[Unseen]) -> (Vec<Finding>, Limits) {
    let mut all = Assembly {
        checked,
        symbols: Symbols::default(),
        findings: Vec::new(),
        lost: BTreeSet::new(),
        gone: BTreeSet::new(),
    };
    for shadow in &checked.shadows {
        all.never_synced(shadow);
    }
    for process in &checked.processes {
        for entry in &process.entries {
            if all.is_told(entry) {
                all.logged(process, entry, Vec::new());
            }
        }
    }
    all.idle();
    all.coverage(report, unseen);
    let limits = all.limits();
    let mut findings = all.findings;
    findings.sort_by_key(|finding| (std::cmp::Reverse(finding.level), finding.code));
    (findings, limits)
}

/// Of files that were used before, a sync that found nothing may have had something to do then.
pub fn doubt_redundant(findings: &mut [Finding], used: &BTreeSet<String>) {
    let redundant = findings.iter_mut().filter(|f| f.code == Code::Redundant);
    for finding in redundant.filter(|f| f.file.as_ref().is_some_and(|file| used.contains(file))) {
        finding.help = "the file was there before the run, and may hold these values from an earlier one: --setup CMD makes \
                        fresh files, --restore puts back what was there; if the note stays then, leave the sync out, or \
                        sync once after the stores instead of after each step";
    }
}

struct Assembly<'a> {
    checked: &'a Checked,
    symbols: Symbols,
    findings: Vec<Finding>,
    /// Files of which something was never synced.
    lost: BTreeSet<(u64, u64)>,
    /// Files that were synced, and are not there any more.
    gone: BTreeSet<String>,
}

/// Lines that belong to one finding.
#[derive(Default)]
struct Lines {
    count: u64,
    start: u64,
    end: u64,
    ranges: Vec<(u64, u64)>,
}

impl Lines {
    fn add(&mut self, range: (u64, u64)) {
        if self.count == 0 {
            self.start = range.0;
        }
        self.count += lines_of(range);
        self.end = range.1;
        self.ranges.push(range);
    }

    fn units(&self, unit: Unit) -> u64 {
        match unit {
            Unit::Line => self.count,
            Unit::Page => pages_of(&self.ranges),
        }
    }
}

/// What of a file may be written back alone.
fn unit(shadow: &ShadowFile) -> Unit {
    match shadow.paged {
        true => Unit::Page,
        false => Unit::Line,
    }
}

impl Assembly<'_> {
    /// Lines that differ from the shadow, by who let go of them last.
    fn never_synced(&mut self, shadow: &ShadowFile) {
        let unsynced = match shadow.unsynced() {
            Ok(unsynced) => unsynced,
            // A file that was removed has nothing to lose; but it may only be elsewhere.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                if shadow.meant {
                    self.gone.insert(shown(&shadow.path));
                }
                return;
            }
            Err(error) => {
                let text = format!("{} cannot be compared: {error}", shown(&shadow.path));
                self.findings.push(Finding::of_run(Code::Unshadowed, text));
                return;
            }
        };
        if !unsynced.ranges.is_empty() {
            self.lost.insert(shadow.file);
        }
        if !shadow.meant && !unsynced.ranges.is_empty() {
            self.never_meant(shadow, &unsynced.ranges);
            return;
        }
        let mut lost: BTreeMap<LetGo, Lines> = BTreeMap::new();
        for &range in &unsynced.ranges {
            if let Some(by) = letting_go::last(&self.checked.processes, shadow.file, range) {
                lost.entry(by).or_default().add(range);
            }
        }
        for (by, lines) in lost {
            let Some(process) = self.checked.processes.get(by.process) else {
                continue;
            };
            let Some(entry) = by.entry.and_then(|entry| process.entries.get(entry)) else {
                self.ended(shadow, process, &lines);
                continue;
            };
            let found = LogEntry {
                range: (lines.start, lines.end),
                lines: lines.units(unit(shadow)),
                ..entry.clone()
            };
            let written_first = self.written_first(shadow, &lines);
            self.logged(process, &found, written_first);
        }
        if shadow.unwatched && unsynced.uncertain_lines > 0 {
            let lines = lines(unsynced.uncertain_lines);
            let text = format!("{lines} changed while not all was watched, durable or not");
            let mut finding = Finding::of_run(Code::NotLooked, text);
            finding.file = Some(shown(&shadow.path));
            finding.lines = unsynced.uncertain_lines;
            self.findings.push(finding);
        } else if unsynced.uncertain_lines > 0 || shadow.skipped > 0 {
            let mut finding = Finding::of_run(
                Code::Sampled,
                format!(
                    "{} not compared; {} changed since the last that was, and may be durable or not",
                    syncs(shadow.skipped),
                    lines(unsynced.uncertain_lines)
                ),
            );
            finding.file = Some(shown(&shadow.path));
            finding.count = shadow.skipped;
            finding.lines = unsynced.uncertain_lines;
            self.findings.push(finding);
        }
    }

    fn never_meant(&mut self, shadow: &ShadowFile, ranges: &[(u64, u64)]) {
        let mut lines = Lines::default();
        ranges.iter().for_each(|&range| lines.add(range));
        let synced = |of: &ShadowFile| of.msyncs.calls + of.fsyncs.calls + of.asyncs > 0;
        // Where a program syncs other files it may well know what it does.
        let code = match shadow.paged && !self.checked.shadows.iter().any(synced) {
            true => Code::NothingSynced,
            false => Code::NeverMeant,
        };
        let written_first = self.written_first(shadow, &lines);
        self.findings.push(Finding {
            detail: None,
            file: Some(shown(&shadow.path)),
            bytes: Some((lines.start, lines.end)),
            lines: lines.units(unit(shadow)),
            unit: unit(shadow),
            written_first,
            ..Finding::of_run(code, String::new())
        });
    }

    /// Whether an entry of a log says something by itself, now that all is known.
    fn is_told(&self, entry: &LogEntry) -> bool {
        let shadow = self.shadow(entry.file);
        match entry.code {
            Code::Unmapped | Code::MappedOver => false,
            // Where it was another sync that did it, or nothing was left.
            Code::AsyncOnly => {
                let alone = |shadow: &ShadowFile| shadow.msyncs.calls + shadow.fsyncs.calls == 0;
                self.lost.contains(&entry.file) && shadow.is_some_and(alone)
            }
            // What was asked for was there; else it is what could have been asked for.
            Code::NotAsked => self.checked.shadows.is_empty(),
            // Of a lock file nothing is to be durable.
            Code::Hole => shadow.is_none_or(|shadow| shadow.meant),
            _ => true,
        }
    }

    fn shadow(&self, file: (u64, u64)) -> Option<&ShadowFile> {
        let mut shadows = self.checked.shadows.iter();
        shadows.find(|shadow| shadow.file == file)
    }

    /// Whether all syncs were compared, and none found anything.
    fn idle(&mut self) {
        let syncs = self.checked.shadows.iter();
        let syncs = syncs.flat_map(|shadow| [shadow.msyncs, shadow.fsyncs]);
        let (mut calls, mut idle) = (0, 0);
        for sync in syncs {
            calls += sync.calls;
            idle += sync.idle;
        }
        let nothing_dirty = self.lost.is_empty() && calls > 0 && calls == idle;
        let looked_at = self.checked.shadows.iter().all(|shadow| !shadow.unwatched);
        if nothing_dirty && looked_at {
            let text = match calls {
                1 => "1 sync".to_owned(),
                calls => format!("{} syncs", number(calls)),
            };
            self.findings.push(Finding::of_run(Code::AllIdle, text));
        }
    }

    /// Lines that were mapped to the end of a process.
    fn ended(&mut self, shadow: &ShadowFile, process: &ProcessLog, lines: &Lines) {
        let replaced = letting_go::successor(&self.checked.processes, process).is_some();
        let code = match process.ending {
            Ending::Exit => Code::Exited,
            Ending::Exec => Code::Executed,
            Ending::Unsaid if replaced => Code::Executed,
            Ending::Unsaid => Code::Killed,
        };
        let written_first = self.written_first(shadow, lines);
        self.findings.push(Finding {
            detail: None,
            file: Some(shown(&shadow.path)),
            bytes: Some((lines.start, lines.end)),
            lines: lines.units(unit(shadow)),
            unit: unit(shadow),
            process: Some(process.pid),
            written_first,
            ..Finding::of_run(code, String::new())
        });
    }

    /// Who stored first to the pages of lines.
    fn written_first(&mut self, shadow: &ShadowFile, lines: &Lines) -> Vec<Writer> {
        let found = shadow.blame.as_ref().map(|blame| blame.of(&lines.ranges));
        let mut writers: Vec<Writer> = Vec::new();
        for found in found.unwrap_or_default() {
            // Of several images of a process, the one that has such code.
            let holds = |process: &&ProcessLog| {
                let known = |&address| {
                    process
                        .modules
                        .iter()
                        .any(|m| (m.start..m.end).contains(&address))
                };
                process.pid == found.pid && found.stack.first().is_some_and(known)
            };
            let modules = self.checked.processes.iter().find(holds);
            let modules = modules.map_or(&[][..], |process| &process.modules);
            writers.push(Writer {
                process: found.pid,
                pages: found.pages,
                stack: self.symbols.frames(&found.stack, modules),
            });
        }
        writers
    }

    fn logged(&mut self, process: &ProcessLog, entry: &LogEntry, written_first: Vec<Writer>) {
        let stack = self.symbols.frames(&entry.stack, &process.modules);
        let (start, end) = entry.range;
        let code = entry.code;
        let concerns_bytes = start < end;
        let unit = self.shadow(entry.file).map_or(Unit::Line, unit);
        let finding = Finding {
            detail: detail(entry, unit),
            file: Some(shown(&entry.path)).filter(|_| !entry.path.as_os_str().is_empty()),
            bytes: Some((start, end)).filter(|_| concerns_bytes),
            address: Some(entry.address).filter(|&address| address != 0),
            count: entry.count,
            lines: entry.lines,
            unit,
            asked: entry.asked,
            process: Some(process.pid),
            stack,
            written_first,
            ..Finding::of_run(code, String::new())
        };
        self.add(finding);
    }

    /// Processes that find the same at the same place count together, and so do copies of an inlined function: it is
    /// the same line for who reads it.
    fn add(&mut self, finding: Finding) {
        let same = self.findings.iter_mut().find(|known| {
            let fields = |of: &Finding| (of.code, of.file.clone(), of.detail.clone());
            let places = known.stack.iter().map(Frame::place);
            fields(known) == fields(&finding) && places.eq(finding.stack.iter().map(Frame::place))
        });
        let Some(known) = same else {
            self.findings.push(finding);
            return;
        };
        known.count += finding.count;
        known.lines += finding.lines;
        known.asked += finding.asked;
        known.written_first.extend(finding.written_first);
        if let (Some(known), Some(new)) = (&mut known.bytes, finding.bytes) {
            *known = (known.0.min(new.0), known.1.max(new.1));
        }
    }

    fn coverage(&mut self, report: &Report, unseen: &[Unseen]) {
        for unseen in unseen {
            let text = format!("{}: {}", shown(&unseen.program), unseen.reason);
            self.findings.push(Finding::of_run(Code::Unseen, text));
        }
        if self.checked.processes.is_empty() && unseen.is_empty() {
            // A process that had no room has left a file without a beginning.
            let (code, text) = match report.unreadable.is_empty() {
                true => (Code::Unseen, "no process of the run loaded the shim"),
                false => (
                    Code::NotLooked,
                    "no process of the run had room to report: /dev/shm is full, or a limit of file sizes",
                ),
            };
            self.findings.push(Finding::of_run(code, text.to_owned()));
        }
        if report.total.event(Event::NotTurned) > 0 {
            let text = Event::NotTurned.words().to_owned();
            self.findings.push(Finding::of_run(Code::LibcUnseen, text));
        }
        self.raw_calls(report);
        let unwatched: u64 = self.checked.processes.iter().map(|p| p.unshadowed).sum();
        if unwatched > 0 {
            let text = counted(unwatched, "mapping");
            self.findings.push(Finding::of_run(Code::Unshadowed, text));
        }
        self.not_looked_at(report);
    }

    /// What processes say that they could not look at.
    fn not_looked_at(&mut self, report: &Report) {
        let mut add_as = |code, process, text: String| {
            let finding = Finding::of_run(code, text);
            self.findings.push(Finding { process, ..finding });
        };
        for process in self.checked.processes.iter().filter(|p| p.uncompared > 0) {
            let answers = counted(process.uncompared, "answer");
            let text = format!("{answers} given while what was synced was not all compared");
            add_as(Code::Sampled, Some(process.pid), text);
        }
        let mut add = |process, text| add_as(Code::NotLooked, process, text);
        for process in &self.checked.processes {
            if process.sealed {
                let text =
                    "from the moment it filtered its own system calls, nothing was looked at";
                add(Some(process.pid), text.to_owned());
            }
            if process.unlooked > 0 {
                let times = number(process.unlooked);
                let text = format!("what was mapped could not be looked at: {times} times");
                add(Some(process.pid), text);
            }
            if process.unwatched > 0 {
                let children = counted_children(process.unwatched);
                let text = format!("{children} not watched: no descriptor or no room for a log");
                add(Some(process.pid), text);
            }
        }
        for event in [Event::MapFull, Event::LockTimeout] {
            if report.total.event(event) > 0 {
                add(None, event.words().to_owned());
            }
        }
    }

    /// Modules that make system calls themselves. Those of libc and of its loader are watched, or what
    /// is said of them above holds.
    fn raw_calls(&mut self, report: &Report) {
        let modules = self.checked.processes.iter();
        let modules = modules.flat_map(|process| &process.modules);
        let programs = report.programs.iter();
        let mut paths: Vec<PathBuf> = modules
            .map(|module| module.path.clone())
            .chain(programs.map(|program| PathBuf::from(&program.program)))
            .collect();
        paths.sort();
        paths.dedup();
        for path in paths {
            let name = path.file_name().and_then(|name| name.to_str());
            let name = name.unwrap_or_default();
            let known = [
                "libc.so",
                "libc-",
                "ld-linux",
                "libdaxshim",
                "libpthread",
                "[",
            ];
            if known.iter().any(|known| name.starts_with(known)) {
                continue;
            }
            let calls = own_calls(&path);
            if calls > 0 {
                let text = format!("{}: {}", shown(&path), counted(calls, "place"));
                self.findings.push(Finding::of_run(Code::RawCalls, text));
            }
        }
    }

    fn limits(&self) -> Limits {
        let sum = |of: fn(&ProcessLog) -> u64| self.checked.processes.iter().map(of).sum();
        let blames = self.checked.shadows.iter().filter_map(|s| s.blame.as_ref());
        Limits {
            left_out: sum(|process| process.left_out),
            without_stack: sum(|process| process.unsampled),
            syncs_not_compared: self.checked.shadows.iter().map(|s| s.skipped).sum(),
            files_not_watched: sum(|process| process.unshadowed),
            stores_without_stack: blames.clone().map(|blame| blame.unsampled).sum(),
            pages_of_kernel: blames.map(|blame| blame.by_kernel).sum(),
            mappings_not_looked_at: sum(|process| process.unlooked),
            answers_not_compared: sum(|process| process.uncompared),
            processes_sealed: sum(|process| process.sealed.into()),
            children_not_watched: sum(|process| process.unwatched),
            files_gone: self.gone.iter().cloned().collect(),
            processes_without_stacks: sum(|process| process.stackless.into()),
            processes_without_blame: sum(|process| (process.blameless != 0).into()),
            why_without_blame: {
                let mut processes = self.checked.processes.iter();
                processes.find_map(|process| why_without_blame(process.blameless))
            },
        }
    }
}

/// Places in a file's code that look like libc's own system calls.
fn own_calls(path: &Path) -> u64 {
    let Ok(bytes) = std::fs::read(path) else {
        return 0;
    };
    let Ok(file) = object::File::parse(&*bytes) else {
        return 0;
    };
    let code = file
        .sections()
        .filter(|section| section.kind() == SectionKind::Text);
    let code = code.filter_map(|section| section.data().ok());
    code.map(|code| sites(code).filter(Result::is_ok).count() as u64)
        .sum()
}

/// Why a process takes no pages from its program.
fn why_without_blame(number: u64) -> Option<&'static str> {
    Some(match number {
        log::NOT_TURNED => {
            "the places where its libc calls the kernel could not all be turned, and system calls would fail"
        }
        log::NO_STACK => "no stack can be taken: that needs glibc 2.35 or newer",
        log::NO_SIGNAL => "SIGSEGV could not be taken",
        _ => return None,
    })
}

fn syncs(count: u64) -> String {
    let plural = if count == 1 { " was" } else { "s were" };
    format!("{} sync{plural}", number(count))
}

fn counted_children(count: u64) -> String {
    match count {
        1 => "a forked child was".to_owned(),
        count => format!("{} forked children were", number(count)),
    }
}

fn lines(count: u64) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{} line{plural}", number(count))
}

/// What the code does not say.
fn detail(entry: &LogEntry, unit: Unit) -> Option<String> {
    match entry.code {
        Code::Refused | Code::RefusedIdle | Code::Audited => {
            let operation = Operation::ALL
                .iter()
                .find(|&&operation| operation as u8 == entry.detail)?;
            Some(operation.word().to_owned())
        }
        Code::SmallPages => Some(
            match entry.detail {
                1 => "address and offset do not agree modulo 2 MiB",
                _ => "no extent of the file lies so that a 2 MiB page could map it",
            }
            .to_owned(),
        ),
        Code::Amplified => {
            let (size, asked_for): (u64, fn(u64) -> String) = match unit {
                Unit::Line => (64, lines),
                Unit::Page => (4096, |pages| counted(pages, "page")),
            };
            let asked = entry.asked.div_ceil(size);
            let times = asked / entry.lines.max(1);
            Some(format!(
                "{} asked for and {} dirty, in all: {} to each",
                asked_for(asked),
                number(entry.lines),
                number(times)
            ))
        }
        _ => None,
    }
}
