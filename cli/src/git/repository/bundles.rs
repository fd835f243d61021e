//! Folders that were deployed as bundles: commits without history in a repository of their own beside that of the
//! function, each below a reference with its number.
//!
//! It is a repository apart so that no push to the one changes the other, and whoever may read bundles to run them
//! reads nothing else.

use std::{
    collections::{BTreeMap, HashSet},
    fs, io,
    time::{Duration, SystemTime},
};

use anyhow::Context as _;
use sha2::{Digest as _, Sha256};

use super::{Repository, output};

/// What the references of bundles begin with; the commit follows.
pub(crate) const PREFIX: &str = "refs/bundles/";

/// The newest bundles stay, whatever uses them.
const NEWEST_KEPT: usize = 5;

/// For how long a bundle stays after it was deployed, so that none goes before what names it is applied.
const KEPT_FOR: Duration = Duration::from_secs(600);

/// The most packs before they are made one, in which what several have alike stands once.
const MOST_PACKS: usize = 5;

/// The file that says when each was deployed last: `COMMIT SECONDS` a line.
const TIMES_FILE: &str = "fermata.bundles";

/// The file with the digest of the key that reads them.
const READER_FILE: &str = "fermata.reader";

/// When each bundle was deployed last, in seconds since 1970.
type Times = BTreeMap<String, u64>;

// === impl Repository ===

impl Repository {
    /// Notes that a bundle is about to be used, if it is there.
    pub(in super::super) fn touch(&self, commit: &str) -> anyhow::Result<()> {
        let mut times = self.times()?;
        if let Some(time) = times.get_mut(commit) {
            *time = now();
            self.set_times(&times)?;
        }
        Ok(())
    }

    /// Whether the key is the one that reads the bundles.
    pub(in super::super) fn is_read_by(&self, key: &str) -> bool {
        let known = fs::read_to_string(self.dir.join(READER_FILE)).unwrap_or_default();
        // What can be learned from how long it takes is about the digest.
        !known.is_empty() && known == digest(key)
    }

    /// Remembers by which key they are read, by its digest. The key goes with the function: where it is not known whose
    /// the bundles are, another key says that they are not for whoever deploys now, and they go.
    pub(in super::super) fn set_reader(&self, digest: &str) -> anyhow::Result<()> {
        let file = self.dir.join(READER_FILE);
        let known = fs::read_to_string(&file).unwrap_or_default();
        if self.uid().is_none() && !known.is_empty() && known != digest {
            self.begin_anew()?;
        }
        let new = file.with_added_extension("new");
        fs::write(&new, digest)?;
        Ok(fs::rename(new, file)?)
    }

    /// Removes bundles that are neither among the newest nor `used`. Where it is not known what is used, nothing goes.
    /// Whoever calls has the right to push.
    pub(in super::super) fn tidy(&self, used: Option<&HashSet<String>>) -> anyhow::Result<()> {
        let mut times = self.times()?;
        let gone = used.map_or_else(Vec::new, |used| superfluous(&times, used, now()));
        for commit in &gone {
            let mut git = self.git();
            git.arg("--git-dir").arg(&self.dir);
            output(git.args(["update-ref", "-d", &format!("{PREFIX}{commit}")]))?;
            times.remove(commit);
        }
        self.set_times(&times)?;
        if self.packs() > MOST_PACKS || (!gone.is_empty() && times.len() <= NEWEST_KEPT) {
            let mut git = self.git();
            git.arg("--git-dir").arg(&self.dir);
            output(git.args(["repack", "-a", "-d", "--quiet"]))?;
        }
        Ok(())
    }

    /// Those that are there. One that was not noted is new.
    fn times(&self) -> anyhow::Result<Times> {
        let text = match fs::read_to_string(self.dir.join(TIMES_FILE)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(error).context("it cannot be read when bundles were deployed");
            }
            text => text.unwrap_or_default(),
        };
        let noted: Times = text
            .lines()
            .filter_map(|line| {
                let (commit, time) = line.split_once(' ')?;
                Some((commit.to_owned(), time.parse().ok()?))
            })
            .collect();
        let mut git = self.git();
        git.arg("--git-dir").arg(&self.dir);
        let listed = output(git.args(["for-each-ref", "--format=%(refname)", PREFIX]))?;
        let listed = String::from_utf8_lossy(&listed);
        let commits = listed.lines().filter_map(|line| line.strip_prefix(PREFIX));
        Ok(commits
            .map(|commit| {
                let time = noted.get(commit).copied().unwrap_or_else(now);
                (commit.to_owned(), time)
            })
            .collect())
    }

    fn set_times(&self, times: &Times) -> anyhow::Result<()> {
        let lines = times
            .iter()
            .map(|(commit, time)| format!("{commit} {time}\n"));
        let file = self.dir.join(TIMES_FILE);
        let new = file.with_added_extension("new");
        fs::write(&new, lines.collect::<String>())
            .and_then(|()| fs::rename(&new, &file))
            .context("it cannot be noted when bundles were deployed")
    }

    fn packs(&self) -> usize {
        let files = fs::read_dir(self.dir.join("objects/pack"));
        let names = files.into_iter().flatten().flatten();
        names
            .filter(|entry| entry.path().extension().is_some_and(|end| end == "pack"))
            .count()
    }
}

