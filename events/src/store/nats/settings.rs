//! How the servers are reached, and what is asked of them.

use std::{fs, path::Path, time::Duration};

use async_nats::{Client, ConnectErrorKind, ConnectOptions, Event, ServerAddr};

use super::message;
use crate::{
    error::NatsError,
    options::{NatsOptions, NatsUrl, NotForNats},
};

/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long an answer may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// How often the server is asked whether it is there; after two without an answer the connection is broken.
const PING_EVERY: Duration = Duration::from_secs(5);

/// The oldest version of the server.
const OLDEST: (i64, i64) = (2, 12);

/// What is asked of NATS.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    servers: Vec<ServerAddr>,
    options: NatsOptions,
    /// The stream, and what its subjects begin with.
    pub(super) stream: String,
    /// On how many servers it is.
    pub(super) replicas: usize,
    /// The room that a new stream has, in bytes.
    pub(super) room: i64,
    /// How long nothing must have been heard of who has the store until another one takes it.
    pub(in super::super) silence: Duration,
    /// How often who has the store is heard of.
    pub(in super::super) renew: Duration,
}

// === impl Settings ===

impl Settings {
    /// What the options say, with room for so many bytes of calls; nothing if they name no server.
    ///
    /// # Errors
    ///
    /// When an address has a secret in it.
    pub(crate) fn of(options: &NatsOptions, bytes: u64) -> Result<Option<Self>, NotForNats> {
        let servers = options.url.iter().map(NatsUrl::server);
        let servers = servers.collect::<Result<Vec<ServerAddr>, _>>()?;
        if servers.is_empty() {
            return Ok(None);
        }
        // What waits, as much again of what is over, and what is written before something is removed.
        let room = bytes.saturating_mul(5) / 2;
        Ok(Some(Self {
            servers,
            options: options.clone(),
            stream: options.stream.to_string(),
            replicas: options.replicas.into(),
            room: i64::try_from(room).unwrap_or(i64::MAX),
            silence: options.takeover.into(),
            renew: Duration::from(options.takeover) / 5,
        }))
    }

    /// Those of these servers, with little patience.
    #[cfg(test)]
    pub(crate) fn for_tests(urls: &str) -> Self {
        let options = NatsOptions {
            url: urls.split(',').map(|url| url.parse().unwrap()).collect(),
            ..NatsOptions::default()
        };
        let settings = Self::of(&options, 1024 * 1024 * 1024).unwrap().unwrap();
        Self {
            silence: Duration::from_millis(300),
            renew: Duration::from_millis(60),
            ..settings
        }
    }

    /// Connects to one of the servers.
    ///
    /// # Errors
    ///
    /// When none is there, the credentials are refused or cannot be read, or the server cannot do what is needed.
    pub(super) async fn connect(&self) -> Result<Client, NatsError> {
        let options = ConnectOptions::new()
            .name("fermata-events")
            .connection_timeout(CONNECT_TIMEOUT)
            .request_timeout(Some(PATIENCE))
            .ping_interval(PING_EVERY)
            .event_callback(|event| async move { told(&event) });
        let options = self.shown(options)?;
        let connected = options.connect(&*self.servers).await;
        let client = connected.map_err(|error| match error.kind() {
            ConnectErrorKind::AuthorizationViolation | ConnectErrorKind::Authentication => {
                NatsError::NotLetIn(error)
            }
            _ => NatsError::Connect(error),
        })?;
        let info = client.server_info();
        if !client.is_server_compatible(OLDEST.0, OLDEST.1, 0) {
            return Err(NatsError::TooOld(info.version));
        }
        if info.max_payload < message::SMALLEST {
            return Err(NatsError::TooSmall {
                has: info.max_payload,
                needs: message::SMALLEST,
            });
        }
        Ok(client)
    }

    /// Adds who this is, and whom it trusts.
    fn shown(&self, options: ConnectOptions) -> Result<ConnectOptions, NatsError> {
        let NatsOptions {
            credentials,
            user,
            password_file,
            token_file,
            ca,
            ..
        } = &self.options;
        let mut options = options;
        if let Some(path) = ca {
            // Read by the client at each connection: it is looked at here so that it is told by name.
            secret("--nats-ca", path)?;
            options = options.add_root_certificates(path.clone());
        }
        if let Some(path) = credentials {
            let option = "--nats-credentials";
            let text = secret(option, path)?;
            let shown = options.credentials(&text);
            options = shown.map_err(|source| NatsError::File {
                option,
                path: path.clone(),
                source,
            })?;
        }
        if let (Some(user), Some(path)) = (user, password_file) {
            let password = secret("--nats-password-file", path)?;
            options = options.user_and_password(user.clone(), password);
        }
        if let Some(path) = token_file {
            options = options.token(secret("--nats-token-file", path)?);
        }
        Ok(options)
    }
}

/// What is in a file, without the end of its last line.
fn secret(option: &'static str, path: &Path) -> Result<String, NatsError> {
    let read = fs::read_to_string(path).map_err(|source| NatsError::File {
        option,
        path: path.to_owned(),
        source,
    })?;
    Ok(read.trim_end_matches(['\r', '\n']).to_owned())
}

/// Tells in the log what became of the connection.
fn told(event: &Event) {
    match event {
        Event::Connected => tracing::info!("connected to NATS"),
        Event::Disconnected => tracing::warn!("the connection to NATS is broken; it is made anew"),
        // It was let go of.
        Event::Closed => tracing::debug!("the connection to NATS is closed"),
        other => tracing::warn!(event = %other, "NATS tells something"),
    }
}
