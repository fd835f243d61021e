//! `image.yaml`: what an image is made of.

mod dockerfile;

use std::{collections::BTreeMap, fs};

use anyhow::{Context as _, bail};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::shell;

/// A recipe.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Recipe {
    /// The repository, without a tag.
    image: String,
    /// A tag that is always the same; such an image is not published.
    tag: Option<String>,
    description: String,
    /// Debian's part. Without it the image holds the program alone.
    pub(super) base: Option<Base>,
    /// The program of this workspace that goes to /usr/local/bin.
    pub(super) program: String,
    #[serde(default)]
    env: BTreeMap<String, String>,
    /// User and group.
    pub(super) user: u32,
    pub(super) working_dir: Option<String>,
    entrypoint: Vec<String>,
    /// Files besides, by their path relative to the root.
    #[serde(skip)]
    pub(super) files: Vec<(String, Vec<u8>)>,
}

/// A root file system of Debian's packages.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Base {
    distribution: String,
    /// Debian's release, such as `trixie`.
    pub(super) suite: String,
    /// The packages; those that they need come along.
    pub(super) packages: Vec<String>,
    /// Files and folders to leave out, relative to the root.
    #[serde(default)]
    pub(super) remove: Vec<String>,
    /// Folders that images otherwise have not.
    #[serde(default)]
    pub(super) keep: Vec<String>,
    /// Commands to run in the root file system.
    #[serde(default)]
    pub(super) run: Vec<Vec<String>>,
}

// === impl Recipe ===

impl Recipe {
    /// The recipe in a folder of the repository, or in a document there: `DOCUMENT#STAGE` of its Dockerfile.
    pub(super) fn read(folder: &str) -> anyhow::Result<Self> {
        if let Some((document, stage)) = folder.split_once('#') {
            let text = fs::read_to_string(shell::root().join(document))
                .with_context(|| format!("cannot read {document}"))?;
            return dockerfile::read(&text, stage).with_context(|| document.to_owned());
        }
        let file = shell::root().join(folder).join("image.yaml");
        let text = fs::read_to_string(&file)
            .with_context(|| format!("cannot read the recipe {}", file.display()))?;
        Self::parse(&text).with_context(|| format!("the recipe {} is wrong", file.display()))
    }

    fn parse(text: &str) -> anyhow::Result<Self> {
        let recipe: Self = serde_saphyr::from_str(text)?;
        if recipe.user == 0 {
            bail!("user: an image runs as another user than root");
        }
        if recipe.entrypoint.is_empty() {
            bail!("entrypoint: name the program to run");
        }
        if recipe
            .image
            .rsplit('/')
            .next()
            .is_none_or(|name| name.contains([':', '@']))
        {
            bail!("image: {} has a tag or digest; leave it out", recipe.image);
        }
        if let Some(base) = &recipe.base {
            base.check()?;
        }
        Ok(recipe)
    }

    /// The image's full name. What is not published keeps its own.
    pub(super) fn reference(&self, registry: Option<&str>, tag: &str) -> String {
        if let Some(tag) = &self.tag {
            return format!("{}:{tag}", self.image);
        }
        match (registry, self.image.rsplit_once('/')) {
            (Some(registry), Some((_, name))) => format!("{registry}/{name}:{tag}"),
            _ => format!("{}:{tag}", self.image),
        }
    }

    /// How a container of the image runs, as the image's configuration has it.
    pub(super) fn config(&self) -> Value {
        let mut env =
            vec!["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned()];
        env.extend(
            self.env
                .iter()
                .map(|(name, value)| format!("{name}={value}")),
        );
        json!({
            "User": format!("{0}:{0}", self.user),
            "Env": env,
            "Entrypoint": self.entrypoint,
            "WorkingDir": self.working_dir.as_deref().unwrap_or("/"),
        })
    }

    /// What the image says of itself.
    pub(super) fn annotations(&self, name: &str, version: &str) -> BTreeMap<String, String> {
        let version = self.tag.as_deref().unwrap_or(version);
        let title = format!("fermata-{name}");
        let mut annotations = vec![
            ("title", title.as_str()),
            ("description", &self.description),
            ("version", version),
        ];
        if self.base.is_none() {
            // Debian's packages have licences of their own.
            annotations.push(("licenses", env!("CARGO_PKG_LICENSE")));
        }
        annotations
            .into_iter()
            .map(|(key, value)| (format!("org.opencontainers.image.{key}"), value.to_owned()))
            .collect()
    }
}

// === impl Base ===

impl Base {
    fn check(&self) -> anyhow::Result<()> {
        if self.distribution != "debian" {
            bail!(
                "base.distribution: only debian is known, not {}",
                self.distribution
            );
        }
        if self.packages.is_empty() {
            bail!("base.packages: name at least one package");
        }
        // A path of the recipe must not lead out of the root file system.
        let leads_out =
            |path: &&String| path.starts_with('/') || path.split('/').any(|part| part == "..");
        if let Some(path) = self.remove.iter().find(leads_out) {
            bail!("base.remove: {path} is not relative to the root; leave out leading / and ..");
        }
        if self.run.iter().any(Vec::is_empty) {
            bail!("base.run: a command is empty");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "{image: r/x, description: d, program: p, user: 65532, entrypoint: [p]}";

    fn error(text: &str) -> String {
        format!("{:#}", Recipe::parse(text).unwrap_err())
    }

    #[test]
    fn a_reference_is_the_repository_with_the_tag() {
        let recipe = Recipe::parse(GOOD).unwrap();
        assert_eq!(recipe.reference(None, "1.2"), "r/x:1.2");
        assert_eq!(
            recipe.reference(Some("a.example/b"), "1.2"),
            "a.example/b/x:1.2"
        );
    }

    #[test]
    fn the_user_is_nobody_important() {
        assert!(error(&GOOD.replace("65532", "0")).contains("another user than root"));
        assert_eq!(Recipe::parse(GOOD).unwrap().config()["User"], "65532:65532");
    }

    #[test]
    fn a_misspelt_field_is_refused_by_name() {
        assert!(error(&GOOD.replace("user", "usr")).contains("usr"));
    }

    #[test]
    fn a_tag_has_its_own_field() {
        assert!(error(&GOOD.replace("r/x", "'r/x:1'")).contains("leave it out"));
    }

    #[test]
    fn nothing_outside_the_root_is_removed() {
        let base = "base: {distribution: debian, suite: s, packages: [p], remove: [PATH]},";
        for path in ["/etc", "a/../../etc"] {
            let base = base.replace("PATH", path);
            let text = GOOD.replace("program", &format!("{base} program"));
            assert!(error(&text).contains(path), "{path}");
        }
    }

    #[test]
    fn only_debian_is_known() {
        let base = "base: {distribution: other, suite: s, packages: [p]}, program";
        assert!(error(&GOOD.replace("program", base)).contains("only debian"));
    }
}
