//! `daxshim check`

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use daxshim_core::check::{Code, Level};
use daxshim_core::host::check::{Checked, ShadowFile};
use daxshim_core::host::report::Report;
use daxshim_core::host::shown;

use super::options::{ShimOptions, WatchOptions};
use crate::check::finding::{Finding, Findings, SCHEMA};
use crate::check::policy::Policy;
use crate::check::suppress::{Suppressions, generate};
use crate::check::{assemble, sarif, text};
use crate::output::{self, note};
use crate::run::destination::{Content, Destination};
use crate::run::directory::{self, ReportDirectory};
use crate::run::launch::Image;
use crate::run::outcome::Ended;
use crate::run::program::{announce, cannot_run, inspect, unseen};
use crate::run::{FAILED, Failure, cannot_wait, library, lookup, program_of, watching, words};

/// Run a program and report what it does wrong with its persistent memory
///
/// Finds stores that were never synced, syncs of the wrong range, answers that were given before the
/// data was durable, refused operations, and facts about its mappings, each with the call stack.
/// `daxshim explain CODE` says more about each. Watched are tagged files, files on DAX that are
/// mapped shared, and with --watch any others.
#[derive(Args)]
#[command(after_long_help = AFTER_HELP)]
pub struct Check {
    #[command(flatten)]
    shim: ShimOptions,

    #[command(flatten)]
    watching: WatchOptions,

    /// Keep what is durable of the files in a directory here, instead of in memory
    #[arg(long, value_name = "DIR")]
    scratch: Option<PathBuf>,

    /// Compare at each sync, however long that takes; without it large ranges are compared as often as
    /// a thirty-second part of the run time allows
    #[arg(long)]
    exact: bool,

    /// Also tell who stored first to what was never synced: write-protects pages and unprotects each at
    /// its first store after a sync, for a quarter of the run time at most (or --exact)
    #[arg(long)]
    blame: bool,

    /// Write the findings as a JSON document (docs/json.md); - is standard output
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,

    /// Write the findings as SARIF 2.1.0; - is standard output
    #[arg(long, value_name = "FILE")]
    sarif: Option<PathBuf>,

    /// Whose sources SARIF points to: those below this directory [default: the working directory]
    #[arg(long, value_name = "DIR")]
    source_root: Option<PathBuf>,

    /// Leave out what this file suppresses
    #[arg(long, value_name = "FILE")]
    suppressions: Vec<PathBuf>,

    /// Write a file that suppresses what was found; - is standard output
    #[arg(long, value_name = "FILE")]
    gen_suppressions: Option<PathBuf>,

    /// Which findings give exit status 1: a level and above (error, warning, note), codes, or never
    #[arg(long, value_name = "WHAT", default_value = "warning", value_delimiter = ',', value_parser = threshold)]
    fail_on: Vec<Threshold>,

    /// Exit as the program did even if it mapped nothing that could be watched, or nothing that a --watch pattern
    /// names; without this, 125
    #[arg(long)]
    allow_nothing: bool,

    /// The program and its arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "CMD")]
    command: Vec<OsString>,
}

const AFTER_HELP: &str = "\
Findings go to standard error. Exit status: 1 if there are findings as --fail-on says, that are not
suppressed; else the program's, 128+N if signal N ended it, 127 if it is not found, 126 if it cannot be
executed, 125 if daxshim itself fails or is used wrongly, or if nothing was watched.

Of each watched file an eighth of its size goes to memory (/dev/shm), and where there is no room to TMPDIR, or all of
it where --scratch says.

Examples:
  daxshim check --watch shared -- ./tests
  daxshim check --watch '*.db' --setup 'rm -f test.db' -- python3 app.py test.db
  daxshim check -- ./server /mnt/pmem/data
  daxshim check --emulate --exact -- python3 app.py /dev/shm/data
  daxshim check --blame -- ./server /mnt/pmem/data
  daxshim check --sarif check.sarif --fail-on error,DAX008 -- ./tests
  daxshim check --gen-suppressions known.toml -- ./tests
  daxshim check --suppressions known.toml -- ./tests";

