//! What a function answers to a message becomes a message of another topic, if the function says so (`spec.output`).

use std::fmt::Write as _;

use fermata_crds::names::HOPS_HEADER;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use sha2::{Digest as _, Sha256};

use super::{attempt::Caller, decide::Outcome, publish::Publication};
use crate::{
    event,
    invocation::{Answer, Due, Heard},
};

/// The type of a message to which the function gave none.
const ANSWER_TYPE: &str = "dev.fermata.answer";

// === impl Caller ===

impl Caller {
    /// Makes one attempt, and publishes what was answered if that is to be done. Where it cannot be, the attempt has not
    /// succeeded: the message is delivered again, and the answer of that time is published. Its name is the same.
    ///
    /// # Cancel safety
    ///
    /// As [`Self::attempt`]. What was answered is published or not.
    pub(super) async fn deliver(&self, due: &Due) -> Outcome {
        let outcome = self.attempt(due).await;
        let Outcome::Answered {
            answer,
            reason: None,
            ..
        } = &outcome
        else {
            return outcome;
        };
        let heard = due.invocation.heard.as_ref();
        let output = heard.and_then(|heard| Some((heard, heard.output.as_deref()?)));
        let Some((heard, topic)) = output else {
            return outcome;
        };
        let is_success = (200..300).contains(&answer.head.status);
        if !is_success {
            return outcome;
        }
        if answer.head.cut {
            return Outcome::Unpublished {
                why: format!("the answer is too large for a message of {topic} (spec.output)"),
                again: false,
                retry_after: None,
            };
        }
        let Some(headers) = headers(due, heard, answer) else {
            return outcome;
        };
        let namespace = &due.invocation.namespace;
        match self
            .publish(namespace, topic, headers, answer.body.clone())
            .await
        {
            // Where nobody hears it there is nobody to tell.
            Publication::Kept | Publication::Unheard => outcome,
            Publication::Refused {
                why,
                again,
                retry_after,
            } => Outcome::Unpublished {
                why: format!("the answer cannot be published to {topic} (spec.output): {why}"),
                again,
                retry_after,
            },
        }
    }
}

/// The headers of the message; none if the function has nothing to say.
fn headers(due: &Due, heard: &Heard, answer: &Answer) -> Option<HeaderMap> {
    let (mut said, mut sent) = (HeaderMap::new(), HeaderMap::new());
    answer.head.headers.add_to(&mut said);
    let mut headers = HeaderMap::new();
    for (name, value) in &said {
        let is_data = name == header::CONTENT_TYPE || name == header::CONTENT_ENCODING;
        if is_data || event::is_attribute(name) {
            headers.append(name.clone(), value.clone());
        }
    }
    let has_attributes = headers.keys().any(event::is_attribute);
    if answer.body.is_empty() && !has_attributes {
        return None;
    }
    due.call.head.headers.add_to(&mut sent);
    for (name, value) in &sent {
        if event::is_passed_on(name) {
            headers.append(name.clone(), value.clone());
        }
    }
    let invocation = &due.invocation;
    let id = due.id.to_string();
    let mut defaults = vec![
        ("idempotency-key", id.clone()),
        (HOPS_HEADER, heard.hops.saturating_add(1).to_string()),
    ];
    if !event::is_structured(&headers) {
        let source = format!(
            "/namespaces/{}/functions/{}",
            invocation.namespace, invocation.function
        );
        defaults.extend([
            ("ce-specversion", "1.0".to_owned()),
            ("ce-id", name_of(&id)),
            ("ce-source", source),
            ("ce-type", ANSWER_TYPE.to_owned()),
        ]);
    }
    for (name, value) in defaults {
        if let Ok(value) = HeaderValue::try_from(value) {
            headers
                .entry(HeaderName::from_static(name))
                .or_insert(value);
        }
    }
    Some(headers)
}

/// The name of an answer. The id of the delivery is the key to what was answered, and nobody else's.
pub(super) fn name_of(id: &str) -> String {
    let digest = Sha256::digest(id);
    let mut name = String::with_capacity(32);
    for byte in digest.iter().take(16) {
        // Writing to a String cannot fail.
        let _ = write!(name, "{byte:02x}");
    }
    name
}
