//! The language that `docs/runtimes.md` adds, with the files and manifests that stand there. On a cluster its images are
//! those of the document too, made by `cargo xtask image`.

use std::{path::Path, process::Command};

use fermata_crds::Runtime;
use fermata_tests::{Document, Space, eventually, gem};
use kube::{Api, api::DeleteParams};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::index::{Index, Pages, bytes};

/// Where the image has the shim.
const SHIM: &str = "/usr/local/lib/fermata/";

/// The document's Runtime in a namespace for one test. Runtimes belong to no namespace: each test has its own.
struct Ruby {
    space: Space,
    document: Document,
    runtime: String,
    /// What is the user's own otherwise.
    own: TempDir,
}

// === impl Ruby ===

impl Ruby {
    /// None where the language is not at hand.
    async fn new() -> Option<Self> {
        let space = Space::new().await;
        let is_there = |tool| Command::new(tool).arg("--version").output().is_ok();
        if space.platform.embedded && !(is_there("ruby") && is_there("bundle")) {
            println!("ruby and bundle are not on PATH: what docs/runtimes.md adds is not tested");
            return None;
        }
        let ruby = Self {
            runtime: format!("ruby-{}", space.name),
            space,
            document: Document::read("docs/runtimes.md"),
            own: tempfile::tempdir().expect("a directory"),
        };
        let manifest = ruby.document.manifest("Runtime", "ruby").to_string();
        let manifest = manifest.replace(SHIM, &ruby.shim());
        let mut manifest: Value = serde_json::from_str(&manifest).expect("JSON still");
        manifest["metadata"]["name"] = json!(ruby.runtime);
        ruby.space.apply(&manifest).await;
        Some(ruby)
    }

    /// The folder with the shim: pods of the embedded cluster have no images.
    fn shim(&self) -> String {
        if !self.space.platform.embedded {
            return SHIM.to_owned();
        }
        let shim = self.document.block("ruby", "# fermata.rb");
        std::fs::write(self.own.path().join("fermata.rb"), shim).expect("the shim is written");
        format!("{}/", self.own.path().display())
    }

    /// The document's Function, whose builds ask this registry.
    fn function(&self, index: &Index) -> Value {
        let cache = match self.space.platform.embedded {
            true => self.own.path().join("bundle"),
            false => Path::new("/tmp/bundle").to_owned(),
        };
        let mut function = self.document.manifest("Function", "hello");
        function["spec"]["source"]["runtime"] = json!(self.runtime);
        function["spec"]["source"]["build"]["env"] = json!([
            {"name": "BUNDLE_MIRROR__ALL", "value": format!("http://{}", index.address)},
            {"name": "BUNDLE_USER_HOME", "value": cache},
        ]);
        function
    }

    async fn remove(self) {
        let runtimes = Api::<Runtime>::all(self.space.client.clone());
        let removed = runtimes
            .delete(&self.runtime, &DeleteParams::default())
            .await;
        removed.expect("the Runtime goes");
    }
}

/// The gem that the document names, as far as its function asks for it.
fn package(version: &str) -> String {
    let module = format!("module Rainbow\n  VERSION = \"{version}\"\nend\n");
    gem("rainbow", version, &module)
}

/// What rubygems.org has of it (<https://guides.rubygems.org/rubygems-org-compact-index-api/>).
fn pages(versions: &[&str]) -> Pages {
    let list = format!(
        "created_at: 2024-04-01T00:00:05Z\n---\nrainbow {} 0\n",
        versions.join(",")
    );
    let lines = versions
        .iter()
        .map(|version| format!("{version} |ruby:>= 0\n"));
    let info = format!("---\n{}", lines.collect::<String>());
    let gems = versions.iter().map(|version| {
        let page = ("application/octet-stream", bytes(&package(version)));
        (format!("/gems/rainbow-{version}.gem"), page)
    });
    let lists = [
        ("/versions".into(), ("text/plain", list.into_bytes())),
        ("/info/rainbow".into(), ("text/plain", info.into_bytes())),
    ];
    lists.into_iter().chain(gems).collect()
}

/// The function with another version of the gem.
fn with_version(function: &Value, version: &str) -> Value {
    let mut function = function.clone();
    let gems = &mut function["spec"]["source"]["files"]["Gemfile"];
    *gems = json!(gems.as_str().expect("a text").replace("3.1.1", version));
    function
}

#[tokio::test]
async fn a_language_is_added_as_the_document_says() {
    let Some(ruby) = Ruby::new().await else {
        return;
    };
    let space = &ruby.space;
    let index = Index::start(space, pages(&["3.1.1", "3.1.2"])).await;
    let function = ruby.function(&index);
    space.apply(&function).await;
    space.ready("hello").await;
    space.answers("hello", "hello from / with 3.1.1").await;

    // A gem that nobody has is told by name, and what runs goes on.
    space.apply(&with_version(&function, "9.9.9")).await;
    let message = space.fails("hello", "BuildFailed").await;
    assert!(
        message.contains("Could not find gem 'rainbow (= 9.9.9)'"),
        "{message}"
    );
    space.answers("hello", "hello from / with 3.1.1").await;

    // A registry that is away is asked again.
    index.be_away(true);
    space.apply(&with_version(&function, "3.1.2")).await;
    eventually("the registry is missed", async || {
        let status = space.get("hello").await.status.unwrap_or_default();
        let mut conditions = status.conditions.iter();
        match conditions.find(|condition| condition.type_ == "Built") {
            Some(built) if built.reason == "RegistryUnreachable" => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    index.be_away(false);
    space.answers("hello", "hello from / with 3.1.2").await;
    ruby.remove().await;
}

#[tokio::test]
async fn gems_among_the_files_need_no_registry() {
    let Some(ruby) = Ruby::new().await else {
        return;
    };
    let index = Index::start(&ruby.space, Pages::new()).await;
    let mut function = ruby.function(&index);
    function["spec"]["source"]["binaryFiles"] =
        json!({"vendor/cache/rainbow-3.1.1.gem": package("3.1.1")});
    ruby.space.apply(&function).await;
    ruby.space.ready("hello").await;
    ruby.space.answers("hello", "hello from / with 3.1.1").await;
    ruby.remove().await;
}
