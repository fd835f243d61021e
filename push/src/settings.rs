//! What is set from outside.

use std::{path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    digest,
    error::Error,
    proxy::Proxy,
    reference::{self, Image, Repository},
};

/// What is to be pushed, and where to.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) repository: Repository,
    pub(crate) base: Image,
    pub(crate) tag: String,
    pub(crate) dependencies: Option<Dependencies>,
    pub(crate) code: Folder,
    pub(crate) credentials: Option<PathBuf>,
    pub(crate) plain_http: bool,
    pub(crate) proxy: Proxy,
    pub(crate) scratch: PathBuf,
    pub(crate) max_bytes: u64,
    pub(crate) max_files: u64,
    pub(crate) timeout: Duration,
    pub(crate) retry_pause: Duration,
    pub(crate) result: PathBuf,
}

/// Where the dependencies come from.
#[derive(Debug)]
pub(crate) enum Dependencies {
    /// They were installed into a folder.
    Folder(Folder),
    /// They are in the registry already.
    Layer(KnownLayer),
}

/// A folder, and where it stands in the image.
#[derive(Debug)]
pub(crate) struct Folder {
    pub(crate) from: PathBuf,
    /// Without the leading slash.
    pub(crate) target: String,
}

/// A layer that is in the repository.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct KnownLayer {
    /// Of the layer as it is kept.
    pub(crate) digest: String,
    /// Of what it holds, before it is compressed.
    pub(crate) diff_id: String,
    /// In bytes, as it is kept.
    pub(crate) size: u64,
}

// === impl Settings ===

impl Settings {
    /// Reads the settings.
    pub(crate) fn read(get: impl Fn(&str) -> Option<String>) -> Result<Self, Error> {
        let given = |name: &str| get(name).filter(|value| !value.is_empty());
        let required = |name| {
            given(name).ok_or_else(|| wrong(name, "it has to be set; --help lists the settings"))
        };
        let repository = required("FERMATA_PUSH_REPOSITORY")?;
        let repository = Repository::parse(&repository).ok_or_else(|| {
            let why = format!("{repository:?} is no repository; it is HOST/NAME, such as registry.example.com/functions/team, in lower case and without a tag");
            wrong("FERMATA_PUSH_REPOSITORY", why)
        })?;
        let base = required("FERMATA_PUSH_BASE")?;
        let base = Image::parse(&base).ok_or_else(|| {
            wrong(
                "FERMATA_PUSH_BASE",
                format!("{base:?} is no image; it is HOST/NAME:TAG or HOST/NAME@sha256:DIGEST"),
            )
        })?;
        let tag = given("FERMATA_PUSH_TAG").unwrap_or_else(|| "build".to_owned());
        // The digest's first digits come after it.
        if !reference::is_tag(&tag) || tag.len() > 100 {
            let why = "it is at most 100 letters, digits, dots, dashes and underscores";
            return Err(wrong("FERMATA_PUSH_TAG", why));
        }
        let code_target =
            given("FERMATA_PUSH_CODE_TARGET").unwrap_or_else(|| "/function".to_owned());
        let number = |name, default: u64, least: u64| match given(name) {
            None => Ok(default),
            Some(text) => text
                .parse()
                .ok()
                .filter(|number| *number >= least)
                .ok_or_else(|| wrong(name, format!("{text:?} is no whole number from {least} on"))),
        };
        Ok(Self {
            dependencies: dependencies(&given, &required)?,
            code: Folder {
                from: required("FERMATA_PUSH_CODE")?.into(),
                target: target("FERMATA_PUSH_CODE_TARGET", &code_target)?,
            },
            credentials: given("FERMATA_PUSH_CREDENTIALS").map(PathBuf::from),
            plain_http: match given("FERMATA_PUSH_PLAIN_HTTP").as_deref() {
                None | Some("false") => false,
                Some("true") => true,
                Some(_) => return Err(wrong("FERMATA_PUSH_PLAIN_HTTP", "it is true or false")),
            },
            proxy: Proxy::read(&get).map_err(|(name, why)| wrong(name, why))?,
            scratch: given("FERMATA_PUSH_SCRATCH").map_or_else(std::env::temp_dir, PathBuf::from),
            max_bytes: number("FERMATA_PUSH_MAX_BYTES", 2 << 30, 1)?,
            max_files: number("FERMATA_PUSH_MAX_FILES", 200_000, 1)?,
            timeout: Duration::from_secs(number("FERMATA_PUSH_TIMEOUT", 600, 1)?),
            retry_pause: Duration::from_millis(number("FERMATA_PUSH_RETRY_PAUSE", 1000, 0)?),
            result: given("FERMATA_PUSH_RESULT")
                .map_or_else(|| "/dev/termination-log".into(), PathBuf::from),
            repository,
            base,
            tag,
        })
    }
}

