//! Rows in a stream of a real server.

use std::collections::BTreeSet;

use tokio_util::sync::CancellationToken;

use super::{
    super::{
        backend::{Backend, Change, Rows},
        nats::Settings,
    },
    conformance::{self, Place, conformance},
    *,
};

#[path = "../../../tests/nats/server.rs"]
mod server;

use server::Servers;

/// A server with a stream.
struct Stream {
    servers: Servers,
}

impl Stream {
    fn new() -> Self {
        Self {
            servers: Servers::start(1, ""),
        }
    }

    fn settings(&self) -> Settings {
        Settings::for_tests(&self.servers.urls())
    }
}

impl Place for Stream {
    async fn open(&self) -> Arc<dyn Backend> {
        let opened = Nats::open(&self.settings(), &CancellationToken::new()).await;
        opened.unwrap().unwrap()
    }
}

conformance!(Stream::new());

/// The rows of a call.
fn rows(id: Id, body: &[u8]) -> Vec<Change> {
    let known = serde_json::to_vec(&invocation("shop/orders", "body")).unwrap();
    vec![
        change(Rows::Invocations, id, Some(known)),
        change(Rows::Calls, id, Some(body.to_vec())),
    ]
}

async fn write(nats: &Arc<Nats>, writes: Vec<Vec<Change>>) -> Vec<Result<(), StoreError>> {
    let nats = nats.clone();
    let written = tokio::task::spawn_blocking(move || nats.write(&writes));
    written.await.unwrap()
}

async fn read(nats: &Arc<Nats>, id: Id) -> Option<Vec<u8>> {
    let nats = nats.clone();
    let read = tokio::task::spawn_blocking(move || nats.get(Rows::Calls, id).unwrap());
    read.await.unwrap()
}

