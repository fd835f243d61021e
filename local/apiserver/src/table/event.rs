//! The columns of Events, of both groups.

use jiff::Timestamp;
use k8s_openapi::{
    Metadata,
    api::{core::v1 as core, events::v1 as events},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta, Time},
};
use serde::de::DeserializeOwned;
use serde_json::json;

use super::{
    Columns, age,
    cells::{text, wide},
};

/// Those of the core group.
pub(crate) fn event() -> Columns {
    columns::<core::Event>()
}

/// Those of `events.k8s.io`.
pub(crate) fn new_event() -> Columns {
    columns::<events::Event>()
}

fn columns<T: EventFields + DeserializeOwned + 'static>() -> Columns {
    Columns::of::<T>(vec![
        text("Last Seen", |event| age::of(event.last_seen())),
        text("Type", |event| event.type_().into()),
        text("Reason", |event| event.reason().into()),
        text("Object", |event| {
            let object = event.object();
            let kind = object.and_then(|object| object.kind.as_deref());
            let name = object.and_then(|object| object.name.as_deref());
            let kind = kind.unwrap_or_default().to_lowercase();
            format!("{kind}/{}", name.unwrap_or_default()).into()
        }),
        wide("Subobject", |event| {
            let path = event.object().and_then(|one| one.field_path.as_deref());
            path.unwrap_or_default().into()
        }),
        wide("Source", |event| {
            let mut sources = event.sources().into_iter().flatten();
            let source = sources.find(|source| !source.is_empty());
            source.unwrap_or_default().into()
        }),
        text("Message", |event| {
            event.message().unwrap_or_default().trim().into()
        }),
        wide("First Seen", |event| age::of(event.first_seen())),
        wide("Count", |event| {
            let mut counts = event.counts().into_iter().flatten();
            counts.find(|count| *count > 0).unwrap_or(1).into()
        }),
        wide("Name", |event| json!(event.metadata().name)),
    ])
}

/// What an Event says, in the words of either group.
trait EventFields: Metadata<Ty = ObjectMeta> {
    fn last_seen(&self) -> Option<Timestamp>;
    fn first_seen(&self) -> Option<Timestamp>;
    fn type_(&self) -> Option<&str>;
    fn reason(&self) -> Option<&str>;
    fn object(&self) -> Option<&core::ObjectReference>;
    /// Who says it, the most telling first.
    fn sources(&self) -> [Option<&str>; 2];
    fn message(&self) -> Option<&str>;
    /// How often it was so, the most telling first.
    fn counts(&self) -> [Option<i32>; 2];
}

// === impl EventFields ===

fn time(time: &Option<Time>) -> Option<Timestamp> {
    time.as_ref().map(|time| time.0)
}

fn micro(time: &Option<MicroTime>) -> Option<Timestamp> {
    time.as_ref().map(|time| time.0)
}

impl EventFields for core::Event {
    fn last_seen(&self) -> Option<Timestamp> {
        let series = self.series.as_ref();
        let observed = series.and_then(|series| micro(&series.last_observed_time));
        observed
            .or(time(&self.last_timestamp))
            .or(micro(&self.event_time))
            .or(time(&self.first_timestamp))
    }

    fn first_seen(&self) -> Option<Timestamp> {
        time(&self.first_timestamp).or(micro(&self.event_time))
    }

    fn type_(&self) -> Option<&str> {
        self.type_.as_deref()
    }

    fn reason(&self) -> Option<&str> {
        self.reason.as_deref()
    }

    fn object(&self) -> Option<&core::ObjectReference> {
        Some(&self.involved_object)
    }

    fn sources(&self) -> [Option<&str>; 2] {
        let source = self.source.as_ref();
        [
            source.and_then(|source| source.component.as_deref()),
            self.reporting_component.as_deref(),
        ]
    }

    fn message(&self) -> Option<&str> {
        self.message.as_deref()
    }

    fn counts(&self) -> [Option<i32>; 2] {
        let series = self.series.as_ref();
        [series.and_then(|series| series.count), self.count]
    }
}

impl EventFields for events::Event {
    fn last_seen(&self) -> Option<Timestamp> {
        let observed = self.series.as_ref().map(|one| one.last_observed_time.0);
        observed
            .or(time(&self.deprecated_last_timestamp))
            .or(micro(&self.event_time))
    }

    fn first_seen(&self) -> Option<Timestamp> {
        time(&self.deprecated_first_timestamp).or(micro(&self.event_time))
    }

    fn type_(&self) -> Option<&str> {
        self.type_.as_deref()
    }

    fn reason(&self) -> Option<&str> {
        self.reason.as_deref()
    }

    fn object(&self) -> Option<&core::ObjectReference> {
        self.regarding.as_ref()
    }

    fn sources(&self) -> [Option<&str>; 2] {
        let source = self.deprecated_source.as_ref();
        [
            source.and_then(|source| source.component.as_deref()),
            self.reporting_controller.as_deref(),
        ]
    }

    fn message(&self) -> Option<&str> {
        self.note.as_deref()
    }

    fn counts(&self) -> [Option<i32>; 2] {
        let series = self.series.as_ref();
        [series.map(|series| series.count), self.deprecated_count]
    }
}
