//! One write: read what is there, decide what becomes of it, and write that if it is still there as it was read.

use std::{borrow::Cow, sync::Arc};

use serde_json::Value;

use super::{admit, definitions};
use crate::{
    api::Api,
    random,
    resource::Resource,
    status::Failure,
    store::{CommitError, Expect, Key, Object, Put, WriteFailed},
};

/// How often a write is tried because somebody else was quicker.
const MAX_TRIES: usize = 8;

/// The longest part of a name that a generated end is put to.
const MAX_PREFIX: usize = 63 - 5;

/// Which object is written.
#[derive(Debug)]
pub(crate) enum Place {
    Named(Key),
    /// A new object, whose name begins with `prefix` and is no other object's.
    Generated {
        namespace: String,
        prefix: String,
    },
}

/// What becomes of an object, in the version that it is kept in.
#[derive(Debug)]
pub(crate) enum Decision {
    /// It stays as it is.
    Keep,
    Put(Value),
    /// It goes; the value is the last state that watches see.
    Remove(Value),
}

/// What a write did, or would have done had it not been tried only.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Effect {
    Kept,
    Created,
    Updated,
    Removed,
}

/// The end of a write.
#[derive(Debug)]
pub(crate) struct Done {
    /// The object as it is now, or was last.
    pub(crate) object: Arc<Object>,
    pub(crate) effect: Effect,
}

// === impl Place ===

impl Place {
    /// The key to write to; another one each time if the name is generated.
    fn key(&self) -> Cow<'_, Key> {
        match self {
            Self::Named(key) => Cow::Borrowed(key),
            Self::Generated { namespace, prefix } => {
                let prefix: String = prefix.chars().take(MAX_PREFIX).collect();
                let name = format!("{prefix}{}", random::suffix());
                Cow::Owned(Key::new(namespace.as_str(), name))
            }
        }
    }
}

/// Writes an object. `decide` says what becomes of the one that is there, and is asked again, at most [`MAX_TRIES`]
/// times in all, when that has changed before it was written; it must have no effects. With `dry_run` everything is
/// done but the write itself.
///
/// # Errors
///
/// What `decide` refuses; 404 when it keeps or removes what is not there; what must hold of the cluster when
/// something is created in it; 409 when others were quicker each time; 429, 500 or 507 when the disk does not take it.
pub(crate) async fn transact(
    api: &Api,
    resource: &Resource,
    place: &Place,
    dry_run: bool,
    mut decide: impl FnMut(&Key, Option<&Object>) -> Result<Decision, Failure>,
) -> Result<Done, Failure> {
    for _ in 0..MAX_TRIES {
        let key = place.key();
        let current = api.store.get(&resource.storage, &key);
        if current.is_some() && matches!(place, Place::Generated { .. }) {
            continue;
        }
        let decision = decide(&key, current.as_deref())?;
        let (put, effect) = match (decision, &current) {
            (Decision::Put(new), None) => (Put::Store(new), Effect::Created),
            (Decision::Put(new), Some(_)) => (Put::Store(new), Effect::Updated),
            (Decision::Remove(last), Some(_)) => (Put::Remove(last), Effect::Removed),
            (Decision::Keep, Some(current)) => {
                return Ok(Done {
                    object: Arc::clone(current),
                    effect: Effect::Kept,
                });
            }
            (Decision::Keep | Decision::Remove(_), None) => {
                return Err(resource.not_found(&key.name));
            }
        };
        let guard = |state: &_, new: &_| match effect {
            Effect::Created => admit::room(state, resource, &key, new),
            _ => Ok(()),
        };
        if dry_run {
            let (Put::Store(value) | Put::Remove(value)) = put;
            api.store.view(|state| guard(state, &value))?;
            return Ok(Done {
                object: Arc::new(Object::unstored(&value)),
                effect,
            });
        }
        let expect = match &current {
            Some(current) => Expect::Revision(current.revision),
            None => Expect::Absent,
        };
        match definitions::store(api, resource, &key, expect, put, guard).await {
            Ok(object) => return Ok(Done { object, effect }),
            Err(error) => {
                if let Some(failure) = refusal(error) {
                    return Err(failure);
                }
            }
        }
    }
    Err(match place {
        Place::Named(key) => resource.modified(&key.name),
        Place::Generated { prefix, .. } => {
            Failure::already_exists(&resource.group, &resource.plural, prefix)
        }
    })
}

