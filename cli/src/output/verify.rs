//! What `verify` shows.

use daxshim_core::host::{Verification, shown};

use super::{BAD, GOOD, styled, table};

/// A file, a line for each check.
pub fn text(verification: &Verification) -> String {
    let rows = verification
        .checks
        .iter()
        .map(|check| {
            let mark = if check.passed {
                styled(GOOD, "ok    ")
            } else {
                styled(BAD, "FAILED")
            };
            vec![mark, check.name.into(), check.detail.clone()]
        })
        .collect();
    let verdict = if verification.passed {
        "every check passed"
    } else {
        "not to be trusted"
    };
    format!("{}: {verdict}\n{}", shown(&verification.path), table(rows))
}
