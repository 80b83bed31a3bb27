//! `daxshim ab`

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use daxshim_core::host::shown;
use rand::rngs::{ChaCha8Rng, SysRng};
use rand::{SeedableRng, TryRng};

use super::options::ShimOptions;
use crate::ab::child::Watch;
use crate::ab::comparison::{Comparison, Finding};
use crate::ab::plan::Settings;
use crate::ab::plan::plan;
use crate::ab::session::Session;
use crate::ab::shown::{html, markdown, progress, text};
use crate::run::destination::{Content, Destination};
use crate::run::directory::{self, ReportDirectory};
use crate::run::environment::Environment;
use crate::run::launch::{Image, SHELL};
use crate::run::program::{announce, cannot_run, inspect};
use crate::run::{FAILED, Failure, library, lookup, program_of, words};

/// `--fail-if-slower`: B is slower than that.
const SLOWER: u8 = 1;

/// Compare kernel sync (A) with user flush (B), without recompiling
///
/// Runs a program again and again under the shim: with kernel sync (A), with user flush (B), and
/// with kernel sync once more (the control), in random order, each order followed by its mirror
/// image. Reports the paired ratio of times with its confidence interval, what A differs from
/// itself by, and how long msync, fsync and fdatasync took in both legs.
#[derive(Args)]
#[command(after_long_help = AFTER_HELP)]
pub struct Ab {
    /// Runs of each leg
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    runs: u32,

    /// Runs of A and of B before them, which don't count
    #[arg(long, value_name = "N", default_value_t = 1)]
    warmup: u32,

    /// Run before each run, by the shell, without the shim
    #[arg(long, value_name = "CMD")]
    setup: Option<OsString>,

    /// Run after each run, by the shell, without the shim: it must succeed, and say the same
    /// after each run of either leg
    #[arg(long, value_name = "CMD")]
    verify: Option<OsString>,

    /// How leg B carries out msync on sync mappings (DAXSHIM_FLUSH)
    #[arg(long, value_name = "FLUSH", default_value = "auto", value_parser = ["auto", "user", "kernel", "none"])]
    flush: String,

    #[command(flatten)]
    shim: ShimOptions,

    /// Show what the program and the setup command say; otherwise it goes to /dev/null
    #[arg(long)]
    show_output: bool,

    /// Write the comparison to FILE as a JSON document (docs/json.md); - is standard output
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,

    /// Write it as Markdown; - is standard output
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,

    /// Write it as a page with plots that needs nothing else; - is standard output
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,

    /// Exit with 1 if B is more than PCT percent slower: if the lower end of the confidence
    /// interval of the ratio of wall times is above 1 + PCT/100
    #[arg(long, value_name = "PCT", value_parser = percent)]
    fail_if_slower: Option<f64>,

    /// What order and confidence interval follow from, to repeat a comparison [default: random]
    #[arg(long, value_name = "S")]
    seed: Option<u64>,

    /// The program and its arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "CMD")]
    command: Vec<OsString>,
}

const AFTER_HELP: &str = "\
The table goes to standard error. The program's standard input is empty. Each run is a process group
of its own; CTRL-C ends it, and what was measured until then is reported. DAXSHIM_FLUSH and
DAXSHIM_REPORT are set by the comparison, whatever they were.

A run that fails ends the comparison, as does a setup or verify command that fails or says something
else. What was measured before that is written.

Exit status: 0; that of a run that failed, 128+N if signal N ended it; 1 by --fail-if-slower; 130
after CTRL-C (128+N after signal N); 127 if the program is not found, 126 if it cannot be executed,
125 if daxshim itself, the setup or the verify command fails, or daxshim is used wrongly, or with
--fail-if-slower if nothing was accelerated.

Examples:
  daxshim ab -- ./program /mnt/pmem/data
  daxshim ab --emulate --runs 20 --html report.html -- python3 app.py /dev/shm/data
  daxshim ab --setup 'cp base.img /mnt/pmem/data' --verify 'md5sum /mnt/pmem/data' -- ./program
  daxshim ab --fail-if-slower 5 --json ab.json -- ./program /mnt/pmem/data";

fn percent(text: &str) -> Result<f64, String> {
    match text.trim_end_matches('%').parse::<f64>() {
        Ok(value) if value.is_finite() && value >= 0.0 => Ok(value),
        _ => Err("a number of percent that is not negative".into()),
    }
}

impl Ab {
    pub fn execute(self) -> ExitCode {
        Failure::exit_code(self.start())
    }

