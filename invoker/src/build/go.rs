//! Programs written in Go, with `go build`.

use std::{
    fs::File,
    io::{self, Read as _},
    path::Path,
};

use super::{Build, Done, Error, Tool, said::Words};
use crate::log;

/// How archives begin. Of a package that is no program go writes one, and says nothing.
const ARCHIVE: &[u8; 8] = b"!<arch>\n";

pub(super) async fn build(build: &Build) -> Result<Done, Error> {
    let source = build.place.source();
    if !source.join("go.mod").is_file() {
        return Err(Error::Refused(
            "there is no go.mod; `go mod init NAME` writes it".to_owned(),
        ));
    }
    log::line("building with go");
    let mut arguments = vec!["build", "-trimpath", "-buildvcs=false", "-ldflags=-s"];
    if !source.join("vendor/modules.txt").is_file() {
        // Without it go would take what is vendored.
        arguments.push("-mod=readonly");
    }
    arguments.push("-o");
    let mut arguments: Vec<_> = arguments.into_iter().map(Into::into).collect();
    arguments.push(build.place.target().join("function").into());
    arguments.push(".".into());
    build
        .run(Tool {
            name: "go",
            program: "go".into(),
            arguments,
            // A workspace of a folder above is none of the function's.
            env: vec![("GOWORK", "off".into())],
            defaults: vec![("CGO_ENABLED", "0")],
            dir: source,
            hint: "install Go (https://go.dev/dl/)",
            words: Words::Go,
            registry: true,
        })
        .await?;
    if is_archive(&build.place.target().join("function"))? {
        return Err(Error::Refused(
            "package main is missing: the package in the folder with go.mod is a library; begin its files with `package main` and give it a func main"
                .to_owned(),
        ));
    }
    Ok(Done::Built)
}

fn is_archive(path: &Path) -> io::Result<bool> {
    let mut begin = Vec::new();
    let file = File::open(path)?;
    file.take(ARCHIVE.len() as u64).read_to_end(&mut begin)?;
    Ok(begin == ARCHIVE)
}
