//! What goes both ways: commands in a pod, its ports, and what it prints.

use std::{io::Write as _, process::Stdio, time::Duration};

use fermata_tests::eventually;
use serde_json::json;

use crate::{Kubectl, space};

/// A program that ends with the test.
struct Killed(std::process::Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The pod of a function with this code, which is ready.
async fn pod(k: &Kubectl, name: &str, code: &str) -> String {
    let source = json!({"runtime": "python", "files": {"main.py": code}});
    let spec = json!({"source": source, "scale": {"min": 1}});
    k.0.function(name, spec).await;
    k.0.ready(name).await;
    k.ok(&["get", "pods", "-o", "jsonpath={.items[0].metadata.name}"])
}

#[tokio::test]
async fn commands_run_in_a_functions_pod() {
    let k = space().await;
    let code = "def handle(request):\n    return 'ok'\n";
    let pod = pod(&k, "inside", code).await;
    let exec = |options: &[&str], command: &[&str], input: &str| {
        let mut child = k
            .command(&["exec", &pod])
            .args(options)
            .arg("--")
            .args(command)
            // The default of kubectl 1.31 and newer.
            .env("KUBECTL_REMOTE_COMMAND_WEBSOCKETS", "true")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(input.as_bytes())
            .unwrap();
        let output = child.wait_with_output().unwrap();
        (
            output.status.code(),
            String::from_utf8(output.stdout).unwrap(),
            String::from_utf8(output.stderr).unwrap(),
        )
    };
    let script = "echo $FERMATA_FUNCTION; echo wrong >&2; exit 7";
    let (code, out, err) = exec(&[], &["sh", "-c", script], "");
    assert_eq!((code, out.as_str()), (Some(7), "inside\n"), "{err}");
    assert!(
        err.contains("wrong") && err.contains("exit code 7"),
        "{err}"
    );
    // Standard input comes to its end, or the loop would go on.
    let script = "while read line; do echo \"<$line>\"; done";
    let (code, out, err) = exec(&["-i"], &["sh", "-c", script], "one\ntwo\n");
    assert_eq!((code, out.as_str()), (Some(0), "<one>\n<two>\n"), "{err}");
    let (code, _, err) = exec(&[], &["no-such-program"], "");
    assert!(code != Some(0) && err.contains("no-such-program"), "{err}");
    let (code, _, err) = exec(&["-c", "other"], &["sh"], "");
    assert!(code != Some(0) && err.contains("container"), "{err}");
    k.0.call("inside", "").await.ok();
}

/// What a forwarded port answers to a request.
async fn get(port: &str) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let answer = async {
        let mut stream = tokio::net::TcpStream::connect(format!("127.0.0.1:{port}")).await?;
        let request = b"GET / HTTP/1.1\r\nHost: pod\r\nConnection: close\r\n\r\n";
        stream.write_all(request).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.map(|_| answer)
    };
    match tokio::time::timeout(Duration::from_secs(20), answer).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => error.to_string(),
        Err(_) => "no answer".to_owned(),
    }
}

#[tokio::test]
async fn ports_of_a_functions_pod_are_forwarded() {
    let k = space().await;
    let code = "def handle(request):\n    return 'x' * 200000 + 'forwarded'\n";
    let pod = pod(&k, "inside", code).await;
    let forward = |target: &str, port: &str, websockets: &str| {
        let (out, err) = (
            tempfile::NamedTempFile::new().unwrap(),
            tempfile::NamedTempFile::new().unwrap(),
        );
        let child = k
            .command(&["port-forward", target, port])
            // "true" is the default of kubectl 1.31 and newer.
            .env("KUBECTL_PORT_FORWARD_WEBSOCKETS", websockets)
            .stdout(out.reopen().unwrap())
            .stderr(err.reopen().unwrap())
            .spawn()
            .unwrap();
        (Killed(child), out, err)
    };
    let local = async |out: &tempfile::NamedTempFile, err: &tempfile::NamedTempFile| {
        eventually("kubectl forwards", async || {
            let printed = std::fs::read_to_string(out.path()).unwrap();
            let port = printed
                .lines()
                .find_map(|line| line.strip_prefix("Forwarding from 127.0.0.1:"))
                .and_then(|rest| rest.split(' ').next());
            let why = || std::fs::read_to_string(err.path()).unwrap();
            port.map(ToOwned::to_owned).ok_or_else(why)
        })
        .await
    };
    for (target, websockets) in [
        (format!("pod/{pod}"), "true"),
        (format!("pod/{pod}"), "false"),
        ("deployment/inside-00001".to_owned(), "true"),
    ] {
        let (_child, out, err) = forward(&target, ":8080", websockets);
        let port = local(&out, &err).await;
        let all = futures::future::join_all((0..8).map(|_| get(&port))).await;
        for answer in all {
            assert!(
                answer.starts_with("HTTP/1.1 200") && answer.contains("forwarded"),
                "{target} {websockets}: {answer:.200} {}",
                std::fs::read_to_string(err.path()).unwrap()
            );
        }
    }
    let (_child, out, err) = forward(&format!("pod/{pod}"), ":9", "true");
    let port = local(&out, &err).await;
    get(&port).await;
    eventually("kubectl says why", async || {
        let said = std::fs::read_to_string(err.path()).unwrap();
        if said.contains("error forwarding port 9") {
            Ok(())
        } else {
            Err(said)
        }
    })
    .await;
}

#[tokio::test]
async fn who_attaches_hears_a_function() {
    let k = space().await;
    let code = "def handle(request):\n    print('called with', request.text(), flush=True)\n    return 'ok'\n";
    let pod = pod(&k, "talks", code).await;
    let out = tempfile::NamedTempFile::new().unwrap();
    let child = k
        .command(&["attach", &pod])
        .env("KUBECTL_REMOTE_COMMAND_WEBSOCKETS", "true")
        .stdout(out.reopen().unwrap())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let _child = Killed(child);
    // When it listens is not told.
    eventually("kubectl hears it", async || {
        k.0.call("talks", "again").await.ok();
        let heard = std::fs::read_to_string(out.path()).unwrap();
        if heard.contains("called with again") {
            Ok(())
        } else {
            Err(heard)
        }
    })
    .await;
}
