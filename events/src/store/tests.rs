use std::path::PathBuf;

use bytes::Bytes;
use fermata_crds::Delivery;
use tempfile::TempDir;

use super::*;
use crate::invocation::{AnswerHead, CallHead, Entrance, Fields, Heard, Place, later};

mod batches;
mod changes;
mod disk;
mod keys;
mod lines;
mod model;
mod room;

const BOUNDS: Bounds = Bounds {
    bytes: 4000,
    calls: 20,
    records: 10,
};

fn invocation(function: &str, body: &str) -> Invocation {
    let (namespace, function) = function.split_once('/').unwrap();
    let function = Key::new(namespace, function);
    let came = (Entrance::Public, Timestamp::now());
    Invocation {
        bytes: body.len() as u64,
        ..Invocation::new(&function, "u-1", came, Delivery::default())
    }
}

/// A message that stands in a line.
fn in_line(line: &str) -> Heard {
    Heard {
        topic: "orders".into(),
        trigger: "orders".into(),
        output: None,
        hops: 0,
        place: Some(Place {
            line: line.into(),
            number: 0,
        }),
        batch: None,
    }
}

fn call(body: &str) -> Call {
    Call {
        head: CallHead {
            method: "POST".into(),
            target: "/x?y=1".into(),
            headers: Fields::default(),
        },
        body: Bytes::copy_from_slice(body.as_bytes()),
    }
}

fn answer(body: &str) -> Answer {
    Answer {
        head: AnswerHead {
            status: 200,
            headers: Fields::default(),
            cut: false,
        },
        body: Bytes::copy_from_slice(body.as_bytes()),
    }
}

fn new_id() -> Id {
    Id::new(Timestamp::now()).unwrap()
}

fn memory() -> Store {
    Store::open(None, BOUNDS, Arc::new(Nobody)).unwrap().0
}

async fn accepted(store: &Store, function: &str, body: &str) -> Id {
    let id = new_id();
    let kept = store
        .accept(id, invocation(function, body), call(body))
        .await;
    assert_eq!(kept.unwrap(), id);
    id
}

fn orders() -> Key {
    Key::new("shop", "orders")
}

fn taken(store: &Store, function: &Key) -> Id {
    match store.next(function) {
        Next::Take(id, _) => id,
        other => panic!("nothing to take: {other:?}"),
    }
}

async fn finished(store: &Store, id: Id, state: State) {
    let mut invocation = store.load(id).await.unwrap().unwrap().invocation;
    invocation.finish(state, Timestamp::now());
    store
        .settle(id, &invocation, Some(answer("done")))
        .await
        .unwrap();
}

/// Nobody hears what becomes of calls.
#[derive(Debug)]
struct Nobody;

impl Observer for Nobody {
    fn settled(&self, _: &Invocation) {}
}

/// Waits until the condition holds.
async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(60), waiting).await;
    waited.unwrap_or_else(|_| panic!("never: {what}"));
}

/// Opens a file again whose last owner may just be letting go of it.
async fn opened(path: &Path) -> Store {
    let mut store = None;
    until("nobody else has the file open", async || {
        store = match Store::open(Some(path), BOUNDS, Arc::new(Nobody)) {
            Ok((store, _)) => Some(store),
            Err(OpenError::InUse) => None,
            Err(error) => panic!("{error}"),
        };
        store.is_some()
    })
    .await;
    store.unwrap()
}

fn file() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("deep/events.redb");
    (dir, path)
}

#[tokio::test]
async fn a_call_is_made_once_and_then_known() {
    let store = memory();
    let id = accepted(&store, "shop/orders", "one").await;
    assert_eq!(taken(&store, &orders()), id);
    assert!(matches!(store.next(&orders()), Next::Running));
    assert!(store.get(id).await.unwrap().unwrap().1, "it is being made");
    let due = store.load(id).await.unwrap().unwrap();
    assert_eq!(due.call, call("one"));

    finished(&store, id, State::Succeeded).await;
    assert!(matches!(store.next(&orders()), Next::Nothing));
    let (known, running) = store.get(id).await.unwrap().unwrap();
    assert_eq!((known.state, running), (State::Succeeded, false));
    assert_eq!(store.answer(id).await.unwrap(), Some(answer("done")));
    assert!(
        store.load(id).await.unwrap().is_none(),
        "what was sent is gone"
    );
}

