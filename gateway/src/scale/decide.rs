//! How many replicas a Revision should have. Pure.
//!
//! The stable/panic windows of Knative's autoscaler: the average over the long window decides, unless
//! the short one shows at least twice what the replicas can carry; then it decides, and nothing goes
//! down until the long window has passed without another such moment. Calls that wait in the events program are known,
//! and not guessed: they count at once.

use std::{collections::VecDeque, time::Duration};

use crate::backend::role::Role;

/// How much one decision may raise the number of ready replicas.
const MAX_UP_RATE: f64 = 1000.0;

/// How much one decision may lower it.
const MAX_DOWN_RATE: f64 = 2.0;

/// Panic begins when the short window needs this many times the ready replicas.
const PANIC_THRESHOLD: f64 = 2.0;

/// A Revision must have been retired for this long before it is taken to zero: the objects that make
/// it so arrive one after the other.
const RETIRE_AFTER: Duration = Duration::from_secs(10);

/// What a decision rests on.
#[derive(Clone, Debug)]
pub(crate) struct Input {
    /// What the Revision is to its Function, and for how long it has been that.
    pub(crate) role: Role,
    /// How long it has had that role, as far as this gateway knows.
    pub(crate) role_for: Duration,
    /// The least replicas, by now.
    pub(crate) min: u32,
    /// The most replicas, by now.
    pub(crate) max: u32,
    /// Replicas of a new Revision.
    pub(crate) initial: u32,
    /// Replicas when woken.
    pub(crate) activation: u32,
    /// What one replica is meant to carry.
    pub(crate) target: f64,
    /// The long window.
    pub(crate) window: Duration,
    /// From the last request to zero.
    pub(crate) idle_after: Duration,
    /// How long a lower need must last.
    pub(crate) down_delay: Duration,
    /// Replicas that are asked for.
    pub(crate) replicas: u32,
    /// Replicas that take requests.
    pub(crate) ready: u32,
    /// The metric, averaged over the long window.
    pub(crate) stable: f64,
    /// The metric, averaged over the short window.
    pub(crate) panic: f64,
    /// The metric, as it was last.
    pub(crate) latest: f64,
    /// Calls that wait in the events program, and come as soon as they may.
    pub(crate) coming: f64,
    /// How long there has been no request.
    pub(crate) idle_for: Duration,
    /// How long the numbers have been gathered.
    pub(crate) observed_for: Duration,
    /// Whether every gateway was heard.
    pub(crate) complete: bool,
}

/// What is remembered between decisions.
#[derive(Clone, Debug, Default)]
pub(crate) struct Memory {
    /// When the last moment of panic was.
    panic: Option<Duration>,
    most_in_panic: u32,
    /// Recent needs, for the delay on the way down.
    needs: VecDeque<(Duration, u32)>,
}

/// The number of replicas that should be asked for at `now`, a time on any scale that only goes
/// forward.
#[must_use]
pub(crate) fn decide(now: Duration, input: &Input, memory: &mut Memory) -> u32 {
    match input.role {
        Role::Retired if input.role_for < RETIRE_AFTER => input.replicas,
        Role::Retired => {
            *memory = Memory::default();
            0
        }
        Role::Pending => {
            // Also carries requests, if its Function has nothing else yet.
            let need = need(now, input, memory);
            need.max(input.initial).max(input.replicas).min(input.max)
        }
        Role::Active => {
            let need = need(now, input, memory);
            let need = delayed(now, need, input.down_delay, memory);
            let need = last_one(need, input);
            let floor = if may_go_down(input) {
                0
            } else {
                input.replicas
            };
            need.max(floor).clamp(input.min, input.max.max(input.min))
        }
    }
}

/// What the windows ask for, and what is known to come.
fn need(now: Duration, input: &Input, memory: &mut Memory) -> u32 {
    let ready = f64::from(input.ready.max(1));
    let most = (ready * MAX_UP_RATE).ceil();
    let least = (ready / MAX_DOWN_RATE).floor();
    let stable_need = (input.stable / input.target).ceil();
    let panic_need = (input.panic / input.target).ceil();
    let bounded = |need: f64| {
        let count = need.clamp(least, most) as u32;
        if need > 0.0 {
            count.max(input.activation)
        } else {
            count
        }
    };
    let (stable, panic) = (bounded(stable_need), bounded(panic_need));
    let known = if input.coming > 0.0 {
        bounded(((input.latest + input.coming) / input.target).ceil())
    } else {
        0
    };

    if panic_need / ready >= PANIC_THRESHOLD {
        memory.panic = Some(now);
    } else if memory
        .panic
        .is_some_and(|since| now >= since + input.window)
    {
        memory.panic = None;
        memory.most_in_panic = 0;
    }
    if memory.panic.is_none() {
        return stable.max(known);
    }
    memory.most_in_panic = memory.most_in_panic.max(stable).max(panic);
    memory.most_in_panic.max(known)
}

/// The highest need of the last `delay`.
fn delayed(now: Duration, need: u32, delay: Duration, memory: &mut Memory) -> u32 {
    if delay.is_zero() {
        memory.needs.clear();
        return need;
    }
    // Only needs that are not topped by a later one can ever be the highest: a list of few.
    while memory
        .needs
        .back()
        .is_some_and(|(_, earlier)| *earlier <= need)
    {
        memory.needs.pop_back();
    }
    memory.needs.push_back((now, need));
    while memory
        .needs
        .front()
        .is_some_and(|(at, _)| *at + delay < now)
    {
        memory.needs.pop_front();
    }
    memory.needs.front().map_or(need, |(_, highest)| *highest)
}

/// The way to zero: the last replica goes when the last request is long enough ago.
fn last_one(need: u32, input: &Input) -> u32 {
    let idle = input.idle_for >= input.idle_after;
    if idle && input.observed_for >= input.idle_after {
        0
    } else if input.replicas > 0 {
        need.max(1)
    } else {
        need
    }
}

/// A gateway that has just begun to count, or does not hear all others, knows too little to take
/// replicas away.
fn may_go_down(input: &Input) -> bool {
    let long_enough = input.observed_for >= input.window
        || (input.idle_for >= input.idle_after && input.observed_for >= input.idle_after);
    // A bound that was lowered needs no numbers.
    input.complete && (long_enough || input.replicas > input.max)
}

#[cfg(test)]
mod tests;