/// What `--fail-on` names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Threshold {
    Level(Level),
    Code(Code),
    Never,
}

fn threshold(word: &str) -> Result<Threshold, String> {
    let level = Level::ALL.into_iter().find(|level| level.word() == word);
    if let Some(level) = level {
        return Ok(Threshold::Level(level));
    }
    match Code::parse(word) {
        Some(code) => Ok(Threshold::Code(code)),
        None if word == "never" => Ok(Threshold::Never),
        None => Err("neither error, warning, note or never, nor a code".into()),
    }
}

impl Threshold {
    fn is_reached_by(self, finding: &Finding) -> bool {
        match self {
            Threshold::Level(level) => finding.level >= level,
            Threshold::Code(code) => finding.code == code,
            Threshold::Never => false,
        }
    }
}

impl Check {
    pub fn execute(self) -> ExitCode {
        Failure::exit_code(self.start())
    }

    fn start(self) -> Result<u8, Failure> {
        let mut environment = self.shim.environment(&library::find()?);
        environment.set("DAXSHIM_CHECK", if self.exact { "exact" } else { "1" });
        environment.set("DAXSHIM_BLAME", if self.blame { "1" } else { "0" });
        self.watching.set(&mut environment)?;
        let name = program_of(&self.command, "check")?;
        let path = environment.get("PATH");
        let file = lookup::find(name, path)?;
        let inspection = inspect(&file, path);
        let suppressions = self
            .suppressions
            .iter()
            .map(|path| Suppressions::read(path));
        let suppressions: Vec<Suppressions> = suppressions.collect::<Result<_, _>>()?;
        let destinations = self.destinations()?;
        let source_root = self.source_root()?;
        environment.examine();
        announce(&inspection, &mut environment);
        let directory = match &self.scratch {
            None => ReportDirectory::temporary()?.with_spill(),
            chosen => ReportDirectory::temporary_in(chosen.as_deref())?,
        };
        environment.set(directory::VARIABLE, directory.path());
        let failed = |error: std::io::Error| cannot_run(&file, &error, &inspection);
        let by_shell = inspection.by_shell;
        let image = Image::new(&file, &self.command, environment, by_shell).map_err(failed)?;
        let before = self.watching.begin(&self.command)?;
        let ran = image.run();
        if ran.is_err() {
            before.put_back(None);
        }
        let status = ran.map_err(failed)?;
        let report = directory.read().unwrap_or_else(|_| Report::default());
        let checked = Checked::read(directory.path()).map_err(unreadable);
        let names = checked.as_ref().map(watched).unwrap_or_default();
        if let Some(spilled) = directory.spilled() {
            note(&format!(
                "what is durable of a file was kept in {}, as there was no room in {} (--scratch chooses)",
                shown(spilled),
                shown(directory.path())
            ));
        }
        let checked = checked.inspect_err(|_| {
            before.put_back(None);
        })?;
        let unseen = unseen(inspection.unseen, &report.total.unseen);
        let (mut findings, limits) = assemble::findings(&checked, &report, &unseen);
        let used = checked
            .shadows
            .iter()
            .filter(|shadow| before.is_used(&shadow.path));
        assemble::doubt_redundant(&mut findings, &used.map(|of| shown(&of.path)).collect());
        // Once the files were compared.
        let is_restored = before.put_back(Some(&names));
        let status = status.map_err(cannot_wait)?;
        let ended = Ended::from(status);
        for finding in &mut findings {
            let covered = suppressions.iter().filter(|known| known.cover(finding));
            finding.suppressed = covered.count() > 0;
        }
        let unused = suppressions.iter().flat_map(Suppressions::unused);
        let fails = findings.iter().any(|finding| {
            let reached = |threshold: &Threshold| threshold.is_reached_by(finding);
            !finding.suppressed && self.fail_on.iter().any(reached)
        });
        let is_nothing = text::is_nothing(&names, &limits);
        let paths = checked.shadows.iter().map(|shadow| shadow.path.clone());
        let unmatched = watching::unmatched(&self.watching.watch, &paths.collect::<Vec<PathBuf>>());
        let is_green = self.allow_nothing || !is_nothing && unmatched.is_empty();
        let decides = !is_green && !fails && ended.exit_status == 0;
        if !is_nothing {
            watching::warn_unmatched(
                &unmatched,
                decides,
                "--allow-nothing takes that for success",
            );
        }
        Ok(destinations.write(&Findings {
            schema: SCHEMA,
            version: env!("CARGO_PKG_VERSION"),
            command: words(&self.command),
            ended,
            exit_status: match ended.exit_status {
                _ if fails => 1,
                0 if !is_green || !is_restored => FAILED,
                status => status,
            },
            findings,
            watched: names,
            unused_suppressions: unused.map(str::to_owned).collect(),
            syncs: checked.shadows.iter().any(is_synced),
            watch: self.watching.words(),
            allow_nothing: self.allow_nothing,
            source_root,
            limits,
            policies: checked.shadows.iter().filter_map(Policy::of).collect(),
        }))
    }

