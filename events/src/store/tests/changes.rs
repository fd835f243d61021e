//! Calls that are called off, or tried anew.

use super::*;
use crate::invocation::{KEPT, KEPT_FAILED};

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
        stands(&store, id, State::Cancelled).await;
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
        stands(&store, id, state).await;
    }
    assert!(matches!(store.next(&orders()), Next::Nothing));
    let mails = Key::new("shop", "mails");
    until("it is made", async || {
        matches!(store.next(&mails), Next::Take(..))
    })
    .await;
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

/// Waits until the call stands so, and is not being made.
async fn stands(store: &Store, id: Id, state: State) {
    until("the call stands so", async || {
        let (known, running) = store.get(id).await.unwrap().unwrap();
        known.state == state && !running
    })
    .await;
}
