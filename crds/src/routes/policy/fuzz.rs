use super::*;
use crate::{
    routes::InCluster,
    sample::{self, Choices},
};

const LABELS: [&str; 12] = [
    "pay",
    "a",
    "svc",
    "cluster",
    "local",
    "fn",
    "example",
    "com",
    "localhost",
    "0x7f",
    "1",
    "shop",
];

fn host(choose: Choices<'_>) -> String {
    let labels: Vec<&str> = (0..=choose(5))
        .map(|_| sample::pick(&LABELS, choose))
        .collect();
    labels.join(".")
}

#[test]
fn fuzz_what_may_be_claimed_is_no_name_of_a_function() {
    bolero::check!().for_each(|bytes: &[u8]| {
        let mut choose = sample::chosen_by(bytes);
        let grants: Vec<ClaimGrant> = (0..choose(3))
            .filter_map(|_| {
                let host = host(&mut choose);
                let namespace = sample::pick(&["", "a", "a,shop"], &mut choose);
                format!("{host}={namespace}").parse().ok()
            })
            .collect();
        let own = [host(&mut choose)];
        let policy = ClaimPolicy::new("fn.example.com", "cluster.local", &own, &grants);
        let host = host(&mut choose);
        if policy.check("a", &Claim::Host(host.clone())).is_err() {
            return;
        }
        assert!(!own.contains(&host), "{host}");
        assert!(!format!(".{host}").ends_with(".fn.example.com"), "{host}");
        assert!(host.parse::<std::net::IpAddr>().is_err(), "{host}");
        // With the domain of Services it would be a name in the cluster; without it, it is found there
        // on a listener that knows no claims.
        let meant = InCluster::of(&host, "cluster.local");
        assert!(
            meant.is_none_or(|meant| meant == InCluster::Whole(&host)),
            "{host}"
        );
        assert!(!format!(".{host}").ends_with(".svc"), "{host}");
        // Some grant covers it, or none does.
        let covering = grants
            .iter()
            .filter(|grant| grant.covers(&Claim::Host(host.clone())))
            .max_by_key(|grant| grant.specificity());
        assert!(covering.is_none_or(|grant| grant.namespaces.contains(&"a".to_owned())));
    });
}

#[test]
fn fuzz_any_text_is_a_grant_or_refused() {
    bolero::check!().for_each(|bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes);
        let _ = text.parse::<ClaimGrant>();
        let policy = ClaimPolicy::new(&text, "cluster.local", &[], &[]);
        for claim in [Claim::Host(text.to_string()), Claim::Path(text.to_string())] {
            let _ = policy.check("a", &claim);
        }
    });
}
