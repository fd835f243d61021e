//! Taking replicas away without cutting anything short. Pure.
//!
//! The pods to go are marked first; all gateways then send new requests elsewhere, and say how many
//! of theirs still run there. When every gateway says none, the scale is lowered, and the mark makes
//! the cluster choose exactly those pods.

use std::{collections::HashMap, time::Duration};

/// How long a marked pod may stay busy before it is put back to work and idle ones go without it.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a pod that was put back is not tried again; doubles each time.
const FIRST_REST: Duration = Duration::from_secs(20);

/// The longest such time.
const LAST_REST: Duration = Duration::from_secs(300);

/// A live pod, as all gateways together see it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct PodView {
    /// Name of the pod.
    pub(crate) name: Box<str>,
    /// Whether it takes requests.
    pub(crate) usable: bool,
    /// Whether it is marked to go.
    pub(crate) marked: bool,
    /// Requests on it, as far as they are known.
    pub(crate) in_flight: u32,
    /// Whether every gateway has seen the mark and says that nothing runs on it.
    pub(crate) empty: bool,
}

/// What to do.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Action {
    /// Mark this pod to go.
    Mark(Box<str>),
    /// Put this pod back to work.
    Unmark(Box<str>),
    /// Ask for this many replicas.
    Scale(u32),
}

/// What is remembered of a drain.
#[derive(Clone, Debug, Default)]
pub(crate) struct Memory {
    marked: HashMap<Box<str>, Duration>,
    resting: HashMap<Box<str>, (Duration, Duration)>,
}

/// What to do so that `replicas` become `want`, at `now` on any scale that only goes forward.
#[must_use]
pub(crate) fn plan(
    now: Duration,
    replicas: u32,
    want: u32,
    pods: &[PodView],
    memory: &mut Memory,
) -> Vec<Action> {
    memory.forget_missing(pods);
    if want >= replicas {
        memory.marked.clear();
        let marked = pods.iter().filter(|pod| pod.marked);
        let mut actions: Vec<_> = marked.map(|pod| Action::Unmark(pod.name.clone())).collect();
        if want > replicas {
            actions.insert(0, Action::Scale(want));
        }
        return actions;
    }
    let surplus = replicas - want;
    let live = u32::try_from(pods.len()).unwrap_or(u32::MAX);
    // Replicas that have no pod yet: nobody misses them.
    let missing = replicas.saturating_sub(live);
    let count = surplus.saturating_sub(missing) as usize;

    let mut candidates: Vec<&PodView> = pods.iter().collect();
    candidates.sort_by_key(|pod| {
        let resting = memory.is_resting(&pod.name, now);
        (
            resting,
            !pod.marked,
            pod.usable,
            pod.in_flight,
            pod.name.clone(),
        )
    });
    let (chosen, others) = candidates.split_at(count.min(candidates.len()));

    let mut actions = Vec::new();
    let mut ready_to_go = 0;
    // While a mark is on its way, on or off, the cluster might choose other pods than these.
    let mut undecided = false;
    for pod in others.iter().filter(|pod| pod.marked) {
        memory.marked.remove(&pod.name);
        actions.push(Action::Unmark(pod.name.clone()));
        undecided = true;
    }
    for pod in chosen {
        if memory.is_resting(&pod.name, now) && !pod.marked {
            continue;
        }
        if !pod.marked {
            memory.marked.entry(pod.name.clone()).or_insert(now);
            actions.push(Action::Mark(pod.name.clone()));
            undecided = true;
            continue;
        }
        let since = *memory.marked.entry(pod.name.clone()).or_insert(now);
        if pod.empty {
            ready_to_go += 1;
        } else if now.saturating_sub(since) < PATIENCE {
            undecided = true;
        } else {
            memory.rest(&pod.name, now);
            actions.push(Action::Unmark(pod.name.clone()));
            undecided = true;
        }
    }
    let go = ready_to_go + surplus.min(missing);
    if go > 0 && !undecided {
        actions.push(Action::Scale(replicas - go));
    }
    actions
}

// === impl Memory ===

impl Memory {
    fn forget_missing(&mut self, pods: &[PodView]) {
        let exists = |name: &str| pods.iter().any(|pod| &*pod.name == name);
        self.marked.retain(|name, _| exists(name));
        self.resting.retain(|name, _| exists(name));
    }

    fn is_resting(&self, name: &str, now: Duration) -> bool {
        self.resting
            .get(name)
            .is_some_and(|(until, _)| *until > now)
    }

    fn rest(&mut self, name: &str, now: Duration) {
        self.marked.remove(name);
        let last = self.resting.get(name).map(|(_, rest)| *rest);
        let rest = last.map_or(FIRST_REST, |last| (last * 2).min(LAST_REST));
        self.resting.insert(name.into(), (now + rest, rest));
    }
}

#[cfg(test)]
mod tests;
