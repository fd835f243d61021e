use serde_json::json;

use super::*;

fn pod(name: &str, ip: &str, ready: &str) -> Pod {
    serde_json::from_value(json!({
        "metadata": { "name": name },
        "status": { "podIP": ip, "conditions": [{ "type": "Ready", "status": ready }] },
    }))
    .unwrap()
}

/// Three gateways, each as it sees itself.
fn gateways() -> Vec<Peers> {
    ["a", "b", "c"]
        .iter()
        .map(|own| {
            let peers = Peers::new(own, 8080, 8081);
            for (name, ip) in [("a", "10.0.0.1"), ("b", "10.0.0.2"), ("c", "10.0.0.3")] {
                peers.apply(&pod(name, ip, "True"));
            }
            peers
        })
        .collect()
}

fn owner(peers: &Peers, function: &str) -> String {
    let key = Key::new("default", function);
    let owner = peers.owner(&key, Sender::Client, Entrance::Public, false);
    owner.map_or_else(|| peers.own.to_string(), |other| other.pod().to_owned())
}

#[test]
fn all_agree_and_each_keeps_its_share() {
    let gateways = gateways();
    let mut kept = BTreeMap::<String, usize>::new();
    for number in 0..300 {
        let function = format!("f-{number}");
        let owners: Vec<String> = gateways
            .iter()
            .map(|peers| owner(peers, &function))
            .collect();
        assert_eq!(owners[0], owners[1]);
        assert_eq!(owners[0], owners[2]);
        *kept.entry(owners[0].clone()).or_default() += 1;
    }
    assert!(
        kept.values().all(|count| (60..140).contains(count)),
        "{kept:?}"
    );
}

#[test]
fn a_request_stays_on_the_side_on_which_it_came_in() {
    let one = &gateways()[0];
    let owner = |entrance| {
        (0..).find_map(|number| {
            let key = Key::new("default", format!("f-{number}"));
            one.owner(&key, Sender::Client, entrance, false)
        })
    };
    let port = |entrance| owner(entrance).unwrap().address().port();
    assert_eq!(port(Entrance::Public), 8080);
    assert_eq!(port(Entrance::Internal), 8081);
}

#[test]
fn who_goes_leaves_only_its_own_functions() {
    let one = &gateways()[0];
    let functions: Vec<String> = (0..100).map(|number| format!("f-{number}")).collect();
    let before: Vec<String> = functions.iter().map(|name| owner(one, name)).collect();
    let mut leaving = pod("b", "10.0.0.2", "True");
    leaving.metadata.deletion_timestamp =
        serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap();
    one.apply(&leaving);
    assert_eq!(one.others().len(), 2, "it has requests under way");
    for (name, before) in functions.iter().zip(&before) {
        let now = owner(one, name);
        assert!(now == *before || before == "b", "{name}");
        assert_ne!(now, "b");
    }
}

#[test]
fn who_takes_no_connection_keeps_nothing_for_a_moment() {
    let one = &gateways()[0];
    let number = (0..).find(|number| owner(one, &format!("f-{number}")) == "b");
    let name = format!("f-{}", number.unwrap());
    let key = Key::new("default", &name);
    one.eject(
        &one.owner(&key, Sender::Client, Entrance::Public, false)
            .unwrap(),
    );
    assert_ne!(owner(one, &name), "b");
}

#[test]
fn one_that_stops_keeps_nothing_while_there_are_others() {
    let one = &gateways()[0];
    for number in 0..20 {
        let key = Key::new("default", format!("f-{number}"));
        assert!(
            one.owner(&key, Sender::Client, Entrance::Public, true)
                .is_some()
        );
    }
    let alone = Peers::new("a", 8080, 8081);
    let key = Key::new("default", "f");
    let owner = |alone: &Peers| alone.owner(&key, Sender::Client, Entrance::Public, true);
    assert!(owner(&alone).is_none());
    alone.apply(&pod("a", "10.0.0.1", "True"));
    assert!(owner(&alone).is_none());
    alone.apply(&pod("b", "10.0.0.2", "False"));
    assert!(owner(&alone).is_none(), "the other is not ready");
}

#[test]
fn nothing_goes_round_in_circles_whatever_each_of_them_sees() {
    let gateways = gateways();
    for number in 0..50 {
        let key = Key::new("default", format!("f-{number}"));
        // Each of them is about to stop and takes the others for those to go to.
        let next = |from: &Peers, sender| {
            let owner = from.owner(&key, sender, Entrance::Public, true)?;
            gateways.iter().find(|peers| *peers.own == *owner.pod())
        };
        assert!(
            gateways[0]
                .owner(&key, Sender::Gateway, Entrance::Public, true)
                .is_none()
        );
        let mut at = next(&gateways[0], Sender::Client);
        for _ in 0..3 {
            at = at.and_then(|peers| next(peers, Sender::Unknown));
        }
        assert!(at.is_none());
    }
}
