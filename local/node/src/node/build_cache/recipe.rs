//! What a result is made from. Whatever makes a difference to it is here, and nothing that differs from pod
//! to pod without making one.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

use k8s_openapi::api::core::v1::{Container, Pod};
use kube::ResourceExt as _;
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::{
    Keep,
    inputs::{self, Files, hex},
};
use crate::node::mounts::Mounts;

/// What a result is made from.
#[derive(Debug, Serialize)]
pub(in super::super) struct Recipe {
    image: Option<String>,
    command: Option<Vec<String>>,
    args: Option<Vec<String>>,
    working_dir: Option<String>,
    target: String,
    env: BTreeMap<String, String>,
    annotation: Option<String>,
    /// What is in the volumes that it may only read, by where they are mounted.
    inputs: BTreeMap<String, Files>,
}

// === impl Recipe ===

impl Recipe {
    /// The recipe of a container whose result is kept, without its inputs; `None` for any other. `env` is what its
    /// manifest asks for, without what the node adds.
    pub(in super::super) fn of(
        keep: &Keep,
        pod: &Pod,
        container: &Container,
        env: &BTreeMap<String, String>,
    ) -> Option<Self> {
        Some(Self {
            image: container.image.clone(),
            command: container.command.clone(),
            args: container.args.clone(),
            working_dir: container.working_dir.clone(),
            target: target(keep, pod, container)?.to_owned(),
            env: env.clone(),
            annotation: pod.annotations().get(&keep.annotation).cloned(),
            inputs: BTreeMap::new(),
        })
    }

    /// Adds what is in the volumes that the container may only read.
    pub(in super::super) fn read(
        mut self,
        container: &Container,
        mounts: &Mounts,
    ) -> io::Result<Self> {
        for mount in container.volume_mounts.iter().flatten() {
            if mount.read_only == Some(true) {
                let files = inputs::read(&mounts.locate(&mount.mount_path))?;
                self.inputs.insert(mount.mount_path.clone(), files);
            }
        }
        Ok(self)
    }

    /// The name of the result's folder: programs may go by that of the mount path.
    pub(in super::super) fn name(&self) -> PathBuf {
        let name = Path::new(&self.target).file_name();
        name.map_or_else(|| PathBuf::from("result"), PathBuf::from)
    }

    /// The key of the result.
    pub(in super::super) fn key(&self) -> String {
        // Maps with keys of text can always be written.
        let text = serde_json::to_vec(self).unwrap_or_default();
        hex(&Sha256::digest(text))
    }
}

/// Whether this is a key.
pub(super) fn is_key(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Where the container mounts the volume that it fills: as a whole, and to write.
fn target<'a>(keep: &Keep, pod: &Pod, container: &'a Container) -> Option<&'a str> {
    if container.name != keep.container {
        return None;
    }
    let mut volumes = pod
        .spec
        .iter()
        .flat_map(|spec| spec.volumes.iter().flatten());
    volumes.find(|volume| volume.name == keep.volume && volume.empty_dir.is_some())?;
    let mut mounts = container.volume_mounts.iter().flatten();
    let mount = mounts.find(|mount| mount.name == keep.volume)?;
    let whole = mount.sub_path.as_deref().unwrap_or_default().is_empty();
    (whole && mount.read_only != Some(true)).then_some(mount.mount_path.as_str())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn keep() -> Keep {
        Keep {
            dir: PathBuf::new(),
            container: "build".into(),
            volume: "made".into(),
            annotation: "example.com/build".into(),
        }
    }

    fn recipe(change: impl FnOnce(&mut Value, &mut Value)) -> Option<Recipe> {
        let mut pod = json!({
            "metadata": {"name": "p"},
            "spec": {"containers": [], "volumes": [{"name": "made", "emptyDir": {}}]},
        });
        let mut container = json!({
            "name": "build", "image": "i", "command": ["c"],
            "volumeMounts": [{"name": "made", "mountPath": "/opt/made"}],
        });
        change(&mut pod, &mut container);
        let pod = serde_json::from_value(pod).unwrap();
        let container: Container = serde_json::from_value(container).unwrap();
        let env = container.env.iter().flatten();
        let env = env.map(|var| (var.name.clone(), var.value.clone().unwrap_or_default()));
        Recipe::of(&keep(), &pod, &container, &env.collect())
    }

    #[test]
    fn what_makes_a_difference_changes_the_key() {
        let plain = recipe(|_, _| {}).unwrap();
        assert!(is_key(&plain.key()));
        assert_eq!(plain.name(), Path::new("made"));
        let mut keys = vec![plain.key()];
        let changes: [fn(&mut Value, &mut Value); 5] = [
            |_, container| container["image"] = json!("other"),
            |_, container| container["command"] = json!(["c", "x"]),
            |_, container| container["args"] = json!(["x"]),
            |_, container| container["env"] = json!([{"name": "PATH", "value": "/opt/bin"}]),
            |pod, _| pod["metadata"]["annotations"] = json!({"example.com/build": "now"}),
        ];
        keys.extend(changes.map(|change| recipe(change).unwrap().key()));
        let mut with_file = recipe(|_, _| {}).unwrap();
        let file = inputs::File {
            executable: false,
            digest: hex(&[0; 32]),
        };
        with_file
            .inputs
            .insert("/source".into(), Files::from([("a".into(), file)]));
        keys.push(with_file.key());
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), 7);
    }

    #[test]
    fn what_is_only_a_place_does_not() {
        let plain = recipe(|_, _| {}).unwrap().key();
        let same = recipe(|pod, _| {
            pod["metadata"] = json!({"name": "q", "labels": {"a": "b"}});
        });
        assert_eq!(same.unwrap().key(), plain);
    }

    #[test]
    fn any_other_container_has_none() {
        let others: [fn(&mut Value, &mut Value); 4] = [
            |_, container| container["name"] = json!("other"),
            |_, container| container["volumeMounts"] = json!([]),
            |_, container| container["volumeMounts"][0]["subPath"] = json!("x"),
            |pod, _| {
                pod["spec"]["volumes"][0] = json!({"name": "made", "configMap": {"name": "m"}});
            },
        ];
        for other in others {
            assert!(recipe(other).is_none());
        }
    }
}
