use bytes::Bytes;
use fermata_crds::{Delivery, DeliveryBackoff, GoDuration};
use fermata_daemon::watch::Key;

use super::*;
use crate::invocation::{AnswerHead, Entrance, Fields};

fn now() -> Timestamp {
    "2026-11-28T06:00:00Z".parse().unwrap()
}

fn seconds(seconds: u64) -> Option<GoDuration> {
    Some(Duration::from_secs(seconds).into())
}

fn invocation() -> Invocation {
    let delivery = Delivery {
        attempts: Some(3),
        backoff: Some(DeliveryBackoff {
            first: seconds(2),
            max: seconds(60),
        }),
        max_age: seconds(600),
        dead_letter: None,
    };
    let came = (Entrance::Public, now());
    Invocation::new(&Key::new("shop", "orders"), "u-1", came, delivery)
}

fn answered(status: u16, reason: Option<&str>, retry_after: Option<u64>) -> Outcome {
    Outcome::Answered {
        answer: Answer {
            head: AnswerHead {
                status,
                headers: Fields::default(),
                cut: false,
            },
            body: Bytes::from_static(b"out of\nstock"),
        },
        reason: reason.map(Into::into),
        retry_after: retry_after.map(Duration::from_secs),
    }
}

#[test]
fn an_answer_below_400_is_the_end() {
    for status in [200, 202, 204, 302] {
        let mut call = invocation();
        let (answer, pressure) = decide(&mut call, answered(status, None, None), now(), 0.5);
        assert_eq!(call.state, State::Succeeded);
        assert_eq!(
            (call.attempts, call.code, call.message.as_deref()),
            (1, Some(status), None)
        );
        assert_eq!(call.finished_at, Some(now()));
        assert!(answer.is_some());
        assert_eq!(pressure, Pressure::More);
    }
}

#[test]
fn what_will_not_be_answered_otherwise_is_not_tried_again() {
    for outcome in [
        answered(400, None, None),
        answered(404, None, None),
        answered(413, Some("PayloadTooLarge"), None),
    ] {
        let mut call = invocation();
        let (answer, _) = decide(&mut call, outcome, now(), 0.5);
        assert_eq!((call.state, call.attempts), (State::Failed, 1));
        assert!(answer.is_some());
    }
}

#[test]
fn an_overloaded_function_is_tried_again_after_longer_and_longer_pauses_and_then_no_more() {
    let mut call = invocation();
    for (attempt, pause) in [(1, 2), (2, 4)] {
        let (answer, pressure) = decide(&mut call, answered(503, None, None), now(), 1.0);
        assert_eq!((call.state, call.attempts), (State::Waiting, attempt));
        assert_eq!(
            call.next_attempt_at,
            Some(later(now(), Duration::from_secs(pause)))
        );
        assert_eq!(
            call.message.as_deref(),
            Some("the function has answered 503: out of stock")
        );
        assert!(answer.is_none());
        assert_eq!(pressure, Pressure::Less);
    }
    let (answer, _) = decide(&mut call, answered(500, None, None), now(), 1.0);
    assert_eq!(
        (call.state, call.attempts, call.code),
        (State::Failed, 3, Some(500))
    );
    assert_eq!(call.next_attempt_at, None);
    assert!(answer.is_some());
}

#[test]
fn half_of_a_pause_is_random() {
    let mut call = invocation();
    decide(&mut call, answered(500, None, None), now(), 0.0);
    assert_eq!(
        call.next_attempt_at,
        Some(later(now(), Duration::from_secs(1)))
    );
}

#[test]
fn a_function_says_when_it_wants_to_be_asked_again() {
    let mut call = invocation();
    decide(&mut call, answered(429, None, Some(90)), now(), 1.0);
    assert_eq!(
        call.next_attempt_at,
        Some(later(now(), Duration::from_secs(90)))
    );
    // For less than the usual pause it is not asked.
    let mut call = invocation();
    decide(&mut call, answered(429, None, Some(1)), now(), 1.0);
    assert_eq!(
        call.next_attempt_at,
        Some(later(now(), Duration::from_secs(2)))
    );
}

