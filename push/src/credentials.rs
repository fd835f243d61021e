//! Names and passwords for registries, as `docker login` and Secrets of the type `kubernetes.io/dockerconfigjson`
//! keep them.

use std::{collections::BTreeMap, fmt, fs, io, path::Path};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Deserialize;

use crate::{
    error::Error,
    reference::{DOCKER_HUB, Repository},
};

/// The key of the Secret.
const FILE: &str = ".dockerconfigjson";

/// The key of a certificate authority to trust as well.
const AUTHORITY: &str = "ca.crt";

/// The largest file that is read.
const MOST: u64 = 1 << 20;

/// What is known of registries. Nothing of it can be shown.
#[derive(Default)]
pub(crate) struct Credentials {
    /// The value of the header Authorization, by host and path without a scheme.
    basic: BTreeMap<String, String>,
    /// Certificates to trust, in PEM.
    pub(crate) authority: Option<Vec<u8>>,
}

#[derive(Deserialize)]
struct Config {
    #[serde(default)]
    auths: BTreeMap<String, Entry>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "lowercase")]
struct Entry {
    #[serde(default)]
    auth: String,
    #[serde(default)]
    username: String,
    #[serde(default)]
    password: String,
    #[serde(default)]
    identitytoken: String,
}

// === impl Credentials ===

impl Credentials {
    /// Reads what the Secret holds that is mounted there.
    pub(crate) fn read(folder: &Path) -> Result<Self, Error> {
        let config = read(&folder.join(FILE))?.ok_or_else(|| wrong(format!("it has no {FILE}")))?;
        let mut credentials = Self::parse(&config)?;
        credentials.authority = read(&folder.join(AUTHORITY))?;
        Ok(credentials)
    }

    fn parse(text: &[u8]) -> Result<Self, Error> {
        // The error of the parser would show parts of what it read.
        let config: Config = serde_json::from_slice(text)
            .map_err(|_| wrong(format!("{FILE} is no JSON with auths")))?;
        let mut basic = BTreeMap::new();
        for (server, entry) in config.auths {
            let pair = if !entry.username.is_empty() {
                format!("{}:{}", entry.username, entry.password)
            } else if !entry.auth.is_empty() {
                let decoded = STANDARD.decode(entry.auth.trim()).ok();
                let pair = decoded.and_then(|bytes| String::from_utf8(bytes).ok());
                pair.filter(|pair| pair.contains(':')).ok_or_else(|| {
                    wrong(format!("auth of {server} is not NAME:PASSWORD in base64"))
                })?
            } else if !entry.identitytoken.is_empty() {
                return Err(wrong(format!(
                    "{server} has an identity token; put in a name and a password or token"
                )));
            } else {
                continue;
            };
            let key = server
                .trim_start_matches("https://")
                .trim_start_matches("http://");
            let key = key
                .trim_end_matches('/')
                .trim_end_matches("/v1")
                .trim_end_matches("/v2");
            let key = match key {
                "docker.io" | "index.docker.io" => DOCKER_HUB,
                other => other,
            };
            basic.insert(key.to_owned(), format!("Basic {}", STANDARD.encode(pair)));
        }
        Ok(Self {
            basic,
            authority: None,
        })
    }

    /// What a registry gets for a repository: that of the longest path that leads to it.
    pub(crate) fn of(&self, repository: &Repository) -> Option<&str> {
        let mut path = format!("{}/{}", repository.host, repository.name);
        loop {
            if let Some(basic) = self.basic.get(&path) {
                return Some(basic);
            }
            path.truncate(path.rfind('/')?);
        }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Credentials")
            .finish_non_exhaustive()
    }
}

fn read(file: &Path) -> Result<Option<Vec<u8>>, Error> {
    match fs::metadata(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Ok(metadata) if metadata.len() > MOST => {
            return Err(wrong("it is larger than 1 MiB".to_owned()));
        }
        _ => {}
    }
    fs::read(file).map(Some).map_err(|source| Error::Read {
        path: file.to_owned(),
        source,
    })
}

fn wrong(why: String) -> Error {
    Error::Credentials { why }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(config: &str, repository: &str) -> Option<String> {
        let credentials = Credentials::parse(config.as_bytes()).expect("credentials");
        let basic = credentials.of(&Repository::parse(repository).expect("a repository"))?;
        let pair = STANDARD
            .decode(basic.strip_prefix("Basic ")?)
            .expect("base64");
        Some(String::from_utf8(pair).expect("text"))
    }

    #[test]
    fn a_registry_gets_what_is_for_it_and_nothing_else() {
        let config = r#"{"auths": {
            "https://index.docker.io/v1/": {"auth": "aHViOnNlY3JldA=="},
            "r.example:5000": {"username": "u", "password": "p:q"},
            "r.example:5000/fn/team": {"username": "team", "password": "t"},
            "empty.example": {}
        }}"#;
        assert_eq!(of(config, "docker.io/a/b").as_deref(), Some("hub:secret"));
        assert_eq!(
            of(config, "r.example:5000/other/x").as_deref(),
            Some("u:p:q")
        );
        assert_eq!(
            of(config, "r.example:5000/fn/team/x").as_deref(),
            Some("team:t")
        );
        assert_eq!(
            of(config, "r.example:5000/fn/teams").as_deref(),
            Some("u:p:q")
        );
        for other in [
            "r.example/fn/team",
            "empty.example/x",
            "example/x.example",
            "evil-r.example:5000/x",
        ] {
            assert_eq!(
                Repository::parse(other).and_then(|_| of(config, other)),
                None,
                "{other}"
            );
        }
    }

    #[test]
    fn a_wrong_secret_is_told_without_what_it_holds() {
        for config in [
            r#"{"auths": {"r.example": {"auth": 7}}, "s3cret": }"#,
            r#"{"auths": {"r.example": {"auth": "czNjcmV0"}}}"#,
            r#"{"auths": {"r.example": {"identitytoken": "s3cret"}}}"#,
        ] {
            let error = Credentials::parse(config.as_bytes())
                .expect_err("an error")
                .to_string();
            assert!(
                error.contains("docker-registry") && !error.contains("s3cret"),
                "{error}"
            );
        }
    }
}
