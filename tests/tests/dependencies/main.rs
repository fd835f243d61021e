//! Functions with dependencies: they are installed from what the files name, and a failure harms nobody.

mod away;
mod bounds;
mod compiled;
mod index;
mod kept;
mod pictures;
mod registries;
mod ruby;

use fermata_tests::{Space, eventually, node_package, wheel};
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret};
use kube::{
    ResourceExt as _,
    api::{DynamicObject, LogParams, Patch, PatchParams},
};
use serde_json::{Value, json};

const HANDLER: &str = "import greeting\ndef handle(request):\n    return greeting.WORDS\n";

/// Source whose one dependency is a wheel among its files.
fn source(version: &str, handler: &str, more: &str) -> Value {
    let words = format!("WORDS = 'hello {version}'\n");
    json!({
        "runtime": "python",
        "files": {
            "main.py": handler,
            "requirements.txt": format!("--no-index\n--find-links wheels\ngreeting=={version}\n{more}"),
        },
        "binaryFiles": {
            format!("wheels/greeting-{version}-py3-none-any.whl"): wheel("greeting", version, &words),
        },
    })
}

async fn function(space: &Space, name: &str, source: Value) {
    space.function(name, json!({"source": source})).await;
}

/// What the newest installation of a function has said.
async fn build_log(space: &Space, name: &str) -> Option<String> {
    let newest = space.revisions(name).await.pop()?.name_any();
    let pods = space.api::<Pod>();
    let selector =
        kube::api::ListParams::default().labels(&format!("fermata.dev/revision={newest}"));
    let pod = pods.list(&selector).await.ok()?.items.pop()?.name_any();
    let params = LogParams {
        container: Some("fermata-build".to_owned()),
        ..LogParams::default()
    };
    pods.logs(&pod, &params).await.ok()
}

#[tokio::test]
async fn packages_that_a_python_function_asks_for_are_there() {
    let space = Space::new().await;
    function(&space, "hello", source("1.0", HANDLER, "")).await;
    let (reason, _) = space.condition("hello", "Built", "True").await;
    assert_eq!(reason, "Built");
    space.ready("hello").await;
    space.answers("hello", "hello 1.0").await;

    // Other code with the same dependencies, and other dependencies with the same code.
    let louder = HANDLER.replace("WORDS", "WORDS.upper()");
    function(&space, "hello", source("1.0", &louder, "")).await;
    space.ready("hello").await;
    space.answers("hello", "HELLO 1.0").await;
    function(&space, "hello", source("2.0", &louder, "")).await;
    space.ready("hello").await;
    space.answers("hello", "HELLO 2.0").await;
}

#[tokio::test]
async fn packages_that_a_node_function_asks_for_are_there() {
    let space = Space::new().await;
    let package = node_package("greeting", "1.0.0", "exports.words = 'hello'\n");
    let manifest =
        json!({"type": "module", "dependencies": {"greeting": "file:greeting-1.0.0.tgz"}});
    let source = |file: &str, code: &str| {
        json!({
            "runtime": "node",
            "files": {"package.json": manifest.to_string(), file: code,
                "lib/loud.mjs": "export const loud = (text) => text.toUpperCase()\n"},
            "binaryFiles": {"greeting-1.0.0.tgz": package},
        })
    };
    let module = "import greeting from 'greeting'\nimport { loud } from './lib/loud.mjs'\nexport const handle = () => loud(greeting.words)\n";
    function(&space, "hello", source("main.mjs", module)).await;
    space.ready("hello").await;
    space.answers("hello", "HELLO").await;

    let script = "const greeting = require('greeting')\nexports.handle = () => greeting.words\n";
    function(&space, "hello", source("main.cjs", script)).await;
    space.ready("hello").await;
    space.answers("hello", "hello").await;
}

