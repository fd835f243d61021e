//! Where the volumes of a container stand.
//!
//! A process here has the machine's own file system, so a volume cannot stand at its mount path. It stands
//! at the same path below the container's root folder, which is in the variable `FERMATA_ROOT`; a working
//! directory inside a volume leads there too, and so does a command.

use std::{
    io,
    os::unix::fs::symlink,
    path::{Component, Path, PathBuf},
};

use k8s_openapi::api::core::v1::{Container, Pod, VolumeMount};

use super::volumes::{Error, create_dir, stays_inside};

/// The volumes of a container, by their mount paths.
#[derive(Clone, Debug, Default)]
pub(super) struct Mounts(Vec<(String, PathBuf)>);

// === impl Mounts ===

impl Mounts {
    pub(super) fn of(container: &Container, dir: &Path) -> Self {
        let mounts = container.volume_mounts.iter().flatten();
        Self(
            mounts
                .map(|mount| (mount.mount_path.clone(), place(dir, mount)))
                .collect(),
        )
    }

    /// Where a path of the container is on this machine: below the volume that is mounted there, or the
    /// path itself.
    pub(super) fn locate(&self, path: &str) -> PathBuf {
        self.find(path).unwrap_or_else(|| PathBuf::from(path))
    }

    /// Where a path of the container is, if it is in a volume.
    pub(super) fn find(&self, path: &str) -> Option<PathBuf> {
        let found = self.0.iter().filter_map(|(mount_path, place)| {
            let rest = Path::new(path).strip_prefix(mount_path).ok()?;
            // Without a slash at its end, which a file cannot have.
            let inside = rest.components().next().map(|_| place.join(rest));
            Some((mount_path.len(), inside.unwrap_or_else(|| place.clone())))
        });
        found
            .max_by_key(|(length, _)| *length)
            .map(|(_, place)| place)
    }
}

/// Makes the container's root folder: each mount path leads to its volume.
pub(super) fn make_root(container: &Container, dir: &Path) -> Result<PathBuf, Error> {
    let root = dir.join("roots").join(&container.name);
    create_dir(&root)?;
    for mount in container.volume_mounts.iter().flatten() {
        // The API takes any mount path; here it is a path of this machine.
        let path = mount.mount_path.trim_start_matches('/');
        if !stays_inside(path) {
            return Err(Error::MountPath {
                path: mount.mount_path.clone(),
            });
        }
        if let Some(path) = mount.sub_path.as_deref().filter(|path| !stays_inside(path)) {
            return Err(Error::SubPath {
                volume: mount.name.clone(),
                path: path.to_owned(),
            });
        }
        let link = root.join(path);
        if let Some(parent) = link.parent() {
            create_dir(parent)?;
        }
        lead(&link, &place(dir, mount))?;
    }
    Ok(root)
}

/// Lets each volume that is mounted at a path of one segment stand beside the others under that name too,
/// unless one has it. Programs look for things in the folders above their own: Node.js for
/// `node_modules`, which beside `/function` is `/node_modules`.
pub(super) fn name_by_paths(pod: &Pod, dir: &Path) -> Result<(), Error> {
    let Some(spec) = &pod.spec else {
        return Ok(());
    };
    // Those of the containers come first, as these stay.
    let containers = spec.containers.iter();
    let containers = containers.chain(spec.init_containers.iter().flatten());
    for mount in containers.flat_map(|container| container.volume_mounts.iter().flatten()) {
        if let Some(name) = only_segment(&mount.mount_path) {
            lead(&dir.join("volumes").join(name), &place(dir, mount))?;
        }
    }
    Ok(())
}

fn only_segment(path: &str) -> Option<&str> {
    let mut parts = Path::new(path).components();
    match (parts.next(), parts.next(), parts.next()) {
        (Some(Component::RootDir), Some(Component::Normal(name)), None) => name.to_str(),
        _ => None,
    }
}

fn place(dir: &Path, mount: &VolumeMount) -> PathBuf {
    let home = dir.join("volumes").join(&mount.name);
    match mount.sub_path.as_deref().filter(|path| stays_inside(path)) {
        Some(path) => home.join(path),
        None => home,
    }
}

/// Makes a link, unless something has the name.
fn lead(link: &Path, place: &Path) -> Result<(), Error> {
    match symlink(place, link) {
        Err(source) if source.kind() != io::ErrorKind::AlreadyExists => Err(Error::Io {
            path: link.to_owned(),
            source,
        }),
        _ => Ok(()),
    }
}
