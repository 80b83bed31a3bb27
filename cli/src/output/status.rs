//! What `status` shows.

use daxshim_core::host::{Condition, ExtentState, Holders, Status, shown};

use super::guard::{FileGuard, of_file_text};
use super::tagging::word;
use super::{BAD, GOOD, ODD, bytes, counted, styled, table};

/// A file, a line for each thing.
pub fn text(status: &Status, guard: Option<FileGuard>) -> String {
    let mut rows: Vec<Vec<String>> = Vec::new();
    let mut row = |label: &str, value: String| rows.push(vec![label.into(), value]);
    row("tag", tag(status));
    row(
        "inode",
        match status.generation {
            Some(generation) => format!("{}, generation {generation}", status.inode),
            None => status.inode.to_string(),
        },
    );
    row(
        "size",
        format!("{} ({} bytes)", bytes(status.size), status.size),
    );
    row("DAX", dax(status));
    if let Some(mount) = &status.dax.mount {
        let option = match &mount.dax {
            Some(option) => format!(", dax={option}"),
            None => String::new(),
        };
        row(
            "filesystem",
            format!(
                "{} on {} ({}{option})",
                mount.filesystem,
                shown(&mount.point),
                mount.source
            ),
        );
    }
    row("extents", extents(&status.extents));
    // Of what carries no tag there is nothing to say.
    if status.tag.is_some() {
        row("guard", of_file_text(guard));
    }
    for (label, value) in holders(&status.holders) {
        row(&label, value);
    }
    format!("{}\n{}", shown(&status.path), table(rows))
}

fn tag(status: &Status) -> String {
    let Some(tag) = &status.tag else {
        return "untagged".into();
    };
    let (style, state) = match tag.condition {
        Condition::Tagged => (GOOD, "tagged"),
        Condition::Broken => (BAD, "tagged, but broken: every sync goes to the kernel"),
        Condition::Stale | Condition::Malformed => (ODD, "untagged"),
    };
    let mut text = styled(style, state);
    if !tag.binds() {
        text += &format!(
            ": {} carries a {} value",
            tag.attribute,
            word(tag.condition)
        );
    } else if tag.emulated {
        text += ", emulated (honoured with DAXSHIM_EMULATE=1)";
    }
    if let Some(reason) = &tag.reason {
        text += &format!("; {reason}");
    }
    text
}

fn dax(status: &Status) -> String {
    let flag = match status.dax.flag {
        Some(true) => "FS_XFLAG_DAX set",
        Some(false) => "FS_XFLAG_DAX not set",
        None => "no FS_XFLAG_DAX here",
    };
    let active = if status.dax.active {
        styled(GOOD, "active")
    } else {
        "not active".into()
    };
    let nodefrag = if status.dax.nodefrag == Some(true) {
        ", FS_XFLAG_NODEFRAG set"
    } else {
        ""
    };
    format!("{active}, {flag}{nodefrag}")
}

fn extents(extents: &ExtentState) -> String {
    let mut text = match extents.count {
        Some(count) => counted(count, "extent"),
        None => "this filesystem does not tell its extents".into(),
    };
    if extents.huge > 0 {
        text += &format!(", {} laid out for 2 MiB pages", bytes(extents.huge));
    }
    match extents.match_tag {
        Some(true) => text += ", as tagged",
        Some(false) => text += &styled(BAD, ", not as tagged"),
        None => {}
    }
    if let Some(defect) = &extents.defect {
        text += &format!(
            "; {} at offset {}, {} bytes long: not fit for a tag",
            defect.flaw.word(),
            defect.offset,
            defect.length
        );
    }
    text
}

fn holders(holders: &Holders) -> Vec<(String, String)> {
    let mut rows = Vec::new();
    for holder in &holders.known {
        let mut how = Vec::new();
        if holder.open {
            how.push(if holder.writes {
                "open for writing"
            } else {
                "open"
            });
        }
        if holder.mapped {
            how.push(match holder.sync {
                Some(true) => "mapped with MAP_SYNC",
                Some(false) => "mapped without MAP_SYNC",
                None => "mapped",
            });
        }
        rows.push((
            "used by".into(),
            format!("{} ({}): {}", holder.pid, holder.name, how.join(", ")),
        ));
    }
    for device in &holders.loops {
        rows.push(("used by".into(), device.clone()));
    }
    if !holders.unseen.is_empty() {
        rows.push((
            "not seen".into(),
            format!(
                "{} that could not be looked at may use it",
                counted_processes(holders.unseen.len())
            ),
        ));
    }
    if rows.is_empty() {
        rows.push(("used by".into(), "nobody".into()));
    }
    rows
}

fn counted_processes(count: usize) -> String {
    match count {
        1 => "1 process".into(),
        _ => format!("{count} processes"),
    }
}
