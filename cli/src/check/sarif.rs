//! Findings as SARIF 2.1.0, for code review tools and CI.

use std::path::Path;

use daxshim_core::check::{Code, Level};
use serde_json::{Value, json};

use super::finding::{Finding, Findings, Frame, Writer};
use crate::output::counted;

/// The document.
pub fn sarif(findings: &Findings) -> String {
    let rules: Vec<Value> = Code::ALL.iter().copied().map(rule).collect();
    let root = findings.source_root.as_path();
    let results = findings.findings.iter();
    let results: Vec<Value> = results.map(|finding| result(finding, findings)).collect();
    let document = json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "daxshim check",
                "version": findings.version,
                "semanticVersion": findings.version,
                "rules": rules,
            }},
            "originalUriBaseIds": {
                ROOT: { "uri": directory(root) },
            },
            "invocations": [{
                "commandLine": findings.command.join(" "),
                "executionSuccessful": findings.ended.exit_status == 0,
                "exitCode": findings.ended.exit_status,
                "workingDirectory": { "uri": directory(&std::env::current_dir().unwrap_or_default()) },
            }],
            "columnKind": "utf16CodeUnits",
            "results": results,
        }],
    });
    format!("{document:#}\n")
}

/// What locations are relative to, where they lie below it.
const ROOT: &str = "%SRCROOT%";

/// The URI of a directory, which must end with a slash.
fn directory(path: &Path) -> String {
    let path = path.to_string_lossy();
    format!("file://{}/", escaped(path.trim_end_matches('/')))
}

fn level(level: Level) -> &'static str {
    level.word()
}

fn rule(code: Code) -> Value {
    json!({
        "id": code.id(),
        "name": format!("{code:?}"),
        "shortDescription": { "text": code.title() },
        "fullDescription": { "text": code.explanation() },
        "help": { "text": code.help() },
        "defaultConfiguration": { "level": level(code.level()) },
    })
}

fn result(finding: &Finding, findings: &Findings) -> Value {
    let root = findings.source_root.as_path();
    let mut result = json!({
        "ruleId": finding.code.id(),
        "ruleIndex": finding.code as u8,
        "level": level(finding.level),
        "message": { "text": message(finding) },
        "occurrenceCount": finding.count,
    });
    let Some(object) = result.as_object_mut() else {
        return result;
    };
    let writers = finding.written_first.iter();
    let stored: Vec<Value> = writers
        .clone()
        .filter_map(|writer| stored_at(writer, root))
        .collect();
    // What has no stack of its own is best looked at where it was stored.
    let writer = finding.written_first.first();
    let place = place(&finding.stack, root).or_else(|| place(&writer?.stack, root));
    // Importers refuse a result without one: the file that it is about, or the program.
    let program = || findings.command.first().map_or("program", String::as_str);
    let location = match place {
        Some(place) => location(place, root),
        None => {
            let path = finding.file.as_deref().unwrap_or_else(program);
            json!({ "physicalLocation": {
                "artifactLocation": artifact(path, root),
                "region": { "startLine": 1 },
            }})
        }
    };
    object.insert("locations".into(), json!([location]));
    let prints = json!({ "daxshim/v1": print(finding, place) });
    object.insert("partialFingerprints".into(), prints);
    if !stored.is_empty() {
        object.insert("relatedLocations".into(), json!(stored));
    }
    let own = (!finding.stack.is_empty()).then(|| stack(finding.title, &finding.stack, root));
    let stacks: Vec<Value> = own
        .into_iter()
        .chain(writers.map(|writer| stack(&written_first(writer), &writer.stack, root)))
        .collect();
    if !stacks.is_empty() {
        object.insert("stacks".into(), json!(stacks));
    }
    if finding.suppressed {
        object.insert("suppressions".into(), json!([{ "kind": "external" }]));
    }
    result
}

/// Where a reviewer wants to look: the innermost frame of the user's own code, or else of anybody's but a runtime's.
fn place<'a>(stack: &'a [Frame], root: &Path) -> Option<&'a Frame> {
    let sources = || stack.iter().filter(|frame| frame.source.is_some());
    let of = |frame: &Frame| frame.source.clone().unwrap_or_default();
    sources()
        .find(|frame| is_below(&of(frame), root))
        .or_else(|| sources().find(|frame| !is_of_runtime(&of(frame))))
        .or_else(|| sources().next())
}

