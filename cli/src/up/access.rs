//! The requests that `fermata up` shows, a line each.
//!
//! The gateway tells of them as events of its log; they are caught there.

use std::{fmt::Debug, io};

use fermata_daemon::log::has_colours;
use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    Layer,
    filter::{Filtered, Targets},
    layer::Context,
    registry::LookupSpan,
};

use crate::output;

/// The target of the gateway's events about requests.
pub(crate) const TARGET: &str = "fermata::access";

/// What is shown of a request.
#[derive(Debug, Default)]
struct Request {
    method: String,
    path: String,
    status: u64,
    reason: String,
    millis: f64,
    start_millis: f64,
    namespace: String,
    function: String,
    id: String,
}

/// Takes requests out of the log and prints them.
pub(crate) struct Catcher {
    colours: bool,
}

// === impl Catcher ===

impl Catcher {
    /// One that prints in colours where standard output takes them.
    pub(crate) fn new() -> Self {
        Self {
            colours: has_colours(&io::stdout()),
        }
    }

    /// The layer of the log that does it.
    pub(crate) fn layer<S>(self) -> Filtered<Self, Targets, S>
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        self.with_filter(Targets::new().with_target(TARGET, Level::INFO))
    }
}

impl<S: Subscriber> Layer<S> for Catcher {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let mut request = Request::default();
        event.record(&mut request);
        // Another thread writes it: no request waits for a terminal.
        output::line(&request.line(self.colours));
    }
}

// === impl Request ===

impl Visit for Request {
    fn record_str(&mut self, field: &Field, value: &str) {
        let place = match field.name() {
            "method" => &mut self.method,
            "path" => &mut self.path,
            "reason" => &mut self.reason,
            "namespace" => &mut self.namespace,
            "function" => &mut self.function,
            "request_id" => &mut self.id,
            _ => return,
        };
        value.clone_into(place);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        if field.name() == "status" {
            self.status = value;
        }
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        match field.name() {
            "duration_ms" => self.millis = value,
            "start_ms" => self.start_millis = value,
            _ => {}
        }
    }

    fn record_debug(&mut self, _field: &Field, _value: &dyn Debug) {}
}

impl Request {
    fn line(&self, colours: bool) -> String {
        let colour = match self.status {
            ..400 => 32,
            400..500 => 33,
            _ => 31,
        };
        let paint = |text: &str, colour: u8| {
            if colours {
                format!("\u{1b}[{colour}m{text}\u{1b}[0m")
            } else {
                text.to_owned()
            }
        };
        let who = match (self.namespace.as_str(), self.function.as_str()) {
            (_, "") => "-".to_owned(),
            ("" | "default", name) => name.to_owned(),
            (namespace, name) => format!("{namespace}/{name}"),
        };
        let mut line = format!(
            "{who:<16} {} {} {} {}",
            output::clean_line(&self.method),
            output::clean_line(&self.path),
            paint(&self.status.to_string(), colour),
            duration(self.millis)
        );
        if self.start_millis > 0.0 {
            line.push_str(&format!(", {} of it starting", duration(self.start_millis)));
        }
        if !self.reason.is_empty() {
            line.push_str(&format!(" {}", self.reason));
        }
        format!("{line}  {}", paint(&output::clean_line(&self.id), 2))
    }
}

fn duration(millis: f64) -> String {
    match millis {
        millis if millis < 10.0 => format!("{millis:.1} ms"),
        millis if millis < 1000.0 => format!("{millis:.0} ms"),
        millis => format!("{:.1} s", millis / 1000.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_one_short_line() {
        let mut request = Request {
            method: "GET".into(),
            path: "/a\u{1b}[2J".into(),
            status: 200,
            millis: 3.2,
            namespace: "shop".into(),
            function: "hello".into(),
            id: "0af7".into(),
            ..Request::default()
        };
        assert_eq!(
            request.line(false),
            "shop/hello       GET /a\u{fffd}[2J 200 3.2 ms  0af7"
        );
        request.path = "/".into();
        (request.status, request.reason) = (503, "StartFailed".into());
        (request.millis, request.start_millis) = (1234.0, 250.0);
        assert_eq!(
            request.line(false),
            "shop/hello       GET / 503 1.2 s, 250 ms of it starting StartFailed  0af7"
        );
        assert!(request.line(true).contains("\u{1b}[31m503\u{1b}[0m"));
    }
}
