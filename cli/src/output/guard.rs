//! What the guard's commands say.

use std::collections::HashMap;

use daxshim_core::host::shown;
use daxshim_guard::Error;
use daxshim_guard::guard::{Pinned, State};
use daxshim_guard::hold::{Held, Place, place};
use daxshim_guard::kind::Kind;
use daxshim_guard::set::{Entry, Key, Refusal, flag};
use daxshim_guard::survey::Survey;
use serde::Serialize;

use super::{BAD, GOOD, ODD, counted, number, styled, table};

/// An error of the guard.
pub fn error(error: &Error) {
    super::failure(&error.what, &error.why, &error.help);
}

/// After `daxshim guard start`.
pub fn started(pinned: &Pinned) -> String {
    let kind = Kind::numbered(pinned.about.kind).map_or("?", Kind::word);
    let hooks = counted(pinned.hooks.len() as u64, "hook");
    format!("guard: started ({kind}, {hooks}), tested")
}

fn how(flags: u32) -> String {
    let mut words = vec![mode(flags)];
    if flags & flag::COMPAT != 0 {
        words.push("compat");
    }
    if flags & flag::DENY_READS != 0 {
        words.push("reads denied");
    }
    words.join(", ")
}

fn mode(flags: u32) -> &'static str {
    if flags & flag::AUDIT != 0 {
        "audit"
    } else {
        "enforce"
    }
}

/// A file that is held now.
pub fn held(path: &str, held: &Held) -> String {
    let already = if held.already { "held already" } else { "held" };
    let mut text = format!("{path}: {already} ({})", how(held.flags));
    if !held.writers.is_empty() {
        let writers: Vec<String> = held
            .writers
            .iter()
            .map(|holder| format!("{} ({})", holder.pid, holder.name))
            .collect();
        text += &format!(
            "; open for writing in {}, whose writes are refused from now on",
            writers.join(", ")
        );
    }
    text
}

/// A file that was let go.
pub fn released(path: &str, before: Option<&(Key, Entry)>) -> String {
    match before {
        Some((_, entry)) if entry.refused > 0 => format!(
            "{path}: let go; {} had been refused",
            counted(entry.refused, "call")
        ),
        Some(_) => format!("{path}: let go"),
        None => format!("{path}: not held"),
    }
}

/// The guard as it is shown.
#[derive(Debug, Serialize)]
pub struct Shown {
    state: &'static str,
    kind: Option<&'static str>,
    hooks: Vec<&'static str>,
    missing: Vec<&'static str>,
    files: Vec<ShownFile>,
    refused: u64,
    refusals: Vec<ShownRefusal>,
    left: Vec<String>,
}

#[derive(Debug, Serialize)]
struct ShownFile {
    path: Option<String>,
    device: String,
    inode: u64,
    generation: u32,
    mode: &'static str,
    compat: bool,
    reads: &'static str,
    refused: u64,
    audited: u64,
    stale: Option<bool>,
    #[serde(skip)]
    how: String,
}

/// A refusal as it is shown.
#[derive(Clone, Debug, Serialize)]
pub struct ShownRefusal {
    /// Its number since the start of the guard.
    pub number: u64,
    /// Process.
    pub pid: u32,
    /// Thread.
    pub tid: u32,
    /// Its name.
    pub name: String,
    /// What was attempted.
    pub operation: Option<&'static str>,
    /// The system call.
    pub call: Option<&'static str>,
    /// The hook's own: request of ioctl(2), ia_valid, mask.
    pub detail: u32,
    /// It was let through.
    pub audited: bool,
    /// The file.
    pub path: Option<String>,
    /// Its device.
    pub device: String,
    /// Its inode.
    pub inode: u64,
}

/// Names files by their keys, asking for each once.
#[derive(Debug, Default)]
pub struct Places(HashMap<Key, Place>);

impl Places {
    fn of(&mut self, key: &Key) -> &Place {
        self.0.entry(*key).or_insert_with(|| place(key))
    }

    fn path(&mut self, key: &Key) -> Option<String> {
        match self.of(key) {
            Place::At(path) => Some(shown(path)),
            Place::Gone | Place::Unknown => None,
        }
    }
}

