//! Packages of Node.js, with npm.

use std::{fs, path::Path};

use serde_json::Value;

use super::{Build, Done, Error, Tool, count, said::Words, tree};
use crate::log;

/// What npm itself writes, in the order in which it looks for them.
const LOCKS: [&str; 2] = ["npm-shrinkwrap.json", "package-lock.json"];

/// Locks of other programs, which npm does not read.
const FOREIGN_LOCKS: [(&str, &str); 4] = [
    ("yarn.lock", "Yarn"),
    ("pnpm-lock.yaml", "pnpm"),
    ("bun.lock", "Bun"),
    ("bun.lockb", "Bun"),
];

/// What npm is given unless somebody has set it: a registry that is down is told in seconds.
const DEFAULTS: [(&str, &str); 6] = [
    ("npm_config_fetch_retries", "2"),
    ("npm_config_fetch_retry_mintimeout", "1000"),
    ("npm_config_fetch_retry_maxtimeout", "5000"),
    ("npm_config_fetch_timeout", "60000"),
    ("npm_config_update_notifier", "false"),
    ("npm_config_progress", "false"),
];

/// What the files ask for.
#[derive(Debug, Eq, PartialEq)]
enum Plan {
    Nothing(&'static str),
    /// What a lock says, and nothing else.
    Lock {
        file: &'static str,
        packages: usize,
    },
    /// What fits package.json today.
    Newest {
        packages: usize,
    },
}

pub(super) async fn build(build: &Build) -> Result<Done, Error> {
    let source = build.place.source();
    let (what, arguments) = match plan(&source)? {
        Plan::Nothing(why) => return Ok(Done::Nothing(why.to_owned())),
        Plan::Lock { file, packages } => (
            format!("{} of {file} with npm ci", count(packages, "package")),
            vec!["ci"],
        ),
        Plan::Newest { packages } => (
            format!(
                "{} of package.json with npm install",
                count(packages, "package")
            ),
            vec!["install", "--no-package-lock"],
        ),
    };
    log::line(format_args!("installing {what}"));
    let more = ["--omit=dev", "--no-audit", "--no-fund"];
    build
        .run(Tool {
            name: "npm",
            program: "npm".into(),
            arguments: arguments.into_iter().chain(more).map(Into::into).collect(),
            env: Vec::new(),
            defaults: DEFAULTS.to_vec(),
            dir: source.clone(),
            hint: "install Node.js with npm",
            words: Words::Npm,
            registry: true,
        })
        .await?;
    let (from, to) = (source.join("node_modules"), build.place.target());
    if from.is_dir() {
        tree::move_all(&from, &to).map_err(|source| Error::Write { path: to, source })?;
    }
    Ok(Done::Built)
}

fn plan(source: &Path) -> Result<Plan, Error> {
    let Some(package) = json(source, "package.json")? else {
        return Ok(Plan::Nothing("there is no package.json"));
    };
    let named = |field: &str| package[field].as_object().map_or(0, serde_json::Map::len);
    let packages = ["dependencies", "optionalDependencies", "peerDependencies"];
    let packages = packages.into_iter().map(named).sum();
    if packages == 0 {
        return Ok(Plan::Nothing("package.json names no dependencies"));
    }
    for file in LOCKS {
        if let Some(lock) = json(source, file)? {
            let packages = lock["packages"].as_object().map(|packages| {
                let is_wanted = |(path, package): &(&String, &Value)| {
                    !path.is_empty() && package["dev"].as_bool() != Some(true)
                };
                packages.iter().filter(is_wanted).count()
            });
            let packages = packages.unwrap_or_default();
            return Ok(Plan::Lock { file, packages });
        }
    }
    let foreign = FOREIGN_LOCKS
        .iter()
        .find(|(file, _)| source.join(file).exists());
    match foreign {
        Some((file, program)) => Err(Error::Refused(format!(
            "{file} is {program}'s and not read; packages are installed with npm, so write a lock with \
             `npm install --package-lock-only`, or leave {file} out"
        ))),
        None => Ok(Plan::Newest { packages }),
    }
}

fn json(source: &Path, file: &str) -> Result<Option<Value>, Error> {
    let path = source.join(file);
    if !path.is_file() {
        return Ok(None);
    }
    let text = fs::read(&path).map_err(|source| Error::Inputs { path, source })?;
    let value = serde_json::from_slice(&text)
        .map_err(|error| Error::Refused(format!("{file} is no JSON: {error}")))?;
    Ok(Some(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan_of(files: &[(&str, &str)]) -> Result<Plan, String> {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(dir.path().join(name), text).unwrap();
        }
        plan(dir.path()).map_err(|error| error.to_string())
    }

    const PACKAGE: (&str, &str) = ("package.json", r#"{"dependencies": {"a": "1", "b": "2"}}"#);

    #[test]
    fn a_lock_goes_before_what_fits_today() {
        assert_eq!(plan_of(&[PACKAGE]), Ok(Plan::Newest { packages: 2 }));
        let lock =
            r#"{"packages": {"": {}, "node_modules/a": {}, "node_modules/d": {"dev": true}}}"#;
        let file = "package-lock.json";
        assert_eq!(
            plan_of(&[PACKAGE, (file, lock), ("yarn.lock", "")]),
            Ok(Plan::Lock { file, packages: 1 })
        );
    }

    #[test]
    fn what_needs_nothing_installs_nothing() {
        let dev = (
            "package.json",
            r#"{"type": "module", "devDependencies": {"a": "1"}}"#,
        );
        assert!(matches!(
            plan_of(&[dev, ("yarn.lock", "")]),
            Ok(Plan::Nothing(_))
        ));
        assert!(matches!(plan_of(&[]), Ok(Plan::Nothing(_))));
    }

    #[test]
    fn a_lock_of_another_program_is_refused_with_the_way_out() {
        let error = plan_of(&[PACKAGE, ("pnpm-lock.yaml", "")]).unwrap_err();
        assert!(error.starts_with("pnpm-lock.yaml is pnpm's"), "{error}");
        assert!(error.contains("npm install --package-lock-only"), "{error}");
    }
}