/// A failed commit as an answer; `None` when the object has changed meanwhile.
fn refusal(error: CommitError<Failure>) -> Option<Failure> {
    match error {
        CommitError::Stale => None,
        CommitError::Refused(failure) => Some(failure),
        CommitError::Busy => Some(Failure::too_many_requests(
            "too many writes wait for the disk, try again",
            1,
        )),
        CommitError::Failed(error) => Some(not_written(&error)),
    }
}

fn not_written(error: &WriteFailed) -> Failure {
    if error.full {
        Failure::new(507, "InsufficientStorage", error.to_string())
    } else {
        Failure::internal(error)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures::FutureExt as _;
    use serde_json::json;

    use super::*;
    use crate::sample::REGISTRY;

    fn maps() -> &'static Resource {
        let mut all = REGISTRY.all();
        all.find(|one| *one.storage == *"configmaps")
            .expect("there are ConfigMaps")
    }

    fn key() -> Key {
        Key::new("default", "a")
    }

    /// What somebody else writes meanwhile.
    fn quicker(api: &Api, expect: Expect, put: Put) {
        let (storage, key) = (&maps().storage, key());
        let agreed = |_: &_, _: &_| Ok::<(), Infallible>(());
        let written = api.store.write(storage, &key, expect, put, agreed);
        let written = written.now_or_never().expect("memory does not wait");
        written.expect("written");
    }

    /// Another writer, who counts the own writes.
    fn rival(api: &Api) {
        let (expect, count) = match api.store.get(&maps().storage, &key()) {
            Some(current) => (Expect::Revision(current.revision), counted(&current) + 1),
            None => (Expect::Absent, 0),
        };
        let metadata = json!({"namespace": "default", "name": "a"});
        let new = json!({"metadata": metadata, "data": {"rival": count}});
        quicker(api, expect, Put::Store(new));
    }

    fn counted(object: &Object) -> u64 {
        object.value()["data"]["rival"].as_u64().expect("a number")
    }

    /// A write in whose way `rivals` others come, one before each try; what came of it, and how often it decided.
    async fn contended(api: &Api, rivals: usize) -> (Result<Done, Failure>, usize) {
        rival(api);
        let mut calls = 0;
        let place = Place::Named(key());
        let done = transact(api, maps(), &place, false, |_, current| {
            calls += 1;
            let mut new = Value::clone(&current.expect("it is there").value());
            if calls <= rivals {
                rival(api);
            }
            new["data"]["own"] = calls.into();
            Ok(Decision::Put(new))
        });
        let done = done.await;
        (done, calls)
    }

    #[tokio::test]
    async fn who_was_slower_decides_again_about_what_is_there_then() {
        for rivals in [0, 1, MAX_TRIES - 1] {
            let api = Api::empty();
            let (done, calls) = contended(&api, rivals).await;
            let done = done.expect("written");
            assert_eq!(calls, rivals + 1);
            assert_eq!(done.effect, Effect::Updated);
            let kept = api.store.get(&maps().storage, &key()).expect("it is there");
            assert_eq!(kept.revision, done.object.revision);
            // Nothing that the others have written is lost.
            let wanted = json!({"rival": rivals, "own": calls});
            assert_eq!(kept.value()["data"], wanted);
        }
    }

    #[tokio::test]
    async fn who_is_slower_each_time_gives_up_and_says_so() {
        let api = Api::empty();
        let (done, calls) = contended(&api, usize::MAX).await;
        assert_eq!(done.expect_err("a conflict").code, 409);
        assert_eq!(calls, MAX_TRIES);
        let kept = api.store.get(&maps().storage, &key()).expect("it is there");
        assert_eq!(kept.value()["data"], json!({"rival": MAX_TRIES}));
    }

    #[tokio::test]
    async fn what_goes_meanwhile_is_not_written_again() {
        let api = Api::empty();
        rival(&api);
        let mut calls = 0;
        let place = Place::Named(key());
        let done = transact(&api, maps(), &place, false, |_, current| {
            calls += 1;
            let Some(current) = current else {
                return Ok(Decision::Keep);
            };
            let last = Value::clone(&current.value());
            let expect = Expect::Revision(current.revision);
            quicker(&api, expect, Put::Remove(last.clone()));
            Ok(Decision::Put(last))
        });
        assert_eq!(done.await.expect_err("it is gone").code, 404);
        assert_eq!(calls, 2);
    }
}
