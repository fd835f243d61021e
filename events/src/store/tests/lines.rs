//! Calls of which one is made after the other.

use fermata_crds::DeadLetter;

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

#[tokio::test]
async fn one_that_is_redriven_stands_behind_the_others_and_after_a_crash_too() {
    let (_dir, path) = file();
    let store = opened(&path).await;
    let mut ids = Vec::new();
    for _ in 0..4 {
        ids.push(accepted_in(&store, "a").await);
    }
    taken(&store, &orders());
    finished(&store, ids[0], State::Failed).await;
    assert!(matches!(store.redrive(ids[0]).await, Ok(Changed::Done(_))));
    assert_eq!(taken(&store, &orders()), ids[1]);
    finished(&store, ids[1], State::Succeeded).await;
    drop(store);

    let store = opened(&path).await;
    for id in [ids[2], ids[3], ids[0]] {
        assert_eq!(taken(&store, &orders()), id);
        finished(&store, id, State::Succeeded).await;
    }
}

#[tokio::test]
async fn others_do_not_wait_until_it_is_told_that_one_has_failed() {
    let (_dir, path) = file();
    let store = opened(&path).await;
    let id = new_id();
    let mut message = Invocation {
        heard: Some(in_line("a")),
        ..invocation("shop/orders", "body")
    };
    message.delivery.dead_letter = Some(DeadLetter {
        topic: "dead".to_owned(),
    });
    store.accept(id, message, call("body")).await.unwrap();
    let next = accepted_in(&store, "a").await;
    taken(&store, &orders());
    let mut failed = store.load(id).await.unwrap().unwrap().invocation;
    failed.finish(State::Failed, Timestamp::now());
    failed.end(Duration::ZERO, 0);
    store.settle(id, &failed, None).await.unwrap();
    let both = |store: &Store| {
        let mut both = [taken(store, &orders()), taken(store, &orders())];
        both.sort();
        both
    };
    let mut expected = [id, next];
    expected.sort();
    assert_eq!(both(&store), expected);
    drop(store);

    let store = opened(&path).await;
    assert_eq!(both(&store), expected);
}
