//! The head of what a CGI program answers (RFC 3875, section 6). Pure.

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

/// The head, and how many bytes it takes with the empty line after it; `None` while that is not there.
///
/// # Errors
///
/// When it is no head.
pub(super) fn read(bytes: &[u8]) -> Result<Option<(StatusCode, HeaderMap, usize)>, NoHead> {
    let mut status = StatusCode::OK;
    let mut headers = HeaderMap::new();
    let mut at = 0;
    loop {
        let Some(length) = bytes[at..].iter().position(|byte| *byte == b'\n') else {
            return Ok(None);
        };
        let line = bytes[at..at + length].trim_ascii_end();
        at += length + 1;
        if line.is_empty() {
            return Ok(Some((status, headers, at)));
        }
        let colon = line.iter().position(|byte| *byte == b':').ok_or(NoHead)?;
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if name.eq_ignore_ascii_case(b"status") {
            let code = value.get(..3).ok_or(NoHead)?;
            status = StatusCode::from_bytes(code).map_err(|_| NoHead)?;
            continue;
        }
        let name = HeaderName::from_bytes(name).map_err(|_| NoHead)?;
        let value = HeaderValue::from_bytes(value).map_err(|_| NoHead)?;
        headers.append(name, value);
    }
}

/// It is no head.
#[derive(Debug, Eq, PartialEq, thiserror::Error)]
#[error("git has answered something that is no head of a response")]
pub(super) struct NoHead;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_when_it_is_whole() {
        let text = b"Status: 404 Not Found\r\nExpires: now\r\nCache-Control: no-cache\r\n\r\nbody";
        for end in 0..text.len() - 4 {
            assert_eq!(read(&text[..end]), Ok(None), "{end}");
        }
        let (status, headers, length) = read(text).unwrap().unwrap();
        assert_eq!(status, 404);
        assert_eq!(headers.len(), 2);
        assert_eq!(headers["cache-control"], "no-cache");
        assert_eq!(&text[length..], b"body");
        let (status, ..) = read(b"content-type: a\n\n").unwrap().unwrap();
        assert_eq!(status, 200);
    }

    #[test]
    fn what_is_no_head_is_refused() {
        for text in [
            "no colon\n\n",
            "status: x\n\n",
            "status: 99\n",
            "a b: c\n\n",
            ":\n",
        ] {
            assert_eq!(read(text.as_bytes()), Err(NoHead), "{text}");
        }
    }
}
