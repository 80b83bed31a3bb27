//! Whether a cheaper sync policy would be safe: of a file that a program syncs by msync and by fsync, whether
//! one of them could be left out.

use daxshim_core::host::check::{ShadowFile, Syncs};
use daxshim_core::host::shown;
use serde::Serialize;

use crate::output::number;

/// How a file was synced.
#[derive(Clone, Debug, Serialize)]
pub struct Policy {
    /// The file.
    pub file: String,
    /// By msync and libpmem.
    pub msync: Calls,
    /// By fsync, fdatasync, sync and syncfs.
    pub fsync: Calls,
    /// What could be left out.
    pub conclusion: Conclusion,
}

/// Calls of a kind.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Calls {
    /// All of them.
    pub calls: u64,
    /// Those that made lines durable.
    pub needed: u64,
    /// Those that found nothing dirty; the rest was not compared.
    pub idle: u64,
}

impl From<Syncs> for Calls {
    fn from(syncs: Syncs) -> Calls {
        Calls {
            calls: syncs.calls,
            needed: syncs.needed,
            idle: syncs.idle,
        }
    }
}

impl Calls {
    fn is_idle(self) -> bool {
        self.calls == self.idle
    }
}

/// What could be left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Conclusion {
    /// No fsync found anything dirty.
    NoFsync,
    /// No msync found anything dirty.
    NoMsync,
    /// Both kinds made something durable.
    Both,
    /// Not all of them were compared.
    Unknown,
}

impl Conclusion {
    fn of(msync: Calls, fsync: Calls) -> Option<Conclusion> {
        (msync.calls > 0 && fsync.calls > 0).then_some(if fsync.is_idle() {
            Conclusion::NoFsync
        } else if msync.is_idle() {
            Conclusion::NoMsync
        } else if fsync.needed > 0 && msync.needed > 0 {
            Conclusion::Both
        } else {
            Conclusion::Unknown
        })
    }
}

impl Policy {
    /// `None` where there is nothing to choose between.
    pub fn of(shadow: &ShadowFile) -> Option<Policy> {
        let (msync, fsync) = (Calls::from(shadow.msyncs), Calls::from(shadow.fsyncs));
        Some(Policy {
            file: shown(&shadow.path),
            msync,
            fsync,
            conclusion: Conclusion::of(msync, fsync)?,
        })
    }

    /// A line of the summary.
    pub fn text(&self) -> String {
        let (msync, fsync) = (self.msync, self.fsync);
        let said = match self.conclusion {
            Conclusion::NoFsync => format!(
                "none of {} found a dirty line: msync suffices, and on a tagged file fsync can be left out",
                calls(fsync, "fsync")
            ),
            Conclusion::NoMsync => format!(
                "none of {} found a dirty line: fsync suffices, and msync can be left out",
                calls(msync, "msync")
            ),
            Conclusion::Both => format!(
                "{} of {} and {} of {} made lines durable: both are needed",
                number(fsync.needed),
                calls(fsync, "fsync"),
                number(msync.needed),
                calls(msync, "msync"),
            ),
            Conclusion::Unknown => format!(
                "{} of {} and {} of {} were compared: --exact says whether one can be left out",
                number(fsync.needed + fsync.idle),
                calls(fsync, "fsync"),
                number(msync.needed + msync.idle),
                calls(msync, "msync"),
            ),
        };
        format!("sync policy of {}: {said}", self.file)
    }
}

fn calls(of: Calls, name: &str) -> String {
    let plural = if of.calls == 1 { "" } else { "s" };
    format!("{} {name} call{plural}", number(of.calls))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conclusion(msync: (u64, u64, u64), fsync: (u64, u64, u64)) -> Option<Conclusion> {
        let syncs = |(calls, needed, idle)| Calls {
            calls,
            needed,
            idle,
        };
        Conclusion::of(syncs(msync), syncs(fsync))
    }

    #[test]
    fn a_call_is_left_out_only_if_each_of_them_was_idle() {
        assert_eq!(conclusion((3, 3, 0), (2, 0, 2)), Some(Conclusion::NoFsync));
        assert_eq!(conclusion((3, 0, 3), (2, 2, 0)), Some(Conclusion::NoMsync));
        assert_eq!(conclusion((3, 1, 2), (2, 1, 1)), Some(Conclusion::Both));
        // One of them was not compared.
        assert_eq!(conclusion((3, 3, 0), (2, 0, 1)), Some(Conclusion::Unknown));
        assert_eq!(conclusion((3, 3, 0), (0, 0, 0)), None);
        assert_eq!(conclusion((0, 0, 0), (2, 2, 0)), None);
    }
}