/// Whether a source lies below a directory; a relative one does.
fn is_below(source: &str, root: &Path) -> bool {
    let path = Path::new(source);
    path.is_relative() || path.starts_with(root)
}

/// Sources of languages' libraries, where their distributions build them.
fn is_of_runtime(source: &str) -> bool {
    const KNOWN: [&str; 8] = [
        "/rustc/",
        "/usr/",
        "/build/",
        "/.cargo/registry/",
        "/library/std/",
        "/library/core/",
        "/Python/ceval",
        "/Modules/",
    ];
    KNOWN.iter().any(|known| source.contains(known))
}

/// A number that stays while lines move: what was found, in which file, and in which function.
fn print(finding: &Finding, place: Option<&Frame>) -> String {
    let file = finding.file.as_deref().map(Path::new);
    let file = file.and_then(Path::file_name).unwrap_or_default();
    let function = place.and_then(|frame| frame.function.as_deref());
    let source = place.and_then(|frame| frame.source.as_deref());
    let source = source.map(Path::new).and_then(Path::file_name);
    let parts = [
        finding.code.id().as_bytes(),
        file.as_encoded_bytes(),
        function.unwrap_or_default().as_bytes(),
        source.unwrap_or_default().as_encoded_bytes(),
    ];
    // FNV-1a, as it is the same everywhere and for ever.
    let bytes = parts.iter().flat_map(|part| part.iter().chain(&[0]));
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    format!("{hash:016x}:1")
}

fn stack(title: &str, frames: &[Frame], root: &Path) -> Value {
    let frame = |frame: &Frame| json!({ "location": location(frame, root), "module": frame.module.clone().unwrap_or_default() });
    let frames: Vec<Value> = frames.iter().map(frame).collect();
    json!({ "message": { "text": title }, "frames": frames })
}

fn written_first(writer: &Writer) -> String {
    let pages = counted(writer.pages, "page");
    format!("written first by process {}, {pages}", writer.process)
}

fn stored_at(writer: &Writer, root: &Path) -> Option<Value> {
    let mut location = location(place(&writer.stack, root)?, root);
    let message = json!({ "text": written_first(writer) });
    location.as_object_mut()?.insert("message".into(), message);
    Some(location)
}

fn message(finding: &Finding) -> String {
    let mut text = finding.title.to_owned();
    if let Some(detail) = &finding.detail {
        text += &format!(": {detail}");
    }
    if let Some(file) = &finding.file {
        text += &format!(" ({file}");
        if let Some((start, end)) = finding.bytes {
            text += &format!(", bytes {start}..{end}");
        }
        text.push(')');
    }
    text + ". " + finding.help
}

/// A file, relative to the root if it is below.
fn artifact(path: &str, root: &Path) -> Value {
    let inside = Path::new(path).strip_prefix(root).ok();
    match (inside.and_then(Path::to_str), path.strip_prefix('/')) {
        (Some(inside), _) => json!({ "uri": escaped(inside), "uriBaseId": ROOT }),
        (None, Some(absolute)) => json!({ "uri": format!("file:///{}", escaped(absolute)) }),
        (None, None) => json!({ "uri": escaped(path), "uriBaseId": ROOT }),
    }
}

fn location(frame: &Frame, root: &Path) -> Value {
    let mut location = json!({});
    let Some(object) = location.as_object_mut() else {
        return location;
    };
    if let Some(source) = &frame.source {
        let mut physical = json!({ "artifactLocation": artifact(source, root) });
        if let (Some(line), Some(object)) = (
            frame.line.filter(|&line| line > 0),
            physical.as_object_mut(),
        ) {
            object.insert("region".into(), json!({ "startLine": line }));
        }
        object.insert("physicalLocation".into(), physical);
    }
    if let Some(function) = &frame.function {
        let logical = json!([{ "fullyQualifiedName": function, "kind": "function" }]);
        object.insert("logicalLocations".into(), logical);
    }
    location
}

/// A path as part of a URI (RFC 3986).
fn escaped(path: &str) -> String {
    let mut uri = String::new();
    for byte in path.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'.' | b'_' | b'~' => {
                uri.push(char::from(byte));
            }
            _ => uri += &format!("%{byte:02X}"),
        }
    }
    uri
}
