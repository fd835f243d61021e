//! What is answered to a request.

use std::{sync::Arc, time::Instant};

use anyhow::Context as _;
use bytes::Bytes;
use fermata_listen::{Attended, Seat};
use http::{HeaderValue, Request, Response, StatusCode, header, request::Parts};
use http_body_util::{Either, Full};
use hyper::body::{Body as _, Incoming};
use tokio_util::task::TaskTracker;

use super::{
    super::{
        TOO_MANY, UNDER_WAY,
        access::Access,
        cgi::{self, Answer},
        credentials::Credentials,
        repository::{Repository, Root, remove_dir},
        request::{self, Asked, Refusal, Service},
        room::Room,
        settling::{self, Unsettled},
        slots::{Slot, Slots},
        told,
        within::Within,
    },
    bundles,
    looking::unsettled,
    options::Options,
};

/// How a client is asked for a token.
const CHALLENGE: HeaderValue =
    HeaderValue::from_static("Basic realm=\"Fermata\", charset=\"UTF-8\"");

/// How long a request is that pushes nothing.
const PROBE: u64 = 4;

pub(super) type Body = Either<Full<Bytes>, Answer>;

/// The way that a request takes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Way {
    /// By the gateway; `is_own` says that it is of this user, as the connection is.
    Gateway { is_own: bool },
    /// By the listener for hooks.
    Within,
}

/// What takes pushes.
pub(super) struct Server {
    pub(super) access: Access,
    /// What was begun, and goes on when nobody waits for it.
    pub(super) tasks: TaskTracker,
    pub(super) root: Root,
    pub(super) room: Arc<Room>,
    slots: Slots,
    /// The places of those who fetch bundles: pushes wait for instances that do, and have places meanwhile.
    fetches: Slots,
    /// What hooks are told, to bring bundles here.
    pub(super) within: Arc<Within>,
}

// === impl Server ===

impl Server {
    /// One that is ready to answer.
    ///
    /// # Errors
    ///
    /// When the folder of the repositories cannot be used.
    pub(super) fn new(options: Options, within: Within) -> anyhow::Result<Self> {
        let access = options.access().context("nobody may push")?;
        let root = Root::new(options.root);
        root.prepare()?;
        Ok(Self {
            access,
            tasks: TaskTracker::new(),
            root,
            room: Arc::new(Room::new(options.capacity)),
            slots: Slots::default(),
            fetches: Slots::default(),
            within: Arc::new(within),
        })
    }

    pub(super) async fn respond(
        &self,
        request: Request<Incoming>,
        way: Way,
        seat: &Seat,
    ) -> Response<Attended<Body>> {
        let answered = self.try_respond(request, way, seat).await;
        answered.unwrap_or_else(|refusal| {
            let (body, kind) = if refusal.to_lfs {
                request::told_by_lfs(&refusal.sentence)
            } else {
                // Git shows text to people.
                let text = HeaderValue::from_static("text/plain; charset=utf-8");
                (refusal.sentence + "\n", text)
            };
            let body = Either::Left(Full::from(body));
            let mut response = Response::new(Attended::new(body, seat.busy()));
            *response.status_mut() = refusal.status;
            response.headers_mut().insert(header::CONTENT_TYPE, kind);
            if refusal.status == StatusCode::UNAUTHORIZED {
                let headers = response.headers_mut();
                headers.insert(header::WWW_AUTHENTICATE, CHALLENGE);
            }
            response
        })
    }

    /// Settles what was broken off before `begun`.
    pub(super) async fn settle_all(&self, begun: Instant) {
        let own = self.access.own();
        let within = Some(&*self.within);
        let unsettled = settling::settle_all(&self.root, own.as_ref(), within, begun).await;
        unsettled.iter().for_each(Unsettled::warn);
    }

    async fn try_respond(
        &self,
        request: Request<Incoming>,
        way: Way,
        seat: &Seat,
    ) -> Result<Response<Attended<Body>>, Refusal> {
        let headers = request.headers().clone();
        let (parts, body) = request.into_parts();
        let asked = Asked::of(&parts);
        let is_own = match way {
            Way::Within => {
                let answered = self.respond_within(parts, body, asked?, seat).await?;
                return Ok(answered);
            }
            Way::Gateway { is_own } => is_own,
        };
        if let Ok(asked) = &asked
            && self.reads_bundles(asked, &headers)?
        {
            let request = Request::from_parts(parts, body);
            return self.give_bundle(asked, request, seat).await;
        }
        self.access.admit(&headers, is_own).await?;
        let asked = asked?;
        let credentials = self.access.grant(&asked, &headers).await?;
        // Up to here the connection gives way to others, however long strangers have it looked at.
        let busy = seat.busy();
        let Some(slot) = self.places(&asked).wait(&asked.namespace).await else {
            if let Some(answer) = request::told_by_git(&asked, TOO_MANY) {
                return Ok(answer.map(|body| Attended::new(Either::Left(Full::from(body)), busy)));
            }
            let status = StatusCode::SERVICE_UNAVAILABLE;
            return Err(request::refused(status, TOO_MANY.to_owned()));
        };
        let request = Request::from_parts(parts, body);
        let answered = self.answer(asked, credentials, Some(slot), request).await?;
        Ok(answered.map(|body| Attended::new(body, busy)))
    }

