use fermata_crds::sample::{chosen_by, pick};

use super::*;
use crate::proxy::sample::{self, fields};

const CLIENT: ([u8; 4], u16) = ([203, 0, 113, 7], 7);

/// Whether a name says for whom somebody asks, by the list alone.
fn says(name: &str) -> bool {
    let name = name.replace('_', "-");
    name.starts_with(COMMON) || OTHERS.contains(&name.as_str())
}

#[test]
fn fuzz_what_strangers_say_of_themselves_is_not_passed_on() {
    bolero::check!().for_each(|bytes: &[u8]| {
        let mut choose = chosen_by(bytes);
        let mut headers = sample::headers(&mut choose);
        let before = fields(&headers);
        remove(&mut headers);
        let kept: Vec<_> = before.into_iter().filter(|(name, _)| !says(name)).collect();
        assert_eq!(fields(&headers), kept);
        let name = String::from_utf8_lossy(bytes).to_ascii_lowercase();
        assert_eq!(is_forwarding(&name), says(&name), "{name}");
        // What the gateway says stands there alone.
        let address = HeaderValue::from_static("203.0.113.7");
        let host = HeaderValue::from_static("a.example");
        let prefix = pick(&[None, Some("/function/hello")], &mut choose);
        set(
            &mut headers,
            &address,
            element(CLIENT.into(), &host),
            &host,
            prefix,
        );
        for (name, value) in [
            ("x-forwarded-for", Some("203.0.113.7")),
            (
                "forwarded",
                Some("for=\"203.0.113.7:7\";host=\"a.example\";proto=http"),
            ),
            ("x-forwarded-proto", Some("http")),
            ("x-forwarded-host", Some("a.example")),
            ("x-forwarded-prefix", prefix),
        ] {
            let all: Vec<_> = headers.get_all(name).iter().collect();
            assert_eq!(all, value.as_slice(), "{name}");
        }
    });
}

#[test]
fn fuzz_what_a_trusted_proxy_says_is_kept_and_added_to() {
    bolero::check!().for_each(|bytes: &[u8]| {
        let mut choose = chosen_by(bytes);
        let mut headers = sample::headers(&mut choose);
        let before = headers.clone();
        let address = HeaderValue::from_static("203.0.113.7");
        let host = HeaderValue::from_static("a.example");
        let prefix = pick(&[None, Some("/function/hello")], &mut choose);
        add(
            &mut headers,
            &address,
            &element(CLIENT.into(), &host),
            &host,
            prefix,
        );
        for name in [FORWARDED_FOR, header::FORWARDED] {
            let all: Vec<&[u8]> = before
                .get_all(&name)
                .iter()
                .map(HeaderValue::as_bytes)
                .collect();
            let now = headers[&name].as_bytes();
            assert!(
                now.starts_with(&all.join(&b", "[..])),
                "{before:?} {headers:?}"
            );
            assert_eq!(headers.get_all(&name).iter().count(), 1);
        }
        assert!(headers[FORWARDED_FOR].as_bytes().ends_with(b"203.0.113.7"));
        for name in [FORWARDED_PROTO, FORWARDED_HOST] {
            if let Some(said) = before.get(&name) {
                assert_eq!(headers.get(&name), Some(said));
            }
        }
        if let Some(prefix) = prefix {
            let said = &headers[FORWARDED_PREFIX];
            assert!(said.as_bytes().ends_with(prefix.as_bytes()), "{said:?}");
        }
        let others = |headers: &HeaderMap| -> Vec<_> {
            let others = fields(headers).into_iter();
            others.filter(|(name, _)| !says(name)).collect()
        };
        assert_eq!(others(&headers), others(&before));
    });
}
