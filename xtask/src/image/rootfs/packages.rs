//! The packages that were unpacked.

use std::{fs, io, path::Path, process::Command};

use anyhow::Context as _;

use crate::shell;

/// Packages that come along because scripts of other packages, which nobody runs, need them.
const FOR_SCRIPTS: [&str; 4] = ["debconf", "dpkg", "mawk", "tar"];

/// Takes out those that only scripts need, unless they are asked for, and writes down the others,
/// with their versions, where scanners look for them.
pub(super) fn finish(wanted: &[String], root: &Path) -> anyhow::Result<()> {
    let list = root.join("var/lib/dpkg/status.d");
    fs::create_dir_all(&list)?;
    let archives = root.join("var/cache/apt/archives");
    let entries =
        fs::read_dir(&archives).with_context(|| format!("cannot read {}", archives.display()))?;
    let mut found = 0;
    for entry in entries {
        let file = entry?.path();
        if file.extension().is_none_or(|extension| extension != "deb") {
            continue;
        }
        found += 1;
        let control = ask("--field", &file)?;
        let name = field(&control, "Package")
            .with_context(|| format!("{} has no name", file.display()))?;
        if FOR_SCRIPTS.contains(&name) && !wanted.iter().any(|wanted| wanted == name) {
            take_out(&ask("--contents", &file)?, root)?;
        } else {
            let status = "Status: install ok installed\n";
            fs::write(list.join(name), format!("{}\n{status}", control.trim_end()))?;
        }
    }
    anyhow::ensure!(found > 0, "{} holds no packages", archives.display());
    Ok(())
}

fn ask(what: &str, package: &Path) -> anyhow::Result<String> {
    shell::output(Command::new("dpkg-deb").arg(what).arg(package))
        .with_context(|| format!("dpkg-deb {what} {} failed", package.display()))
}

/// A field of a package's description.
fn field<'a>(control: &'a str, name: &str) -> Option<&'a str> {
    control
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
        .map(str::trim)
}

/// Removes a package's files, but not the folders, which others may use too.
fn take_out(contents: &str, root: &Path) -> anyhow::Result<()> {
    for path in contents.lines().filter_map(file) {
        match fs::remove_file(root.join(path)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("cannot remove {path}"));
            }
            _ => {}
        }
    }
    Ok(())
}

/// The path in a line of `dpkg-deb --contents`, which is a line of `tar -tv`, unless it is a folder.
fn file(line: &str) -> Option<&str> {
    let (_, path) = line.split_once(" ./")?;
    let path = path.split(" -> ").next()?;
    let path = path.split(" link to ").next()?;
    (!path.is_empty() && !path.ends_with('/')).then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_says_its_name() {
        let control = "Package: libc6\nVersion: 2.41-12\nDepends: x\n";
        assert_eq!(field(control, "Package"), Some("libc6"));
        assert_eq!(field(control, "Source"), None);
    }

    #[test]
    fn files_and_links_of_a_package_are_found() {
        let lines = [
            "drwxr-xr-x root/root         0 2025-03-10 10:00 ./usr/bin/",
            "-rwxr-xr-x root/root    457000 2025-03-10 10:00 ./usr/bin/tar",
            "lrwxrwxrwx root/root         0 2025-03-10 10:00 ./etc/rmt -> /usr/sbin/rmt",
            "hrwxr-xr-x root/root         0 2025-03-10 10:00 ./usr/bin/b link to ./usr/bin/tar",
        ];
        let files: Vec<&str> = lines.into_iter().filter_map(file).collect();
        assert_eq!(files, ["usr/bin/tar", "etc/rmt", "usr/bin/b"]);
    }
}
