//! What a client has sent and programs have not taken yet. It has one bound for all ports of a client, so that a
//! program that reads slowly holds up the others only when that is used up.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

/// Pieces, each of at most [`CHUNK`](crate::spdy::CHUNK) bytes, that wait at once for the programs of a client: 8 MiB.
pub(super) const MAX_WAITING: usize = 512;

/// How long nothing may be taken of what all have to wait behind. Then the connection that most of it is for ends.
pub(super) const STALLED: Duration = Duration::from_secs(30);

/// What there is for a client.
pub(super) struct Buffer(Arc<Semaphore>);

/// Of one piece.
pub(super) type Permit = OwnedSemaphorePermit;

/// The way to a program.
pub(super) struct PieceSender {
    /// None when the client has said all.
    pieces: Option<mpsc::Sender<Piece>>,
    /// One more than there are pieces.
    waiting: Arc<()>,
    reset: CancellationToken,
}

/// What comes out at the other end.
pub(super) struct PieceReceiver {
    pub(super) pieces: mpsc::Receiver<Piece>,
    /// Whether the connection has been given up.
    pub(super) reset: CancellationToken,
}

/// Bytes that wait. Their place is free when they are dropped.
pub(super) struct Piece {
    bytes: Bytes,
    _place: Permit,
    _waiting: Arc<()>,
}

// === impl Buffer ===

impl Buffer {
    pub(super) fn new() -> Self {
        Self(Arc::new(Semaphore::new(MAX_WAITING)))
    }

    /// A place, if there is one now.
    pub(super) fn try_take(&self) -> Option<Permit> {
        Arc::clone(&self.0).try_acquire_owned().ok()
    }

    /// The next place that is free within this time. Cancel safe.
    pub(super) async fn take(&self, within: Duration) -> Option<Permit> {
        let place = Arc::clone(&self.0).acquire_owned();
        timeout(within, place).await.ok()?.ok()
    }
}

// === impl PieceSender ===

impl PieceSender {
    pub(super) fn new() -> (Self, PieceReceiver) {
        let (sender, pieces) = mpsc::channel(MAX_WAITING);
        let reset = CancellationToken::new();
        let sender = Self {
            pieces: Some(sender),
            waiting: Arc::default(),
            reset: reset.clone(),
        };
        (sender, PieceReceiver { pieces, reset })
    }

    /// Whether the client has more to say and the program still reads.
    pub(super) fn is_open(&self) -> bool {
        let pieces = self.pieces.as_ref();
        pieces.is_some_and(|pieces| !pieces.is_closed())
    }

    /// Adds a piece, unless nobody takes it any more.
    pub(super) fn give(&self, bytes: Bytes, place: Permit) {
        let piece = Piece {
            bytes,
            _place: place,
            _waiting: Arc::clone(&self.waiting),
        };
        if let Some(pieces) = &self.pieces {
            // It has room for as many pieces as there are places.
            let _ = pieces.try_send(piece);
        }
    }

    /// How many pieces wait.
    pub(super) fn waiting(&self) -> usize {
        Arc::strong_count(&self.waiting) - 1
    }

    /// The client has said all.
    pub(super) fn finish(&mut self) {
        self.pieces = None;
    }

    /// Ends the connection.
    pub(super) fn give_up(&mut self) {
        self.pieces = None;
        self.reset.cancel();
    }
}

// === impl Piece ===

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}
