//! The pages agree with the code: tables that are printed from the code, links, commands and their
//! options, variables. `UPDATE_DOCS=1 cargo test -p daxshim-tests --test documentation` prints the
//! tables anew. What the pages tell to do is done in `guides.rs`.

use daxshim_core::check::Code;
use daxshim_core::config::Variable;
use daxshim_core::contract::{Answer, Operation};
use daxshim_core::symbols::HOOKS;
use daxshim_tests::built;
use daxshim_tests::pages::{self, Page, commands, root};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::Path;
use std::process::Command;

/// The README answers, and no more: bytes.
const README: usize = 8 << 10;

fn answers() -> String {
    let mut table =
        String::from("| operation | on a tagged file | system calls |\n|---|---|---|\n");
    for operation in Operation::ALL {
        let answer = match operation.on_tagged() {
            Answer::Same => "as untagged",
            Answer::Eperm => "EPERM",
            Answer::EpermUnlessIdle => "EPERM; with `--compat`, 0 where nothing would change",
            Answer::EpermUnlessTold => {
                "EPERM; with `--compat`, as untagged where nothing but times would change"
            }
            Answer::Reading => "as untagged; EPERM with `--reads deny`",
        };
        let calls = match operation.on_tagged() {
            Answer::Same => String::new(),
            _ => system_calls(*operation),
        };
        writeln!(table, "| {} | {answer} | {calls} |", operation.word()).unwrap();
    }
    table
}

fn system_calls(operation: Operation) -> String {
    let names: BTreeSet<String> = HOOKS
        .iter()
        .filter(|hook| hook.operations.contains(&operation))
        .filter_map(|hook| hook.syscall.strip_prefix("SYS_"))
        .map(str::to_lowercase)
        .collect();
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    quoted.join(" ")
}

fn hooks() -> String {
    let mut table = String::from("| family | symbols |\n|---|---|\n");
    let named = HOOKS.iter().filter(|hook| !hook.symbols.is_empty());
    let mut families: Vec<&str> = named.map(|hook| hook.family).collect();
    families.dedup();
    for family in families {
        let symbols: Vec<String> = HOOKS
            .iter()
            .filter(|hook| hook.family == family)
            .flat_map(|hook| hook.symbols)
            .map(|symbol| format!("`{symbol}`"))
            .collect();
        writeln!(table, "| {family} | {} |", symbols.join(" ")).unwrap();
    }
    table
}

fn variables() -> String {
    let mut table = String::from("| variable | values |\n|---|---|\n");
    for variable in Variable::ALL {
        let name = variable.name().to_str().unwrap();
        writeln!(table, "| `{name}` | {} |", variable.values()).unwrap();
    }
    table
}

fn findings() -> String {
    let mut table = String::from("| code | level | finding |\n|---|---|---|\n");
    for code in Code::ALL {
        let (id, level) = (code.id(), code.level().word());
        writeln!(table, "| {id} | {level} | {} |", code.title()).unwrap();
    }
    table
}

fn check(page: &str, marker: &str, table: &str) {
    let path = root().join(page);
    let text = std::fs::read_to_string(&path).unwrap();
    let (begin, end) = (format!("<!-- {marker} -->\n"), "<!-- end -->");
    let start = text
        .find(&begin)
        .unwrap_or_else(|| panic!("{page} has no {begin}"))
        + begin.len();
    let length = text[start..].find(end).expect("no end marker");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        let updated = format!("{}{table}{}", &text[..start], &text[start + length..]);
        std::fs::write(&path, updated).unwrap();
    } else {
        assert_eq!(
            &text[start..start + length],
            table,
            "{page} is behind the code: UPDATE_DOCS=1 cargo test -p daxshim-tests --test documentation"
        );
    }
}

#[test]
fn the_tables_are_those_of_the_code() {
    check("docs/semantics.md", "table of operations", &answers());
    check("docs/internals.md", "table of hooks", &hooks());
    check("docs/environment.md", "table of variables", &variables());
    check("docs/check.md", "table of findings", &findings());
}

