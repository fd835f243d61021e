use jiff::Timestamp;

use super::*;

fn put(table: Rows, id: Id, row: Vec<u8>) -> Change {
    Change {
        table,
        id,
        row: Some(row),
    }
}

fn plan(changes: &[Change]) -> Plan {
    let changes: Vec<&Change> = changes.iter().collect();
    let id = changes[0].id;
    Plan::of(&Catalog::default(), id, &changes, 1024 * 1024).unwrap()
}

fn id() -> Id {
    Id::new(Timestamp::now()).unwrap()
}

#[test]
fn a_call_that_is_small_is_one_message() {
    let id = id();
    let plan = plan(&[
        put(Rows::Invocations, id, b"{\"a\": 1}\r\n".to_vec()),
        put(Rows::Calls, id, b"sent".to_vec()),
    ]);
    let [message] = &*plan.messages else {
        panic!("{:?}", plan.messages);
    };
    assert_eq!(message.subject, format!("{id}.0"));
    assert_eq!(message.body, "sent");
    let content = Content::of(&message.headers).unwrap();
    assert_eq!(content.invocation.as_deref(), Some(&b"{\"a\": 1}\r\n"[..]));
    assert_eq!(content.body, Some((Rows::Calls, 1, 1)));
    assert_eq!(content.gone, RowSet::one(Rows::Answers));
}

#[test]
fn what_a_caller_says_is_no_header_of_the_server() {
    let id = id();
    let row = b"Nats-Expected-Last-SequenceNats-Expected-Last-Sequence: 0".to_vec();
    let plan = plan(&[put(Rows::Invocations, id, row.clone())]);
    for (name, values) in plan.messages[0].headers.iter() {
        let text = format!("{name}{values:?}");
        assert!(!text.contains("Nats-"), "{text}");
    }
    let content = Content::of(&plan.messages[0].headers).unwrap();
    assert_eq!(content.invocation, Some(row));
}

#[test]
fn what_is_large_is_cut_and_no_message_is_larger_than_it_may_be() {
    let id = id();
    let plan = plan(&[
        put(Rows::Invocations, id, vec![b'i'; 20_000]),
        put(Rows::Calls, id, vec![b'c'; 2 * 1024 * 1024]),
    ]);
    let bodies: Vec<Option<(Rows, u32, u32)>> = plan
        .messages
        .iter()
        .map(|message| Content::of(&message.headers).unwrap().body)
        .collect();
    let call = |part| Some((Rows::Calls, part, 3));
    let known = Some((Rows::Invocations, 1, 1));
    assert_eq!(bodies, [known, call(1), call(2), call(3)]);
    for message in &plan.messages {
        assert!(message.body.len() < 1024 * 1024 - 500);
    }
}

#[test]
fn messages_of_others_make_no_sense() {
    assert_eq!(Content::of(&HeaderMap::new()), None);
    let mut headers = HeaderMap::new();
    headers.insert(BODY, "x");
    assert_eq!(Content::of(&headers), None);
    headers.insert(BODY, "c");
    headers.insert(PART, "1");
    assert_eq!(Content::of(&headers), None);
}
