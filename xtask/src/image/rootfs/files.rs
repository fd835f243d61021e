//! Which files of Debian's packages an image holds.

use std::{fs, path::Path};

use anyhow::Context as _;

/// Folders that no function uses.
const UNWANTED: &[&str] = &[
    "boot",
    "etc/apt",
    "etc/ca-certificates",
    "etc/cron.daily",
    "etc/dpkg",
    "etc/logrotate.d",
    "media",
    "mnt",
    "opt",
    "srv",
    "usr/games",
    "usr/include",
    "usr/lib/systemd",
    "usr/lib/tmpfiles.d",
    "usr/lib/valgrind",
    "usr/share/applications",
    "usr/share/bash-completion",
    "usr/share/bug",
    "usr/share/ca-certificates",
    "usr/share/debconf",
    "usr/share/doc-base",
    "usr/share/info",
    "usr/share/lintian",
    "usr/share/locale",
    "usr/share/man",
    "usr/share/perl5",
    "usr/share/pixmaps",
    "usr/src",
    "var/cache",
    "var/lib/apt",
];

/// Folders that a container fills.
const EMPTY: &[&str] = &["dev", "proc", "run", "sys", "tmp"];

/// Files that mmdebstrap writes, for which a container has its own.
const OF_THE_MACHINE: [&str; 4] = [
    "etc/fstab",
    "etc/hostname",
    "etc/resolv.conf",
    "etc/machine-id",
];

/// Whether the image has a file or folder. The licences stay, and so does the list of packages,
/// which scanners read, and so does what the recipe keeps.
pub(super) fn is_wanted(path: &str, keep: &[String]) -> bool {
    if keep.iter().any(|folder| is_in(path, folder)) {
        return true;
    }
    if let Some(rest) = path.strip_prefix("usr/share/doc/") {
        return match rest.split_once('/') {
            Some((_, file)) => file == "copyright",
            None => true,
        };
    }
    if let Some(rest) = path.strip_prefix("var/lib/dpkg/") {
        return rest == "status.d" || rest.starts_with("status.d/");
    }
    // Converters for old encodings; UTF-8 needs none of them.
    if path.starts_with("usr/lib/") && path.split('/').nth(3) == Some("gconv") {
        return false;
    }
    !UNWANTED.iter().any(|folder| is_in(path, folder))
        && !EMPTY
            .iter()
            .any(|folder| path != *folder && is_in(path, folder))
        && !OF_THE_MACHINE.contains(&path)
}

fn is_in(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Writes the file with all authorities' certificates, which curl and OpenSSL read.
pub(super) fn certificates(root: &Path) -> anyhow::Result<()> {
    let folder = root.join("usr/share/ca-certificates/mozilla");
    let mut files = fs::read_dir(&folder)
        .with_context(|| {
            format!(
                "no {}; is ca-certificates among the packages?",
                folder.display()
            )
        })?
        .map(|entry| Ok(entry?.path()))
        .collect::<anyhow::Result<Vec<_>>>()?;
    files.sort();
    let mut bundle = Vec::new();
    for file in files {
        bundle.extend(fs::read(file)?);
        if bundle.last() != Some(&b'\n') {
            bundle.push(b'\n');
        }
    }
    let to = root.join("etc/ssl/certs");
    fs::create_dir_all(&to)?;
    fs::write(to.join("ca-certificates.crt"), bundle)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_licences_and_time_zones_are_wanted() {
        for path in [
            "usr",
            "usr/bin/python3.13",
            "usr/share/doc",
            "usr/share/doc/libc6",
            "usr/share/doc/libc6/copyright",
            "usr/share/common-licenses/GPL-3",
            "usr/share/zoneinfo/Europe/Berlin",
            "tmp",
            "proc",
            "var/lib/dpkg/status.d/libc6",
            "usr/lib/python3.13/email/policy.py",
            "lib64",
            "etc/ssl/openssl.cnf",
        ] {
            assert!(is_wanted(path, &[]), "{path}");
        }
    }

    #[test]
    fn manuals_caches_and_files_of_the_machine_are_not() {
        for path in [
            "usr/share/doc/libc6/changelog.gz",
            "usr/share/man",
            "usr/share/locale/de/x.mo",
            "var/lib/dpkg/status",
            "var/cache/apt/archives/libc6.deb",
            "etc/hostname",
            "etc/resolv.conf",
            "etc/apt/sources.list",
            "usr/lib/x86_64-linux-gnu/gconv",
            "dev/null",
            "run/lock",
        ] {
            assert!(!is_wanted(path, &[]), "{path}");
        }
    }

    #[test]
    fn what_a_recipe_keeps_is_wanted() {
        let keep = ["usr/include".to_owned()];
        assert!(is_wanted("usr/include/stdio.h", &keep));
        assert!(!is_wanted("usr/include/stdio.h", &[]));
        assert!(!is_wanted("usr/src/x", &keep));
    }
}
