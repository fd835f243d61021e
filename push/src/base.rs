//! The image that everything is made on: that of a Runtime.

use serde::Deserialize;
use serde_json::Value;

use crate::{
    error::Error,
    reference::Image,
    registry::{Manifest, Registries},
};

/// The largest configuration.
const MOST_CONFIG: usize = 8 << 20;

/// The most layers; no container runtime takes more.
const MOST_LAYERS: usize = 120;

/// An image for this machine.
#[derive(Debug)]
pub(crate) struct Base {
    pub(crate) layers: Vec<Descriptor>,
    /// How a container of it runs, and what its layers are.
    pub(crate) config: Value,
    /// Of the image as it was named: of the index where there is one.
    pub(crate) digest: String,
}

/// What a manifest says of a blob.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Descriptor {
    pub(crate) media_type: String,
    pub(crate) digest: String,
    pub(crate) size: u64,
}

#[derive(Deserialize)]
struct Listed {
    digest: String,
    #[serde(default)]
    platform: Option<Platform>,
}

#[derive(Deserialize)]
struct Platform {
    architecture: String,
    os: String,
}

/// An index, or the manifest of one image.
#[derive(Deserialize)]
struct Read {
    manifests: Option<Vec<Listed>>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
}

impl Base {
    /// Reads what an image is made of, of an index that for this machine.
    pub(crate) async fn read(image: &Image, registries: &Registries) -> Result<Self, Error> {
        let wrong = |why: String| Error::Base {
            image: image.written.clone(),
            why,
        };
        let repository = &image.repository;
        let manifest = async |version: &str| -> Result<Manifest, Error> {
            let found = registries.manifest(repository, version).await?;
            found.ok_or_else(|| {
                wrong(format!(
                    "{} has none of this name; push it there, or correct the Runtime",
                    repository.host
                ))
            })
        };
        let parse = |manifest: &Manifest| -> Result<Read, Error> {
            serde_json::from_slice(&manifest.bytes)
                .map_err(|error| wrong(format!("its manifest is none: {error}")))
        };
        let first = manifest(&image.version).await?;
        let mut read = parse(&first)?;
        if let Some(listed) = &read.manifests {
            let digest = choose(listed, architecture()).map_err(wrong)?;
            read = parse(&manifest(digest).await?)?;
        }
        let (Some(config), Some(layers)) = (read.config, read.layers) else {
            return Err(wrong(
                "its manifest has neither images nor layers".to_owned(),
            ));
        };
        let all = layers.iter().chain([&config]);
        if let Some(bad) = all
            .map(|one| &one.digest)
            .find(|digest| !crate::digest::is_valid(digest))
        {
            return Err(wrong(format!(
                "{bad:?} in its manifest is no digest of sha256"
            )));
        }
        if layers.len() > MOST_LAYERS {
            return Err(wrong(format!(
                "it has {} layers, and at most {MOST_LAYERS} are possible",
                layers.len()
            )));
        }
        let config = registries
            .blob(repository, &config.digest, MOST_CONFIG)
            .await?;
        let config: Value = serde_json::from_slice(&config)
            .map_err(|error| wrong(format!("its configuration is none: {error}")))?;
        let (os, own) = (
            config["os"].as_str().unwrap_or_default(),
            config["architecture"].as_str().unwrap_or_default(),
        );
        if os != "linux" || own != architecture() {
            return Err(wrong(format!(
                "it is for {os}/{own}, and this node is linux/{}",
                architecture()
            )));
        }
        let known = config["rootfs"]["diff_ids"].as_array().map_or(0, Vec::len);
        if known != layers.len() {
            return Err(wrong(format!(
                "its configuration has {known} layers, and its manifest {}",
                layers.len()
            )));
        }
        Ok(Self {
            layers,
            config,
            digest: first.digest,
        })
    }
}

/// The manifest for this machine.
fn choose<'a>(listed: &'a [Listed], architecture: &str) -> Result<&'a str, String> {
    let named = |platform: &Platform| format!("{}/{}", platform.os, platform.architecture);
    let wanted = format!("linux/{architecture}");
    let mut own = listed
        .iter()
        .filter(|one| one.platform.as_ref().map(named).as_ref() == Some(&wanted));
    if let Some(one) = own.next() {
        return Ok(&one.digest);
    }
    let known: Vec<String> = listed
        .iter()
        .filter_map(|one| one.platform.as_ref())
        .map(named)
        .take(20)
        .collect();
    Err(format!(
        "there is none for {wanted}, only for {}",
        known.join(", ")
    ))
}

/// This machine's architecture, as images call it.
pub(crate) fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "powerpc64" => "ppc64le",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_image_for_this_machine_is_chosen() {
        let listed: Vec<Listed> = serde_json::from_str(
            r#"[{"digest": "a", "platform": {"os": "windows", "architecture": "amd64"}},
                {"digest": "b"},
                {"digest": "c", "platform": {"os": "linux", "architecture": "amd64"}},
                {"digest": "d", "platform": {"os": "linux", "architecture": "arm64"}}]"#,
        )
        .expect("a list");
        assert_eq!(choose(&listed, "amd64"), Ok("c"));
        assert_eq!(choose(&listed, "arm64"), Ok("d"));
        let error = choose(&listed, "s390x").expect_err("none");
        assert!(
            error.contains("none for linux/s390x, only for windows/amd64, linux/amd64"),
            "{error}"
        );
    }
}
