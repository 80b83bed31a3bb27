//! What `prepare` says.

use daxshim_core::host::{DaxOutcome, Prepared};

use super::{bytes, counted};

/// After `daxshim prepare`.
pub fn text(path: &str, prepared: &Prepared) -> String {
    let mut text = format!(
        "{path}: {}, {}",
        if prepared.created {
            "created"
        } else if prepared.written == 0 {
            "already fit for a tag"
        } else {
            "prepared"
        },
        bytes(prepared.size)
    );
    if prepared.extents > 0 {
        text += &format!(" in {}", counted(prepared.extents, "extent"));
    }
    if prepared.written > 0 && !prepared.created {
        text += &format!(", {} written", bytes(prepared.written));
    }
    if prepared.dax == DaxOutcome::Active {
        text += ", DAX";
        if prepared.huge > 0 {
            text += &format!(", {} laid out for 2 MiB pages", bytes(prepared.huge));
        }
    }
    text
}
