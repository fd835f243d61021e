//! Calls that are kept in NATS, by several processes of which one has them.

use std::{
    net::{Ipv4Addr, TcpListener},
    process::{Child, Command, Stdio},
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use super::{
    gateway::{Gateway, answer},
    *,
};

#[path = "../nats/server.rs"]
mod server;

use server::Servers;

/// The program as a process of its own.
struct Process {
    child: Child,
    calls: String,
    admin: String,
}

/// Who asks the processes, as the gateway does.
struct Caller {
    client: Client<HttpConnector, Full<Bytes>>,
}

impl Process {
    /// Starts it on ports that are free.
    async fn start(servers: &Servers, gateway: &Gateway, more: &[&str]) -> Self {
        let caller = Caller::new();
        eventually(async || {
            let mut process = Self::begin(servers, gateway, more);
            loop {
                if caller.get(&process.admin, "/livez").await.is_some() {
                    return Ok(process);
                }
                // Somebody else may have taken a port since it was chosen.
                if let Some(ended) = process.child.try_wait().unwrap() {
                    return Err(ended.to_string());
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await
    }

    fn begin(servers: &Servers, gateway: &Gateway, more: &[&str]) -> Self {
        let listeners = [(); 2].map(|()| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
        let [calls, admin] = listeners.map(|listener| listener.local_addr().unwrap().to_string());
        let child = Command::new(env!("CARGO_BIN_EXE_fermata-events"))
            .args([
                format!("--listen={calls}"),
                format!("--admin={admin}"),
                format!("--gateway={}", gateway.authority()),
                format!("--nats-url={}", servers.urls()),
                "--drain-timeout=1s".to_owned(),
            ])
            .args(more)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        Self {
            child,
            calls,
            admin,
        }
    }

    async fn is_ready(&self) -> bool {
        let ready = Caller::new().get(&self.admin, "/readyz").await;
        ready == Some(200)
    }

    async fn until_ready(&self) {
        eventually(async || {
            self.is_ready()
                .await
                .then_some(())
                .ok_or("never ready".into())
        })
        .await;
    }

    fn signal(&self, signal: &str) {
        let sent = Command::new("kill")
            .args([signal, &self.child.id().to_string()])
            .status();
        assert!(sent.unwrap().success());
    }

    fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Caller {
    fn new() -> Self {
        Self {
            client: Client::builder(TokioExecutor::new()).build_http(),
        }
    }

    async fn get(&self, address: &str, path: &str) -> Option<u16> {
        let uri = format!("http://{address}{path}");
        let asked = self.client.get(uri.parse().unwrap());
        let asked = tokio::time::timeout(Duration::from_secs(5), asked).await;
        Some(asked.ok()?.ok()?.status().as_u16())
    }

    /// The status for a call that is to be kept, if there is one.
    async fn keep(&self, process: &Process, body: &str) -> Option<u16> {
        let request = Request::builder()
            .method("POST")
            .uri(format!("http://{}/functions/shop/orders/", process.calls))
            .header("x-fermata-entrance", "public")
            .header("x-fermata-function-uid", "uid-of-orders")
            .header("x-fermata-delivery", at_once(1_000).to_string())
            .body(Full::new(Bytes::copy_from_slice(body.as_bytes())));
        let asked = self.client.request(request.unwrap());
        let asked = tokio::time::timeout(Duration::from_secs(30), asked).await;
        Some(asked.ok()?.ok()?.status().as_u16())
    }
}

/// Bodies that the function has answered to.
fn heard(gateway: &Gateway) -> std::collections::BTreeSet<String> {
    let asked = gateway.asked().into_iter();
    asked
        .map(|asked| String::from_utf8_lossy(&asked.body).into_owned())
        .collect()
}

async fn until_heard(gateway: &Gateway, kept: &[String]) {
    eventually(async || {
        let heard = heard(gateway);
        let missing = kept.iter().filter(|body| !heard.contains(*body)).count();
        (missing == 0)
            .then_some(())
            .ok_or(format!("{missing} of {} are missing", kept.len()))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_are_kept_and_made_and_told_as_with_a_file() {
    let servers = Servers::start(1, "");
    let gateway = Gateway::answering(|_| answer(201, "order 7")).await;
    let url = servers.urls().parse().unwrap();
    let kept = Kept::with(&gateway, None, |options| options.nats.url = vec![url]).await;
    let accepted = eventually(async || {
        let asked = kept.ask(kept.call("orders", &json!({})), "7").await;
        (asked.status == 202)
            .then(|| asked.json()["id"].as_str().unwrap().to_owned())
            .ok_or(format!("{asked:?}"))
    });
    let id = accepted.await;
    let state = kept.over(&id).await;
    assert_eq!(state["state"], "Succeeded", "{state}");
    let result = kept.request("GET", &format!("/invocations/{id}/result"));
    assert_eq!(kept.ask(result, "").await.body, "order 7");
    kept.end().await;

    // What was released is there at once, with what became of the calls.
    let url = servers.urls().parse().unwrap();
    let kept = Kept::with(&gateway, None, |options| options.nats.url = vec![url]).await;
    let path = format!("/invocations/{id}/result");
    eventually(async || {
        let told = kept.ask(kept.request("GET", &path), "").await;
        (told.status == 201)
            .then_some(())
            .ok_or(format!("{told:?}"))
    })
    .await;
    kept.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_process_with_the_calls_is_killed_another_one_makes_them_all() {
    let servers = Servers::start(1, "");
    let gateway = Gateway::answering(|_| answer(200, "")).await;
    let more = ["--nats-takeover=3s"];
    let mut first = Process::start(&servers, &gateway, &more).await;
    first.until_ready().await;
    let second = Process::start(&servers, &gateway, &more).await;
    let caller = Caller::new();
    assert_eq!(caller.keep(&second, "refused").await, Some(503));
    assert!(!second.is_ready().await);

    let mut kept = Vec::new();
    for number in 0..200 {
        let body = format!("order {number}");
        if caller.keep(&first, &body).await == Some(202) {
            kept.push(body);
        }
        if number == 150 {
            first.kill();
        }
    }
    assert!(kept.len() >= 100, "{}", kept.len());
    second.until_ready().await;
    let body = "after".to_owned();
    assert_eq!(caller.keep(&second, &body).await, Some(202));
    kept.push(body);
    until_heard(&gateway, &kept).await;
    assert!(!heard(&gateway).contains("refused"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_slept_while_another_one_took_its_calls_ends_and_has_written_nothing() {
    let servers = Servers::start(1, "");
    let silent = Gateway::start(|_| Box::pin(std::future::pending())).await;
    let gateway = Gateway::answering(|_| answer(200, "")).await;
    let more = ["--nats-takeover=2s"];
    let mut first = Process::start(&servers, &silent, &more).await;
    first.until_ready().await;
    let caller = Caller::new();
    let mut kept = Vec::new();
    for number in 0..20 {
        let body = format!("order {number}");
        assert_eq!(caller.keep(&first, &body).await, Some(202));
        kept.push(body);
    }
    first.signal("-STOP");
    let second = Process::start(&servers, &gateway, &more).await;
    second.until_ready().await;
    // It is asked as soon as it is awake.
    let asking = {
        let body = "late".to_owned();
        let request = Request::builder()
            .method("POST")
            .uri(format!("http://{}/functions/shop/orders/", first.calls))
            .header("x-fermata-entrance", "public")
            .header("x-fermata-function-uid", "uid-of-orders")
            .header("x-fermata-delivery", "{}")
            .body(Full::new(Bytes::from(body)));
        tokio::spawn(Caller::new().client.request(request.unwrap()))
    };
    first.signal("-CONT");
    let ended = eventually(async || {
        let ended = first.child.try_wait().unwrap();
        ended.ok_or_else(|| "it does not end".to_owned())
    });
    assert!(!ended.await.success());
    let told = asking.await.unwrap().map(|told| told.status().as_u16());
    assert_ne!(told.ok(), Some(202));
    until_heard(&gateway, &kept).await;
    assert!(!heard(&gateway).contains("late"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_loses_a_server_loses_no_call() {
    let mut servers = Servers::start(3, "");
    let gateway = Gateway::answering(|_| answer(200, "")).await;
    let process = Process::start(&servers, &gateway, &["--nats-replicas=3"]).await;
    process.until_ready().await;
    let stop = AtomicBool::new(false);
    let (number, kept) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let caller = Caller::new();
    let asking = async || {
        while !stop.load(Ordering::Relaxed) {
            let body = format!("order {}", number.fetch_add(1, Ordering::Relaxed));
            if caller.keep(&process, &body).await == Some(202) {
                kept.lock().unwrap().push(body);
            }
        }
    };
    let killing = async {
        for which in 0..3 {
            let before = kept.lock().unwrap().len();
            let more = async || {
                let kept = kept.lock().unwrap().len();
                (kept > before + 50)
                    .then_some(())
                    .ok_or(format!("{kept} are kept"))
            };
            eventually(more).await;
            tokio::task::block_in_place(|| servers.kill(which));
            let before = kept.lock().unwrap().len();
            let more = async || {
                let kept = kept.lock().unwrap().len();
                (kept > before + 50)
                    .then_some(())
                    .ok_or(format!("{kept} are kept"))
            };
            eventually(more).await;
            tokio::task::block_in_place(|| servers.restart(which));
            in_sync(&servers).await;
        }
        stop.store(true, Ordering::Relaxed);
    };
    tokio::join!(asking(), asking(), asking(), asking(), killing);
    let kept = kept.into_inner().unwrap();
    until_heard(&gateway, &kept).await;
}

/// Waits until all servers of the stream have all of it.
async fn in_sync(servers: &Servers) {
    eventually(async || {
        let client = async_nats::connect(servers.urls().split(',').collect::<Vec<_>>()).await;
        let client = client.map_err(|error| error.to_string())?;
        let context = async_nats::jetstream::new(client);
        let stream = context.get_stream("fermata-events").await;
        let stream = stream.map_err(|error| error.to_string())?;
        let cluster = stream.cached_info().cluster.clone();
        let cluster = cluster.ok_or("there is no cluster")?;
        let behind = cluster
            .replicas
            .iter()
            .filter(|peer| !peer.current || peer.offline)
            .count();
        (behind == 0 && cluster.leader.is_some() && cluster.replicas.len() == 2)
            .then_some(())
            .ok_or(format!("{cluster:?}"))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_not_let_in_is_told_how_and_secrets_stay_in_their_files() {
    // What the documentation says that it needs, and no more.
    let servers = Servers::start(1, &format!("authorization {{ users: [{} ] }}", permitted()));
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let (right, wrong) = (file("right", "s3cret\n"), file("wrong", "other\n"));
    let run = |more: &[&str]| {
        Command::new(env!("CARGO_BIN_EXE_fermata-events"))
            .args(["--listen=127.0.0.1:0", "--admin=off"])
            .arg(format!("--nats-url={}", servers.urls()))
            .args(more)
            .output()
            .unwrap()
    };
    for (more, said) in [
        (vec![], "--nats-credentials"),
        (
            vec!["--nats-user=fermata", "--nats-password-file", &wrong],
            "let nobody in",
        ),
        (
            vec!["--nats-user=fermata", "--nats-password-file=/nowhere"],
            "/nowhere, which --nats-password-file names",
        ),
        (
            vec!["--nats-url=nats://a:s3cret@127.0.0.1"],
            "leave the user out",
        ),
        (vec!["--nats-user=fermata"], "--nats-password-file"),
        (vec!["--nats-stream=a.b"], "the name of a stream is"),
        (vec!["--nats-replicas=2"], "1, 3 or 5"),
    ] {
        let ended = tokio::task::block_in_place(|| run(&more));
        let error = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert!(!ended.status.success(), "{more:?}");
        assert!(error.contains(said), "{more:?}: {error}");
        assert!(!error.contains("s3cret"), "{error}");
    }
    let gateway = Gateway::answering(|_| answer(200, "")).await;
    let more = ["--nats-user=fermata", "--nats-password-file", &right];
    let process = Process::start(&servers, &gateway, &more).await;
    process.until_ready().await;
    let body = "order 7".to_owned();
    assert_eq!(Caller::new().keep(&process, &body).await, Some(202));
    until_heard(&gateway, &[body]).await;
    process.signal("-TERM");
    let again = Process::start(&servers, &gateway, &more).await;
    again.until_ready().await;
}

/// A user with the permissions that docs/asynchronous.md names.
fn permitted() -> String {
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/asynchronous.md");
    let text = std::fs::read_to_string(file).unwrap();
    let (_, text) = text.split_once("publish:").unwrap();
    let (publish, text) = text.split_once("subscribe:").unwrap();
    let subscribe = text.lines().next().unwrap();
    let list = |subjects: &str| {
        let subjects = subjects
            .split(',')
            .map(|subject| format!("{:?}", subject.trim()));
        subjects.collect::<Vec<_>>().join(", ")
    };
    let (publish, subscribe) = (list(publish), list(subscribe));
    format!(
        "{{ user: fermata, password: s3cret, permissions: {{ publish: [{publish}], subscribe: [{subscribe}] }} }}"
    )
}
