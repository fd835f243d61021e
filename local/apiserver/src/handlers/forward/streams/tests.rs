//! A client made of frames, and a program on the other end of a pipe.

use tokio::io::{AsyncReadExt as _, DuplexStream};

use super::*;
use crate::handlers::forward::{buffer::MAX_WAITING, sample};

/// Both streams of the connection that Go numbers 0, to port 8080.
fn opened() -> Vec<u8> {
    let frames = [
        "800300010000003e0000000100000000000078f9e3c6a7c202253a48f95b044eea160616060c0c0c9c4590f8ca04a5634603704a2c294a4dcc851636aca9a0a800000000ffff",
        "800300010000001600000003000000000000225333a8a44a04000000ffff",
    ];
    let digits: String = frames.concat();
    let bytes = digits.as_bytes().chunks(2);
    bytes
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

/// A stream to port 8080 as a client opens it that does not compress.
fn syn(stream: u32, kind: &str, request: &str) -> Vec<u8> {
    let mut block = 3_u32.to_be_bytes().to_vec();
    for text in ["streamtype", kind, "port", "8080", "requestid", request] {
        block.extend((text.len() as u32).to_be_bytes());
        block.extend(text.as_bytes());
    }
    // Deflate's own block that is not compressed; the head of the whole comes with the first.
    let mut payload = stream.to_be_bytes().to_vec();
    payload.extend([0; 6]);
    if stream == 1 {
        payload.extend([0x78, 0x01]);
    }
    let length = u16::try_from(block.len()).unwrap();
    payload.push(0);
    payload.extend(length.to_le_bytes());
    payload.extend((!length).to_le_bytes());
    payload.extend(block);
    let mut frame = vec![0x80, 3, 0, 1, 0, 0];
    frame.extend(u16::try_from(payload.len()).unwrap().to_be_bytes());
    frame.extend(payload);
    frame
}

/// What the server says until it answers this ping.
async fn until(client: &mut DuplexStream, ping: u32) -> Vec<Vec<u8>> {
    client.write_all(&spdy::ping(ping)).await.unwrap();
    let mut frames = Vec::new();
    loop {
        let mut frame = vec![0; 8];
        client.read_exact(&mut frame).await.unwrap();
        let length = u32::from_be_bytes([0, frame[5], frame[6], frame[7]]);
        frame.resize(8 + length as usize, 0);
        client.read_exact(&mut frame[8..]).await.unwrap();
        if frame == spdy::ping(ping) {
            return frames;
        }
        frames.push(frame);
    }
}

/// Opens one stream, and whether it is accepted: no, if the answer is a reset.
async fn is_taken(client: &mut DuplexStream, stream: u32, kind: &str, request: &str) -> bool {
    client.write_all(&syn(stream, kind, request)).await.unwrap();
    let frames = until(client, 99).await;
    let refused = [Reset::Refused, Reset::Protocol].map(|why| spdy::reset(stream, why));
    !frames
        .iter()
        .any(|frame| refused.contains(&Bytes::from(frame.clone())))
}

/// A session; the client's end, and those of the connections it has made.
fn session(
    refuses: bool,
) -> (
    DuplexStream,
    mpsc::Receiver<DuplexStream>,
    CancellationToken,
) {
    let (pod, connections) = sample::pod(refuses);
    let (client, end) = serve(pod);
    (client, connections, end)
}

fn serve(pod: Pod) -> (DuplexStream, CancellationToken) {
    let (client, server) = tokio::io::duplex(1 << 20);
    let end = CancellationToken::new();
    let (from, to) = tokio::io::split(server);
    let ended = Box::pin(end.clone().cancelled_owned());
    tokio::spawn(async move { run(from, to, pod, ended).await });
    (client, end)
}

/// The next frame with data: its stream, whether it ends it, and the data.
async fn next(client: &mut DuplexStream) -> (u32, bool, String) {
    loop {
        let mut head = [0; 8];
        client.read_exact(&mut head).await.unwrap();
        let length = u32::from_be_bytes([0, head[5], head[6], head[7]]);
        let mut payload = vec![0; length as usize];
        client.read_exact(&mut payload).await.unwrap();
        if head[0] & 0x80 == 0 {
            let stream = u32::from_be_bytes([head[0], head[1], head[2], head[3]]);
            return (stream, head[4] == 1, String::from_utf8(payload).unwrap());
        }
    }
}

#[tokio::test]
async fn data_goes_both_ways_and_both_streams_end() {
    let (mut client, mut connections, _end) = session(false);
    client.write_all(&opened()).await.unwrap();
    let ask = [spdy::data(3, b"ask", false), spdy::data(3, b"ed", true)].concat();
    client.write_all(&ask).await.unwrap();
    let mut program = connections.recv().await.unwrap();
    let mut heard = String::new();
    program.read_to_string(&mut heard).await.unwrap();
    assert_eq!(heard, "asked");
    program.write_all(b"answer").await.unwrap();
    drop(program);
    assert_eq!(next(&mut client).await, (3, false, "answer".to_owned()));
    assert_eq!(next(&mut client).await, (3, true, String::new()));
    assert_eq!(next(&mut client).await, (1, true, String::new()));
}

#[tokio::test]
async fn why_there_is_no_connection_is_told_on_the_error_stream() {
    let (mut client, _connections, _end) = session(true);
    client.write_all(&opened()).await.unwrap();
    let (stream, fin, why) = next(&mut client).await;
    assert_eq!((stream, fin), (1, false));
    assert_eq!(
        why,
        "error forwarding port 8080 to pod a, uid u: nothing listens"
    );
    assert_eq!(next(&mut client).await, (3, true, String::new()));
    assert_eq!(next(&mut client).await, (1, true, String::new()));
}

#[tokio::test]
async fn a_stream_that_is_given_up_ends_its_connection() {
    let (mut client, mut connections, _end) = session(false);
    client.write_all(&opened()).await.unwrap();
    let mut program = connections.recv().await.unwrap();
    client
        .write_all(&spdy::reset(3, Reset::Cancel))
        .await
        .unwrap();
    assert_eq!(next(&mut client).await, (1, true, String::new()));
    assert_eq!(program.read(&mut [0; 1]).await.unwrap(), 0);
}

#[tokio::test]
async fn the_session_ends_with_the_pod() {
    let (mut client, mut connections, end) = session(false);
    client.write_all(&opened()).await.unwrap();
    let mut program = connections.recv().await.unwrap();
    end.cancel();
    let mut rest = Vec::new();
    client.read_to_end(&mut rest).await.unwrap();
    assert!(rest.ends_with(&spdy::goaway(0)), "{rest:?}");
    assert_eq!(program.read(&mut [0; 1]).await.unwrap(), 0);
}

/// So many whole pieces of a stream.
fn flood(stream: u32, pieces: usize) -> Vec<u8> {
    let piece = spdy::data(stream, &[0; spdy::CHUNK], false);
    piece.repeat(pieces)
}

/// Opens both streams of a connection.
async fn open(client: &mut DuplexStream, stream: u32) {
    let request = stream.to_string();
    assert!(is_taken(client, stream, "error", &request).await);
    assert!(is_taken(client, stream + 2, "data", &request).await);
}

#[tokio::test]
async fn a_program_that_reads_nothing_holds_up_no_others() {
    let (mut client, mut connections, _end) = session(false);
    open(&mut client, 1).await;
    let _stuck = connections.recv().await.unwrap();
    let much = flood(3, MAX_WAITING / 2);
    client.write_all(&much).await.unwrap();
    open(&mut client, 5).await;
    let mut program = connections.recv().await.unwrap();
    let ask = spdy::data(7, b"ask", true);
    client.write_all(&ask).await.unwrap();
    let mut heard = String::new();
    program.read_to_string(&mut heard).await.unwrap();
    assert_eq!(heard, "ask");
}

#[tokio::test(start_paused = true)]
async fn a_program_that_reads_nothing_of_too_much_is_given_up() {
    let (mut client, mut connections, _end) = session(false);
    open(&mut client, 1).await;
    let _stuck = connections.recv().await.unwrap();
    open(&mut client, 5).await;
    let mut program = connections.recv().await.unwrap();
    // That all is said changes nothing.
    let much = [
        flood(3, MAX_WAITING - 1),
        spdy::data(3, &[0], true).to_vec(),
    ]
    .concat();
    client.write_all(&much).await.unwrap();
    client.write_all(&flood(7, 4)).await.unwrap();
    let mut heard = vec![0; 4 * spdy::CHUNK];
    program.read_exact(&mut heard).await.unwrap();
    let said = until(&mut client, 97).await;
    let reset = |stream| spdy::reset(stream, Reset::FlowControl).to_vec();
    assert!(said.contains(&reset(3)) && !said.contains(&reset(7)));
    open(&mut client, 9).await;
}

#[tokio::test(start_paused = true)]
async fn a_program_that_reads_slowly_gets_all() {
    let (mut client, mut connections, _end) = session(false);
    open(&mut client, 1).await;
    let mut program = connections.recv().await.unwrap();
    let much = flood(3, 2 * MAX_WAITING);
    let reads = async {
        let mut left = 2 * MAX_WAITING * spdy::CHUNK;
        while left > 0 {
            tokio::time::sleep(STALLED / 2).await;
            let mut part = vec![0; left.min(64 * spdy::CHUNK)];
            program.read_exact(&mut part).await.unwrap();
            left -= part.len();
        }
    };
    let (sent, ()) = tokio::join!(client.write_all(&much), reads);
    sent.unwrap();
    let reset = spdy::reset(3, Reset::FlowControl).to_vec();
    assert!(!until(&mut client, 97).await.contains(&reset));
}

#[tokio::test]
async fn data_before_its_stream_of_errors_waits_and_too_much_is_refused() {
    let (mut client, mut connections, _end) = session(false);
    assert!(is_taken(&mut client, 1, "data", "a").await);
    client.write_all(&flood(1, MAX_WAITING / 2)).await.unwrap();
    assert!(is_taken(&mut client, 3, "error", "a").await);
    let mut program = connections.recv().await.unwrap();
    let mut heard = vec![0; MAX_WAITING / 2 * spdy::CHUNK];
    program.read_exact(&mut heard).await.unwrap();
    assert!(is_taken(&mut client, 5, "data", "b").await);
    client.write_all(&flood(5, MAX_WAITING + 1)).await.unwrap();
    let said = until(&mut client, 97).await;
    assert!(said.contains(&spdy::reset(5, Reset::FlowControl).to_vec()));
}

#[tokio::test]
async fn streams_that_are_given_up_alone_leave_their_place() {
    let (mut client, _connections, _end) = session(false);
    for index in 0..2 * MAX_CONNECTIONS as u32 {
        let stream = 2 * index + 1;
        let kind = if index % 2 == 0 { "error" } else { "data" };
        assert!(
            is_taken(&mut client, stream, kind, &index.to_string()).await,
            "{stream}"
        );
        let given_up = spdy::reset(stream, Reset::Cancel);
        client.write_all(&given_up).await.unwrap();
    }
}

#[tokio::test]
async fn who_has_one_stream_of_a_connection_gets_the_other() {
    let (mut client, mut connections, _end) = session(false);
    let most = MAX_CONNECTIONS as u32;
    for index in 0..most {
        let request = index.to_string();
        assert!(is_taken(&mut client, 2 * index + 1, "error", &request).await);
        // kubectl has nothing to say there, and says so at once.
        let end = spdy::data(2 * index + 1, &[], true);
        client.write_all(&end).await.unwrap();
    }
    assert!(!is_taken(&mut client, 2 * most + 1, "error", "more").await);
    assert!(is_taken(&mut client, 2 * most + 3, "data", "0").await);
    connections.recv().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_stream_waits_for_the_other_of_its_connection_for_a_while_only() {
    let (mut client, mut connections, _end) = session(false);
    let most = MAX_CONNECTIONS as u32;
    for index in 0..most {
        let kind = if index % 2 == 0 { "error" } else { "data" };
        assert!(is_taken(&mut client, 2 * index + 1, kind, &index.to_string()).await);
    }
    assert!(!is_taken(&mut client, 2 * most + 1, "error", "more").await);
    tokio::time::sleep(2 * UNPAIRED).await;
    let given_up = until(&mut client, 97).await;
    for index in 0..most {
        assert!(given_up.contains(&spdy::reset(2 * index + 1, Reset::Cancel).to_vec()));
    }
    assert!(is_taken(&mut client, 2 * most + 3, "error", "more").await);
    assert!(is_taken(&mut client, 2 * most + 5, "data", "more").await);
    connections.recv().await.unwrap();
}

#[tokio::test]
async fn names_of_connections_are_short() {
    let (mut client, _connections, _end) = session(false);
    let longest = "1".repeat(MAX_REQUEST_ID);
    assert!(is_taken(&mut client, 1, "error", &longest).await);
    assert!(!is_taken(&mut client, 3, "error", &format!("{longest}1")).await);
}

#[tokio::test]
async fn who_asks_much_at_once_and_listens_is_answered() {
    let (mut client, _connections, _end) = session(false);
    let pings: Vec<u8> = (0..6_000).flat_map(|_| spdy::ping(1)).collect();
    client.write_all(&pings).await.unwrap();
    assert_eq!(until(&mut client, 3).await.len(), 6_000);
}

#[tokio::test(start_paused = true)]
async fn who_asks_much_and_does_not_listen_is_cut() {
    let (mut client, _connections, _end) = session(false);
    let pings: Vec<u8> = (0..10_000).flat_map(|_| spdy::ping(1)).collect();
    while client.write_all(&pings).await.is_ok() {}
}

#[tokio::test]
async fn all_clients_together_have_as_many_connections_as_there_are_seats() {
    let (mut pod, mut connections) = sample::pod(false);
    pod.seats = std::sync::Arc::new(tokio::sync::Semaphore::new(1));
    let (mut client, _end) = serve(pod.clone());
    let (mut other, _other_end) = serve(pod.clone());
    open(&mut client, 1).await;
    let mut program = connections.recv().await.unwrap();
    assert!(!is_taken(&mut other, 1, "error", "1").await);
    let given_up = spdy::reset(3, Reset::Cancel);
    client.write_all(&given_up).await.unwrap();
    assert_eq!(program.read(&mut [0; 1]).await.unwrap(), 0);
    drop(pod.seats.acquire().await.unwrap());
    assert!(is_taken(&mut other, 3, "error", "3").await);
}
