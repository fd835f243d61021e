//! The files of a commit, in a folder.

use std::{fs, path::Path, time::Instant};

use super::{
    error::Error,
    git::{Failure, Git},
    lfs::{self, Missing},
    settings::Settings,
    submodules,
};
use crate::{
    build::{settings::Bounds, size, tree},
    log,
};

/// The most that the files may be.
pub(super) const MOST: Bounds = Bounds {
    bytes: 100 << 20,
    files: 100_000,
};

/// Takes back what attributes among the files say of how they are written out; in `info/attributes`, which goes before
/// all others (gitattributes(5)).
const NO_ATTRIBUTES: &str = "* -text !eol -ident -filter !working-tree-encoding\n";

/// An entry of a commit's tree that is no folder.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Entry {
    pub(super) path: String,
    /// The commit, where it is a submodule.
    pub(super) submodule: Option<String>,
    pub(super) size: u64,
}

/// What was taken until now, submodules included.
#[derive(Debug, Default)]
pub(super) struct Taken {
    pub(super) bytes: u64,
    files: u64,
    pub(super) submodules: usize,
    /// Files that Git LFS keeps, where there is no git-lfs.
    pub(super) missing: Missing,
}

/// One commit of one repository, and where its files go.
pub(super) struct Checkout<'a> {
    pub(super) url: &'a str,
    pub(super) commit: &'a str,
    /// What leads to the commit, if the server gives none by its number.
    pub(super) reference: Option<&'a str>,
    /// The folder of the repository; empty for all of it.
    pub(super) path: &'a str,
    /// Where its files are in the repository that is asked for, which may have this one as a submodule.
    pub(super) place: &'a str,
    pub(super) target: &'a Path,
    /// The folder for git's own files.
    pub(super) repository: &'a Path,
    /// Whether attributes among the files have no effect.
    pub(super) verbatim: bool,
}

/// Fetches the files into the target, which is emptied first.
pub(super) async fn fetch(git: &Git, settings: &Settings, scratch: &Path) -> Result<(), Error> {
    let begin = Instant::now();
    let target = fs::create_dir_all(&settings.target)
        .and_then(|()| fs::canonicalize(&settings.target))
        .and_then(|target| tree::clear(&target).map(|()| target))
        .map_err(|source| Error::Write {
            path: settings.target.clone(),
            source,
        })?;
    let mut taken = Taken::default();
    let checkout = Checkout {
        url: &settings.url,
        commit: &settings.commit,
        reference: Some(&settings.reference),
        path: &settings.path,
        place: &settings.path,
        target: &target,
        repository: &scratch.join("repository"),
        verbatim: settings.verbatim,
    };
    let entries = check_out(git, &checkout, &mut taken).await?;
    submodules::fetch(git, &checkout, entries, scratch, &mut taken).await?;
    if let Some(error) = taken.missing.error() {
        tree::clear(&target)?;
        return Err(error);
    }
    if let Some((link, to)) = tree::link_out(&target)? {
        tree::clear(&target)?;
        return Err(Error::LeadsOut { link, to });
    }
    log::line(format_args!(
        "fetched {} files, {}, of {} at {} in {:.1} s",
        taken.files,
        size(taken.bytes),
        settings.url,
        settings.commit,
        begin.elapsed().as_secs_f64()
    ));
    Ok(())
}

