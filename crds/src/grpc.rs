//! Words of gRPC over HTTP/2 (<https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>), which the gateway and the
//! events program write alike.

use std::fmt::Write as _;

/// The media type, before the format of the messages.
pub const MEDIA_TYPE: &str = "application/grpc";

/// Whether a `content-type` is that: alone, or with a format such as `+proto`.
#[must_use]
pub fn is_media_type(content_type: &[u8]) -> bool {
    let rest = content_type.strip_prefix(MEDIA_TYPE.as_bytes());
    rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
}

/// A text as `grpc-message` has it: printable ASCII but for the percent sign stays as it is.
#[must_use]
pub fn message(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if (b' '..=b'~').contains(&byte) && byte != b'%' {
            encoded.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_printable_is_written_by_its_bytes() {
        assert_eq!(message("no room: 100 %"), "no room: 100 %25");
        assert_eq!(message("gr\u{f6}\u{df}e\n"), "gr%C3%B6%C3%9Fe%0A");
    }

    #[test]
    fn only_grpc_is_taken_for_grpc() {
        for (kind, expected) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("application/grpc-web", false),
            ("application/json", false),
        ] {
            assert_eq!(is_media_type(kind.as_bytes()), expected, "{kind}");
        }
    }
}
