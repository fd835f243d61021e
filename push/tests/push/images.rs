//! What is in the registry after a push.

use std::{fs, io::Read as _};

use flate2::read::GzDecoder;
use http::Method;
use serde_json::{Value, json};

use crate::{
    fake::{Fake, digest},
    world::{OWN, RUNTIME, World, architecture, seed},
};

fn manifest(fake: &Fake, digest: &str) -> Value {
    let state = fake.state();
    let (kind, bytes) = &state.manifests[&(OWN.to_owned(), digest.to_owned())];
    assert_eq!(kind, "application/vnd.oci.image.manifest.v1+json");
    serde_json::from_slice(bytes).expect("JSON")
}

fn blob(fake: &Fake, digest: &Value) -> bytes::Bytes {
    let digest = digest.as_str().expect("a digest").to_owned();
    fake.state().blobs[&(OWN.to_owned(), digest)].clone()
}

fn names(layer: &[u8]) -> Vec<String> {
    let mut plain = Vec::new();
    GzDecoder::new(layer)
        .read_to_end(&mut plain)
        .expect("a gzip");
    let mut tar = tar::Archive::new(&*plain);
    let entries = tar.entries().expect("entries");
    entries
        .map(|entry| {
            entry
                .expect("an entry")
                .path()
                .expect("a path")
                .display()
                .to_string()
        })
        .collect()
}

#[test]
fn an_image_has_dependencies_and_code_on_that_of_the_runtime() {
    let registry = Fake::start();
    seed(&registry, "base layer");
    let world = World::new(&registry, &registry);
    let ended = world.push();
    let image = ended.digest();
    assert_eq!(
        ended.result["image"],
        json!(format!("{}/{OWN}@{image}", registry.address))
    );
    assert_eq!(ended.result["architecture"], json!(architecture()));
    let manifest = manifest(&registry, &image);
    let layers = manifest["layers"].as_array().expect("layers");
    assert_eq!(layers.len(), 3);
    assert_eq!(&blob(&registry, &layers[0]["digest"])[..], b"base layer");
    assert_eq!(
        layers[1]["digest"],
        ended.result["layers"]["dependencies"]["digest"]
    );
    assert_eq!(
        names(&blob(&registry, &layers[1]["digest"])),
        [
            "dependencies/",
            "dependencies/foo/",
            "dependencies/foo/__init__.py"
        ]
    );
    assert_eq!(
        names(&blob(&registry, &layers[2]["digest"])),
        ["function/", "function/main.py"]
    );
    let config: Value =
        serde_json::from_slice(&blob(&registry, &manifest["config"]["digest"])).expect("JSON");
    assert_eq!(config["config"]["Env"], json!(["A=b"]));
    assert_eq!(
        config["rootfs"]["diff_ids"].as_array().map(Vec::len),
        Some(3)
    );
    assert_eq!(
        config["rootfs"]["diff_ids"][1],
        ended.result["layers"]["dependencies"]["diffId"]
    );
    // Taken over within the registry, and not through this machine.
    assert_eq!(
        registry
            .asked(&Method::POST, &format!("from={RUNTIME}"))
            .len(),
        1
    );
    assert_eq!(
        registry.asked(&Method::GET, &digest(b"base layer")).len(),
        0
    );
}

#[test]
fn the_same_files_give_the_same_image_and_send_nothing_again() {
    let registry = Fake::start();
    seed(&registry, "base layer");
    let first = World::new(&registry, &registry).push().digest();
    let sent = registry.asked(&Method::PUT, "/blobs/").len();
    let world = World::new(&registry, &registry);
    assert_eq!(world.push().digest(), first);
    assert_eq!(registry.asked(&Method::PUT, "/blobs/").len(), sent);
    let tag = format!("hello-00001-{}", &first["sha256:".len()..][..16]);
    assert!(
        registry
            .state()
            .manifests
            .contains_key(&(OWN.to_owned(), tag))
    );

    fs::write(world.path("code/main.py"), "import foo # changed\n").expect("written");
    let ended = world.push();
    assert_ne!(ended.digest(), first);
    assert_eq!(
        registry.asked(&Method::PUT, "/blobs/").len(),
        sent + 2,
        "the code and the configuration"
    );
}

#[test]
fn an_image_elsewhere_is_copied_for_this_machine() {
    let (registry, elsewhere) = (Fake::start(), Fake::with_tls());
    seed(&elsewhere, "base layer");
    {
        let mut state = elsewhere.state();
        let (kind, own) = state.manifests[&(RUNTIME.to_owned(), "1".to_owned())].clone();
        let index = json!({"schemaVersion": 2, "manifests": [
            {"mediaType": kind, "digest": digest(b"no"), "size": 1, "platform": {"os": "windows", "architecture": "amd64"}},
            {"mediaType": kind, "digest": digest(&own), "size": own.len(),
                "platform": {"os": "linux", "architecture": architecture()}},
        ]});
        let index = (
            "application/vnd.oci.image.index.v1+json".to_owned(),
            index.to_string().into(),
        );
        state
            .manifests
            .insert((RUNTIME.to_owned(), "1".to_owned()), index);
    }
    let mut world = World::new(&registry, &elsewhere);
    world.push().failed(
        75,
        &[
            "cannot be reached",
            &elsewhere.address.to_string(),
            "certificate",
        ],
    );
    world.credentials(
        &[(&registry, "me", "s3cret")],
        elsewhere.authority.as_deref(),
    );
    let ended = world.push();
    let manifest = manifest(&registry, &ended.digest());
    assert_eq!(
        &blob(&registry, &manifest["layers"][0]["digest"])[..],
        b"base layer"
    );
    assert!(
        elsewhere
            .state()
            .seen
            .iter()
            .all(|seen| seen.authorization.is_none())
    );
}

#[test]
fn a_layer_is_used_again_and_missed_when_it_is_gone() {
    let registry = Fake::start();
    seed(&registry, "base layer");
    let mut world = World::new(&registry, &registry);
    let first = world.push();
    world.settings.remove("FERMATA_PUSH_DEPENDENCIES");
    let layer = first.result["layers"]["dependencies"].clone();
    world.set("REUSE", layer.to_string());
    assert_eq!(world.push().digest(), first.digest());
    let digest = layer["digest"].as_str().expect("a digest").to_owned();
    registry
        .state()
        .blobs
        .remove(&(OWN.to_owned(), digest.clone()));
    world.push().failed(66, &[&digest, OWN, "built anew"]);
}
