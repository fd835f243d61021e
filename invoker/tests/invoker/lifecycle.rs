//! From start to end: ports, settings, protocols and signals.

use std::{net::TcpListener, time::Duration};

use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use rustix::process::Signal;

use crate::function::Setup;

const SLOW: &str = "
import time
def handle(request):
    print('begun')
    time.sleep(0.5)
    return 'finished'
";

#[tokio::test]
async fn the_port_opens_when_the_handler_is_loaded_and_not_before() {
    // Setup::start asks the port all the while; a call that got through too early would fail.
    let source = "import time\ntime.sleep(0.5)\ndef handle(r): return 'hi'";
    let function = Setup::new("python").file("main.py", source).start();
    assert_eq!(function.get("/").await.text(), "hi");
}

#[tokio::test]
async fn on_sigterm_running_calls_are_finished_and_new_ones_refused() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut function = Setup::new("python").file("main.py", SLOW).start();
        let running = async { function.get("/").await.text().to_owned() };
        let stopping = async {
            function.logged("begun").await;
            function.signal(signal);
            crate::function::eventually("closed", || {
                std::net::TcpStream::connect(function.address).is_err()
            })
            .await;
        };
        let (text, ()) = tokio::join!(running, stopping);
        assert_eq!(text, "finished");
        assert_eq!(function.ended().await.code(), Some(0));
    }
}

#[tokio::test]
async fn a_sigterm_to_the_worker_too_changes_nothing() {
    // The embedded cluster signals the whole process group.
    let mut function = Setup::new("python").file("main.py", SLOW).start();
    let running = async { function.get("/").await.text().to_owned() };
    let stopping = async {
        function.logged("begun").await;
        for pid in function.children() {
            let pid = rustix::process::Pid::from_raw(pid).unwrap();
            rustix::process::kill_process(pid, Signal::TERM).unwrap();
        }
        function.signal(Signal::TERM);
    };
    let (text, ()) = tokio::join!(running, stopping);
    assert_eq!(text, "finished");
    assert_eq!(function.ended().await.code(), Some(0));
}

#[tokio::test]
async fn a_command_is_finished_on_sigterm() {
    let mut function = Setup::new("command")
        .handler("sh -c 'echo begun >&2; sleep 0.5; echo finished'")
        .start();
    let running = async { function.get("/").await.text().to_owned() };
    let stopping = async {
        function.logged("begun").await;
        function.signal(Signal::TERM);
    };
    let (text, ()) = tokio::join!(running, stopping);
    assert_eq!(text, "finished\n");
    assert_eq!(function.ended().await.code(), Some(0));
}

#[tokio::test]
async fn http_2_without_tls_is_understood() {
    let source = "def handle(r): return r.headers['host'] + r.path";
    let function = Setup::new("python").file("main.py", source).start();
    let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new())
        .http2_only(true)
        .build_http();
    let request = http::Request::get(function.url("/x"))
        .body(Full::default())
        .unwrap();
    let response = client.request(request).await.expect("a response");
    assert_eq!(response.version(), http::Version::HTTP_2);
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, format!("{}/x", function.address));
}

#[tokio::test]
async fn requests_that_are_no_http_are_refused_and_stop_nobody() {
    let function = Setup::new("python")
        .file("main.py", "def handle(r): return 'hi'")
        .start();
    for bytes in [
        &b"nonsense\r\n\r\n"[..],
        b"GET / HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n",
        b"GET / HTTP/1.1\r\ncontent-length: -1\r\n\r\n",
    ] {
        let stream = function.raw(bytes);
        stream
            .set_read_timeout(Some(Duration::from_secs(2)))
            .unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let text = crate::function::rest(stream);
        assert!(
            !text.contains("200 OK") || bytes.starts_with(b"GET / HTTP/1.1\r\nhost"),
            "{text}"
        );
    }
    // One that says nothing at all.
    let silent = function.raw(b"GET /");
    assert_eq!(function.get("/").await.text(), "hi");
    drop(silent);
}

#[tokio::test]
async fn a_client_that_asks_first_is_not_made_to_send_a_body_that_is_refused() {
    for setup in [
        Setup::new("python").file("main.py", "def handle(r): return 'hi'"),
        Setup::new("command").handler("cat"),
    ] {
        let function = setup.variable("FERMATA_MAX_BODY", "10").start();
        let stream = function.raw(
            b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 11\r\nexpect: 100-continue\r\n\r\n",
        );
        let text = tokio::task::spawn_blocking(move || crate::function::rest(stream)).await;
        let text = text.unwrap();
        assert!(text.starts_with("HTTP/1.1 413"), "{text}");
    }
}

#[test]
fn a_port_in_use_or_a_bad_setting_is_told_at_once() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let (status, text) = Setup::new("command")
        .handler("cat")
        .variable("PORT", &port)
        .fail();
    assert_eq!(status.code(), Some(1));
    assert!(text.contains(&port) && text.contains("in use"), "{text}");
    let (status, text) = Setup::new("command")
        .handler("cat")
        .variable("PORT", "http")
        .fail();
    assert_eq!(status.code(), Some(1));
    assert!(text.contains("PORT is \"http\""), "{text}");
    let (status, text) = Setup::new("cobol").fail();
    assert_eq!(status.code(), Some(2));
    assert!(text.contains("cobol"), "{text}");
}

#[test]
fn the_shipped_runtimes_are_manifests_of_the_api() {
    for (name, manifest) in fermata_invoker::RUNTIMES {
        let runtime: serde_json::Value = serde_saphyr::from_str(manifest).expect(name);
        assert_eq!(runtime["kind"], "Runtime");
        assert_eq!(runtime["metadata"]["name"], *name);
        assert_eq!(runtime["spec"]["command"][0], "fermata-invoker");
        let build = &runtime["spec"]["build"];
        if build["inputs"].is_null() && !build.is_null() {
            // All of its functions are programs that a build has made.
            assert_eq!(runtime["spec"]["command"][1], "exec");
        } else {
            assert_eq!(runtime["spec"]["command"][1], *name);
        }
        if !build.is_null() {
            let command = serde_json::json!(["fermata-invoker", "build", name]);
            assert_eq!(build["command"], command);
        }
    }
}
