//! Who has the store.
//!
//! A message says so, and is written anew as long as that process is there. Another one watches that message by its own
//! clock: when it has not changed for long enough it takes the store over, behind everything that is written.

use std::time::{Duration, Instant};

use async_nats::{
    HeaderMap,
    jetstream::stream::{RawMessageErrorKind, Stream},
};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::{
    message::Message,
    publish::{CHAIN, Post, Told},
    settings::Settings,
};
use crate::error::NatsError;

/// The end of the subject on which it is said who has the store.
pub(super) const OWNER: &str = "owner";

/// How often it is looked who has the store, while somebody has.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Who has the store.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub(super) struct Owner {
    /// A name that no other process has, and this one in this life alone.
    #[serde(default)]
    pub(super) holder: String,
    /// Whether it has let go of it.
    #[serde(default)]
    pub(super) released: bool,
}

/// What is watched of who has the store.
#[derive(Debug)]
struct Watch {
    /// The number of its last message, and since when it is that.
    seen: Option<(u64, Instant)>,
    silence: Duration,
}

// === impl Owner ===

impl Owner {
    /// What a message says; nobody, if it makes no sense.
    pub(super) fn read(body: &[u8]) -> Self {
        serde_json::from_slice(body).unwrap_or_default()
    }

    /// The message that says so.
    pub(super) fn message(&self) -> Message {
        Message {
            subject: OWNER.to_owned(),
            headers: HeaderMap::new(),
            body: Bytes::from(serde_json::to_vec(self).unwrap_or_default()),
        }
    }
}

// === impl Watch ===

impl Watch {
    /// Whether the store may be taken, now that its message has this number.
    fn may_take(&mut self, sequence: u64, now: Instant) -> bool {
        match self.seen {
            Some((seen, since)) if seen == sequence => {
                now.saturating_duration_since(since) >= self.silence
            }
            _ => {
                self.seen = Some((sequence, now));
                false
            }
        }
    }

    /// Nothing could be seen: whoever has the store may have been heard of meanwhile.
    fn was_blind(&mut self) {
        self.seen = None;
    }
}

/// Waits until nobody has the store, and takes it. The number of the last message then; nothing if it is to stop.
///
/// # Errors
///
/// When NATS refuses it.
///
/// # Cancel safety
///
/// When the future is dropped it may be taken or not; another holder has to wait then.
pub(super) async fn take(
    stream: &Stream,
    post: &mut Post,
    settings: &Settings,
    holder: &str,
    stop: &CancellationToken,
) -> Result<Option<u64>, NatsError> {
    let mut watch = Watch {
        seen: None,
        silence: settings.silence,
    };
    let mut told = false;
    loop {
        // Before it is asked who has it: whoever writes after that is noticed.
        let end = stream.get_info().await.map(|info| info.state.last_sequence);
        match free(stream, settings, &mut watch).await {
            Ok(true) => {
                let end = end.map_err(NatsError::Info)?;
                match fence(post, holder, end).await {
                    Told::Written(last) if last == end + CHAIN as u64 + 1 => return Ok(Some(last)),
                    Told::Refused(refusal) if !refusal.is_wrong_last() => {
                        return Err(refusal.error());
                    }
                    // Another one was faster, or nobody says: then this one has to wait for itself.
                    _ => watch.was_blind(),
                }
            }
            Ok(false) => {
                if !told {
                    tracing::info!(
                        stream = settings.stream,
                        "another process has the store: this one stands by"
                    );
                    told = true;
                }
            }
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "it cannot be seen who has the store"
                );
                watch.was_blind();
            }
        }
        let pause = tokio::time::sleep(LOOK_EVERY.min(settings.renew));
        if stop.run_until_cancelled(pause).await.is_none() {
            return Ok(None);
        }
    }
}

/// Takes the store for this holder, behind this number. So many messages are written that none of those can follow the
/// last of them that were sent before, and may still be under way.
pub(super) async fn fence(post: &mut Post, holder: &str, end: u64) -> Told {
    let owner = Owner {
        holder: holder.to_owned(),
        released: false,
    };
    post.batch(vec![owner.message(); CHAIN + 1], end).await
}

/// Whether nobody has the store.
async fn free(stream: &Stream, settings: &Settings, watch: &mut Watch) -> Result<bool, NatsError> {
    let subject = format!("{}.{OWNER}", settings.stream);
    match stream.get_last_raw_message_by_subject(&subject).await {
        Ok(message) => {
            let released = Owner::read(&message.payload).released;
            Ok(released || watch.may_take(message.sequence, Instant::now()))
        }
        Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => Ok(true),
        Err(error) => Err(NatsError::GetByLeader(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_may_be_taken_when_nothing_was_heard_for_long_enough_while_it_was_watched() {
        let mut watch = Watch {
            seen: None,
            silence: Duration::from_secs(15),
        };
        let begin = Instant::now();
        let at = |seconds| begin + Duration::from_secs(seconds);
        assert!(!watch.may_take(7, at(0)));
        assert!(!watch.may_take(7, at(14)));
        assert!(!watch.may_take(8, at(15)), "it was heard of");
        assert!(!watch.may_take(8, at(29)));
        watch.was_blind();
        assert!(
            !watch.may_take(8, at(40)),
            "nobody knows what was meanwhile"
        );
        assert!(!watch.may_take(8, at(54)));
        assert!(watch.may_take(8, at(55)));
    }

    #[test]
    fn what_makes_no_sense_is_nobody() {
        assert_eq!(Owner::read(b"{"), Owner::default());
        let owner = Owner {
            holder: "h-1".into(),
            released: true,
        };
        assert_eq!(Owner::read(&owner.message().body), owner);
    }
}
