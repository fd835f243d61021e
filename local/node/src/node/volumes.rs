//! The volumes of a pod, as folders.

use std::{
    collections::BTreeMap,
    fmt::Debug,
    io,
    os::unix::fs::PermissionsExt as _,
    path::{Component, Path, PathBuf},
};

use k8s_openapi::{
    NamespaceResourceScope,
    api::core::v1::{
        ConfigMap, DownwardAPIVolumeFile, KeyToPath, Pod, Secret, Volume, VolumeProjection,
    },
};
use kube::{Api, Client, Resource, ResourceExt as _};
use serde::de::DeserializeOwned;

use super::env;

/// Why a volume cannot be made, in the kubelet's own words where it has some.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("MountVolume.SetUp failed for volume \"{volume}\" : {kind} \"{name}\" not found")]
    Missing {
        volume: String,
        kind: &'static str,
        name: String,
    },
    #[error(
        "MountVolume.SetUp failed for volume \"{volume}\" : references non-existent key: {key}"
    )]
    MissingKey { volume: String, key: String },
    #[error(
        "MountVolume.SetUp failed for volume \"{volume}\" : the embedded node offers emptyDir, configMap, secret, projected and downwardAPI volumes only"
    )]
    Unsupported { volume: String },
    #[error("MountVolume.SetUp failed for volume \"{volume}\" : the path {path} leaves the volume")]
    Escapes { volume: String, path: String },
    #[error("the mount path {path} leaves the container's root; write it without ..")]
    MountPath { path: String },
    #[error(
        "the subPath {path} leaves the volume \"{volume}\"; write it without .. and without / at its beginning"
    )]
    SubPath { volume: String, path: String },
    #[error("MountVolume.SetUp failed for volume \"{volume}\"")]
    Field { volume: String, source: env::Error },
    #[error("writing {} failed", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("reading {kind} \"{name}\" failed")]
    Api {
        kind: &'static str,
        name: String,
        source: Box<kube::Error>,
    },
}

type Files = BTreeMap<String, (Vec<u8>, Option<i32>)>;

/// Makes every volume of the pod below `dir`.
pub(super) async fn make(client: &Client, pod: &Pod, dir: &Path) -> Result<(), Error> {
    for volume in pod
        .spec
        .iter()
        .flat_map(|spec| spec.volumes.iter().flatten())
    {
        let maker = VolumeBuilder {
            client,
            pod,
            volume: &volume.name,
        };
        let files = maker.files(volume).await?;
        let home = dir.join("volumes").join(&volume.name);
        create_dir(&home)?;
        for (path, (content, mode)) in files {
            write(&volume.name, &home, &path, &content, mode)?;
        }
    }
    Ok(())
}

/// Whether a relative path leads nowhere else.
pub(super) fn stays_inside(path: &str) -> bool {
    Path::new(path)
        .components()
        .all(|part| matches!(part, Component::Normal(_) | Component::CurDir))
}

/// Gathers what one volume holds.
struct VolumeBuilder<'a> {
    client: &'a Client,
    pod: &'a Pod,
    volume: &'a str,
}

// === impl VolumeBuilder ===

