//! Submodules: repositories that a commit puts into its folders.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use super::{
    address::{self, Address},
    error::Error,
    files::{Checkout, Entry, Taken, check_out, joined},
    git::Git,
};
use crate::log;

/// How deep submodules may have submodules.
const DEEPEST: usize = 5;

/// How many there may be.
const MOST: usize = 50;

/// A submodule to be fetched.
struct Wanted {
    url: String,
    commit: String,
    /// See [`Checkout::place`].
    place: String,
    target: PathBuf,
    depth: usize,
}

/// Fetches those in what was checked out, and those in them. The credentials are for the repository's own host, and
/// go to no other.
pub(super) async fn fetch(
    git: &Git,
    checkout: &Checkout<'_>,
    entries: Vec<Entry>,
    scratch: &Path,
    taken: &mut Taken,
) -> Result<(), Error> {
    let mut waiting = wanted(git, checkout, entries, 1).await?;
    while let Some(next) = waiting.pop() {
        if next.depth > DEEPEST {
            return Err(Error::Deep(DEEPEST));
        }
        taken.submodules += 1;
        if taken.submodules > MOST {
            return Err(Error::ManySubmodules(MOST));
        }
        let repository = scratch.join(format!("submodule-{}", taken.submodules));
        let checkout = Checkout {
            url: &next.url,
            commit: &next.commit,
            reference: None,
            path: "",
            place: &next.place,
            target: &next.target,
            repository: &repository,
            verbatim: checkout.verbatim,
        };
        let entries = check_out(git, &checkout, taken).await?;
        waiting.extend(wanted(git, &checkout, entries, next.depth + 1).await?);
    }
    Ok(())
}

/// The submodules among the entries, with what `.gitmodules` says of them.
async fn wanted(
    git: &Git,
    checkout: &Checkout<'_>,
    entries: Vec<Entry>,
    depth: usize,
) -> Result<Vec<Wanted>, Error> {
    let links: Vec<(String, String)> = entries
        .into_iter()
        .filter_map(|entry| Some((entry.path, entry.submodule?)))
        .collect();
    if links.is_empty() {
        return Ok(Vec::new());
    }
    let blob = format!("{}:.gitmodules", checkout.commit);
    let read = ["config", "--null", "--list", "--blob", &blob];
    let urls = match git.run(checkout.repository, read, &[]).await {
        Ok(text) => urls(&String::from_utf8_lossy(&text)),
        // There is none.
        Err(Error::Git { .. }) => HashMap::new(),
        Err(error) => return Err(error),
    };
    let mut wanted = Vec::new();
    for (path, commit) in links {
        let whole = joined(checkout.path, &path);
        let Some(url) = urls.get(&whole) else {
            log::line(format_args!(
                ".gitmodules does not say where the submodule {whole} is; its folder stays empty"
            ));
            continue;
        };
        let url = address::resolve(checkout.url, url);
        let (parent, own) = (Address::parse(checkout.url)?, Address::parse(&url)?);
        if own == Address::Ssh && parent != Address::Ssh {
            return Err(Error::Refused(format!(
                "the submodule {whole} is reached by SSH and its repository is not, so that there is no key for it; give it an address by https, or a relative one"
            )));
        }
        wanted.push(Wanted {
            url,
            commit,
            place: joined(checkout.place, &path),
            target: checkout.target.join(path),
            depth,
        });
    }
    Ok(wanted)
}

/// The addresses of submodules, by their paths.
fn urls(config: &str) -> HashMap<String, String> {
    let mut by_name: HashMap<&str, (Option<&str>, Option<&str>)> = HashMap::new();
    for line in config.split('\0') {
        let named = line.split_once('\n').and_then(|(key, value)| {
            let (name, field) = key.strip_prefix("submodule.")?.rsplit_once('.')?;
            Some((name, field, value))
        });
        let Some((name, field, value)) = named else {
            continue;
        };
        let entry = by_name.entry(name).or_default();
        match field {
            "path" => entry.0 = Some(value),
            "url" => entry.1 = Some(value),
            _ => {}
        }
    }
    let whole = by_name.into_values();
    whole
        .filter_map(|(path, url)| Some((path?.to_owned(), url?.to_owned())))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_found_by_path() {
        let config = "submodule.a.b.path\nlib/a\0submodule.a.b.url\n../a.git\0submodule.c.path\nc\0other.x\ny\0";
        let urls = urls(config);
        assert_eq!(urls.len(), 1);
        assert_eq!(urls["lib/a"], "../a.git");
    }
}
