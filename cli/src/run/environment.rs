//! The program's environment: what is there, and what the options say.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use daxshim_core::config::{Config, FlushPolicy};

use super::{named, warn};

/// An environment under way to a program.
#[derive(Clone)]
pub struct Environment(Vec<(OsString, OsString)>);

impl Environment {
    /// The command's own.
    pub fn inherited() -> Environment {
        Environment(std::env::vars_os().collect())
    }

    /// The value of a variable.
    pub fn get(&self, name: &str) -> Option<&OsStr> {
        let found = self.0.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_os_str())
    }

    /// Sets a variable.
    pub fn set(&mut self, name: &str, value: impl Into<OsString>) {
        self.0.retain(|(known, _)| known != name);
        self.0.push((name.into(), value.into()));
    }

    /// Removes a variable.
    pub fn remove(&mut self, name: &str) {
        self.0.retain(|(known, _)| known != name);
    }

    /// `NAME=VALUE` each.
    pub fn into_strings(self) -> Vec<OsString> {
        let join = |(mut name, value): (OsString, OsString)| {
            name.push("=");
            name.push(value);
            name
        };
        self.0.into_iter().map(join).collect()
    }

    /// Reads it as the library will, says what will not be understood, and returns the names of
    /// such variables.
    pub fn examine(&self) -> Vec<String> {
        let (config, misunderstood) = Config::read(|name| {
            let value = self.get(name.to_str().ok()?)?;
            Some(value.as_bytes())
        });
        for variable in misunderstood.iter() {
            let name = variable.name().to_string_lossy();
            let value = self.get(&name).map(named).unwrap_or_default();
            warn(
                &format!("{name}={value} is not understood; its default is used"),
                &format!("its values are {}", variable.values()),
                "correct it or unset it",
            );
        }
        if config.flush == FlushPolicy::None {
            warn(
                "nothing will be durable",
                "DAXSHIM_FLUSH=none: msync on sync mappings does nothing",
                "use it to measure what flushes cost, never on data that matters",
            );
        }
        misunderstood
            .iter()
            .map(|variable| variable.name().to_string_lossy().into_owned())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_is_there_once() {
        let mut environment = Environment(vec![("A".into(), "1".into()), ("A".into(), "2".into())]);
        environment.set("A", "3");
        environment.set("B", "");
        environment.remove("C");
        assert_eq!(environment.get("A"), Some(OsStr::new("3")));
        assert_eq!(environment.into_strings(), ["A=3", "B="]);
    }
}
