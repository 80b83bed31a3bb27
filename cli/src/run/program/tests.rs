use super::*;

fn scripts() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn reasons(path: &Path) -> Vec<Reason> {
    let inspection = inspect(path, Some("/bin:/usr/bin".as_ref()));
    inspection.unseen.into_iter().map(|u| u.reason).collect()
}

fn file(directory: &tempfile::TempDir, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
    let path = directory.path().join(name);
    std::fs::write(&path, content).unwrap();
    path
}

#[test]
fn ordinary_programs_and_scripts_are_seen() {
    let directory = scripts();
    assert_eq!(inspect(Path::new("/bin/sh"), None), Inspection::default());
    for text in [
        "#!/bin/sh\n",
        "#! /bin/sh -e \n",
        "#!/usr/bin/env sh\n",
        "#!/usr/bin/env -S A=1 sh -e\n",
        "#!/bin/sh",
    ] {
        let script = file(&directory, "script", text);
        assert_eq!(inspect(&script, None), Inspection::default(), "{text}");
    }
    let text = inspect(&file(&directory, "text", "exit 3\n"), None);
    assert!(text.by_shell && text.unseen.is_empty());
}

#[test]
fn other_machines_and_garbage_are_not() {
    let directory = scripts();
    let mut program = std::fs::read("/bin/sh").unwrap();
    program[18] = 0xb7;
    let other = file(&directory, "other", &program);
    assert_eq!(reasons(&other), [Reason::Machine]);
    program[4] = 1;
    assert_eq!(
        reasons(&file(&directory, "class", &program)),
        [Reason::Machine]
    );
    for length in 4..64 {
        program.truncate(length);
        let cut = file(&directory, "cut", &program);
        assert_eq!(reasons(&cut), [Reason::Format]);
    }
    assert_eq!(reasons(&file(&directory, "nul", b"a\0b")), [Reason::Format]);
    assert_eq!(
        reasons(&file(&directory, "empty line", "#!\n")),
        [Reason::Format]
    );
    let script = file(&directory, "script", format!("#!{}\n", other.display()));
    assert_eq!(reasons(&script), [Reason::Machine]);
}

#[test]
fn missing_and_endless_interpreters_are_found() {
    let directory = scripts();
    let script = file(&directory, "a", "#!/no/such/interpreter -x\n");
    let missing = inspect(&script, None).missing;
    assert_eq!(missing, Some("/no/such/interpreter".into()));
    let endless = directory.path().join("endless");
    std::fs::write(&endless, format!("#!{}\n", endless.display())).unwrap();
    assert_eq!(reasons(&endless), [Reason::Depth]);
}

#[test]
fn env_starts_what_its_argument_names() {
    let started = |text: &str| started_by_env(text.as_ref());
    assert_eq!(started("python3"), Some("python3".into()));
    assert_eq!(started("-S A=1 python3 -u"), Some("python3".into()));
    assert_eq!(started("-S -i python3"), Some("python3".into()));
    assert_eq!(started("-i"), None);
}
