//! What the program that pushes tells when it has ended well.

use fermata_crds::BuiltLayer;
use serde::Deserialize;

/// The result of a build.
#[derive(Clone, Debug, Deserialize, PartialEq)]
pub(crate) struct Pushed {
    /// The image by its digest.
    pub(crate) image: String,
    #[serde(default)]
    pub(crate) architecture: Option<String>,
    #[serde(default)]
    pub(crate) layers: Layers,
}

/// Its layers.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
pub(crate) struct Layers {
    #[serde(default)]
    pub(crate) dependencies: Option<Layer>,
}

/// One layer.
pub(crate) type Layer = BuiltLayer;

/// Reads the result; nothing where it is none.
pub(crate) fn read(text: &str) -> Option<Pushed> {
    let pushed: Pushed = serde_json::from_str(text.trim()).ok()?;
    let dependencies = pushed.layers.dependencies.iter();
    let good =
        |layer: &Layer| is_digest(&layer.digest) && is_digest(&layer.diff_id) && layer.size >= 0;
    let plain = |text: &String| {
        !text.is_empty() && text.len() < 32 && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
    };
    let all = dependencies.clone().all(good) && pushed.architecture.as_ref().is_none_or(plain);
    all.then_some(pushed)
}

/// Whether a text is a digest of SHA-256.
pub(crate) fn is_digest(text: &str) -> bool {
    text.strip_prefix("sha256:").is_some_and(|digits| {
        digits.len() == 64
            && digits
                .bytes()
                .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
    })
}
