//! How many instances there are, and when.

use super::{CRON, CRON_MESSAGE, Rule, TIMEZONE, TIMEZONE_MESSAGE, duration, rule};

/// Rules for the place where scale settings stand.
pub(crate) const SCALE: &[Rule] = &[
    rule(
        "",
        "!has(self.max) || !has(self.min) || self.max >= self.min",
        "scale.max must be at least scale.min",
    ),
    rule(
        "",
        "has(self.max) || !has(self.min) || self.min <= 20",
        "scale.min is above 20, the default of scale.max; give scale.max too",
    ),
    rule(
        "",
        "!has(self.initial) || self.initial <= (has(self.max) ? self.max : 20)",
        "scale.initial must be at most scale.max (default 20)",
    ),
    rule(
        "",
        "!has(self.activation) || self.activation <= (has(self.max) ? self.max : 20)",
        "scale.activation must be at most scale.max (default 20)",
    ),
    rule(
        "min",
        "self >= 0 && self <= 1000",
        "scale.min must be between 0 and 1000",
    ),
    rule(
        "max",
        "self >= 1 && self <= 1000",
        "scale.max must be between 1 and 1000; to stop a function, delete it",
    ),
    rule("initial", "self >= 0", "scale.initial must be 0 or more"),
    rule(
        "activation",
        "self >= 1",
        "scale.activation must be at least 1",
    ),
    rule(
        "target",
        "self >= 1 && self <= 1000000",
        "scale.target must be between 1 and 1000000",
    ),
    rule(
        "utilization",
        "self >= 1 && self <= 100",
        "scale.utilization is in percent, between 1 and 100",
    ),
    rule(
        "queue",
        "self >= 0 && self <= 100000",
        "scale.queue must be between 0 and 100000",
    ),
    duration!("window", "6s", "1h"),
    duration!("idleAfter", "0s", "168h"),
    duration!("downDelay", "0s", "1h"),
    rule(
        "schedules[]",
        "has(self.min) || has(self.max)",
        "a schedule needs min, max or both",
    ),
    rule(
        "schedules[]",
        "!has(self.max) || !has(self.min) || self.max >= self.min",
        "in a schedule, max must be at least min",
    ),
    rule(
        "schedules[].min",
        "self >= 0 && self <= 1000",
        "in a schedule, min must be between 0 and 1000",
    ),
    rule(
        "schedules[].max",
        "self >= 1 && self <= 1000",
        "in a schedule, max must be between 1 and 1000",
    ),
    rule("schedules[].cron", CRON, CRON_MESSAGE),
    rule("schedules[].timezone", TIMEZONE, TIMEZONE_MESSAGE),
    duration!("schedules[].duration", "1m", "168h"),
];
