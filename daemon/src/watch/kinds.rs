//! Watches, which never end: one that breaks begins again within five seconds, also when its kind or its
//! namespace does not exist yet. What was known stays in force meanwhile.

use std::{collections::HashSet, fmt::Debug, sync::Arc};

use futures::{Stream, StreamExt as _, future::ready, stream::select_all};
use kube::{
    Api, Client, Resource, ResourceExt as _,
    core::{ClusterResourceScope, NamespaceResourceScope, PartialObjectMeta},
    runtime::{
        WatchStreamExt as _,
        watcher::{self, Config, Event, watcher},
    },
};
use serde::de::DeserializeOwned;
use tracing::{info, warn};

use super::{Guarded, Key, Listed, Names, Place, Places, WatchEvent, waits::Waits};

/// The watches of one process.
#[derive(Clone)]
pub struct Watch {
    client: Client,
    places: Places,
    listed: Arc<Listed>,
}

/// How the watch of one kind in one place goes.
struct Course {
    kind: String,
    place: Place,
    listed: Arc<Listed>,
    /// What the list in progress has named.
    listing: Option<HashSet<Key>>,
    /// Whether it has been told that the watch is broken.
    broken: bool,
}

// === impl Watch ===

impl Watch {
    /// Watches of these kinds in these places. All of them have to be begun: [`Watch::listed`] waits for the
    /// lists of all.
    #[must_use]
    pub fn new(client: Client, places: Places, kinds: &[&'static str]) -> Self {
        let listed = Arc::<Listed>::default();
        for kind in kinds {
            listed.expect(kind, &places);
        }
        Self {
            client,
            places,
            listed,
        }
    }

    /// The same with a kind that is not in namespaces.
    #[must_use]
    pub fn with_cluster_kind(self, kind: &'static str) -> Self {
        self.listed.expect(kind, &Places::All);
        self
    }

    /// Which lists are whole.
    #[must_use]
    pub fn listed(&self) -> &Arc<Listed> {
        &self.listed
    }

    /// Watches the objects of a kind that the configuration selects. Never ends.
    pub fn objects<K>(&self, config: &Config) -> impl Stream<Item = WatchEvent<K>> + Send + use<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + Debug
            + DeserializeOwned
            + Send
            + 'static,
    {
        let places = self.places.each().into_iter().map(|place| {
            let events = watcher(place.api::<Guarded<K>>(&self.client), config.clone());
            self.course::<K>(place).of(events).boxed()
        });
        select_all(places)
    }

    /// Watches the objects of a kind that is not in namespaces. Never ends.
    pub fn cluster_objects<K>(
        &self,
        config: &Config,
    ) -> impl Stream<Item = WatchEvent<K>> + Send + use<K>
    where
        K: Resource<DynamicType = (), Scope = ClusterResourceScope>
            + Clone
            + Debug
            + DeserializeOwned
            + Send
            + 'static,
    {
        let api = Api::<Guarded<K>>::all(self.client.clone());
        let events = watcher(api, config.clone());
        self.course::<K>(Place::cluster()).of(events)
    }

    /// Watches only the metadata of the objects of a kind. Never ends.
    pub fn metadata<K>(
        &self,
        config: &Config,
    ) -> impl Stream<Item = WatchEvent<PartialObjectMeta<K>>> + Send + use<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + Debug
            + DeserializeOwned
            + Send
            + Sync
            + 'static,
    {
        let places = self.places.each().into_iter().map(|place| {
            let events = watcher(
                place.api::<PartialObjectMeta<K>>(&self.client),
                config.clone(),
            );
            // Metadata can always be read.
            let events = events.map(|event| event.map(readable));
            self.course::<K>(place).of(events).boxed()
        });
        select_all(places)
    }

    /// Gives what was told to who takes it in; an object that makes it panic is told as unreadable. A list
    /// counts as whole only after it was taken in.
    pub fn hand<K: Resource<DynamicType = ()>>(
        &self,
        told: WatchEvent<K>,
        sink: impl FnMut(WatchEvent<K>),
    ) {
        let whole = match &told {
            WatchEvent::Listed(names) => Some(names.place().clone()),
            _ => None,
        };
        told.hand(sink);
        if let Some(place) = whole {
            self.listed.listed(&K::kind(&()), &place);
        }
    }

    fn course<K: Resource<DynamicType = ()>>(&self, place: Place) -> Course {
        Course {
            kind: K::kind(&()).into_owned(),
            place,
            listed: self.listed.clone(),
            listing: None,
            broken: false,
        }
    }
}

// === impl Course ===

impl Course {
    fn of<K>(
        mut self,
        events: impl Stream<Item = watcher::Result<Event<Guarded<K>>>> + Send,
    ) -> impl Stream<Item = WatchEvent<K>> + Send
    where
        K: Resource<DynamicType = ()> + Send,
    {
        let events = events.backoff(Waits::default());
        events.filter_map(move |event| ready(self.take(event)))
    }

