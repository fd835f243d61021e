//! A command's streams on one side, the channels of a WebSocket on the other.

use std::time::Duration;

use bytes::Bytes;
use futures::{Sink, SinkExt as _, Stream, StreamExt as _};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    sync::Mutex,
    time::{sleep, timeout},
};
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::{handlers::upgrade, status::Failure, streaming::Execution};

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const ERROR: u8 = 3;
const RESIZE: u8 = 4;
/// Of version 5: the channel that the next byte names is at its end.
const CLOSE: u8 = 255;

/// How much of a stream goes into one message.
const CHUNK: usize = 32 * 1024;

/// How long what a command has left behind may still write, once it has ended itself.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// How often a client is told that its connection lives while its data waits for the command.
const HEARTBEAT: Duration = Duration::from_secs(2);

/// The versions of the protocol. The fifth can say that standard input is at its end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Protocol {
    V4,
    V5,
}

/// How streams and channels belong together.
pub(super) struct Bridge {
    pub(super) protocol: Protocol,
    pub(super) stdout: bool,
    pub(super) stderr: bool,
}

/// What a terminal's size is told as.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Size {
    width: u16,
    height: u16,
}

// === impl Protocol ===

impl Protocol {
    /// The best first.
    pub(super) const NAMES: [&'static str; 2] = ["v5.channel.k8s.io", "v4.channel.k8s.io"];

    pub(super) fn of(name: &str) -> Self {
        if name == "v5.channel.k8s.io" {
            Self::V5
        } else {
            Self::V4
        }
    }
}

// === impl Bridge ===

impl Bridge {
    /// Carries data both ways until the command has ended or the client has gone, which kills the command.
    /// Why a command could not be started is told as its result: a refusal would make kubectl try SPDY.
    pub(super) async fn run<S>(self, socket: S, execution: Result<Execution, String>)
    where
        S: Stream<Item = Result<Message, Error>> + Sink<Message, Error = Error>,
    {
        let (mut sink, mut source) = socket.split();
        let result = match execution {
            Ok(execution) => self.carry(&mut sink, &mut source, execution).await,
            Err(why) => Some(Failure::internal(why).to_value()),
        };
        let Some(result) = result else { return };
        let result = message(ERROR, result.to_string().as_bytes());
        upgrade::close(&mut sink, &mut source, Some(result)).await;
    }

    /// Gives the result; none if the client has gone.
    async fn carry(
        &self,
        sink: &mut (impl Sink<Message, Error = Error> + Unpin),
        source: &mut (impl Stream<Item = Result<Message, Error>> + Unpin),
        execution: Execution,
    ) -> Option<Value> {
        let sink = Mutex::new(sink);
        let Execution {
            stdin,
            stdout,
            stderr,
            resize,
            mut ended,
        } = execution;
        let output = async {
            tokio::join!(
                pump(self.stdout.then_some(STDOUT), Some(stdout), &sink),
                pump(self.stderr.then_some(STDERR), stderr, &sink),
            )
        };
        let command = async {
            let mut output = std::pin::pin!(output);
            tokio::select! {
                _ = &mut output => ended.await,
                code = &mut ended => {
                    // A process that it started may hold its output for ever.
                    let _ = timeout(LAST_WORDS, output).await;
                    code
                }
            }
        };
        tokio::select! {
            code = command => Some(result(code)),
            () = self.input(source, &sink, stdin, &*resize) => None,
        }
    }

    /// Takes what the client sends; ends when it has gone.
    async fn input(
        &self,
        source: &mut (impl Stream<Item = Result<Message, Error>> + Unpin),
        sink: &Mutex<impl Sink<Message, Error = Error> + Unpin>,
        mut stdin: Option<Box<dyn AsyncWrite + Send + Unpin>>,
        resize: &(dyn Fn(u16, u16) + Send + Sync),
    ) {
        while let Some(Ok(message)) = source.next().await {
            let data = match message {
                Message::Binary(data) => data,
                Message::Close(_) => return,
                _ => continue,
            };
            match (data.first(), data.get(1..).unwrap_or_default()) {
                (Some(&STDIN), data) => {
                    let Some(pipe) = &mut stdin else { continue };
                    let written = async {
                        pipe.write_all(data).await?;
                        pipe.flush().await
                    };
                    tokio::select! {
                        // The command reads no more; that is no reason to end it.
                        written = written => if written.is_err() { stdin = None },
                        () = gone(sink) => return,
                    }
                }
                (Some(&RESIZE), data) => {
                    if let Ok(Size { width, height }) = serde_json::from_slice(data) {
                        resize(width, height);
                    }
                }
                (Some(&CLOSE), &[STDIN]) if self.protocol == Protocol::V5 => stdin = None,
                _ => {}
            }
        }
    }
}

/// Ends when the client takes nothing any more. Its end cannot be read while what it has sent before waits, so that
/// something has to be sent: a pong that nobody asked for, which needs no answer (RFC 6455, section 5.5.3).
async fn gone(sink: &Mutex<impl Sink<Message, Error = Error> + Unpin>) {
    loop {
        sleep(HEARTBEAT).await;
        let heartbeat = Message::Pong(Bytes::new());
        if sink.lock().await.send(heartbeat).await.is_err() {
            return;
        }
    }
}

/// Sends what comes from a stream; what nobody asked for is read and dropped, so that the command goes on.
async fn pump(
    channel: Option<u8>,
    stream: Option<Box<dyn AsyncRead + Send + Unpin>>,
    sink: &Mutex<impl Sink<Message, Error = Error> + Unpin>,
) {
    let Some(mut stream) = stream else { return };
    let mut buffer = vec![0; CHUNK];
    while let Ok(read @ 1..) = stream.read(&mut buffer).await {
        let data = buffer.get(..read).unwrap_or_default();
        if let Some(channel) = channel
            && sink
                .lock()
                .await
                .send(message(channel, data))
                .await
                .is_err()
        {
            return;
        }
    }
}

fn message(channel: u8, data: &[u8]) -> Message {
    let mut bytes = Vec::with_capacity(data.len() + 1);
    bytes.push(channel);
    bytes.extend_from_slice(data);
    Message::Binary(Bytes::from(bytes))
}

/// How the command ended, as a kubelet says it.
fn result(code: i32) -> Value {
    if code == 0 {
        return json!({"metadata": {}, "status": "Success"});
    }
    json!({
        "metadata": {},
        "status": "Failure",
        "reason": "NonZeroExitCode",
        "message": format!("command terminated with non-zero exit code: exit status {code}"),
        "details": {"causes": [{"reason": "ExitCode", "message": code.to_string()}]},
    })
}

#[cfg(test)]
mod tests;
