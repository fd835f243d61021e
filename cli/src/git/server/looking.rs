//! What is looked at before git hears what there is: whether the repository is there, and is that of the function.

use std::time::Duration;

use http::StatusCode;

use super::{
    super::{
        credentials::Credentials,
        repository::{Repository, Root},
        request::{self, Asked, Refusal, Service},
        room::Room,
        settling::{self, Unsettled},
    },
    answering::{Server, under_way},
};
use crate::errors;

/// The most repositories of one namespace, where many share them.
const MOST_REPOSITORIES: usize = 1000;

/// What nobody has written to for so long, nobody writes to: no push takes longer.
const LONG_GONE: Duration = Duration::from_secs(3600);

// === impl Server ===

impl Server {
    /// Makes the repository if there is none. What was pushed to a function that was deleted since is pushed as if
    /// it were new.
    pub(super) async fn ready_for_push(
        &self,
        asked: &Asked,
        credentials: &Credentials,
        repository: &Repository,
    ) -> Result<(), Refusal> {
        let uid = uid(asked, credentials).await?;
        let is_shared = self.access.is_shared();
        let (root, room, namespace) = (
            self.root.clone(),
            self.room.clone(),
            asked.namespace.clone(),
        );
        let (own, bundles) = (repository.clone(), asked.bundles);
        let ready = move || -> anyhow::Result<Result<(), Refusal>> {
            let repository = own;
            repository.tidy_up(LONG_GONE)?;
            if is_shared && let Err(refusal) = has_room(&room, &root, &namespace, &repository)? {
                return Ok(Err(refusal));
            }
            repository.make()?;
            let known = repository.uid();
            let is_other = if bundles {
                // The first one comes before the function, and is named by its number alone.
                is_shared && known.is_some() && known != uid
            } else if is_shared {
                (uid.is_none() || known != uid) && repository.has_references()?
            } else {
                uid.is_none() || known.is_some_and(|known| Some(known) != uid)
            };
            if !is_other {
                return Ok(Ok(()));
            }
            match (repository.lock()?, is_shared) {
                (Some(_held), true) => repository.begin_anew()?,
                (Some(_held), false) => {
                    repository.forget()?;
                    repository.set_uid(None)?;
                }
                // What is there is not for whoever asks now.
                (None, true) => return Ok(Err(under_way())),
                (None, false) => {}
            }
            Ok(Ok(()))
        };
        blocking(ready).await?;
        self.settle(asked, credentials, repository).await
    }

    /// Settles a push that was broken off, before git hears what there is. Where the API server refuses what ran before, the
    /// branch is taken back, so that any push is deployed. Whatever else fails may pass, and is tried again. Whoever asks is
    /// told.
    async fn settle(
        &self,
        asked: &Asked,
        credentials: &Credentials,
        repository: &Repository,
    ) -> Result<(), Refusal> {
        if repository.pushing().is_none() {
            return Ok(());
        }
        let held = repository.lock();
        let Some(held) = held.map_err(|error| request::failed(&error.into()))? else {
            // It is that one's note.
            return Ok(());
        };
        // It goes on, with the right to push, when nobody waits for it any more: what it applies must not come after
        // what the next push does.
        let (root, own, credentials) = (self.root.clone(), repository.clone(), credentials.clone());
        let (namespace, name) = (asked.namespace.clone(), asked.name.clone());
        let within = self.within.clone();
        let settling = self.tasks.spawn(async move {
            let (function, within) = ((&*namespace, &*name), Some(&*within));
            let settled = settling::settle(&root, function, &own, &credentials, within).await;
            (settled, held)
        });
        let settled = settling.await;
        let (settled, _held) = settled.map_err(|error| request::failed(&error.into()))?;
        let Err(error) = settled else {
            return Ok(());
        };
        let unsettled = unsettled(asked, error);
        unsettled.warn();
        let said = errors::line(&unsettled.error);
        if !errors::is_refusal(&unsettled.error) {
            let sentence = format!(
                "a push to {} was broken off, and what ran before it cannot be applied again now: {said}. Push again when that has passed; `fermata delete {}` lets the next push begin anew",
                asked.name, asked.name
            );
            return Err(request::refused(StatusCode::SERVICE_UNAVAILABLE, sentence));
        }
        let own = repository.clone();
        blocking(move || {
            own.forget()?;
            Ok(Ok(own.end_push()?))
        })
        .await?;
        let sentence = format!(
            "a push to {} was broken off, and what ran before it cannot be applied again: {said}. What runs may be of that push: push once more, also the same commit",
            asked.name,
        );
        Err(request::refused(StatusCode::CONFLICT, sentence))
    }

