use tokio::{
    io::{DuplexStream, duplex},
    task::JoinHandle,
};
use tokio_tungstenite::{WebSocketStream, tungstenite::protocol::Role};

use super::*;

const BRIDGE: Bridge = Bridge {
    protocol: Protocol::V5,
    stdout: true,
    stderr: true,
};

/// A command that lives until it is dropped, and the other end of its standard input.
fn waiting() -> (Execution, DuplexStream) {
    let (stdin, command) = duplex(1024);
    let execution = Execution {
        stdin: Some(Box::new(stdin)),
        stdout: Box::new(tokio::io::empty()),
        stderr: None,
        resize: Box::new(|_, _| {}),
        ended: Box::pin(std::future::pending()),
    };
    (execution, command)
}

async fn client(connection: DuplexStream) -> WebSocketStream<DuplexStream> {
    WebSocketStream::from_raw_socket(connection, Role::Client, None).await
}

/// A session with a command that takes little, both of its ends, and the command's input.
async fn session() -> (JoinHandle<()>, WebSocketStream<DuplexStream>, DuplexStream) {
    let (here, there) = duplex(1 << 20);
    let (execution, command) = waiting();
    let session = tokio::spawn(async move {
        BRIDGE
            .run(upgrade::websocket(there).await, Ok(execution))
            .await;
    });
    (session, client(here).await, command)
}

#[tokio::test(start_paused = true)]
async fn a_client_that_goes_while_its_data_waits_ends_the_command() {
    let (session, mut client, mut command) = session().await;
    // More than the command takes, and more behind it.
    for _ in 0..8 {
        client.send(message(STDIN, &[b'x'; 2048])).await.unwrap();
    }
    command.read_exact(&mut [0; 1]).await.unwrap();
    // The connection is good yet, which the client is told without being asked for anything.
    let heartbeat = client.next().await.unwrap().unwrap();
    assert!(heartbeat.is_pong(), "{heartbeat:?}");
    assert!(!session.is_finished());
    drop(client);
    timeout(HEARTBEAT * 2, session).await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_waits_reaches_a_slow_command() {
    let (session, mut client, mut command) = session().await;
    client.send(message(STDIN, &[b'x'; 2048])).await.unwrap();
    client.send(message(CLOSE, &[STDIN])).await.unwrap();
    sleep(HEARTBEAT * 3).await;
    let mut all = Vec::new();
    command.read_to_end(&mut all).await.unwrap();
    assert_eq!(all, [b'x'; 2048]);
    assert!(!session.is_finished());
    client.close(None).await.unwrap();
    timeout(upgrade::GOODBYE, session).await.unwrap().unwrap();
}
