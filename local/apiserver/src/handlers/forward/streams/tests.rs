//! A client made of frames, and a program on the other end of a pipe.

use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, DuplexStream};

use super::*;
use crate::Duplex;

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

/// A session; the client's end, and those of the connections it has made.
fn session(
    refuses: bool,
) -> (
    DuplexStream,
    mpsc::Receiver<DuplexStream>,
    CancellationToken,
) {
    let (client, server) = tokio::io::duplex(1 << 20);
    let (connected, connections) = mpsc::channel(8);
    let end = CancellationToken::new();
    let connect = Arc::new(move |_| {
        let connected = connected.clone();
        Box::pin(async move {
            if refuses {
                return Err("nothing listens".to_owned());
            }
            let (near, far) = tokio::io::duplex(1024);
            connected.send(far).await.unwrap();
            Ok(Box::new(near) as Box<dyn Duplex>)
        }) as BoxFuture<'static, _>
    });
    let pod = Pod {
        name: "a".to_owned(),
        uid: "u".to_owned(),
        connect,
    };
    let (from, to) = tokio::io::split(server);
    let ended = Box::pin(end.clone().cancelled_owned());
    tokio::spawn(async move { run(from, to, pod, ended).await });
    (client, connections, end)
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
        .write_all(&spdy::reset(3, Reset::Internal))
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

#[tokio::test(start_paused = true)]
async fn a_program_that_reads_nothing_holds_up_the_others_for_a_while_only() {
    let (mut client, mut connections, _end) = session(false);
    client.write_all(&opened()).await.unwrap();
    let _stuck = connections.recv().await.unwrap();
    let long = vec![0; 10 * spdy::CHUNK];
    client
        .write_all(&spdy::data(3, &long, false))
        .await
        .unwrap();
    client.write_all(&spdy::ping(9)).await.unwrap();
    client.shutdown().await.unwrap();
    let mut all = Vec::new();
    client.read_to_end(&mut all).await.unwrap();
    let has = |frame: &[u8]| all.windows(frame.len()).any(|part| part == frame);
    assert!(
        has(&spdy::reset(3, Reset::Internal)) && has(&spdy::ping(9)),
        "{all:?}"
    );
}
