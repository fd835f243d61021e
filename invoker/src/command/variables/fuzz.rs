use std::collections::HashMap;

use http::{HeaderValue, Method, Request};

use super::*;

/// The name of a field of bytes: now and then one that means something.
fn field(bytes: &[u8]) -> Option<HeaderName> {
    const KNOWN: [&str; 10] = [
        "host",
        "proxy",
        "proxy-authorization",
        "content-type",
        "content-length",
        "cookie",
        "x-forwarded-for",
        "x_forwarded_for",
        "content_type",
        "x.y",
    ];
    match bytes {
        [known] => KNOWN
            .get(usize::from(*known) % KNOWN.len())
            .and_then(|name| name.parse().ok()),
        name => HeaderName::from_bytes(name).ok(),
    }
}

#[test]
fn fuzz_each_variable_is_there_once_and_says_what_the_request_says() {
    type Given = (
        u8,
        String,
        Option<String>,
        Vec<(Vec<u8>, Vec<u8>)>,
        Option<u64>,
    );
    bolero::check!()
        .with_type()
        .for_each(|(form, path, query, fields, length): &Given| {
            let escaped = |text: &str| -> String {
                let plain = |byte: u8| byte.is_ascii_graphic() && !b"?#\"<>\\^`{|}".contains(&byte);
                text.bytes()
                    .map(|byte| match byte {
                        byte if plain(byte) => char::from(byte).to_string(),
                        byte => format!("%{byte:02x}"),
                    })
                    .collect()
            };
            let query = query.as_ref().map(|query| format!("?{}", escaped(query)));
            let authority = if form.is_multiple_of(2) {
                ""
            } else {
                "http://a.example:80"
            };
            let uri = format!("{authority}/{}{}", escaped(path), query.unwrap_or_default());
            let mut request = Request::builder().method(Method::POST).uri(&uri);
            for (name, value) in fields {
                let value = HeaderValue::from_bytes(value);
                if let (Some(name), Ok(value)) = (field(name), value) {
                    request = request.header(name, value);
                }
            }
            let (parts, ()) = request.body(()).expect(&uri).into_parts();
            let peer = SocketAddr::from(([10, 0, 0, 1], 1234));
            let variables = of(&parts, *length, peer);
            let count = variables.len();
            let variables: HashMap<OsString, OsString> = variables.into_iter().collect();
            assert_eq!(variables.len(), count, "one is there twice");
            for (name, value) in &variables {
                let plain =
                    |byte: &u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || *byte == b'_';
                assert!(name.as_bytes().iter().all(plain), "{name:?}");
                assert!(!value.as_bytes().contains(&0), "{name:?} is {value:?}");
            }
            let variable = |name: &str| variables.get(OsStr::new(name));
            assert_eq!(variable("HTTP_PROXY"), None);
            assert_eq!(variable("HTTP_CONTENT_LENGTH"), None);
            let told = variable("REQUEST_URI").expect("it is always there");
            assert!(uri.as_bytes().ends_with(told.as_bytes()), "{uri} {told:?}");
            // What stands in the path is in the decoded one, but for a NUL.
            let expected = format!("/{path}").replace('\0', "%00");
            if !path.contains('%') {
                assert_eq!(variable("PATH_INFO"), Some(&OsString::from(expected)));
            }
            for (name, value) in parts.headers.iter().filter(|(name, _)| is_told(name)) {
                let name = name.as_str().replace('-', "_").to_ascii_uppercase();
                if let Some(whole) = variable(&format!("HTTP_{name}")) {
                    let value = value.as_bytes();
                    let mut places = whole.as_bytes().windows(value.len().max(1));
                    assert!(value.is_empty() || places.any(|place| place == value));
                }
            }
        });
}
