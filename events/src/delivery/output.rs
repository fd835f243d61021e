//! What a function answers to a message becomes a message of another topic, if the function says so (`spec.output`).

use std::fmt::Write as _;

use fermata_crds::names::{HOPS_HEADER, REASON_HEADER};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri, header};
use http_body_util::Full;
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use super::{
    attempt::{Caller, chain, retry_after},
    decide::{Outcome, text},
};
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
        match self.publish(due, heard, topic, answer).await {
            Ok(()) => outcome,
            Err(unpublished) => unpublished,
        }
    }

    async fn publish(
        &self,
        due: &Due,
        heard: &Heard,
        topic: &str,
        answer: &Answer,
    ) -> Result<(), Outcome> {
        let unpublished = |why: String, again, retry_after| Outcome::Unpublished {
            why: format!("the answer cannot be published to {topic} (spec.output): {why}"),
            again,
            retry_after,
        };
        let Some(headers) = headers(due, heard, answer) else {
            return Ok(());
        };
        let request = self.message(due, topic, headers, answer);
        let request = request.map_err(|error| unpublished(error.to_string(), false, None))?;
        let response = self.client.request(request).await;
        let response = response.map_err(|error| unpublished(chain(&error), true, None))?;
        let status = response.status();
        let reason = response.headers().get(REASON_HEADER);
        let is_for = |word: &str| reason.is_some_and(|reason| reason == word);
        // Nobody hears it, and then there is nobody to tell; or it was published when this was delivered before.
        if status.is_success() || is_for("NoSuchTopic") || is_for("IdempotencyKeyReused") {
            return Ok(());
        }
        let again = status.is_server_error() && status != StatusCode::LOOP_DETECTED
            || [404, 408, 409, 425, 429].contains(&status.as_u16());
        let retry_after = retry_after(response.headers(), Timestamp::now());
        let said = self.body(response.into_body()).await;
        let said = said.map(|(said, _)| text(&said)).unwrap_or_default();
        let why = format!("{} {said}", status.as_u16());
        Err(unpublished(why, again, retry_after))
    }

    fn message(
        &self,
        due: &Due,
        topic: &str,
        headers: HeaderMap,
        answer: &Answer,
    ) -> http::Result<Request<Full<bytes::Bytes>>> {
        let uri = Uri::builder()
            .scheme("http")
            .authority(self.gateway.clone())
            .path_and_query(format!("/topics/{topic}.{}", due.invocation.namespace))
            .build()?;
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(uri)
            .body(Full::new(answer.body.clone()))?;
        *request.headers_mut() = headers;
        Ok(request)
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
fn name_of(id: &str) -> String {
    let digest = Sha256::digest(id);
    let mut name = String::with_capacity(32);
    for byte in digest.iter().take(16) {
        // Writing to a String cannot fail.
        let _ = write!(name, "{byte:02x}");
    }
    name
}
