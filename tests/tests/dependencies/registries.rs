//! Packages from the registries that everybody uses. A registry that does not answer fails these tests: what they are
//! for is that it works. They are for the embedded cluster, whose builds have this machine's network.

use std::{fs, path::Path, process::Command, time::Duration};

use fermata_tests::{Space, eventually_within, fermata_bin};
use serde_json::{Value, json};

use super::{compiled::RUST, function};

/// How long a build may take: what is fetched and compiled depends on others, and on what else runs here.
const DEADLINE: Duration = Duration::from_secs(900);

/// A space on the embedded cluster; none where there is none, or the tool is missing.
async fn space(tool: &str) -> Option<Space> {
    let version = if tool == "go" { "version" } else { "--version" };
    if Command::new(tool).arg(version).output().is_err() {
        println!("{tool} is not on PATH: its registry is not tested");
        return None;
    }
    let space = Space::new().await;
    space.platform.embedded.then_some(space)
}

/// Waits until the function answers with this text; a build that has failed is told at once.
async fn answers(space: &Space, name: &str, text: &str) {
    eventually_within(DEADLINE, &format!("{name} is built"), async || {
        let status = space.get(name).await.status.unwrap_or_default();
        let built = status
            .conditions
            .iter()
            .find(|condition| condition.type_ == "Built");
        match built {
            Some(built) if built.status == "True" => Ok(()),
            Some(built) if built.status == "False" => panic!("{name}: {built:?}"),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    space.ready(name).await;
    space.answers(name, text).await;
}

/// Source of these files.
fn source(runtime: &str, files: &Value) -> Value {
    json!({"runtime": runtime, "files": files, "build": {"timeout": "15m"}})
}

#[tokio::test]
async fn packages_of_python_with_compiled_parts_are_installed() {
    let Some(space) = space("python3").await else {
        return;
    };
    let code = "
import numpy, requests
from pydantic import BaseModel


class Order(BaseModel):
    pieces: int


def handle(request):
    total = numpy.array([Order(pieces='40').pieces, 2]).sum()
    return f'{total} {requests.Request(\"GET\", \"http://h/\", params={\"a\": 1}).prepare().url}'
";
    let files =
        json!({"main.py": code, "requirements.txt": "numpy\npydantic>=2,<3\nrequests>=2,<3\n"});
    function(&space, "hello", source("python", &files)).await;
    answers(&space, "hello", "42 http://h/?a=1").await;
}

#[tokio::test]
async fn packages_of_node_with_compiled_parts_are_installed() {
    let Some(space) = space("npm").await else {
        return;
    };
    let package = json!({"type": "module", "dependencies": {"lodash": "^4.17.21", "@node-rs/crc32": "^1.10.0"}});
    let code = "
import { crc32 } from '@node-rs/crc32'
import lodash from 'lodash'
export const handle = () => `${lodash.chunk([1, 2, 3], 2).length} ${crc32('123456789').toString(16)}`
";
    let files = json!({"main.mjs": code, "package.json": package.to_string()});
    function(&space, "hello", source("node", &files)).await;
    answers(&space, "hello", "2 cbf43926").await;
}

#[tokio::test]
async fn a_go_module_requires_another() {
    let Some(space) = space("go").await else {
        return;
    };
    let code = r#"package main

import (
	"fmt"
	"net/http"
	"os"

	"github.com/google/uuid"
)

func main() {
	name := uuid.NewSHA1(uuid.NameSpaceDNS, []byte("example.com"))
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, name) })
	if err := http.ListenAndServe(os.Getenv("HOST")+":"+os.Getenv("PORT"), nil); err != nil {
		panic(err)
	}
}
"#;
    let files = json!({
        "main.go": code,
        "go.mod": "module example.com/hello\n\ngo 1.21\n\nrequire github.com/google/uuid v1.6.0\n",
        "go.sum": "github.com/google/uuid v1.6.0 h1:NIvaJDMOsjHA8n1jAhLSgzrAzy1Hgr+hNrb57e+94F0=\n\
            github.com/google/uuid v1.6.0/go.mod h1:TIyPZe4MgqvfeYDBFedMoGGpEw/LqOeaOT+nhxU+yHo=\n",
    });
    function(&space, "hello", source("go", &files)).await;
    answers(&space, "hello", "cfbff0d1-9375-5685-968c-48ce8b15ae17").await;
}

#[tokio::test]
async fn a_crate_depends_on_another() {
    let Some(space) = space("cargo").await else {
        return;
    };
    let manifest = "[package]\nname = \"hello\"\nversion = \"0.1.0\"\nedition = \"2021\"\n\n[dependencies]\nitoa = \"1\"\n";
    let code = RUST.replace(
        "hello\");",
        "\"); let _ = stream.write_all(itoa::Buffer::new().format(12345).as_bytes());",
    );
    let files = json!({"Cargo.toml": manifest, "src/main.rs": code});
    function(&space, "hello", source("rust", &files)).await;
    answers(&space, "hello", "12345").await;
}

/// What `fermata init` has written, but for the manifest and the tests.
fn written(dir: &Path) -> Value {
    let names = ["main.ts", "package.json", "package-lock.json"];
    let read = |name| fs::read_to_string(dir.join(name)).expect("a file");
    names.map(|name| (name, read(name))).into_iter().collect()
}

fn fermata(dir: &Path, arguments: &[&str]) -> (bool, String) {
    let output = Command::new(fermata_bin())
        .args(arguments)
        .current_dir(dir)
        .env("XDG_CACHE_HOME", dir.join("cache"))
        .output()
        .expect("fermata can be run");
    let printed = [output.stdout, output.stderr].concat();
    let printed = String::from_utf8_lossy(&printed).into_owned();
    (output.status.success(), printed)
}

#[tokio::test]
async fn typescript_that_init_writes_runs_and_is_tested() {
    let Some(space) = space("npm").await else {
        return;
    };
    let dir = tempfile::tempdir().expect("a directory");
    let (ok, printed) = fermata(dir.path(), &["init", "hello", "--runtime", "typescript"]);
    assert!(ok, "{printed}");
    let (passed, printed) = fermata(dir.path(), &["test", "hello"]);
    assert!(passed, "{printed}");
    let mut files = written(&dir.path().join("hello"));
    function(&space, "hello", source("node", &files)).await;
    answers(&space, "hello", "Hello, world!\n").await;

    // What goes beyond types, which no version of Node.js strips by itself.
    files["main.ts"] = json!(
        "import { loud } from './lib/loud.js'\nenum Word { Hello = 'hello' }\nexport const handle = (): string => loud(Word.Hello)\n"
    );
    files["lib/loud.ts"] =
        json!("export const loud = (text: string): string => text.toUpperCase()\n");
    function(&space, "hello", source("node", &files)).await;
    answers(&space, "hello", "HELLO").await;

    let main = dir.path().join("hello/main.ts");
    let text = fs::read_to_string(&main).expect("a file");
    fs::write(&main, text.replace("Hello", "Goodbye")).expect("a file");
    let (passed, printed) = fermata(dir.path(), &["test", "hello"]);
    assert!(!passed && printed.contains("Goodbye"), "{printed}");
}
