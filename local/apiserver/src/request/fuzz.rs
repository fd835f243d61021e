use http::HeaderValue;

use super::*;
use crate::sample::{self, chosen_by, pick, words};

/// Each byte as an escape, or only those that have to be one.
fn escaped(text: &str, all: bool) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes()
        .map(|byte| {
            if plain(byte) && !all {
                char::from(byte).to_string()
            } else {
                format!("%{byte:02X}")
            }
        })
        .collect()
}

#[test]
fn fuzz_a_path_leads_to_what_it_names() {
    bolero::check!().for_each(|bytes: &[u8]| {
        let mut choose = chosen_by(bytes);
        let resource = sample::resource(&mut choose);
        let group = match resource.group.as_str() {
            "" => format!("/api/{}", resource.version),
            group => format!("/apis/{group}/{}", resource.version),
        };
        // A segment is never empty, nor two of them.
        let segment = |text: String| text.replace('/', "-") + "x";
        let namespace = resource.namespaced.then(|| segment(words(&mut choose)));
        let name = segment(words(&mut choose));
        let part = (choose(2) == 1).then(|| pick(&["status", "scale", "log", "odd"], &mut choose));
        let escape = |text: &str| escaped(text, bytes.len().is_multiple_of(2));
        let mut path = group;
        if let Some(namespace) = &namespace {
            path += &format!("/namespaces/{}", escape(namespace));
        }
        path += &format!("/{}/{}", resource.plural, escape(&name));
        if let Some(part) = part {
            path += &format!("/{part}");
        }
        // Below a namespace its own subresources are told from other things in it.
        if &*resource.storage == "namespaces" && part.is_some_and(|part| part != "status") {
            return;
        }
        let target = Target::parse(&path, &sample::REGISTRY).expect(&path);
        assert_eq!(target.resource.storage, resource.storage, "{path}");
        assert_eq!(target.namespace, namespace, "{path}");
        assert_eq!(target.name, Some(name), "{path}");
        assert_eq!(target.subresource.as_deref(), part, "{path}");
    });
}

#[test]
fn fuzz_a_query_is_read_as_it_was_written() {
    bolero::check!().for_each(|bytes: &[u8]| {
        let mut choose = chosen_by(bytes);
        let pairs: Vec<(String, String)> = (0..choose(5))
            .map(|_| (words(&mut choose) + "k", words(&mut choose)))
            .collect();
        let all = choose(2) == 1;
        let text: Vec<String> = pairs
            .iter()
            .map(|(name, value)| format!("{}={}", escaped(name, all), escaped(value, all)))
            .collect();
        let query = Query::parse(Some(&text.join("&")));
        assert_eq!(query.pairs, pairs);
    });
}

#[test]
fn fuzz_any_request_is_understood_or_refused() {
    bolero::check!().for_each(|bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes);
        let _ = Target::parse(&text, &sample::REGISTRY);
        for prefix in ["/api/v1", "/apis/apps/v1"] {
            let _ = Target::parse(&format!("{prefix}/{text}"), &sample::REGISTRY);
        }
        let query = Query::parse(Some(&text));
        for (name, _) in &query.pairs {
            let _ = (query.get(name), query.flag(name), query.number::<u64>(name));
        }
        let mut headers = HeaderMap::new();
        for part in bytes.split(|byte| *byte == b'\n').take(20) {
            if let Ok(value) = HeaderValue::from_bytes(part) {
                headers.append(header::ACCEPT, value);
            }
        }
        if let Err(failure) = Form::negotiate(&headers, &query) {
            assert_eq!(failure.code, 406);
        }
    });
}

#[test]
fn fuzz_the_first_form_that_is_known_is_given() {
    const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io";
    const PARTIAL: &str = "application/json; g=meta.k8s.io; as=PartialObjectMetadata; v=v1";
    const KNOWN: [(&str, Option<Form>); 8] = [
        ("text/html", None),
        ("application/vnd.kubernetes.protobuf", None),
        ("application/json;as=Table;v=v1beta1;g=meta.k8s.io", None),
        (TABLE, Some(Form::Table(Include::Metadata))),
        (PARTIAL, Some(Form::Partial)),
        ("application/json", Some(Form::Object)),
        ("application/*", Some(Form::Object)),
        ("*/*", Some(Form::Object)),
    ];
    bolero::check!().for_each(|bytes: &[u8]| {
        let mut choose = chosen_by(bytes);
        let ranges: Vec<_> = (0..=choose(4)).map(|_| pick(&KNOWN, &mut choose)).collect();
        let mut headers = HeaderMap::new();
        for range in &ranges {
            headers.append(header::ACCEPT, HeaderValue::from_static(range.0));
        }
        let expected = ranges.iter().find_map(|(_, form)| *form);
        let form = Form::negotiate(&headers, &Query::default());
        assert_eq!(form.ok(), expected, "{ranges:?}");
    });
}
