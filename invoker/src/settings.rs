//! Settings, from the environment.

use std::{
    ffi::OsString,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    num::NonZeroUsize,
};

const DEFAULT_PORT: u16 = 8080;
const DEFAULT_MAX_BODY: usize = 16 * 1024 * 1024;

/// More than this would not fit into a frame of the worker protocol with its head.
const LARGEST_MAX_BODY: usize = 1024 * 1024 * 1024;

/// What the environment says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Settings {
    /// Where requests are taken.
    pub(crate) address: SocketAddr,
    /// What to call; none if it is not given.
    pub(crate) handler: Option<String>,
    /// Most calls at once; none if it is not given.
    pub(crate) concurrency: Option<NonZeroUsize>,
    /// Most bytes of a request's body.
    pub(crate) max_body: usize,
    /// The Python to run.
    pub(crate) python: OsString,
    /// The Node.js to run.
    pub(crate) node: OsString,
}

/// A variable with a value that cannot be used.
#[derive(Debug, Eq, PartialEq, thiserror::Error)]
#[error("{name} is {value:?}; it must be {wanted}")]
pub(crate) struct SettingsError {
    name: &'static str,
    value: String,
    wanted: &'static str,
}

// === impl Settings ===

impl Settings {
    /// Reads the settings through a function that looks variables up. An empty variable counts as
    /// not given.
    pub(crate) fn read(variable: impl Fn(&str) -> Option<OsString>) -> Result<Self, SettingsError> {
        let given = |name: &str| variable(name).filter(|value| !value.is_empty());
        let text = |name| given(name).map(|value| value.to_string_lossy().into_owned());
        let number = |name: &'static str, wanted, within: std::ops::RangeInclusive<usize>| {
            let Some(value) = text(name) else {
                return Ok(None);
            };
            match value
                .trim()
                .parse()
                .ok()
                .filter(|value| within.contains(value))
            {
                Some(number) => Ok(Some(number)),
                None => Err(SettingsError {
                    name,
                    value,
                    wanted,
                }),
            }
        };
        let port = number("PORT", "a port between 1 and 65535", 1..=65535)?;
        let port = port
            .and_then(|port| u16::try_from(port).ok())
            .unwrap_or(DEFAULT_PORT);
        let host = match text("HOST") {
            None => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            Some(value) => value.trim().parse().map_err(|_| SettingsError {
                name: "HOST",
                value,
                wanted: "an IP address",
            })?,
        };
        let concurrency = number(
            "FERMATA_CONCURRENCY",
            "the most calls at once, 0 (no limit of its own) to 100000",
            0..=100_000,
        )?;
        let max_body = number(
            "FERMATA_MAX_BODY",
            "a size in bytes, at most 1073741824",
            0..=LARGEST_MAX_BODY,
        )?;
        number("FERMATA_THREADS", "a number between 1 and 1000", 1..=1000)?;
        Ok(Self {
            address: SocketAddr::new(host, port),
            handler: text("FERMATA_HANDLER"),
            concurrency: concurrency.and_then(NonZeroUsize::new),
            max_body: max_body.unwrap_or(DEFAULT_MAX_BODY),
            python: given("FERMATA_PYTHON").unwrap_or_else(|| "python3".into()),
            node: given("FERMATA_NODE").unwrap_or_else(|| "node".into()),
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
    fn nothing_given_means_the_defaults() {
        let settings = read(&[("PORT", ""), ("FERMATA_CONCURRENCY", "0")]).expect("settings");
        assert_eq!(settings.address.to_string(), "0.0.0.0:8080");
        assert_eq!(settings.max_body, 16 * 1024 * 1024);
        assert_eq!(settings.concurrency, None);
        assert_eq!(settings.handler, None);
    }

    #[test]
    fn a_bad_value_is_named_with_what_it_must_be() {
        for (name, value, wanted) in [
            ("PORT", "http", "a port"),
            ("PORT", "0", "a port"),
            ("PORT", "70000", "a port"),
            ("HOST", "localhost", "an IP address"),
            ("FERMATA_CONCURRENCY", "-1", "the most calls"),
            ("FERMATA_MAX_BODY", "16MiB", "a size in bytes"),
            ("FERMATA_THREADS", "0", "a number"),
        ] {
            let error = read(&[(name, value)]).expect_err(value).to_string();
            assert!(error.contains(name) && error.contains(wanted), "{error}");
        }
    }
}
