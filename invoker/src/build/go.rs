//! Programs written in Go, with `go build`.

use super::{Build, Done, Error, Tool, said::Words};
use crate::log;

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
    Ok(Done::Built)
}