#[tokio::test]
async fn calls_are_made_in_the_order_in_which_they_came_and_each_function_has_its_own() {
    let store = memory();
    let first = accepted(&store, "shop/orders", "1").await;
    let other = accepted(&store, "shop/mails", "2").await;
    let second = accepted(&store, "shop/orders", "3").await;
    assert_eq!(taken(&store, &orders()), first);
    assert_eq!(taken(&store, &orders()), second);
    assert_eq!(taken(&store, &Key::new("shop", "mails")), other);
}

#[tokio::test(start_paused = true)]
async fn one_that_is_to_be_tried_again_waits() {
    let store = memory();
    let id = accepted(&store, "shop/orders", "one").await;
    taken(&store, &orders());
    let mut invocation = store.load(id).await.unwrap().unwrap().invocation;
    invocation.attempts = 1;
    invocation.next_attempt_at = Some(later(Timestamp::now(), Duration::from_secs(60)));
    store.settle(id, &invocation, None).await.unwrap();
    let Next::Wait(due) = store.next(&orders()) else {
        panic!("it does not wait");
    };
    tokio::time::sleep_until(due).await;
    assert_eq!(taken(&store, &orders()), id);
    assert_eq!(
        store.load(id).await.unwrap().unwrap().invocation.attempts,
        1
    );
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_was_put_back_delays_no_call_for_longer_than_a_pause_may_be() {
    let store = memory();
    let id = accepted(&store, "shop/orders", "one").await;
    taken(&store, &orders());
    let mut invocation = store.load(id).await.unwrap().unwrap().invocation;
    invocation.next_attempt_at = Some(later(Timestamp::now(), Duration::from_secs(1_000_000)));
    store.settle(id, &invocation, None).await.unwrap();
    let Next::Wait(due) = store.next(&orders()) else {
        panic!("it does not wait");
    };
    assert!(due <= Instant::now() + LONGEST_RETRY_AFTER);
}

#[tokio::test]
async fn what_was_kept_is_there_when_the_process_has_ended_whatever_it_was_doing() {
    let (_dir, path) = file();
    let store = opened(&path).await;
    let waiting = accepted(&store, "shop/orders", "1").await;
    let running = accepted(&store, "shop/mails", "2").await;
    let over = accepted(&store, "shop/bills", "3").await;
    taken(&store, &Key::new("shop", "mails"));
    taken(&store, &Key::new("shop", "bills"));
    finished(&store, over, State::Succeeded).await;
    assert!(matches!(
        Store::open(Some(&path), BOUNDS, Arc::new(Nobody)),
        Err(OpenError::InUse)
    ));
    drop(store);

    let store = opened(&path).await;
    assert_eq!(taken(&store, &orders()), waiting);
    assert_eq!(taken(&store, &Key::new("shop", "mails")), running);
    assert!(matches!(
        store.next(&Key::new("shop", "bills")),
        Next::Nothing
    ));
    assert_eq!(store.answer(over).await.unwrap(), Some(answer("done")));
}

#[tokio::test]
async fn functions_with_calls_are_told_once_until_they_have_none() {
    let (store, mut active) = Store::open(None, BOUNDS, Arc::new(Nobody)).unwrap();
    let id = accepted(&store, "shop/orders", "1").await;
    accepted(&store, "shop/orders", "2").await;
    assert_eq!(active.next().await, Some(orders()));
    taken(&store, &orders());
    finished(&store, id, State::Succeeded).await;
    let second = taken(&store, &orders());
    finished(&store, second, State::Succeeded).await;
    assert!(matches!(store.next(&orders()), Next::Nothing));
    accepted(&store, "shop/orders", "3").await;
    assert_eq!(active.next().await, Some(orders()));
    drop(store);
    assert_eq!(active.next().await, None);
}
