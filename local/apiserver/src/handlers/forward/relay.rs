//! One connection to a port of a pod.

use std::{future::pending, sync::Arc};

use bytes::{Bytes, BytesMut};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
};

use super::buffer::Piece;
use crate::{Connect, spdy::CHUNK};

/// The pod whose ports are connected to.
#[derive(Clone)]
pub(super) struct Pod {
    pub(super) name: String,
    pub(super) uid: String,
    pub(super) connect: Connect,
    /// One for each connection that the limit of open files has room for.
    pub(super) seats: Arc<Semaphore>,
}

/// When a connection is over.
#[derive(Clone, Copy)]
pub(super) enum EndsWhen {
    /// When both sides have said all.
    Both,
    /// When the program has: clients cannot say it.
    Program,
}

// === impl Pod ===

impl Pod {
    /// A seat for a connection, if there is one. It is free again when it is dropped.
    pub(super) fn seat(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.seats).try_acquire_owned().ok()
    }

    /// Connects to a port, and carries data until it `ends`. What the program says goes to `out`
    /// as what `wrap` makes of it; at its end, of nothing.
    ///
    /// # Errors
    ///
    /// A sentence for the client when there is no connection. One that breaks is at its end.
    pub(super) async fn relay<T>(
        &self,
        port: u16,
        mut pieces: mpsc::Receiver<Piece>,
        ends: EndsWhen,
        out: &mpsc::Sender<T>,
        wrap: impl Fn(Bytes) -> Option<T>,
    ) -> Result<(), String> {
        let stream = (self.connect)(port).await.map_err(|why| {
            let Self { name, uid, .. } = self;
            format!("error forwarding port {port} to pod {name}, uid {uid}: {why}")
        })?;
        let (mut from, mut to) = tokio::io::split(stream);
        let up = async move {
            while let Some(piece) = pieces.recv().await {
                if to.write_all(piece.as_ref()).await.is_err() {
                    // It reads no more, and may still have something to say.
                    return;
                }
            }
            let _ = to.shutdown().await;
        };
        let down = async {
            loop {
                let mut bytes = BytesMut::with_capacity(CHUNK);
                let read = from.read_buf(&mut bytes).await.unwrap_or(0);
                if let Some(piece) = wrap(bytes.freeze())
                    && out.send(piece).await.is_err()
                {
                    return;
                }
                if read == 0 {
                    return;
                }
            }
        };
        match ends {
            EndsWhen::Both => _ = tokio::join!(up, down),
            EndsWhen::Program => tokio::select! {
                () = down => {}
                () = async { up.await; pending().await } => {}
            },
        }
        Ok(())
    }
}