#[test]
fn the_rooms_of_the_library_are_all_there() {
    let text = std::fs::read_to_string(root().join("docs/internals.md")).unwrap();
    let (_, table) = text.split_once("<!-- rooms -->\n").expect("no rooms");
    let (table, _) = table.split_once("<!-- end -->").expect("no end marker");
    let told = table.lines().filter_map(|line| line.split('`').nth(1));
    let told: BTreeSet<_> = told.map(str::to_owned).collect();
    let entries = std::fs::read_dir(root().join("src")).unwrap();
    let there = entries.map(|entry| entry.unwrap().path().with_extension(""));
    let there: BTreeSet<_> = there
        .filter_map(|path| Some(path.file_name()?.to_str()?.to_owned()))
        .filter(|name| name != "lib")
        .collect();
    assert_eq!(
        told, there,
        "docs/internals.md tells other rooms than src/ has"
    );
}

fn all() -> Vec<Page> {
    let pages = pages::all().unwrap();
    assert!(pages.iter().any(|page| page.name == "README.md"));
    pages
}

fn none(wrong: &[String]) {
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// The page and anchor that a link on `page` leads to, where both are in the repository.
fn target(page: &Page, link: &str) -> Option<(String, Option<String>)> {
    if link.contains("://") || link.starts_with("mailto:") {
        return None;
    }
    let (path, anchor) = match link.split_once('#') {
        Some((path, anchor)) => (path, Some(anchor.to_owned())),
        None => (link, None),
    };
    let mut names: Vec<&str> = page.name.split('/').collect();
    if !path.is_empty() {
        names.pop();
        for name in path.split('/') {
            match name {
                "" | "." => {}
                ".." => drop(names.pop()),
                name => names.push(name),
            }
        }
    }
    Some((names.join("/"), anchor))
}

#[test]
fn every_link_leads_somewhere() {
    let pages = all();
    let anchors: BTreeMap<_, _> = pages
        .iter()
        .map(|page| (page.name.clone(), page.anchors()))
        .collect();
    let mut wrong = Vec::new();
    for page in &pages {
        for (line, link) in page.links() {
            let Some((path, anchor)) = target(page, &link) else {
                continue;
            };
            let here = format!("{}:{line}: {link}", page.name);
            if !root().join(&path).exists() {
                wrong.push(format!("{here}: there is no {path}"));
            } else if let Some(anchor) = anchor
                && !anchors.get(&path).is_some_and(|of| of.contains(&anchor))
            {
                wrong.push(format!("{here}: {path} has no such heading"));
            }
        }
    }
    none(&wrong);
}

#[test]
fn every_page_of_docs_is_linked_to() {
    let pages = all();
    let targets: BTreeSet<String> = pages
        .iter()
        .flat_map(|page| page.links().into_iter().map(move |link| (page, link)))
        .filter_map(|(page, (_, link))| Some(target(page, &link)?.0))
        .collect();
    let alone = pages
        .iter()
        .filter(|page| page.name.starts_with("docs/") && !targets.contains(&page.name));
    let alone =
        alone.map(|page| format!("{}: no page links to it; list it in README.md", page.name));
    none(&alone.collect::<Vec<_>>());
}

#[test]
fn the_readme_is_short() {
    let length = std::fs::metadata(root().join("README.md")).unwrap().len();
    assert!(
        length <= README as u64,
        "{length} bytes, more than {README}"
    );
}

/// The text of `daxshim SUBCOMMAND --help`, or of `daxshim --help`.
fn help(subcommands: &[&str]) -> String {
    let mut command = Command::new(built("daxshim"));
    let done = command.args(subcommands).arg("--help").output().unwrap();
    String::from_utf8(done.stdout).unwrap()
}

/// The options of a subcommand, and of those that it has itself.
fn options(subcommand: &str) -> BTreeSet<String> {
    let own = help(&[subcommand]);
    let mut found = names(&own);
    if own.contains("\nCommands:\n") {
        let nested: Vec<_> = found.iter().filter(|name| is_word(name)).cloned().collect();
        found.extend(
            nested
                .iter()
                .flat_map(|name| names(&help(&[subcommand, name]))),
        );
    }
    found
}

fn is_word(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase())
}

