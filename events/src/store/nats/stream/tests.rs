use super::*;

#[test]
fn a_stream_that_would_lose_something_is_refused_and_its_owner_may_give_it_other_room() {
    let wanted = config(&Settings::for_tests("nats://127.0.0.1:4222"));
    let given = Config {
        max_bytes: 77,
        num_replicas: 3,
        description: None,
        ..wanted.clone()
    };
    check(&given, &wanted).unwrap();
    let lossy = Config {
        discard: DiscardPolicy::Old,
        ..wanted.clone()
    };
    let error = check(&lossy, &wanted).unwrap_err().to_string();
    assert!(error.contains("discard Old"), "{error}");
    assert!(error.contains("needs New"), "{error}");
    let aging = Config {
        max_age: std::time::Duration::from_secs(60),
        ..wanted.clone()
    };
    let error = check(&aging, &wanted).unwrap_err().to_string();
    assert!(error.contains("max_age 60s"), "{error}");
}
