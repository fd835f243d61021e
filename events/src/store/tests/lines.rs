//! Calls of which one is made after the other.

use super::*;

async fn accepted_in(store: &Store, line: &str) -> Id {
    let id = new_id();
    let message = Invocation {
        heard: Some(in_line(line)),
        ..invocation("shop/orders", "body")
    };
    store.accept(id, message, call("body")).await.unwrap()
}

#[tokio::test]
async fn one_of_a_line_is_made_after_the_other_and_lines_beside_each_other() {
    let store = memory();
    let mut first = Vec::new();
    for _ in 0..5 {
        first.push(accepted_in(&store, "a").await);
    }
    let other = accepted_in(&store, "b").await;
    assert_eq!(store.backlogs()[0].1.waiting, 6);
    assert_eq!(taken(&store, &orders()), first[0]);
    assert_eq!(taken(&store, &orders()), other);
    assert!(matches!(store.next(&orders()), Next::Running));
    // One that is tried again holds up those behind it, one that has failed does not.
    let again = store.load(first[0]).await.unwrap().unwrap().invocation;
    store.settle(first[0], &again, None).await.unwrap();
    assert_eq!(taken(&store, &orders()), first[0]);
    finished(&store, first[0], State::Failed).await;
    assert_eq!(taken(&store, &orders()), first[1]);
    // Who is called off leaves the line.
    store.cancel(first[2]).await.unwrap();
    finished(&store, first[1], State::Succeeded).await;
    for id in &first[3..] {
        assert_eq!(taken(&store, &orders()), *id);
        assert!(matches!(store.next(&orders()), Next::Running));
        finished(&store, *id, State::Succeeded).await;
    }
    finished(&store, other, State::Succeeded).await;
    assert!(matches!(store.next(&orders()), Next::Nothing));
}

#[tokio::test]
async fn a_line_is_as_it_was_after_a_crash() {
    let (_dir, path) = file();
    let store = opened(&path).await;
    // Their names say nothing of their order: they are made within one millisecond.
    let ids: Vec<Id> = (0..10).map(|_| new_id()).collect();
    let message = || Invocation {
        heard: Some(in_line("a")),
        ..invocation("shop/orders", "body")
    };
    let calls = ids.iter().map(|id| (*id, message(), call("body")));
    let kept = store.accept_all(calls.collect(), For::Caller, ()).await;
    assert_eq!(kept.unwrap(), ids);
    assert_eq!(taken(&store, &orders()), ids[0]);
    drop(store);

    let store = opened(&path).await;
    let later = accepted_in(&store, "a").await;
    for id in ids.iter().chain([&later]) {
        assert_eq!(taken(&store, &orders()), *id);
        finished(&store, *id, State::Succeeded).await;
    }
}
