//! `daxshim demo`

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anstyle::Style;
use clap::Args;
use daxshim_core::host::shown;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use tempfile::TempDir;

use crate::output::{say, styled};
use crate::run::{Failure, library};
use crate::stacks;

/// Show in a minute what daxshim does, on a small file in memory
///
/// Runs a small program of its own with the library and without: a refused write, the syncs and their
/// cost, a bug and its source line, and what a power cut would leave. No root, no persistent memory and
/// no compiler are needed. What it makes is removed when it ends.
///
/// Example: daxshim demo
#[derive(Args)]
pub struct Demo {
    /// Where the file is made: a filesystem with user. attributes; on tmpfs the library does all that it
    /// does on persistent memory
    #[arg(long, value_name = "DIR", default_value = "/dev/shm")]
    directory: PathBuf,
}

const HEADING: Style = Style::new().bold();

/// A command that the demo runs.
struct Step {
    heading: &'static str,
    /// As it is typed; `demo` stands for the demo's program, `FILE` and `DIR` for the demo's.
    typed: &'static str,
    /// With what exit status it does what it is to show.
    status: i32,
    /// What its lines mean.
    meaning: &'static [&'static str],
}

const STEPS: &[Step] = &[
    Step {
        heading: "A program as it is: it writes to a file, then maps it, stores to it and calls msync()",
        typed: "daxshim prepare --emulate FILE --size 64KiB && demo store FILE",
        status: 0,
        meaning: &[
            "Nothing of daxshim is at work, but that it made the file: allocated, and written once. For a",
            "file in memory the kernel's msync() has nothing to do: that is what it costs to call it.",
        ],
    },
    Step {
        heading: "The file is tagged, and the same program runs with the library",
        typed: "daxshim tag --emulate FILE && daxshim run --emulate --flush user --report - -- demo store FILE",
        status: 0,
        meaning: &[
            "The tag is emulated, as this is no persistent memory: it counts where --emulate says so.",
            "Its write() is refused: a tagged file's data changes by stores to its mappings alone. So its",
            "blocks stay where they are, and a sync needs no filesystem: each msync() wrote its page's lines",
            "back from the CPU's cache, in the program, without a system call. Here that may cost more than",
            "the kernel's doing nothing (daxshim run takes what is cheaper, unless told --flush user); for a",
            "store on ext4-dax it is 123 instructions, and the kernel's msync() 11,000.",
        ],
    },
    Step {
        heading: "A program with a bug: it stores to one page, and syncs another",
        typed: "daxshim check --emulate -- demo forget FILE",
        status: 1,
        meaning: &[
            "What was stored is lost in a power cut: DAX001. DAX006 is the sync that should have had it;",
            "daxshim explain DAX006 says more.",
        ],
    },
    Step {
        heading: "A log that makes each record durable by the same sync as the count of records",
        typed: "daxshim crash --emulate --states 50 --images DIR/images --verify 'demo log-check {}' -- demo log-wrong FILE",
        status: 1,
        meaning: &[
            "Of what a sync has not finished, a power cut keeps any part. Files that it may leave were built,",
            "and given to the program's own checker: in some a record is counted, and lost. Such a file is",
            "kept, to look at (but for this demo's, which are removed at its end).",
        ],
    },
    Step {
        heading: "The same log, each record made durable before it is counted",
        typed: "daxshim crash --emulate --states 50 --verify 'demo log-check {}' -- demo log-right FILE",
        status: 0,
        meaning: &["Whatever a power cut leaves, the checker finds it sound."],
    },
];

const NEXT: &str = "  daxshim doctor                 what this machine offers, and what is missing
  daxshim prepare --emulate FILE && daxshim tag --emulate FILE
                                 a file that your program maps; it keeps what is in it
  daxshim run --emulate --report - -- PROGRAM
                                 what is refused, and which of its syncs become cheap
  daxshim check --emulate -- PROGRAM
                                 its bugs, in tests and in CI
  daxshim COMMAND --help         all the rest
On persistent memory (ext4 or XFS with DAX) the same without --emulate; prepare and tag as root.";

impl Demo {
    pub fn execute(self) -> ExitCode {
        Failure::exit_code(self.start())
    }

    fn start(self) -> Result<u8, Failure> {
        let stage = Stage::set(&self.directory)?;
        say(
            "A program and the file that it maps, without libdaxshim.so and with it. Behind $ is what you would type; \
             demo is a program\nof this demo's own, and # says what the lines mean.",
        );
        for (step, number) in STEPS.iter().zip(1..) {
            say(&styled(HEADING, &format!("\n{number}. {}", step.heading)));
            stage.show(step)?;
            if let Some(signal) = stage.ended_by() {
                return Ok(128 + signal);
            }
        }
        say(&styled(HEADING, "\nNow with your program"));
        say(NEXT);
        Ok(0)
    }
}

/// Where the demo takes place; gone when dropped.
struct Stage {
    command: PathBuf,
    directory: TempDir,
    /// Of a signal that ends the demo, its number.
    signal: Arc<AtomicUsize>,
}

