//! An OCI image layout in a tar, as `ctr images import`, podman and skopeo read it.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Write},
    path::Path,
};

use anyhow::{Context as _, bail};
use serde_json::{Value, json};
use tar::{EntryType, Header};

use super::layer::{Layer, digest};

/// What an image runs on.
#[derive(Debug)]
pub(super) struct Platform {
    /// As Rust says it: `x86_64`.
    pub(super) machine: &'static str,
    /// As OCI and Debian say it: `amd64`.
    pub(super) architecture: &'static str,
}

/// An image, ready to be written.
#[derive(Debug)]
pub(super) struct Archive {
    files: BTreeMap<String, Vec<u8>>,
    digest: String,
}

// === impl Platform ===

impl Platform {
    pub(super) fn of_this_machine() -> anyhow::Result<Self> {
        match (std::env::consts::OS, std::env::consts::ARCH) {
            ("linux", "x86_64") => Ok(Self {
                machine: "x86_64",
                architecture: "amd64",
            }),
            ("linux", "aarch64") => Ok(Self {
                machine: "aarch64",
                architecture: "arm64",
            }),
            (system, machine) => {
                bail!("images are built on Linux, x86_64 or aarch64; this is {system}, {machine}")
            }
        }
    }
}

// === impl Archive ===

impl Archive {
    /// Puts an image together: `config` is how it runs, and `annotations` what it says of itself.
    pub(super) fn new(
        reference: &str,
        platform: &Platform,
        config: &Value,
        annotations: &BTreeMap<String, String>,
        layers: &[Layer],
    ) -> anyhow::Result<Self> {
        let mut files = BTreeMap::new();
        let mut config = config.clone();
        config["Labels"] = json!(annotations);
        let config = json!({
            "architecture": platform.architecture,
            "os": "linux",
            // A time would make each build another image.
            "created": "1970-01-01T00:00:00Z",
            "config": config,
            "rootfs": {
                "type": "layers",
                "diff_ids": layers.iter().map(|layer| &layer.diff_id).collect::<Vec<_>>(),
            },
            "history": layers.iter().map(|_| json!({
                "created": "1970-01-01T00:00:00Z", "created_by": "cargo xtask image",
            })).collect::<Vec<_>>(),
        });
        let config = add(
            &mut files,
            "application/vnd.oci.image.config.v1+json",
            config.to_string().into_bytes(),
        );
        let layers: Vec<Value> = layers
            .iter()
            .map(|layer| {
                let kind = "application/vnd.oci.image.layer.v1.tar+gzip";
                add(&mut files, kind, layer.blob.clone())
            })
            .collect();
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": config,
            "layers": layers,
            "annotations": annotations,
        });
        let mut manifest = add(
            &mut files,
            "application/vnd.oci.image.manifest.v1+json",
            manifest.to_string().into_bytes(),
        );
        let digest = manifest["digest"].as_str().unwrap_or_default().to_owned();
        let (_, tag) = reference
            .rsplit_once(':')
            .with_context(|| format!("{reference} has no tag"))?;
        manifest["platform"] = json!({"architecture": platform.architecture, "os": "linux"});
        // containerd names an image by the first; podman and skopeo know the second.
        manifest["annotations"] = json!({
            "io.containerd.image.name": reference,
            "org.opencontainers.image.ref.name": tag,
        });
        let index = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": [manifest],
        });
        files.insert("index.json".into(), index.to_string().into_bytes());
        let layout = json!({"imageLayoutVersion": "1.0.0"});
        files.insert("oci-layout".into(), layout.to_string().into_bytes());
        Ok(Self { files, digest })
    }

    /// The digest of the manifest.
    pub(super) fn digest(&self) -> &str {
        &self.digest
    }

    /// Writes the file, whole or not at all.
    pub(super) fn write(&self, file: &Path) -> io::Result<()> {
        let part = file.with_extension("part");
        let mut output = io::BufWriter::new(fs::File::create(&part)?);
        self.write_to(&mut output)?;
        output.into_inner()?.sync_all()?;
        fs::rename(part, file)
    }

    fn write_to(&self, output: &mut impl Write) -> io::Result<()> {
        let mut tar = tar::Builder::new(output);
        for folder in ["blobs/", "blobs/sha256/"] {
            let mut header = header(0o755, 0);
            header.set_entry_type(EntryType::Directory);
            tar.append_data(&mut header, folder, io::empty())?;
        }
        for (path, content) in &self.files {
            let mut header = header(0o644, content.len());
            tar.append_data(&mut header, path, content.as_slice())?;
        }
        tar.finish()
    }
}

