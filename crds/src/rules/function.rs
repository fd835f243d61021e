//! What a Function has beyond its template: addresses, triggers, delivery and its name.

use super::{CRON, CRON_MESSAGE, Rule, TIMEZONE, TIMEZONE_MESSAGE, duration, rule};

/// The name of a topic.
const TOPIC: &str = "self.matches('^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$')";
const TOPIC_MESSAGE: &str =
    "a topic's name has at most 63 characters: lower case letters, digits and '-'";

/// Rules for a Function's `spec` beyond the template and the scale.
pub(crate) const FUNCTION: &[Rule] = &[
    rule(
        "expose.hosts[]",
        "self.matches('^[A-Za-z0-9]([-A-Za-z0-9]{0,61}[A-Za-z0-9])?([.][A-Za-z0-9]([-A-Za-z0-9]{0,61}[A-Za-z0-9])?)*$')",
        "a host is a plain DNS name such as orders.example.com: no scheme, no port, no path, no wildcard",
    ),
    rule(
        "expose.path",
        "self.matches('^(/[A-Za-z0-9._~!$&()*+,;=:@%-]+)*/?$') && self.startsWith('/')",
        "expose.path must be an absolute path such as /api/orders, without query or empty segments",
    ),
    rule(
        "expose.path",
        "!self.matches('^/(function|async-function|topics|messages|requests|invocations|git|hooks)(/|$)')",
        "paths below /function, /async-function, /topics, /messages, /requests, /invocations, /git and /hooks are the gateway's own; choose another path",
    ),
    rule(
        "expose.path",
        "!self.matches('^/[.]well-known/fermata(/|$)')",
        "paths below /.well-known/fermata are the gateway's own; choose another path",
    ),
    rule(
        "triggers[].name",
        "self.matches('^[a-z0-9]([-a-z0-9]{0,48}[a-z0-9])?$')",
        "a trigger's name has at most 50 characters: lower case letters, digits and '-'",
    ),
    rule(
        "triggers[]",
        "has(self.schedule) != has(self.topic)",
        "a trigger has a schedule or a topic, and not both",
    ),
    rule(
        "triggers[]",
        "!has(self.body) || has(self.schedule)",
        "body goes with schedule: what a topic's trigger sends is the message",
    ),
    rule(
        "triggers[]",
        "!has(self.batch) || has(self.topic)",
        "batch goes with topic: there is one run of a schedule at a time",
    ),
    rule(
        "triggers[]",
        "!has(self.batch) || !has(self.topic) || !has(self.topic.order) || self.topic.order == 'None'",
        "batch goes not with order: Key: messages of one key are delivered one after the other",
    ),
    rule(
        "triggers[].batch.size",
        "self >= 2 && self <= 1000",
        "batch.size must be between 2 and 1000",
    ),
    duration!("triggers[].batch.wait", "0s", "5m"),
    rule(
        "",
        "!has(self.output) || !has(self.triggers) || self.triggers.all(t, !has(t.batch))",
        "output goes not with batch: what is answered to a batch says which messages have failed",
    ),
    rule("triggers[].topic.name", TOPIC, TOPIC_MESSAGE),
    rule("output.topic", TOPIC, TOPIC_MESSAGE),
    rule(
        "",
        "!has(self.output) || !has(self.triggers) || self.triggers.all(t, !has(t.topic) || t.topic.name != self.output.topic)",
        "output.topic is a topic that the function hears itself: it would answer to its own answers",
    ),
    rule(
        "triggers[].topic.filter",
        "self.all(name, name.matches('^[a-z0-9]{1,64}$') && size(self[name]) >= 1 && size(self[name]) <= 256)",
        "a filter has names of CloudEvents attributes (lower case letters and digits), and values of 1 to 256 characters",
    ),
    rule("triggers[].schedule.cron", CRON, CRON_MESSAGE),
    rule("triggers[].schedule.timezone", TIMEZONE, TIMEZONE_MESSAGE),
    duration!("triggers[].schedule.deadline", "10s", "168h"),
    rule(
        "triggers[].path",
        "self.matches('^/[!-~]*$') && !self.contains('#')",
        "a trigger's path must be absolute and without white space or a fragment, such as /reports?kind=nightly",
    ),
    rule(
        "delivery.attempts",
        "self >= 1 && self <= 100",
        "delivery.attempts must be between 1 and 100",
    ),
    rule(
        "delivery.backoff",
        "!has(self.first) || !has(self.max) || duration(self.first) <= duration(self.max)",
        "delivery.backoff.first must be no longer than delivery.backoff.max",
    ),
    duration!("delivery.backoff.first", "10ms", "1h"),
    duration!("delivery.backoff.max", "10ms", "24h"),
    duration!("delivery.maxAge", "1s", "168h"),
    rule("delivery.deadLetter.topic", TOPIC, TOPIC_MESSAGE),
    rule(
        "",
        "!has(self.delivery) || !has(self.delivery.deadLetter) || !has(self.triggers) || self.triggers.all(t, !has(t.topic) || t.topic.name != self.delivery.deadLetter.topic)",
        "delivery.deadLetter.topic is a topic that the function hears itself: it would fail at the same message again",
    ),
    rule(
        "revisionHistoryLimit",
        "self >= 0 && self <= 100",
        "revisionHistoryLimit must be between 0 and 100",
    ),
];

/// Rules at the root of a Function.
pub(crate) const FUNCTION_ROOT: &[Rule] = &[rule(
    "",
    "self.metadata.name.matches('^[a-z]([-a-z0-9]{0,48}[a-z0-9])?$')",
    "a function's name has at most 50 characters: lower case letters, digits and '-', beginning with a letter and not ending with '-'",
)];
