use super::*;

#[test]
fn a_call_says_all_of_the_request() {
    let mut headers = HeaderMap::new();
    headers.insert("x-a", HeaderValue::from_static("1"));
    let head = CallHead {
        method: "POST",
        path: "/p",
        query: "q=1",
        headers: &headers,
    };
    let frame = ToWorker::call(7, &head, Bytes::from_static(b"body"));
    let text = b"POST\0/p\0q=1\0x-a\x001";
    let size = u8::try_from(text.len()).expect("small");
    let mut expected = vec![0, 0, 0, 4 + size + 4, CALL, 0, 0, 0, 7, 0, 0, 0, size];
    expected.extend_from_slice(text);
    assert_eq!(frame.head, expected);
    assert_eq!(frame.body, "body");
}

#[test]
fn an_answer_is_read_and_a_bad_head_is_the_handlers_fault() {
    let whole = FromWorker::read(RESPONSE, Bytes::from_static(b"\0\0\0\x0a201\0a\0b\0x"));
    assert_eq!(whole, Err(ProtocolError::Short(RESPONSE)));
    let whole = FromWorker::read(RESPONSE, Bytes::from_static(b"\0\0\0\x07201\0a\0bxyz"));
    let Ok(FromWorker::Response(Ok(head), body)) = whole else {
        panic!("no answer");
    };
    assert_eq!((head.status.as_u16(), &body[..]), (201, &b"xyz"[..]));
    assert_eq!(head.headers["a"], "b");

    let name = HeaderName::from_static("a");
    let large = [b"200\0a\0".to_vec(), vec![b'x'; LARGEST_HEAD - 5]].concat();
    for (text, bad) in [
        (&b"99"[..], BadHead::Status("99".into())),
        (b"100", BadHead::Status("100".into())),
        (b"", BadHead::Status(String::new())),
        (b"200\0", BadHead::Name(String::new())),
        (b"200\0a b\0c", BadHead::Name("a b".into())),
        (b"200\0\xe4\0c", BadHead::Name("\u{fffd}".into())),
        (b"200\0a\0b\nc", BadHead::Value(name.clone())),
        (b"200\0a\0\x7f", BadHead::Value(name.clone())),
        (b"200\0b\0c\0a", BadHead::NoValue(name.clone())),
        (&large, BadHead::TooLarge(LARGEST_HEAD + 1)),
    ] {
        let read = FromWorker::read(HEAD, Bytes::copy_from_slice(text));
        assert_eq!(read, Ok(FromWorker::Head(Err(bad))));
    }
}

#[test]
fn what_is_no_frame_is_refused() {
    assert_eq!(
        FromWorker::read(99, Bytes::new()),
        Err(ProtocolError::Kind(99))
    );
    assert_eq!(
        FromWorker::read(RESPONSE, Bytes::from_static(b"\0")),
        Err(ProtocolError::Short(RESPONSE))
    );
    let header = [0xff, 0, 0, 0, DATA, 0, 0, 0, 1];
    assert!(matches!(
        read_header(header),
        Err(ProtocolError::TooLarge(_))
    ));
}

#[test]
fn an_error_without_a_sensible_status_is_a_500() {
    for (payload, status, detail) in [
        (&b"404\0no such order"[..], 404, "no such order"),
        (b"200\0x", 500, "x"),
        (b"", 500, ""),
    ] {
        let read = FromWorker::read(ERROR, Bytes::copy_from_slice(payload));
        let status = StatusCode::from_u16(status).expect("a status");
        assert_eq!(read, Ok(FromWorker::Error(status, detail.to_owned())));
    }
}

/// A frame to the worker, read as runtimes/README.md says.
fn read_call(frame: &ToWorker) -> (u32, Vec<Vec<u8>>, Vec<u8>) {
    let whole = [&frame.head[..], &frame.body[..]].concat();
    let number = |at: usize| u32::from_be_bytes(whole[at..at + 4].try_into().unwrap());
    assert_eq!(number(0) as usize, whole.len() - FRAME_HEADER);
    assert_eq!(whole[4], CALL);
    let payload = &whole[FRAME_HEADER..];
    let size = number(FRAME_HEADER) as usize;
    let parts = payload[4..4 + size].split(|byte| *byte == 0);
    let parts = parts.map(<[u8]>::to_vec).collect();
    (number(5), parts, payload[4 + size..].to_vec())
}

