//! Lines of the log as JSON, with the causes of errors: the layer of tracing-subscriber tells an error without them.

use std::{error::Error, fmt};

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    fmt::{
        FmtContext, FormattedFields,
        format::{FormatEvent, JsonFields, Writer},
    },
    registry::LookupSpan,
};

/// Writes an event as an object on one line: timestamp, level, fields, target, and the spans that it is in.
pub(super) struct JsonEvents;

impl<S> FormatEvent<S, JsonFields> for JsonEvents
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, JsonFields>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let metadata = event.metadata();
        let mut line = json!({
            "timestamp": Timestamp::now(),
            "level": metadata.level().as_str(),
            "fields": fields.0,
            "target": metadata.target(),
        });
        let scope = context.event_scope().into_iter().flatten();
        let spans: Vec<Value> = scope
            .map(|span| {
                let extensions = span.extensions();
                let known = extensions.get::<FormattedFields<JsonFields>>();
                let known = known.and_then(|fields| serde_json::from_str(&fields.fields).ok());
                let mut span_fields: Map<String, Value> = known.unwrap_or_default();
                span_fields.insert("name".to_owned(), span.name().into());
                Value::Object(span_fields)
            })
            .collect();
        if !spans.is_empty() {
            // The outermost first.
            line["spans"] = spans.into_iter().rev().collect();
        }
        writeln!(writer, "{line}")
    }
}

/// The fields of an event.
#[derive(Default)]
struct Fields(Map<String, Value>);

// === impl Fields ===

impl Fields {
    fn put(&mut self, field: &Field, value: impl Into<Value>) {
        self.0.insert(field.name().to_owned(), value.into());
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value);
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.put(field, with_causes(value));
    }
}

/// An error and its causes in one sentence. A cause that the sentence before has told already is not told again.
fn with_causes(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let words = error.to_string();
        if !text.ends_with(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("the reconcile failed")]
    struct Failed(#[source] std::io::Error);

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_has_the_causes_of_an_error_and_its_spans() {
        let lines = Lines::default();
        let to = lines.clone();
        let log = tracing_subscriber::fmt()
            .json()
            .event_format(JsonEvents)
            .with_writer(move || to.clone())
            .finish();
        tracing::subscriber::with_default(log, || {
            let _outer = tracing::info_span!("reconcile", object = "hello").entered();
            let error = Failed(std::io::Error::other("no route to host"));
            let delay = 3;
            tracing::warn!(delay, error = &error as &dyn Error, "trying again");
        });
        let line = lines.0.lock().unwrap().clone();
        let line: Value = serde_json::from_slice(&line).unwrap();
        assert_eq!(line["fields"]["message"], "trying again");
        assert_eq!(line["fields"]["delay"], 3);
        assert_eq!(
            line["fields"]["error"],
            "the reconcile failed: no route to host"
        );
        assert_eq!(line["level"], "WARN");
        assert_eq!(
            line["spans"],
            json!([{"name": "reconcile", "object": "hello"}])
        );
    }
}
