//! Files whose content Git LFS keeps: a commit has a few lines in their place, which say what it is.
//!
//! git-lfs brings it, by git's own settings and credentials and within the bounds of everything that is fetched. What it is
//! asked follows from the commit; settings that the repository has for it (`.lfsconfig`) count for the address alone.

use std::{
    env,
    fs::{self, File, OpenOptions},
    io::{self, Read as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use super::{
    address::Address,
    error::Error,
    files::{Checkout, Entry, MOST, Taken, joined},
    git::Git,
};
use crate::{build::size, log};

/// What a pointer begins with (https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md).
const BEGIN: &str = "version https://git-lfs.github.com/spec/v1";

/// The largest pointer.
const LARGEST_POINTER: u64 = 1024;

/// How many files are named that cannot be had.
const MOST_NAMED: usize = 3;

/// Settings of git-lfs: no programs of others, and no waiting for ever.
const CONFIG: [&str; 8] = [
    "lfs.basictransfersonly=true",
    "lfs.concurrenttransfers=4",
    "lfs.transfer.maxretries=2",
    "lfs.dialtimeout=20",
    "lfs.tlstimeout=20",
    "lfs.activitytimeout=20",
    "lfs.locksverify=false",
    "lfs.fetchrecentalways=false",
];

/// Files whose content nobody here can ask for.
#[derive(Debug, Default)]
pub(super) struct Missing {
    count: usize,
    /// The first of them.
    named: Vec<String>,
}

/// A file in the place of another.
#[derive(Debug, Eq, PartialEq)]
struct Pointer {
    /// The digest of the content, by which it is kept.
    oid: String,
    /// Of the content, in bytes.
    size: u64,
}

/// Puts what Git LFS keeps in the place of the pointers among what was checked out, where there is git-lfs; else
/// notes them as missing.
pub(super) async fn fill(
    git: &Git,
    checkout: &Checkout<'_>,
    entries: &[Entry],
    taken: &mut Taken,
) -> Result<(), Error> {
    let mut pointers = Vec::new();
    for entry in entries {
        let path = checkout.target.join(&entry.path);
        if entry.size > LARGEST_POINTER || !is_pointer(&path) {
            continue;
        }
        let name = joined(checkout.place, &entry.path);
        let text = fs::read_to_string(&path).unwrap_or_default();
        let pointer = Pointer::read(&text).ok_or_else(|| {
            Error::Refused(format!(
                "{name} is a pointer of Git LFS that cannot be read; `git lfs fsck --pointers` says what is wrong with it"
            ))
        })?;
        pointers.push((name, path, pointer));
    }
    if pointers.is_empty() {
        return Ok(());
    }
    if !is_installed() {
        taken.missing.add(pointers.iter().map(|(name, ..)| name));
        return Ok(());
    }
    let bytes: u64 = pointers
        .iter()
        .fold(0, |sum, (.., pointer)| sum.saturating_add(pointer.size));
    taken.bytes = taken.bytes.saturating_add(bytes);
    if taken.bytes > MOST.bytes {
        return Err(Error::TooLarge(MOST.bytes));
    }
    bring(git, checkout).await?;
    for (name, path, pointer) in &pointers {
        pointer.put(checkout.repository, path).map_err(|source| {
            if source.kind() == io::ErrorKind::NotFound {
                return Error::Refused(format!("Git LFS has not given what {name} holds"));
            }
            Error::Write {
                path: path.clone(),
                source,
            }
        })?;
    }
    log::line(format_args!(
        "fetched {} files, {}, of Git LFS",
        pointers.len(),
        size(bytes)
    ));
    Ok(())
}

/// Has git-lfs bring what the commit's pointers name into git's own folder.
async fn bring(git: &Git, checkout: &Checkout<'_>) -> Result<(), Error> {
    let mut arguments: Vec<String> = Vec::new();
    let origin = format!("remote.origin.url={}", checkout.url);
    let own = address(git, checkout).await?;
    let own = own.map(|url| format!("lfs.url={url}"));
    let settings = CONFIG.iter().map(|setting| (*setting).to_owned());
    for setting in settings.chain([origin]).chain(own) {
        arguments.extend(["-c".to_owned(), setting]);
    }
    arguments.extend(["lfs", "fetch"].map(str::to_owned));
    if is_plain(checkout.path) {
        arguments.push(format!("--include=/{}", checkout.path));
    }
    arguments.extend(["origin".to_owned(), checkout.commit.to_owned()]);
    // HEAD leads nowhere, and there is no work tree and no index: no .lfsconfig is read but the one that was looked at.
    let index = checkout.repository.join("no-index");
    let places = [
        ("GIT_DIR", checkout.repository),
        ("GIT_INDEX_FILE", &*index),
    ];
    git.run(checkout.repository, arguments, &places).await?;
    Ok(())
}

/// Where the repository says that its files are kept, if it does.
async fn address(git: &Git, checkout: &Checkout<'_>) -> Result<Option<String>, Error> {
    let listed = [
        "ls-tree",
        "--name-only",
        "--full-tree",
        checkout.commit,
        ".lfsconfig",
    ];
    if git
        .run(checkout.repository, listed, &[])
        .await?
        .trim_ascii()
        .is_empty()
    {
        return Ok(None);
    }
    let blob = format!("{}:.lfsconfig", checkout.commit);
    let list = ["config", "--null", "--list", "--blob", &blob];
    let settings = git.run(checkout.repository, list, &[]).await?;
    let settings = String::from_utf8_lossy(&settings);
    let url = settings
        .split('\0')
        .filter_map(|setting| setting.split_once('\n'))
        .rfind(|(key, _)| *key == "lfs.url")
        .map(|(_, url)| url.to_owned());
    // Programs and files of this machine are not asked, and no key is shown to hosts that it is not for.
    match url.as_deref().map(Address::parse) {
        None | Some(Ok(Address::Http { .. })) => Ok(url),
        Some(_) => Err(Error::Refused(format!(
            "lfs.url in .lfsconfig is {:?}; give an address by https without a password, or leave it out",
            url.unwrap_or_default()
        ))),
    }
}

/// Whether a path means itself among patterns of paths.
fn is_plain(path: &str) -> bool {
    !path.is_empty()
        && path
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"/-_.+@".contains(&byte))
}

/// Whether git finds git-lfs.
fn is_installed() -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|folder| {
        let found = fs::metadata(folder.join("git-lfs"));
        found.is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    })
}