    fn source_root(&self) -> Result<PathBuf, Failure> {
        let Some(root) = &self.source_root else {
            return Ok(std::env::current_dir().unwrap_or_default());
        };
        let found = root.canonicalize().and_then(|real| match real.is_dir() {
            true => Ok(real),
            false => Err(std::io::ErrorKind::NotADirectory.into()),
        });
        found.map_err(|error| {
            Failure::own(
                format!("cannot use --source-root {}; nothing was run", shown(root)),
                error,
                "name the directory that holds the sources",
            )
        })
    }

    fn destinations(&self) -> Result<Destinations, Failure> {
        let wanted = [&self.json, &self.sarif, &self.gen_suppressions];
        let wanted = wanted.map(|path| (path, Content::Document));
        let [json, sarif, suppressions] = Destination::all(wanted, &self.command)?;
        Ok(Destinations {
            json,
            sarif,
            suppressions,
        })
    }
}

fn is_synced(shadow: &ShadowFile) -> bool {
    shadow.msyncs.calls + shadow.fsyncs.calls > 0
}

/// A file that was mapped in several sizes has several shadows.
fn watched(checked: &Checked) -> Vec<String> {
    let paths = checked.shadows.iter().map(|shadow| shown(&shadow.path));
    let mut watched: Vec<String> = paths.collect();
    watched.dedup();
    watched
}

struct Destinations {
    json: Option<Destination>,
    sarif: Option<Destination>,
    suppressions: Option<Destination>,
}

impl Destinations {
    /// Writes the findings wherever they are wanted; the exit status.
    fn write(self, findings: &Findings) -> u8 {
        let text = text::text(findings);
        let shown: Vec<Finding> = findings
            .findings
            .iter()
            .filter(|finding| !finding.suppressed)
            .cloned()
            .collect();
        let written = [
            Destination::open("-".as_ref(), Content::Text).and_then(|to| to.write(&text)),
            write(self.json, || output::document(findings)),
            write(self.sarif, || sarif::sarif(findings)),
            write(self.suppressions, || generate(&shown)),
        ];
        Failure::after_writing(findings.exit_status, written)
    }
}

fn write(to: Option<Destination>, text: impl FnOnce() -> String) -> Result<(), Failure> {
    to.map_or(Ok(()), |to| to.write(&text()))
}

fn unreadable(error: std::io::Error) -> Failure {
    Failure::own(
        "cannot read what the processes found".into(),
        error,
        "did something remove the report directory while the program ran?",
    )
}
