//! Source in a git repository: where it is, and what was found there.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::GoDuration;

/// The reference that is taken when the manifest does not say: the repository's own default branch.
pub const DEFAULT_REF: &str = "HEAD";

/// The least time between two looks at the same repository for the same Function.
pub const MIN_POLL: Duration = Duration::from_secs(30);

/// The most time between them.
pub const MAX_POLL: Duration = Duration::from_secs(24 * 3600);

/// How the names of repositories end that hold folders which were deployed, one commit each: those of what takes
/// pushes, at `/git/NAMESPACE/NAME.bundles.git`.
pub const BUNDLES_SUFFIX: &str = ".bundles.git";

/// A folder of a git repository.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GitSource {
    /// Where the repository is: https://, http://, ssh:// or user@host:path. Without a password, which belongs
    /// into a Secret.
    pub url: String,

    /// A branch, a tag, a reference such as refs/heads/main, or a commit in all of its 40 digits. The commit that it
    /// leads to is part of the Revision. Default: HEAD, the default branch.
    #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,

    /// The folder of the repository with the source files, such as functions/orders. Default: all of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,

    /// A Secret in the function's namespace for a repository that not everybody may read. For https: password or
    /// token, and username (default x-access-token). For ssh: ssh-privatekey and known_hosts. Both: ca.crt, an
    /// authority to trust.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_name: Option<String>,

    /// How often it is looked whether the reference leads to another commit. 30s to 24h. Default: only when this
    /// section or the annotation fermata.dev/look changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub poll: Option<GoDuration>,

    /// Who keeps the repository may ask for a look, by POST to /hooks/git/NAMESPACE/NAME of the gateway. Default:
    /// nobody may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook: Option<GitWebhook>,
}

/// How deliveries of a webhook are known.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GitWebhook {
    /// A Secret in the function's namespace with the key that deliveries are signed with, in the field secret or
    /// token. GitHub, Gitea, Forgejo and Gogs sign with it, GitLab sends it.
    pub secret_name: String,
}

/// What was found in a git repository.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SourceStatus {
    /// The repository that was looked at.
    pub url: String,

    /// The reference that was looked for.
    #[serde(rename = "ref")]
    pub reference: String,

    /// The commit that it led to when it was found last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,

    /// Since when it leads to this commit, as far as it was looked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,

    /// A digest of what was asked: of the section and of the annotation fermata.dev/look.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub look: Option<String>,

    /// When it was looked last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub looked_up_at: Option<Time>,

    /// How many looks have failed since one succeeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failures: Option<u32>,
}

// === impl GitSource ===

impl GitSource {
    /// The reference to look for.
    #[must_use]
    pub fn reference(&self) -> &str {
        self.reference.as_deref().unwrap_or(DEFAULT_REF)
    }

    /// The commit that the manifest itself names, if it names one.
    #[must_use]
    pub fn commit(&self) -> Option<&str> {
        self.reference
            .as_deref()
            .filter(|reference| is_commit(reference))
    }

    /// Whether it is a folder that was deployed, as a commit of the platform's own: such files are what they were in
    /// the folder, whatever attributes of git are among them.
    #[must_use]
    pub fn is_bundle(&self) -> bool {
        let is_own = self.url.starts_with("http://") && self.url.contains("/git/");
        is_own && self.url.ends_with(BUNDLES_SUFFIX) && self.commit().is_some()
    }

    /// How often it is looked again, within [`MIN_POLL`] and [`MAX_POLL`].
    #[must_use]
    pub fn poll(&self) -> Option<Duration> {
        let poll = Duration::from(self.poll?);
        Some(poll.clamp(MIN_POLL, MAX_POLL))
    }
}

/// Whether a text is a commit in all of its digits (SHA-1, as git writes it).
#[must_use]
pub fn is_commit(text: &str) -> bool {
    let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    text.len() == 40 && text.bytes().all(is_digit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_is_named_in_all_of_its_digits() {
        let commit = "0123456789abcdef0123456789abcdef01234567";
        assert!(is_commit(commit));
        for other in ["", "main", "0123456", &commit.to_uppercase(), &commit[1..]] {
            assert!(!is_commit(other), "{other}");
        }
        let source = GitSource {
            reference: Some(commit.into()),
            ..GitSource::default()
        };
        assert_eq!(source.commit(), Some(commit));
        assert_eq!(GitSource::default().reference(), "HEAD");
        assert_eq!(GitSource::default().commit(), None);
        assert!(!source.is_bundle());
        let bundle = GitSource {
            url: "http://fermata-gateway.fermata-system.svc.cluster.local/git/shop/orders.bundles.git".into(),
            ..source
        };
        assert!(bundle.is_bundle());
    }
}
