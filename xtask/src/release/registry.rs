//! Images go to a registry by skopeo.

use std::process::Command;

use anyhow::{Context as _, ensure};
use serde_json::json;

use crate::{debian, image::Image, shell};

/// Where images go.
#[derive(Debug)]
pub(super) struct Target<'a> {
    pub(super) registry: &'a str,
    pub(super) folder: &'a str,
    pub(super) tag: &'a str,
    pub(super) plain_http: bool,
}

// === impl Target ===

impl Target<'_> {
    /// Registry and folder, as references begin.
    pub(super) fn place(&self) -> String {
        let parts = [self.registry, self.folder].map(|part| part.trim_matches('/'));
        parts
            .into_iter()
            .filter(|part| !part.is_empty())
            .collect::<Vec<_>>()
            .join("/")
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
        let mut values = json!({ "imageRegistry": self.registry.trim_matches('/') });
        for image in images {
            let repository = format!("{}/{}", self.folder.trim_matches('/'), image.name);
            let own = json!({"image": {
                "repository": repository.trim_start_matches('/'),
                "tag": self.tag, "digest": image.digest,
            }});
            match image.name.strip_prefix("runtime-") {
                Some(language) => values["runtimes"][language] = own,
                None => values[&image.name] = own,
            }
        }
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

    fn target(registry: &str) -> Target<'_> {
        Target {
            registry,
            folder: "fermata-dev",
            tag: "1",
            plain_http: false,
        }
    }

    #[test]
    fn only_registries_on_loopback_go_without_tls() {
        for registry in [
            "localhost:5000",
            "127.0.0.1:5000",
            "[::1]:5000",
            "localhost",
        ] {
            assert!(target(registry).speaks_plain_http(), "{registry}");
        }
        for registry in [
            "registry.example.com",
            "localhost.example.com:5000",
            "10.0.0.1:5000",
        ] {
            assert!(!target(registry).speaks_plain_http(), "{registry}");
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
        let text = target("r.example").values(&[image("gateway"), image("runtime-node")]);
        let values: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(values["imageRegistry"], "r.example");
        assert_eq!(values["gateway"]["image"]["digest"], "sha256:gateway");
        let node = &values["runtimes"]["node"]["image"];
        assert_eq!(node["repository"], "fermata-dev/runtime-node");
        assert_eq!(node["digest"], "sha256:runtime-node");
    }
}
