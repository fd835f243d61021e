//! Registries that are away, broken or wrong.

use std::{
    io::{Read as _, Write as _},
    net::TcpListener,
    sync::atomic::{AtomicU32, Ordering},
};

use bytes::Bytes;
use http::Method;
use http_body_util::Full;

use crate::{
    fake::{Fake, digest, plain, said},
    world::{OWN, RUNTIME, World, seed},
};

#[test]
fn a_registry_that_is_away_is_named() {
    let registry = Fake::start();
    let mut world = World::new(&registry, &registry);
    let free = TcpListener::bind("127.0.0.1:0")
        .expect("a port")
        .local_addr()
        .expect("an address");
    world.set("REPOSITORY", format!("{free}/{OWN}"));
    world.set("BASE", format!("{free}/{RUNTIME}:1"));
    world
        .push()
        .failed(75, &[&free.to_string(), "cannot be reached"]);
}

#[test]
fn a_registry_that_is_not_able_to_is_asked_again_and_then_given_up() {
    let registry = Fake::with(|_, _| Some(said(503, "busy")));
    let ended = World::new(&registry, &registry).push();
    ended.failed(75, &["cannot do it now", "503", "tried again"]);
    assert_eq!(registry.state().seen.len(), 4);

    let left = AtomicU32::new(2);
    let registry = Fake::with(move |seen, _| {
        let fails = seen.method == Method::PUT
            && left
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
                    left.checked_sub(1)
                })
                .is_ok();
        fails.then(|| said(500, ""))
    });
    seed(&registry, "base layer");
    World::new(&registry, &registry).push().digest();
}

#[test]
fn an_image_that_is_not_there_is_no_fault_of_the_registry() {
    let registry = Fake::start();
    World::new(&registry, &registry)
        .push()
        .failed(77, &[RUNTIME, "cannot be used", "has none of this name"]);
}

#[test]
fn what_is_something_else_than_its_digest_says_is_not_taken() {
    // A configuration that was changed.
    let registry = Fake::start();
    seed(&registry, "base layer");
    for ((repository, _), blob) in &mut registry.state().blobs {
        if repository == RUNTIME && blob.starts_with(b"{") {
            *blob = Bytes::from("{}");
        }
    }
    World::new(&registry, &registry)
        .push()
        .failed(75, &["is something else"]);

    // A layer that is copied from elsewhere.
    let (registry, elsewhere) = (Fake::start(), Fake::with_tls());
    seed(&elsewhere, "base layer");
    for blob in elsewhere.state().blobs.values_mut() {
        if &blob[..] == b"base layer" {
            *blob = Bytes::from("evil layer");
        }
    }
    let mut world = World::new(&registry, &elsewhere);
    world.credentials(&[], elsewhere.authority.as_deref());
    world
        .push()
        .failed(75, &["is something else", &elsewhere.address.to_string()]);
    assert!(
        registry
            .state()
            .blobs
            .keys()
            .all(|(_, known)| *known != digest(b"base layer"))
    );
    assert!(registry.state().manifests.is_empty());
}

#[test]
fn an_answer_that_breaks_off_is_no_answer() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    // Ends with the test's process.
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"schema");
        }
    });
    let registry = Fake::start();
    let mut world = World::new(&registry, &registry);
    world.set("REPOSITORY", format!("{address}/{OWN}"));
    world.set("BASE", format!("{address}/{RUNTIME}:1"));
    world
        .push()
        .failed(75, &[&address.to_string(), "cannot be reached"]);
}

#[test]
fn a_registry_that_keeps_another_image_is_not_believed() {
    let registry = Fake::with(|seen, _| {
        let answer = plain(201)
            .header("docker-content-digest", digest(b"other"))
            .body(Full::default());
        (seen.method == Method::PUT && seen.path.contains("/manifests/"))
            .then(|| answer.expect("an answer"))
    });
    seed(&registry, "base layer");
    World::new(&registry, &registry)
        .push()
        .failed(77, &["keeps the image as"]);
}

#[test]
fn an_upload_that_leads_out_of_http_is_not_followed() {
    let registry = Fake::with(|seen, _| {
        let answer = plain(202)
            .header("location", "file:///etc/passwd")
            .body(Full::default());
        (seen.method == Method::POST).then(|| answer.expect("an answer"))
    });
    seed(&registry, "base layer");
    World::new(&registry, &registry)
        .push()
        .failed(77, &["does not say where to send it"]);
}

#[test]
fn a_layer_that_a_registry_will_not_have_is_told_in_its_words() {
    let registry = Fake::with(|seen, _| {
        let full = r#"{"errors": [{"code": "SIZE", "message": "quota of the project exceeded"}]}"#;
        (seen.method == Method::PUT).then(|| said(413, full))
    });
    seed(&registry, "base layer");
    World::new(&registry, &registry)
        .push()
        .failed(77, &["quota of the project exceeded (413)", OWN]);
}
