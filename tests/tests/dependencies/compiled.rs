//! Functions that are compiled. The images of these languages are not loaded into the test cluster, so this is for the
//! embedded one.

use fermata_tests::Space;
use serde_json::json;

use super::function;

const GO: &str = r#"package main

import (
	"fmt"
	"net/http"
	"os"

	"example.com/hello/words"
)

func main() {
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, words.Hello) })
	address := os.Getenv("HOST") + ":" + os.Getenv("PORT")
	if err := http.ListenAndServe(address, nil); err != nil {
		panic(err)
	}
}
"#;

pub(super) const RUST: &str = r#"use std::io::{Read, Write};

fn main() {
    let port = std::env::var("PORT").unwrap();
    let host = std::env::var("HOST").unwrap_or("0.0.0.0".into());
    let listener = std::net::TcpListener::bind(format!("{host}:{port}")).unwrap();
    for stream in listener.incoming() {
        let mut stream = stream.unwrap();
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") && matches!(stream.read(&mut byte), Ok(1)) {
            head.push(byte[0]);
        }
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 5\r\n\r\nhello");
    }
}
"#;

#[tokio::test]
async fn a_go_module_is_compiled_and_a_mistake_in_it_is_told_with_its_line() {
    let space = Space::new().await;
    if !space.platform.embedded {
        return;
    }
    let source = |code: &str| {
        json!({"runtime": "go", "files": {
            "go.mod": "module example.com/hello\n\ngo 1.21\n", "main.go": code,
            "words/words.go": "package words\n\nconst Hello = \"hello\"\n",
        }})
    };
    function(&space, "hello", source(GO)).await;
    space.ready("hello").await;
    space.answers("hello", "hello").await;

    let broken = GO.replace("words.Hello", "words.Missing");
    function(&space, "hello", source(&broken)).await;
    let message = space.fails("hello", "BuildFailed").await;
    assert!(
        message.contains("main.go:12") && message.contains("words.Missing"),
        "{message}"
    );
    assert_eq!(space.fetch("hello", "/").await.ok().text(), "hello");
}

#[tokio::test]
async fn a_crate_is_compiled() {
    let space = Space::new().await;
    if !space.platform.embedded {
        return;
    }
    let source = json!({"runtime": "rust", "files": {
        "Cargo.toml": "[package]\nname = \"hello\"\nversion = \"0.1.0\"\nedition = \"2021\"\n",
        "src/main.rs": RUST,
    }});
    function(&space, "hello", source).await;
    space.ready("hello").await;
    space.answers("hello", "hello").await;
}
