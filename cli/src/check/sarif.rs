//! Findings as SARIF 2.1.0, for code review tools and CI.

use daxshim_core::check::{Code, Level};
use serde_json::{Value, json};

use super::finding::{Finding, Findings, Frame, Writer};
use crate::output::counted;

/// The document.
pub fn sarif(findings: &Findings) -> String {
    let rules: Vec<Value> = Code::ALL.iter().copied().map(rule).collect();
    let results: Vec<Value> = findings.findings.iter().map(result).collect();
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
            "invocations": [{
                "commandLine": findings.command.join(" "),
                "executionSuccessful": findings.ended.exit_status == 0,
                "exitCode": findings.ended.exit_status,
            }],
            "results": results,
        }],
    });
    format!("{document:#}\n")
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

fn result(finding: &Finding) -> Value {
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
    let stored: Vec<Value> = writers.clone().filter_map(stored_at).collect();
    // What has no stack of its own is best looked at where it was stored.
    let writer = finding.written_first.first();
    let place = place(&finding.stack).or_else(|| place(&writer?.stack));
    if let Some(place) = place {
        object.insert("locations".into(), json!([location(place)]));
    }
    if !stored.is_empty() {
        object.insert("relatedLocations".into(), json!(stored));
    }
    let own = (!finding.stack.is_empty()).then(|| stack(finding.title, &finding.stack));
    let stacks: Vec<Value> = own
        .into_iter()
        .chain(writers.map(|writer| stack(&written_first(writer), &writer.stack)))
        .collect();
    if !stacks.is_empty() {
        object.insert("stacks".into(), json!(stacks));
    }
    if finding.suppressed {
        object.insert("suppressions".into(), json!([{ "kind": "external" }]));
    }
    result
}

/// The innermost frame with a source line: where a reviewer wants to look.
fn place(stack: &[Frame]) -> Option<&Frame> {
    stack.iter().find(|frame| frame.source.is_some())
}

fn stack(title: &str, frames: &[Frame]) -> Value {
    let frame = |frame: &Frame| json!({ "location": location(frame), "module": frame.module.clone().unwrap_or_default() });
    let frames: Vec<Value> = frames.iter().map(frame).collect();
    json!({ "message": { "text": title }, "frames": frames })
}

fn written_first(writer: &Writer) -> String {
    let pages = counted(writer.pages, "page");
    format!("written first by process {}, {pages}", writer.process)
}

fn stored_at(writer: &Writer) -> Option<Value> {
    let mut location = location(place(&writer.stack)?);
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

fn location(frame: &Frame) -> Value {
    let mut location = json!({});
    let Some(object) = location.as_object_mut() else {
        return location;
    };
    if let Some(source) = &frame.source {
        let uri = source.strip_prefix('/').map_or_else(
            || escaped(source),
            |absolute| format!("file:///{}", escaped(absolute)),
        );
        let mut physical = json!({ "artifactLocation": { "uri": uri } });
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