#[test]
fn what_has_not_reached_the_function_uses_up_no_attempt() {
    let mut call = invocation();
    for miss in 1..=20 {
        let outcome = if miss % 2 == 0 {
            Outcome::Unreached("connection refused".to_owned())
        } else {
            answered(503, Some("StartFailed"), Some(10))
        };
        decide(&mut call, outcome, now(), 1.0);
        assert_eq!(
            (call.state, call.attempts, call.misses),
            (State::Waiting, 0, miss)
        );
        let next = call.next_attempt_at.unwrap();
        assert!(next <= later(now(), Duration::from_secs(30)), "{next}");
    }
}

#[test]
fn what_breaks_the_function_uses_up_attempts() {
    for reason in ["FunctionReset", "RequestTimeout", "FirstByteTimeout"] {
        let mut call = invocation();
        decide(&mut call, answered(502, Some(reason), None), now(), 1.0);
        assert_eq!((call.state, call.attempts), (State::Waiting, 1), "{reason}");
    }
}

#[test]
fn a_connection_that_broke_after_it_was_sent_uses_up_an_attempt() {
    let mut call = invocation();
    decide(
        &mut call,
        Outcome::Unanswered("it broke".to_owned()),
        now(),
        1.0,
    );
    assert_eq!((call.state, call.attempts), (State::Waiting, 1));
}

#[test]
fn it_is_tried_no_longer_than_it_may_be_old() {
    let mut call = invocation();
    let late = later(now(), Duration::from_secs(599));
    decide(
        &mut call,
        answered(503, Some("StartFailed"), None),
        late,
        1.0,
    );
    assert_eq!((call.state, call.attempts), (State::Failed, 0));
    let message = call.message.unwrap();
    assert!(
        message.contains("600 s") && message.contains("StartFailed"),
        "{message}"
    );
}

#[test]
fn what_was_called_off_is_over() {
    let mut call = invocation();
    decide(&mut call, Outcome::CalledOff, now(), 1.0);
    assert_eq!((call.state, call.attempts), (State::Cancelled, 0));
}

#[test]
fn a_problem_is_told_by_its_sentence_and_an_answer_that_is_cut_is_told() {
    let mut call = invocation();
    let Outcome::Answered {
        mut answer,
        retry_after,
        ..
    } = answered(503, None, None)
    else {
        panic!("no answer");
    };
    answer.body = Bytes::from_static(br#"{"title": "x", "detail": "no room \u2713"}"#);
    let problem = Outcome::Answered {
        answer: answer.clone(),
        reason: Some("QueueFull".into()),
        retry_after,
    };
    decide(&mut call, problem, now(), 1.0);
    assert_eq!(call.message.as_deref(), Some("QueueFull: no room \u{2713}"));
    answer.head.status = 200;
    answer.head.cut = true;
    let large = Outcome::Answered {
        answer,
        reason: None,
        retry_after,
    };
    decide(&mut call, large, now(), 1.0);
    assert_eq!(call.state, State::Succeeded);
    assert!(
        call.message
            .is_some_and(|message| message.contains("too large"))
    );
}

#[test]
fn a_function_that_is_gone_does_not_come_back() {
    let mut call = invocation();
    call.delivery.max_age = Some(Duration::from_secs(7 * 24 * 3600).into());
    let gone = || answered(404, Some("NoSuchFunction"), None);
    for _ in 1..MOST_GONE {
        decide(&mut call, gone(), now(), 1.0);
        assert_eq!((call.state, call.attempts), (State::Waiting, 0));
    }
    // It was there after all.
    let full = answered(503, Some("QueueFull"), None);
    decide(&mut call, full, now(), 1.0);
    for _ in 1..MOST_GONE {
        decide(&mut call, gone(), now(), 1.0);
        assert_eq!(call.state, State::Waiting);
    }
    decide(&mut call, gone(), now(), 1.0);
    assert_eq!(call.state, State::Failed);
}

#[test]
fn an_answer_that_is_not_published_uses_up_an_attempt() {
    let mut call = invocation();
    let unpublished = |again| Outcome::Unpublished {
        why: "full".into(),
        again,
        retry_after: Some(Duration::from_secs(10)),
    };
    decide(&mut call, unpublished(true), now(), 1.0);
    assert_eq!((call.state, call.attempts), (State::Waiting, 1));
    let later = later(now(), Duration::from_secs(10));
    assert_eq!(call.next_attempt_at, Some(later));
    decide(&mut call, unpublished(false), now(), 1.0);
    assert_eq!((call.state, call.attempts), (State::Failed, 2));
}
