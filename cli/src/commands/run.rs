//! `daxshim run`

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use daxshim_core::host::report::Report;

use super::options::ShimOptions;
use crate::output;
use crate::run::conclusion::Conclusion;
use crate::run::destination::{Content, Destination};
use crate::run::directory::{self, ReportDirectory, warn_unusable};
use crate::run::environment::Environment;
use crate::run::launch::Image;
use crate::run::outcome::{Ended, Outcome, SCHEMA};
use crate::run::program::{announce, cannot_run, inspect, unseen};
use crate::run::strict::{self, Strict};
use crate::run::{Failure, cannot_wait, library, lookup, program_of, text, words};

/// Run a program under the shim, and report what that did
///
/// Sets LD_PRELOAD and, by the options, DAXSHIM_* for the program and whatever it starts. Without
/// --report and --json it then becomes the program; with them it waits for its end.
#[derive(Args)]
#[command(after_long_help = AFTER_HELP)]
pub struct Run {
    #[command(flatten)]
    shim: ShimOptions,

    /// How msync is carried out on sync mappings: auto takes what is cheaper, user writes cache
    /// lines back, kernel leaves it as it is, none does nothing (DAXSHIM_FLUSH) [default: auto]
    #[arg(long, value_name = "FLUSH", value_parser = ["auto", "user", "kernel", "none"])]
    flush: Option<String>,

    /// When the program has ended, write to FILE what it did; - is standard error
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,

    /// The same as a JSON document (docs/json.md); - is standard output
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,

    /// Have the kernel hold the tagged files while the program runs, against what the shim does not
    /// see; if it can't, nothing runs (daxshim guard)
    #[arg(long)]
    strict: bool,

    /// The program and its arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "CMD")]
    command: Vec<OsString>,
}

const AFTER_HELP: &str = "\
An option overrides its environment variable; without it the variable stays as it is.
libdaxshim.so is the one that DAXSHIM_LIBRARY names, or lies beside this command or in ../lib.
With --strict a guard that was started before (daxshim guard start) has to hold every tagged file;
without one, the run gets its own, for which CAP_BPF and CAP_PERFMON are needed.
DAXSHIM_REPORT, if set, is the directory where the processes' own report files are kept.

Exit status: the program's, 128+N if signal N ended it, 127 if it is not found, 126 if it cannot
be executed, 125 if daxshim itself fails or is used wrongly.

Examples:
  daxshim run --report - -- fio job.fio
  daxshim run --emulate --flush user --json report.json -- python3 app.py /dev/shm/data
  daxshim run --mode audit --report - -- legacy-program
  daxshim run --strict --report - -- legacy-program";

impl Run {
    pub fn execute(self) -> ExitCode {
        Failure::exit_code(self.start())
    }

    /// The exit status of a program that ran as a child; does not return where it took our place.
    fn start(self) -> Result<u8, Failure> {
        let mut environment = self.environment(&library::find()?);
        let name = program_of(&self.command, "run")?;
        let path = environment.get("PATH");
        let file = lookup::find(name, path)?;
        let inspection = inspect(&file, path);
        let destinations = self.destinations()?;
        let misunderstood = environment.examine();
        let strict = self
            .strict
            .then(|| Strict::begin(&environment))
            .transpose()?;
        announce(&inspection, &mut environment);
        let reports = !destinations.is_empty();
        let directory = report_directory(&mut environment, reports)?;
        let failed = |error: io::Error| cannot_run(&file, &error, &inspection);
        let by_shell = inspection.by_shell;
        let image = Image::new(&file, &self.command, environment, by_shell).map_err(failed)?;
        let directory = directory.filter(|_| reports);
        if directory.is_none() && strict.is_none() {
            return Err(failed(image.execute()));
        }
        let status = image.run().map_err(failed)?.map_err(cannot_wait)?;
        let Some(directory) = directory else {
            let guard = strict.map(|strict| strict.seen(&Report::default()));
            if let Some(guarded) = guard.filter(|guarded| !guarded.refusals.is_empty()) {
                output::note(&strict::text(&guarded));
            }
            return Ok(Ended::from(status).exit_status);
        };
        let report = directory.read().unwrap_or_else(|error| {
            unreadable(&error).show();
            Report::default()
        });
        let guard = strict.map(|strict| strict.seen(&report));
        Ok(destinations.write(&Outcome {
            schema: SCHEMA,
            version: env!("CARGO_PKG_VERSION"),
            command: words(&self.command),
            ended: Ended::from(status),
            conclusion: Conclusion::of(&report, &inspection.unseen),
            unseen: unseen(inspection.unseen, &report.total.unseen),
            guard,
            misunderstood,
            report,
        }))
    }

    fn environment(&self, library: &Path) -> Environment {
        let mut environment = self.shim.environment(library);
        if let Some(flush) = &self.flush {
            environment.set("DAXSHIM_FLUSH", flush);
        }
        environment
    }

    fn destinations(&self) -> Result<Destinations, Failure> {
        let wanted = [
            (&self.report, Content::Text),
            (&self.json, Content::Document),
        ];
        let [text, json] = Destination::all(wanted, &self.command)?;
        Ok(Destinations { text, json })
    }
}

struct Destinations {
    text: Option<Destination>,
    json: Option<Destination>,
}

impl Destinations {
    fn is_empty(&self) -> bool {
        self.text.is_none() && self.json.is_none()
    }

    /// Writes the report wherever it is wanted; the exit status.
    fn write(self, outcome: &Outcome) -> u8 {
        let json = self.json.map(|to| to.write(&outcome.json()));
        let text = self.text.map(|to| to.write(&text::text(outcome)));
        let written = [json, text].into_iter().flatten();
        Failure::after_writing(outcome.ended.exit_status, written)
    }
}

/// Where the processes report, set in their environment. The user's own directory is only looked
/// at if no report was asked for.
fn report_directory(
    environment: &mut Environment,
    wanted: bool,
) -> Result<Option<ReportDirectory>, Failure> {
    let own = environment.get(directory::VARIABLE);
    let own = own.filter(|path| !path.is_empty()).map(PathBuf::from);
    let mut found = None;
    if let Some(path) = own {
        match ReportDirectory::of_user(&path) {
            Ok(directory) => found = Some(directory),
            Err(error) => {
                let instead = if wanted {
                    "a temporary directory is used instead"
                } else {
                    "processes will leave no report"
                };
                warn_unusable(&path, &error, instead);
                environment.remove(directory::VARIABLE);
            }
        }
    }
    if wanted && found.is_none() {
        found = Some(ReportDirectory::temporary()?);
    }
    if let Some(directory) = &found {
        // Absolute: the program may change its directory.
        environment.set(directory::VARIABLE, directory.path());
    }
    Ok(found)
}

fn unreadable(error: &io::Error) -> Failure {
    Failure::own(
        "cannot read what the processes reported".into(),
        error,
        "did something remove the report directory while the program ran?",
    )
}
