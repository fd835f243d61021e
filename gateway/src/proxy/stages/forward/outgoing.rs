//! A request on its way, as far as all attempts to have it answered need the same of it.

use std::{sync::Arc, time::Duration};

use fermata_crds::Protocol;
use http::Request;

use super::prepare::{self, RequestTarget};
use crate::{
    backend::{function::Function, revision::Revision},
    proxy::{
        caller::Caller,
        client::Client,
        context::ProxyContext,
        destination::Destination,
        headers::{self, Hop},
    },
    upstream::{
        deadlines::{Deadlines, Patience},
        meter::Meter,
        request_body::RequestBody,
    },
};

/// What all attempts of one request have in common.
pub(super) struct Outgoing<'a> {
    pub(super) client: &'a Client,
    pub(super) grpc: bool,
    pub(super) function: &'a Arc<Function>,
    pub(super) target: &'a RequestTarget,
    pub(super) hop: &'a Hop,
    pub(super) caller: &'a Caller,
    /// What watches the body; none if there is no body.
    pub(super) meter: Option<&'a Arc<Meter>>,
}

// === impl Outgoing ===

impl Outgoing<'_> {
    /// How long the peers of an exchange with a function of this protocol may take.
    fn patience(&self, context: &ProxyContext, protocol: Protocol) -> Patience {
        let mut patience = context.limits.patience;
        // Calls of gRPC may be streams in which either side speaks when it has something to say.
        if self.grpc && protocol == Protocol::H2c {
            patience.body = Duration::ZERO;
        }
        patience
    }

    /// Gives the request the form that the destination expects; returns the clocks of the exchange.
    pub(super) fn aim(
        &self,
        context: &ProxyContext,
        revision: &Revision,
        destination: &Destination,
        request: &mut Request<RequestBody>,
    ) -> Deadlines {
        let settings = revision.settings();
        let (protocol, meter) = (settings.protocol, self.meter.cloned());
        prepare::aim(request, protocol, self.target, self.hop);
        let deadlines = match destination {
            Destination::Instance { .. } => {
                let patience = self.patience(context, protocol);
                Deadlines::begin(&settings.timeouts, patience, meter)
            }
            Destination::Owner(_) => {
                let namespace = self.caller.namespace(&context.registry);
                let mark = headers::mark(namespace.as_deref(), self.caller.hops + 1);
                prepare::pass_on(request, protocol, self.target, mark);
                Deadlines::for_owner(&settings.timeouts, context.limits.patience, meter)
            }
        };
        deadlines.watching(self.client.hang_up())
    }
}