/// Adds a blob, and gives the descriptor that leads to it.
fn add(files: &mut BTreeMap<String, Vec<u8>>, media_type: &str, content: Vec<u8>) -> Value {
    let digest = digest(&content);
    let descriptor = json!({"mediaType": media_type, "digest": digest, "size": content.len()});
    files.insert(format!("blobs/{}", digest.replace(':', "/")), content);
    descriptor
}

fn header(mode: u32, size: usize) -> Header {
    let mut header = Header::new_gnu();
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(size as u64);
    header
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::{super::tree::Tree, *};

    const PLATFORM: Platform = Platform {
        machine: "x86_64",
        architecture: "amd64",
    };

    fn written() -> Vec<u8> {
        let mut tree = Tree::default();
        tree.add_file("usr/local/bin/p", 0o755, "program");
        let layers = [
            Layer::pack(&tree).unwrap(),
            Layer::pack(&Tree::default()).unwrap(),
        ];
        let annotations = BTreeMap::from([("org.opencontainers.image.title".into(), "p".into())]);
        let config = json!({"User": "65532:65532", "Entrypoint": ["p"]});
        let archive =
            Archive::new("r.example/p:1", &PLATFORM, &config, &annotations, &layers).unwrap();
        let mut bytes = Vec::new();
        archive.write_to(&mut bytes).unwrap();
        bytes
    }

    fn files() -> BTreeMap<String, Vec<u8>> {
        let mut files = BTreeMap::new();
        for entry in tar::Archive::new(written().as_slice()).entries().unwrap() {
            let mut entry = entry.unwrap();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            files.insert(entry.path().unwrap().display().to_string(), content);
        }
        files
    }

    /// What a descriptor leads to, after a look at its size and digest.
    fn follow(files: &BTreeMap<String, Vec<u8>>, descriptor: &Value) -> Vec<u8> {
        let name = descriptor["digest"].as_str().unwrap();
        let blob = &files[&format!("blobs/{}", name.replace(':', "/"))];
        assert_eq!(descriptor["size"], blob.len());
        assert_eq!(digest(blob), name);
        blob.clone()
    }

    #[test]
    fn the_index_leads_to_every_blob() {
        let files = files();
        let index: Value = serde_json::from_slice(&files["index.json"]).unwrap();
        let manifest: Value =
            serde_json::from_slice(&follow(&files, &index["manifests"][0])).unwrap();
        let config: Value = serde_json::from_slice(&follow(&files, &manifest["config"])).unwrap();
        assert_eq!(config["config"]["User"], "65532:65532");
        assert_eq!(
            config["config"]["Labels"]["org.opencontainers.image.title"],
            "p"
        );
        let layers = manifest["layers"].as_array().unwrap();
        let diff_ids = config["rootfs"]["diff_ids"].as_array().unwrap();
        assert_eq!((layers.len(), diff_ids.len()), (2, 2));
        for (layer, diff_id) in layers.iter().zip(diff_ids) {
            let layer = Layer::unpack(follow(&files, layer)).unwrap();
            assert_eq!(*diff_id, json!(layer.diff_id));
        }
    }

    #[test]
    fn containerd_and_others_find_the_name() {
        let index: Value = serde_json::from_slice(&files()["index.json"]).unwrap();
        let annotations = &index["manifests"][0]["annotations"];
        assert_eq!(annotations["io.containerd.image.name"], "r.example/p:1");
        assert_eq!(annotations["org.opencontainers.image.ref.name"], "1");
    }

    #[test]
    fn the_same_input_gives_the_same_bytes() {
        assert_eq!(written(), written());
    }
}
