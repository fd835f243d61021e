//! `SHA256SUMS`, as `sha256sum --check` reads it.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use sha2::{Digest as _, Sha256};

/// The file's name.
pub(super) const FILE: &str = "SHA256SUMS";

/// Writes the sums of all files of a folder into it. Gives the files, that one included.
pub(super) fn write(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    collect(folder, &mut files)?;
    files.sort();
    let mut lines = String::new();
    let mut names = Vec::new();
    for file in files {
        let name = file.strip_prefix(folder).context("a file of the folder")?;
        let sum = sum(&file).with_context(|| format!("cannot read {}", file.display()))?;
        lines.push_str(&format!("{sum}  {}\n", name.display()));
        names.push(name.to_owned());
    }
    fs::write(folder.join(FILE), lines)?;
    names.push(FILE.into());
    Ok(names)
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            collect(&entry.path(), files)?;
        } else {
            files.push(entry.path());
        }
    }
    Ok(())
}

fn sum(file: &Path) -> io::Result<String> {
    let mut hash = Sha256::new();
    io::copy(&mut fs::File::open(file)?, &mut hash)?;
    Ok(hash
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect())
}
