//! Suppressions: findings that are known and not to be shown again, in a TOML file.

use std::cell::Cell;
use std::path::Path;

use daxshim_core::check::Code;
use daxshim_core::host::shown;
use glob::Pattern;
use serde::{Deserialize, Serialize};

use super::finding::Finding;
use crate::run::Failure;

/// The file.
#[derive(Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(default)]
    suppress: Vec<Entry>,
}

/// What one suppression says.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    code: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    functions: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// A suppression.
struct Suppression {
    /// What people know it by.
    name: String,
    used: Cell<bool>,
    code: Code,
    file: Option<Pattern>,
    functions: Vec<Pattern>,
}

/// All that are in force.
#[derive(Default)]
pub struct Suppressions(Vec<Suppression>);

/// Frames that `--gen-suppressions` writes down.
const FRAMES: usize = 4;

impl Suppressions {
    /// Reads a file.
    ///
    /// # Errors
    /// It cannot be read, or says something that is not understood.
    pub fn read(path: &Path) -> Result<Suppressions, Failure> {
        let failed = |why: String, help: &str| {
            Failure::own(
                format!("cannot use the suppressions in {}", shown(path)),
                why,
                help,
            )
        };
        let text = std::fs::read_to_string(path)
            .map_err(|error| failed(error.to_string(), "name a file that can be read"))?;
        Suppressions::parse(&text).map_err(|why| {
            failed(
                why,
                "each [[suppress]] has a code, and may have file, functions (globs) and a reason",
            )
        })
    }

    fn parse(text: &str) -> Result<Suppressions, String> {
        let document: Document = toml::from_str(text).map_err(|error| error.to_string())?;
        let pattern =
            |glob: String| Pattern::new(&glob).map_err(|error| format!("{glob}: {error}"));
        let suppression = |entry: Entry| {
            Ok(Suppression {
                name: name(&entry),
                used: Cell::new(false),
                code: Code::parse(&entry.code)
                    .ok_or_else(|| format!("there is no code {}", entry.code))?,
                file: entry.file.map(pattern).transpose()?,
                functions: entry
                    .functions
                    .into_iter()
                    .map(pattern)
                    .collect::<Result<_, String>>()?,
            })
        };
        let all: Result<Vec<_>, String> = document.suppress.into_iter().map(suppression).collect();
        Ok(Suppressions(all?))
    }

    /// Whether a finding is not to be shown.
    pub fn cover(&self, finding: &Finding) -> bool {
        // Each that covers it is of use.
        let covers = self
            .0
            .iter()
            .filter(|suppression| suppression.covers(finding));
        covers.fold(false, |_, suppression| {
            suppression.used.set(true);
            true
        })
    }

    /// Those that have covered nothing.
    pub fn unused(&self) -> impl Iterator<Item = &str> {
        let unused = self.0.iter().filter(|suppression| !suppression.used.get());
        unused.map(|suppression| suppression.name.as_str())
    }
}

fn name(entry: &Entry) -> String {
    let mut name = format!("the suppression of {}", entry.code);
    if let Some(file) = &entry.file {
        name += &format!(" in {file}");
    }
    if !entry.functions.is_empty() {
        name += &format!(" by {}", entry.functions.join(", "));
    }
    name
}

impl Suppression {
    fn covers(&self, finding: &Finding) -> bool {
        let file = self.file.as_ref().is_none_or(|pattern| {
            let file = finding.file.as_deref();
            file.is_some_and(|file| pattern.matches(file))
        });
        let mut frames = finding.stack.iter();
        let functions = self.functions.iter().all(|pattern| {
            let name = frames.next().map(|frame| frame.function.as_deref());
            name.is_some_and(|name| pattern.matches(name.unwrap_or("?")))
        });
        self.code == finding.code && file && functions
    }
}

/// A file that suppresses these findings: by code, file, and the innermost functions.
pub fn generate(findings: &[Finding]) -> String {
    let entries = findings.iter().map(|finding| Entry {
        code: finding.code.id().to_owned(),
        file: finding.file.as_deref().map(Pattern::escape),
        functions: finding
            .stack
            .iter()
            .take(FRAMES)
            .map(|frame| match &frame.function {
                Some(name) => Pattern::escape(name),
                None => "*".to_owned(),
            })
            .collect(),
        reason: Some(finding.title.to_owned()),
    });
    let document = Document {
        suppress: entries.collect(),
    };
    // Strings and lists of them: there is nothing that TOML could not say.
    toml::to_string(&document).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::finding::Frame;

    fn finding(code: Code, file: &str, functions: &[&str]) -> Finding {
        let frame = |name: &&str| Frame {
            address: 1,
            module: None,
            offset: 0,
            function: Some((*name).to_owned()),
            source: None,
            line: None,
            inlined: false,
        };
        Finding {
            file: Some(file.to_owned()),
            stack: functions.iter().map(frame).collect(),
            ..Finding::of_run(code, String::new())
        }
    }

    #[test]
    fn code_file_and_functions_must_fit() {
        let text =
            "[[suppress]]\ncode = \"DAX008\"\nfile = \"/pmem/*\"\nfunctions = [\"log_*\", \"*\"]\n";
        let known = Suppressions::parse(text).unwrap();
        let fits = |code, file, functions: &[&str]| known.cover(&finding(code, file, functions));
        assert!(fits(Code::Acknowledged, "/pmem/a", &["log_x", "main"]));
        assert!(!fits(Code::Redundant, "/pmem/a", &["log_x", "main"]));
        assert!(!fits(Code::Acknowledged, "/tmp/a", &["log_x", "main"]));
        assert!(!fits(Code::Acknowledged, "/pmem/a", &["main", "log_x"]));
        assert!(!fits(Code::Acknowledged, "/pmem/a", &["log_x"]));
        assert_eq!(known.unused().count(), 0);
    }

    #[test]
    fn what_covers_nothing_is_named() {
        let text =
            "[[suppress]]\ncode = \"DAX008\"\nfile = \"/a\"\n[[suppress]]\ncode = \"DAX101\"\n";
        let known = Suppressions::parse(text).unwrap();
        assert!(known.cover(&finding(Code::Redundant, "/a", &[])));
        let unused: Vec<&str> = known.unused().collect();
        assert_eq!(unused, ["the suppression of DAX008 in /a"]);
    }

    #[test]
    fn what_is_generated_covers_what_it_was_made_from() {
        let strange = finding(Code::Unmapped, "/a [b]*", &["f<[T]>", "g", "h", "i", "j"]);
        let run = Finding::of_run(Code::Unseen, "x".into());
        let text = generate(&[strange.clone(), run.clone()]);
        let known = Suppressions::parse(&text).unwrap();
        assert!(known.cover(&strange) && known.cover(&run));
        assert!(!known.cover(&finding(Code::Unmapped, "/a [b]*", &["other"])));
    }

    #[test]
    fn what_is_not_understood_is_an_error() {
        for text in [
            "[[suppress]]\ncode = \"DAX000\"",
            "suppress = 1",
            "[[suppress]]\ncode = \"DAX001\"\nfiel = \"x\"",
            "[[suppress]]\ncode = \"DAX001\"\nfile = \"[\"",
        ] {
            assert!(Suppressions::parse(text).is_err(), "{text}");
        }
    }
}