impl Stage {
    fn set(parent: &Path) -> Result<Stage, Failure> {
        let signal = Arc::new(AtomicUsize::new(0));
        for number in [SIGHUP, SIGINT, SIGTERM] {
            // Without it the signal ends the demo, and its files stay.
            let _ = signal_hook::flag::register_usize(number, signal.clone(), number as usize);
        }
        let command = std::env::current_exe().map_err(|error| {
            let help = "mount /proc";
            Failure::own("cannot find the command itself".into(), error, help)
        })?;
        let directory = tempfile::Builder::new()
            .prefix("daxshim-demo-")
            .tempdir_in(parent);
        let directory = directory.map_err(|error| {
            Failure::own(
                format!("cannot make a directory in {}", shown(parent)),
                error,
                "name a place of yours, best on tmpfs: daxshim demo --directory DIR",
            )
        })?;
        Ok(Stage {
            command,
            directory,
            signal,
        })
    }

    fn ended_by(&self) -> Option<u8> {
        u8::try_from(self.signal.load(Ordering::Relaxed))
            .ok()
            .filter(|&signal| signal != 0)
    }

    /// Runs a step, and shows what it said.
    fn show(&self, step: &Step) -> Result<(), Failure> {
        let directory = self.directory.path().to_string_lossy().into_owned();
        let places = |text: &str| {
            let text = text.replace("FILE", &format!("{directory}/data"));
            text.replace("DIR", &directory)
        };
        let itself = shell_words::quote(&self.command.to_string_lossy()).into_owned();
        let program = format!("{itself} {}", daxshim_demo::SUBCOMMAND);
        for typed in step.typed.split(" && ") {
            say(&places(&format!("$ {typed}")));
            let words = shell_words::split(typed).unwrap_or_default();
            let words = words.iter().enumerate().flat_map(|(at, word)| {
                match word.as_str() {
                    "daxshim" => vec![],
                    "demo" if at == 0 => vec![daxshim_demo::SUBCOMMAND.to_owned()],
                    "demo" => vec![
                        self.command.to_string_lossy().into_owned(),
                        daxshim_demo::SUBCOMMAND.to_owned(),
                    ],
                    // The checker, words in a word.
                    word => vec![places(&word.replace("demo ", &format!("{program} ")))],
                }
            });
            let status = if typed.starts_with("demo") {
                0
            } else {
                step.status
            };
            let text = self.run(&words.collect::<Vec<_>>(), status)?;
            let text = excerpt(&text.replace(&program, "demo"));
            if !text.is_empty() {
                say(&text);
            }
            if self.ended_by().is_some() {
                return Ok(());
            }
        }
        for line in step.meaning {
            say(&format!("# {line}"));
        }
        if let Some(why) = stacks::missing().filter(|_| step.typed.contains("daxshim check")) {
            say(&format!("# Here {why}."));
        }
        Ok(())
    }

    /// Runs the command with `words`; what it said, where it ends with `status`.
    fn run(&self, words: &[String], status: i32) -> Result<String, Failure> {
        let mut command = Command::new(&self.command);
        command.args(words).stdin(Stdio::null());
        // What the user has set is for the user's programs.
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            let is_setting = text.starts_with("DAXSHIM_") || text.starts_with("PMEM_");
            if is_setting && text != library::VARIABLE {
                command.env_remove(name);
            }
        }
        let failed = |why: String| {
            Failure::own(
                "the demo cannot go on".into(),
                why,
                "daxshim doctor says what this machine lacks; --directory DIR takes another filesystem",
            )
        };
        let ran = command
            .output()
            .map_err(|error| failed(error.to_string()))?;
        let said = [&ran.stdout, &ran.stderr].map(|text| String::from_utf8_lossy(text));
        let said = said.concat();
        if ran.status.code() == Some(status) || self.ended_by().is_some() {
            return Ok(said);
        }
        say(said.trim_end());
        Err(failed(format!("this step ended with {}", ran.status)))
    }
}

/// What is worth a look of what a command said: of a stack, the program's own functions, and the line of the bug
/// itself; of a report, what comes before the list of mappings; no notes on what else is in the command's file.
fn excerpt(said: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    let paragraphs = said.trim_end().split("\n\n");
    for paragraph in paragraphs.filter(|paragraph| !paragraph.starts_with("note[")) {
        if paragraph.starts_with("mappings of tagged files") {
            lines.push("…".into());
            break;
        }
        for line in paragraph.lines() {
            if !line.starts_with("   | ") {
                lines.push(line.to_owned());
            } else if let Some((function, place)) = line.split_once(SOURCES) {
                let function = function.rsplit_once(' ').map_or(function, |(name, _)| name);
                lines.push(format!(
                    "{function} {}{place}",
                    SOURCES.trim_start_matches('/')
                ));
                if let Some((number, text)) = source(line) {
                    lines.push(format!("   |   {number}: {}", text.trim_start()));
                }
            } else if lines.last().is_some_and(|last| last != "   | …") {
                lines.push("   | …".into());
            }
        }
        lines.push(String::new());
    }
    lines.join("\n").trim_end().to_owned()
}

/// Where the sources of the demo's program are, in its debug information.
const SOURCES: &str = "/demo/src/";

/// The line of the demo's bug that a frame stands at.
fn source(frame: &str) -> Option<(usize, &'static str)> {
    let (file, text) = daxshim_demo::BUG;
    let (_, number) = frame.rsplit_once(&format!("{file}:"))?;
    let number: usize = number.split(' ').next()?.parse().ok()?;
    let line = text.lines().nth(number.checked_sub(1)?)?;
    Some((number, line))
}
