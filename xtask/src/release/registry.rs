//! Images go to a registry by skopeo.

use std::process::Command;

use anyhow::{Context as _, ensure};
use serde_json::{Map, Value, json};

use crate::{debian, image::Image, shell};

/// The folder of the images, as the chart's repositories name it.
const FOLDER: &str = "fermata-dev";

/// Where images go.
#[derive(Debug)]
pub(super) struct Target<'a> {
    registry: &'a str,
    plain_http: bool,
}

// === impl Target ===

impl<'a> Target<'a> {
    pub(super) fn new(registry: &'a str, plain_http: bool) -> Self {
        Self {
            registry: registry.trim_end_matches('/'),
            plain_http,
        }
    }

    /// What references begin with.
    pub(super) fn folder(&self) -> String {
        format!("{}/{FOLDER}", self.registry)
    }

    /// Pushes an image, and looks that the registry has it under the digest that it was built with.
    pub(super) fn push(&self, image: &Image) -> anyhow::Result<()> {
        if shell::output(Command::new("skopeo").arg("--version")).is_none() {
            debian::ensure(&["skopeo"])?;
        }
        let verify = format!("-tls-verify={}", !self.speaks_plain_http());
        let reference = format!("docker://{}", image.reference);
        let mut copy = Command::new("skopeo");
        // The digest is the manifest's, so that it must arrive as it is.
        copy.args(["copy", "--preserve-digests"])
            .arg(format!("--dest{verify}"))
            .arg(format!("oci-archive:{}", image.archive.display()))
            .arg(&reference);
        shell::run(&format!("push {}", image.reference), &mut copy)?;
        let mut inspect = Command::new("skopeo");
        inspect
            .args(["inspect", "--format={{.Digest}}"])
            .arg(format!("-{verify}"))
            .arg(&reference);
        let digest = shell::output(&mut inspect)
            .with_context(|| format!("the registry does not show {}", image.reference))?;
        ensure!(
            digest.trim() == image.digest,
            "the registry has {} as {}, and it was built as {}",
            image.reference,
            digest.trim(),
            image.digest
        );
        Ok(())
    }

    /// The chart's values for these images.
    pub(super) fn values(&self, images: &[Image]) -> String {
        let digests: Map<String, Value> = images
            .iter()
            .map(|image| (image.name.clone(), image.digest.clone().into()))
            .collect();
        let values = json!({"imageRegistry": self.registry, "imageDigests": digests});
        // JSON is YAML, and every reader of values takes it.
        format!("{values:#}\n")
    }

    /// Registries on loopback have no certificates, as every container engine takes it.
    fn speaks_plain_http(&self) -> bool {
        let host = self
            .registry
            .rsplit_once(':')
            .map_or(self.registry, |(host, _)| host);
        let is_loopback = host == "localhost"
            || host
                .trim_matches(['[', ']'])
                .parse::<std::net::IpAddr>()
                .is_ok_and(|address| address.is_loopback());
        self.plain_http || is_loopback
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_registries_on_loopback_go_without_tls() {
        for registry in [
            "localhost:5000",
            "127.0.0.1:5000",
            "127.0.0.1:5000/mirror",
            "[::1]:5000",
            "localhost",
        ] {
            assert!(
                Target::new(registry, false).speaks_plain_http(),
                "{registry}"
            );
        }
        for registry in [
            "registry.example.com",
            "registry.example.com/localhost",
            "localhost.example.com:5000",
            "10.0.0.1:5000",
        ] {
            assert!(
                !Target::new(registry, false).speaks_plain_http(),
                "{registry}"
            );
            assert!(
                Target::new(registry, true).speaks_plain_http(),
                "{registry}"
            );
        }
    }

    #[test]
    fn the_values_name_every_image_by_its_digest() {
        let image = |name: &str| Image {
            name: name.into(),
            reference: format!("r.example/fermata-dev/{name}:1"),
            archive: "x".into(),
            digest: format!("sha256:{name}"),
        };
        let target = Target::new("r.example/", false);
        assert_eq!(target.folder(), "r.example/fermata-dev");
        let text = target.values(&[image("gateway"), image("runtime-node")]);
        let values: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            values,
            json!({
                "imageRegistry": "r.example",
                "imageDigests": {"gateway": "sha256:gateway", "runtime-node": "sha256:runtime-node"},
            })
        );
    }
}
