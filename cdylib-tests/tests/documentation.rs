//! The README's tables are printed from the tables of the code, so they can't disagree.
//! `UPDATE_DOCS=1 cargo test -p daxshim-core --test documentation` writes them anew.

use daxshim_core::check::Code;
use daxshim_core::config::Variable;
use daxshim_core::contract::{Answer, Operation};
use daxshim_core::symbols::HOOKS;
use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;

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

fn check(marker: &str, table: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let readme = std::fs::read_to_string(&path).unwrap();
    let (begin, end) = (format!("<!-- {marker} -->\n"), "<!-- end -->");
    let start = readme
        .find(&begin)
        .unwrap_or_else(|| panic!("README.md has no {begin}"))
        + begin.len();
    let length = readme[start..].find(end).expect("no end marker");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        let updated = format!("{}{table}{}", &readme[..start], &readme[start + length..]);
        std::fs::write(&path, updated).unwrap();
    } else {
        assert_eq!(
            &readme[start..start + length],
            table,
            "README.md is behind the code: UPDATE_DOCS=1 cargo test -p daxshim-core --test documentation"
        );
    }
}

// One test: with UPDATE_DOCS they write the same file.
#[test]
fn the_readme_s_tables_are_those_of_the_code() {
    check("table of operations", &answers());
    check("table of hooks", &hooks());
    check("table of variables", &variables());
    check("table of findings", &findings());
}
