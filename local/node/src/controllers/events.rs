//! Events are kept for an hour, as a real API server does.

use std::time::Duration;

use futures::{StreamExt as _, stream};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Event;
use kube::{
    Api, Client, ResourceExt as _,
    api::{DeleteParams, ListParams},
};
use tokio::time;
use tokio_util::sync::CancellationToken;

use super::{Error, api, is_gone};

const KEPT: Duration = Duration::from_secs(3600);
const CHECK: Duration = Duration::from_secs(120);

pub(super) async fn run(client: Client, shutdown: CancellationToken) {
    while shutdown
        .run_until_cancelled(time::sleep(CHECK))
        .await
        .is_some()
    {
        if let Err(error) = prune(&client, Timestamp::now()).await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "old events cannot be removed"
            );
        }
    }
}

async fn prune(client: &Client, now: Timestamp) -> Result<(), Error> {
    let events = Api::<Event>::all(client.clone())
        .list(&ListParams::default())
        .await
        .map_err(api("list events"))?;
    let old = events.items.into_iter().filter(|event| {
        last_seen(event).is_none_or(|seen| {
            now.duration_since(seen).as_secs() > i64::try_from(KEPT.as_secs()).unwrap_or(i64::MAX)
        })
    });
    let deleted: Vec<_> = stream::iter(old)
        .map(async |event| {
            let events =
                Api::<Event>::namespaced(client.clone(), &event.namespace().unwrap_or_default());
            match events
                .delete(&event.name_any(), &DeleteParams::default())
                .await
            {
                Err(error) if is_gone(&error) => Ok(()),
                result => result.map(drop).map_err(api("delete an event")),
            }
        })
        .buffer_unordered(16)
        .collect()
        .await;
    deleted.into_iter().collect()
}

fn last_seen(event: &Event) -> Option<Timestamp> {
    let series = event
        .series
        .as_ref()
        .and_then(|series| series.last_observed_time.as_ref())
        .map(|time| time.0);
    let times = [
        series,
        event.last_timestamp.as_ref().map(|time| time.0),
        event.event_time.as_ref().map(|time| time.0),
        event
            .metadata
            .creation_timestamp
            .as_ref()
            .map(|time| time.0),
    ];
    times.into_iter().flatten().max()
}
