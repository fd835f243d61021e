//! The events program as a whole: how its parts are put together, started and stopped.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use fermata_daemon::admin::{Admin, Routes};
use http::uri::Authority;
use jiff::Timestamp;
use prometheus::Registry;
use tokio::net::TcpListener;
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use crate::{
    delivery::{Concurrency, Dispatcher},
    error::Error,
    metrics::{Metrics, Page},
    options::{ADMIN_PORT, Options},
    rooms::Rooms,
    server::{Server, serve},
    store::{Active, Bounds, Store},
};

/// Which part of all calls that are made at once those of one namespace may be, and those of one function.
const SHARES: (u32, u32) = (4, 10);

/// How often records are removed whose time is over.
const SWEEP_EVERY: Duration = Duration::from_secs(5);

/// The program with its ports and its store, which does nothing with them yet.
#[derive(Debug)]
pub struct Events {
    options: Options,
    listener: TcpListener,
    address: SocketAddr,
    admin: Option<TcpListener>,
    registry: Registry,
    metrics: Arc<Metrics>,
    store: Store,
    active: Active,
}

/// What the admin listener tells.
#[derive(Debug)]
struct Health;

impl Routes for Health {
    /// It is ready as long as it is there: calls are kept up to the end, also while it stops.
    fn readiness(&self) -> Result<(), &'static str> {
        Ok(())
    }
}

// === impl Events ===

impl Events {
    /// Takes the ports, and opens the store.
    ///
    /// # Errors
    ///
    /// [`Error::Bind`] if a port cannot be had, [`Error::Open`] if the store cannot be read, [`Error::Metrics`] if there
    /// are no metrics.
    pub async fn bind(options: Options) -> Result<Self, Error> {
        let (listener, address) = listen(options.listen, "calls", "--listen").await?;
        let admin = match options.admin.listen(ADMIN_PORT) {
            Some(admin) => Some(listen(admin, "metrics and health", "--admin").await?.0),
            None => None,
        };
        let path = (!options.ephemeral).then_some(&*options.store);
        let bounds = Bounds {
            bytes: options.max_store_bytes,
            calls: options.max_calls,
            records: options.max_records,
        };
        let registry = Registry::new();
        let metrics = Metrics::register(&registry).map_err(Error::Metrics)?;
        let metrics = Arc::new(metrics);
        let opened = Store::open(path, bounds, metrics.clone()).map_err(|source| Error::Open {
            path: options.store.clone(),
            source,
        });
        let (store, active) = opened?;
        let page = Page::new(store.clone()).map_err(Error::Metrics)?;
        registry.register(Box::new(page)).map_err(Error::Metrics)?;
        Ok(Self {
            options,
            listener,
            address,
            admin,
            registry,
            metrics,
            store,
            active,
        })
    }

    /// Where the gateway asks.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its metrics, to be shown elsewhere as well.
    #[must_use]
    pub fn metrics(&self) -> Registry {
        self.registry.clone()
    }

    /// Calls functions through this gateway in place of the one in the options.
    #[must_use]
    pub fn through(mut self, gateway: Authority) -> Self {
        self.options.gateway = gateway;
        self
    }

    /// Keeps and makes calls until `shutdown`. Then no more are made, those that are being made go on to their end or
    /// until the drain timeout is over, and calls are kept all the while: who keeps them next begins after this.
    ///
    /// # Errors
    ///
    /// [`Error::TaskEnded`] if a part of it fails for good.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future breaks off what is being made, which is made again later. Cancel `shutdown` instead.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), Error> {
        let Self {
            options,
            listener,
            address,
            admin,
            registry,
            metrics,
            store,
            active,
        } = self;
        let (drain, stop) = (CancellationToken::new(), CancellationToken::new());
        let _ends = (drain.clone().drop_guard(), stop.clone().drop_guard());
        let admin = admin.map(|socket| {
            let admin = Arc::new(Admin {
                registry,
                routes: Health,
                hosts: options.admin.hosts.clone(),
            });
            AbortOnDropHandle::new(tokio::spawn(admin.run(socket, stop.clone())))
        });
        let rooms = Arc::<Rooms>::default();
        let share = |part: u32| (options.concurrency / part).max(1);
        let concurrency = Concurrency {
            all: options.concurrency,
            namespace: share(SHARES.0),
            function: share(SHARES.1),
        };
        let server = Server::new(
            store.clone(),
            options.max_body_bytes,
            options.callback_allow.clone(),
            metrics.clone(),
            (rooms.clone(), concurrency.function),
        );
        let server = Arc::new(server);
        let serving = serve(server, listener, stop.clone());
        let mut serving = AbortOnDropHandle::new(tokio::spawn(serving));
        let dispatcher = Dispatcher {
            store: store.clone(),
            gateway: options.gateway.clone(),
            kept: options.max_body_bytes,
            concurrency,
            rooms,
            callbacks: options.callback_allow.clone(),
            drain: options.drain_timeout.into(),
        };
        let making = dispatcher.run(active, drain.clone());
        let mut making = AbortOnDropHandle::new(tokio::spawn(making));
        let sweeping = sweep(store, metrics, stop.clone());
        let mut sweeping = AbortOnDropHandle::new(tokio::spawn(sweeping));
        tracing::info!(%address, gateway = %options.gateway, "calls are kept");

        let ended = tokio::select! {
            () = shutdown.cancelled() => None,
            _ = &mut serving => Some("listener for calls"),
            _ = &mut making => Some("making of calls"),
            _ = &mut sweeping => Some("removal of what is over"),
        };
        if let Some(ended) = ended {
            return Err(Error::TaskEnded(ended));
        }
        drain.cancel();
        // Each says in its log what went wrong; there is nothing more to be done about it.
        let _ = making.await;
        stop.cancel();
        let _ = tokio::join!(serving, sweeping);
        if let Some(admin) = admin {
            let _ = admin.await;
        }
        tracing::info!("events stopped");
        Ok(())
    }
}

async fn listen(
    address: SocketAddr,
    purpose: &'static str,
    option: &'static str,
) -> Result<(TcpListener, SocketAddr), Error> {
    let refused = |source| Error::Bind {
        address,
        purpose,
        option,
        source,
    };
    let listener = TcpListener::bind(address).await.map_err(refused)?;
    let address = listener.local_addr().map_err(refused)?;
    Ok((listener, address))
}

/// Removes what is over and whose time is over too.
async fn sweep(store: Store, metrics: Arc<Metrics>, stop: CancellationToken) {
    while stop
        .run_until_cancelled(tokio::time::sleep(SWEEP_EVERY))
        .await
        .is_some()
    {
        match store.sweep(Timestamp::now()).await {
            Ok(0) => {}
            Ok(dropped) => {
                metrics.dropped(dropped);
                tracing::warn!(
                    dropped,
                    "there is no room for what became of calls: the oldest are forgotten before their time"
                );
            }
            Err(error) => tracing::warn!(
                error = &error as &dyn std::error::Error,
                "what is over cannot be removed"
            ),
        }
    }
}
