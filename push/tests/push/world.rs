//! What a push takes: folders, settings and an image to begin with.

use std::{collections::BTreeMap, fs, path::PathBuf, process::Command};

use serde_json::{Value, json};

use crate::fake::{Fake, digest};

/// The repository that is pushed to.
pub(crate) const OWN: &str = "fn/team";

/// The repository of the Runtime's image.
pub(crate) const RUNTIME: &str = "runtimes/python";

/// Folders of one push.
pub(crate) struct World {
    folder: tempfile::TempDir,
    pub(crate) settings: BTreeMap<String, String>,
}

/// How a push ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    /// What was told last.
    pub(crate) said: String,
    /// The result, if there is one.
    pub(crate) result: Value,
}

// === impl World ===

impl World {
    /// Dependencies and code that go to this registry, on an image of this one.
    pub(crate) fn new(to: &Fake, base: &Fake) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        for (path, text) in [
            ("dependencies/foo/__init__.py", "X = 1\n"),
            ("code/main.py", "import foo\n"),
        ] {
            let file = folder.path().join(path);
            fs::create_dir_all(file.parent().expect("a folder")).expect("made");
            fs::write(file, text).expect("written");
        }
        let mut world = Self {
            folder,
            settings: BTreeMap::new(),
        };
        let (dependencies, code, scratch, result) = (
            world.path("dependencies"),
            world.path("code"),
            world.path(""),
            world.path("result"),
        );
        for (name, value) in [
            ("REPOSITORY", format!("{}/{OWN}", to.address)),
            ("BASE", format!("{}/{RUNTIME}:1", base.address)),
            ("TAG", "hello-00001".to_owned()),
            ("DEPENDENCIES", dependencies.display().to_string()),
            ("TARGET", "/dependencies".to_owned()),
            ("CODE", code.display().to_string()),
            ("PLAIN_HTTP", "true".to_owned()),
            ("SCRATCH", scratch.display().to_string()),
            ("RESULT", result.display().to_string()),
            // Failures shall be quick here.
            ("RETRY_PAUSE", "1".to_owned()),
        ] {
            world.set(name, value);
        }
        world
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn set(&mut self, name: &str, value: impl Into<String>) {
        self.settings
            .insert(format!("FERMATA_PUSH_{name}"), value.into());
    }

    /// Credentials for these hosts, and an authority to trust.
    pub(crate) fn credentials(&mut self, hosts: &[(&Fake, &str, &str)], authority: Option<&str>) {
        let auths: BTreeMap<String, Value> = hosts
            .iter()
            .map(|(host, name, password)| {
                (
                    host.address.to_string(),
                    json!({"username": name, "password": password}),
                )
            })
            .collect();
        let folder = self.path("credentials");
        fs::create_dir_all(&folder).expect("made");
        fs::write(
            folder.join(".dockerconfigjson"),
            json!({"auths": auths}).to_string(),
        )
        .expect("written");
        if let Some(authority) = authority {
            fs::write(folder.join("ca.crt"), authority).expect("written");
        }
        let folder = folder.display().to_string();
        self.set("CREDENTIALS", folder);
    }

    /// Runs the program.
    pub(crate) fn push(&self) -> Ended {
        let _ = fs::remove_file(self.path("result"));
        let output = Command::new(env!("CARGO_BIN_EXE_fermata-push"))
            .env_clear()
            .envs(&self.settings)
            .output()
            .expect("the program runs");
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        let result = fs::read_to_string(self.path("result")).ok();
        let result = result.and_then(|text| serde_json::from_str(&text).ok());
        Ended {
            code: output.status.code().unwrap_or(-1),
            said,
            result: result.unwrap_or_default(),
        }
    }
}

// === impl Ended ===

impl Ended {
    /// It failed like this, with this in its one sentence.
    pub(crate) fn failed(&self, code: i32, parts: &[&str]) {
        assert_eq!(self.code, code, "{self:?}");
        assert_eq!(self.said.lines().count(), 1, "{self:?}");
        assert_eq!(self.result, Value::Null, "{self:?}");
        for part in parts {
            assert!(self.said.contains(part), "no {part:?} in {self:?}");
        }
    }

    /// It went well; the image's digest.
    pub(crate) fn digest(&self) -> String {
        assert_eq!(self.code, 0, "{self:?}");
        self.result["digest"].as_str().expect("a digest").to_owned()
    }
}

/// This machine's architecture, as images call it.
pub(crate) fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// Puts the image of the Runtime into a registry, under the tag 1. `layer` is what its one layer holds.
pub(crate) fn seed(fake: &Fake, layer: &str) {
    let mut state = fake.state();
    let layer_digest = state.put(RUNTIME, layer.to_owned());
    let config = json!({
        "os": "linux", "architecture": architecture(),
        "config": {"User": "65532", "Env": ["A=b"]},
        "rootfs": {"type": "layers", "diff_ids": [digest(b"plain")]},
    });
    let config = config.to_string();
    let size = config.len();
    let config = state.put(RUNTIME, config);
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
        "config": {"mediaType": "application/vnd.docker.container.image.v1+json", "digest": config, "size": size},
        "layers": [{"mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip", "digest": layer_digest,
            "size": layer.len()}],
    })
    .to_string();
    let kind = "application/vnd.docker.distribution.manifest.v2+json".to_owned();
    let own = digest(manifest.as_bytes());
    for version in [own, "1".to_owned()] {
        state.manifests.insert(
            (RUNTIME.to_owned(), version),
            (kind.clone(), manifest.clone().into()),
        );
    }
}
