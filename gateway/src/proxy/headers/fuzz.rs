use fermata_crds::sample::{chosen_by, pick};

use super::*;
use crate::proxy::sample::{self, fields};

/// What each proxy has to take away (RFC 9110, section 7.6.1).
const ALWAYS: [&str; 6] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "te",
    "transfer-encoding",
    "upgrade",
];

#[test]
fn fuzz_what_is_for_one_connection_stays_there() {
    bolero::check!().for_each(|bytes: &[u8]| {
        let mut choose = chosen_by(bytes);
        let mut headers = sample::headers(&mut choose);
        let before = headers.clone();
        let named: Vec<Vec<u8>> = before
            .get_all(CONNECTION)
            .iter()
            .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
            .map(|token| token.trim_ascii().to_ascii_lowercase())
            .filter(|token| token != b"host" && token != b"content-length")
            .collect();
        let version = pick(&[Version::HTTP_11, Version::HTTP_10], &mut choose);
        let scan = HeaderScan::of(&headers);
        let hop = strip_hop(&mut headers, version, &scan);
        let goes = |name: &str| ALWAYS.contains(&name) || named.contains(&name.as_bytes().to_vec());
        let kept = fields(&before);
        let kept: Vec<_> = kept.into_iter().filter(|(name, _)| !goes(name)).collect();
        assert_eq!(fields(&headers), kept, "{before:?}");
        let upgrades = named.contains(&b"upgrade".to_vec()) && version == Version::HTTP_11;
        assert!(hop.upgrade.is_none() || upgrades, "{before:?}");
        // Of the next connection nothing is said but what it has to know.
        restore_hop(&mut headers, &hop);
        let added = fields(&headers).len() - kept.len();
        let expected = if hop.upgrade.is_some() {
            2 + usize::from(hop.trailers)
        } else {
            2 * usize::from(hop.trailers)
        };
        assert_eq!(added, expected, "{before:?} {headers:?}");
    });
}

#[test]
fn fuzz_a_mark_is_read_as_it_was_made() {
    type Given = (Option<String>, u32);
    bolero::check!()
        .with_type()
        .for_each(|(namespace, hops): &Given| {
            let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
            let namespace = namespace.as_ref().map(|it| it.replace(|c| !plain(c), "a"));
            let namespace = namespace.filter(|namespace| !namespace.is_empty());
            let made = mark(namespace.as_deref(), *hops);
            assert_eq!(read_mark(&made), (namespace.map(Into::into), *hops));
        });
}

#[test]
fn fuzz_any_mark_is_read() {
    bolero::check!().for_each(|bytes: &[u8]| {
        if let Ok(value) = HeaderValue::from_bytes(bytes) {
            let _ = read_mark(&value);
        }
    });
}
