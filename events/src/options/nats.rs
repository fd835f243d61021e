//! What can be set of a store in NATS.

use std::{fmt, path::PathBuf, str::FromStr, time::Duration};

use async_nats::ServerAddr;
use clap::Args;
use fermata_crds::GoDuration;

/// Where calls are kept in NATS.
#[derive(Args, Clone, Debug)]
pub struct NatsOptions {
    /// Servers of NATS with JetStream, 2.12 or later, in which calls are kept in place of a file: nats://HOST:PORT, or
    /// tls://HOST:PORT; give the flag once for each, or separate them by commas.
    #[arg(
        id = "nats_url",
        long = "nats-url",
        env = "FERMATA_NATS_URL",
        value_delimiter = ',',
        value_name = "URL",
        conflicts_with = "ephemeral"
    )]
    pub url: Vec<NatsUrl>,

    /// The stream in which calls are kept, made if there is none. It is this program's alone.
    #[arg(
        id = "nats_stream",
        long = "nats-stream",
        env = "FERMATA_NATS_STREAM",
        value_name = "NAME",
        default_value = "fermata-events"
    )]
    pub stream: StreamName,

    /// On how many servers a stream is that is made: 1, 3 or 5. On one, a call can be lost when that server loses its
    /// power, unless its sync_interval is always.
    #[arg(
        id = "nats_replicas",
        long = "nats-replicas",
        env = "FERMATA_NATS_REPLICAS",
        value_name = "NUMBER",
        default_value = "1",
        value_parser = replicas
    )]
    pub replicas: u8,

    /// A file of credentials (.creds) that is shown to the servers.
    #[arg(
        id = "nats_credentials",
        long = "nats-credentials",
        env = "FERMATA_NATS_CREDENTIALS",
        value_name = "FILE",
        conflicts_with_all = ["nats_user", "nats_token_file"]
    )]
    pub credentials: Option<PathBuf>,

    /// The user by whose name the servers are asked.
    #[arg(
        id = "nats_user",
        long = "nats-user",
        env = "FERMATA_NATS_USER",
        value_name = "NAME",
        requires = "nats_password_file"
    )]
    pub user: Option<String>,

    /// A file with the password of that user.
    #[arg(
        id = "nats_password_file",
        long = "nats-password-file",
        env = "FERMATA_NATS_PASSWORD_FILE",
        value_name = "FILE",
        requires = "nats_user"
    )]
    pub password_file: Option<PathBuf>,

    /// A file with a token that is shown to the servers.
    #[arg(
        id = "nats_token_file",
        long = "nats-token-file",
        env = "FERMATA_NATS_TOKEN_FILE",
        value_name = "FILE",
        conflicts_with = "nats_user"
    )]
    pub token_file: Option<PathBuf>,

    /// A file with authorities (PEM) that are trusted for the servers, in place of those that the system trusts.
    #[arg(
        id = "nats_ca",
        long = "nats-ca",
        env = "FERMATA_NATS_CA",
        value_name = "FILE"
    )]
    pub ca: Option<PathBuf>,

    /// How long nothing is heard of the process that has the stream until another one takes it. It is heard of five
    /// times as often.
    #[arg(
        id = "nats_takeover",
        long = "nats-takeover",
        env = "FERMATA_NATS_TAKEOVER",
        value_name = "DURATION",
        default_value = "15s",
        value_parser = takeover
    )]
    pub takeover: GoDuration,
}

/// The address of a server, without secrets.
#[derive(Clone, Debug)]
pub struct NatsUrl(Result<ServerAddr, NotForNats>);

/// The name of a stream, which its subjects begin with.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct StreamName(Box<str>);

/// Why something cannot be set so.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum NotForNats {
    /// It is no address of a server.
    #[error("the address of a server is nats://HOST:PORT or tls://HOST:PORT")]
    Url,
    /// There is a secret in it, which others see.
    #[error(
        "an address is seen by others: leave the user out, and name files by --nats-user and --nats-password-file, by \
         --nats-token-file or by --nats-credentials"
    )]
    Secret,
    /// It is no name of a stream.
    #[error("the name of a stream is 1 to 64 of a-z, A-Z, 0-9, - and _")]
    Stream,
    /// It is no number of servers that can agree.
    #[error("a stream is on 1, 3 or 5 servers")]
    Replicas,
    /// It is too short or too long.
    #[error("it is a duration from 1s to 10m, such as 15s")]
    Takeover,
}

// === impl NatsOptions ===

impl Default for NatsOptions {
    /// The defaults of the command line: no server.
    fn default() -> Self {
        Self {
            url: Vec::new(),
            stream: StreamName("fermata-events".into()),
            replicas: 1,
            credentials: None,
            user: None,
            password_file: None,
            token_file: None,
            ca: None,
            takeover: Duration::from_secs(15).into(),
        }
    }
}

// === impl NatsUrl ===

impl NatsUrl {
    /// The address, as the client has it.
    ///
    /// # Errors
    ///
    /// When there is a secret in it.
    pub(crate) fn server(&self) -> Result<ServerAddr, NotForNats> {
        self.0.clone()
    }
}

impl FromStr for NatsUrl {
    type Err = NotForNats;

    fn from_str(text: &str) -> Result<Self, NotForNats> {
        let scheme = text.split_once("://").map(|(scheme, _)| scheme);
        if !matches!(scheme, Some("nats" | "tls")) {
            return Err(NotForNats::Url);
        }
        if text.contains('@') {
            // It is refused later: who reads the command line would show the secret with what is wrong.
            return Ok(Self(Err(NotForNats::Secret)));
        }
        let server: ServerAddr = text.parse().map_err(|_| NotForNats::Url)?;
        if server.host().is_empty() {
            return Err(NotForNats::Url);
        }
        Ok(Self(Ok(server)))
    }
}

// === impl StreamName ===

impl fmt::Display for StreamName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl FromStr for StreamName {
    type Err = NotForNats;

    fn from_str(text: &str) -> Result<Self, NotForNats> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if (1..=64).contains(&text.len()) && text.bytes().all(plain) {
            Ok(Self(text.into()))
        } else {
            Err(NotForNats::Stream)
        }
    }
}

fn replicas(text: &str) -> Result<u8, NotForNats> {
    match text {
        "1" => Ok(1),
        "3" => Ok(3),
        "5" => Ok(5),
        _ => Err(NotForNats::Replicas),
    }
}

fn takeover(text: &str) -> Result<GoDuration, NotForNats> {
    let duration: GoDuration = text.parse().map_err(|_| NotForNats::Takeover)?;
    let sane = Duration::from_secs(1)..=Duration::from_secs(600);
    if sane.contains(&Duration::from(duration)) {
        Ok(duration)
    } else {
        Err(NotForNats::Takeover)
    }
}
