//! What the pages tell to do, done: the `sh` blocks of each page, in order and in one shell, from the
//! root of the repository. A block must succeed, and say what the `text` block behind it shows; `…`
//! there stands for whatever else, in a line or as lines. `console` blocks are only shown.
//!
//! `/dev/shm` is a directory of the test's own. On a real fs-DAX (`DAXSHIM_TEST_DIR`) that lies there,
//! and `emulate=--emulate`, with which a guide begins, becomes `emulate=`: its tags are real then.

use daxshim_tests::pages::{self, Block, Page, root};
use daxshim_tests::scene::real;
use daxshim_tests::{Failed, Outcome, Scene, Tag, built, fail};
use libtest_mimic::{Arguments, Trial};
use std::fmt::Write;
use std::process::{Command, Stdio};

fn main() {
    let mut trials = Vec::new();
    for page in pages::all().expect("the pages") {
        let is_run = |block: &Block| block.language == "sh";
        // The others say --emulate, whatever there is.
        if page.blocks().iter().any(is_run) && (!real() || page.text.contains("emulate=--emulate"))
        {
            trials.push(Trial::test(page.name.clone(), move || follow(&page)));
        }
    }
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}

/// A block to be run, and what it should say.
struct Told {
    block: Block,
    expected: Option<String>,
}

fn told(page: &Page) -> Vec<Told> {
    let mut told: Vec<Told> = Vec::new();
    for block in page.blocks() {
        match block.language.as_str() {
            "sh" => told.push(Told {
                block,
                expected: None,
            }),
            "text" => {
                if let Some(last) = told.last_mut() {
                    last.expected.get_or_insert(block.text);
                }
            }
            _ => {}
        }
    }
    told
}

fn follow(page: &Page) -> Outcome {
    let scene = Scene::new(Tag::None)?;
    let place = scene.path("page");
    std::fs::create_dir(&place)?;
    let place = place.to_str().ok_or("no UTF-8")?.to_owned();
    let here = |text: &str| {
        let text = text.replace("/dev/shm", &place);
        match real() {
            true => text.replace("emulate=--emulate", "emulate="),
            false => text,
        }
    };
    let output = tempfile::tempdir()?;
    let told = told(page);
    let mut script = "set -e\n".to_owned();
    for (number, Told { block, .. }) in told.iter().enumerate() {
        let file = output.path().join(number.to_string());
        writeln!(
            script,
            "exec >{} 2>&1\n{}",
            file.display(),
            here(&block.text)
        )?;
    }
    let path = format!(
        "{}:/usr/bin:/bin:/usr/sbin:/sbin",
        built("daxshim").with_file_name("").display()
    );
    let mut command = Command::new("bash");
    command
        .env_clear()
        .env("PATH", path)
        .env("HOME", output.path())
        .env("LC_ALL", "C.UTF-8");
    if let Some(library) = std::env::var_os("DAXSHIM_BIN_DIR") {
        command.env("DAXSHIM_BIN_DIR", library);
    }
    let status = command
        .args(["-c", &script])
        .current_dir(root())
        .stdin(Stdio::null())
        .status()?;
    for (number, Told { block, expected }) in told.iter().enumerate() {
        let file = output.path().join(number.to_string());
        let at = format!("{}:{}", page.name, block.line);
        // The first that is not there comes after the one that failed.
        let Ok(said) = std::fs::read_to_string(file) else {
            break;
        };
        let is_last = !output.path().join((number + 1).to_string()).exists();
        if is_last && !status.success() {
            fail!("{at} ended with {status}:\n{}\n{said}", block.text);
        }
        if let Some(expected) = expected {
            let expected = here(expected);
            if !says(&lines(&said), &lines(&expected)) {
                fail!("{at} says\n{said}\ninstead of\n{expected}");
            }
        }
    }
    match status.success() {
        true => Ok(()),
        false => Err(Failed::from(format!("{}: {status}", page.name))),
    }
}

fn lines(text: &str) -> Vec<&str> {
    text.trim_end().lines().map(str::trim_end).collect()
}

/// Whether lines are as expected, where a `…` alone stands for any number of them.
fn says(said: &[&str], expected: &[&str]) -> bool {
    match expected.split_first() {
        None => said.is_empty(),
        Some((&"…", rest)) => (0..=said.len()).any(|skipped| says(&said[skipped..], rest)),
        Some((first, rest)) => said
            .split_first()
            .is_some_and(|(line, said)| is_like(line, first) && says(said, rest)),
    }
}

/// Whether a line is as expected, where `…` stands for any text.
fn is_like(line: &str, expected: &str) -> bool {
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let (line, expected) = (words(line), words(expected));
    let mut parts = expected.split('…');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = line.strip_prefix(first) else {
        return false;
    };
    let parts: Vec<_> = parts.collect();
    let Some((last, middle)) = parts.split_last() else {
        return rest.is_empty();
    };
    for part in middle {
        let Some((_, behind)) = rest.split_once(part) else {
            return false;
        };
        rest = behind;
    }
    rest.ends_with(last)
}
