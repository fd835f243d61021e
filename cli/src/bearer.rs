//! The token by which the one who works is known beside the API server.

use anyhow::{Context as _, bail};
use futures::future::BoxFuture;
use http::{HeaderValue, Request, Response, header};
use kube::{
    Config,
    client::{Body, ConfigExt as _},
};
use tower::{BoxError, Layer as _, ServiceExt as _, service_fn};

/// A token for who has none in the kubeconfig.
const TOKEN: &str = "FERMATA_TOKEN";

/// The value of `Authorization` by which the one who works is known to the API server, and to `whom` as well.
///
/// # Errors
///
/// When there is no token, with the way out.
pub(crate) async fn authorization(config: Option<&Config>, whom: &str) -> anyhow::Result<String> {
    if let Some(token) = std::env::var(TOKEN).ok().filter(|token| !token.is_empty()) {
        if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            bail!("{TOKEN} is no token");
        }
        return Ok(format!("Bearer {token}"));
    }
    let none = || {
        format!(
            "the user of the kubeconfig has no token, by which {whom} could know it; put one into the variable {TOKEN}, such as `kubectl create token ACCOUNT` prints"
        )
    };
    let config = config.with_context(none)?;
    let asking = header_of(config).context("the kubeconfig cannot be used")?;
    let answer = asking.with_context(none)?.await;
    let answer = answer
        .map_err(|error| anyhow::anyhow!("{error}"))
        .context("the kubeconfig gives no token")?;
    let value = answer.into_body().with_context(none)?;
    let value = value.to_str().context("the token is no text")?;
    Ok(value.to_owned())
}

/// What the client itself sends.
type Seen = Response<Option<HeaderValue>>;

/// Asks for what the client itself sends, which may run a plugin or refresh a token; nothing if it shows a certificate.
fn header_of(
    config: &Config,
) -> Result<Option<BoxFuture<'static, Result<Seen, BoxError>>>, kube::Error> {
    let seen = service_fn(|request: Request<Body>| async move {
        let value = request.headers().get(header::AUTHORIZATION).cloned();
        Ok::<_, BoxError>(Response::new(value))
    });
    let layer = config.auth_layer()?;
    Ok(layer.map(|layer| {
        let asking = layer.layer(seen).oneshot(Request::new(Body::empty()));
        Box::pin(asking) as _
    }))
}
