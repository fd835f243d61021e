//! One connection to a port of a pod.

use bytes::{Bytes, BytesMut};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    sync::mpsc,
};

use crate::{Connect, spdy::CHUNK};

/// How many pieces of at most [`CHUNK`] bytes wait for the program in the pod: 64 KiB.
pub(super) const MAX_WAITING: usize = 4;

/// The pod whose ports are connected to.
#[derive(Clone)]
pub(super) struct Pod {
    pub(super) name: String,
    pub(super) uid: String,
    pub(super) connect: Connect,
}

// === impl Pod ===

impl Pod {
    /// Connects to a port, and carries data until both sides have said all. What the program says goes to `out`
    /// as what `wrap` makes of it; at its end, of nothing.
    ///
    /// # Errors
    ///
    /// A sentence for the client when there is no connection. One that breaks is at its end.
    pub(super) async fn relay<T>(
        &self,
        port: u16,
        mut inlet: mpsc::Receiver<Bytes>,
        out: &mpsc::Sender<T>,
        wrap: impl Fn(Bytes) -> Option<T>,
    ) -> Result<(), String> {
        let stream = (self.connect)(port).await.map_err(|why| {
            let Self { name, uid, .. } = self;
            format!("error forwarding port {port} to pod {name}, uid {uid}: {why}")
        })?;
        let (mut from, mut to) = tokio::io::split(stream);
        let up = async move {
            while let Some(bytes) = inlet.recv().await {
                if to.write_all(&bytes).await.is_err() {
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
        tokio::join!(up, down);
        Ok(())
    }
}
