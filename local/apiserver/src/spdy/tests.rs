use super::*;

/// Two SYN_STREAM frames as Go's spdystream writes them, for an error and a data stream of port 8080.
const OPENED: [&str; 2] = [
    "800300010000003e0000000100000000000078f9e3c6a7c202253a48f95b044eea160616060c0c0c9c4590f8ca04a5634603704a2c294a4dcc851636aca9a0a800000000ffff",
    "800300010000001600000003000000000000225333a8a44a04000000ffff",
];

fn bytes(hex: &str) -> Vec<u8> {
    let digits = hex.as_bytes().chunks(2);
    digits
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

async fn read(bytes: &[u8]) -> (Vec<Frame>, Result<(), Error>) {
    let mut reader = Reader::new(bytes);
    let mut frames = Vec::new();
    loop {
        match reader.next().await {
            Ok(Some(frame)) => frames.push(frame),
            Ok(None) => return (frames, Ok(())),
            Err(error) => return (frames, Err(error)),
        }
    }
}

#[tokio::test]
async fn compressed_headers_of_go_are_read() {
    let sent: Vec<u8> = OPENED.into_iter().flat_map(bytes).collect();
    let (frames, result) = read(&sent).await;
    result.unwrap();
    let kinds: Vec<_> = frames
        .iter()
        .map(|frame| match frame {
            Frame::Open {
                stream,
                headers,
                fin: false,
            } => {
                assert_eq!(headers.get("port"), Some("8080"));
                assert_eq!(headers.get("requestid"), Some("0"));
                (*stream, headers.get("streamtype").unwrap())
            }
            frame => panic!("{frame:?}"),
        })
        .collect();
    assert_eq!(kinds, [(1, "error"), (3, "data")]);
}

#[tokio::test]
async fn long_data_comes_in_pieces_and_ends_with_the_last() {
    let long = vec![7; 2 * CHUNK + 1];
    let mut sent = data(3, &long, true).to_vec();
    sent.extend(ping(5));
    sent.extend(reset(3, Reset::Cancel));
    sent.extend(goaway(3));
    sent.extend(ping(7));
    let (frames, result) = read(&sent).await;
    result.unwrap();
    let mut got = Vec::new();
    let mut ends = Vec::new();
    for frame in &frames {
        if let Frame::Data { stream, bytes, fin } = frame {
            assert!(*stream == 3 && bytes.len() <= CHUNK);
            got.extend_from_slice(bytes);
            ends.push(*fin);
        }
    }
    assert_eq!(got, long);
    assert_eq!(ends.iter().filter(|end| **end).count(), 1);
    assert_eq!(ends.last(), Some(&true));
    let rest = &frames[ends.len()..];
    assert_eq!(rest, [Frame::Ping { id: 5 }, Frame::Reset { stream: 3 }]);
}

#[tokio::test]
async fn what_is_malformed_or_too_long_is_refused() {
    let mut garbled = bytes(OPENED[0]);
    garbled[30] ^= 0xff;
    let huge = [0x80, 3, 0, 1, 0, 0xff, 0xff, 0xff];
    let old = [0x80, 2, 0, 6, 0, 0, 0, 4, 0, 0, 0, 1];
    let short = [0x80, 3, 0, 1, 0, 0, 0, 2, 0, 0];
    for (what, sent) in [
        ("garbled", garbled.as_slice()),
        ("huge", &huge),
        ("old", &old),
        ("short", &short),
    ] {
        let (frames, result) = read(sent).await;
        assert!(frames.is_empty() && result.is_err(), "{what}: {frames:?}");
    }
}

#[tokio::test]
async fn replies_are_one_compressed_stream() {
    let mut encoder = Encoder::default();
    let mut raw = flate2::Decompress::new(true);
    for stream in [1, 3] {
        let reply = encoder.reply(stream);
        let mut plain = Vec::with_capacity(64);
        let flush = flate2::FlushDecompress::Sync;
        raw.decompress_vec(&reply[12..], &mut plain, flush).unwrap();
        assert_eq!(plain, [0; 4]);
        assert_eq!(reply[8..12], [0, 0, 0, stream as u8]);
    }
}
