//! How calls are made: again, not again, not at all, beside each other.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio::sync::Semaphore;

use super::{
    gateway::{Gateway, answer, refusal},
    *,
};

#[tokio::test]
async fn it_is_tried_until_the_function_has_answered() {
    let gateway = Gateway::answering(|asked| match asked.before {
        0 => answer(500, "out of memory"),
        1 => refusal(502, "FunctionReset"),
        _ => answer(200, "done"),
    })
    .await;
    let kept = Kept::start(&gateway, None).await;
    let id = kept.keep("orders", &at_once(5), "").await;
    let state = kept.over(&id).await;
    assert_eq!(
        (&state["state"], &state["attempts"]),
        (&json!("Succeeded"), &json!(3))
    );
    let attempts: Vec<_> = gateway
        .asked()
        .iter()
        .map(|asked| asked.head.headers["x-fermata-attempt"].clone())
        .collect();
    assert_eq!(attempts, ["1", "2", "3"]);
    kept.end().await;
}

#[tokio::test]
async fn one_that_fails_is_kept_with_the_last_answer_and_can_be_tried_anew() {
    let healthy = Arc::new(AtomicUsize::new(0));
    let switch = healthy.clone();
    let gateway = Gateway::answering(move |_| match switch.load(Ordering::SeqCst) {
        0 => answer(500, "no database"),
        _ => answer(200, "done"),
    })
    .await;
    let kept = Kept::start(&gateway, None).await;
    let id = kept.keep("orders", &at_once(2), "").await;
    let state = kept.over(&id).await;
    assert_eq!(
        (&state["state"], &state["attempts"]),
        (&json!("Failed"), &json!(2))
    );
    assert_eq!(
        state["message"],
        "the function has answered 500: no database"
    );
    let result = kept.request("GET", &format!("/invocations/{id}/result"));
    let result = kept.ask(result, "").await;
    assert_eq!(
        (result.status.as_u16(), &*result.body),
        (500, &b"no database"[..])
    );

    healthy.store(1, Ordering::SeqCst);
    let redrive = || kept.request("POST", &format!("/invocations/{id}/redrive"));
    assert_eq!(kept.ask(redrive(), "").await.status, 202);
    let state = kept.over(&id).await;
    assert_eq!(
        (&state["state"], &state["attempts"]),
        (&json!("Succeeded"), &json!(1))
    );
    assert_eq!(kept.ask(redrive(), "").await.status, 409);
    assert_eq!(gateway.asked().len(), 3);
    kept.end().await;
}

#[tokio::test]
async fn a_gateway_that_is_away_uses_up_no_attempt() {
    let gateway = Gateway::answering(|_| answer(200, "")).await;
    let authority = gateway.authority();
    drop(gateway);
    let back = Gateway::answering(|asked| match asked.before {
        0 => refusal(503, "StartFailed"),
        _ => answer(200, ""),
    })
    .await;
    let kept = Kept::with(&back, None, |options| options.gateway = authority).await;
    let id = kept.keep("orders", &at_once(1), "").await;
    // It may just be tried once more.
    let is_waiting = |state: &Value| state["message"].is_string() && state["state"] == "Waiting";
    let state = kept.until(&id, is_waiting).await;
    assert_eq!(state["attempts"], 0, "{state}");
    kept.end().await;

    let kept = Kept::start(&back, None).await;
    let id = kept.keep("orders", &at_once(1), "").await;
    let state = kept.over(&id).await;
    assert_eq!(
        (&state["state"], &state["attempts"]),
        (&json!("Succeeded"), &json!(1))
    );
    kept.end().await;
}

