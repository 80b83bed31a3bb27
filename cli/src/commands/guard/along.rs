//! What `tag` and `untag` do along with a guard, where there is one.

use std::path::Path;

use daxshim_guard::Error;
use daxshim_guard::guard::{self, Lock, Pinned, State};
use daxshim_guard::hold::{self, Held, Holding};
use daxshim_guard::set::{Entry, Key};

use crate::output;

/// A guard, locked. `None`: there is none, or it can't be looked at, which is said where it matters.
pub struct Along {
    pinned: Pinned,
    _lock: Lock,
}

impl Along {
    /// Looks for one. Nothing is said where there is none, and no bpffs; nor to who may not set or clear
    /// tags that a guard could hold.
    pub fn find() -> Option<Along> {
        if !daxshim_core::host::capabilities().sys_admin || matches!(guard::state(), Ok(State::Off))
        {
            return None;
        }
        let found = Lock::take().and_then(|lock| {
            Ok(match guard::state()? {
                State::On(pinned) => Some(Along {
                    pinned: *pinned,
                    _lock: lock,
                }),
                State::Off | State::Half(_) => None,
            })
        });
        found.unwrap_or_else(|error| {
            output::warning(
                "there may be a guard, and it is left as it is",
                &format!("{}: {}", error.what, error.why),
                &error.help,
            );
            None
        })
    }

    /// Holds a file that has just been tagged.
    pub fn hold(&self, path: &Path) -> Result<Held, Error> {
        Holding::new(&self.pinned.maps, &[]).hold(path, self.pinned.about.flags)
    }

    /// Lets a file go that is to be untagged; how it was held, if it was. What is wrong with the path
    /// is left to `untag` to say.
    pub fn release(&self, path: &Path) -> Option<(Key, Entry)> {
        hold::release(&self.pinned.maps, path).ok().flatten()
    }

    /// Holds it as before: it could not be untagged.
    pub fn hold_again(&self, (key, entry): (Key, Entry)) {
        if let Err(errno) = self.pinned.maps.insert(&key, &entry) {
            output::warning(
                "the file is not held any more",
                &errno.to_string(),
                "daxshim guard add holds it again",
            );
        }
    }
}
