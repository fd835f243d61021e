//! Folders with all they hold.

use std::{
    fs, io,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Component, Path, PathBuf},
};

use super::settings::Bounds;

/// What a folder holds.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Size {
    pub(crate) bytes: u64,
    /// Files, folders and links.
    pub(crate) files: u64,
}

/// A copy that is larger than it may be, or that fails.
#[derive(Debug)]
pub(super) enum CopyError {
    Exceeds,
    /// A link, and what it leads to, which is not there.
    LeadsNowhere(PathBuf, PathBuf),
    Io(PathBuf, io::Error),
}

/// What no result has.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Flaw {
    /// A file with rights of its owner, or what is no file, folder or link; and what it is.
    Unfit(PathBuf, &'static str),
    /// A link, and where it leads.
    LeadsOut(PathBuf, PathBuf),
}

// === impl Size ===

impl Size {
    pub(crate) fn exceeds(self, bounds: Bounds) -> bool {
        self.bytes > bounds.bytes || self.files > bounds.files
    }

    fn add(&mut self, metadata: &fs::Metadata) {
        self.files += 1;
        if metadata.is_file() {
            self.bytes += metadata.len();
        }
    }
}

/// How large a folder is; more than the bounds once it is over them. What vanishes meanwhile does not count.
pub(crate) fn measure(root: &Path, bounds: Bounds) -> io::Result<Size> {
    let mut size = Size::default();
    visit(root, &mut |_, metadata| {
        size.add(metadata);
        !size.exceeds(bounds)
    })?;
    Ok(size)
}

/// The first link that leads out of the folder, and where it leads.
pub(crate) fn link_out(root: &Path) -> io::Result<Option<(PathBuf, PathBuf)>> {
    let mut found = None;
    visit(root, &mut |path, metadata| {
        let to = outward(root, path, metadata);
        found = to.map(|to| (below(root, path), to));
        found.is_none()
    })?;
    Ok(found)
}

/// How large a result is, as [`measure`] says, and the first thing in it that no result has.
pub(super) fn inspect(root: &Path, bounds: Bounds) -> io::Result<(Size, Option<Flaw>)> {
    let (mut size, mut flaw) = (Size::default(), None);
    visit(root, &mut |path, metadata| {
        size.add(metadata);
        flaw = unfit(metadata)
            .map(|what| Flaw::Unfit(below(root, path), what))
            .or_else(|| {
                let to = outward(root, path, metadata)?;
                Some(Flaw::LeadsOut(below(root, path), to))
            });
        flaw.is_none() && !size.exceeds(bounds)
    })?;
    Ok((size, flaw))
}

/// What it is that no result has, if it is so.
fn unfit(metadata: &fs::Metadata) -> Option<&'static str> {
    let kind = metadata.file_type();
    if kind.is_file() {
        let mode = metadata.permissions().mode();
        (mode & 0o6000 != 0).then_some("a file with a setuid or setgid bit")
    } else if kind.is_dir() || kind.is_symlink() {
        None
    } else {
        Some("a socket, a pipe or a device")
    }
}

/// Where a link leads that leads out.
fn outward(root: &Path, path: &Path, metadata: &fs::Metadata) -> Option<PathBuf> {
    let to = metadata.is_symlink().then(|| fs::read_link(path).ok())??;
    leads_out(root, path, &to).then_some(to)
}

/// A path as the folder has it.
fn below(root: &Path, path: &Path) -> PathBuf {
    path.strip_prefix(root).unwrap_or(path).to_owned()
}

/// Whether a link leads out: by its words, as the folder may stand elsewhere later, or by another link.
fn leads_out(root: &Path, link: &Path, to: &Path) -> bool {
    let own = link.strip_prefix(root).unwrap_or(link);
    let mut depth = own.components().count().saturating_sub(1);
    for part in to.components() {
        match part {
            Component::Normal(_) => depth += 1,
            Component::CurDir => {}
            Component::ParentDir => match depth.checked_sub(1) {
                Some(less) => depth = less,
                None => return true,
            },
            Component::RootDir | Component::Prefix(_) => return true,
        }
    }
    fs::canonicalize(link).is_ok_and(|real| !real.starts_with(root))
}

/// Visits everything below a folder, without following links, until told to stop.
fn visit(root: &Path, each: &mut impl FnMut(&Path, &fs::Metadata) -> bool) -> io::Result<()> {
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                ) =>
            {
                continue;
            }
            Err(error) => return Err(error),
        };
        for entry in entries {
            let path = entry?.path();
            let Ok(metadata) = fs::symlink_metadata(&path) else {
                continue;
            };
            if !each(&path, &metadata) {
                return Ok(());
            }
            if metadata.is_dir() {
                folders.push(path);
            }
        }
    }
    Ok(())
}

