//! Which commit a reference leads to, without fetching anything.

use std::{fs, io::Write as _};

use super::{error::Error, git::Git, settings::Settings};

/// Says the commit: on standard output, and where the cluster shows it.
pub(super) async fn look(git: &Git, settings: &Settings) -> Result<(), Error> {
    let names = names(&settings.reference);
    let mut arguments = vec!["ls-remote", "--quiet", "--", &settings.url];
    arguments.extend(names.iter().map(String::as_str));
    let output = git.run(git.scratch(), arguments, &[]).await?;
    let output = String::from_utf8_lossy(&output);
    let commit = choose(&output, &names).ok_or_else(|| {
        if settings.reference == "HEAD" {
            return Error::Empty(settings.url.clone());
        }
        Error::NoReference {
            reference: settings.reference.clone(),
            url: settings.url.clone(),
        }
    })?;
    let path = &settings.termination_log;
    let written = match path.parent() {
        Some(folder) => fs::create_dir_all(folder).and_then(|()| fs::write(path, commit)),
        None => fs::write(path, commit),
    };
    written.map_err(|source| Error::Write {
        path: path.clone(),
        source,
    })?;
    writeln!(std::io::stdout().lock(), "{commit}")?;
    Ok(())
}

/// The full names that a reference may have, best first: a branch goes before a tag, and of a tag with a message
/// the commit counts and not the tag.
fn names(reference: &str) -> Vec<String> {
    if reference == "HEAD" {
        vec![reference.to_owned()]
    } else if reference.starts_with("refs/") {
        vec![format!("{reference}^{{}}"), reference.to_owned()]
    } else {
        vec![
            format!("refs/heads/{reference}"),
            format!("refs/tags/{reference}^{{}}"),
            format!("refs/tags/{reference}"),
        ]
    }
}

/// The commit of the best of the names. git lists those as well that end like one of them.
fn choose<'a>(output: &'a str, names: &[String]) -> Option<&'a str> {
    let found = |name: &String| {
        output.lines().find_map(|line| {
            let (commit, found) = line.split_once('\t')?;
            let is_commit = commit.len() == 40 && commit.bytes().all(|b| b.is_ascii_hexdigit());
            (found == name && is_commit).then_some(commit)
        })
    };
    names.iter().find_map(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn branches_go_before_tags_and_names_are_whole() {
        let (one, two, three) = ("1".repeat(40), "2".repeat(40), "3".repeat(40));
        let output = format!(
            "{three}\trefs/heads/x/refs/heads/main\n{two}\trefs/tags/main\n{one}\trefs/heads/main\n"
        );
        assert_eq!(choose(&output, &names("main")), Some(&*one));
        let tag = format!("{one}\trefs/tags/v1\n{two}\trefs/tags/v1^{{}}\n");
        assert_eq!(choose(&tag, &names("v1")), Some(&*two));
        assert_eq!(choose(&tag, &names("refs/tags/v1")), Some(&*two));
        assert_eq!(choose(&tag, &names("v2")), None);
    }
}
