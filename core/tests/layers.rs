//! The rooms of the library lie in layers, and imports run downwards only; the files of one room, and the command's,
//! the core's and the guard's modules form no circle. Read from the sources.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The rooms of `src/`, the lowest first. What a new one may import follows from its place here.
const ROOMS: [&str; 10] = [
    "ground", "mappings", "entry", "check", "tag", "exec", "sync", "hooks", "ask", "start",
];

fn sources(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs")
            && !path.ends_with("tests.rs")
        {
            found.push(path);
        }
    }
    found
}

/// Code without its comments and unit tests.
fn code(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap();
    let text = text.split("\nmod tests {").next().unwrap();
    let lines = text.lines().map(|line| line.split("//").next().unwrap());
    lines.collect::<Vec<_>>().join("\n")
}

/// Which top-level module imports which, by `crate::` paths.
fn imports(root: &Path) -> BTreeMap<String, BTreeSet<String>> {
    let module = |path: &Path| {
        let inside = path.strip_prefix(root).unwrap();
        let first = inside.components().next().unwrap().as_os_str();
        first.to_str().unwrap().trim_end_matches(".rs").to_owned()
    };
    let mut found = BTreeMap::<_, BTreeSet<_>>::new();
    for path in sources(root) {
        let from = module(&path);
        if from == "lib" || from == "main" {
            continue;
        }
        for part in code(&path).split("crate::").skip(1) {
            // `crate::{a, b::c}` or `crate::a`.
            let part = part.trim_start();
            let names = match part.strip_prefix('{') {
                Some(list) => list.split('}').next().unwrap().split(',').collect(),
                None => vec![part],
            };
            let to = names.into_iter().map(|name| {
                let name = name.trim_start();
                let end = name.find(|c: char| !c.is_alphanumeric() && c != '_');
                name[..end.unwrap_or(name.len())].to_owned()
            });
            found
                .entry(from.clone())
                .or_default()
                .extend(to.filter(|to| *to != from && !to.is_empty()));
        }
    }
    found
}

fn root(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name)
}

#[test]
fn the_library_s_imports_run_downwards() {
    let rank = |room: &str| ROOMS.iter().position(|known| *known == room);
    let imports = imports(&root("src"));
    assert!(imports.len() >= ROOMS.len() - 1, "{imports:?}");
    for (from, all) in imports {
        let from_rank = rank(&from).unwrap_or_else(|| panic!("{from}: a room without a place"));
        for to in all {
            let to_rank = rank(&to).unwrap_or_else(|| panic!("{from} imports {to}: unknown"));
            assert!(
                to_rank < from_rank,
                "{from} imports {to}, which lies above it"
            );
        }
    }
}

/// A circle of modules, if there is one.
fn circle(imports: &BTreeMap<String, BTreeSet<String>>) -> Option<Vec<String>> {
    fn walk(
        imports: &BTreeMap<String, BTreeSet<String>>,
        path: &mut Vec<String>,
        done: &mut BTreeSet<String>,
    ) -> Option<Vec<String>> {
        let here = path.last().unwrap().clone();
        for next in imports.get(&here).into_iter().flatten() {
            if let Some(start) = path.iter().position(|seen| seen == next) {
                return Some(path[start..].to_vec());
            }
            if !done.contains(next) {
                path.push(next.clone());
                if let Some(found) = walk(imports, path, done) {
                    return Some(found);
                }
                path.pop();
            }
        }
        done.insert(here);
        None
    }
    let mut done = BTreeSet::new();
    imports
        .keys()
        .find_map(|start| walk(imports, &mut vec![start.clone()], &mut done))
}

/// The items that a path such as `a::{b, c::{d, e}}` leads to.
fn expand(path: &str) -> Vec<Vec<String>> {
    let path = path.trim_start();
    if let Some(list) = path.strip_prefix('{') {
        let (mut depth, mut items) = (1, vec![String::new()]);
        for letter in list.chars() {
            depth += i32::from(letter == '{') - i32::from(letter == '}');
            match (letter, depth) {
                (_, 0) => break,
                (',', 1) => items.push(String::new()),
                _ => items.last_mut().unwrap().push(letter),
            }
        }
        return items.iter().flat_map(|item| expand(item)).collect();
    }
    let end = path.find(|c: char| !c.is_alphanumeric() && c != '_');
    let (name, rest) = path.split_at(end.unwrap_or(path.len()));
    match rest.strip_prefix("::") {
        _ if name.is_empty() => vec![Vec::new()],
        None => vec![vec![name.to_owned()]],
        Some(rest) => {
            let behind = expand(rest).into_iter();
            let whole = |mut items: Vec<String>| {
                items.insert(0, name.to_owned());
                items
            };
            behind.map(whole).collect()
        }
    }
}

