//! Builds of programs, which serve HTTP by themselves.

use std::{fs, os::unix::fs::PermissionsExt as _};

use crate::{
    build::{Job, closed},
    function::Setup,
};

const GO: &str = r#"package main

import (
	"fmt"
	"net/http"
	"os"
)

func main() {
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "go") })
	http.ListenAndServe("127.0.0.1:"+os.Getenv("PORT"), nil)
}
"#;

const RUST: &str = r#"use std::{env, io::{Read, Write}, net::TcpListener};

fn main() {
    let address = format!("127.0.0.1:{}", env::var("PORT").unwrap());
    for stream in TcpListener::bind(address).unwrap().incoming() {
        let mut stream = stream.unwrap();
        let _ = stream.read(&mut [0; 4096]);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\nrust");
    }
}
"#;

fn go(source: &str) -> Job {
    Job::new(&["go"])
        .file("go.mod", "module example.com/hello\n\ngo 1.20\n")
        .file("main.go", source)
}

fn rust(source: &str) -> Job {
    Job::new(&["rust"])
        .file(
            "Cargo.toml",
            "[package]\nname = \"hello\"\nversion = \"0.1.0\"\nedition = \"2021\"\n[workspace]\n",
        )
        .file("src/main.rs", source)
        .variable("CARGO_NET_OFFLINE", "true")
}

/// Has the built program serve, at its place below a root.
async fn serves(job: &Job, text: &str) {
    let program = job.target().join("function");
    let mode = fs::metadata(&program).unwrap().permissions().mode();
    assert_eq!(mode & 0o111, 0o111);
    let root = job.target().parent().unwrap().to_owned();
    let function = Setup::new("exec")
        .argument("/target/function")
        .variable("FERMATA_ROOT", root.to_str().unwrap())
        .start();
    assert_eq!(function.get("/").await.text(), text);
}

#[tokio::test]
async fn a_module_of_go_becomes_a_program() {
    let job = go(GO);
    let outcome = job.succeed();
    assert!(
        outcome.stderr.starts_with("fermata: building with go\n"),
        "{}",
        outcome.stderr
    );
    assert_eq!(job.names(""), ["function"]);
    serves(&job, "go").await;
}

#[test]
fn an_error_of_go_is_told_with_file_and_line() {
    let job = go("package main\n\nfunc main() {\n\tmissing()\n}\n");
    assert_eq!(
        job.fail(),
        (1, "./main.go:4:2: undefined: missing".to_owned())
    );
    let (code, last) = Job::new(&["go"]).file("main.go", GO).fail();
    assert_eq!(code, 1);
    assert!(last.contains("there is no go.mod"), "{last}");
}

#[test]
fn a_module_without_its_sums_is_told_with_the_command() {
    let module = "module m\n\ngo 1.20\n\nrequire example.com/none v1.0.0\n";
    let source = "package main\n\nimport _ \"example.com/none\"\n\nfunc main() {}\n";
    let (code, last) = go(source).file("go.mod", module).fail();
    assert_eq!(code, 1, "{last}");
    for words in ["missing go.sum entry", "`go mod tidy`"] {
        assert!(last.contains(words), "{last}");
    }
}

#[test]
fn a_package_of_go_that_is_no_program_is_told() {
    let (code, last) = go("package hello\n\nfunc Hello() {}\n").fail();
    assert_eq!(code, 1);
    assert!(last.contains("package main is missing"), "{last}");
}

#[test]
fn a_proxy_of_modules_out_of_reach_is_worth_another_try() {
    let module = "module m\n\ngo 1.20\n\nrequire example.com/none v1.0.0\n";
    let job = Job::new(&["go"])
        .file("go.mod", module)
        .file(
            "main.go",
            "package main\n\nimport _ \"example.com/none\"\n\nfunc main() {}\n",
        )
        .file(
            "go.sum",
            "example.com/none v1.0.0 h1:x\nexample.com/none v1.0.0/go.mod h1:x\n",
        )
        .variable("GOPROXY", &closed())
        .variable("GONOSUMDB", "*");
    let (code, last) = job.fail();
    assert_eq!(code, 75, "{last}");
    assert!(last.contains("it refuses connections"), "{last}");
}

#[tokio::test]
async fn a_package_of_rust_becomes_a_program() {
    let job = rust(RUST);
    job.succeed();
    assert_eq!(job.names(""), ["function"]);
    serves(&job, "rust").await;
}

#[test]
fn an_error_of_rust_is_told_with_file_and_line() {
    let (code, last) = rust("fn main() {\n    missing();\n}\n").fail();
    assert_eq!(code, 1);
    assert!(
        last.starts_with("error[E0425]: cannot find function `missing`"),
        "{last}"
    );
    assert!(last.ends_with("(src/main.rs:2:5)"), "{last}");
    let (_, last) = Job::new(&["rust"]).file("src/main.rs", RUST).fail();
    assert!(last.contains("there is no Cargo.toml"), "{last}");
}

#[test]
fn what_cargo_has_compiled_is_kept_on_a_machine_that_is_shared() {
    let caches = tempfile::tempdir().unwrap();
    let source = "fn main() { own::hello() }\n";
    let manifest = "[package]\nname = \"hello\"\nversion = \"0.1.0\"\nedition = \"2021\"\n[dependencies]\nown = { path = \"own\" }\n[workspace]\n";
    let job = rust(source)
        .file("Cargo.toml", manifest)
        .file(
            "own/Cargo.toml",
            "[package]\nname = \"own\"\nversion = \"0.1.0\"\nedition = \"2021\"\n",
        )
        .file("own/src/lib.rs", "pub fn hello() {}\n");
    let kept = caches.path().join("fermata/cargo/release");
    job.succeed();
    assert!(!kept.exists());
    let root = tempfile::tempdir().unwrap();
    let job = job
        .variable("FERMATA_ROOT", root.path().to_str().unwrap())
        .variable("FERMATA_TARGET", "/built")
        .variable("XDG_CACHE_HOME", caches.path().to_str().unwrap());
    job.succeed();
    assert!(kept.is_dir());
    assert!(root.path().join("built/function").is_file());
}
