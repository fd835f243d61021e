use super::*;
use crate::worker::{calls::Begun, protocol::CallHead};

type Frames = Vec<(u8, u8, Vec<u8>)>;

#[test]
fn fuzz_whatever_a_worker_says_calls_end_with_it() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    bolero::check!()
        .with_type()
        .for_each(|(frames, rest): &(Frames, Vec<u8>)| {
            runtime.block_on(hear(&stream(frames, rest)));
        });
}

/// Frames, mostly of kinds that exist, with heads that are some, and about calls that are under
/// way; and then anything.
fn stream(frames: &[(u8, u8, Vec<u8>)], rest: &[u8]) -> Vec<u8> {
    let mut stream = Vec::new();
    for (kind, call, payload) in frames {
        let kind = if *kind < 250 { 16 + kind % 6 } else { *kind };
        let head: &[u8] = match (kind, call / 8 % 4) {
            (_, 0) => b"",
            (17, _) => b"\0\0\0\x07200\0a\0b",
            (18, _) => b"201\0a\0b",
            (21, _) => b"404\0",
            (_, _) => b"",
        };
        let size = u32::try_from(head.len() + payload.len()).unwrap();
        stream.extend_from_slice(&size.to_be_bytes());
        stream.push(kind);
        stream.extend_from_slice(&u32::from(call % 8).to_be_bytes());
        stream.extend_from_slice(head);
        stream.extend_from_slice(payload);
    }
    stream.extend_from_slice(rest);
    stream
}

/// Begins calls, has the stream read, and waits for what becomes of each of them.
async fn hear(mut stream: &[u8]) {
    let (calls, _queue) = Calls::new();
    let headers = http::HeaderMap::new();
    let head = CallHead {
        method: "GET",
        path: "/",
        query: "",
        headers: &headers,
    };
    let asked = (0..4).map(|_| calls.begin(&head, Bytes::new(), (None, None)));
    let asked = futures::future::join_all(asked);
    let said = async {
        let calls = FailAtEnd(calls.clone());
        // Here as in the task that reads the link, but that the end is not logged.
        while let Ok(Some((id, frame))) = read_frame(&mut stream).await {
            if calls.0.take(id, frame).is_err() {
                break;
            }
        }
    };
    let (begun, ()) = tokio::join!(asked, said);
    for begun in begun {
        if let Ok(Begun::Stream(_, mut answer)) = begun {
            let mut size = 0;
            let next = async |answer: &mut crate::worker::calls::Answer| {
                std::future::poll_fn(|context| answer.poll_next(context)).await
            };
            while let Some(Ok(data)) = next(&mut answer).await {
                size += data.len();
            }
            assert!(size <= crate::worker::protocol::WINDOW);
        }
    }
}
