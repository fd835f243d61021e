//! Folders of results.

use std::{
    fs::{self, DirBuilder, File, FileType, Permissions},
    io,
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _, symlink},
    path::Path,
    time::SystemTime,
};

/// Makes a folder that only this user can enter.
pub(super) fn make(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Removes a file, a link, or a folder with all that is in it; nothing is there afterwards.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => {
            each_folder(path, &|folder| set_mode(folder, |mode| mode | 0o700))
                .and_then(|()| fs::remove_dir_all(path))
        }
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Keeps files from coming, going and being replaced by accident: on Kubernetes a function cannot write there.
/// The files themselves may be shared with the cache of the tool that made them, and stay as they are.
pub(super) fn protect(path: &Path) -> io::Result<()> {
    if !fs::symlink_metadata(path)?.is_dir() {
        // What a link leads to is not this one's to change.
        return Err(io::Error::new(
            io::ErrorKind::NotADirectory,
            "the build has put something else in the place of the folder for its result",
        ));
    }
    each_folder(path, &|folder| set_mode(folder, |mode| mode & !0o222))
}

/// Notes that a folder is used now.
pub(super) fn touch(path: &Path) -> io::Result<()> {
    File::open(path)?.set_modified(SystemTime::now())
}

/// Makes `link` a link to the folder, in place of what is there.
pub(in super::super) fn lead_to(link: &Path, folder: &Path) -> io::Result<()> {
    remove(link)?;
    symlink(folder, link)
}

fn set_mode(path: &Path, change: impl Fn(u32) -> u32) -> io::Result<()> {
    let mode = fs::metadata(path)?.permissions().mode();
    fs::set_permissions(path, Permissions::from_mode(change(mode)))
}

/// The folder, and then those in it. Links are not followed.
fn each_folder(path: &Path, change: &impl Fn(&Path) -> io::Result<()>) -> io::Result<()> {
    change(path)?;
    let mut folders = vec![path.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            if entry.file_type().as_ref().is_ok_and(FileType::is_dir) {
                change(&entry.path())?;
                folders.push(entry.path());
            }
        }
    }
    Ok(())
}
