//! Who hears which topic.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Mutex,
};

use bytes::Bytes;
use fermata_crds::{Function, Subscription, Visibility, topic};
use fermata_daemon::watch::Key;

use crate::sync::lock;

/// How many topics of a namespace are looked at for a name that is near.
const MOST_LOOKED_AT: usize = 1000;

/// By how many letters a name may differ that is near.
const MOST_STEPS: usize = 2;

/// The longest name of a topic, and those near to it.
const LONGEST_NAME: usize = 63 + MOST_STEPS;

/// The most names that are told as near.
const MOST_NEAR: usize = 3;

/// What one Function hears. Most hear nothing.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Heard {
    /// Topics, and what is to be delivered how.
    subscriptions: Vec<(Box<str>, Subscription)>,
    /// Whether the Function is called from inside the cluster alone.
    cluster_only: bool,
}

/// All topics that Functions name.
#[derive(Debug, Default)]
pub(crate) struct Topics(Mutex<Tables>);

#[derive(Debug, Default)]
struct Tables {
    topics: BTreeMap<Key, Topic>,
    /// The topics that a Function hears.
    heard: HashMap<Key, Vec<Key>>,
}

/// Those who hear a topic, by the names of their Functions.
#[derive(Debug, Default)]
struct Topic {
    functions: BTreeMap<Box<str>, Hearer>,
    /// The same as the events program is told; made when it is asked for.
    framed: Option<Bytes>,
}

#[derive(Debug)]
struct Hearer {
    subscriptions: Vec<Subscription>,
    cluster_only: bool,
}

/// Why nothing can be published.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Unheard {
    /// Nobody hears it; those have names that are much the same.
    Unknown(Vec<Box<str>>),
    /// So many Functions hear it, which are too many.
    TooMany(usize),
}

// === impl Heard ===

impl Heard {
    /// What the Function hears, if it hears anything.
    #[must_use]
    pub(crate) fn of(function: &Function) -> Option<Box<Self>> {
        if function.metadata.deletion_timestamp.is_some() {
            return None;
        }
        let output = function.spec.output.as_ref();
        let output = output.map(|output| Box::from(output.topic.as_str()));
        let triggers = function.spec.triggers().iter();
        let subscriptions: Vec<_> = triggers
            .filter_map(|trigger| {
                let topic = trigger.topic.as_ref()?;
                let subscription = Subscription {
                    function: function.metadata.name.as_deref()?.into(),
                    uid: function.metadata.uid.as_deref()?.into(),
                    trigger: trigger.name.as_str().into(),
                    path: trigger.path().into(),
                    filter: topic.filter.clone().unwrap_or_default(),
                    order: topic.order.unwrap_or_default(),
                    batch: trigger.batch.clone(),
                    output: output.clone(),
                    delivery: function.spec.delivery.clone().unwrap_or_default(),
                };
                Some((topic.name.as_str().into(), subscription))
            })
            .collect();
        (!subscriptions.is_empty()).then(|| {
            Box::new(Self {
                subscriptions,
                cluster_only: function.spec.expose().visibility() == Visibility::Cluster,
            })
        })
    }
}

// === impl Topics ===

impl Topics {
    /// A Function hears this from now on.
    pub(crate) fn set(&self, function: &Key, heard: Option<&Heard>) {
        let mut tables = lock(&self.0);
        for topic in tables.heard.remove(function).unwrap_or_default() {
            if let Some(known) = tables.topics.get_mut(&topic) {
                known.functions.remove(&function.name);
                known.framed = None;
                if known.functions.is_empty() {
                    tables.topics.remove(&topic);
                }
            }
        }
        let Some(heard) = heard else { return };
        let mut topics: Vec<Key> = Vec::new();
        for (topic, subscription) in &heard.subscriptions {
            let topic = Key::new(&function.namespace, topic);
            let known = tables.topics.entry(topic.clone()).or_default();
            known.framed = None;
            let hearer = known
                .functions
                .entry(function.name.clone())
                .or_insert_with(|| Hearer {
                    subscriptions: Vec::new(),
                    cluster_only: heard.cluster_only,
                });
            hearer.subscriptions.push(subscription.clone());
            if !topics.contains(&topic) {
                topics.push(topic);
            }
        }
        tables.heard.insert(function.clone(), topics);
    }

    /// Those who hear the topic, as the events program is told. From anywhere one can publish where every one of them
    /// could be called as well.
    ///
    /// # Errors
    ///
    /// When nobody hears it, or too many do. Names that are near are told only to who may know of them.
    pub(crate) fn find(
        &self,
        topic: &Key,
        from_anywhere: bool,
        tells_near: bool,
    ) -> Result<Bytes, Unheard> {
        let mut tables = lock(&self.0);
        let known = tables.topics.get_mut(topic);
        let Some(known) = known.filter(|known| known.is_open(from_anywhere)) else {
            let names = if tells_near && topic.name.len() <= LONGEST_NAME {
                tables.names_like(topic, from_anywhere)
            } else {
                Vec::new()
            };
            // Nobody has to wait while they are compared.
            drop(tables);
            return Err(Unheard::Unknown(near(&topic.name, names)));
        };
        if let Some(framed) = &known.framed {
            return Ok(framed.clone());
        }
        let hearers = known.functions.values();
        let subscriptions = hearers.flat_map(|hearer| &hearer.subscriptions);
        let framed = topic::frame(subscriptions).map(Bytes::from);
        let framed = framed.ok_or(Unheard::TooMany(known.functions.len()))?;
        known.framed = Some(framed.clone());
        Ok(framed)
    }
}

