//! The test function does what the suites rely on.

use std::{
    net::TcpListener,
    os::unix::fs::MetadataExt as _,
    process::{Child, Command},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use futures::{SinkExt as _, StreamExt as _};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Collected, Full};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::tungstenite::{
    Message, client::IntoClientRequest as _, protocol::frame::coding::CloseCode,
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_fermata-test-function");

/// A test function that runs until this goes.
struct Function {
    process: Child,
    port: u16,
}

impl Function {
    async fn start() -> Self {
        Self::start_with(&[]).await
    }

    async fn start_with(variables: &[(&str, &str)]) -> Self {
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let process = Command::new(PROGRAM)
            .env("HOST", "127.0.0.1")
            .env("PORT", port.to_string())
            .envs(variables.iter().copied())
            .spawn()
            .unwrap();
        let function = Self { process, port };
        timeout(Duration::from_secs(10), async {
            while function.connect().await.is_err() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await
        .expect("the function listens");
        function
    }

    async fn connect(&self) -> std::io::Result<TcpStream> {
        TcpStream::connect(("127.0.0.1", self.port)).await
    }

    async fn get(&self, path: &str) -> (StatusCode, String) {
        self.get_counted(path, None).await
    }

    async fn get_counted(&self, path: &str, number: Option<u64>) -> (StatusCode, String) {
        let stream = TokioIo::new(self.connect().await.unwrap());
        let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        let mut request = Request::get(path)
            .header("host", "function")
            .body(Full::<Bytes>::default())
            .unwrap();
        if let Some(number) = number {
            request.headers_mut().insert("x-count", number.into());
        }
        let response = sender.send_request(request).await.unwrap();
        let (status, body) = whole(response).await;
        let text = String::from_utf8(body.to_bytes().to_vec()).unwrap();
        (status, text)
    }

    fn terminate(&self) {
        let killed = Command::new("kill")
            .arg(self.process.id().to_string())
            .status();
        assert!(killed.unwrap().success());
    }
}

impl Drop for Function {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

async fn whole(response: Response<Incoming>) -> (StatusCode, Collected<Bytes>) {
    let status = response.status();
    (status, response.into_body().collect().await.unwrap())
}

fn milliseconds() -> f64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    now.as_secs_f64() * 1000.0
}

#[tokio::test]
async fn it_knows_since_when_it_listens() {
    let before = milliseconds();
    let function = Function::start().await;
    let (_, since) = function.get("/listening").await;
    let since: f64 = since.parse().unwrap();
    assert!(
        (before..=milliseconds()).contains(&since),
        "{before} {since}"
    );
    let (_, again) = function.get("/listening").await;
    assert_eq!(again.parse::<f64>().unwrap(), since);
}

#[tokio::test]
async fn it_knows_how_much_it_worked_on_at_once() {
    let function = Function::start().await;
    assert_eq!(function.get("/most").await.1, "1");
    tokio::join!(function.get("/sleep/100"), function.get("/sleep/100"));
    assert_eq!(function.get("/most").await.1, "2");
}

#[tokio::test]
async fn it_knows_who_it_is() {
    let function = Function::start().await;
    let (_, whoami) = function.get("/whoami").await;
    let whoami: Value = serde_json::from_str(&whoami).unwrap();
    let this_test = std::fs::metadata("/proc/self").unwrap();
    assert_eq!(whoami["uid"], this_test.uid(), "{whoami}");
    assert_eq!(whoami["gid"], this_test.gid(), "{whoami}");
    assert!(whoami["groups"].is_array(), "{whoami}");
    assert!(whoami["noNewPrivs"].is_boolean(), "{whoami}");
    assert!(whoami["rootWritable"].is_boolean(), "{whoami}");
    assert!(whoami["seccomp"].is_u64(), "{whoami}");
}

#[tokio::test]
async fn it_reads_variables_and_files() {
    let function = Function::start().await;
    let port = function.port.to_string();
    assert_eq!(function.get("/env/PORT").await, (StatusCode::OK, port));
    assert_eq!(
        function.get("/env/NO_SUCH_VARIABLE").await.0,
        StatusCode::NOT_FOUND
    );
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&file, "content").unwrap();
    let path = format!("/file?{}", file.path().display());
    assert_eq!(
        function.get(&path).await,
        (StatusCode::OK, "content".into())
    );
    drop(file);
    assert_eq!(function.get(&path).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn its_web_socket_echoes_and_closes_when_the_function_ends() {
    let mut function = Function::start().await;
    assert_eq!(function.get("/ws").await.0, StatusCode::UPGRADE_REQUIRED);

    let request = format!("ws://127.0.0.1:{}/ws", function.port)
        .into_client_request()
        .unwrap();
    let stream = function.connect().await.unwrap();
    let (mut socket, _) = tokio_tungstenite::client_async(request, stream)
        .await
        .unwrap();
    for message in [
        Message::text("one"),
        Message::binary(Bytes::from_static(b"\0\xff")),
    ] {
        socket.send(message.clone()).await.unwrap();
        assert_eq!(socket.next().await.unwrap().unwrap(), message);
    }

    function.terminate();
    let last = timeout(Duration::from_secs(10), socket.next())
        .await
        .expect("the socket is closed");
    let Some(Ok(Message::Close(Some(frame)))) = last else {
        panic!("not closed in order: {last:?}")
    };
    assert_eq!(frame.code, CloseCode::Away);
    assert!(function.process.wait().unwrap().success());
}

#[tokio::test]
async fn its_grpc_health_is_serving() {
    let function = Function::start().await;
    let stream = TokioIo::new(function.connect().await.unwrap());
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), stream)
            .await
            .unwrap();
    tokio::spawn(connection);
    let request = Request::post(format!(
        "http://127.0.0.1:{}/grpc.health.v1.Health/Check",
        function.port
    ))
    .header("content-type", "application/grpc")
    .header("te", "trailers")
    .body(Full::new(Bytes::from_static(&[0; 5])))
    .unwrap();
    let response = sender.send_request(request).await.unwrap();
    assert_eq!(response.headers()["content-type"], "application/grpc");
    let (status, body) = whole(response).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(body.trailers().unwrap()["grpc-status"], "0");
    assert_eq!(body.to_bytes().as_ref(), [0, 0, 0, 0, 2, 8, 1]);
}

#[test]
fn as_a_probe_it_tells_whether_a_file_exists() {
    let probe = |path| {
        let status = Command::new(PROGRAM).arg("exists").arg(path).status();
        status.unwrap().code()
    };
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().to_owned();
    assert_eq!(probe(path.clone()), Some(0));
    drop(file);
    assert_eq!(probe(path), Some(1));
}

#[tokio::test]
async fn requests_with_a_number_are_noted_in_the_ledger() {
    use tokio::io::{AsyncBufReadExt as _, BufReader};

    let ledger = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = ledger.local_addr().unwrap().to_string();
    let variables = [("LEDGER", &*address), ("K_SERVICE", "f")];
    let function = Function::start_with(&variables).await;
    assert_eq!(function.get("/status/204").await.0, 204);
    assert_eq!(function.get_counted("/status/204", Some(7)).await.0, 204);
    assert_eq!(function.get_counted("/status/204", Some(8)).await.0, 204);
    let (stream, _) = ledger.accept().await.unwrap();
    let mut lines = BufReader::new(stream).lines();
    for noted in ["7 1 f", "8 1 f"] {
        assert_eq!(lines.next_line().await.unwrap().as_deref(), Some(noted));
    }
    // Without a ledger, what has a number is not done.
    drop((ledger, lines));
    let answers = async {
        while function.get_counted("/status/204", Some(9)).await.0 == 204 {
            // What was written just after the end of the other side was taken by the system.
        }
    };
    timeout(Duration::from_secs(10), answers).await.unwrap();
}
