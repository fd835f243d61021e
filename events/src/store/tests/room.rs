//! How much room there is, and for whom.

use super::*;
use crate::invocation::Callback;

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
async fn where_there_is_no_room_for_records_those_go_first_whose_namespace_has_the_most() {
    let bounds = Bounds {
        bytes: 1_000_000,
        ..BOUNDS
    };
    let store = Store::open(None, bounds, Arc::new(Nobody)).unwrap().0;
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

#[tokio::test]
async fn what_is_tried_anew_takes_no_room_of_the_answer_that_is_gone() {
    let store = memory();
    let mut with_callback = invocation("shop/orders", "x");
    with_callback.callback = Some(Callback::to("http://hooks.example.com/"));
    let id = new_id();
    store.accept(id, with_callback, call("x")).await.unwrap();
    // Each time an answer is kept for the callback, and is gone when the call is tried anew.
    for _ in 0..30 {
        taken(&store, &orders());
        let (mut failed, _) = store.get(id).await.unwrap().unwrap();
        failed.finish(State::Failed, Timestamp::now());
        assert!(store.make_room(&failed, 300));
        failed.end(Duration::ZERO, 300);
        failed.finish(State::Failed, Timestamp::now());
        store.settle(id, &failed, None).await.unwrap();
        let redriven = store.redrive(id).await.unwrap();
        assert!(matches!(redriven, Changed::Done(_)), "{redriven:?}");
    }
}
