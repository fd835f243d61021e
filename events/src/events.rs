//! The events program as a whole: how its parts are put together, started and stopped.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use fermata_daemon::admin::{Admin, Routes};
use http::uri::Authority;
use jiff::Timestamp;
use prometheus::Registry;
use tokio::net::TcpListener;
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use crate::{
    delivery::{Concurrency, Dispatcher},
    error::Error,
    metrics::Metrics,
    options::{ADMIN_PORT, Options},
    server::{Server, serve},
    store::{Active, Bounds, Store},
};

/// The most calls of one function that are made at once.
const OF_A_FUNCTION: u32 = 100;

/// How often records are removed whose time is over.
const SWEEP_EVERY: Duration = Duration::from_secs(5);

/// The program with its ports and its store, which does nothing with them yet.
#[derive(Debug)]
pub struct Events {
    options: Options,
    listener: TcpListener,
    address: SocketAddr,
    admin: Option<TcpListener>,
    store: Store,
    active: Active,
}

/// What the admin listener tells.
#[derive(Debug)]
struct Health {
    stopping: AtomicBool,
}

impl Routes for Health {
    fn readiness(&self) -> Result<(), &'static str> {
        if self.stopping.load(Ordering::Relaxed) {
            return Err("the program is stopping");
        }
        Ok(())
    }
}

// === impl Events ===

impl Events {
    /// Takes the ports, and opens the store.
    ///
    /// # Errors
    ///
    /// [`Error::Bind`] if a port cannot be had, [`Error::Open`] if the store cannot be read.
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
        let opened = Store::open(path, bounds).map_err(|source| Error::Open {
            path: options.store.clone(),
            source,
        });
        let (store, active) = opened?;
        Ok(Self {
            options,
            listener,
            address,
            admin,
            store,
            active,
        })
    }

    /// Where the gateway asks.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Calls functions through this gateway in place of the one in the options.
    #[must_use]
    pub fn through(mut self, gateway: Authority) -> Self {
        self.options.gateway = gateway;
        self
    }

    /// Keeps and makes calls until `shutdown`; then those that are being made go on to their end, or until the drain
    /// timeout is over.
    ///
    /// # Errors
    ///
    /// [`Error::Metrics`] if it cannot begin, [`Error::TaskEnded`] if a part of it fails for good.
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
            store,
            active,
        } = self;
        let registry = Registry::new();
        let metrics = Metrics::register(&registry, store.clone()).map_err(Error::Metrics)?;
        let metrics = Arc::new(metrics);
        let stop = CancellationToken::new();
        let _ends = stop.clone().drop_guard();

        let health = Arc::new(Admin {
            registry,
            routes: Health {
                stopping: AtomicBool::new(false),
            },
            hosts: options.admin.hosts.clone(),
        });
        let admin = admin.map(|socket| {
            AbortOnDropHandle::new(tokio::spawn(health.clone().run(socket, stop.clone())))
        });
        let server = Arc::new(Server {
            store: store.clone(),
            max_body_bytes: options.max_body_bytes,
            acceptances: metrics.clone(),
        });
        let mut serving =
            AbortOnDropHandle::new(tokio::spawn(serve(server, listener, stop.clone())));
        let dispatcher = Dispatcher {
            store: store.clone(),
            gateway: options.gateway.clone(),
            kept: options.max_body_bytes,
            concurrency: Concurrency {
                all: options.concurrency,
                namespace: (options.concurrency / 4).max(1),
                function: OF_A_FUNCTION,
            },
            attempts: metrics.clone(),
            drain: options.drain_timeout.into(),
        };
        let mut making = AbortOnDropHandle::new(tokio::spawn(dispatcher.run(active, stop.clone())));
        let mut sweeping =
            AbortOnDropHandle::new(tokio::spawn(sweep(store, metrics, stop.clone())));
        tracing::info!(%address, gateway = %options.gateway, "events are kept");

        let ended = tokio::select! {
            () = shutdown.cancelled() => None,
            _ = &mut serving => Some("listener for calls"),
            _ = &mut making => Some("making of calls"),
            _ = &mut sweeping => Some("removal of what is over"),
        };
        health.routes.stopping.store(true, Ordering::Relaxed);
        stop.cancel();
        if let Some(ended) = ended {
            return Err(Error::TaskEnded(ended));
        }
        // Each says in its log what went wrong; there is nothing more to be done about it.
        let _ = tokio::join!(serving, making, sweeping);
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
