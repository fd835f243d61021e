//! What a container has left in the file of its `terminationMessagePath`, which its status shows
//! (<https://kubernetes.io/docs/tasks/debug/debug-application/determine-reason-pod-failure/>).

use std::{
    fs::{self, File},
    io::Read as _,
    path::{Path, PathBuf},
};

use k8s_openapi::api::core::v1::Container;

use super::super::volumes::stays_inside;

/// Where the file is if the manifest does not say.
const DEFAULT_PATH: &str = "/dev/termination-log";

/// The most of it that is shown, as the kubelet has it.
const LONGEST: u64 = 4096;

/// Where the file is on this machine: below the container's root folder.
pub(super) fn path(container: &Container, dir: &Path) -> Option<PathBuf> {
    let path = container.termination_message_path.as_deref();
    let path = path.unwrap_or(DEFAULT_PATH).trim_start_matches('/');
    let root = dir.join("roots").join(&container.name);
    (!path.is_empty() && stays_inside(path)).then(|| root.join(path))
}

/// Removes what an earlier run has left.
pub(super) fn forget(path: Option<&Path>) {
    if let Some(path) = path {
        // That there is none is as good.
        let _ = fs::remove_file(path);
    }
}

/// What the container has left, if anything.
pub(super) fn read(path: Option<&Path>) -> Option<String> {
    let path = path?;
    // A link could lead to a file that never ends.
    if !fs::symlink_metadata(path).ok()?.is_file() {
        return None;
    }
    let mut bytes = Vec::new();
    let mut file = File::open(path).ok()?.take(LONGEST);
    file.read_to_end(&mut bytes).ok()?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_below_the_root_is_read_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let mut container = Container {
            name: "a".into(),
            ..Container::default()
        };
        let place = path(&container, dir.path()).unwrap();
        assert!(place.ends_with("roots/a/dev/termination-log"));
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        assert_eq!(read(Some(&place)), None);
        fs::write(&place, "words").unwrap();
        assert_eq!(read(Some(&place)).as_deref(), Some("words"));
        forget(Some(&place));
        assert!(!place.exists());
        std::os::unix::fs::symlink("/etc/hostname", &place).unwrap();
        assert_eq!(read(Some(&place)), None);
        container.termination_message_path = Some("/../x".into());
        assert_eq!(path(&container, dir.path()), None);
    }
}
