//! The third stage: the function that a request is for.

use std::{sync::Arc, time::Duration};

use fermata_crds::names::ASYNC_FUNCTION_PATH_PREFIX;
use http::{HeaderValue, request::Parts};
use tokio::time::Instant;

use crate::{
    backend::{
        function::Function,
        registry::{Registry, Routes},
    },
    cluster::peers::{Entrance, Sender},
    proxy::caller::Caller,
};

/// How much later than another gateway this one may hear of a function.
const LATE_NEWS: Duration = Duration::from_secs(5);

/// Where a request goes.
#[derive(Debug)]
pub(crate) struct Routed {
    /// The function.
    pub(crate) function: Arc<Function>,
    /// How many bytes of the path only lead to it.
    pub(crate) strip: usize,
    /// Whether the path says that the caller does not wait for the answer.
    pub(crate) deferred: bool,
}

/// Finds the function. For one that another gateway has heard of, and this one not yet, it waits a while; and for any while
/// the API server does not tell this one of new ones.
///
/// # Cancel safety
///
/// Dropping the future gives up the wait, nothing else.
pub(crate) async fn route(
    registry: &Registry,
    caller: &Caller,
    host: &HeaderValue,
    parts: &Parts,
) -> Option<Routed> {
    let found = find(registry, caller, host, parts);
    if found.is_some() {
        return found;
    }
    let is_known_elsewhere = caller.sender == Sender::Gateway;
    let late_news = is_known_elsewhere.then(|| Instant::now() + LATE_NEWS);
    let until = late_news.max(registry.is_behind_until())?;
    let later = async {
        loop {
            // Listens before it looks, so that no change is missed.
            let changed = registry.routes_changed();
            if let Some(found) = find(registry, caller, host, parts) {
                return found;
            }
            changed.await;
        }
    };
    tokio::time::timeout_at(until, later).await.ok()
}

fn find(registry: &Registry, caller: &Caller, host: &HeaderValue, parts: &Parts) -> Option<Routed> {
    let routes = registry.routes();
    let (host, path) = (host.to_str().unwrap_or_default(), parts.uri.path());
    let found = match caller.entrance {
        Entrance::Public => routes.find(host, path),
        Entrance::Internal => {
            let namespace = Routes::needs_namespace(host, path).then(|| caller.namespace(registry));
            routes.find_in_cluster(host, path, namespace.flatten().as_deref())
        }
    }?;
    Some(Routed {
        function: found.function.clone(),
        strip: found.strip,
        deferred: found.strip > 0 && path.starts_with(ASYNC_FUNCTION_PATH_PREFIX),
    })
}

#[cfg(test)]
mod tests {
    use fermata_daemon::watch::Key;
    use http::Request;

    use super::*;
    use crate::backend::{
        function::Traffic,
        router::{NamedFunction, Router},
    };

    const HOST: &str = "hello.default.example.com";

    fn routes(names: &[&str]) -> Routes {
        let mut router = Router::new("example.com", "cluster.local");
        for name in names {
            let traffic = Traffic::Failed("it is only looked for".into());
            let named = NamedFunction {
                function: Function::new(Key::new("default", *name), "uid", traffic),
                cluster_only: false,
            };
            router.add_name("default", name, named);
        }
        router
    }

    async fn routed(registry: &Registry, sender: Sender) -> Option<String> {
        let caller = Caller::for_test(sender, Entrance::Public);
        let (parts, ()) = Request::new(()).into_parts();
        let routed = route(registry, &caller, &HeaderValue::from_static(HOST), &parts).await?;
        Some(routed.function.key().name.to_string())
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_is_told_at_once_that_there_is_nothing() {
        let registry = Registry::new(routes(&["other"]));
        let begun = Instant::now();
        assert_eq!(routed(&registry, Sender::Client).await, None);
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_gateway_is_answered_as_soon_as_the_function_is_known() {
        let registry = Registry::new(routes(&[]));
        let begun = Instant::now();
        let publish = async {
            for names in [&["other"][..], &["other", "hello"]] {
                tokio::time::sleep(Duration::from_secs(1)).await;
                registry.set_routes(routes(names));
            }
        };
        let (found, ()) = tokio::join!(routed(&registry, Sender::Gateway), publish);
        assert_eq!(found.as_deref(), Some("hello"));
        assert_eq!(begun.elapsed(), Duration::from_secs(2));
    }

    #[tokio::test(start_paused = true)]
    async fn who_comes_after_an_outage_is_answered_as_soon_as_the_function_is_known() {
        let registry = Registry::new(routes(&[]));
        registry.functions_broke();
        tokio::time::sleep(Duration::from_secs(6)).await;
        let begun = Instant::now();
        let publish = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            registry.set_routes(routes(&["hello"]));
        };
        let (found, ()) = tokio::join!(routed(&registry, Sender::Client), publish);
        assert_eq!(found.as_deref(), Some("hello"));
        assert_eq!(begun.elapsed(), Duration::from_secs(1));
    }

    #[tokio::test(start_paused = true)]
    async fn some_time_after_an_outage_a_client_is_told_at_once_that_there_is_nothing() {
        let registry = Registry::new(routes(&["other"]));
        registry.functions_broke();
        let begun = Instant::now();
        assert_eq!(routed(&registry, Sender::Client).await, None);
        assert_eq!(begun.elapsed(), Duration::from_secs(8));
        assert_eq!(routed(&registry, Sender::Client).await, None);
        assert_eq!(begun.elapsed(), Duration::from_secs(8));
    }

    #[tokio::test(start_paused = true)]
    async fn not_even_a_gateway_waits_for_ever() {
        let registry = Registry::new(routes(&[]));
        let begun = Instant::now();
        assert_eq!(routed(&registry, Sender::Gateway).await, None);
        assert_eq!(begun.elapsed(), LATE_NEWS);
    }
}
