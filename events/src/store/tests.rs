use std::{
    io,
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering},
};

use bytes::Bytes;
use fermata_crds::Delivery;
use redb::{Database, StorageBackend, backends::InMemoryBackend};
use tempfile::TempDir;

use super::*;
use crate::invocation::{
    AnswerHead, CallHead, Entrance, Fields, Idempotency, KEPT, KEPT_FAILED, later,
};

mod model;

const BOUNDS: Bounds = Bounds {
    bytes: 4000,
    calls: 20,
    records: 10,
};

fn invocation(function: &str, body: &str) -> Invocation {
    let (namespace, function) = function.split_once('/').unwrap();
    Invocation {
        namespace: namespace.into(),
        function: function.into(),
        uid: "u-1".into(),
        entrance: Entrance::Public,
        accepted_at: Timestamp::now(),
        delivery: Delivery::default(),
        idempotency: None,
        bytes: body.len() as u64,
        state: State::Waiting,
        attempts: 0,
        misses: 0,
        next_attempt_at: None,
        finished_at: None,
        code: None,
        message: None,
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
    Store::open(None, BOUNDS).unwrap().0
}

async fn accepted(store: &Store, function: &str, body: &str) -> Id {
    let id = new_id();
    let kept = store
        .accept(id, invocation(function, body), call(body))
        .await;
    assert_eq!(kept.unwrap(), id);
    id
}

async fn with_key(store: &Store, key: &str, body: &str) -> Result<Id, Refused> {
    let keyed = Invocation {
        idempotency: Some(Idempotency {
            key: key.into(),
            digest: body.into(),
        }),
        ..invocation("shop/orders", body)
    };
    store.accept(new_id(), keyed, call(body)).await
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

/// Opens a file again whose last owner may just be letting go of it.
async fn opened(path: &Path) -> Store {
    for _ in 0..1000 {
        match Store::open(Some(path), BOUNDS) {
            Ok((store, _)) => return store,
            Err(OpenError::InUse) => tokio::time::sleep(Duration::from_millis(10)).await,
            Err(error) => panic!("{error}"),
        }
    }
    panic!("the file is still in use");
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
        Store::open(Some(&path), BOUNDS),
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
    let (store, mut active) = Store::open(None, BOUNDS).unwrap();
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

#[tokio::test]
async fn a_key_makes_a_call_once_also_after_a_restart() {
    let (_dir, path) = file();
    let store = opened(&path).await;
    let first = with_key(&store, "k1", "one").await.unwrap();
    assert_eq!(with_key(&store, "k1", "one").await.unwrap(), first);
    assert!(matches!(
        with_key(&store, "k1", "two").await,
        Err(Refused::KeyReused)
    ));
    assert_ne!(with_key(&store, "k2", "one").await.unwrap(), first);
    drop(store);
    let store = opened(&path).await;
    assert_eq!(with_key(&store, "k1", "one").await.unwrap(), first);
    taken(&store, &orders());
    finished(&store, first, State::Succeeded).await;
    assert_eq!(
        with_key(&store, "k1", "one").await.unwrap(),
        first,
        "while it is known"
    );
    store.sweep(later(Timestamp::now(), KEPT)).await.unwrap();
    assert_ne!(with_key(&store, "k1", "one").await.unwrap(), first);
}

#[tokio::test]
async fn of_callers_with_one_key_at_once_one_is_accepted() {
    let store = memory();
    let calls = (0..8).map(|_| with_key(&store, "k1", "one"));
    let mut ids: Vec<Id> = Vec::new();
    for kept in futures_join(calls).await {
        match kept {
            Ok(id) => ids.push(id),
            Err(refused) => assert!(matches!(refused, Refused::KeyInUse), "{refused}"),
        }
    }
    ids.dedup();
    assert_eq!(ids.len(), 1);
    assert_eq!(store.backlogs()[0].1.waiting, 1);
}

/// All at once.
async fn futures_join<F: Future>(futures: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut futures: Vec<_> = futures.map(|future| (Box::pin(future), None)).collect();
    std::future::poll_fn(|context| {
        let mut pending = false;
        for (future, output) in &mut futures {
            if output.is_none() {
                match future.as_mut().poll(context) {
                    std::task::Poll::Ready(ready) => *output = Some(ready),
                    std::task::Poll::Pending => pending = true,
                }
            }
        }
        if pending {
            std::task::Poll::Pending
        } else {
            std::task::Poll::Ready(())
        }
    })
    .await;
    futures
        .into_iter()
        .filter_map(|(_, output)| output)
        .collect()
}

#[tokio::test]
async fn a_namespace_has_a_share_of_the_room_and_the_others_have_theirs() {
    let store = memory();
    let large = "x".repeat(600);
    let id = accepted(&store, "shop/orders", &large).await;
    let refused = store
        .accept(new_id(), invocation("shop/mails", &large), call(&large))
        .await;
    assert!(matches!(
        refused,
        Err(Refused::NamespaceFull { bytes: 1000, .. })
    ));
    for namespace in 1..=5 {
        accepted(&store, &format!("other-{namespace}/orders"), &large).await;
    }
    let refused = store
        .accept(new_id(), invocation("more/orders", &large), call(&large))
        .await;
    assert!(matches!(refused, Err(Refused::Full { bytes: 4000 })));
    // What is over takes no room of what waits.
    taken(&store, &orders());
    finished(&store, id, State::Succeeded).await;
    accepted(&store, "shop/orders", &large).await;
    for _ in 0..20 {
        accepted(&store, "small/orders", "").await;
    }
    let refused = store
        .accept(new_id(), invocation("small/orders", ""), call(""))
        .await;
    assert!(matches!(
        refused,
        Err(Refused::NamespaceFull { calls: 20, .. })
    ));
}

#[tokio::test]
async fn one_that_waits_is_called_off_and_one_that_is_made_is_told() {
    let store = memory();
    let waiting = accepted(&store, "shop/orders", "1").await;
    assert!(matches!(
        store.cancel(waiting).await.unwrap(),
        Changed::Done(_)
    ));
    assert!(matches!(store.next(&orders()), Next::Nothing));
    let (known, _) = store.get(waiting).await.unwrap().unwrap();
    assert_eq!(known.state, State::Cancelled);
    assert!(matches!(
        store.cancel(waiting).await.unwrap(),
        Changed::Already(_)
    ));

    let running = accepted(&store, "shop/orders", "2").await;
    let Next::Take(_, off) = store.next(&orders()) else {
        panic!("nothing to take");
    };
    assert!(matches!(
        store.cancel(running).await.unwrap(),
        Changed::Told(_)
    ));
    assert!(off.is_cancelled());
    assert!(matches!(
        store.cancel(new_id()).await.unwrap(),
        Changed::Unknown
    ));
}

#[tokio::test]
async fn one_that_was_called_off_while_it_was_made_is_not_made_again() {
    let store = memory();
    for settles in [true, false] {
        let id = accepted(&store, "shop/orders", "1").await;
        taken(&store, &orders());
        let invocation = store.load(id).await.unwrap().unwrap().invocation;
        assert!(matches!(store.cancel(id).await.unwrap(), Changed::Told(_)));
        if settles {
            store.settle(id, &invocation, None).await.unwrap();
        } else {
            store.give_back(id, &invocation, Duration::ZERO);
        }
        for _ in 0..1000 {
            if store.get(id).await.unwrap().unwrap().0.is_over() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let (known, running) = store.get(id).await.unwrap().unwrap();
        assert_eq!((known.state, running), (State::Cancelled, false));
        assert!(matches!(store.next(&orders()), Next::Nothing));
    }
}

#[tokio::test]
async fn whoever_calls_off_or_tries_anew_may_go_away() {
    let store = memory();
    let waiting = accepted(&store, "shop/orders", "1").await;
    drop_after_first_poll(store.cancel(waiting)).await;
    let failed = accepted(&store, "shop/mails", "2").await;
    taken(&store, &Key::new("shop", "mails"));
    finished(&store, failed, State::Failed).await;
    drop_after_first_poll(store.redrive(failed)).await;
    for (id, state) in [(waiting, State::Cancelled), (failed, State::Waiting)] {
        for _ in 0..1000 {
            if store.get(id).await.unwrap().unwrap().0.state == state {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let (known, running) = store.get(id).await.unwrap().unwrap();
        assert_eq!((known.state, running), (state, false));
    }
    assert!(matches!(store.next(&orders()), Next::Nothing));
    let mails = Key::new("shop", "mails");
    for _ in 0..1000 {
        if matches!(store.next(&mails), Next::Take(..)) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it is not made");
}

async fn drop_after_first_poll(future: impl Future) {
    let mut future = Box::pin(future);
    std::future::poll_fn(|context| {
        let _ = future.as_mut().poll(context);
        std::task::Poll::Ready(())
    })
    .await;
}

#[tokio::test]
async fn one_that_has_failed_is_kept_for_longer_and_can_be_tried_anew() {
    let store = memory();
    let id = accepted(&store, "shop/orders", "1").await;
    assert!(matches!(
        store.redrive(id).await.unwrap(),
        Changed::Already(_)
    ));
    taken(&store, &orders());
    finished(&store, id, State::Failed).await;
    store.sweep(later(Timestamp::now(), KEPT)).await.unwrap();
    assert!(matches!(store.redrive(id).await.unwrap(), Changed::Done(_)));
    assert_eq!(store.records(), 0);
    assert_eq!(store.answer(id).await.unwrap(), None);
    assert_eq!(taken(&store, &orders()), id);
    let due = store.load(id).await.unwrap().unwrap();
    assert_eq!((due.call, due.invocation.attempts), (call("1"), 0));
    finished(&store, id, State::Failed).await;
    store
        .sweep(later(Timestamp::now(), KEPT_FAILED))
        .await
        .unwrap();
    assert!(store.get(id).await.unwrap().is_none());
    assert!(matches!(store.redrive(id).await.unwrap(), Changed::Unknown));
}

#[tokio::test]
async fn where_there_is_no_room_for_records_those_go_first_whose_namespace_has_the_most() {
    let bounds = Bounds {
        bytes: 1_000_000,
        ..BOUNDS
    };
    let store = Store::open(None, bounds).unwrap().0;
    let mut ids = Vec::new();
    for number in 0..14 {
        let namespace = if number == 3 { "small" } else { "large" };
        let function = format!("{namespace}/orders");
        // One that takes much room is not the one that has many.
        let body = if number == 3 {
            "x".repeat(1000)
        } else {
            String::new()
        };
        let id = accepted(&store, &function, &body).await;
        taken(&store, &Key::new(namespace, "orders"));
        finished(&store, id, State::Failed).await;
        ids.push(id);
    }
    assert_eq!(store.sweep(Timestamp::now()).await.unwrap(), 4);
    assert_eq!(store.records(), 10);
    assert!(store.get(ids[3]).await.unwrap().is_some());
    assert!(store.get(ids[0]).await.unwrap().is_none());
    assert!(store.get(ids[13]).await.unwrap().is_some());
}

/// A disk that can be told to take nothing.
#[derive(Debug)]
struct Failing {
    inner: Arc<InMemoryBackend>,
    full: Arc<AtomicBool>,
}

impl StorageBackend for Failing {
    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.inner.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.check()?;
        self.inner.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.check()?;
        self.inner.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.check()?;
        self.inner.write(offset, data)
    }
}

impl Failing {
    fn check(&self) -> io::Result<()> {
        if self.full.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }
}

#[tokio::test]
async fn while_the_disk_takes_nothing_nothing_is_accepted_and_nothing_is_lost() {
    let full = Arc::new(AtomicBool::new(false));
    let (inner, switch) = (Arc::new(InMemoryBackend::new()), full.clone());
    let opener = Box::new(move || {
        Database::builder().create_with_backend(Failing {
            inner: inner.clone(),
            full: switch.clone(),
        })
    });
    let disk = Disk::open_with(opener, false).unwrap();
    let (store, _active) = Store::of(disk, BOUNDS).unwrap();
    let id = accepted(&store, "shop/orders", "1").await;
    let second = accepted(&store, "shop/orders", "2").await;
    taken(&store, &orders());

    full.store(true, Ordering::SeqCst);
    let refused = with_key(&store, "k1", "3").await;
    assert!(matches!(refused, Err(Refused::Store(_))), "{refused:?}");
    let mut over = invocation("shop/orders", "1");
    over.finish(State::Succeeded, Timestamp::now());
    assert!(store.settle(id, &over, None).await.is_err());
    assert!(store.cancel(second).await.is_err());

    full.store(false, Ordering::SeqCst);
    assert!(matches!(store.get(id).await.unwrap(), Some((known, true)) if !known.is_over()));
    store.settle(id, &over, None).await.unwrap();
    assert_eq!(taken(&store, &orders()), second);
    finished(&store, second, State::Succeeded).await;
    // The key of what was refused is free.
    let third = with_key(&store, "k1", "4").await.unwrap();
    assert_eq!(taken(&store, &orders()), third);
}

#[tokio::test]
async fn a_file_that_is_no_store_is_told_and_left_alone() {
    let (_dir, path) = file();
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, "not a store, and not empty").unwrap();
    let error = Store::open(Some(&path), BOUNDS).unwrap_err();
    assert!(
        matches!(error, OpenError::Database(_) | OpenError::Damaged(_)),
        "{error}"
    );
    assert_eq!(std::fs::read(&path).unwrap(), b"not a store, and not empty");
}