async fn open(settings: &Settings) -> Arc<Nats> {
    let opened = Nats::open(settings, &CancellationToken::new()).await;
    opened.unwrap().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_lost_the_store_writes_nothing_more() {
    let stream = Stream::new();
    let mut silent = stream.settings();
    silent.renew = Duration::from_secs(3600);
    let first = open(&silent).await;
    let kept = new_id();
    write(&first, vec![rows(kept, b"kept")])
        .await
        .remove(0)
        .unwrap();
    let second = open(&stream.settings()).await;
    assert!(!first.lost().is_cancelled());
    let late: Vec<Id> = (0..20).map(|_| new_id()).collect();
    let writes = late.iter().map(|id| rows(*id, b"late")).collect();
    for written in write(&first, writes).await {
        assert!(matches!(written, Err(StoreError::Taken)), "{written:?}");
    }
    assert!(first.lost().is_cancelled());
    // Nor several together.
    let together = late.iter().flat_map(|id| rows(*id, b"late")).collect();
    let written = write(&first, vec![together]).await.remove(0);
    assert!(matches!(written, Err(StoreError::Taken)), "{written:?}");
    let after = new_id();
    write(&second, vec![rows(after, b"after")])
        .await
        .remove(0)
        .unwrap();
    drop((first, second));

    let third = open(&stream.settings()).await;
    let found = third.invocations().unwrap();
    let found: Vec<Id> = found.into_iter().map(|(id, _)| id).collect();
    assert_eq!(found, [kept, after]);
    assert_eq!(read(&third, kept).await.unwrap(), b"kept");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_was_released_is_taken_at_once() {
    let stream = Stream::new();
    let mut patient = stream.settings();
    patient.silence = Duration::from_secs(3600);
    let first = open(&patient).await;
    first.release().await;
    let opened = tokio::time::timeout(Duration::from_secs(120), open(&patient)).await;
    opened.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_stands_by_can_be_stopped() {
    let stream = Stream::new();
    let _first = open(&stream.settings()).await;
    let mut patient = stream.settings();
    patient.silence = Duration::from_secs(3600);
    let stop = CancellationToken::new();
    let (settings, token) = (patient.clone(), stop.clone());
    let standing = tokio::spawn(async move { Nats::open(&settings, &token).await });
    stop.cancel();
    assert!(standing.await.unwrap().unwrap().is_none());
}

/// What was acknowledged is there, and what was refused may be.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_loses_nothing_that_it_has_acknowledged() {
    let mut stream = Stream::new();
    let mut patient = stream.settings();
    // Nobody else wants it.
    patient.silence = Duration::from_secs(3600);
    let nats = open(&patient).await;
    let stop = CancellationToken::new();
    let (writer, stopped) = (nats.clone(), stop.clone());
    let writing = tokio::spawn(async move {
        let (mut kept, mut asked) = (Vec::new(), Vec::new());
        while !stopped.is_cancelled() {
            let ids: Vec<Id> = (0..12).map(|_| new_id()).collect();
            asked.push(ids[8..].to_vec());
            let mut writes: Vec<Vec<Change>> = ids[..8]
                .iter()
                .map(|id| rows(*id, id.to_string().as_bytes()))
                .collect();
            // Some belong together.
            let together = ids[8..].iter();
            writes.push(
                together
                    .flat_map(|id| rows(*id, id.to_string().as_bytes()))
                    .collect(),
            );
            let written = write(&writer, writes).await;
            for (at, written) in written.into_iter().enumerate() {
                match (at, written) {
                    (8, Ok(())) => kept.extend_from_slice(&ids[8..]),
                    (at, Ok(())) => kept.push(ids[at]),
                    (_, Err(StoreError::Taken)) => panic!("nobody has taken it"),
                    (_, Err(_)) => tokio::time::sleep(Duration::from_millis(10)).await,
                }
            }
        }
        (kept, asked)
    });
    for _ in 0..4 {
        tokio::time::sleep(Duration::from_millis(700)).await;
        stream.servers.kill(0);
        tokio::time::sleep(Duration::from_millis(300)).await;
        stream.servers.restart(0);
        // It goes on.
        until("something is written again", async || {
            let written = write(&nats, vec![rows(new_id(), b"again")]).await;
            written.iter().all(Result::is_ok)
        })
        .await;
    }
    stop.cancel();
    let (kept, asked) = writing.await.unwrap();
    assert!(kept.len() > 20, "{}", kept.len());
    nats.release().await;
    drop(nats);
    let nats = open(&patient).await;
    let found = nats.invocations().unwrap();
    let found: BTreeSet<Id> = found.into_iter().map(|(id, _)| id).collect();
    for id in &kept {
        assert!(found.contains(id), "{id} is lost");
        assert_eq!(read(&nats, *id).await.unwrap(), id.to_string().as_bytes());
    }
    // All of those that belong together are there, or none.
    for together in asked {
        let there = together.iter().filter(|id| found.contains(id)).count();
        assert!(there == 0 || there == together.len(), "{there}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_gone_leaves_nothing_in_the_stream_but_what_goes_by_itself() {
    let stream = Stream::new();
    let nats = open(&stream.settings()).await;
    let ids: Vec<Id> = (0..20).map(|_| new_id()).collect();
    let all = [Rows::Invocations, Rows::Calls, Rows::Answers];
    for id in &ids {
        let large = vec![b'x'; 2_000_000];
        for body in [&b"small"[..], &large, b"small"] {
            let written = write(&nats, vec![rows(*id, body)]).await.remove(0);
            written.unwrap();
        }
        let known = vec![rows(*id, b"").remove(0)];
        write(&nats, vec![known]).await.remove(0).unwrap();
        let gone = all.map(|table| change(table, *id, None)).to_vec();
        write(&nats, vec![gone]).await.remove(0).unwrap();
    }
    let client = async_nats::connect(stream.servers.urls()).await.unwrap();
    let context = async_nats::jetstream::new(client);
    let found = context.get_stream("fermata-events").await.unwrap();
    until("the rest is removed", async || {
        let info = found.get_info().await.unwrap();
        // One says who has the store.
        info.state.messages <= 1 + ids.len() as u64 && info.state.bytes < 100_000
    })
    .await;
    drop(nats);
    assert_eq!(open(&stream.settings()).await.invocations().unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_without_room_refuses_what_is_new_and_says_so() {
    let stream = Stream::new();
    drop(open(&stream.settings()).await);
    let client = async_nats::connect(stream.servers.urls()).await.unwrap();
    let context = async_nats::jetstream::new(client);
    let found = context.get_stream("fermata-events").await.unwrap();
    let mut config = found.cached_info().config.clone();
    config.max_bytes = 1_000_000;
    context.update_stream(config).await.unwrap();

    let nats = open(&stream.settings()).await;
    let mut kept = Vec::new();
    let refused = loop {
        let id = new_id();
        match write(&nats, vec![rows(id, &[b'x'; 50_000])])
            .await
            .remove(0)
        {
            Ok(()) => kept.push(id),
            Err(error) => break error,
        }
        assert!(kept.len() < 30);
    };
    assert!(matches!(refused, StoreError::Full(_)), "{refused:?}");
    until("it is known", async || nats.is_short()).await;
    // What is smaller than what it takes the place of fits, also behind something that does not.
    let over = vec![
        change(Rows::Calls, kept[0], None),
        rows(kept[0], b"").remove(0),
    ];
    let written = write(&nats, vec![rows(new_id(), &[b'x'; 50_000]), over]).await;
    assert!(
        matches!(&written[0], Err(StoreError::Full(_))),
        "{written:?}"
    );
    assert!(written[1].is_ok(), "{written:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_otherwise_is_refused_and_left_as_it_is() {
    let stream = Stream::new();
    let client = async_nats::connect(stream.servers.urls()).await.unwrap();
    let context = async_nats::jetstream::new(client);
    let other = async_nats::jetstream::stream::Config {
        name: "fermata-events".into(),
        subjects: vec!["fermata-events.>".into()],
        ..Default::default()
    };
    let made = context.create_stream(other.clone()).await.unwrap();
    let opened = Nats::open(&stream.settings(), &CancellationToken::new()).await;
    let error = opened.unwrap_err().to_string();
    assert!(error.contains("fermata-events is there with"), "{error}");
    let found = made.get_info().await.unwrap();
    assert_eq!(found.config.discard, other.discard);
    assert_eq!(found.state.last_sequence, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_takes_small_messages_only_is_refused() {
    let servers = Servers::start(1, "max_payload: 64KB");
    let settings = Settings::for_tests(&servers.urls());
    let opened = Nats::open(&settings, &CancellationToken::new()).await;
    let error = opened.unwrap_err().to_string();
    assert!(error.contains("max_payload"), "{error}");
}
