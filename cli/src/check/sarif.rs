//! Findings as SARIF 2.1.0, for code review tools and CI.

use daxshim_core::check::{Code, Level};
use serde_json::{Value, json};

use super::finding::{Finding, Findings, Frame};

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
    // The innermost frame with a source line is where a reviewer wants to look.
    let place = finding.stack.iter().find(|frame| frame.source.is_some());
    if let Some(place) = place {
        object.insert("locations".into(), json!([location(place)]));
    }
    if !finding.stack.is_empty() {
        let frames: Vec<Value> = finding
            .stack
            .iter()
            .map(|frame| json!({ "location": location(frame), "module": frame.module.clone().unwrap_or_default() }))
            .collect();
        object.insert("stacks".into(), json!([{ "frames": frames }]));
    }
    if finding.suppressed {
        object.insert("suppressions".into(), json!([{ "kind": "external" }]));
    }
    result
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
