use serde_json::{Value, json};

use super::*;
use crate::fixtures;

const COMMIT: &str = "1111111111111111111111111111111111111111";
const OTHER: &str = "2222222222222222222222222222222222222222";

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).expect("a time")
}

fn function(git: &str) -> Function {
    fixtures::function(&format!("source: {{ runtime: python, git: {git} }}"))
}

fn git(function: &Function) -> GitSource {
    let source = function.spec.template.source.clone().expect("source");
    source.git.expect("git")
}

fn decided(function: &Function, pod: Option<Pod>, now: Timestamp) -> Look {
    decide(function, &git(function), pod, now)
}

/// The pod that a Function wants, in this state.
fn pod(function: &Function, state: Value, made: Timestamp) -> Pod {
    let Next::Start(asked) = decided(function, None, made).next else {
        panic!("no pod is wanted");
    };
    let mut pod = pod::build(function, &git(function), &asked, &Default::default());
    pod.metadata.creation_timestamp = Some(Time(made));
    let status = json!({"containerStatuses": [{"name": "look", "image": "", "imageID": "",
        "ready": false, "restartCount": 0, "state": state}]});
    pod.status = Some(serde_json::from_value(status).expect("a status"));
    pod
}

fn ended(code: i32, message: &str, at: Timestamp) -> Value {
    json!({"terminated": {"exitCode": code, "message": message, "finishedAt": at.to_string()}})
}

/// The Function after the status was written.
fn after(mut function: Function, look: &Look) -> Function {
    let conditions = conditions::merge(&[], std::slice::from_ref(&look.outcome), None, at(0));
    function.status = Some(fermata_crds::FunctionStatus {
        source: Some(look.status.clone()),
        conditions,
        ..Default::default()
    });
    function
}

/// The Function after a look that ended so.
fn looked(function: Function, code: i32, message: &str, time: Timestamp) -> Function {
    let pod = pod(&function, ended(code, message, time), time);
    let look = decided(&function, Some(pod), time);
    assert!(matches!(look.next, Next::Discard(..)));
    after(function, &look)
}

#[test]
fn a_look_is_begun_waited_for_and_taken_once() {
    let function = function("{ url: 'https://h/a', ref: main }");
    let first = decided(&function, None, at(0));
    assert!(matches!(first.next, Next::Start(_)));
    assert_eq!(first.outcome.reason, reasons::LOOKING_UP);
    let running = pod(&function, json!({"running": {}}), at(0));
    assert_eq!(decided(&function, Some(running), at(5)).next, Next::Wait);

    let answered = pod(&function, ended(0, COMMIT, at(3)), at(0));
    let look = decided(&function, Some(answered.clone()), at(5));
    assert_eq!(look.status.commit.as_deref(), Some(COMMIT));
    assert_eq!(look.outcome.status, Status::True);
    assert!(matches!(look.next, Next::Discard(_, None)));
    let function = after(function, &look);
    let again = decided(&function, Some(answered), at(6));
    assert_eq!(again.status, look.status);
    assert_eq!(decided(&function, None, at(9999)).next, Next::Rest(None));
}

#[test]
fn another_text_of_the_annotation_looks_again_and_what_is_known_stays() {
    let mut function = looked(function("{ url: 'https://h/a' }"), 0, COMMIT, at(0));
    let annotations = function.annotations_mut();
    annotations.insert(names::LOOK_ANNOTATION.to_owned(), "2".to_owned());
    let look = decided(&function, None, at(1));
    assert!(matches!(look.next, Next::Start(_)));
    assert_eq!(look.status.commit.as_deref(), Some(COMMIT));
    let function = looked(function, 0, OTHER, at(2));
    let status = function.status.and_then(|status| status.source);
    assert_eq!(
        status.and_then(|source| source.commit).as_deref(),
        Some(OTHER)
    );
}

#[test]
fn another_repository_has_nothing_of_the_old_one() {
    let mut function = looked(function("{ url: 'https://h/a' }"), 0, COMMIT, at(0));
    let source = function.spec.template.source.as_mut().expect("source");
    source.git.as_mut().expect("git").url = "https://h/b".into();
    let look = decided(&function, None, at(1));
    assert_eq!(look.status.commit, None);
    assert_eq!(look.outcome.status, Status::Unknown);
}

