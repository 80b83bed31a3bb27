//! Builds, from the trace of a run in scripts/powercut's guest, the states that power cuts may leave, and checks them.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};

mod blame;
mod checkers;
mod choose;
mod durable;
mod error;
mod export;
mod file;
mod options;
mod replay;
mod report;
mod story;
mod trace;

use error::Error;
use options::Options;
use replay::replay;
use report::Outcome;
use trace::Trace;

/// Nothing is known: the rig failed.
const RIG_FAILED: u8 = 125;
/// Events that are told of a state.
const STORY: usize = 60;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Expect {
    /// Nothing is lost
    Nothing,
    /// Something is lost: a control
    Loss,
    /// Nothing is lost but in the kernel's hands, which it is known to lose
    KernelOnly,
    /// Whatever it is
    Anything,
}

/// Builds the states that power cuts may leave from the trace of a run, and checks each with the workload's own
/// checker. scripts/powercut makes traces. Exit status: 0 as expected, 1 not, 125 if the trace says nothing.
#[derive(Debug, Parser)]
#[command(name = "powercut")]
struct Arguments {
    /// Trace of a run
    trace: PathBuf,
    /// What the workload was: log, slots:WRITERS[:interleaved], race, blocks, lmdb, tdb, gdbm
    #[arg(long)]
    workload: String,
    /// Images per crash point: nothing else written back, everything, and parts at random
    #[arg(long, default_value_t = 8)]
    images: u64,
    /// Seed of those parts
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Bytes that the medium writes at once (default: lines may be torn at 8 bytes)
    #[arg(long, value_name = "BYTES", default_value_t = 8)]
    atomic: u64,
    /// Stop after so many lost states
    #[arg(long, value_name = "STATES", default_value_t = u64::MAX)]
    stop: u64,
    /// Stop after so many states
    #[arg(long, value_name = "STATES", default_value_t = u64::MAX)]
    states: u64,
    /// At an acknowledgement nothing of the file may be undecided: for one writer
    #[arg(long)]
    strict: bool,
    /// What must come of it
    #[arg(long, value_enum, default_value_t = Expect::Nothing)]
    expect: Expect,
    /// Make one state again, and tell all of it: POINT:IMAGE as the report names them
    #[arg(long, value_name = "POINT:IMAGE", value_parser = point_and_image)]
    replay: Option<(u64, u64)>,
    /// Write whole images there, as many as --samples says
    #[arg(long, value_name = "DIRECTORY")]
    export: Option<PathBuf>,
    /// How many
    #[arg(long, default_value_t = 4)]
    samples: u64,
    /// Write the report there, as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

fn point_and_image(text: &str) -> Result<(u64, u64), String> {
    let numbers = text
        .split_once(':')
        .and_then(|(point, image)| Some((point.parse().ok()?, image.parse().ok()?)));
    numbers.ok_or_else(|| "say, for example, 37:2".to_owned())
}

fn main() -> ExitCode {
    let arguments = Arguments::try_parse().unwrap_or_else(|error| {
        let _ = error.print();
        std::process::exit(if error.use_stderr() {
            i32::from(RIG_FAILED)
        } else {
            0
        });
    });
    match run(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("powercut: {error}");
            ExitCode::from(RIG_FAILED)
        }
    }
}

fn run(arguments: &Arguments) -> Result<bool, Error> {
    let trace = Trace::open(&arguments.trace)?;
    let options = Options {
        workload: arguments.workload.clone(),
        images: arguments.images,
        seed: arguments.seed,
        atomic: arguments.atomic / trace::LINE as u64,
        stop: arguments.stop,
        states: arguments.states,
        strict: arguments.strict,
        only: arguments.replay,
        show: if arguments.replay.is_some() { 1 } else { 3 },
        export: arguments
            .export
            .clone()
            .map(|directory| (directory, arguments.samples)),
    };
    let outcome = replay(&trace, &options).map_err(|why| {
        Error::new(
            format!("cannot replay {}", arguments.trace.display()),
            why,
            "Make the trace again: scripts/powercut --keep.",
        )
    })?;
    if let Some(path) = &arguments.json {
        let json = serde_json::to_vec_pretty(&outcome).map_err(|error| error.to_string());
        json.and_then(|json| std::fs::write(path, json).map_err(|error| error.to_string()))
            .map_err(|why| {
                Error::new(
                    format!("cannot write {}", path.display()),
                    why,
                    "Name another file.",
                )
            })?;
    }
    let mut text = outcome.text();
    if let Some((point, _)) = arguments.replay {
        let lines: Vec<u64> = outcome
            .failures
            .iter()
            .flat_map(|failure| failure.lines.iter().map(|line| line.device_line))
            .collect();
        for line in outcome.failures.iter().flat_map(|failure| &failure.lines) {
            text += &format!(
                "\n  line {} (device {}): {}\n    holds   {}\n    durable {}",
                line.line, line.device_line, line.treated, line.holds, line.durable
            );
        }
        text += "\n  before it:";
        for sentence in story::story(&trace, point, &lines, STORY) {
            text += "\n    ";
            text += &sentence;
        }
    }
    // Who reads it may have gone.
    let _ = writeln!(std::io::stdout(), "{text}");
    as_expected(arguments.expect, &outcome)
}

fn as_expected(expect: Expect, outcome: &Outcome) -> Result<bool, Error> {
    if outcome.states == 0 {
        return Err(Error::new(
            "the run says nothing",
            "its trace has no crash point, or not the one that was named",
            "Choose crash points more densely, or another one.",
        ));
    }
    Ok(match expect {
        Expect::Nothing => outcome.lost == 0 && outcome.not_durable_at_acks == 0,
        Expect::Loss => outcome.lost > 0,
        Expect::KernelOnly => outcome.not_the_kernels() == 0,
        Expect::Anything => true,
    })
}
