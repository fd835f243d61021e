//! Calls that are made together.

use super::*;
use crate::invocation::Batch;

fn batched(group: &str, size: u32, wait: u64) -> Invocation {
    let heard = Heard {
        place: None,
        batch: Some(Batch {
            group: group.into(),
            size,
            wait,
        }),
        ..in_line("")
    };
    Invocation {
        heard: Some(heard),
        ..invocation("shop/orders", "body")
    }
}

async fn accepted_in(store: &Store, group: &str, (size, wait): (u32, u64)) -> Id {
    let id = new_id();
    let kept = store.accept(id, batched(group, size, wait), call("body"));
    kept.await.unwrap()
}

fn all_taken(store: &Store) -> Vec<Id> {
    match store.next(&orders()) {
        Next::TakeAll(calls) => calls.into_iter().map(|(id, _)| id).collect(),
        other => panic!("nothing to take: {other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn those_that_wait_already_are_made_together_up_to_their_number() {
    let store = memory();
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(accepted_in(&store, "a", (3, 0)).await);
        tokio::time::advance(Duration::from_millis(1)).await;
    }
    let other = accepted_in(&store, "b", (3, 0)).await;
    assert_eq!(store.backlogs()[0].1.waiting, 6);
    assert_eq!(store.due(100)[0].waiting, 3, "requests, and not messages");
    assert_eq!(all_taken(&store), ids[..3]);
    assert_eq!(all_taken(&store), ids[3..]);
    assert_eq!(all_taken(&store), [other]);
    assert!(matches!(store.next(&orders()), Next::Running));
    // One that is to be tried again waits for others once more.
    let again = store.load(ids[0]).await.unwrap().unwrap().invocation;
    store.settle(ids[0], &again, None).await.unwrap();
    for id in ids[1..].iter().chain([&other]) {
        finished(&store, *id, State::Succeeded).await;
    }
    assert_eq!(all_taken(&store), [ids[0]]);
    finished(&store, ids[0], State::Succeeded).await;
    assert!(matches!(store.next(&orders()), Next::Nothing));
}

#[tokio::test(start_paused = true)]
async fn one_waits_for_others_until_there_are_enough_or_it_has_waited_for_long_enough() {
    let store = memory();
    let begun = Instant::now();
    let first = accepted_in(&store, "a", (3, 500)).await;
    let Next::Wait(due) = store.next(&orders()) else {
        panic!("it does not wait for others");
    };
    assert!(due >= begun + Duration::from_millis(500));
    assert!(store.due(100).is_empty());
    let second = accepted_in(&store, "a", (3, 500)).await;
    assert!(matches!(store.next(&orders()), Next::Wait(_)));
    let third = accepted_in(&store, "a", (3, 500)).await;
    let mut all = [first, second, third];
    all.sort();
    let mut taken = all_taken(&store);
    taken.sort();
    assert_eq!(taken, all);

    let alone = accepted_in(&store, "a", (3, 500)).await;
    let Next::Wait(due) = store.next(&orders()) else {
        panic!("it does not wait for others");
    };
    tokio::time::sleep_until(due).await;
    assert_eq!(all_taken(&store), [alone]);
}

#[tokio::test(start_paused = true)]
async fn one_that_is_called_off_is_not_made_with_the_others() {
    let store = memory();
    let first = accepted_in(&store, "a", (2, 500)).await;
    tokio::time::advance(Duration::from_millis(1)).await;
    store.cancel(first).await.unwrap();
    assert!(matches!(store.next(&orders()), Next::Nothing));
    let second = accepted_in(&store, "a", (2, 500)).await;
    assert!(matches!(store.next(&orders()), Next::Wait(_)));
    let third = accepted_in(&store, "a", (2, 500)).await;
    let taken = all_taken(&store);
    assert!(
        taken.contains(&second) && taken.contains(&third),
        "{taken:?}"
    );
    // One of those that are being made is told.
    assert!(matches!(store.cancel(third).await, Ok(Changed::Told(_))));
}

#[tokio::test(start_paused = true)]
async fn no_more_is_taken_together_than_is_read_at_once() {
    let bounds = Bounds {
        bytes: 1024 * 1024 * 1024,
        ..BOUNDS
    };
    let store = Store::open(None, bounds, Arc::new(Nobody)).unwrap().0;
    for _ in 0..5 {
        let mut large = batched("a", 100, 0);
        large.bytes = 600 * 1024;
        store.accept(new_id(), large, call("body")).await.unwrap();
        tokio::time::advance(Duration::from_millis(1)).await;
    }
    let mut huge = batched("a", 100, 0);
    huge.bytes = 9 * 1024 * 1024;
    store.accept(new_id(), huge, call("body")).await.unwrap();
    for left in (0..6).rev() {
        assert_eq!(all_taken(&store).len(), 1);
        assert_eq!(store.backlogs()[0].1.waiting, left);
    }
}

#[tokio::test(start_paused = true)]
async fn those_that_are_made_together_are_one_request() {
    let store = memory();
    for _ in 0..7 {
        accepted_in(&store, "a", (3, 0)).await;
    }
    assert_eq!(all_taken(&store).len(), 3);
    let due = store.due(100);
    assert_eq!((due[0].waiting, due[0].running), (2, 1));
    assert_eq!(store.backlogs()[0].1.running, 3);
}
