//! A connection that is kept from one call to the next.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, time::timeout};

use crate::client::Answer;

/// One connection after the other, with one call at a time. It is kept for as long as the server does not
/// announce its end, as every HTTP client with a pool does.
pub struct Kept {
    address: SocketAddr,
    connection: Option<SendRequest<Full<Bytes>>>,
}

// === impl Kept ===

impl Kept {
    /// Connections to an address, the first of which is opened by the first call.
    #[must_use]
    pub fn new(address: SocketAddr) -> Self {
        Self {
            address,
            connection: None,
        }
    }

    /// Sends a request, and reads the whole answer.
    ///
    /// # Errors
    ///
    /// When there is no whole answer in time. The connection is given up then.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives the connection up.
    pub async fn send(
        &mut self,
        request: Request<Full<Bytes>>,
        within: Duration,
    ) -> Result<Answer, String> {
        timeout(within, self.exchange(request))
            .await
            .unwrap_or_else(|_| Err(format!("no answer within {within:?}")))
    }

    async fn exchange(&mut self, request: Request<Full<Bytes>>) -> Result<Answer, String> {
        let mut connection = match self.kept().await {
            Some(kept) => kept,
            None => self.connect().await?,
        };
        let response = connection
            .send_request(request)
            .await
            .map_err(|error| format!("{error:?}"))?;
        let (head, body) = response.into_parts();
        let body = body.collect().await;
        let body = body.map_err(|error| format!("in the body: {error:?}"))?;
        self.connection = Some(connection);
        Ok(Answer {
            status: head.status,
            headers: head.headers,
            body: body.to_bytes(),
        })
    }

    /// The connection, unless its end was announced with the last answer.
    async fn kept(&mut self) -> Option<SendRequest<Full<Bytes>>> {
        let mut kept = self.connection.take()?;
        kept.ready().await.is_ok().then_some(kept)
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, String> {
        let stream = TcpStream::connect(self.address)
            .await
            .map_err(|error| format!("connect: {error}"))?;
        let (sender, connection) = handshake(TokioIo::new(stream))
            .await
            .map_err(|error| format!("handshake: {error}"))?;
        tokio::spawn(connection);
        Ok(sender)
    }
}
