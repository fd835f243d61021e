//! A client for the same process: requests go straight into the handlers.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response};
use tower::Service;

use crate::{api::Api, auth::User, response::Body, router};

/// The API as a service.
#[derive(Clone)]
pub(crate) struct InProcess(pub(crate) Arc<Api>);

impl Service<Request<kube::client::Body>> for InProcess {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<kube::client::Body>) -> Self::Future {
        let api = Arc::clone(&self.0);
        Box::pin(async move { Ok(router::handle(&api, request, &User::Admin).await) })
    }
}