fn is_pointer(path: &Path) -> bool {
    let plain = fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_file());
    let begin = || {
        let mut begin = Vec::new();
        let file = File::open(path)?;
        file.take(BEGIN.len() as u64).read_to_end(&mut begin)?;
        io::Result::Ok(begin)
    };
    plain && begin().is_ok_and(|begin| begin == BEGIN.as_bytes())
}

// === impl Missing ===

impl Missing {
    fn add<'a>(&mut self, names: impl Iterator<Item = &'a String>) {
        for name in names {
            self.count += 1;
            if self.named.len() < MOST_NAMED {
                self.named.push(name.clone());
            }
        }
    }

    /// The error about them, if there are any.
    pub(super) fn error(&self) -> Option<Error> {
        (self.count > 0).then(|| Error::Pointers {
            count: self.count,
            named: self.named.join(", "),
        })
    }
}

// === impl Pointer ===

impl Pointer {
    /// Nothing for one whose content was changed by extensions of Git LFS, which are not here.
    fn read(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        (lines.next()? == BEGIN).then_some(())?;
        let oid = lines.next()?.strip_prefix("oid sha256:")?;
        let size = lines.next()?.strip_prefix("size ")?;
        let is_digest = oid.len() == 64 && oid.bytes().all(|byte| byte.is_ascii_hexdigit());
        (is_digest && lines.next().is_none()).then_some(())?;
        Some(Self {
            oid: oid.to_owned(),
            size: size.parse().ok()?,
        })
    }

    /// Where git-lfs has put the content.
    fn kept(&self, repository: &Path) -> Option<PathBuf> {
        let (one, two) = (self.oid.get(..2)?, self.oid.get(2..4)?);
        let folder = repository.join("lfs/objects").join(one).join(two);
        Some(folder.join(&self.oid))
    }

    /// Puts the content in the place of the pointer, whose permissions stay.
    fn put(&self, repository: &Path, path: &Path) -> io::Result<()> {
        let kept = self.kept(repository).ok_or(io::ErrorKind::NotFound)?;
        let content = File::open(kept)?;
        let mut file = OpenOptions::new().write(true).truncate(true).open(path)?;
        // No more than was counted, whatever is there.
        let copied = io::copy(&mut content.take(self.size.saturating_add(1)), &mut file)?;
        if copied != self.size {
            return Err(io::Error::other(format!(
                "Git LFS has {copied} bytes and the pointer names {}",
                self.size
            )));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pointer_is_read_if_it_is_a_plain_one() {
        let oid = "4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393";
        let text = format!("{BEGIN}\noid sha256:{oid}\nsize 12345\n");
        for good in [text.clone(), text.replace('\n', "\r\n")] {
            let pointer = Pointer::read(&good).unwrap();
            assert_eq!((&*pointer.oid, pointer.size), (oid, 12345));
        }
        for bad in [
            text.replace("12345", "-1"),
            text.replace("4d7a", "../a"),
            text.replace("4d7a", "4d7"),
            text.replace("oid", "ext-0-x sha256:a\noid"),
            format!("{text}more\n"),
            BEGIN.to_owned(),
        ] {
            assert_eq!(Pointer::read(&bad), None, "{bad}");
        }
    }

    #[test]
    fn paths_with_the_letters_of_patterns_are_none() {
        assert!(is_plain("functions/a-b_c.d"));
        for path in ["", "a*", "a,b", "a b", "[a]", "!a", "a\\b", "ä"] {
            assert!(!is_plain(path), "{path}");
        }
    }
}
