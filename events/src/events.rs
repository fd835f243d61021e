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
    metrics::{Metrics, Page},
    options::{ADMIN_PORT, Options},
    rooms::Rooms,
    server::{Door, Server, serve},
    store::{Active, Bounds, Store},
};

#[cfg(feature = "nats")]
use crate::store::{Nats, Settings};

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
    kept: Kept,
}

/// Where calls are kept.
#[derive(Debug)]
enum Kept {
    /// In a store that is open.
    Here(Store, Active),
    /// In a stream that one process has at a time.
    #[cfg(feature = "nats")]
    Nats(Box<Settings>),
}

/// A store that is open, and what its end has to do with it.
struct Opened {
    store: Store,
    active: Active,
    #[cfg(feature = "nats")]
    nats: Option<Arc<Nats>>,
}

/// What the admin listener tells: whether the store is open.
#[derive(Clone, Debug, Default)]
struct Health(Arc<AtomicBool>);

impl Routes for Health {
    /// It is ready as long as it has the store: calls are kept up to the end, also while it stops.
    fn readiness(&self) -> Result<(), &'static str> {
        if self.0.load(Ordering::Relaxed) {
            Ok(())
        } else {
            Err("it stands by until it has the store")
        }
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
        let registry = Registry::new();
        let metrics = Metrics::register(&registry).map_err(Error::Metrics)?;
        let metrics = Arc::new(metrics);
        let kept = Self::kept(&options, &metrics)?;
        Ok(Self {
            options,
            listener,
            address,
            admin,
            registry,
            metrics,
            kept,
        })
    }

    /// Opens the file, unless calls are kept elsewhere.
    fn kept(options: &Options, metrics: &Arc<Metrics>) -> Result<Kept, Error> {
        #[cfg(feature = "nats")]
        if let Some(settings) =
            Settings::of(&options.nats, options.max_store_bytes).map_err(Error::NatsUrl)?
        {
            return Ok(Kept::Nats(Box::new(settings)));
        }
        let path = (!options.ephemeral).then_some(&*options.store);
        let opened = Store::open(path, bounds(options), metrics.clone());
        let (store, active) = opened.map_err(|source| Error::Open {
            path: options.store.clone(),
            source,
        })?;
        Ok(Kept::Here(store, active))
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
            kept,
        } = self;
        let (drain, stop) = (CancellationToken::new(), CancellationToken::new());
        let _ends = (drain.clone().drop_guard(), stop.clone().drop_guard());
        let health = Health::default();
        let admin = admin.map(|socket| {
            let admin = Arc::new(Admin {
                registry: registry.clone(),
                routes: health.clone(),
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
        let door = Arc::new(Door::default());
        let serving = serve(door.clone(), listener, stop.clone());
        let mut serving = AbortOnDropHandle::new(tokio::spawn(serving));
        let Some(opened) = open(kept, &options, &metrics, &shutdown).await? else {
            tracing::info!("events stopped, without having had the store");
            return Ok(());
        };
        let (store, active) = (opened.store.clone(), opened.active);
        let page = Page::new(store.clone()).map_err(Error::Metrics)?;
        registry.register(Box::new(page)).map_err(Error::Metrics)?;
        door.open(Server::new(
            store.clone(),
            options.max_body_bytes,
            options.callback_allow.clone(),
            metrics.clone(),
            (rooms.clone(), concurrency.function),
        ));
        health.0.store(true, Ordering::Relaxed);
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

        #[cfg(feature = "nats")]
        let lost = opened.nats.as_ref().map(|nats| nats.lost());
        #[cfg(not(feature = "nats"))]
        let lost = None::<CancellationToken>;
        let lost = async {
            match &lost {
                Some(lost) => lost.cancelled().await,
                None => std::future::pending().await,
            }
        };
        let ended = tokio::select! {
            () = shutdown.cancelled() => None,
            // What is being made is made by another process as well, and nothing can be written of it here.
            () = lost => return Err(Error::Taken),
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
        #[cfg(feature = "nats")]
        if let Some(nats) = opened.nats {
            nats.release().await;
        }
        if let Some(admin) = admin {
            let _ = admin.await;
        }
        tracing::info!("events stopped");
        Ok(())
    }
}

/// What may be kept.
fn bounds(options: &Options) -> Bounds {
    Bounds {
        bytes: options.max_store_bytes,
        calls: options.max_calls,
        records: options.max_records,
    }
}

/// The store, as soon as this process has it; nothing if it is to stop before that.
#[cfg_attr(
    not(feature = "nats"),
    allow(
        clippy::unused_async,
        unused_variables,
        reason = "a file is open already"
    )
)]
async fn open(
    kept: Kept,
    options: &Options,
    metrics: &Arc<Metrics>,
    shutdown: &CancellationToken,
) -> Result<Option<Opened>, Error> {
    match kept {
        Kept::Here(store, active) => Ok(Some(Opened {
            store,
            active,
            #[cfg(feature = "nats")]
            nats: None,
        })),
        #[cfg(feature = "nats")]
        Kept::Nats(settings) => {
            let refused = |source| Error::OpenStream {
                stream: options.nats.stream.to_string(),
                source,
            };
            let nats = Nats::open(&settings, shutdown).await.map_err(refused)?;
            let Some(nats) = nats else { return Ok(None) };
            let opened = Store::in_nats(nats.clone(), bounds(options), metrics.clone());
            let (store, active) = opened.map_err(refused)?;
            Ok(Some(Opened {
                store,
                active,
                nats: Some(nats),
            }))
        }
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
