//! Which of several instances takes a request.

use std::sync::Arc;

use crate::{backend::endpoint::Endpoint, clock::Micros, random};

/// Takes a place on the less busy of two instances chosen at random, and on the least busy of all
/// if these two have none. Ejected instances come last, but they come.
#[must_use]
pub(crate) fn pick(endpoints: &[Arc<Endpoint>], limit: u32, now: Micros) -> Option<&Arc<Endpoint>> {
    match endpoints {
        [] => None,
        [only] => only.try_enter(limit).then_some(only),
        many => {
            let first = random::below(many.len());
            let second = (first + 1 + random::below(many.len() - 1)) % many.len();
            let (one, other) = (&many[first], &many[second]);
            let better = if rank(other, now) < rank(one, now) {
                other
            } else {
                one
            };
            if !better.is_ejected(now) && better.try_enter(limit) {
                return Some(better);
            }
            least_busy(many, limit, now)
        }
    }
}

/// The slow way, when chance found nothing: looks at every instance.
fn least_busy(endpoints: &[Arc<Endpoint>], limit: u32, now: Micros) -> Option<&Arc<Endpoint>> {
    // Another request may take the place that was seen; one try per instance bounds the search.
    for _ in endpoints {
        let best = endpoints
            .iter()
            .filter(|endpoint| endpoint.busy() < limit)
            .min_by_key(|endpoint| rank(endpoint, now))?;
        if best.try_enter(limit) {
            return Some(best);
        }
    }
    None
}

fn rank(endpoint: &Endpoint, now: Micros) -> (bool, u32) {
    (endpoint.is_ejected(now), endpoint.busy())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NO_LIMIT: u32 = u32::MAX;

    fn endpoints(count: u16) -> Vec<Arc<Endpoint>> {
        (1..=count)
            .map(|port| Endpoint::for_test(&format!("pod-{port}"), port))
            .collect()
    }

    #[test]
    fn nobody_goes_above_the_limit() {
        let endpoints = endpoints(3);
        for _ in 0..6 {
            assert!(pick(&endpoints, 2, 0).is_some());
        }
        assert!(pick(&endpoints, 2, 0).is_none());
        assert!(endpoints.iter().all(|endpoint| endpoint.in_flight() == 2));
        endpoints[1].leave();
        assert_eq!(pick(&endpoints, 2, 0).unwrap().pod(), "pod-2");
    }

    #[test]
    fn two_choices_keep_the_load_even() {
        let endpoints = endpoints(10);
        for _ in 0..1000 {
            assert!(pick(&endpoints, NO_LIMIT, 0).is_some());
        }
        let most = endpoints.iter().map(|endpoint| endpoint.in_flight()).max();
        assert!(most.unwrap() <= 110, "{most:?}");
    }

    #[test]
    fn an_ejected_one_gets_nothing_until_its_time_is_over() {
        let endpoints = endpoints(2);
        endpoints[0].eject(100);
        for _ in 0..50 {
            assert_eq!(pick(&endpoints, NO_LIMIT, 50).unwrap().pod(), "pod-2");
        }
        for _ in 0..50 {
            let _ = pick(&endpoints, NO_LIMIT, 101);
        }
        assert!(endpoints[0].in_flight() > 0);
    }

    #[test]
    fn the_last_one_is_taken_even_if_ejected() {
        let endpoints = endpoints(2);
        endpoints[0].eject(100);
        endpoints[1].eject(100);
        assert!(pick(&endpoints, NO_LIMIT, 50).is_some());
        assert!(pick(&endpoints[..1], NO_LIMIT, 50).is_some());
        assert!(pick(&[], NO_LIMIT, 50).is_none());
    }
}
