//! What `tag` and `untag` say.

use daxshim_core::host::{Condition, TagState, Tagged, Untagged};

use super::{bytes, counted};

/// The word for a tag's condition.
pub fn word(condition: Condition) -> &'static str {
    match condition {
        Condition::Tagged => "valid",
        Condition::Broken => "broken",
        Condition::Stale => "stale",
        Condition::Malformed => "malformed",
    }
}

fn with_reason(tag: &TagState) -> String {
    let emulated = if tag.emulated { " emulated" } else { "" };
    match &tag.reason {
        Some(reason) => format!("{}{emulated} tag ({reason})", word(tag.condition)),
        None => format!("{}{emulated} tag", word(tag.condition)),
    }
}

/// After `daxshim tag`.
pub fn tagged(path: &str, tagged: &Tagged) -> String {
    let emulated = if tagged.emulated { ", emulated" } else { "" };
    if tagged.already {
        return format!("{path}: already tagged{emulated}");
    }
    let mut text = format!("{path}: tagged{emulated}, {}", bytes(tagged.size));
    if tagged.extents > 0 {
        text += &format!(" in {}", counted(tagged.extents, "extent"));
    }
    if tagged.set_dax {
        text += ", FS_XFLAG_DAX set";
    }
    if let Some(before) = &tagged.replaced {
        text += &format!("; replaced a {}", with_reason(before));
    }
    text
}

/// After `daxshim untag`.
pub fn untagged(path: &str, untagged: &Untagged) -> String {
    if untagged.removed.is_empty() {
        return format!("{path}: not tagged");
    }
    let removed: Vec<String> = untagged.removed.iter().map(with_reason).collect();
    format!("{path}: untagged; removed a {}", removed.join(" and a "))
}
