//! What a Revision is to its Function.

use crate::backend::function_facts::FunctionFacts;

/// What a Revision is to its Function, and so how it is scaled.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub(crate) enum Role {
    /// It gets traffic: scaled by need.
    Active,
    /// The newest one, which has not been ready yet: it keeps the replicas it was made with.
    Pending,
    /// Everything else: goes to zero once nothing runs on it.
    Retired,
}

// === impl Role ===

impl Role {
    /// The role of the Revision with this name. Without its Function it is retired; while the
    /// Function has no status it is pending.
    #[must_use]
    pub(crate) fn of(function: Option<&FunctionFacts>, name: &str, has_been_ready: bool) -> Self {
        let Some(function) = function else {
            return Self::Retired;
        };
        let serves = function
            .traffic
            .iter()
            .any(|target| target.revision == name && target.percent > 0);
        if serves {
            return Self::Active;
        }
        let waits = !has_been_ready || function.traffic.is_empty();
        match function.latest_created.as_deref() {
            Some(latest) if latest == name && waits => Self::Pending,
            None if function.traffic.is_empty() => Self::Pending,
            _ => Self::Retired,
        }
    }

    /// The role that was stored as a number.
    #[must_use]
    pub(crate) fn from_number(number: u8) -> Self {
        match number {
            0 => Self::Active,
            1 => Self::Pending,
            _ => Self::Retired,
        }
    }
}

#[cfg(test)]
mod tests {
    use fermata_crds::TrafficTarget;

    use super::*;

    fn facts(latest: Option<&str>, serving: Option<&str>) -> FunctionFacts {
        FunctionFacts {
            latest_created: latest.map(Into::into),
            traffic: serving
                .map(|revision| TrafficTarget {
                    revision: revision.into(),
                    percent: 100,
                })
                .into_iter()
                .collect(),
            ..FunctionFacts::default()
        }
    }

    #[test]
    fn traffic_makes_active_and_the_newest_waits() {
        let rolling = facts(Some("f-00002"), Some("f-00001"));
        assert_eq!(Role::of(Some(&rolling), "f-00001", true), Role::Active);
        assert_eq!(Role::of(Some(&rolling), "f-00002", false), Role::Pending);
        let rolled = facts(Some("f-00002"), Some("f-00002"));
        assert_eq!(Role::of(Some(&rolled), "f-00001", true), Role::Retired);
    }

    #[test]
    fn nothing_is_retired_because_a_status_is_late() {
        assert_eq!(
            Role::of(Some(&facts(None, None)), "f-00001", false),
            Role::Pending
        );
        let first = facts(Some("f-00001"), None);
        assert_eq!(Role::of(Some(&first), "f-00001", true), Role::Pending);
        assert_eq!(Role::of(None, "f-00001", true), Role::Retired);
    }
}