impl VolumeBuilder<'_> {
    async fn files(&self, volume: &Volume) -> Result<Files, Error> {
        if volume.empty_dir.is_some() {
            return Ok(Files::new());
        }
        if let Some(source) = &volume.config_map {
            return self
                .config_map(
                    &source.name,
                    source.items.as_deref(),
                    source.optional,
                    source.default_mode,
                )
                .await;
        }
        if let Some(source) = &volume.secret {
            let name = source.secret_name.as_deref().unwrap_or_default();
            return self
                .secret(
                    name,
                    source.items.as_deref(),
                    source.optional,
                    source.default_mode,
                )
                .await;
        }
        if let Some(source) = &volume.downward_api {
            return self.downward(
                source.items.as_deref().unwrap_or_default(),
                source.default_mode,
            );
        }
        if let Some(source) = &volume.projected {
            let mut files = Files::new();
            for part in source.sources.iter().flatten() {
                files.extend(self.projection(part, source.default_mode).await?);
            }
            return Ok(files);
        }
        Err(self.unsupported())
    }

    async fn projection(&self, part: &VolumeProjection, mode: Option<i32>) -> Result<Files, Error> {
        if let Some(source) = &part.config_map {
            return self
                .config_map(&source.name, source.items.as_deref(), source.optional, mode)
                .await;
        }
        if let Some(source) = &part.secret {
            return self
                .secret(&source.name, source.items.as_deref(), source.optional, mode)
                .await;
        }
        match &part.downward_api {
            Some(source) => self.downward(source.items.as_deref().unwrap_or_default(), mode),
            None => Err(self.unsupported()),
        }
    }

    async fn config_map(
        &self,
        name: &str,
        items: Option<&[KeyToPath]>,
        optional: Option<bool>,
        mode: Option<i32>,
    ) -> Result<Files, Error> {
        let read = self.read::<ConfigMap>("configmap", name, optional);
        let Some(map) = read.await? else {
            return Ok(Files::new());
        };
        let text = map
            .data
            .unwrap_or_default()
            .into_iter()
            .map(|(key, value)| (key, value.into_bytes()));
        let binary = map
            .binary_data
            .unwrap_or_default()
            .into_iter()
            .map(|(key, value)| (key, value.0));
        self.pick(text.chain(binary).collect(), items, optional, mode)
    }

    async fn secret(
        &self,
        name: &str,
        items: Option<&[KeyToPath]>,
        optional: Option<bool>,
        mode: Option<i32>,
    ) -> Result<Files, Error> {
        let read = self.read::<Secret>("secret", name, optional);
        let Some(secret) = read.await? else {
            return Ok(Files::new());
        };
        let data = secret
            .data
            .unwrap_or_default()
            .into_iter()
            .map(|(key, value)| (key, value.0));
        self.pick(data.collect(), items, optional, mode)
    }

    fn pick(
        &self,
        mut data: BTreeMap<String, Vec<u8>>,
        items: Option<&[KeyToPath]>,
        optional: Option<bool>,
        mode: Option<i32>,
    ) -> Result<Files, Error> {
        let Some(items) = items else {
            return Ok(data
                .into_iter()
                .map(|(key, content)| (key, (content, mode)))
                .collect());
        };
        let mut files = Files::new();
        for item in items {
            match data.remove(&item.key) {
                Some(content) => {
                    files.insert(item.path.clone(), (content, item.mode.or(mode)));
                }
                None if optional == Some(true) => {}
                None => {
                    return Err(Error::MissingKey {
                        volume: self.volume.to_owned(),
                        key: item.key.clone(),
                    });
                }
            }
        }
        Ok(files)
    }

    fn downward(&self, items: &[DownwardAPIVolumeFile], mode: Option<i32>) -> Result<Files, Error> {
        let lines = |map: &BTreeMap<String, String>| {
            map.iter()
                .map(|(key, value)| format!("{key}={value:?}\n"))
                .collect::<String>()
        };
        let content = |item: &DownwardAPIVolumeFile| {
            let selector = item.field_ref.as_ref().ok_or_else(|| self.unsupported())?;
            match selector.field_path.as_str() {
                "metadata.labels" => Ok(lines(self.pod.labels())),
                "metadata.annotations" => Ok(lines(self.pod.annotations())),
                _ => env::field(self.pod, selector).map_err(|source| Error::Field {
                    volume: self.volume.to_owned(),
                    source,
                }),
            }
        };
        items
            .iter()
            .map(|item| {
                Ok((
                    item.path.clone(),
                    (content(item)?.into_bytes(), item.mode.or(mode)),
                ))
            })
            .collect()
    }

    /// Reads an object beside the pod, which has to be there unless it is optional.
    async fn read<K>(
        &self,
        kind: &'static str,
        name: &str,
        optional: Option<bool>,
    ) -> Result<Option<K>, Error>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + Debug
            + DeserializeOwned,
    {
        let namespace = self.pod.namespace().unwrap_or_default();
        let objects = Api::<K>::namespaced(self.client.clone(), &namespace);
        match objects.get_opt(name).await {
            Ok(None) if optional != Some(true) => Err(Error::Missing {
                volume: self.volume.to_owned(),
                kind,
                name: name.to_owned(),
            }),
            Ok(object) => Ok(object),
            Err(error) => Err(Error::Api {
                kind,
                name: name.to_owned(),
                source: Box::new(error),
            }),
        }
    }

    fn unsupported(&self) -> Error {
        Error::Unsupported {
            volume: self.volume.to_owned(),
        }
    }
}

/// Makes a folder with those above it.
pub(super) fn create_dir(path: &Path) -> Result<(), Error> {
    std::fs::create_dir_all(path).map_err(|source| Error::Io {
        path: path.to_owned(),
        source,
    })
}

fn write(
    volume: &str,
    home: &Path,
    path: &str,
    content: &[u8],
    mode: Option<i32>,
) -> Result<(), Error> {
    if !stays_inside(path) {
        return Err(Error::Escapes {
            volume: volume.to_owned(),
            path: path.to_owned(),
        });
    }
    let file = home.join(path);
    if let Some(parent) = file.parent() {
        create_dir(parent)?;
    }
    // Secrets may be among them: whatever the manifest says, other users of this machine read
    // nothing.
    let mode = mode
        .and_then(|mode| u32::try_from(mode).ok())
        .unwrap_or(0o644)
        & 0o700;
    let written = std::fs::write(&file, content).and_then(|()| {
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode | 0o600))
    });
    written.map_err(|source| Error::Io { path: file, source })
}
