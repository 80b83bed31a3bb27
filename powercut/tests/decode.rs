//! The plugin knows the instructions that matter: one it does not know would be a flush or a fence that is not seen.

use std::io::Write;
use std::process::{Command, Stdio};

/// Bytes, as the assembler encodes them, and what they are.
const INSTRUCTIONS: &[(&str, &str, &str)] = &[
    (
        "clwb (%rax)",
        "660fae30",
        "write-back base 0 index -1 shift 0 displacement 0",
    ),
    (
        "clwb (%rsp)",
        "660fae3424",
        "write-back base 4 index -1 shift 0 displacement 0",
    ),
    (
        "clwb 0x40(%r12,%r13,8)",
        "66430fae74ec40",
        "write-back base 12 index 13 shift 3 displacement 64",
    ),
    (
        "clwb -8(%rbp)",
        "660fae75f8",
        "write-back base 5 index -1 shift 0 displacement -8",
    ),
    (
        "clwb 0x100(%r9)",
        "66410faeb100010000",
        "write-back base 9 index -1 shift 0 displacement 256",
    ),
    (
        "clwb 0x10(,%rcx,4)",
        "660fae348d10000000",
        "write-back base -1 index 1 shift 2 displacement 16",
    ),
    (
        "clflushopt (%rdi)",
        "660fae3f",
        "write-back base 7 index -1 shift 0 displacement 0",
    ),
    (
        "clflush 0x12345678(%rip)",
        "0fae3d78563412",
        "flush base -1 index -1 shift 0 relative displacement 305419896",
    ),
    (
        "ds clflush (%rax), as the kernel patches it",
        "3e0fae38",
        "flush base 0 index -1 shift 0 displacement 0",
    ),
    ("sfence", "0faef8", "fence"),
    ("mfence", "0faef0", "fence"),
    ("lfence", "0faee8", "other"),
    ("tpause %eax", "660faef0", "other"),
    ("rdfsbase %rax", "f3480faec0", "other"),
    ("xsaveopt (%rdi)", "0fae37", "other"),
    ("lock addl $0,(%rsp)", "f083042400", "fence"),
    ("xchg %eax,(%rdi)", "8707", "fence"),
    ("xchg %rax,(%rdi)", "488707", "fence"),
    ("xchg %eax,%ebx", "87c3", "other"),
    ("movnti %rax,(%rdi)", "480fc307", "store-around"),
    ("movntdq %xmm0,(%rdi)", "660fe707", "store-around"),
    ("movntps %xmm0,(%rdi)", "0f2b07", "store-around"),
    ("vmovntdq %ymm0,(%rdi)", "c5fde707", "store-around"),
    ("vmovntdq %ymm8,(%r9)", "c4417de701", "store-around"),
    ("invlpg (%rax)", "0f0138", "forget-page"),
    ("syscall", "0f05", "system-call"),
    ("call +0x10", "e810000000", "call target 16"),
    ("the mark", "0f1f84004b434150", "mark"),
    ("nopl 0(%rax,%rax)", "0f1f840000000000", "other"),
    ("mov %rax,(%rdi)", "488907", "other"),
    ("ret", "c3", "other"),
];

#[test]
fn instructions_that_matter_are_known() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let program = std::env::temp_dir().join(format!("powercut-decode-{}", std::process::id()));
    let compiled = Command::new("gcc")
        .args(["-std=gnu11", "-Wall", "-Wextra", "-Werror", "-o"])
        .arg(&program)
        .arg(format!("{root}/powercut/tests/decode.c"))
        .arg(format!("{root}/scripts/powercut.d/plugin/decode.c"))
        .status()
        .expect("gcc runs");
    assert!(compiled.success());
    let mut running = Command::new(&program)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it runs");
    let bytes: Vec<_> = INSTRUCTIONS.iter().map(|(_, bytes, _)| *bytes).collect();
    let mut input = running.stdin.take().expect("a pipe");
    input
        .write_all((bytes.join("\n") + "\n").as_bytes())
        .expect("written");
    drop(input);
    let output = running.wait_with_output().expect("an end");
    std::fs::remove_file(&program).expect("removed");
    let told = String::from_utf8(output.stdout).expect("text");
    let told: Vec<_> = told.lines().collect();
    assert_eq!(told.len(), INSTRUCTIONS.len());
    for ((name, bytes, expected), told) in INSTRUCTIONS.iter().zip(told) {
        assert_eq!(told, *expected, "{name} ({bytes})");
    }
}
