//! Tells the gateway that scales what waits, and hears from it what functions can take; tells how triggers stand.

use fermata_crds::backlog::{Backlogs, MOST_FUNCTIONS, Rooms};
use http::{Method, Request, StatusCode};
use hyper::body::Incoming;
use serde::Serialize;
use tokio::time::Instant;

use super::{Server, body};
use crate::problem::{Answer, Problem, json_answer};

/// The most bytes of a question: two names of 63 letters for each function.
const MOST_BYTES: usize = MOST_FUNCTIONS * 200;

// === impl Server ===

impl Server {
    /// What waits, to who says what functions can take.
    pub(super) async fn backlogs(&self, request: Request<Incoming>) -> Result<Answer, Problem> {
        let (parts, body) = request.into_parts();
        if parts.method != Method::POST {
            return Err(only("POST"));
        }
        let too_large = || body::too_large("question", MOST_BYTES, "");
        let body = body::read(&parts, body, MOST_BYTES, too_large).await?;
        let rooms: Rooms = serde_json::from_slice(&body).map_err(|error| {
            Problem::new(
                StatusCode::BAD_REQUEST,
                "BadRequest",
                format!("the places of functions cannot be read: {error}; the gateway that scales tells them"),
            )
        })?;
        for function in self.rooms.say(rooms.functions, Instant::now()) {
            self.store.look_again(&function);
        }
        let backlogs = Backlogs {
            most: self.most,
            functions: self.store.due(self.most),
        };
        Ok(told(&backlogs))
    }

    /// How functions and their triggers stand.
    pub(super) fn standings(&self, method: &Method) -> Result<Answer, Problem> {
        if method == Method::GET {
            Ok(told(&self.store.standings()))
        } else {
            Err(only("GET"))
        }
    }
}

fn told(what: &impl Serialize) -> Answer {
    // Names and numbers always serialize.
    let told = serde_json::to_value(what).unwrap_or_default();
    json_answer(StatusCode::OK, "application/json", &told)
}

fn only(method: &'static str) -> Problem {
    let problem = Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "MethodNotAllowed",
        format!("gateways ask this by {method}"),
    );
    Problem {
        allow: Some(method),
        ..problem
    }
}