impl ShownRefusal {
    /// For people and documents.
    pub fn of(refusal: &Refusal, places: &mut Places) -> ShownRefusal {
        ShownRefusal {
            number: refusal.number.saturating_sub(1),
            pid: refusal.process(),
            tid: refusal.ids as u32,
            name: refusal.command(),
            operation: refusal
                .attempted()
                .map(daxshim_core::contract::Operation::word),
            call: syscalls::Sysno::new(refusal.call as usize).map(|call| call.name()),
            detail: refusal.detail,
            audited: refusal.audited != 0,
            path: places.path(&refusal.key),
            device: refusal.key.device_name(),
            inode: refusal.key.inode,
        }
    }

    fn row(&self) -> Vec<String> {
        let what = self.operation.unwrap_or("?");
        let by = self
            .call
            .map_or(String::new(), |call| format!(" by {call}"));
        let how = if self.audited { " (let through)" } else { "" };
        let file = self.path.clone();
        vec![
            format!("pid {}", self.pid),
            self.name.clone(),
            format!("{what}{by}{how}"),
            file.unwrap_or_else(|| format!("inode {} on {}", self.inode, self.device)),
        ]
    }
}

/// Lines for refusals.
pub fn refusals(refusals: &[ShownRefusal]) -> String {
    table(refusals.iter().map(ShownRefusal::row).collect())
}

fn failed(errno: rustix::io::Errno) -> Error {
    Error::system(
        "cannot read the guard's maps",
        errno,
        "run as root; daxshim guard stop ends a guard that is damaged",
    )
}

impl Shown {
    /// What can be said of it.
    pub fn of(state: &State) -> Result<Shown, Error> {
        let mut shown_guard = Shown {
            state: "off",
            kind: None,
            hooks: Vec::new(),
            missing: Vec::new(),
            files: Vec::new(),
            refused: 0,
            refusals: Vec::new(),
            left: Vec::new(),
        };
        match state {
            State::Off => {}
            State::Half(left) => {
                shown_guard.state = "half";
                shown_guard.left = left.iter().map(|path| shown(path)).collect();
            }
            State::On(pinned) => shown_guard.fill(pinned).map_err(failed)?,
        }
        Ok(shown_guard)
    }

    fn fill(&mut self, pinned: &Pinned) -> Result<(), rustix::io::Errno> {
        let mut places = Places::default();
        self.state = if pinned.missing.is_empty() {
            "on"
        } else {
            "damaged"
        };
        self.kind = Kind::numbered(pinned.about.kind).map(Kind::word);
        self.hooks.clone_from(&pinned.hooks);
        self.missing.clone_from(&pinned.missing);
        for key in pinned.maps.keys()? {
            // It may have been let go meanwhile.
            let Some(entry) = pinned.maps.entry(&key)? else {
                continue;
            };
            self.files.push(ShownFile {
                path: places.path(&key),
                device: key.device_name(),
                inode: key.inode,
                generation: key.generation,
                mode: mode(entry.flags),
                compat: entry.flags & flag::COMPAT != 0,
                reads: if entry.flags & flag::DENY_READS == 0 {
                    "allow"
                } else {
                    "deny"
                },
                refused: entry.refused,
                audited: entry.audited,
                stale: match places.of(&key) {
                    Place::At(_) => Some(false),
                    Place::Gone => Some(true),
                    Place::Unknown => None,
                },
                how: how(entry.flags),
            });
        }
        self.refused = pinned.maps.count()?;
        let (refusals, _) = pinned.maps.refusals_since(0)?;
        self.refusals = refusals
            .iter()
            .map(|refusal| ShownRefusal::of(refusal, &mut places))
            .collect();
        Ok(())
    }

    /// Whether there is a guard that is whole.
    pub fn is_whole(&self) -> bool {
        self.state == "on"
    }
}