#[test]
fn fuzz_a_call_is_read_as_it_was_written() {
    type Given = (u32, String, Option<String>, Fields, Vec<u8>);
    bolero::check!()
        .with_type()
        .for_each(|(id, path, query, fields, body): &Given| {
            let query = query.as_ref().map(|query| format!("?{}", plain(query)));
            let uri = format!("/{}{}", plain(path), query.unwrap_or_default());
            let Ok(uri) = uri.parse::<http::Uri>() else {
                return;
            };
            let headers = wanted(&nearly(fields)).unwrap_or_default();
            let head = CallHead {
                method: "POST",
                path: uri.path(),
                query: uri.query().unwrap_or_default(),
                headers: &headers,
            };
            let frame = ToWorker::call(*id, &head, Bytes::copy_from_slice(body));
            let mut expected: Vec<&[u8]> = Vec::new();
            expected.extend([head.method, head.path, head.query].map(str::as_bytes));
            for (name, value) in &headers {
                expected.extend([name.as_str().as_bytes(), value.as_bytes()]);
            }
            let (read_id, parts, read_body) = read_call(&frame);
            assert_eq!((read_id, read_body), (*id, body.clone()));
            assert!(parts.iter().eq(expected));
        });
}

#[test]
fn fuzz_an_answer_is_read_as_it_was_written_or_refused() {
    type Given = (u16, Fields, Vec<u8>);
    bolero::check!()
        .with_type()
        .for_each(|(status, fields, body): &Given| {
            let (status, fields) = (190 + status % 420, nearly(fields));
            let mut text = status.to_string().into_bytes();
            for part in fields.iter().flat_map(|(name, value)| [name, value]) {
                text.push(0);
                text.extend_from_slice(part);
            }
            let payload = [&length(text.len())[..], &text, body].concat();
            let read = FromWorker::read(RESPONSE, payload.into());
            let Ok(FromWorker::Response(head, read_body)) = read else {
                panic!("no answer: {read:?}");
            };
            assert_eq!(read_body, body);
            let expected = wanted(&fields)
                .filter(|_| (200..600).contains(&status) && text.len() <= LARGEST_HEAD);
            match (head, expected) {
                (Ok(head), Some(headers)) => {
                    assert_eq!((head.status.as_u16(), head.headers), (status, headers));
                }
                (Err(bad), None) => assert!(bad.to_string().len() < 1000, "{bad}"),
                (head, expected) => panic!("{head:?} is not {expected:?}"),
            }
        });
}

type Fields = Vec<(Vec<u8>, Vec<u8>)>;

/// Of anything something that may stand in a URI.
fn plain(text: &str) -> String {
    let odd = |c: char| c.is_control() || " \"#<>?\\^`{|}".contains(c);
    text.replace(odd, "a")
}

/// Of anything fields that seldom have something wrong, and never a NUL, which is the worker's to
/// keep out.
fn nearly(fields: &Fields) -> Fields {
    const NAMES: &[u8; 32] = b"abcdefghijklmnopqrstuvwXYZ019-_.";
    let name = |byte: &u8| match byte {
        0..4 => b"\x01 :\xe4"[usize::from(*byte)],
        _ => NAMES[usize::from(byte % 32)],
    };
    let value = |byte: &u8| match byte {
        0 | 4..32 | 127 => b'a',
        _ => *byte,
    };
    fields
        .iter()
        .map(|(first, second)| {
            (
                first.iter().map(name).collect(),
                second.iter().map(value).collect(),
            )
        })
        .collect()
}

/// The fields as HTTP has them; none if one of them is no field.
fn wanted(fields: &Fields) -> Option<HeaderMap> {
    let is_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    let is_text = |byte: &u8| *byte == b'\t' || (*byte >= b' ' && *byte != 127);
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        if name.is_empty() || !name.iter().all(is_token) || !value.iter().all(is_text) {
            return None;
        }
        let name = HeaderName::from_bytes(name).ok()?;
        headers.append(name, HeaderValue::from_bytes(value).ok()?);
    }
    Some(headers)
}

#[test]
fn fuzz_any_payload_of_any_kind_is_a_frame_or_refused() {
    bolero::check!()
        .with_type()
        .for_each(|(kind, payload): &(u8, Vec<u8>)| {
            for kind in [*kind, RESPONSE, HEAD, DATA, END, ERROR, READY] {
                let read = FromWorker::read(kind, payload.clone().into());
                if let Ok(FromWorker::Error(status, _)) = &read {
                    assert!((400..600).contains(&status.as_u16()));
                }
                let is_known = (READY..=ERROR).contains(&kind);
                assert!(is_known || read == Err(ProtocolError::Kind(kind)));
            }
        });
}
