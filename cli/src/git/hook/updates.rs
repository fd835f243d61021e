//! What a push changes, and what of it is deployed. Pure.

use anyhow::bail;

use super::super::repository::{DEPLOYED, bundles::PREFIX};

/// The most branches and tags that one push may change: each is a file.
const MOST_UPDATES: usize = 1000;

/// A branch or tag that is to lead elsewhere.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Update {
    pub(super) reference: String,
    /// The commit before, if there is one.
    pub(super) old: Option<String>,
    pub(super) new: String,
}

/// What becomes of a push.
#[derive(Debug, Default, Eq, PartialEq)]
pub(super) struct Decision {
    pub(super) deployed: Option<Update>,
    /// The branches that are taken and no more.
    pub(super) stored: Vec<String>,
}

/// Decides on the lines that git gives to the hook, `OLD NEW REFERENCE` each.
///
/// # Errors
///
/// When something of it is not taken, which is the end of the whole push.
pub(super) fn decide(pushed: &str) -> anyhow::Result<Decision> {
    let mut decision = Decision::default();
    if pushed.lines().count() > MOST_UPDATES {
        bail!("a push changes at most {MOST_UPDATES} branches and tags: push fewer at once");
    }
    for line in pushed.lines() {
        let mut fields = line.splitn(3, ' ');
        let (Some(old), Some(new), Some(reference)) = (fields.next(), fields.next(), fields.next())
        else {
            bail!("git says {line:?}, which is no change");
        };
        let short_name = ["refs/heads/", "refs/tags/"]
            .iter()
            .find_map(|prefix| reference.strip_prefix(prefix));
        let Some(short_name) = short_name else {
            bail!("{reference} is not taken: push branches and tags");
        };
        if is_none(new) {
            bail!(
                "{short_name} is not deleted: what was pushed stays; `fermata delete` removes the function"
            );
        }
        if !DEPLOYED.contains(&reference) {
            if reference.starts_with("refs/heads/") {
                decision.stored.push(short_name.to_owned());
            }
            continue;
        }
        if decision.deployed.is_some() {
            bail!("main and master are both deployed: push one of them");
        }
        decision.deployed = Some(Update {
            reference: reference.to_owned(),
            old: (!is_none(old)).then(|| old.to_owned()),
            new: new.to_owned(),
        });
    }
    Ok(decision)
}

/// The commit of a bundle, of what git gives to the hook.
///
/// # Errors
///
/// When it is anything but one new reference with the number of its commit.
pub(super) fn bundle(pushed: &str) -> anyhow::Result<&str> {
    let mut lines = pushed.lines();
    let (Some(line), None) = (lines.next(), lines.next()) else {
        bail!("a push of a bundle changes one reference");
    };
    let mut fields = line.splitn(3, ' ');
    let (Some(old), Some(new), Some(reference)) = (fields.next(), fields.next(), fields.next())
    else {
        bail!("git says {line:?}, which is no change");
    };
    if is_none(new) || !is_none(old) || reference.strip_prefix(PREFIX) != Some(new) {
        bail!(
            "only bundles are stored here, at {PREFIX}COMMIT, as `fermata deploy` pushes them; a function's own repository is /git/NAMESPACE/NAME.git"
        );
    }
    Ok(new)
}

/// The name of a commit, as people write it.
pub(super) fn short(commit: &str) -> &str {
    commit.get(..7).unwrap_or(commit)
}

fn is_none(commit: &str) -> bool {
    commit.bytes().all(|byte| byte == b'0')
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: &str = "0000000000000000000000000000000000000000";
    const ONE: &str = "1111111111111111111111111111111111111111";
    const TWO: &str = "2222222222222222222222222222222222222222";

    fn update(reference: &str, old: Option<&str>) -> Update {
        Update {
            reference: reference.to_owned(),
            old: old.map(str::to_owned),
            new: TWO.to_owned(),
        }
    }

    #[test]
    fn main_or_master_is_deployed_and_the_rest_is_stored() {
        for name in DEPLOYED {
            let decision = decide(&format!(
                "{NONE} {ONE} refs/heads/topic\n{ONE} {TWO} {name}\n{NONE} {TWO} refs/tags/v1\n"
            ));
            let decision = decision.unwrap();
            assert_eq!(decision.deployed, Some(update(name, Some(ONE))));
            assert_eq!(decision.stored, ["topic"]);
        }
        let first = decide(&format!("{NONE} {TWO} refs/heads/main\n")).unwrap();
        assert_eq!(first.deployed, Some(update("refs/heads/main", None)));
        let tag = decide(&format!("{NONE} {TWO} refs/tags/main\n")).unwrap();
        assert_eq!(tag, Decision::default());
    }

    #[test]
    fn a_push_changes_no_more_than_there_is_room_for() {
        let push = |count: usize| {
            let lines = (0..count).map(|number| format!("{NONE} {ONE} refs/tags/v{number}\n"));
            decide(&lines.collect::<String>())
        };
        assert!(push(MOST_UPDATES).is_ok());
        let error = push(MOST_UPDATES + 1).unwrap_err().to_string();
        assert!(error.contains("at most 1000"), "{error}");
    }

    #[test]
    fn a_bundle_is_one_new_reference_with_its_number() {
        let line = format!("{NONE} {ONE} {PREFIX}{ONE}\n");
        assert_eq!(bundle(&line).unwrap(), ONE);
        for wrong in [
            String::new(),
            line.repeat(2),
            format!("{NONE} {ONE} {PREFIX}{TWO}\n"),
            format!("{TWO} {ONE} {PREFIX}{ONE}\n"),
            format!("{ONE} {NONE} {PREFIX}{ONE}\n"),
            format!("{NONE} {ONE} refs/heads/main\n"),
            "x\n".to_owned(),
        ] {
            assert!(bundle(&wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_not_taken_is_said() {
        for (pushed, says) in [
            (
                format!("{ONE} {NONE} refs/heads/main\n"),
                "main is not deleted",
            ),
            (
                format!("{NONE} {ONE} refs/notes/x\n"),
                "push branches and tags",
            ),
            (
                format!("{NONE} {ONE} refs/heads/main\n{NONE} {ONE} refs/heads/master\n"),
                "push one of them",
            ),
            ("x\n".to_owned(), "no change"),
        ] {
            let error = decide(&pushed).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }
}
