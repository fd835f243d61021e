//! The digest by which a template that comes back finds its Revision.

use fermata_crds::{Template, source_files::SourceFiles};
use serde_json::json;

use crate::digest::digest;

/// A stable digest of a template: 16 hexadecimal digits of SHA-256 over its canonical JSON.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct TemplateHash(String);

// === impl TemplateHash ===

impl TemplateHash {
    /// The digest of a template as the user wrote it, with the files it is made of.
    ///
    /// Files count the same inline and from a ConfigMap. Of the Runtime only the name counts, not
    /// what it holds at the moment: a changed Runtime reaches a function with its next Revision,
    /// and an update of the platform does not roll every function. `build_requested` is what asks for
    /// another build of the same. Of a git repository the commit counts, and not what led to it.
    pub(crate) fn of(
        template: &Template,
        files: Option<&SourceFiles>,
        build_requested: Option<&str>,
        commit: Option<&str>,
    ) -> Self {
        let mut template = template.clone();
        if let (Some(source), Some(files)) = (&mut template.source, files) {
            source.config_map = None;
            files.clone().put(source);
        }
        if let Some(git) = template
            .source
            .as_mut()
            .and_then(|source| source.git.as_mut())
        {
            git.reference = None;
            git.poll = None;
            git.webhook = None;
        }
        let mut value = serde_json::to_value(&template).unwrap_or_default();
        if let Some(requested) = build_requested {
            value["buildRequested"] = json!(requested);
        }
        if let Some(commit) = commit {
            value["commit"] = json!(commit);
        }
        Self(digest(&value))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use fermata_crds::{ConfigMapSource, Source};
    use serde_json::Value;

    use super::*;

    fn hash(template: Value) -> TemplateHash {
        let template = serde_json::from_value(template).expect("a template");
        TemplateHash::of(&template, None, None, None)
    }

    fn files(text: &str) -> SourceFiles {
        SourceFiles {
            text: BTreeMap::from([("main.py".to_owned(), text.to_owned())]),
            binary: BTreeMap::new(),
        }
    }

    #[test]
    fn the_digest_never_changes_between_releases() {
        let template = json!({"image": "example.com/a:1", "env": [{"name": "A", "value": "1"}]});
        assert_eq!(hash(template).as_str(), "c848c846f20233a4");
    }

    #[test]
    fn files_count_the_same_inline_and_from_a_config_map() {
        let source = Source {
            runtime: "python".into(),
            ..Source::default()
        };
        let template = |source| Template {
            source: Some(source),
            ..Template::default()
        };
        let inline = template(Source {
            files: Some(files("x = 1").text),
            ..source.clone()
        });
        let by_name = template(Source {
            config_map: Some(ConfigMapSource {
                name: "code".into(),
            }),
            ..source
        });
        let of = |template, text| TemplateHash::of(template, Some(&files(text)), None, None);
        assert_eq!(of(&inline, "x = 1"), of(&by_name, "x = 1"));
        assert_eq!(
            of(&inline, "x = 1"),
            TemplateHash::of(&inline, None, None, None)
        );
        assert_ne!(of(&inline, "x = 1"), of(&by_name, "x = 2"));
    }

    #[test]
    fn another_build_of_the_same_is_asked_for_by_a_text() {
        let template = Template::default();
        let of = |requested| TemplateHash::of(&template, None, requested, None);
        assert_ne!(of(None), of(Some("1")));
        assert_ne!(of(Some("2")), of(Some("1")));
    }

    #[test]
    fn of_a_repository_the_commit_counts_and_not_what_led_to_it() {
        let of = |git: Value, commit| {
            let template = json!({"source": {"runtime": "python", "git": git}});
            let template = serde_json::from_value(template).expect("a template");
            TemplateHash::of(&template, None, None, Some(commit))
        };
        let main = of(json!({"url": "https://h/a"}), "1");
        let tag = json!({"url": "https://h/a", "ref": "v1", "poll": "5m",
            "webhook": {"secretName": "hook"}});
        assert_eq!(of(tag, "1"), main);
        assert_ne!(of(json!({"url": "https://h/a"}), "2"), main);
        assert_ne!(of(json!({"url": "https://h/b"}), "1"), main);
        assert_ne!(of(json!({"url": "https://h/a", "path": "b"}), "1"), main);
    }
}
