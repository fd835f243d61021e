//! How many pods each ReplicaSet of a Deployment should have next
//! (<https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#strategy>). Pure.

use k8s_openapi::{
    api::apps::v1::{Deployment, ReplicaSet},
    apimachinery::pkg::util::intstr::IntOrString,
};

/// What a ReplicaSet has and wants.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Counts {
    pub(super) wanted: i32,
    pub(super) existing: i32,
    pub(super) available: i32,
}

/// The bounds of a rollout.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Strategy {
    Recreate,
    RollingUpdate { surge: i32, unavailable: i32 },
}

// === impl Counts ===

impl Counts {
    pub(super) fn of(set: &ReplicaSet) -> Self {
        let status = set.status.as_ref();
        Self {
            wanted: set
                .spec
                .as_ref()
                .and_then(|spec| spec.replicas)
                .unwrap_or(0),
            existing: status.map_or(0, |status| status.replicas),
            available: status
                .and_then(|status| status.available_replicas)
                .unwrap_or(0),
        }
    }
}

// === impl Strategy ===

impl Strategy {
    pub(super) fn of(deployment: &Deployment, replicas: i32) -> Self {
        let strategy = deployment
            .spec
            .as_ref()
            .and_then(|spec| spec.strategy.as_ref());
        if strategy.is_some_and(|strategy| strategy.type_.as_deref() == Some("Recreate")) {
            return Self::Recreate;
        }
        let rolling = strategy.and_then(|strategy| strategy.rolling_update.as_ref());
        let surge = share(
            rolling.and_then(|rolling| rolling.max_surge.as_ref()),
            replicas,
            true,
        );
        let unavailable = share(
            rolling.and_then(|rolling| rolling.max_unavailable.as_ref()),
            replicas,
            false,
        );
        // Both zero would never get anywhere.
        Self::RollingUpdate {
            surge,
            unavailable: if surge == 0 {
                unavailable.max(1)
            } else {
                unavailable
            },
        }
    }
}

/// A number or a percentage of the replicas; surge rounds up, unavailable rounds down.
fn share(value: Option<&IntOrString>, replicas: i32, up: bool) -> i32 {
    let percent = match value {
        Some(IntOrString::Int(number)) => return (*number).max(0),
        Some(IntOrString::String(text)) => text.trim_end_matches('%').parse::<i32>().unwrap_or(25),
        None => 25,
    };
    let parts = i64::from(replicas) * i64::from(percent);
    let whole = if up { (parts + 99) / 100 } else { parts / 100 };
    i32::try_from(whole).unwrap_or(i32::MAX)
}

/// What the newest ReplicaSet and the old ones (oldest first) should want next.
pub(super) fn next(
    strategy: Strategy,
    replicas: i32,
    new: Counts,
    old: &[Counts],
) -> (i32, Vec<i32>) {
    let mut olds: Vec<i32> = old.iter().map(|counts| counts.wanted).collect();
    if olds.iter().all(|wanted| *wanted == 0) {
        let old_pods_left = old.iter().any(|counts| counts.existing > 0);
        let waits = strategy == Strategy::Recreate && old_pods_left && new.wanted == 0;
        return (if waits { 0 } else { replicas }, olds);
    }
    let Strategy::RollingUpdate { surge, unavailable } = strategy else {
        return (new.wanted, vec![0; old.len()]);
    };
    let total = new.wanted + olds.iter().sum::<i32>();
    let room = (replicas + surge - total).max(0);
    let next_new = if new.wanted > replicas {
        replicas
    } else {
        (new.wanted + room).min(replicas)
    };

    let least = (replicas - unavailable).max(0);
    let available = new.available.min(next_new)
        + old
            .iter()
            .map(|counts| counts.available.min(counts.wanted))
            .sum::<i32>();
    let mut spare = (available - least).max(0);
    for (counts, wanted) in old.iter().zip(&mut olds) {
        // What is not available serves nobody and can always go.
        let useless = (*wanted - counts.available).max(0);
        *wanted -= useless;
        let healthy = spare.min(*wanted);
        *wanted -= healthy;
        spare -= healthy;
    }
    (next_new, olds)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROLLING: Strategy = Strategy::RollingUpdate {
        surge: 1,
        unavailable: 0,
    };

    fn counts(wanted: i32, available: i32) -> Counts {
        Counts {
            wanted,
            existing: wanted,
            available,
        }
    }

    /// Plays the rollout with pods that become available at once and checks the bounds at each step.
    #[test]
    fn a_rollout_stays_within_its_bounds_and_ends() {
        let (mut new, mut old) = (counts(0, 0), counts(4, 4));
        for _ in 0..20 {
            let (next_new, next_old) = next(ROLLING, 4, new, &[old]);
            assert!(next_new + next_old[0] <= 5);
            assert!(new.available + next_old[0].min(old.available) >= 4);
            (new, old) = (counts(next_new, next_new), counts(next_old[0], next_old[0]));
        }
        assert_eq!((new.wanted, old.wanted), (4, 0));
    }

    #[test]
    fn nothing_old_goes_while_nothing_new_is_available() {
        let (new, old) = next(ROLLING, 2, counts(1, 0), &[counts(2, 2)]);
        assert_eq!((new, old), (1, vec![2]));
    }

    #[test]
    fn broken_old_pods_go_first() {
        let (_, old) = next(ROLLING, 2, counts(1, 0), &[counts(2, 1)]);
        assert_eq!(old, [1]);
    }

    #[test]
    fn recreate_waits_until_the_old_pods_are_gone() {
        let old = Counts {
            wanted: 2,
            existing: 2,
            available: 2,
        };
        assert_eq!(
            next(Strategy::Recreate, 2, Counts::default(), &[old]),
            (0, vec![0])
        );
        let ending = Counts {
            wanted: 0,
            existing: 1,
            available: 0,
        };
        assert_eq!(
            next(Strategy::Recreate, 2, Counts::default(), &[ending]),
            (0, vec![0])
        );
        assert_eq!(
            next(
                Strategy::Recreate,
                2,
                Counts::default(),
                &[Counts::default()]
            ),
            (2, vec![0])
        );
    }

    #[test]
    fn a_plain_scale_is_one_step() {
        assert_eq!(
            next(ROLLING, 7, counts(2, 2), &[counts(0, 0)]),
            (7, vec![0])
        );
        assert_eq!(next(ROLLING, 0, counts(2, 2), &[]), (0, vec![]));
    }
}
