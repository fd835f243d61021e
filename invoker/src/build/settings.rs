//! Settings of a build, from the environment.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    time::Duration,
};

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(600);
const DEFAULT_MAX_BYTES: u64 = 1 << 30;
const DEFAULT_MAX_FILES: u64 = 100_000;

/// What the environment says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Settings {
    /// The folder with the inputs.
    pub(super) source: PathBuf,
    /// The folder to install into.
    pub(super) target: PathBuf,
    /// How long all of it may take.
    pub(super) timeout: Duration,
    /// What the result may be.
    pub(super) bounds: Bounds,
    /// The Python that has pip.
    pub(super) python: OsString,
    /// The build runs beside others on somebody's machine, and not in a container of its own.
    pub(super) shares_home: bool,
}

/// The most that a result may be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Bounds {
    pub(crate) bytes: u64,
    /// Files, folders and links.
    pub(crate) files: u64,
}

/// A variable that cannot be used.
#[derive(Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum SettingsError {
    /// No folder to install into.
    #[error("FERMATA_TARGET is not given; it must be the folder to install into")]
    NoTarget,
    /// A folder that depends on where the build runs.
    #[error("FERMATA_TARGET is {0:?}; it must be an absolute path")]
    RelativeTarget(PathBuf),
    /// A number that is none, or out of range.
    #[error("{name} is {value:?}; it must be a whole number from 1 to {most}")]
    Number {
        /// The variable.
        name: &'static str,
        /// What it says.
        value: String,
        /// The largest possible value.
        most: u64,
    },
}

// === impl Settings ===

impl Settings {
    /// Reads the settings through a function that looks variables up. An empty variable counts as
    /// not given.
    pub(super) fn read(variable: impl Fn(&str) -> Option<OsString>) -> Result<Self, SettingsError> {
        let given = |name: &str| variable(name).filter(|value| !value.is_empty());
        let number = |name: &'static str, most: u64| {
            let Some(value) = given(name) else {
                return Ok(None);
            };
            let value = value.to_string_lossy().into_owned();
            match value.trim().parse() {
                Ok(number) if (1..=most).contains(&number) => Ok(Some(number)),
                _ => Err(SettingsError::Number { name, value, most }),
            }
        };
        let root = given("FERMATA_ROOT");
        let target = PathBuf::from(given("FERMATA_TARGET").ok_or(SettingsError::NoTarget)?);
        let Ok(rest) = target.strip_prefix("/") else {
            return Err(SettingsError::RelativeTarget(target));
        };
        Ok(Self {
            source: given("FERMATA_SOURCE").unwrap_or_else(|| ".".into()).into(),
            target: Path::new(root.as_deref().unwrap_or("/".as_ref())).join(rest),
            timeout: number("FERMATA_BUILD_TIMEOUT", 86_400)?
                .map_or(DEFAULT_TIMEOUT, Duration::from_secs),
            bounds: Bounds {
                bytes: number("FERMATA_BUILD_MAX_BYTES", 1 << 50)?.unwrap_or(DEFAULT_MAX_BYTES),
                files: number("FERMATA_BUILD_MAX_FILES", 1 << 40)?.unwrap_or(DEFAULT_MAX_FILES),
            },
            python: given("FERMATA_PYTHON").unwrap_or_else(|| "python3".into()),
            shares_home: root.is_some(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Settings, SettingsError> {
        Settings::read(|name| {
            let found = variables.iter().find(|(given, _)| *given == name);
            found.map(|(_, value)| OsString::from(value))
        })
    }

    #[test]
    fn the_target_stands_below_the_root() {
        let target = ("FERMATA_TARGET", "/dependencies");
        let settings = read(&[target, ("FERMATA_ROOT", "/state/root")]).unwrap();
        assert_eq!(settings.target, Path::new("/state/root/dependencies"));
        assert!(settings.shares_home);
        let settings = read(&[target]).unwrap();
        assert_eq!(settings.target, Path::new("/dependencies"));
        assert_eq!(settings.timeout, Duration::from_secs(600));
        assert!(!settings.shares_home);
    }

    #[test]
    fn a_bad_value_is_named_with_what_it_must_be() {
        let target = ("FERMATA_TARGET", "/t");
        let errors = [
            read(&[]),
            read(&[("FERMATA_TARGET", "t")]),
            read(&[target, ("FERMATA_BUILD_TIMEOUT", "10m")]),
            read(&[target, ("FERMATA_BUILD_MAX_BYTES", "0")]),
        ]
        .map(|result| result.unwrap_err().to_string());
        let parts = ["is not given", "absolute", "BUILD_TIMEOUT", "MAX_BYTES"];
        for (error, part) in errors.iter().zip(parts) {
            assert!(error.contains(part), "{error}");
        }
    }
}
