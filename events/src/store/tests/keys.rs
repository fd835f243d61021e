//! Calls that their callers make once.

use futures::future::join_all;

use super::*;
use crate::invocation::{Idempotency, KEPT};

pub(super) async fn with_key(store: &Store, key: &str, body: &str) -> Result<Id, Refused> {
    let keyed = Invocation {
        idempotency: Some(Idempotency {
            key: key.into(),
            digest: body.into(),
        }),
        ..invocation("shop/orders", body)
    };
    store.accept(new_id(), keyed, call(body)).await
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
    for kept in join_all(calls).await {
        match kept {
            Ok(id) => ids.push(id),
            Err(refused) => assert!(matches!(refused, Refused::KeyInUse), "{refused}"),
        }
    }
    ids.dedup();
    assert_eq!(ids.len(), 1);
    assert_eq!(store.backlogs()[0].1.waiting, 1);
}
