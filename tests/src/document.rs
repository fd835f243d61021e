//! What a document shows, so that it is tried as it stands there.

use serde_json::Value;

use crate::tools::repository;

/// A page of Markdown in this repository.
pub struct Document {
    path: String,
    text: String,
}

// === impl Document ===

impl Document {
    /// The page at this path, below the root of the repository.
    ///
    /// # Panics
    ///
    /// When it cannot be read.
    #[must_use]
    pub fn read(path: &str) -> Self {
        let text = std::fs::read_to_string(repository().join(path));
        Self {
            path: path.to_owned(),
            text: text.expect("the document can be read"),
        }
    }

    /// All blocks of a language, in their order.
    pub fn blocks<'a>(&'a self, language: &'a str) -> impl Iterator<Item = &'a str> {
        let fences = self.text.split("\n```").skip(1).step_by(2);
        fences.filter_map(move |block| {
            let (first, content) = block.split_once('\n')?;
            (first == language).then_some(content)
        })
    }

    /// The block of a language that begins with these words.
    ///
    /// # Panics
    ///
    /// When there is none.
    #[must_use]
    pub fn block<'a>(&'a self, language: &'a str, begins: &str) -> &'a str {
        let found = self
            .blocks(language)
            .find(|block| block.starts_with(begins));
        found.unwrap_or_else(|| panic!("{} has no {language} that begins {begins:?}", self.path))
    }

    /// The manifest of this kind and name.
    ///
    /// # Panics
    ///
    /// When there is none.
    #[must_use]
    pub fn manifest(&self, kind: &str, name: &str) -> Value {
        let manifests = self
            .blocks("yaml")
            .filter_map(|block| serde_saphyr::from_str::<Value>(block).ok());
        let is_it =
            |manifest: &Value| manifest["kind"] == kind && manifest["metadata"]["name"] == name;
        let mut found = manifests.filter(is_it);
        found
            .next()
            .unwrap_or_else(|| panic!("{} has no {kind} {name}", self.path))
    }
}