/// The digest of a key, as it is told and kept.
pub(crate) fn digest(key: &str) -> String {
    let bytes = Sha256::digest(key);
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What is old enough, behind the newest ones, and not used. Pure.
fn superfluous(times: &Times, used: &HashSet<String>, now: u64) -> Vec<String> {
    let mut newest: Vec<(&String, u64)> = times.iter().map(|(commit, at)| (commit, *at)).collect();
    newest.sort_by_key(|(_, at)| std::cmp::Reverse(*at));
    let behind = newest.into_iter().skip(NEWEST_KEPT);
    behind
        .filter(|(commit, at)| {
            now.saturating_sub(*at) > KEPT_FOR.as_secs() && !used.contains(*commit)
        })
        .map(|(commit, _)| commit.clone())
        .collect()
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_and_those_that_are_used_stay() {
        let hour = 3600;
        let times: Times = (0..9)
            .map(|number| (format!("old-{number}"), number))
            .chain([("just-now".to_owned(), hour - 5)])
            .collect();
        let used = HashSet::from(["old-0".to_owned(), "elsewhere".to_owned()]);
        // Behind old-8 to old-5 and the one of just now.
        let gone = superfluous(&times, &used, hour);
        assert_eq!(gone, ["old-4", "old-3", "old-2", "old-1"]);
        assert!(superfluous(&times, &used, 100).is_empty());
    }

    #[test]
    fn bundles_that_nothing_uses_go_and_what_is_about_to_be_used_stays() {
        let dir = tempfile::tempdir().unwrap();
        let root = super::super::Root::new(dir.path().to_owned());
        let repository = root.repository("shop", "orders", true);
        repository.make().unwrap();
        let git = |arguments: &[&str]| {
            let mut git = repository.git();
            git.arg("--git-dir").arg(&repository.dir);
            git.env("GIT_AUTHOR_NAME", "x").env("GIT_AUTHOR_EMAIL", "x");
            git.env("GIT_COMMITTER_NAME", "x");
            git.env("GIT_COMMITTER_EMAIL", "x");
            let printed = output(git.args(arguments)).unwrap();
            String::from_utf8(printed).unwrap().trim().to_owned()
        };
        let tree = git(&["hash-object", "-t", "tree", "-w", "/dev/null"]);
        let commits: Vec<String> = (0..8)
            .map(|number| {
                let commit = git(&["commit-tree", &tree, "-m", &number.to_string()]);
                git(&["update-ref", &format!("{PREFIX}{commit}"), &commit]);
                commit
            })
            .collect();
        let refs = || {
            git(&["for-each-ref", "--format=%(refname)"])
                .lines()
                .count()
        };
        let times = (1..).zip(&commits);
        let times: Times = times.map(|(at, commit)| (commit.clone(), at)).collect();
        repository.set_times(&times).unwrap();
        repository.tidy(None).unwrap();
        assert_eq!(refs(), 8);
        repository.touch(&commits[0]).unwrap();
        let used = HashSet::from([commits[1].clone()]);
        repository.tidy(Some(&used)).unwrap();
        assert_eq!(refs(), 6);
        for kept in [0, 1, 4, 7] {
            git(&["cat-file", "-e", &commits[kept]]);
        }

        assert!(!repository.is_read_by("key"));
        repository.set_reader(&digest("key")).unwrap();
        assert!(repository.is_read_by("key"));
        assert!(!repository.is_read_by(&digest("key")));
    }

    #[test]
    fn several_make_a_repository_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let root = super::super::Root::new(dir.path().to_owned());
        let making = (0..8).map(|_| {
            let root = root.clone();
            std::thread::spawn(move || root.repository("shop", "orders", true).make())
        });
        let making: Vec<_> = making.collect();
        for made in making {
            made.join().unwrap().unwrap();
        }
    }
}