/// Fetches one commit and puts its files into the target; what is in the commit.
pub(super) async fn check_out(
    git: &Git,
    checkout: &Checkout<'_>,
    taken: &mut Taken,
) -> Result<Vec<Entry>, Error> {
    let Checkout {
        commit,
        path,
        target,
        repository,
        ..
    } = *checkout;
    fs::create_dir_all(repository).map_err(|source| Error::Write {
        path: repository.to_owned(),
        source,
    })?;
    git.run(
        repository,
        ["init", "--quiet", "--bare", "--template=", "."],
        &[],
    )
    .await?;
    if checkout.verbatim {
        let info = repository.join("info");
        fs::create_dir_all(&info)
            .and_then(|()| fs::write(info.join("attributes"), NO_ATTRIBUTES))
            .map_err(|source| Error::Write { path: info, source })?;
    }
    bring(git, checkout).await?;
    let tree = format!("{commit}:{path}");
    let kind = git.run(repository, ["cat-file", "-t", &tree], &[]).await;
    if let Err(
        error @ Error::Git {
            failure: Failure::Damaged,
            ..
        },
    ) = kind
    {
        return Err(error);
    }
    if !matches!(kind, Ok(kind) if kind.trim_ascii() == b"tree") {
        return Err(Error::NoFolder {
            path: path.to_owned(),
            commit: commit.to_owned(),
        });
    }
    let listed = ["ls-tree", "-r", "-z", "--long", "--full-tree", &tree];
    // A tree of little size may list more files than there is room for anywhere.
    let listed = match git.run(repository, listed, &[]).await {
        Err(Error::LongList(_)) => return Err(Error::TooMany(MOST.files)),
        listed => listed?,
    };
    let entries = entries(&listed)?;
    for entry in &entries {
        taken.bytes += entry.size;
        taken.files += 1;
    }
    if taken.bytes > MOST.bytes {
        return Err(Error::TooLarge(MOST.bytes));
    }
    if taken.files > MOST.files {
        return Err(Error::TooMany(MOST.files));
    }
    let places = [("GIT_DIR", repository), ("GIT_WORK_TREE", target)];
    git.run(target, ["read-tree", &tree], &places).await?;
    let out = ["checkout-index", "--all", "--force", "--quiet"];
    git.run(target, out, &places).await?;
    if !checkout.verbatim {
        lfs::fill(git, checkout, &entries, taken).await?;
    }
    Ok(entries)
}

/// Brings the commit into git's own folder: by its number, or where a server gives none by that, by its reference.
async fn bring(git: &Git, checkout: &Checkout<'_>) -> Result<(), Error> {
    let Checkout {
        url,
        commit,
        reference,
        repository,
        ..
    } = *checkout;
    let options = ["fetch", "--quiet", "--no-tags", "--no-recurse-submodules"];
    let shallow = options.into_iter().chain(["--depth=1", "--", url, commit]);
    let Err(error) = git.run(repository, shallow, &[]).await else {
        return Ok(());
    };
    let other = matches!(
        &error,
        Error::Git {
            failure: Failure::Other,
            ..
        }
    );
    if !other {
        return Err(error);
    }
    let gone = || Error::NoCommit {
        commit: commit.to_owned(),
        url: url.to_owned(),
    };
    let by_reference = reference.filter(|reference| *reference != commit);
    let whole = match by_reference {
        Some(reference) => vec!["--", url, reference],
        None => vec!["--", url, "+refs/heads/*:refs/fetched/*"],
    };
    let whole = options.into_iter().chain(whole);
    match git.run(repository, whole, &[]).await {
        Err(Error::Git {
            failure: Failure::Other,
            ..
        }) => return Err(gone()),
        result => result?,
    };
    let there = format!("{commit}^{{commit}}");
    let there = git.run(repository, ["cat-file", "-e", &there], &[]).await;
    there.map(|_| ()).map_err(|_| gone())
}

/// Reads what `git ls-tree -r -z --long` lists.
fn entries(listed: &[u8]) -> Result<Vec<Entry>, Error> {
    let mut entries = Vec::new();
    for line in listed
        .split(|byte| *byte == 0)
        .filter(|line| !line.is_empty())
    {
        let line = String::from_utf8_lossy(line);
        let parts = line.split_once('\t').and_then(|(about, path)| {
            let mut about = about.split_ascii_whitespace();
            Some((about.next()?, about.nth(1)?, about.next()?, path))
        });
        let Some((mode, object, size, path)) = parts else {
            return Err(Error::Refused(format!("git lists {line:?}")));
        };
        entries.push(Entry {
            path: path.to_owned(),
            submodule: (mode == "160000").then(|| object.to_owned()),
            size: size.parse().unwrap_or_default(),
        });
        if entries.len() as u64 > MOST.files {
            return Err(Error::TooMany(MOST.files));
        }
    }
    Ok(entries)
}

/// The path of what is in a folder; of what is in none, its own.
pub(super) fn joined(folder: &str, path: &str) -> String {
    if folder.is_empty() {
        return path.to_owned();
    }
    format!("{folder}/{path}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_is_read() {
        let object = "a".repeat(40);
        let listed = format!(
            "100644 blob {object}      12\ta b.txt\0160000 commit {object}       -\tlib/sub\0"
        );
        let entries = entries(listed.as_bytes()).unwrap();
        assert_eq!(entries[0].path, "a b.txt");
        assert_eq!(entries[0].size, 12);
        assert_eq!(entries[1].submodule, Some(object));
    }
}
