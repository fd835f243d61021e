//! Files that look like secrets: whoever may read a function may read its code.

use std::{
    collections::BTreeSet,
    fs::File,
    io::Read as _,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use super::walk::Found;
use crate::output;

/// Names of files that hold keys and passwords.
const NAMES: [&str; 8] = [
    ".env",
    ".netrc",
    ".pypirc",
    ".git-credentials",
    "id_rsa",
    "id_dsa",
    "id_ecdsa",
    "id_ed25519",
];

/// Names of files that show what such a file is to hold.
const SAMPLES: [&str; 4] = [".example", ".sample", ".template", ".dist"];

/// Ends of the names of private keys.
const KEYS: [&str; 4] = [".pem", ".key", ".p12", ".pfx"];

/// How much is read of a file that may hold certificates alone.
const MOST_READ: u64 = 64 * 1024;

/// How many files are named at most.
const MOST_NAMED: usize = 5;

/// How many files are remembered; what comes on top is named again.
const MOST_REMEMBERED: usize = 1000;

/// The files that this process has named.
static TOLD: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

/// Says once of each file that it looks like a secret.
pub(super) fn warn(dir: &Path, found: &[Found]) {
    let mut told = TOLD.lock().unwrap_or_else(PoisonError::into_inner);
    let secrets = found.iter().filter(|file| is_secret(file));
    let new: Vec<&Found> = secrets
        .filter(|file| !told.contains(&file.path))
        .take(MOST_NAMED)
        .collect();
    if new.is_empty() {
        return;
    }
    let names: Vec<_> = new.iter().map(|file| output::name(&file.name)).collect();
    output::note(&format!(
        "{} in {}: it looks like a secret, and everybody can read it who may read the function. Leave it out in {}, and give the function a Secret (spec.env with valueFrom.secretKeyRef)",
        names.join(", "),
        dir.display(),
        dir.join(".fermataignore").display()
    ));
    for file in new {
        if told.len() < MOST_REMEMBERED {
            told.insert(file.path.clone());
        }
    }
}

fn is_secret(file: &Found) -> bool {
    let name = file.name.rsplit('/').next().unwrap_or(&file.name);
    let name = name.to_ascii_lowercase();
    if NAMES.contains(&name.as_str()) {
        return true;
    }
    if name.starts_with(".env.") {
        return !SAMPLES.iter().any(|end| name.ends_with(end));
    }
    KEYS.iter().any(|end| name.ends_with(end)) && !is_public(&file.path)
}

/// Whether a file has certificates or public keys and nothing else. What cannot be read is told elsewhere.
fn is_public(path: &Path) -> bool {
    let mut begin = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MOST_READ).read_to_end(&mut begin));
    let text = String::from_utf8_lossy(&begin);
    read.is_ok() && text.contains("-----BEGIN ") && !text.contains("PRIVATE KEY-----")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_passwords_are_known_by_their_names_and_certificates_are_none() {
        let dir = tempfile::tempdir().unwrap();
        let is_secret = |name: &str, text: &str| {
            let path = dir.path().join("file");
            std::fs::write(&path, text).unwrap();
            super::is_secret(&Found {
                name: name.to_owned(),
                path,
                size: 0,
            })
        };
        for name in [
            ".env",
            "conf/.env.production",
            "keys/id_rsa",
            "server.key",
            "a.PEM",
            "b.p12",
        ] {
            assert!(is_secret(name, "x"), "{name}");
        }
        let key = "-----BEGIN CERTIFICATE-----\n-----BEGIN PRIVATE KEY-----\n";
        assert!(is_secret("tls.pem", key));
        assert!(!is_secret("ca.pem", "-----BEGIN CERTIFICATE-----\n"));
        for name in [".env.example", "id_rsa.pub", "main.py", "key.py"] {
            assert!(!is_secret(name, "x"), "{name}");
        }
    }
}
