//! The image that comes out: the manifest and the configuration. Pure.

use bytes::Bytes;
use serde_json::{Value, json};

use crate::{base::Base, digest, settings::KnownLayer};

/// What a manifest is called.
pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// An image, ready to be pushed once its layers are there.
#[derive(Debug)]
pub(crate) struct Image {
    pub(crate) config: Bytes,
    pub(crate) manifest: Bytes,
    /// Of the manifest.
    pub(crate) digest: String,
}

/// A layer that a registry does not give away cannot be copied.
#[derive(Debug, Eq, PartialEq, thiserror::Error)]
#[error("its layer {0} is of the kind {1}, which cannot be copied")]
pub(crate) struct Foreign(String, String);

impl Image {
    /// Puts layers, each with what it is, on an image. How a container runs stays as it was. The same layers give
    /// the same image.
    pub(crate) fn new(
        base: &Base,
        name: &str,
        layers: &[(&str, &KnownLayer)],
    ) -> Result<Self, Foreign> {
        let mut config = base.config.clone();
        let own = layers
            .iter()
            .map(|(_, layer)| Value::from(layer.diff_id.as_str()));
        if let Some(all) = config["rootfs"]["diff_ids"].as_array_mut() {
            all.extend(own);
        }
        // Where the steps are told, they have to be as many as the layers.
        if let Some(history) = config["history"].as_array_mut() {
            let steps = layers
                .iter()
                .map(|(what, _)| json!({"created_by": format!("fermata-push: {what}")}));
            history.extend(steps);
        }
        let config = Bytes::from(config.to_string());
        let mut all = Vec::new();
        for layer in &base.layers {
            let Some(kind) = oci(&layer.media_type) else {
                return Err(Foreign(layer.digest.clone(), layer.media_type.clone()));
            };
            all.push(json!({"mediaType": kind, "digest": layer.digest, "size": layer.size}));
        }
        all.extend(layers.iter().map(
            |(_, layer)| json!({"mediaType": LAYER, "digest": layer.digest, "size": layer.size}),
        ));
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {"mediaType": CONFIG, "digest": digest::of(&config), "size": config.len()},
            "layers": all,
            "annotations": {
                "org.opencontainers.image.base.name": name,
                "org.opencontainers.image.base.digest": base.digest,
            },
        });
        let manifest = Bytes::from(manifest.to_string());
        Ok(Self {
            config,
            digest: digest::of(&manifest),
            manifest,
        })
    }
}

/// What OCI calls the kind of a layer.
fn oci(kind: &str) -> Option<&str> {
    Some(match kind {
        "application/vnd.docker.image.rootfs.diff.tar.gzip" => LAYER,
        "application/vnd.docker.image.rootfs.diff.tar" => "application/vnd.oci.image.layer.v1.tar",
        "application/vnd.docker.image.rootfs.diff.tar.zstd" => {
            "application/vnd.oci.image.layer.v1.tar+zstd"
        }
        own if own.starts_with("application/vnd.oci.image.layer.v1.tar") => own,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Descriptor;

    fn base(kind: &str) -> Base {
        Base {
            layers: vec![Descriptor {
                media_type: kind.into(),
                digest: "sha256:b".into(),
                size: 7,
            }],
            config: json!({"os": "linux", "config": {"User": "65532"},
                "history": [{"created_by": "x"}],
                "rootfs": {"type": "layers", "diff_ids": ["sha256:d"]}}),
            digest: "sha256:index".into(),
        }
    }

    #[test]
    fn layers_are_added_and_all_else_stays() {
        let layer = KnownLayer {
            digest: "sha256:1".into(),
            diff_id: "sha256:2".into(),
            size: 3,
        };
        let base = base("application/vnd.docker.image.rootfs.diff.tar.gzip");
        let image = Image::new(&base, "r.example/x:1", &[("code", &layer)]).expect("an image");
        let config: Value = serde_json::from_slice(&image.config).expect("JSON");
        assert_eq!(config["config"], base.config["config"]);
        assert_eq!(
            config["rootfs"]["diff_ids"],
            json!(["sha256:d", "sha256:2"])
        );
        assert_eq!(config["history"].as_array().map(Vec::len), Some(2));
        let manifest: Value = serde_json::from_slice(&image.manifest).expect("JSON");
        assert_eq!(manifest["config"]["digest"], digest::of(&image.config));
        assert_eq!(manifest["layers"][0]["mediaType"], LAYER);
        assert_eq!(manifest["layers"][1]["digest"], "sha256:1");
        assert_eq!(
            manifest["annotations"]["org.opencontainers.image.base.digest"],
            "sha256:index"
        );
        let again = Image::new(&base, "r.example/x:1", &[("code", &layer)]).expect("an image");
        assert_eq!(image.digest, again.digest);
    }

    #[test]
    fn a_layer_that_nobody_gives_away_is_refused() {
        let base = base("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip");
        let error = Image::new(&base, "x", &[])
            .map(|_| ())
            .expect_err("refused");
        assert!(error.to_string().contains("foreign"), "{error}");
    }
}