// === impl Topic ===

impl Topic {
    /// Whether one can publish there, who could call from anywhere or from inside.
    fn is_open(&self, from_anywhere: bool) -> bool {
        let mut hearers = self.functions.values();
        !from_anywhere || hearers.all(|hearer| !hearer.cluster_only)
    }
}

// === impl Tables ===

impl Tables {
    /// Names of about the same length in the topic's namespace.
    fn names_like(&self, topic: &Key, from_anywhere: bool) -> Vec<Box<str>> {
        let first = Key::new(&topic.namespace, "");
        let known = self.topics.range(first..);
        let known = known.take_while(|(key, _)| key.namespace == topic.namespace);
        let like = known.take(MOST_LOOKED_AT).filter(|(key, known)| {
            key.name.len().abs_diff(topic.name.len()) <= MOST_STEPS && known.is_open(from_anywhere)
        });
        like.map(|(key, _)| key.name.clone()).collect()
    }
}

/// Those of the names that are near to this one.
fn near(name: &str, mut names: Vec<Box<str>>) -> Vec<Box<str>> {
    names.retain(|known| strsim::damerau_levenshtein(known, name) <= MOST_STEPS);
    names.truncate(MOST_NEAR);
    names
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn function(name: &str, topics: &[&str], visibility: &str) -> Function {
        let triggers: Vec<Value> = topics
            .iter()
            .enumerate()
            .map(|(index, topic)| json!({"name": format!("t{index}"), "topic": {"name": topic}}))
            .collect();
        let function = json!({
            "apiVersion": "fermata.dev/v1alpha1", "kind": "Function",
            "metadata": {"name": name, "namespace": "shop", "uid": format!("u-{name}")},
            "spec": {"image": "a", "triggers": triggers, "expose": {"visibility": visibility}},
        });
        serde_json::from_value(function).unwrap()
    }

    fn set(topics: &Topics, function: &Function) {
        topics.set(&Key::of(function), Heard::of(function).as_deref());
    }

    /// Functions and triggers of those who hear it.
    fn found(topics: &Topics, name: &str, from_anywhere: bool) -> Result<Vec<String>, Unheard> {
        let framed = topics.find(&Key::new("shop", name), from_anywhere, !from_anywhere)?;
        let (subscriptions, rest) = topic::split(&framed).unwrap();
        assert_eq!(rest, framed.len());
        let names = subscriptions.iter();
        Ok(names
            .map(|one| format!("{}/{}", one.function, one.trigger))
            .collect())
    }

    #[test]
    fn a_topic_is_there_as_long_as_a_function_names_it() {
        let topics = Topics::default();
        let unknown = Err(Unheard::Unknown(Vec::new()));
        assert_eq!(found(&topics, "orders", false), unknown);
        set(&topics, &function("mails", &["orders"], "Public"));
        set(
            &topics,
            &function("bills", &["orders", "returns", "orders"], "Public"),
        );
        let all = ["bills/t0", "bills/t2", "mails/t0"].map(ToOwned::to_owned);
        assert_eq!(found(&topics, "orders", true), Ok(all.to_vec()));
        set(&topics, &function("bills", &["returns"], "Public"));
        assert_eq!(
            found(&topics, "orders", true),
            Ok(vec!["mails/t0".to_owned()])
        );
        topics.set(&Key::new("shop", "mails"), None);
        assert_eq!(found(&topics, "orders", false), unknown);
        assert!(found(&topics, "returns", false).is_ok());
    }

    #[test]
    fn from_anywhere_nobody_reaches_who_is_called_from_inside_alone() {
        let topics = Topics::default();
        set(&topics, &function("mails", &["orders"], "Public"));
        set(&topics, &function("bills", &["orders"], "Cluster"));
        let unknown = Err(Unheard::Unknown(Vec::new()));
        assert_eq!(found(&topics, "orders", true), unknown);
        assert_eq!(found(&topics, "order", true), unknown);
        assert_eq!(found(&topics, "orders", false).unwrap().len(), 2);
        let near = Err(Unheard::Unknown(vec!["orders".into()]));
        assert_eq!(found(&topics, "oders", false), near);
        let elsewhere = topics.find(&Key::new("other", "orders"), false, true);
        assert_eq!(elsewhere, Err(Unheard::Unknown(Vec::new())));
    }
}