fn dependencies(
    given: &impl Fn(&str) -> Option<String>,
    required: &impl Fn(&'static str) -> Result<String, Error>,
) -> Result<Option<Dependencies>, Error> {
    if let Some(text) = given("FERMATA_PUSH_REUSE") {
        let layer: KnownLayer = serde_json::from_str(&text).map_err(|error| {
            wrong(
                "FERMATA_PUSH_REUSE",
                format!("it is no layer as an earlier push has told it: {error}"),
            )
        })?;
        if !digest::is_valid(&layer.digest) || !digest::is_valid(&layer.diff_id) {
            return Err(wrong(
                "FERMATA_PUSH_REUSE",
                "its digests begin with sha256: and have 64 digits",
            ));
        }
        return Ok(Some(Dependencies::Layer(layer)));
    }
    let Some(from) = given("FERMATA_PUSH_DEPENDENCIES") else {
        return Ok(None);
    };
    Ok(Some(Dependencies::Folder(Folder {
        from: from.into(),
        target: target("FERMATA_PUSH_TARGET", &required("FERMATA_PUSH_TARGET")?)?,
    })))
}

/// A place in the image that everything can stand at.
fn target(name: &'static str, text: &str) -> Result<String, Error> {
    let relative = text
        .strip_prefix('/')
        .map(|text| text.trim_end_matches('/'));
    let plain =
        |part: &str| !part.is_empty() && part != "." && part != ".." && !part.starts_with(".wh.");
    relative
        .filter(|path| path.split('/').all(plain))
        .map(str::to_owned)
        .ok_or_else(|| {
            wrong(
                name,
                format!("{text:?} is no place in an image; it is a path from / on, without dots"),
            )
        })
}

fn wrong(name: &'static str, why: impl Into<String>) -> Error {
    Error::Setting {
        name,
        why: why.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(changes: &[(&str, &str)]) -> Result<Settings, String> {
        let plain = [
            ("FERMATA_PUSH_REPOSITORY", "r.example/fn/team"),
            ("FERMATA_PUSH_BASE", "r.example/python:1"),
            ("FERMATA_PUSH_CODE", "/code"),
        ];
        let get = |name: &str| {
            let mut all = changes.iter().chain(&plain);
            all.find(|(other, _)| *other == name)
                .map(|(_, value)| (*value).to_owned())
        };
        Settings::read(get).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_not_said_has_a_default() {
        let settings = read(&[]).expect("settings");
        assert!(settings.dependencies.is_none() && !settings.plain_http);
        assert_eq!(settings.code.target, "function");
        assert_eq!(settings.timeout, Duration::from_secs(600));
    }

    #[test]
    fn a_wrong_setting_is_named_with_the_way_out() {
        for (name, value, sentence) in [
            ("FERMATA_PUSH_REPOSITORY", "", "has to be set"),
            ("FERMATA_PUSH_REPOSITORY", "r.example/Team", "HOST/NAME"),
            ("FERMATA_PUSH_BASE", "a b", "is no image"),
            ("FERMATA_PUSH_TAG", "a/b", "letters"),
            ("FERMATA_PUSH_CODE_TARGET", "function", "from / on"),
            ("FERMATA_PUSH_CODE_TARGET", "/a/../b", "without dots"),
            ("FERMATA_PUSH_CODE_TARGET", "/", "no place"),
            (
                "FERMATA_PUSH_DEPENDENCIES",
                "/d",
                "FERMATA_PUSH_TARGET: it has to be set",
            ),
            ("FERMATA_PUSH_REUSE", "{}", "as an earlier push"),
            (
                "FERMATA_PUSH_REUSE",
                r#"{"digest":"a","diffId":"b","size":1}"#,
                "64 digits",
            ),
            ("FERMATA_PUSH_PLAIN_HTTP", "yes", "true or false"),
            ("FERMATA_PUSH_TIMEOUT", "0", "from 1 on"),
        ] {
            let error = read(&[(name, value)]).map(|_| ()).expect_err(name);
            assert!(error.contains(sentence), "{error}");
        }
    }
}
