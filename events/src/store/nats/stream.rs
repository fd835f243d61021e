//! The stream: made where there is none, and looked at where there is one.

use std::fmt::Debug;

use async_nats::jetstream::{
    Context,
    context::GetStreamErrorKind,
    stream::{Config, DiscardPolicy, RetentionPolicy, StorageType, Stream},
};

use super::settings::Settings;
use crate::error::NatsError;

/// What the stream is for, for who lists streams.
const DESCRIPTION: &str = "Calls that Fermata keeps; nobody else writes here";

/// The number of the error that says that there is no such stream.
const NO_STREAM: u64 = 10059;

/// The stream of these settings.
///
/// # Errors
///
/// When it is not as it has to be, cannot be made, or NATS does not answer.
pub(super) async fn ensure(context: &Context, settings: &Settings) -> Result<Stream, NatsError> {
    let wanted = config(settings);
    match context.get_stream(&settings.stream).await {
        Ok(stream) => {
            check(&stream.cached_info().config, &wanted)?;
            Ok(stream)
        }
        Err(error) => match error.kind() {
            GetStreamErrorKind::JetStream(cause) if cause.error_code().0 == NO_STREAM => {
                let made = context.create_stream(wanted).await;
                let made =
                    made.map_err(|error| NatsError::Create(settings.stream.clone(), error))?;
                tracing::info!(stream = settings.stream, "the stream is made");
                Ok(made)
            }
            _ => Err(NatsError::Stream(error)),
        },
    }
}

/// How a new stream is.
fn config(settings: &Settings) -> Config {
    Config {
        name: settings.stream.clone(),
        subjects: vec![format!("{}.>", settings.stream)],
        description: Some(DESCRIPTION.to_owned()),
        retention: RetentionPolicy::Limits,
        storage: StorageType::File,
        num_replicas: settings.replicas,
        // What is new takes the place of what was there, and nothing goes for want of room.
        max_messages_per_subject: 1,
        discard: DiscardPolicy::New,
        max_bytes: settings.room,
        allow_direct: true,
        allow_message_ttl: true,
        allow_atomic_publish: true,
        ..Config::default()
    }
}

/// Whether a stream keeps what is written to it, as this store writes it. Its room, its servers and its compression are
/// its owner's affair.
fn check(found: &Config, wanted: &Config) -> Result<(), NatsError> {
    let rows: [(&str, String, String); 17] = [
        row("subjects", &found.subjects, &wanted.subjects),
        row("retention", &found.retention, &wanted.retention),
        row("storage", &found.storage, &wanted.storage),
        row("discard", &found.discard, &wanted.discard),
        row(
            "discard_new_per_subject",
            &found.discard_new_per_subject,
            &wanted.discard_new_per_subject,
        ),
        row(
            "max_msgs_per_subject",
            &found.max_messages_per_subject,
            &wanted.max_messages_per_subject,
        ),
        row("max_msgs", &unlimited(found.max_messages), &-1),
        row(
            "max_msg_size",
            &unlimited(found.max_message_size.into()),
            &-1,
        ),
        row("max_age", &found.max_age, &wanted.max_age),
        row("no_ack", &found.no_ack, &wanted.no_ack),
        row("sealed", &found.sealed, &wanted.sealed),
        row("deny_delete", &found.deny_delete, &wanted.deny_delete),
        row("allow_direct", &found.allow_direct, &wanted.allow_direct),
        row(
            "allow_msg_ttl",
            &found.allow_message_ttl,
            &wanted.allow_message_ttl,
        ),
        row(
            "allow_atomic",
            &found.allow_atomic_publish,
            &wanted.allow_atomic_publish,
        ),
        row("mirror", &found.mirror.is_some(), &false),
        row(
            "subject_transform",
            &found.subject_transform.is_some(),
            &false,
        ),
    ];
    for (name, found, needed) in rows {
        if found != needed {
            return Err(NatsError::OtherStream {
                stream: wanted.name.clone(),
                found: format!("{name} {found}"),
                needed,
            });
        }
    }
    Ok(())
}

fn row<T: Debug>(name: &'static str, found: &T, needed: &T) -> (&'static str, String, String) {
    (name, format!("{found:?}"), format!("{needed:?}"))
}

/// A limit as servers tell it that there is none.
fn unlimited(limit: i64) -> i64 {
    if limit <= 0 { -1 } else { limit }
}

#[cfg(test)]
mod tests;