    /// Takes a bundle of a hook. It takes no place: the push that the hook belongs to has one.
    async fn respond_within(
        &self,
        parts: Parts,
        body: Incoming,
        asked: Asked,
        seat: &Seat,
    ) -> Result<Response<Attended<Body>>, Refusal> {
        let is_hooks = self.within.is_brought(&parts.headers);
        if !is_hooks || !asked.bundles || asked.service != Service::Push {
            return Err(request::forbidden(
                "hooks of this server alone bring bundles here",
            ));
        }
        let busy = seat.busy();
        // Whose it is counts as everywhere.
        let credentials = self.access.grant(&asked, &parts.headers).await?;
        let request = Request::from_parts(parts, body);
        let answered = self.answer(asked, credentials, None, request).await?;
        Ok(answered.map(|body| Attended::new(body, busy)))
    }

    async fn answer(
        &self,
        asked: Asked,
        credentials: Credentials,
        slot: Option<Slot>,
        request: Request<Incoming>,
    ) -> Result<Response<Body>, Refusal> {
        let repository = self.repository(&asked);
        let is_pushed = asked.service == Service::Push && !asked.begins;
        let is_shared = self.access.is_shared();
        if asked.service == Service::Push && asked.begins {
            self.ready_for_push(&asked, &credentials, &repository)
                .await?;
            if asked.bundles {
                bundles::note(&repository, request.headers()).await?;
            }
        } else {
            self.check_there(&asked, &credentials, &repository).await?;
        }
        let mut told = Vec::new();
        let (mut held, mut before) = (None, None);
        if is_pushed {
            if request.headers().contains_key(header::CONTENT_ENCODING) {
                return Err(request::refused(
                    StatusCode::UNSUPPORTED_MEDIA_TYPE,
                    "a push is not compressed as a whole".to_owned(),
                ));
            }
            let function = (&*asked.namespace, &*asked.name);
            // What is pushed may hold more than a manifest does, and a bundle holds no other.
            let within = (!asked.bundles).then_some(&*self.within);
            told = told::hook(&self.root, function, &credentials, within);
            if asked.bundles {
                told.push((told::BUNDLES, "1".to_owned()));
            }
            held = repository
                .lock()
                .map_err(|error| request::failed(&error.into()))?;
            if held.is_none() {
                told.push((told::BUSY, "1".to_owned()));
            }
            if held.is_some() && is_shared {
                before = self.check_own(&asked, &credentials, &repository).await?;
            }
        }
        // Before it sends much, git tries with nothing but its end (`0000`) whether it may.
        let is_probe = request.body().size_hint().exact() == Some(PROBE);
        let (pushed, root, within) = (asked.clone(), self.root.clone(), self.within.clone());
        let ended = async move {
            // Whoever only hears that another push is under way changes nothing.
            if held.is_some() && !is_probe {
                let function = (&*pushed.namespace, &*pushed.name);
                let within = Some(&*within);
                let settled = settling::settle(&root, function, &repository, &credentials, within);
                let settled = settled.await;
                if let Err(error) = settled {
                    unsettled(&pushed, error).warn();
                }
                if !pushed.bundles {
                    // A hook that was killed has left it.
                    let checkout = root.checkout(&pushed.namespace, &pushed.name);
                    let removed = tokio::task::spawn_blocking(move || remove_dir(&checkout));
                    if let Ok(Err(error)) = removed.await {
                        let error = &error as &dyn std::error::Error;
                        tracing::warn!(error, "the files of a push cannot be removed");
                    }
                }
                remember(&pushed, &credentials, &repository, before.as_deref()).await;
                if pushed.bundles {
                    bundles::tidy(&pushed, &credentials, &repository).await;
                }
            }
            drop((held, slot));
        };
        let answer = cgi::answer(&self.root, &asked, request, told, ended, &self.tasks).await;
        answer
            .map(|response| response.map(Either::Right))
            .map_err(|error| request::failed(&error))
    }

    /// The places for what is asked.
    pub(super) fn places(&self, asked: &Asked) -> &Slots {
        if asked.bundles && asked.service == Service::Fetch {
            &self.fetches
        } else {
            &self.slots
        }
    }

    pub(super) fn repository(&self, asked: &Asked) -> Repository {
        self.root
            .repository(&asked.namespace, &asked.name, asked.bundles)
    }
}

pub(super) fn under_way() -> Refusal {
    let sentence = format!("another push of the function {UNDER_WAY}");
    request::refused(StatusCode::SERVICE_UNAVAILABLE, sentence)
}

/// Remembers which function was pushed to, which is none but the one that was there before, if one was. Where that
/// fails, the next push begins anew. Of a push that made no function, such as to a namespace that is not there,
/// nothing stays.
async fn remember(
    asked: &Asked,
    credentials: &Credentials,
    repository: &Repository,
    before: Option<&str>,
) {
    let remembered = match credentials.uid(&asked.namespace, &asked.name).await {
        Ok(Some(uid)) => {
            let is_same = before.is_none_or(|before| before == uid);
            let known = is_same.then_some(&*uid);
            repository.set_uid(known).map_err(Into::into)
        }
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
