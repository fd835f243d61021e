//! What is answered to a request.

use std::sync::Arc;

use anyhow::Context as _;
use bytes::Bytes;
use fermata_listen::{Attended, Seat};
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{Either, Full};
use hyper::body::{Body as _, Incoming};
use tokio_util::task::TaskTracker;

use super::{
    super::{
        access::Access,
        cgi::{self, Answer},
        credentials::Credentials,
        repository::{Repository, Root},
        request::{self, Asked, Refusal, Service},
        room::Room,
        slots::{Slot, Slots},
        told,
    },
    options::Options,
};

/// How a client is asked for a token.
const CHALLENGE: HeaderValue =
    HeaderValue::from_static("Basic realm=\"Fermata\", charset=\"UTF-8\"");

/// How long a request is that pushes nothing.
const PROBE: u64 = 4;

type Body = Either<Full<Bytes>, Answer>;

/// What takes pushes.
pub(super) struct Server {
    pub(super) access: Access,
    /// What was begun, and goes on when nobody waits for it.
    pub(super) tasks: TaskTracker,
    root: Root,
    room: Arc<Room>,
    slots: Slots,
}

// === impl Server ===

impl Server {
    /// One that is ready to answer.
    ///
    /// # Errors
    ///
    /// When the folder of the repositories cannot be used.
    pub(super) fn new(options: Options) -> anyhow::Result<Self> {
        let access = options.access().context("nobody may push")?;
        let root = Root::new(options.root);
        root.prepare()?;
        Ok(Self {
            access,
            tasks: TaskTracker::new(),
            root,
            room: Arc::new(Room::new(options.capacity)),
            slots: Slots::default(),
        })
    }

    pub(super) async fn respond(
        &self,
        request: Request<Incoming>,
        is_own: bool,
        seat: &Seat,
    ) -> Response<Attended<Body>> {
        let answered = self.try_respond(request, is_own, seat).await;
        answered.unwrap_or_else(|refusal| {
            let body = Either::Left(Full::from(refusal.sentence + "\n"));
            let mut response = Response::new(Attended::new(body, seat.busy()));
            *response.status_mut() = refusal.status;
            // Git shows text to people.
            let text = HeaderValue::from_static("text/plain; charset=utf-8");
            response.headers_mut().insert(header::CONTENT_TYPE, text);
            if refusal.status == StatusCode::UNAUTHORIZED {
                let headers = response.headers_mut();
                headers.insert(header::WWW_AUTHENTICATE, CHALLENGE);
            }
            response
        })
    }

    async fn try_respond(
        &self,
        request: Request<Incoming>,
        is_own: bool,
        seat: &Seat,
    ) -> Result<Response<Attended<Body>>, Refusal> {
        let headers = request.headers().clone();
        self.access.admit(&headers, is_own).await?;
        let (parts, body) = request.into_parts();
        let asked = Asked::of(&parts)?;
        let credentials = self.access.grant(&asked, &headers).await?;
        // Up to here the connection gives way to others, however long strangers have it looked at.
        let busy = seat.busy();
        let slot = self.slots.take(&asked.namespace).ok_or_else(|| {
            let sentence = "too many pushes and clones are under way; try again later".to_owned();
            request::refused(StatusCode::SERVICE_UNAVAILABLE, sentence)
        })?;
        let request = Request::from_parts(parts, body);
        let answered = self.answer(asked, credentials, slot, request).await?;
        Ok(answered.map(|body| Attended::new(body, busy)))
    }

    async fn answer(
        &self,
        asked: Asked,
        credentials: Credentials,
        slot: Slot,
        request: Request<Incoming>,
    ) -> Result<Response<Body>, Refusal> {
        let repository = self.root.repository(&asked.namespace, &asked.name);
        if asked.service == Service::Push && asked.begins {
            self.ready_for_push(&asked, &credentials, &repository)
                .await?;
        } else {
            self.check_there(&asked, &credentials, &repository).await?;
        }
        let mut told = vec![
            (told::ROOT, self.root.path().to_string_lossy().into_owned()),
            (told::NAMESPACE, asked.namespace.clone()),
            (told::NAME, asked.name.clone()),
        ];
        let mut held = None;
        let is_pushed = asked.service == Service::Push && !asked.begins;
        if is_pushed {
            told.extend(credentials.told());
            held = repository
                .lock()
                .map_err(|error| request::failed(&error.into()))?;
            if held.is_none() {
                told.push((told::BUSY, "1".to_owned()));
            }
        }
        // Before it sends much, git tries with nothing but its end (`0000`) whether it may.
        let is_probe = request.body().size_hint().exact() == Some(PROBE);
        let pushed = asked.clone();
        let ended = async move {
            // Whoever only hears that another push is under way changes nothing.
            if held.is_some() && !is_probe {
                remember(&pushed, &credentials, &repository).await;
            }
            drop((held, slot));
        };
        let answer = cgi::answer(&self.root, &asked, request, told, ended, &self.tasks).await;
        answer
            .map(|response| response.map(Either::Right))
            .map_err(|error| request::failed(&error))
    }

    /// Makes the repository if there is none. What was pushed to a function that was deleted since is pushed as if
    /// it were new.
    async fn ready_for_push(
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
        let repository = repository.clone();
        let ready = move || -> anyhow::Result<Result<(), Refusal>> {
            if is_shared && let Err(full) = room.check(&root, &namespace)? {
                let sentence = full.to_string();
                return Ok(Err(request::refused(
                    StatusCode::INSUFFICIENT_STORAGE,
                    sentence,
                )));
            }
            repository.make()?;
            let known = repository.uid();
            let is_other = uid.is_none() || known.is_some_and(|known| Some(known) != uid);
            if is_other && let Some(_held) = repository.lock()? {
                repository.forget(is_shared)?;
                repository.set_uid(None)?;
            }
            Ok(Ok(()))
        };
        tokio::task::spawn_blocking(ready)
            .await
            .map_err(|error| request::failed(&error.into()))?
            .map_err(|error| request::failed(&error))?
    }

    /// Whether there is a repository; where many share them, whether it is that of the function that is there.
    async fn check_there(
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

/// Which function is there now.
async fn uid(asked: &Asked, credentials: &Credentials) -> Result<Option<String>, Refusal> {
    let uid = credentials.uid(&asked.namespace, &asked.name).await;
    uid.map_err(|error| request::failed(&error))
}

/// Remembers which function was pushed to. Where that fails, the next push begins anew. Of a push that made no
/// function, such as to a namespace that is not there, nothing stays.
async fn remember(asked: &Asked, credentials: &Credentials, repository: &Repository) {
    let remembered = match credentials.uid(&asked.namespace, &asked.name).await {
        Ok(Some(uid)) => repository.set_uid(Some(&uid)).map_err(Into::into),
        Ok(None) => {
            let repository = repository.clone();
            let removed = tokio::task::spawn_blocking(move || repository.remove_if_empty());
            removed.await.unwrap_or_else(|error| Err(error.into()))
        }
        Err(error) => Err(error),
    };
    if let Err(error) = remembered {
        let error = &*error as &dyn std::error::Error;
        tracing::warn!(
            error,
            "it is not known any more to which function was pushed"
        );
    }
}