#[tokio::test]
async fn what_cannot_be_installed_is_told_in_the_tools_words_and_the_old_revision_serves_on() {
    let space = Space::new().await;
    function(&space, "hello", source("1.0", HANDLER, "")).await;
    space.ready("hello").await;

    function(
        &space,
        "hello",
        source("1.0", HANDLER, "nothing-has-this-name==9\n"),
    )
    .await;
    let says = "No matching distribution found for nothing-has-this-name==9";
    let message = space.fails("hello", "BuildFailed").await;
    assert!(message.contains(says), "{message}");
    let (reason, message) = space.condition("hello", "Built", "False").await;
    assert_eq!(reason, "BuildFailed");
    assert!(message.contains(says), "{message}");
    assert_eq!(space.call("hello", "").await.ok().text(), "hello 1.0");
    eventually("the whole log is there", async || {
        let log = build_log(&space, "hello").await.unwrap_or_default();
        if log.contains(says) { Ok(()) } else { Err(log) }
    })
    .await;

    function(&space, "hello", source("1.0", HANDLER, "")).await;
    space.ready("hello").await;
    assert_eq!(space.revisions("hello").await.len(), 2);
}

#[tokio::test]
async fn a_registry_that_is_away_is_no_mistake_of_the_function() {
    let space = Space::new().await;
    let files = |index: &str| {
        let mut source = source("1.0", HANDLER, "");
        let requirements =
            format!("{index}\n--find-links wheels\ngreeting==1.0\nmissing-one==1.0\n");
        source["files"]["requirements.txt"] = json!(requirements);
        source
    };
    function(
        &space,
        "hello",
        files("--index-url http://127.0.0.1:9/simple"),
    )
    .await;
    let message = eventually("the registry is missed", async || {
        let status = space.get("hello").await.status.unwrap_or_default();
        let built = status
            .conditions
            .iter()
            .find(|condition| condition.type_ == "Built");
        match built {
            Some(built) if built.reason == "RegistryUnreachable" => {
                assert_eq!(built.status, "Unknown");
                Ok(built.message.clone())
            }
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    assert!(message.contains("it refuses connections"), "{message}");
}

#[tokio::test]
async fn what_the_installation_is_told_the_function_does_not_see() {
    let space = Space::new().await;
    space
        .apply(
            &json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "index"},
            "stringData": {"links": "wheels"}}),
        )
        .await;
    let handler =
        "import os, greeting\ndef handle(request):\n    return str(os.environ.get('LINKS'))\n";
    let mut source = source("1.0", handler, "");
    source["files"]["requirements.txt"] =
        json!("--no-index\n--find-links ${LINKS}\ngreeting==1.0\n");
    source["build"] = json!({"env": [
        {"name": "LINKS", "valueFrom": {"secretKeyRef": {"name": "index", "key": "links"}}},
    ], "timeout": "5m"});
    function(&space, "hello", source).await;
    space.ready("hello").await;
    space.answers("hello", "None").await;
    assert!(space.api::<Secret>().get("index").await.is_ok());
}

#[tokio::test]
async fn a_config_map_may_hold_packages_too() {
    let space = Space::new().await;
    let package = wheel("greeting", "1.0", "WORDS = 'mapped'\n");
    let config_map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "code"},
        "data": {"main.py": HANDLER, "requirements.txt": "--no-index\n--find-links .\ngreeting\n"},
        "binaryData": {"greeting-1.0-py3-none-any.whl": package}});
    space.apply(&config_map).await;
    function(
        &space,
        "hello",
        json!({"runtime": "python", "configMap": {"name": "code"}}),
    )
    .await;
    space.ready("hello").await;
    space.answers("hello", "mapped").await;
    let patch = json!({"data": {"main.py": HANDLER.replace("WORDS", "WORDS[:3]")}});
    let maps = space.api::<ConfigMap>();
    let (params, patch) = (PatchParams::default(), Patch::Merge(patch));
    let patched = maps.patch("code", &params, &patch).await;
    patched.expect("the ConfigMap changes");
    eventually("the function follows its ConfigMap", async || {
        match space.call("hello", "").await.text() {
            text if text == "map" => Ok(()),
            text => Err(text),
        }
    })
    .await;
}

/// Asks for another build of the same, as `fermata build --fresh` does.
async fn ask_anew(space: &Space, name: &str, what: &str) {
    let resource = kube::core::ApiResource::erase::<fermata_crds::Function>(&());
    let api =
        kube::Api::<DynamicObject>::namespaced_with(space.client.clone(), &space.name, &resource);
    let patch = json!({"metadata": {"annotations": {"fermata.dev/build": what}}});
    let patched = api
        .patch(name, &PatchParams::default(), &Patch::Merge(patch))
        .await;
    patched.expect("an annotated Function");
}