    /// Looks once more where many share the repositories, with the right to push: what was pushed to another
    /// function of this name is not for this one, and there has to be room. The UID of the function that is there.
    pub(super) async fn check_own(
        &self,
        asked: &Asked,
        credentials: &Credentials,
        repository: &Repository,
    ) -> Result<Option<String>, Refusal> {
        let uid = uid(asked, credentials).await?;
        let (root, room, namespace) = (
            self.root.clone(),
            self.room.clone(),
            asked.namespace.clone(),
        );
        let (repository, own, bundles) = (repository.clone(), uid.clone(), asked.bundles);
        let look = move || -> anyhow::Result<Result<(), Refusal>> {
            let known = repository.uid();
            let is_other = if bundles {
                known.is_some() && known != own
            } else {
                own.is_none() || known != own
            };
            if is_other && repository.has_references()? {
                return Ok(Err(request::refused(
                    StatusCode::CONFLICT,
                    "the function is another one than what was pushed before was for; push again"
                        .to_owned(),
                )));
            }
            has_room(&room, &root, &namespace, &repository)
        };
        blocking(look).await?;
        Ok(uid)
    }

    /// Whether there is a repository; where many share them, whether it is that of the function that is there.
    pub(super) async fn check_there(
        &self,
        asked: &Asked,
        credentials: &Credentials,
        repository: &Repository,
    ) -> Result<(), Refusal> {
        let mut is_there = repository.exists();
        if is_there && self.access.is_shared() && asked.service == Service::Fetch {
            let uid = uid(asked, credentials).await?;
            is_there = uid.is_some() && repository.uid() == uid;
        }
        if is_there {
            return Ok(());
        }
        Err(request::refused(
            StatusCode::NOT_FOUND,
            format!("nothing was pushed to {} yet", asked.name),
        ))
    }
}

pub(super) fn unsettled(asked: &Asked, error: anyhow::Error) -> Unsettled {
    Unsettled {
        namespace: asked.namespace.clone(),
        name: asked.name.clone(),
        error,
    }
}

/// Which function is there now.
async fn uid(asked: &Asked, credentials: &Credentials) -> Result<Option<String>, Refusal> {
    let uid = credentials.uid(&asked.namespace, &asked.name).await;
    uid.map_err(|error| request::failed(&error))
}

/// Does what takes a while on a thread for that.
async fn blocking(
    work: impl FnOnce() -> anyhow::Result<Result<(), Refusal>> + Send + 'static,
) -> Result<(), Refusal> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| request::failed(&error.into()))?
        .map_err(|error| request::failed(&error))?
}

/// Whether a push to the repository has room.
fn has_room(
    room: &Room,
    root: &Root,
    namespace: &str,
    repository: &Repository,
) -> anyhow::Result<Result<(), Refusal>> {
    let full = |sentence: String| request::refused(StatusCode::INSUFFICIENT_STORAGE, sentence);
    if let Err(none) = room.check(root, namespace)? {
        return Ok(Err(full(none.to_string())));
    }
    if !repository.exists() && repository.beside() >= MOST_REPOSITORIES {
        return Ok(Err(full(format!(
            "the namespace has {MOST_REPOSITORIES} repositories, which is as many as one may have"
        ))));
    }
    Ok(Ok(()))
}
