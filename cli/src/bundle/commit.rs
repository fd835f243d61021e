//! Files become a commit, as they are.

use std::{
    fs,
    io::{self, BufWriter, Read as _, Write},
    path::Path,
    process::Stdio,
    sync::{Arc, Mutex},
};

use anyhow::{Context as _, bail};

use super::{Bundle, File, git};

/// Where the commit is in its own repository.
const REFERENCE: &str = "refs/heads/bundle";

/// Who has made every bundle, and when: it is no part of what is deployed.
const WHO: &str = "fermata <fermata@localhost> 0 +0000";

const MESSAGE: &str = "The files of a function\n";

// === impl Bundle ===

impl Bundle {
    /// The bundle of these files; `size` says in words how much they are, and `about` where they are as well.
    ///
    /// # Errors
    ///
    /// When one of them cannot be read or changes meanwhile, or git cannot be run.
    pub(crate) fn of(files: &[File<'_>], size: String, about: String) -> anyhow::Result<Self> {
        let dir = tempfile::Builder::new()
            .prefix("fermata-bundle-")
            .tempdir()
            .context("there is no place for a bundle")?;
        let repository = dir.path();
        let init = [
            "init",
            "--quiet",
            "--bare",
            "--template=",
            "--object-format=sha1",
        ];
        git::run(repository, init)?;
        import(repository, files)?;
        let commit = git::run(repository, ["rev-parse", "--verify", REFERENCE])?;
        Ok(Self {
            commit: commit.trim().to_owned(),
            repository: Arc::new(Mutex::new(Some(dir))),
            size,
            about,
        })
    }
}

/// Writes the files by git's own importer, which knows no filters, hooks and attributes.
fn import(repository: &Path, files: &[File<'_>]) -> anyhow::Result<()> {
    let mut importing = git::command(repository, &[])
        .args(["fast-import", "--quiet", "--done", "--date-format=raw"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(git::missing)?;
    let stdin = importing.stdin.take();
    let written = match stdin {
        Some(stdin) => write(&mut BufWriter::new(stdin), files),
        None => Ok(()),
    };
    let ended = importing.wait_with_output().context("git is lost")?;
    match written {
        // git says why it takes no more.
        Err(error) if !is_broken_pipe(&error) => return Err(error),
        _ => {}
    }
    git::said(ended).map(drop)
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let cause = error.root_cause().downcast_ref::<io::Error>();
    cause.is_some_and(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
}

/// The stream of <https://git-scm.com/docs/git-fast-import>.
fn write(stream: &mut impl Write, files: &[File<'_>]) -> anyhow::Result<()> {
    write!(
        stream,
        "commit {REFERENCE}\nauthor {WHO}\ncommitter {WHO}\ndata {}\n{MESSAGE}",
        MESSAGE.len()
    )?;
    for file in files {
        let bytes = read(file)?;
        let mode = if is_program(&bytes) {
            "100755"
        } else {
            "100644"
        };
        let name = file.name.replace('\\', "\\\\").replace('"', "\\\"");
        write!(stream, "M {mode} inline \"{name}\"\ndata {}\n", bytes.len())?;
        stream.write_all(&bytes)?;
        stream.write_all(b"\n")?;
    }
    stream.write_all(b"done\n")?;
    stream.flush()?;
    Ok(())
}

fn read(file: &File<'_>) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    fs::File::open(file.path)
        .and_then(|open| open.take(file.size + 1).read_to_end(&mut bytes))
        .with_context(|| format!("cannot read {}", file.path.display()))?;
    if bytes.len() as u64 != file.size {
        bail!(
            "{} changed while it was read; try again",
            file.path.display()
        );
    }
    Ok(bytes)
}

/// Whether it can be executed: a script that says by what, or a program (ELF).
fn is_program(bytes: &[u8]) -> bool {
    bytes.starts_with(b"#!") || bytes.starts_with(b"\x7fELF")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bundle(files: &[(&str, &[u8])]) -> Bundle {
        let dir = tempfile::tempdir().unwrap();
        let paths: Vec<_> = (0..).zip(files).collect();
        let paths: Vec<_> = paths
            .into_iter()
            .map(|(number, (name, content))| {
                let path = dir.path().join(number.to_string());
                fs::write(&path, content).unwrap();
                (*name, path, content.len() as u64)
            })
            .collect();
        let files: Vec<File<'_>> = paths
            .iter()
            .map(|(name, path, size)| File {
                name,
                path,
                size: *size,
            })
            .collect();
        Bundle::of(&files, String::new(), String::new()).unwrap()
    }

    #[test]
    fn the_same_files_are_the_same_commit() {
        let files: [(&str, &[u8]); 4] = [
            ("main.py", b"x = 1\r\n"),
            ("lib/\u{e4} \"b\".txt", b""),
            ("lib/run.sh", b"#!/bin/sh\n"),
            (".gitattributes", b"* text eol=crlf\n*.py filter=lfs\n"),
        ];
        let one = bundle(&files);
        let mut turned = files;
        turned.reverse();
        assert_eq!(one, bundle(&turned));
        assert_ne!(one, bundle(&files[1..]));
        let tree = git::run(&one.path().unwrap(), ["ls-tree", "-r", "-z", REFERENCE]).unwrap();
        let entries = tree.split_terminator('\0').map(|entry| {
            let (about, name) = entry.split_once('\t').unwrap();
            (about.split(' ').next().unwrap(), name)
        });
        assert_eq!(
            entries.collect::<Vec<_>>(),
            [
                ("100644", ".gitattributes"),
                ("100755", "lib/run.sh"),
                ("100644", "lib/\u{e4} \"b\".txt"),
                ("100644", "main.py")
            ]
        );
        let text = format!("{REFERENCE}:main.py");
        let text = git::run(&one.path().unwrap(), ["cat-file", "blob", &text]);
        assert_eq!(text.unwrap(), "x = 1\r\n");
        let (clone, dir) = (one.clone(), one.path().unwrap());
        clone.release();
        assert!(!dir.exists() && one.path().is_err() && one == clone);
        // What it is made of is all that counts, on any machine.
        assert_eq!(
            bundle(&[("main.py", b"x = 1\n")]).commit,
            "2805673c1f03314e045e41e642d9add91c44e941"
        );
    }

    #[test]
    fn what_changes_meanwhile_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("data.bin");
        fs::write(&path, "longer").unwrap();
        let file = File {
            name: "data.bin",
            path: &path,
            size: 3,
        };
        let error = Bundle::of(&[file], String::new(), String::new())
            .unwrap_err()
            .to_string();
        assert!(error.contains("data.bin changed while"), "{error}");
    }
}
