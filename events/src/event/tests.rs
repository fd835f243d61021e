use http::HeaderValue;
use serde_json::{Value, json};

use super::*;

const DEFAULTS: Defaults<'_> = Defaults {
    id: "made-1",
    source: "/namespaces/shop/topics/orders",
    time: "2026-11-28T12:00:00Z",
};

fn read_all(headers: &[(&'static str, &str)], body: &str) -> Result<Vec<Event>, String> {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    let body = Bytes::copy_from_slice(body.as_bytes());
    read(&map, body, DEFAULTS).map_err(|error| error.to_string())
}

fn read_one(headers: &[(&'static str, &str)], body: &str) -> Event {
    let mut all = read_all(headers, body).unwrap();
    assert_eq!(all.len(), 1);
    all.remove(0)
}

fn read_json(event: &Value) -> Result<Event, String> {
    let kind = (
        "content-type",
        "application/cloudevents+json; charset=utf-8",
    );
    read_all(&[kind], &event.to_string()).map(|mut all| all.remove(0))
}

/// Headers and body as they are delivered.
fn delivered(event: &Event) -> (HeaderMap, Bytes) {
    let subscription = json!({"function": "a", "uid": "u", "trigger": "t", "path": "/in"});
    let subscription = serde_json::from_value(subscription).unwrap();
    let call = event.call(&subscription, &HeaderMap::new());
    assert_eq!((&*call.head.method, &*call.head.target), ("POST", "/in"));
    let mut headers = HeaderMap::new();
    call.head.headers.add_to(&mut headers);
    (headers, call.body)
}

/// What is delivered is the same message when it is published again, by itself and among others.
fn assert_comes_back(event: &Event) {
    let subscription = json!({"function": "a", "uid": "u", "trigger": "t", "path": "/in"});
    let subscription = serde_json::from_value(subscription).unwrap();
    let json = super::json(&event.call(&subscription, &HeaderMap::new()));
    let among_others = super::structured::batch(format!("[{json}]").as_bytes()).unwrap();
    assert_eq!(
        among_others[0].attributes.get("id"),
        event.attributes.get("id")
    );
    let typed = |event: &Event| event.attributes.contains_key("datacontenttype");
    if typed(event) {
        assert_eq!(among_others, std::slice::from_ref(event), "{json}");
    }
    let (headers, body) = delivered(event);
    let again = read(&headers, body, DEFAULTS).unwrap();
    assert_eq!(again, std::slice::from_ref(event));
}

#[test]
fn anything_is_a_message() {
    let event = read_one(&[("content-type", "text/plain"), ("x-a", "1")], "seven");
    assert_eq!(
        (
            event.id(),
            event.attribute("type"),
            event.attribute("source"),
            event.name()
        ),
        (
            "made-1",
            Some("dev.fermata.message"),
            Some(DEFAULTS.source),
            None
        )
    );
    let (headers, body) = delivered(&event);
    assert_eq!(body, "seven");
    assert_eq!(headers["content-type"], "text/plain");
    assert_eq!(headers["ce-time"], "2026-11-28T12:00:00Z");
    assert!(!headers.contains_key("x-a"));
    // What the publisher says goes first.
    let event = read_one(&[("ce-type", "order"), ("ce-shop", "7")], "");
    assert_eq!(
        (
            event.attribute("type"),
            event.attribute("shop"),
            event.name()
        ),
        (Some("order"), Some("7"), None)
    );
}

#[test]
fn binary_mode_is_read_as_the_binding_has_it() {
    let event = read_one(
        &[
            ("ce-specversion", "1.0"),
            ("ce-id", "7"),
            ("ce-source", "/shop"),
            ("ce-type", "order"),
            ("ce-subject", "Euro%20%E2%82%AC"),
            ("ce-datacontenttype", "text/xml"),
            ("content-type", "application/json"),
        ],
        "{}",
    );
    assert_eq!(event.name(), Some(("/shop", "7")));
    assert_eq!(event.attribute("subject"), Some("Euro €"));
    assert_eq!(event.attribute("datacontenttype"), Some("application/json"));
    assert_comes_back(&event);
    let (headers, _) = delivered(&event);
    assert_eq!(headers["ce-subject"], "Euro%20%E2%82%AC");
    assert!(!headers.contains_key("ce-datacontenttype"));
}

#[test]
fn structured_mode_is_read_as_the_format_has_it() {
    let event = |more: &Value| {
        let mut event =
            json!({"specversion": "1.0", "id": "7", "source": "/shop", "type": "order"});
        let members = event.as_object_mut().unwrap();
        members.extend(more.as_object().unwrap().clone());
        read_json(&event).unwrap()
    };
    for (more, kind, body) in [
        (json!({}), None, ""),
        (
            json!({"data": {"b": 1, "a": [2]}}),
            Some("application/json"),
            r#"{"a":[2],"b":1}"#,
        ),
        (
            json!({"data": "text"}),
            Some("application/json"),
            "\"text\"",
        ),
        (json!({"data": null}), Some("application/json"), "null"),
        (
            json!({"data": "text", "datacontenttype": "text/plain"}),
            Some("text/plain"),
            "text",
        ),
        (
            json!({"data": "a", "datacontenttype": "application/a+json"}),
            Some("application/a+json"),
            "\"a\"",
        ),
        (
            json!({"data": null, "datacontenttype": "text/plain"}),
            Some("text/plain"),
            "",
        ),
        (json!({"data_base64": "AAH/"}), None, "\0\u{1}\u{ff}"),
    ] {
        let event = event(&more);
        assert_eq!(event.attribute("datacontenttype"), kind, "{more}");
        let bytes: Vec<u8> = body
            .chars()
            .map(|byte| u8::try_from(byte).unwrap())
            .collect();
        assert_eq!(delivered(&event).1, bytes, "{more}");
        assert_comes_back(&event);
    }
    let event = event(&json!({"count": 7, "urgent": true, "nothing": null}));
    assert_eq!(
        (
            event.attribute("count"),
            event.attribute("urgent"),
            event.attribute("nothing")
        ),
        (Some("7"), Some("true"), None)
    );
    // No number is rounded on the way.
    let long = r#"{"specversion":"1.0","id":"7","source":"/","type":"t","data":{"n":12345678901234567890123.10}}"#;
    let kind = ("content-type", "application/cloudevents+json");
    assert_eq!(
        delivered(&read_one(&[kind], long)).1,
        r#"{"n":12345678901234567890123.10}"#
    );
}

#[test]
fn a_batch_is_taken_as_a_whole_or_not() {
    let kind = ("content-type", "application/cloudevents-batch+json");
    let event = |id: &str| json!({"specversion": "1.0", "id": id, "source": "/", "type": "t"});
    let batch = json!([event("1"), event("2")]).to_string();
    let ids: Vec<_> = read_all(&[kind], &batch).unwrap();
    assert_eq!(ids.iter().map(Event::id).collect::<Vec<_>>(), ["1", "2"]);
    assert_eq!(read_all(&[kind], "[]").unwrap(), []);
    let broken = json!([event("1"), event("")]).to_string();
    assert!(
        read_all(&[kind], &broken)
            .unwrap_err()
            .contains("id is missing")
    );
    let many = Value::Array(vec![event("1"); 1001]).to_string();
    assert!(
        read_all(&[kind], &many)
            .unwrap_err()
            .contains("1001 messages")
    );
}

#[test]
fn what_is_no_event_is_told_with_the_reason() {
    let base = || json!({"specversion": "1.0", "id": "7", "source": "/", "type": "t"});
    for (change, why) in [
        (json!({"specversion": "0.3"}), "1.0 alone"),
        (json!({"specversion": null}), "specversion is missing"),
        (json!({"type": ""}), "type is missing"),
        (json!({"source": null}), "source is missing"),
        (json!({"my-name": "a"}), "no name of an attribute"),
        (json!({"Name": "a"}), "no name of an attribute"),
        (json!({"list": []}), "no text, number or truth value"),
        (json!({"datacontenttype": "text/plain\n"}), "no media type"),
        (json!({"data": 1, "data_base64": "AA=="}), "one of them"),
        (json!({"data_base64": "no!"}), "no base64"),
        (json!({"data_base64": 1}), "no JSON of a CloudEvent"),
        (json!({"long": "ä".repeat(3000)}), "16384 bytes"),
    ] {
        let mut event = base();
        let members = event.as_object_mut().unwrap();
        members.extend(change.as_object().unwrap().clone());
        let error = read_json(&event).unwrap_err();
        assert!(error.contains(why), "{change}: {error}");
    }
    // In a batch it would stand beside the data.
    let error = read_all(&[("ce-data", "x")], "seven").unwrap_err();
    assert!(error.contains("no name of an attribute"), "{error}");
    let avro = ("content-type", "application/cloudevents+avro");
    let error = read_all(&[avro], "").unwrap_err();
    assert!(
        error.contains("application/cloudevents+avro is not understood"),
        "{error}"
    );
    let kind = ("content-type", "application/cloudevents+json");
    let error = read_all(&[kind, ("content-encoding", "gzip")], "").unwrap_err();
    assert!(error.contains("no Content-Encoding"), "{error}");
    let mut many = base();
    for number in 0..100 {
        many[format!("a{number}")] = json!("x");
    }
    assert!(read_json(&many).unwrap_err().contains("104 attributes"));
    for body in ["", "[]", "7", "{\"id\"", "\u{0}"] {
        assert!(read_all(&[kind], body).is_err(), "{body}");
    }
    for (headers, why) in [
        (
            vec![("ce-specversion", "1.0"), ("ce-id", "7")],
            "source is missing",
        ),
        (vec![("ce-specversion", "2.0")], "1.0 alone"),
        (vec![("ce-id", "1"), ("ce-id", "2")], "given twice"),
        (vec![("ce-a_b", "1")], "no name of an attribute"),
        (vec![("ce-", "1")], "no name of an attribute"),
        (vec![("ce-type", "")], "type is missing"),
    ] {
        let error = read_all(&headers, "").unwrap_err();
        assert!(error.contains(why), "{headers:?}: {error}");
    }
}

#[test]
fn nothing_that_is_published_breaks_it() {
    bolero::check!()
        .with_type::<(Vec<u8>, u8, Vec<u8>)>()
        .for_each(|(value, kind, body): &(Vec<u8>, u8, Vec<u8>)| {
            let mut headers = HeaderMap::new();
            if let Ok(value) = HeaderValue::from_bytes(value) {
                headers.insert("ce-subject", value.clone());
                headers.insert("ce-id", value);
            }
            let kinds = [STRUCTURED, BATCHED, "text/plain"];
            let kind = kinds[usize::from(*kind) % kinds.len()];
            headers.insert("content-type", HeaderValue::from_static(kind));
            let body = Bytes::copy_from_slice(body);
            for event in read(&headers, body, DEFAULTS).unwrap_or_default() {
                assert_comes_back_unnamed(&event);
            }
        });
}

fn assert_comes_back_unnamed(event: &Event) {
    let (headers, body) = delivered(event);
    let again = read(&headers, body, DEFAULTS).unwrap();
    assert_eq!(again[0].attributes, event.attributes);
}
