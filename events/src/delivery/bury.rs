//! A call that has failed becomes a message of another topic, if the function says so (`spec.delivery.deadLetter`).

use std::time::Duration;

use fermata_crds::{conditions::shortened, names::HOPS_HEADER};
use http::{HeaderMap, HeaderName, HeaderValue, header};
use jiff::Timestamp;

use super::{attempt::Caller, decide::pause, output::name_of, publish::Publication};
use crate::{
    event,
    invocation::{Due, Invocation, LONGEST_RETRY_AFTER, later},
};

/// The type of a message that was no message before.
const DEAD_CALL_TYPE: &str = "dev.fermata.dead-letter";

/// How often it is tried: for about eight hours.
const ATTEMPTS: u32 = 100;

/// The pauses between attempts: the first one, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(300));

/// The most of a message about a failure that is kept or published, in bytes.
const MOST_TOLD: usize = 400;

// === impl Caller ===

impl Caller {
    /// Makes one attempt to publish a call that has failed. How often it is made, it is published once.
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped it is published or not.
    pub(super) async fn bury(&self, due: &Due) -> Publication {
        let invocation = &due.invocation;
        match invocation.delivery.dead_letter_topic() {
            Some(topic) => {
                let (namespace, body) = (&invocation.namespace, due.call.body.clone());
                self.publish(namespace, topic, headers(due), body).await
            }
            None => Publication::Unheard,
        }
    }
}

/// Says how the call stands after an attempt to publish it. Pure; `random` is between 0 and 1.
pub(super) fn decide(
    invocation: &mut Invocation,
    buried: Publication,
    now: Timestamp,
    random: f64,
) {
    let topic = invocation.delivery.dead_letter_topic();
    let topic = topic.unwrap_or_default().to_owned();
    let burial = invocation.burial.get_or_insert_default();
    burial.attempts = burial.attempts.saturating_add(1);
    match buried {
        Publication::Kept => burial.end(true, None),
        Publication::Unheard => {
            burial.end(false, Some(&format!("no function hears the topic {topic}")));
        }
        Publication::Refused {
            why,
            again,
            retry_after,
        } => {
            let why = shortened(&why, MOST_TOLD).into_owned();
            if again && burial.attempts < ATTEMPTS {
                let pause = pause(PAUSES, burial.attempts, random);
                let pause = retry_after.unwrap_or_default().max(pause);
                burial.message = Some(why);
                invocation.next_attempt_at = Some(later(now, pause.min(LONGEST_RETRY_AFTER)));
                return;
            }
            burial.end(false, Some(&why));
        }
    }
    invocation.go_on(now);
}

/// The headers of the message: those of the message that has failed, or of the call, and what became of it.
fn headers(due: &Due) -> HeaderMap {
    let (invocation, mut sent) = (&due.invocation, HeaderMap::new());
    due.call.head.headers.add_to(&mut sent);
    let mut headers = HeaderMap::new();
    for (name, value) in &sent {
        let is_data = name == header::CONTENT_TYPE || name == header::CONTENT_ENCODING;
        if is_data || event::is_attribute(name) || event::is_passed_on(name) {
            headers.append(name.clone(), value.clone());
        }
    }
    let id = due.id.to_string();
    let function = &*invocation.function;
    let heard = invocation.heard.as_ref();
    let hops = heard.map_or(0, |heard| heard.hops).saturating_add(1);
    if !event::is_structured(&headers) {
        if !headers.contains_key("ce-specversion") {
            let subject = format!("{} {}", due.call.head.method, due.call.head.target);
            set_default(&mut headers, "ce-subject", &event::escaped(&subject));
        }
        for (name, value) in [
            ("ce-specversion", "1.0".to_owned()),
            ("ce-id", name_of(&id)),
            (
                "ce-source",
                format!("/namespaces/{}/functions/{function}", invocation.namespace),
            ),
            ("ce-type", DEAD_CALL_TYPE.to_owned()),
        ] {
            set_default(&mut headers, name, &value);
        }
        let message = invocation.message.as_deref().unwrap_or("nobody knows why");
        let code = invocation.code.map(|code| code.to_string());
        let trigger = heard.map(|heard| &*heard.trigger);
        for (name, value) in [
            ("ce-deadfunction", Some(function)),
            ("ce-deadtrigger", trigger),
            ("ce-deadcode", code.as_deref()),
            ("ce-deadattempts", Some(&*invocation.attempts.to_string())),
            (
                "ce-deadmessage",
                Some(&*event::escaped(&shortened(message, MOST_TOLD))),
            ),
        ] {
            headers.remove(name);
            if let Some(value) = value {
                set_default(&mut headers, name, value);
            }
        }
    }
    // One that is tried anew and fails once more is published once more.
    let time = invocation.accepted_at.as_nanosecond();
    set_default(
        &mut headers,
        "idempotency-key",
        &format!("{id}/dead/{time}"),
    );
    set_default(&mut headers, HOPS_HEADER, &hops.to_string());
    headers
}

fn set_default(headers: &mut HeaderMap, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::try_from(value) {
        headers
            .entry(HeaderName::from_static(name))
            .or_insert(value);
    }
}
