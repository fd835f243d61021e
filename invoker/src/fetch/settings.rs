//! Settings of a fetch, from the environment.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    time::Duration,
};

use super::error::Error;

/// How long all of a fetch may take.
const FETCH_TIMEOUT: Duration = Duration::from_secs(300);

/// How long a look may take.
const LOOK_TIMEOUT: Duration = Duration::from_secs(50);

/// What the environment says.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) url: String,
    pub(super) reference: String,
    /// The commit to fetch; nothing for a look.
    pub(super) commit: String,
    /// The folder of the repository; empty for all of it.
    pub(super) path: String,
    /// The folder for the files.
    pub(super) target: PathBuf,
    /// The folder with the keys of the Secret, if there is one.
    pub(super) credentials: PathBuf,
    /// The file that the cluster shows when the container has ended.
    pub(super) termination_log: PathBuf,
    pub(super) timeout: Duration,
    /// Whether files are written as they are in the commit, whatever attributes of git are among them.
    pub(super) verbatim: bool,
}

// === impl Settings ===

impl Settings {
    /// Reads the settings through a function that looks variables up. An empty variable counts as not given.
    pub(super) fn read(
        variable: impl Fn(&str) -> Option<OsString>,
        look: bool,
    ) -> Result<Self, Error> {
        let given = |name: &str| variable(name).filter(|value| !value.is_empty());
        let text = |name: &str| given(name).map(|value| value.to_string_lossy().into_owned());
        let needed = |name: &'static str| text(name).ok_or(Error::NotGiven(name));
        let root = given("FERMATA_ROOT").map_or_else(|| PathBuf::from("/"), PathBuf::from);
        let below = |path: &Path| root.join(path.strip_prefix("/").unwrap_or(path));
        let commit = text("FERMATA_GIT_COMMIT").unwrap_or_default();
        let is_commit = commit.len() == 40 && commit.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !look && !is_commit {
            return Err(Error::NotGiven("FERMATA_GIT_COMMIT"));
        }
        let timeout = match text("FERMATA_GIT_TIMEOUT") {
            None if look => LOOK_TIMEOUT,
            None => FETCH_TIMEOUT,
            Some(text) => match text.trim().parse() {
                Ok(seconds @ 1..=86_400) => Duration::from_secs(seconds),
                _ => return Err(Error::Timeout(text)),
            },
        };
        Ok(Self {
            url: needed("FERMATA_GIT_URL")?,
            reference: text("FERMATA_GIT_REF").unwrap_or_else(|| "HEAD".to_owned()),
            commit,
            path: text("FERMATA_GIT_PATH").unwrap_or_default(),
            target: match given("FERMATA_TARGET") {
                Some(target) => below(Path::new(&target)),
                None if look => PathBuf::new(),
                None => return Err(Error::NotGiven("FERMATA_TARGET")),
            },
            credentials: below(Path::new(
                &given("FERMATA_GIT_CREDENTIALS").unwrap_or_else(|| "/credentials".into()),
            )),
            termination_log: below(Path::new("/dev/termination-log")),
            timeout,
            verbatim: given("FERMATA_GIT_VERBATIM").is_some(),
        })
    }
}
