//! Request identifiers and trace contexts.

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::{proxy::header_scan::HeaderScan, random};

/// The header that names a request through all logs.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The W3C trace context (<https://www.w3.org/TR/trace-context/>).
pub(crate) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Identifiers from outside may be this long.
const LONGEST_ID: usize = 128;

const HEX: &[u8; 16] = b"0123456789abcdef";

/// Makes sure that the request has a name and a trace context; returns the name. Those from outside
/// are kept if they are well formed. A new trace has the name of the request for its identifier.
pub(crate) fn identify(headers: &mut HeaderMap, scan: &HeaderScan) -> HeaderValue {
    if !scan.ids {
        return name_anew(headers);
    }
    let known = headers.get(REQUEST_ID).filter(|id| is_sane(id)).cloned();
    let trace_kept = headers.get(TRACEPARENT).is_some_and(is_traceparent);
    if let (Some(id), true) = (&known, trace_kept) {
        return id.clone();
    }
    if trace_kept {
        return insert(headers, REQUEST_ID, &hex32());
    }
    headers.remove("tracestate");
    let anew = name_anew(headers);
    let Some(known) = known else { return anew };
    headers.insert(REQUEST_ID, known.clone());
    known
}

/// Gives the request a name and a trace of its own.
fn name_anew(headers: &mut HeaderMap) -> HeaderValue {
    let trace = hex32();
    let mut text = *b"00-00000000000000000000000000000000-0000000000000000-01";
    text[3..35].copy_from_slice(&trace);
    text[36..52].copy_from_slice(&hex16(random::bits() | 1));
    insert(headers, TRACEPARENT, &text);
    insert(headers, REQUEST_ID, &trace)
}

fn insert(headers: &mut HeaderMap, name: HeaderName, text: &[u8]) -> HeaderValue {
    // Hexadecimal digits are always valid.
    let value = HeaderValue::from_bytes(text).unwrap_or_else(|_| HeaderValue::from_static("0"));
    headers.insert(name, value.clone());
    value
}

/// Letters, digits and the signs that identifiers are made of: nothing that could break a log line.
fn is_sane(id: &HeaderValue) -> bool {
    let bytes = id.as_bytes();
    let fits = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:/+=@|~".contains(byte);
    (1..=LONGEST_ID).contains(&bytes.len()) && bytes.iter().all(fits)
}

/// `version-trace-parent-flags` in lower-case hexadecimal; neither identifier all zero, and not the
/// forbidden version ff.
fn is_traceparent(value: &HeaderValue) -> bool {
    let bytes = value.as_bytes();
    let (Some(version), Some(trace), Some(parent), Some(flags)) = (
        bytes.get(..2),
        bytes.get(3..35),
        bytes.get(36..52),
        bytes.get(53..55),
    ) else {
        return false;
    };
    let hex = |part: &[u8]| part.iter().all(|byte| HEX.contains(byte));
    let zero = |part: &[u8]| part.iter().all(|byte| *byte == b'0');
    let dashes = [2, 35, 52].into_iter().all(|at| bytes[at] == b'-');
    let ends = bytes.len() == 55 || (version != b"00" && bytes.get(55) == Some(&b'-'));
    [version, trace, parent, flags].into_iter().all(hex)
        && dashes
        && ends
        && version != b"ff"
        && !zero(trace)
        && !zero(parent)
}

fn hex32() -> [u8; 32] {
    let mut text = [0; 32];
    text[..16].copy_from_slice(&hex16(random::bits()));
    text[16..].copy_from_slice(&hex16(random::bits() | 1));
    text
}

fn hex16(bits: u64) -> [u8; 16] {
    let mut text = [0; 16];
    for (index, digit) in text.iter_mut().enumerate() {
        *digit = HEX[(bits >> (60 - 4 * index) & 0xf) as usize];
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn named(headers: &mut HeaderMap) -> HeaderValue {
        let scan = HeaderScan::of(headers);
        identify(headers, &scan)
    }

    #[test]
    fn good_ones_are_kept() {
        let mut headers = HeaderMap::new();
        headers.insert(REQUEST_ID, HeaderValue::from_static("order:7/a"));
        headers.insert(TRACEPARENT, HeaderValue::from_static(PARENT));
        assert_eq!(named(&mut headers), "order:7/a");
        assert_eq!(headers[TRACEPARENT], PARENT);
    }

    #[test]
    fn new_ones_are_well_formed_and_belong_together() {
        let mut headers = HeaderMap::new();
        let id = named(&mut headers);
        assert!(is_traceparent(&headers[TRACEPARENT]), "{headers:?}");
        assert_eq!(
            headers[TRACEPARENT].to_str().unwrap().get(3..35),
            id.to_str().ok()
        );
        assert_eq!(headers[REQUEST_ID], id);
        assert_ne!(id, named(&mut HeaderMap::new()));
    }

    #[test]
    fn bad_ones_are_replaced() {
        for bad in ["", "a b", "x\"y", &"a".repeat(129)] {
            let mut headers = HeaderMap::new();
            headers.insert(REQUEST_ID, HeaderValue::from_str(bad).unwrap());
            assert_ne!(named(&mut headers), bad);
            assert_eq!(headers.get_all(REQUEST_ID).iter().count(), 1);
        }
        for bad in [
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
        ] {
            assert!(
                !is_traceparent(&HeaderValue::from_str(bad).unwrap()),
                "{bad}"
            );
        }
        let future = "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what";
        assert!(is_traceparent(&HeaderValue::from_static(future)));
    }
}