/// Which file below `root` uses which, by their modules: `check::blame::signals`. A `mod.rs` is the module of its
/// directory, and uses what it hands on.
fn uses(root: &Path) -> BTreeMap<String, BTreeSet<String>> {
    let module = |path: &Path| -> Vec<String> {
        let inside = path.strip_prefix(root).unwrap().with_extension("");
        let names = inside.iter().map(|name| name.to_str().unwrap().to_owned());
        names.filter(|name| name != "mod").collect()
    };
    let sources = sources(root);
    let modules: BTreeSet<Vec<String>> = sources.iter().map(|path| module(path)).collect();
    let file_of = |mut path: Vec<String>| {
        while !modules.contains(&path) && path.pop().is_some() {}
        path
    };
    let mut found = BTreeMap::<_, BTreeSet<_>>::new();
    for path in &sources {
        let (here, code) = (module(path), code(path));
        let mut used = BTreeSet::new();
        for (at, _) in code.match_indices("::") {
            let before = code[..at].rfind(|c: char| !c.is_alphanumeric() && c != '_');
            let start = before.map_or(0, |before| before + 1);
            let word = &code[start..at];
            if code[..start].ends_with("::") {
                continue;
            }
            let mut rest = &code[at + 2..];
            let mut base = here.clone();
            match word {
                "crate" => base.clear(),
                "super" => {
                    base.pop();
                    while let Some(further) = rest.strip_prefix("super::") {
                        base.pop();
                        rest = further;
                    }
                }
                "self" => {}
                // One of its own modules.
                child => base.push(child.to_owned()),
            }
            if word != "crate" && word != "super" && word != "self" && !modules.contains(&base) {
                continue;
            }
            for items in expand(rest) {
                used.insert(file_of([base.clone(), items].concat()));
            }
        }
        used.retain(|other| !other.is_empty() && *other != here);
        let used = used.iter().map(|other| other.join("::"));
        found.insert(here.join("::"), used.collect());
    }
    found
}

#[test]
fn the_files_of_a_room_form_no_circle() {
    let uses = uses(&root("src"));
    let seen = |from: &str, to: &str| uses[from].contains(to);
    assert!(seen("check", "check::log") && seen("check::judge", "check::blame"));
    assert_eq!(circle(&uses), None);
}

/// There what lies in a module's directory may use the module itself: a subcommand the errors of all, a table the
/// words of its page.
#[test]
fn nor_do_the_files_elsewhere() {
    for part in ["core/src", "cli/src", "guard/src", "powercut/src"] {
        let mut uses = uses(&root(part));
        for (from, all) in &mut uses {
            all.retain(|to| !from.starts_with(&format!("{to}::")));
        }
        assert_eq!(circle(&uses), None, "{part}");
    }
}

#[test]
fn paths_are_read_whole() {
    let expected: [&[&str]; 4] = [&["a", "b"], &["a", "c", "d"], &["a", "c", "e"], &["a", "f"]];
    assert_eq!(expand("a::{b, c::{d, e}, f}; g::h"), expected);
    assert_eq!(expand("on() && x"), [["on"]]);
}

#[test]
fn core_command_and_guard_have_no_circle() {
    for part in ["core/src", "cli/src", "guard/src"] {
        let imports = imports(&root(part));
        assert!(imports.len() > 3, "{part}: {imports:?}");
        assert_eq!(circle(&imports), None, "{part}");
    }
}

#[test]
fn a_circle_is_found() {
    let of = |pairs: &[(&str, &str)]| {
        let mut all = BTreeMap::<String, BTreeSet<String>>::new();
        for (from, to) in pairs {
            all.entry((*from).into()).or_default().insert((*to).into());
        }
        circle(&all)
    };
    assert_eq!(of(&[("a", "b"), ("b", "c")]), None);
    let found = of(&[("a", "b"), ("b", "c"), ("c", "b")]);
    assert_eq!(found, Some(vec!["b".into(), "c".into()]));
}