#[test]
fn a_poll_looks_again_in_time() {
    let function = looked(
        function("{ url: 'https://h/a', poll: 1m }"),
        0,
        COMMIT,
        at(0),
    );
    let rest = decided(&function, None, at(20)).next;
    assert_eq!(rest, Next::Rest(Some(Duration::from_secs(40))));
    assert!(matches!(
        decided(&function, None, at(60)).next,
        Next::Start(_)
    ));
}

#[test]
fn failures_are_told_kept_apart_and_tried_again_ever_later() {
    for (code, status, reason) in [
        (75, Status::Unknown, reasons::REPOSITORY_UNREACHABLE),
        (74, Status::Unknown, reasons::DISK_FULL),
        (66, Status::False, reasons::REF_NOT_FOUND),
        (77, Status::False, reasons::AUTHENTICATION_FAILED),
        (1, Status::False, reasons::LOOK_FAILED),
    ] {
        let function = function("{ url: 'https://h/a', ref: main }");
        let pod = pod(&function, ended(code, "a\nfermata: why\n", at(0)), at(0));
        let look = decided(&function, Some(pod), at(0));
        assert_eq!(
            (look.outcome.status, &*look.outcome.reason),
            (status, reason)
        );
        assert_eq!(look.outcome.message, "why");
    }
    let mut function = looked(function("{ url: 'https://h/a' }"), 0, COMMIT, at(0));
    function
        .annotations_mut()
        .insert(names::LOOK_ANNOTATION.to_owned(), "2".to_owned());
    let mut now = 0;
    for wait in [10, 20, 40, 80, 160, 300, 300] {
        function = looked(function, 75, "away", at(now));
        let look = decided(&function, None, at(now));
        assert_eq!(look.next, Next::Rest(Some(Duration::from_secs(wait))));
        assert_eq!(look.status.commit.as_deref(), Some(COMMIT));
        assert!(look.outcome.message.contains("stays what runs"));
        now += i64::try_from(wait).unwrap();
    }
    let function = looked(function, 0, COMMIT, at(now));
    let look = decided(&function, None, at(now));
    assert_eq!(
        (look.outcome.status, look.status.failures),
        (Status::True, None)
    );
}

#[test]
fn a_pod_of_an_old_question_goes_and_one_of_somebody_else_stays() {
    let function = function("{ url: 'https://h/a' }");
    let mut old = pod(&function, ended(0, COMMIT, at(0)), at(0));
    let annotations = old.annotations_mut();
    annotations.insert(ASKED_ANNOTATION.to_owned(), "old".to_owned());
    let look = decided(&function, Some(old.clone()), at(1));
    assert!(matches!(look.next, Next::Discard(..)));
    assert_eq!(look.status.commit, None);
    old.metadata.owner_references = None;
    let look = decided(&function, Some(old), at(1));
    assert!(matches!(look.next, Next::Rest(Some(_))));
    assert_eq!(look.outcome.status, Status::False);
}

#[test]
fn a_pod_that_never_answers_is_given_up() {
    let function = function("{ url: 'https://h/a' }");
    let pod = pod(
        &function,
        json!({"waiting": {"reason": "ContainerCreating"}}),
        at(0),
    );
    assert_eq!(
        decided(&function, Some(pod.clone()), at(89)).next,
        Next::Wait
    );
    let look = decided(&function, Some(pod), at(91));
    assert!(matches!(look.next, Next::Discard(..)));
    assert_eq!(look.outcome.reason, reasons::LOOK_FAILED);
}

#[test]
fn a_commit_in_the_manifest_needs_no_look() {
    let function = function(&format!("{{ url: 'https://h/a', ref: '{COMMIT}' }}"));
    let look = decided(&function, None, at(0));
    assert_eq!(look.next, Next::Rest(None));
    assert_eq!(look.status.commit.as_deref(), Some(COMMIT));
    assert_eq!(
        decided(&after(function, &look), None, at(9)).status,
        look.status
    );
}
