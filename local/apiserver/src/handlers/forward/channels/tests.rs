//! A client with a WebSocket, and programs on the other ends of pipes.

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream},
    task::JoinHandle,
    time::{Instant, timeout},
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::protocol::{Role, frame::coding::CloseCode},
};

use super::*;
use crate::handlers::forward::{buffer::MAX_WAITING, sample};

type Client = WebSocketStream<DuplexStream>;

async fn session(ports: &'static [u16]) -> (Client, Vec<DuplexStream>, JoinHandle<()>) {
    let (near, far) = tokio::io::duplex(1 << 20);
    let (pod, mut connections) = sample::pod(false);
    let session = tokio::spawn(async move {
        let server = WebSocketStream::from_raw_socket(far, Role::Server, None).await;
        run(server, ports, false, pod, Box::pin(std::future::pending())).await;
    });
    let client = WebSocketStream::from_raw_socket(near, Role::Client, None).await;
    let mut programs = Vec::new();
    for _ in ports {
        programs.push(connections.recv().await.unwrap());
    }
    (client, programs, session)
}

/// The next message that is no ping; none at the end.
async fn next(client: &mut Client) -> Option<Message> {
    loop {
        match client.next().await?.ok()? {
            Message::Ping(_) | Message::Pong(_) => {}
            message => return Some(message),
        }
    }
}

/// Takes the messages that say which ports there are.
async fn begin(client: &mut Client, ports: usize) {
    for _ in 0..2 * ports {
        next(client).await.unwrap();
    }
}

/// Sends a program more than waits for it.
async fn flood(client: &mut Client) -> Result<(), Error> {
    let piece = vec![0; CHUNK];
    for _ in 0..MAX_WAITING + 64 {
        client.send(message(0, &piece, false)).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_client_is_told_when_all_programs_have_closed() {
    let (mut client, mut programs, session) = session(&[80, 81]).await;
    begin(&mut client, 2).await;
    drop(programs.remove(0));
    programs[0].write_all(b"last").await.unwrap();
    let last = next(&mut client).await;
    assert_eq!(last, Some(message(2, b"last", false)));
    drop(programs);
    match next(&mut client).await {
        Some(Message::Close(Some(frame))) => assert_eq!(frame.code, CloseCode::Normal),
        message => panic!("{message:?}"),
    }
    drop(client);
    session.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_client_that_goes_is_noticed_while_a_program_takes_nothing() {
    let (mut client, _programs, session) = session(&[80]).await;
    // What does not find room any more is still on its way when the client goes.
    let _ = timeout(Duration::from_secs(1), flood(&mut client)).await;
    let gone = Instant::now();
    drop(client);
    session.await.unwrap();
    assert!(gone.elapsed() < STALLED, "{:?}", gone.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_program_that_takes_nothing_is_given_up_for_the_others() {
    let (mut client, mut programs, _session) = session(&[80, 81]).await;
    begin(&mut client, 2).await;
    flood(&mut client).await.unwrap();
    client.send(message(2, b"hi", false)).await.unwrap();
    let mut heard = [0; 2];
    programs[1].read_exact(&mut heard).await.unwrap();
    assert_eq!(heard, *b"hi");
    let told = next(&mut client).await.unwrap().into_data();
    assert_eq!(told.first(), Some(&1));
    assert!(told.ends_with(b"for 30 s"), "{told:?}");
}
