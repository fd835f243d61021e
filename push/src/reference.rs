//! Names of images, as everybody writes them.

use std::fmt;

use crate::digest;

/// A repository: where images are.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) struct Repository {
    /// The registry's host, with its port; for Docker Hub that of its API.
    pub(crate) host: String,
    /// The name in it, with all folders.
    pub(crate) name: String,
}

/// An image: a repository, and what of it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Image {
    pub(crate) repository: Repository,
    /// A digest, or a tag.
    pub(crate) version: String,
    /// As it was written.
    pub(crate) written: String,
}

/// Where the API of Docker Hub is.
pub(crate) const DOCKER_HUB: &str = "registry-1.docker.io";

// === impl Repository ===

impl Repository {
    /// Reads a repository that names its host, without a tag or digest.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (host, name) = text.split_once('/')?;
        (is_host(host) && is_name(name)).then(|| Self {
            host: api_of(host),
            name: name.to_owned(),
        })
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = if self.host == DOCKER_HUB {
            "docker.io"
        } else {
            &self.host
        };
        write!(formatter, "{host}/{}", self.name)
    }
}

// === impl Image ===

impl Image {
    /// Reads an image as Kubernetes does: without a host it is of Docker Hub, without a tag or digest `latest`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) if digest::is_valid(digest) => (rest, Some(digest)),
            Some(_) => return None,
            None => (text, None),
        };
        // A colon before the last slash is that of a port.
        let (rest, tag) = match rest.rsplit_once(':') {
            Some((rest, tag)) if !tag.contains('/') => (rest, Some(tag)),
            _ => (rest, None),
        };
        if tag.is_some_and(|tag| !is_tag(tag)) {
            return None;
        }
        let (host, name) = match rest.split_once('/') {
            Some((host, name)) if is_host(host) => (host, name.to_owned()),
            Some(_) => ("docker.io", rest.to_owned()),
            None => ("docker.io", format!("library/{rest}")),
        };
        if !is_name(&name) {
            return None;
        }
        Some(Self {
            repository: Repository {
                host: api_of(host),
                name,
            },
            version: digest.or(tag).unwrap_or("latest").to_owned(),
            written: text.to_owned(),
        })
    }
}

fn api_of(host: &str) -> String {
    match host {
        "docker.io" | "index.docker.io" => DOCKER_HUB.to_owned(),
        other => other.to_owned(),
    }
}

/// The first part of a name is a host if it looks like one.
fn is_host(text: &str) -> bool {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || b".-:[]".contains(&byte);
    !text.is_empty()
        && text.bytes().all(known)
        && (text == "localhost" || text.contains(['.', ':']))
}

fn is_name(text: &str) -> bool {
    let known =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte);
    let part = |part: &str| {
        !part.is_empty()
            && part.bytes().all(known)
            && !part.starts_with('.')
            && !part.ends_with('.')
    };
    text.len() <= 255 && text.split('/').all(part)
}

/// Whether a text may be a tag.
pub(crate) fn is_tag(text: &str) -> bool {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=128).contains(&text.len()) && text.bytes().all(known) && !text.starts_with(['.', '-'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_read_as_kubernetes_reads_them() {
        let digest = format!("sha256:{}", "a".repeat(64));
        for (text, host, name, version) in [
            ("python", DOCKER_HUB, "library/python", "latest"),
            (
                "docker.io/library/python:3",
                DOCKER_HUB,
                "library/python",
                "3",
            ),
            ("team/x:1", DOCKER_HUB, "team/x", "1"),
            ("localhost/x:1", "localhost", "x", "1"),
            ("r.example:5000/a/b", "r.example:5000", "a/b", "latest"),
            ("10.0.0.1:5000/a/b:1.2", "10.0.0.1:5000", "a/b", "1.2"),
            (
                &format!("r.example/a:1@{digest}"),
                "r.example",
                "a",
                &digest,
            ),
        ] {
            let image = Image::parse(text).unwrap_or_else(|| panic!("{text}"));
            let found = (
                &*image.repository.host,
                &*image.repository.name,
                &*image.version,
            );
            assert_eq!(found, (host, name, version), "{text}");
        }
        for wrong in [
            "",
            "r.example/",
            "r.example/A",
            "x@sha256:1",
            "x:",
            "a b",
            "r.example/a/../b",
        ] {
            assert_eq!(Image::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_repository_names_its_host() {
        let repository = Repository::parse("r.example:5000/fn/team").expect("a repository");
        assert_eq!(repository.to_string(), "r.example:5000/fn/team");
        assert_eq!(
            Repository::parse("docker.io/a/b").expect("one").host,
            DOCKER_HUB
        );
        for wrong in [
            "fn/team",
            "r.example",
            "r.example/a:1",
            "https://r.example/a",
        ] {
            assert_eq!(Repository::parse(wrong), None, "{wrong}");
        }
    }
}
