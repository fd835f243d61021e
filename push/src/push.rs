//! The way of a push: what can be wrong here is found before anything is sent; then layers, the configuration, and
//! last the manifest, which makes an image of them.

use serde::Serialize;

use crate::{
    base::{self, Base},
    credentials::Credentials,
    error::Error,
    image::{self, Image},
    layer::{self, Limits, Packed},
    registry::Registries,
    settings::{Dependencies, KnownLayer, Settings},
};

/// What was pushed.
#[derive(Debug, Serialize)]
pub(crate) struct Pushed {
    /// The image by its digest, as a pod names it.
    pub(crate) image: String,
    /// Its digest.
    pub(crate) digest: String,
    /// What machines it is for, as Kubernetes calls it.
    pub(crate) architecture: &'static str,
    /// The layers that were made for it.
    pub(crate) layers: Layers,
}

/// The layers of an image that may be used again.
#[derive(Debug, Serialize)]
pub(crate) struct Layers {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) dependencies: Option<KnownLayer>,
}

/// Makes the layers and pushes the image.
pub(crate) async fn push(settings: &Settings) -> Result<Pushed, Error> {
    let credentials = match &settings.credentials {
        Some(folder) => Credentials::read(folder)?,
        None => Credentials::default(),
    };
    let repository = &settings.repository;
    let plain = settings.plain_http.then(|| repository.host.clone());
    let registries = Registries::new(
        credentials,
        plain,
        settings.proxy.clone(),
        settings.retry_pause,
    )?;
    let limits = Limits {
        bytes: settings.max_bytes,
        files: settings.max_files,
    };
    let pack =
        |folder, what, name: &str| layer::pack(folder, what, limits, &settings.scratch.join(name));
    // Reading and compressing blocks this thread, which has nothing else to do.
    let mut packed: Vec<Packed> = Vec::new();
    let dependencies = match &settings.dependencies {
        Some(Dependencies::Folder(folder)) => {
            let made = pack(folder, "the dependencies", "dependencies.tar.gz")?;
            let layer = made.layer.clone();
            packed.push(made);
            Some(layer)
        }
        Some(Dependencies::Layer(layer)) => {
            if !registries.has_blob(repository, &layer.digest).await? {
                return Err(Error::LayerGone {
                    repository: repository.to_string(),
                    digest: layer.digest.clone(),
                });
            }
            Some(layer.clone())
        }
        None => None,
    };
    let code = pack(&settings.code, "the code", "code.tar.gz")?;
    let code_layer = code.layer.clone();
    packed.push(code);

    let base = Base::read(&settings.base, &registries).await?;
    let mut layers: Vec<(&str, &KnownLayer)> = Vec::new();
    layers.extend(dependencies.iter().map(|layer| ("dependencies", layer)));
    layers.push(("code", &code_layer));
    let image =
        Image::new(&base, &settings.base.written, &layers).map_err(|foreign| Error::Base {
            image: settings.base.written.clone(),
            why: foreign.to_string(),
        })?;

    for layer in &base.layers {
        registries
            .copy(
                repository,
                &layer.digest,
                layer.size,
                &settings.base.repository,
            )
            .await?;
    }
    for Packed { file, layer } in &packed {
        registries
            .put_file(repository, &layer.digest, layer.size, file)
            .await?;
    }
    registries.put_bytes(repository, &image.config).await?;
    let digits = image.digest.trim_start_matches("sha256:");
    // One of its own for each image, so that no tag ever moves, and a registry that keeps only what has one keeps it.
    let tag = format!("{}-{}", settings.tag, digits.get(..16).unwrap_or(digits));
    registries
        .put_manifest(repository, &tag, image::MANIFEST, &image.manifest)
        .await?;
    Ok(Pushed {
        image: format!("{repository}@{}", image.digest),
        digest: image.digest,
        architecture: base::architecture(),
        layers: Layers { dependencies },
    })
}
