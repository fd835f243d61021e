//! How calls are made whose callers do not wait for the answer.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::GoDuration;

/// Attempts where a manifest says nothing.
const DEFAULT_ATTEMPTS: u32 = 5;

/// The pauses before the second attempt, and at most, where a manifest says nothing.
const DEFAULT_BACKOFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(300));

/// How long a call is tried where a manifest says nothing.
const DEFAULT_MAX_AGE: Duration = Duration::from_secs(6 * 3600);

/// How often, and for how long, a call is tried whose caller does not wait for the answer.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Delivery {
    /// How often the function is called before it counts as failed. Only calls that it has received count: not those
    /// that found no instance. 1 to 100. Default: 5.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempts: Option<u32>,

    /// The pause between two attempts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backoff: Option<DeliveryBackoff>,

    /// How long after it was accepted a call is still tried. 1s to 168h. Default: 6h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_age: Option<GoDuration>,

    /// What becomes of a call that has failed, besides that it is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dead_letter: Option<DeadLetter>,
}

/// Where calls go that have failed.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DeadLetter {
    /// Name of the topic, in the function's namespace, to which they are published.
    pub topic: String,
}

/// The pause between two attempts. It doubles each time; half of it is random.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DeliveryBackoff {
    /// The pause before the second attempt. 10ms to 1h. Default: 1s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first: Option<GoDuration>,

    /// The longest pause. 10ms to 24h. Default: 5m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<GoDuration>,
}

// === impl Delivery ===

impl Delivery {
    /// How often the function is called at most.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.attempts.unwrap_or(DEFAULT_ATTEMPTS).max(1)
    }

    /// The pause before the second attempt.
    #[must_use]
    pub fn first_pause(&self) -> Duration {
        let first = self.backoff.as_ref().and_then(|backoff| backoff.first);
        first.map_or(DEFAULT_BACKOFF.0, Into::into)
    }

    /// The longest pause.
    #[must_use]
    pub fn longest_pause(&self) -> Duration {
        let max = self.backoff.as_ref().and_then(|backoff| backoff.max);
        max.map_or(DEFAULT_BACKOFF.1, Into::into)
            .max(self.first_pause())
    }

    /// The topic to which a call is published that has failed, if there is one.
    #[must_use]
    pub fn dead_letter_topic(&self) -> Option<&str> {
        let dead_letter = self.dead_letter.as_ref();
        dead_letter.map(|dead_letter| dead_letter.topic.as_str())
    }

    /// How long after it was accepted a call is tried.
    #[must_use]
    pub fn max_age(&self) -> Duration {
        self.max_age.map_or(DEFAULT_MAX_AGE, Into::into)
    }
}