/// Removes all that a folder holds.
pub(crate) fn clear(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if fs::symlink_metadata(&path)?.is_dir() {
            fs::remove_dir_all(&path)?;
        } else {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}

/// Copies what a folder holds, with what links in it lead to, since a volume of a cluster is made of links.
/// Folders that `leave_out` names are not copied. Links in a circle end where the system follows no more.
pub(super) fn copy_inputs(
    from: &Path,
    to: &Path,
    bounds: Bounds,
    leave_out: &[&Path],
) -> Result<(), CopyError> {
    let mut size = Size::default();
    let mut folders = vec![(from.to_owned(), to.to_owned())];
    while let Some((from, to)) = folders.pop() {
        let failed = |error| CopyError::Io(from.clone(), error);
        for entry in fs::read_dir(&from).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            // The versions of a volume that the kubelet keeps; what they hold is linked beside them.
            if name.as_encoded_bytes().starts_with(b"..") {
                continue;
            }
            let (source, copy) = (from.join(&name), to.join(&name));
            if leave_out.contains(&source.as_path()) {
                continue;
            }
            let failed = |error| CopyError::Io(source.clone(), error);
            let metadata = match fs::metadata(&source) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    return Err(match fs::read_link(&source) {
                        Ok(to) => CopyError::LeadsNowhere(source, to),
                        Err(_) => failed(error),
                    });
                }
                metadata => metadata.map_err(failed)?,
            };
            size.add(&metadata);
            if size.exceeds(bounds) {
                return Err(CopyError::Exceeds);
            }
            if metadata.is_dir() {
                fs::create_dir(&copy).map_err(failed)?;
                folders.push((source, copy));
            } else if metadata.is_file() {
                fs::copy(&source, &copy).map_err(failed)?;
                // What is mounted may be read only; a copy is the tool's to change.
                let mode = metadata.permissions().mode() | 0o600;
                fs::set_permissions(&copy, fs::Permissions::from_mode(mode)).map_err(failed)?;
            }
        }
    }
    Ok(())
}

/// Moves all that a folder holds into another, also where that is on another file system.
pub(super) fn move_all(from: &Path, to: &Path) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let name = entry?.file_name();
        let (source, target) = (from.join(&name), to.join(&name));
        match fs::rename(&source, &target) {
            Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
                copy_as_it_is(&source, &target)?;
            }
            result => result?,
        }
    }
    Ok(())
}

/// Copies a file, a link as a link, or a folder with all it holds.
fn copy_as_it_is(from: &Path, to: &Path) -> io::Result<()> {
    let mut places = vec![(from.to_owned(), to.to_owned())];
    while let Some((from, to)) = places.pop() {
        let metadata = fs::symlink_metadata(&from)?;
        if metadata.is_symlink() {
            symlink(fs::read_link(&from)?, &to)?;
        } else if metadata.is_dir() {
            fs::create_dir(&to)?;
            for entry in fs::read_dir(&from)? {
                let name = entry?.file_name();
                places.push((from.join(&name), to.join(&name)));
            }
        } else if metadata.is_file() {
            fs::copy(&from, &to)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NO_BOUNDS: Bounds = Bounds {
        bytes: u64::MAX,
        files: u64::MAX,
    };

    #[test]
    fn a_volume_of_a_cluster_is_copied_as_files() {
        let dir = tempfile::tempdir().unwrap();
        let (volume, copy) = (dir.path().join("volume"), dir.path().join("copy"));
        fs::create_dir_all(volume.join("..2026/lib")).unwrap();
        fs::create_dir(&copy).unwrap();
        fs::write(volume.join("..2026/go.mod"), "module m").unwrap();
        fs::write(volume.join("..2026/lib/a.go"), "package lib").unwrap();
        symlink("..2026", volume.join("..data")).unwrap();
        symlink("..data/go.mod", volume.join("go.mod")).unwrap();
        symlink("..data/lib", volume.join("lib")).unwrap();
        copy_inputs(&volume, &copy, NO_BOUNDS, &[]).unwrap();
        assert!(fs::symlink_metadata(copy.join("go.mod")).unwrap().is_file());
        assert_eq!(
            fs::read_to_string(copy.join("lib/a.go")).unwrap(),
            "package lib"
        );
        assert!(!copy.join("..data").exists());
    }

    #[test]
    fn links_in_a_circle_end() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        fs::create_dir(&from).unwrap();
        fs::create_dir(&to).unwrap();
        symlink(".", from.join("again")).unwrap();
        let error = copy_inputs(&from, &to, NO_BOUNDS, &[]).unwrap_err();
        assert!(matches!(error, CopyError::Io(..)), "{error:?}");
    }

    #[test]
    fn a_link_leads_out_by_its_words_or_by_another_link() {
        let dir = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(dir.path()).unwrap().join("root");
        fs::create_dir_all(root.join("a/b")).unwrap();
        symlink("../a", root.join("a/inside")).unwrap();
        symlink("b/nothing", root.join("a/dangling")).unwrap();
        assert_eq!(link_out(&root).unwrap(), None);
        let there = root.join("a/b/link");
        let through = root.join("a/deep");
        for to in ["../../../x", "/usr", "../../..", "../deep/../../.."] {
            symlink("b", &through).unwrap();
            symlink(to, &there).unwrap();
            let (link, found) = link_out(&root).unwrap().expect(to);
            assert_eq!(
                (link.as_path(), found.as_path()),
                (Path::new("a/b/link"), Path::new(to))
            );
            fs::remove_file(&there).unwrap();
            fs::remove_file(&through).unwrap();
        }
    }
}
