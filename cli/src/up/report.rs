//! Tells what happens, as people like to read it.

use std::{
    collections::{HashMap, hash_map::Entry},
    net::SocketAddr,
    time::Duration,
};

use fermata_crds::{Function, conditions};
use futures::TryStreamExt as _;
use jiff::{SignedDuration, Timestamp};
use kube::{
    Api, Client, ResourceExt as _,
    runtime::{WatchStreamExt as _, watcher},
};
use tokio::{task::JoinSet, time};
use tokio_util::sync::CancellationToken;

use super::{
    Options,
    news::{greeting, news},
    platform::Platform,
};
use crate::{
    building::{self, Show},
    git, output, unready, urls,
};

/// How often functions that are starting are looked into.
const LOOK: Duration = Duration::from_secs(2);

/// How long a start may take before that.
const LONG_START: SignedDuration = SignedDuration::from_secs(5);

/// The most functions that are looked into at once.
const MOST_LOOKED_INTO: usize = 4;

/// The most builds whose lines are shown at once.
const MOST_BUILDS_SHOWN: usize = 32;

/// Says where everything is.
pub(super) fn welcome(platform: &Platform, options: &Options) {
    let line = |name: &str, value: &str| output::line(&format!("  {name:<12}{value}"));
    output::line(&format!("Fermata {}", env!("CARGO_PKG_VERSION")));
    line("gateway", &format!("http://{}", platform.gateway));
    line("in-cluster", &format!("http://{}", platform.internal));
    line("metrics", &format!("http://{}/metrics", platform.admin));
    line(
        "kubernetes",
        &format!(
            "https://{}  (export KUBECONFIG={})",
            platform.api(),
            platform.kubeconfig.display()
        ),
    );
    match platform.pushes {
        git::Offer::Taken => line(
            "git push",
            &format!("http://{}/git/NAME.git", platform.gateway),
        ),
        git::Offer::NotTaken(why) => line("git push", &format!("not taken: {why}")),
    }
    line(
        "state",
        &if options.ephemeral {
            "in memory".to_owned()
        } else {
            options.data.display().to_string()
        },
    );
    if options.files.is_empty() {
        output::line(
            "\nNo functions given. `fermata init hello` writes one; `fermata deploy -f hello` runs it here.",
        );
    }
    output::line("");
}

/// Prints the news of all functions until the shutdown.
///
/// `gateway` is where it takes requests, `internal` where it takes those of functions.
pub(super) async fn follow(
    client: Client,
    gateway: SocketAddr,
    internal: SocketAddr,
    stop: CancellationToken,
) {
    let addresses = Addresses { gateway, internal };
    let mut functions: HashMap<String, Function> = HashMap::new();
    let mut builds = Builds::new(client.clone());
    let api = Api::<Function>::all(client.clone());
    let watched = watcher(api, watcher::Config::default()).default_backoff();
    let mut watched = std::pin::pin!(watched);
    let mut looks = time::interval(LOOK);
    let mut explained: HashMap<String, String> = HashMap::new();
    loop {
        let event = tokio::select! {
            () = stop.cancelled() => return,
            _ = looks.tick() => {
                explain(&client, &functions, &mut explained).await;
                continue;
            }
            event = watched.try_next() => event,
        };
        match event {
            // What the platform itself consists of is no news.
            Ok(Some(
                watcher::Event::Apply(function)
                | watcher::Event::InitApply(function)
                | watcher::Event::Delete(function),
            )) if function.namespace().as_deref() == Some(git::NAMESPACE) => {}
            Ok(Some(watcher::Event::Apply(function) | watcher::Event::InitApply(function))) => {
                builds.see(&function).await;
                tell(&mut functions, function, addresses);
            }
            Ok(Some(watcher::Event::Delete(function))) => {
                functions.remove(&function.uid().unwrap_or_default());
                builds.shown.remove(&function.uid().unwrap_or_default());
                say(&function, "deleted");
            }
            Ok(Some(_)) => {}
            Ok(None) => return,
            Err(error) => tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the watch of functions failed and is tried again"
            ),
        }
    }
}

/// Tells, once, what keeps functions from being ready that have been starting for a while.
async fn explain(
    client: &Client,
    functions: &HashMap<String, Function>,
    explained: &mut HashMap<String, String>,
) {
    explained.retain(|uid, _| functions.contains_key(uid));
    let now = Timestamp::now();
    let starting = functions.iter().filter(|(_, function)| {
        let status = function.status.as_ref();
        let ready = status
            .and_then(|status| conditions::find(&status.conditions, conditions::REVISION_READY));
        ready.is_some_and(|ready| {
            ready.status == "Unknown"
                && now.duration_since(ready.last_transition_time.0) > LONG_START
        })
    });
    for (uid, function) in starting.take(MOST_LOOKED_INTO) {
        let namespace = function.namespace().unwrap_or_default();
        let Some(why) = unready::why(client, &namespace, &function.name_any()).await else {
            continue;
        };
        if explained.get(uid) != Some(&why) {
            say(function, &why);
            explained.insert(uid.clone(), why);
        }
    }
}

/// The builds of all functions.
struct Builds {
    client: Client,
    /// By the functions' identities.
    shown: HashMap<String, Show>,
    /// The last lines of those that have ended.
    ending: JoinSet<()>,
}

// === impl Builds ===

impl Builds {
    fn new(client: Client) -> Self {
        Self {
            client,
            shown: HashMap::new(),
            ending: JoinSet::new(),
        }
    }

    async fn see(&mut self, function: &Function) {
        while self.ending.try_join_next().is_some() {}
        let uid = function.uid().unwrap_or_default();
        let is_over = building::condition(function).is_none_or(|built| built.status != "Unknown");
        if is_over {
            if let Some(mut show) = self.shown.remove(&uid) {
                let function = function.clone();
                // Nothing else waits for it.
                self.ending.spawn(async move { show.see(&function).await });
            }
            return;
        }
        let count = self.shown.len();
        match self.shown.entry(uid) {
            Entry::Occupied(mut shown) => shown.get_mut().see(function).await,
            Entry::Vacant(place) if count < MOST_BUILDS_SHOWN => {
                let show = place.insert(Show::new(self.client.clone(), say));
                show.see(function).await;
            }
            Entry::Vacant(_) => {}
        }
    }
}

/// Where the gateway takes requests.
#[derive(Clone, Copy)]
struct Addresses {
    gateway: SocketAddr,
    internal: SocketAddr,
}

fn tell(functions: &mut HashMap<String, Function>, function: Function, addresses: Addresses) {
    let uid = function.uid().unwrap_or_default();
    let old = functions.get(&uid);
    let had_url = old.is_some_and(|old| {
        old.status
            .as_ref()
            .is_some_and(|status| status.url.is_some())
    });
    if !had_url
        && function
            .status
            .as_ref()
            .is_some_and(|status| status.url.is_some())
    {
        let gateway = if urls::is_internal(&function) {
            addresses.internal
        } else {
            addresses.gateway
        };
        say(&function, &greeting(&function, &gateway.to_string()));
    }
    for sentence in news(old, &function) {
        say(&function, &sentence);
    }
    functions.insert(uid, function);
}

fn say(function: &Function, sentence: &str) {
    let namespace = function.namespace().unwrap_or_default();
    let name = if namespace == "default" {
        function.name_any()
    } else {
        format!("{namespace}/{}", function.name_any())
    };
    output::line(&format!("{name:<16} {}", output::clean_line(sentence)));
}
