//! The answer to a write.

use http::Response;

use super::read::represent;
use crate::{
    api::Api,
    request::Call,
    response::{self, Body},
    security,
    write::{Done, Effect},
};

/// What came of a write, and what to warn of.
pub(super) struct Written {
    pub(super) done: Done,
    pub(super) warnings: Vec<String>,
}

// === impl Written ===

impl Written {
    pub(super) fn response(&self, api: &Api, call: &Call) -> Response<Body> {
        let code = match self.done.effect {
            Effect::Created => 201,
            Effect::Kept | Effect::Updated | Effect::Removed => 200,
        };
        let (resource, object) = (&call.target.resource, &self.done.object);
        let body = represent(resource, object, call.form, true);
        let mut response = response::json(code, body);
        response::warn(&mut response, &self.warnings);
        if call.target.subresource.is_none() {
            let object = object.value();
            let warning = api
                .store
                .view(|state| security::warning(state, resource, &object));
            response::warn(&mut response, warning.as_slice());
        }
        response
    }
}
