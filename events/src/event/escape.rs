//! Values of attributes as headers: characters that no header has are written as `%` and two digits for each byte
//! (<https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md#3132-http-header-values>).

use std::fmt::Write as _;

/// Whether a byte of a character stands for itself.
fn is_plain(byte: u8) -> bool {
    matches!(byte, b'!'..=b'~') && byte != b'"' && byte != b'%'
}

/// The value as a header.
pub(super) fn done(value: &str) -> String {
    let mut escaped = String::with_capacity(length(value));
    for byte in value.bytes() {
        if is_plain(byte) {
            escaped.push(byte.into());
        } else {
            // Writing to a String cannot fail.
            let _ = write!(escaped, "%{byte:02X}");
        }
    }
    escaped
}

/// How long that is, in bytes.
pub(super) fn length(value: &str) -> usize {
    let bytes = value.bytes();
    bytes.map(|byte| if is_plain(byte) { 1 } else { 3 }).sum()
}

/// The value of a header, which may be a quoted string (RFC 9110, section 5.6.4). What is no escape stands for itself, and
/// what is no UTF-8 then is replaced.
pub(super) fn undo(header: &[u8]) -> String {
    let inner = header.strip_prefix(b"\"");
    let unquoted = inner
        .and_then(|inner| inner.strip_suffix(b"\""))
        .map(unquote);
    let header = unquoted.as_deref().unwrap_or(header);
    let mut value = Vec::with_capacity(header.len());
    let mut rest = header;
    while let Some((first, after)) = rest.split_first() {
        let digits = after.first_chunk::<2>().filter(|_| *first == b'%');
        let escaped = digits.and_then(|digits| {
            let digits = std::str::from_utf8(digits).ok()?;
            let are_digits = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
            are_digits.then(|| u8::from_str_radix(digits, 16).ok())?
        });
        value.push(escaped.unwrap_or(*first));
        rest = match escaped {
            Some(_) => after.get(2..).unwrap_or_default(),
            None => after,
        };
    }
    String::from_utf8_lossy(&value).into_owned()
}

/// What is within the quotes: a backslash is before a byte that stands for itself.
fn unquote(inner: &[u8]) -> Vec<u8> {
    let mut bytes = inner.iter();
    let mut value = Vec::with_capacity(inner.len());
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => value.extend(bytes.next()),
            byte => value.push(*byte),
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_comes_back() {
        bolero::check!()
            .with_type::<String>()
            .for_each(|value: &String| {
                let escaped = done(value);
                assert_eq!(escaped.len(), length(value));
                assert!(escaped.bytes().all(|byte| byte.is_ascii_graphic()));
                assert_eq!(undo(escaped.as_bytes()), *value);
            });
    }

    #[test]
    fn what_the_binding_gives_as_an_example_is_written_so() {
        assert_eq!(done("Euro € 😀"), "Euro%20%E2%82%AC%20%F0%9F%98%80");
        assert_eq!(undo(b"100%"), "100%");
        assert_eq!(undo(b"%+1%zz%2"), "%+1%zz%2");
        assert_eq!(undo(b"a b"), "a b");
        assert_eq!(undo(b"\"a \\\"b\\\\%20c\""), "a \"b\\ c");
        assert_eq!(undo(b"\""), "\"");
        assert_eq!(undo(b"\"\""), "");
    }
}