/// The names in the first column of a help text: subcommands, or options.
fn names(help: &str) -> BTreeSet<String> {
    let words = help.lines().filter_map(|line| {
        let indented = line.strip_prefix("  ")?;
        (!indented.starts_with("          ")).then(|| indented.split([' ', ',', '=']))
    });
    words.flatten().map(str::to_owned).collect()
}

/// What is wrong with the uses of the command in a line of shell.
fn misused(line: &str, subcommands: &BTreeMap<String, BTreeSet<String>>) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut words = line.split_whitespace().peekable();
    while let Some(word) = words.next() {
        if word != "daxshim" && !word.ends_with("/daxshim") {
            continue;
        }
        let Some(&name) = words.peek() else {
            continue;
        };
        // What it says begins "daxshim check: ", and its own options stand at once behind it.
        if !name.starts_with(|c: char| c.is_ascii_lowercase()) || name.ends_with([':', '.']) {
            continue;
        }
        for name in name.split(['|', ',']) {
            let Some(options) = subcommands.get(name) else {
                wrong.push(format!("there is no daxshim {name}"));
                continue;
            };
            for word in words.clone() {
                if ["--", "|", "||", "&&", ";"].contains(&word) {
                    break;
                }
                let option = word.trim_matches(['[', ']', '`', ';']);
                let option = option.split('=').next().unwrap_or(option);
                if option.starts_with("--") && !options.contains(option) {
                    wrong.push(format!("daxshim {name} has no {option}"));
                }
            }
        }
    }
    wrong
}

#[test]
fn every_command_and_option_exists() {
    let subcommands: BTreeMap<String, BTreeSet<String>> = names(&help(&[]))
        .into_iter()
        .filter(|name| is_word(name))
        .map(|name| (name.clone(), options(&name)))
        .collect();
    assert!(subcommands["run"].contains("--emulate"), "{subcommands:?}");
    assert!(!misused("daxshim run --no-such -- x", &subcommands).is_empty());
    assert!(!misused("daxshim no-such", &subcommands).is_empty());
    let mut wrong = Vec::new();
    for page in all() {
        let mut lines = page.words_of_code();
        for block in page.blocks() {
            if ["sh", "console", "yaml"].contains(&block.language.as_str()) {
                lines.extend(commands(&block).into_iter().map(|line| (block.line, line)));
            }
        }
        for (line, text) in lines {
            let text = text.split(" # ").next().unwrap_or_default();
            for what in misused(text, &subcommands) {
                wrong.push(format!("{}:{line}: {what}", page.name));
            }
            for word in text.split([' ', '"', '$']) {
                let script = word.trim_start_matches("./");
                if script.starts_with("scripts/")
                    && !script.contains("NAME")
                    && !root().join(script).exists()
                {
                    wrong.push(format!("{}:{line}: there is no {script}", page.name));
                }
            }
        }
    }
    none(&wrong);
}

/// The variables of this project that a text names.
fn variables_in(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_uppercase() && c != '_' && !c.is_ascii_digit());
    words
        .filter(|word| {
            word.starts_with("DAXSHIM_") && word.len() > "DAXSHIM_".len() && !word.ends_with('_')
        })
        .map(str::to_owned)
        .collect()
}

fn sources(directory: &Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if let Ok(text) = std::fs::read_to_string(&path) {
            found.extend(variables_in(&text));
        }
    }
}

#[test]
fn every_variable_exists() {
    let mut known = BTreeSet::new();
    for directory in [
        "src",
        "core/src",
        "cli/src",
        "cdylib-tests/src",
        "cdylib-tests/tests",
        "scripts",
    ] {
        sources(&root().join(directory), &mut known);
    }
    let mut wrong = Vec::new();
    for page in all() {
        let unknown = variables_in(&page.text);
        let unknown = unknown.difference(&known);
        wrong.extend(unknown.map(|name| format!("{}: nothing reads {name}", page.name)));
    }
    none(&wrong);
}
