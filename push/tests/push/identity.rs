//! Who asks, and who gets to know it.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::Method;
use http_body_util::Full;

use crate::{
    fake::{Answer, Fake, Seen, State, plain, said},
    world::{OWN, RUNTIME, World, seed},
};

fn basic() -> String {
    format!("Basic {}", STANDARD.encode("me:s3cret"))
}

fn challenge(value: &str) -> Answer {
    let body = Bytes::from(
        r#"{"errors": [{"code": "UNAUTHORIZED", "message": "authentication required"}]}"#,
    );
    plain(401)
        .header("www-authenticate", value)
        .body(Full::new(body))
        .expect("an answer")
}

/// Wants a password.
fn closed(seen: &Seen, _: &mut State) -> Option<Answer> {
    (seen.authorization.as_deref() != Some(&*basic()))
        .then(|| challenge("Basic realm=\"registry\""))
}

#[test]
fn a_password_opens_a_registry_and_a_wrong_one_is_told_without_it() {
    let registry = Fake::with(closed);
    seed(&registry, "base layer");
    let mut world = World::new(&registry, &registry);
    let address = registry.address.to_string();
    world
        .push()
        .failed(77, &[&address, "authentication required", "pushSecretName"]);
    world.credentials(&[(&registry, "me", "wr0ng")], None);
    let ended = world.push();
    ended.failed(77, &[&address, "authentication required"]);
    assert!(!ended.said.contains("wr0ng"));
    world.credentials(&[(&registry, "me", "s3cret")], None);
    world.push().digest();
}

#[test]
fn a_refusal_says_what_right_is_missing() {
    let registry = Fake::with(|seen, _| {
        let denied = r#"{"errors": [{"code": "DENIED", "message": "requested access is denied"}]}"#;
        (seen.method == Method::POST).then(|| said(403, denied))
    });
    seed(&registry, "base layer");
    let ended = World::new(&registry, &registry).push();
    ended.failed(
        77,
        &[
            "requested access is denied (403)",
            OWN,
            "right to pull and push",
        ],
    );
}

#[test]
fn a_token_is_got_with_the_password_and_shown_in_its_place() {
    let registry = Fake::with(|seen, state| {
        if seen.path.starts_with("/token?") {
            let known = seen.authorization.as_deref() == Some(&*basic());
            return Some(if known {
                said(200, r#"{"token": "t0ken"}"#)
            } else {
                said(401, "")
            });
        }
        let host = state
            .manifests
            .get(&("host".to_owned(), String::new()))
            .map(|(host, _)| host.clone());
        let realm = format!(
            "Bearer realm=\"http://{}/token\",service=\"registry\",scope=\"repository:{OWN}:pull\"",
            host.unwrap_or_default()
        );
        (seen.authorization.as_deref() != Some("Bearer t0ken")).then(|| challenge(&realm))
    });
    let host = registry.address.to_string();
    registry
        .state()
        .manifests
        .insert(("host".to_owned(), String::new()), (host, Bytes::new()));
    seed(&registry, "base layer");
    let mut world = World::new(&registry, &registry);
    world.credentials(&[(&registry, "me", "s3cret")], None);
    world.push().digest();
    let asked = registry.asked(&Method::GET, "/token?");
    let wanted = "scope=repository%3Afn%2Fteam%3Apull%2Cpush";
    assert!(
        asked.iter().any(|seen| seen.path.contains(wanted)),
        "{asked:?}"
    );
    assert!(
        registry
            .asked(&Method::PUT, "/blobs/")
            .iter()
            .all(|seen| seen.authorization.as_deref() == Some("Bearer t0ken"))
    );
}

#[test]
fn what_a_redirect_leads_to_does_not_get_the_password() {
    let store = Fake::start();
    seed(&store, "base layer");
    let address = store.address.to_string();
    let registry = Fake::with(move |seen, state| {
        if let Some(answer) = closed(seen, state) {
            return Some(answer);
        }
        let blob = seen.method == Method::GET && seen.path.contains(&format!("{RUNTIME}/blobs/"));
        let place = format!("http://{address}{}", seen.path);
        blob.then(|| {
            plain(307)
                .header("location", place)
                .body(Full::default())
                .expect("an answer")
        })
    });
    seed(&registry, "base layer");
    let mut world = World::new(&registry, &registry);
    world.credentials(&[(&registry, "me", "s3cret")], None);
    world.push().digest();
    let seen = store.asked(&Method::GET, "/blobs/");
    assert!(!seen.is_empty());
    assert!(
        seen.iter().all(|seen| seen.authorization.is_none()),
        "{seen:?}"
    );
}

#[test]
fn a_token_service_without_tls_gets_no_password_of_a_registry_that_has_it() {
    // The registry is named by the redirect of a place that may be spoken to without TLS: another port.
    let other = Fake::start();
    let realm = format!("Bearer realm=\"ftp://{}/token\"", other.address);
    let registry = Fake::with(move |_, _| Some(challenge(&realm)));
    let mut world = World::new(&registry, &registry);
    world.credentials(&[(&registry, "me", "s3cret")], None);
    world.push().failed(77, &["no address with https"]);
    assert!(other.state().seen.is_empty());
}

#[test]
fn a_secret_that_is_not_there_is_no_secret_at_all() {
    let registry = Fake::start();
    seed(&registry, "base layer");
    let mut world = World::new(&registry, &registry);
    let folder = world.path("none").display().to_string();
    world.set("CREDENTIALS", folder);
    world
        .push()
        .failed(77, &["has no .dockerconfigjson", "docker-registry"]);
    assert!(registry.state().seen.is_empty());
}