#[tokio::test]
async fn one_that_waits_is_called_off_and_one_that_is_made_is_broken_off() {
    let gateway = Gateway::start(|_| Box::pin(std::future::pending())).await;
    let kept = Kept::start(&gateway, None).await;
    let running = kept.keep("orders", &json!({}), "").await;
    kept.until(&running, |state| state["state"] == "Running")
        .await;
    let delete = |id: &str| kept.request("DELETE", &format!("/invocations/{id}"));
    assert_eq!(kept.ask(delete(&running), "").await.status, 202);
    assert_eq!(kept.over(&running).await["state"], "Cancelled");
    assert_eq!(
        kept.ask(delete(&running), "").await.status,
        200,
        "it is so already"
    );
    let result = kept.request("GET", &format!("/invocations/{running}/result"));
    assert_eq!(kept.ask(result, "").await.status, 404);
    kept.end().await;

    let gateway = Gateway::answering(|_| answer(503, "")).await;
    let kept = Kept::start(&gateway, None).await;
    let slow = json!({"backoff": {"first": "1h", "max": "1h"}});
    let waiting = kept.keep("orders", &slow, "").await;
    kept.until(&waiting, |state| state["nextAttemptAt"].is_string())
        .await;
    let delete = kept.request("DELETE", &format!("/invocations/{waiting}"));
    assert_eq!(kept.ask(delete, "").await.status, 200);
    assert_eq!(kept.state(&waiting).await["state"], "Cancelled");
    kept.end().await;
}

#[tokio::test]
async fn a_slow_function_delays_no_other() {
    let gateway = Gateway::start(|asked| {
        Box::pin(async move {
            if asked.head.headers["host"] == "slow.shop.svc" {
                std::future::pending::<()>().await;
            }
            answer(200, "")
        })
    })
    .await;
    let kept = Kept::start(&gateway, None).await;
    for _ in 0..200 {
        kept.keep("slow", &json!({}), "").await;
    }
    let quick = kept.keep("quick", &json!({}), "").await;
    assert_eq!(kept.over(&quick).await["state"], "Succeeded");
    kept.crash().await;
}

#[tokio::test]
async fn more_are_made_at_once_while_the_function_takes_them_and_fewer_when_it_does_not() {
    let (doors, answered) = (Arc::new(Semaphore::new(12)), Arc::new(AtomicUsize::new(0)));
    let (all_kept, nine) = (CancellationToken::new(), CancellationToken::new());
    let (begin, more) = (all_kept.clone(), nine.clone());
    let gateway = Gateway::start(move |_| {
        let (doors, answered) = (doors.clone(), answered.clone());
        let (begin, nine) = (begin.clone(), more.clone());
        Box::pin(async move {
            begin.cancelled().await;
            let Ok(_door) = doors.try_acquire() else {
                return answer(429, "");
            };
            if doors.available_permits() < 4 {
                nine.cancel();
            }
            // The first eight tell that there may be more; the others stay until there are.
            if answered.fetch_add(1, Ordering::SeqCst) >= 8 {
                nine.cancelled().await;
            }
            answer(200, "")
        })
    })
    .await;
    let kept = Kept::start(&gateway, None).await;
    let mut ids = Vec::new();
    for _ in 0..150 {
        ids.push(kept.keep("orders", &at_once(100), "").await);
    }
    all_kept.cancel();
    for id in &ids {
        assert_eq!(kept.over(id).await["state"], "Succeeded");
    }
    // It began with eight.
    assert!(nine.is_cancelled());
    kept.end().await;
}

#[tokio::test]
async fn what_is_being_made_goes_on_to_its_end_when_the_program_stops_and_what_waits_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("calls.redb");
    let go_on = Arc::new(Semaphore::new(0));
    let gate = go_on.clone();
    let gateway = Gateway::start(move |_| {
        let gate = gate.clone();
        Box::pin(async move {
            gate.acquire().await.unwrap().forget();
            answer(200, "")
        })
    })
    .await;
    let kept = Kept::start(&gateway, Some(&store)).await;
    let mut ids = Vec::new();
    for _ in 0..12 {
        ids.push(kept.keep("orders", &json!({}), "").await);
    }
    kept.until(&ids[0], |state| state["state"] == "Running")
        .await;
    eventually(async || match gateway.asked().len() {
        8.. => Ok(()),
        few => Err(format!("{few} were asked for")),
    })
    .await;
    kept.stop.cancel();
    // What comes in meanwhile is kept for the next one.
    ids.push(kept.keep("orders", &json!({}), "").await);
    go_on.add_permits(8);
    kept.task.await.unwrap().unwrap();
    assert_eq!(gateway.asked().len(), 8);

    go_on.add_permits(5);
    let kept = Kept::start(&gateway, Some(&store)).await;
    for id in &ids {
        assert_eq!(kept.over(id).await["state"], "Succeeded");
    }
    assert_eq!(gateway.asked().len(), 13, "none was made twice");
    kept.end().await;
}