    fn take<K>(&mut self, event: watcher::Result<Event<Guarded<K>>>) -> Option<WatchEvent<K>>
    where
        K: Resource<DynamicType = ()>,
    {
        let event = match event {
            // Said before the API server is asked.
            Ok(Event::Init) => {
                self.listing = Some(HashSet::new());
                return None;
            }
            Ok(event) => event,
            Err(error) => {
                self.failed(&error);
                return Some(WatchEvent::Broke);
            }
        };
        self.works();
        Some(match event {
            Event::Init | Event::InitDone => {
                let keys = self.listing.take().unwrap_or_default();
                WatchEvent::Listed(Names::new(self.place.clone(), keys))
            }
            Event::InitApply(object) => {
                if let Some(listing) = &mut self.listing {
                    listing.insert(Key::of(&object));
                }
                there(object, true)
            }
            Event::Apply(object) => there(object, false),
            Event::Delete(object) => WatchEvent::Gone {
                key: Key::of(&object),
                uid: object.uid().unwrap_or_default(),
            },
        })
    }

    fn works(&mut self) {
        self.listed.allowed(&self.kind, &self.place);
        if self.broken {
            info!(kind = self.kind, place = %self.place, "the watch works again");
            self.broken = false;
        }
    }

    /// Says once what is wrong, and what to do where that is known.
    fn failed(&mut self, error: &watcher::Error) {
        let cause: &(dyn std::error::Error + 'static) = error;
        let kind = &*self.kind;
        match refusal(error) {
            Some(status) if status.is_forbidden() => {
                self.listed.refused(kind, &self.place, cause);
            }
            _ if self.broken || is_restart(error) => {}
            Some(status) if status.is_not_found() => {
                warn!(
                    kind,
                    "the cluster does not know this kind; install the CustomResourceDefinitions of Fermata, \
                     which are in its Helm chart; waiting for them"
                );
                self.broken = true;
            }
            _ => {
                warn!(kind, place = %self.place, error = cause, "the watch broke and is started again");
                self.broken = true;
            }
        }
    }
}

/// What the API server answered to a list, or to the beginning of a watch.
fn refusal(error: &watcher::Error) -> Option<&kube::core::Status> {
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status)) => Some(status),
        _ => None,
    }
}

/// Watches end now and then as a matter of course, when the API server has forgotten the version
/// they stand at (410 Gone).
fn is_restart(error: &watcher::Error) -> bool {
    matches!(error, watcher::Error::WatchError(status) if status.code == 410)
}

fn there<K>(object: Guarded<K>, listed: bool) -> WatchEvent<K> {
    match object {
        Guarded(Ok(object)) => WatchEvent::There { object, listed },
        Guarded(Err(object)) => WatchEvent::Unreadable(object),
    }
}

fn readable<K>(event: Event<K>) -> Event<Guarded<K>> {
    match event {
        Event::Init => Event::Init,
        Event::InitDone => Event::InitDone,
        Event::InitApply(object) => Event::InitApply(Guarded(Ok(object))),
        Event::Apply(object) => Event::Apply(Guarded(Ok(object))),
        Event::Delete(object) => Event::Delete(Guarded(Ok(object))),
    }
}