    fn start(self) -> Result<u8, Failure> {
        if self.fail_if_slower.is_some() && self.runs < 2 {
            return Err(Failure::own(
                "--fail-if-slower cannot be told from one run".into(),
                "it looks at the confidence interval, which takes two runs at least",
                "--runs 10",
            ));
        }
        let destinations = self.destinations()?;
        let settings = self.settings()?;
        let mut rng = ChaCha8Rng::seed_from_u64(settings.seed);
        let turns = plan(settings.runs, &mut rng);
        let session = self.session()?;
        let warm = settings.warmup.saturating_mul(2);
        let bar = progress::bar(turns.len() + warm, self.show_output);
        let mut results = session.run(settings.warmup, &turns, |made| {
            bar.set_position(made as u64);
        });
        bar.finish_and_clear();
        let stopped = results.stopped.take().map(|stopped| {
            stopped.failure.show();
            let status = stopped.failure.status;
            results.stopped = Some(stopped);
            status
        });
        let command = words(&self.command);
        let unseen = session.inspection.unseen;
        let comparison = Comparison::new(command, settings, results, unseen, &mut rng);
        // With nothing accelerated, B is not slower than A whatever it would cost.
        let is_void =
            self.fail_if_slower.is_some() && comparison.verdict.result == Finding::NotAccelerated;
        let status = stopped.unwrap_or(match comparison.verdict.failed {
            true => SLOWER,
            false if is_void => FAILED,
            false => 0,
        });
        let shown = (!comparison.runs.is_empty()).then(|| {
            Destination::open("-".as_ref(), Content::Text)
                .and_then(|to| to.write(&text::text(&comparison)))
        });
        let status = Failure::after_writing(status, shown);
        Ok(destinations.write(&comparison, status))
    }

    fn settings(&self) -> Result<Settings, Failure> {
        let text = |command: &Option<OsString>| {
            let command = command.as_ref();
            command.map(|command| command.to_string_lossy().into_owned())
        };
        let seed = match self.seed {
            Some(seed) => seed,
            None => SysRng.try_next_u32().map(u64::from).map_err(|error| {
                Failure::own(
                    "cannot choose an order of the runs".into(),
                    format_args!("the kernel has no random numbers: {error}"),
                    "give a number to --seed",
                )
            })?,
        };
        Ok(Settings {
            runs: self.runs as usize,
            warmup: self.warmup as usize,
            flush: self.flush.clone(),
            seed,
            setup: text(&self.setup),
            verify: text(&self.verify),
            fail_if_slower: self.fail_if_slower,
        })
    }

    fn session(&self) -> Result<Session, Failure> {
        let mut environment = self.shim.environment(&library::find()?);
        let name = program_of(&self.command, "ab")?;
        let path = environment.get("PATH");
        let file = lookup::find(name, path)?;
        let inspection = inspect(&file, path);
        let directory = ReportDirectory::temporary()?;
        environment.set(directory::VARIABLE, directory.path());
        environment.set("DAXSHIM_FLUSH", &self.flush);
        environment.examine();
        announce(&inspection, &mut environment);
        let image = |flush: &str| {
            let mut environment = environment.clone();
            environment.set("DAXSHIM_FLUSH", flush);
            Image::new(&file, &self.command, environment, inspection.by_shell)
                .map_err(|error| cannot_run(&file, &error, &inspection))
        };
        Ok(Session {
            kernel: image("kernel")?,
            user: image(&self.flush)?,
            setup: self.setup.as_deref().map(by_shell).transpose()?,
            verify: self.verify.as_deref().map(by_shell).transpose()?,
            directory,
            show_output: self.show_output,
            // After the images: they have the signal mask as it was.
            watch: Watch::begin().map_err(|error| {
                let what = "cannot watch the program".into();
                Failure::own(what, error, "this is a fault of daxshim; please report it")
            })?,
            inspection,
        })
    }

    fn destinations(&self) -> Result<Destinations, Failure> {
        let wanted = [&self.json, &self.markdown, &self.html].map(|path| (path, Content::Document));
        let [json, markdown, html] = Destination::all(wanted, &self.command)?;
        Ok(Destinations {
            json,
            markdown,
            html,
        })
    }
}

fn by_shell(command: &OsStr) -> Result<Image, Failure> {
    let shell = Path::new(OsStr::from_bytes(SHELL.to_bytes()));
    let arguments = ["sh".as_ref(), "-c".as_ref(), command].map(OsStr::to_owned);
    Image::new(shell, &arguments, Environment::inherited(), false).map_err(|error| {
        Failure::own(
            format!("cannot run {}", shown(shell)),
            error,
            "give --setup and --verify commands that sh -c can run",
        )
    })
}

struct Destinations {
    json: Option<Destination>,
    markdown: Option<Destination>,
    html: Option<Destination>,
}

impl Destinations {
    /// Writes the documents that are wanted; the exit status.
    fn write(self, comparison: &Comparison, status: u8) -> u8 {
        let written = [
            self.json.map(|to| to.write(&comparison.json())),
            self.markdown
                .map(|to| to.write(&markdown::markdown(comparison))),
            self.html.map(|to| to.write(&html::page(comparison))),
        ];
        Failure::after_writing(status, written.into_iter().flatten())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percents_are_numbers_that_are_not_negative() {
        for (text, value) in [("5", 5.0), ("2.5", 2.5), ("5%", 5.0), ("0", 0.0)] {
            assert_eq!(percent(text), Ok(value));
        }
        for text in ["", "x", "-1", "nan", "inf"] {
            assert!(percent(text).is_err(), "{text}");
        }
    }
}