#[tokio::test]
async fn it_is_not_made_when_it_is_too_old() {
    let gateway = Gateway::answering(|_| refusal(503, "StartFailed")).await;
    let kept = Kept::start(&gateway, None).await;
    let id = kept.keep("orders", &json!({"maxAge": "1s"}), "").await;
    let state = kept.over(&id).await;
    assert_eq!(
        (&state["state"], &state["attempts"]),
        (&json!("Failed"), &json!(0))
    );
    let message = state["message"].as_str().unwrap();
    assert!(
        message.contains("maxAge") && message.contains("StartFailed"),
        "{message}"
    );
    kept.end().await;
}

/// What waits of a function, to a gateway that says how many places it has.
async fn backlog(kept: &Kept, function: &str, places: Option<u32>) -> (u64, u64) {
    let room = places.map(
        |places| json!({"namespace": "shop", "name": function, "places": places, "queue": 1000}),
    );
    let rooms = json!({"functions": Vec::from_iter(room)});
    let answer = kept
        .ask(kept.request("POST", "/backlogs"), &rooms.to_string())
        .await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let told = answer.json();
    assert_eq!(told["most"], 100);
    let functions = told["functions"].as_array().unwrap();
    let of_it = functions.iter().find(|one| one["name"] == function);
    of_it.map_or((0, 0), |one| {
        (
            one["waiting"].as_u64().unwrap(),
            one["running"].as_u64().unwrap(),
        )
    })
}

#[tokio::test]
async fn what_waits_is_told_and_as_many_are_made_as_there_is_room_for() {
    let places = Arc::new(Semaphore::new(0));
    let held = places.clone();
    let gateway = Gateway::start(move |asked| {
        let held = held.clone();
        Box::pin(async move {
            if asked.head.headers["host"] == "later.shop.svc" {
                return answer(503, "another time");
            }
            held.acquire().await.unwrap().forget();
            answer(200, "done")
        })
    })
    .await;
    let kept = Kept::start(&gateway, None).await;
    assert_eq!(backlog(&kept, "slow", None).await, (0, 0));
    let mut ids = Vec::new();
    for _ in 0..200 {
        ids.push(kept.keep("slow", &at_once(5), "").await);
    }
    // A call for another time needs nothing now.
    let hour = json!({"attempts": 5, "backoff": {"first": "1h", "max": "1h"}});
    let later = kept.keep("later", &hour, "").await;
    kept.until(&later, |state| state["nextAttemptAt"].is_string())
        .await;
    assert_eq!(backlog(&kept, "later", None).await, (0, 0));

    let comes_to = async |places, wanted| {
        eventually(async || match backlog(&kept, "slow", places).await {
            told if told == wanted => Ok(()),
            told => Err(format!("{told:?} in place of {wanted:?}")),
        })
        .await;
    };
    comes_to(None, (100, 8)).await;
    comes_to(Some(20), (100, 20)).await;
    comes_to(Some(90), (100, 90)).await;
    places.add_permits(200);
    for id in &ids {
        assert_eq!(kept.over(id).await["state"], "Succeeded");
    }
    comes_to(Some(90), (0, 0)).await;
    kept.end().await;
}

#[tokio::test]
async fn places_that_make_no_sense_are_refused() {
    let gateway = Gateway::answering(|_| answer(200, "done")).await;
    let kept = Kept::start(&gateway, None).await;
    let get = kept.ask(kept.request("GET", "/backlogs"), "").await;
    assert_eq!(get.status, 405, "{get:?}");
    for bad in [
        "",
        "[1]",
        r#"{"functions": [{"namespace": "shop", "name": "slow", "places": -1, "queue": 1}]}"#,
    ] {
        let refused = kept.ask(kept.request("POST", "/backlogs"), bad).await;
        assert_eq!(refused.status, 400, "{refused:?}");
        let detail = refused.json()["detail"].as_str().unwrap().to_owned();
        assert!(
            detail.starts_with("the places of functions cannot be read"),
            "{detail}"
        );
    }
    let large = "x".repeat(2_000_001);
    let refused = kept.ask(kept.request("POST", "/backlogs"), &large).await;
    assert_eq!(refused.status, 413, "{refused:?}");
    kept.end().await;
}