/// `daxshim guard status`
pub fn text(guard: &Shown) -> String {
    let state = match guard.state {
        "on" => styled(GOOD, "on"),
        "damaged" => styled(BAD, "damaged"),
        "half" => styled(BAD, "half removed"),
        _ => styled(ODD, "off"),
    };
    let mut text = format!("guard: {state}");
    if let Some(kind) = guard.kind {
        text += &format!(
            " ({kind}, {}), {} held",
            counted(guard.hooks.len() as u64, "hook"),
            counted(guard.files.len() as u64, "file")
        );
    }
    if !guard.missing.is_empty() {
        text += &format!(
            "\n  somebody removed {}: daxshim guard stop, then start it again",
            guard.missing.join(", ")
        );
    }
    if !guard.left.is_empty() {
        text += &format!(
            "\n  an interrupted start or stop left {}: daxshim guard stop removes it",
            guard.left.join(", ")
        );
    }
    let rows = guard.files.iter().map(|file| {
        let place = file.path.clone();
        let stale = if file.stale == Some(true) {
            ", stale: holds nobody"
        } else {
            ""
        };
        vec![
            place.unwrap_or_else(|| format!("inode {} on {}", file.inode, file.device)),
            format!("{}{stale}", file.how),
            if file.audited > 0 {
                format!(
                    "{} refused, {} let through",
                    number(file.refused),
                    number(file.audited)
                )
            } else {
                format!("{} refused", number(file.refused))
            },
        ]
    });
    let rows: Vec<_> = rows.collect();
    if !rows.is_empty() {
        text += &format!("\n\n{}", table(rows));
    }
    if !guard.refusals.is_empty() {
        let first = guard.refusals.len().saturating_sub(20);
        let last = guard.refusals.get(first..).unwrap_or_default();
        text += &format!(
            "\n\nrefusals: {}, the last {}:\n{}",
            number(guard.refused),
            last.len(),
            refusals(last)
        );
    }
    text
}

/// Whether a guard is possible, in a document.
#[derive(Serialize)]
pub struct Possible<'a> {
    state: Option<&'static str>,
    kind: &'static str,
    btf: bool,
    bpffs: bool,
    capable: bool,
    lockdown: Option<&'a str>,
    obstacle: Option<Obstacle<'a>>,
}

#[derive(Serialize)]
struct Obstacle<'a> {
    what: &'a str,
    why: &'a str,
    help: &'a str,
}

impl<'a> From<&'a Survey> for Possible<'a> {
    fn from(survey: &'a Survey) -> Possible<'a> {
        Possible {
            state: survey.state,
            kind: survey.kind.word(),
            btf: survey.btf,
            bpffs: survey.bpffs,
            capable: survey.capable,
            lockdown: survey.lockdown.as_deref(),
            obstacle: survey.obstacle.as_ref().map(|error| Obstacle {
                what: &error.what,
                why: &error.why,
                help: &error.help,
            }),
        }
    }
}

/// The same in a line.
pub fn possible(survey: &Survey) -> String {
    let kind = survey.kind.word();
    match (survey.state, &survey.obstacle) {
        (Some("on"), _) => "on: daxshim guard status shows it".into(),
        (Some("half"), _) => "half removed: daxshim guard stop removes the rest".into(),
        (None, _) => "there may be one: daxshim guard status, as root".into(),
        (_, None) => format!("not started; nothing is seen that forbids one ({kind})"),
        (_, Some(error)) => format!("{}: {}; {}", error.what, error.why, error.help),
    }
}

/// Whether a file is held.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct FileGuard {
    held: bool,
    mode: Option<&'static str>,
    refused: Option<u64>,
}

/// Asks the guard for a file; `None`: it can't be asked.
pub fn of_file(device: u64, inode: u64, generation: Option<u32>) -> Option<FileGuard> {
    let nobody = FileGuard {
        held: false,
        mode: None,
        refused: None,
    };
    let pinned = match daxshim_guard::guard::state() {
        Ok(State::On(pinned)) => pinned,
        Ok(State::Off | State::Half(_)) => return Some(nobody),
        Err(_) => return None,
    };
    let Some(generation) = generation else {
        return Some(nobody);
    };
    let entry = pinned
        .maps
        .entry(&Key::new(device, inode, generation))
        .ok()?;
    Some(entry.map_or(nobody, |entry| FileGuard {
        held: true,
        mode: Some(mode(entry.flags)),
        refused: Some(entry.refused),
    }))
}

/// The same in a line.
pub fn of_file_text(guard: Option<FileGuard>) -> String {
    match guard {
        None => "unknown: ask as root".into(),
        Some(FileGuard {
            held: true,
            mode: Some(mode),
            refused: Some(refused),
        }) => format!(
            "holds it ({mode}); {} refused so far",
            counted(refused, "call")
        ),
        Some(_) => "does not hold it".into(),
    }
}
