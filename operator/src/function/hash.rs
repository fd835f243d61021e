//! The digest by which a template that comes back finds its Revision.

use std::collections::BTreeMap;

use fermata_crds::Template;

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
    /// and an update of the platform does not roll every function.
    pub(crate) fn of(template: &Template, files: Option<&BTreeMap<String, String>>) -> Self {
        let mut template = template.clone();
        if let (Some(source), Some(files)) = (&mut template.source, files) {
            source.config_map = None;
            source.files = Some(files.clone());
        }
        let value = serde_json::to_value(&template).unwrap_or_default();
        Self(digest(&value))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use fermata_crds::{ConfigMapSource, Source};
    use serde_json::{Value, json};

    use super::*;

    fn hash(template: Value) -> TemplateHash {
        TemplateHash::of(&serde_json::from_value(template).expect("a template"), None)
    }

    #[test]
    fn the_digest_never_changes_between_releases() {
        let template = json!({"image": "example.com/a:1", "env": [{"name": "A", "value": "1"}]});
        assert_eq!(hash(template).as_str(), "c848c846f20233a4");
    }

    #[test]
    fn files_count_the_same_inline_and_from_a_config_map() {
        let files = BTreeMap::from([("main.py".to_owned(), "x = 1".to_owned())]);
        let inline = Template {
            source: Some(Source {
                runtime: "python".into(),
                files: Some(files.clone()),
                ..Source::default()
            }),
            ..Template::default()
        };
        let mut by_name = inline.clone();
        if let Some(source) = &mut by_name.source {
            source.files = None;
            source.config_map = Some(ConfigMapSource {
                name: "code".into(),
            });
        }
        let inline = TemplateHash::of(&inline, Some(&files));
        assert_eq!(inline, TemplateHash::of(&by_name, Some(&files)));
        let other = BTreeMap::from([("main.py".to_owned(), "x = 2".to_owned())]);
        assert_ne!(inline, TemplateHash::of(&by_name, Some(&other)));
    }
}
