//! Where the functions note what they are sent.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use fermata_tests::eventually_within;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    net::{TcpListener, TcpStream},
};

use super::stand::PATIENCE;

/// By number: when it came first, and how often.
type Notes = HashMap<u64, (Instant, u32)>;

/// A listener to which every instance keeps a connection. It ends with the program.
pub(super) struct Book {
    address: SocketAddr,
    notes: Arc<Mutex<Notes>>,
}

// === impl Book ===

impl Book {
    pub(super) async fn open() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await;
        let listener = listener.expect("a port is free");
        let address = listener.local_addr().expect("it listens");
        let notes: Arc<Mutex<Notes>> = Arc::default();
        let taken = notes.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(read(stream, taken.clone()));
            }
        });
        Self { address, notes }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// When a number came first.
    pub(super) fn first(&self, number: u64) -> Instant {
        self.notes()[&number].0
    }

    /// How many numbers there are.
    pub(super) fn count(&self) -> u64 {
        self.notes().len() as u64
    }

    /// How often numbers came again.
    pub(super) fn repeats(&self) -> u64 {
        let notes = self.notes();
        notes.values().map(|(_, times)| u64::from(times - 1)).sum()
    }

    pub(super) fn clear(&self) {
        self.notes().clear();
    }

    /// Waits until there are so many numbers.
    pub(super) async fn wait(&self, count: u64) {
        eventually_within(PATIENCE, "all is delivered", async || {
            let found = self.count();
            if found >= count {
                Ok(())
            } else {
                Err(format!("{found} of {count}"))
            }
        })
        .await;
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn read(stream: TcpStream, notes: Arc<Mutex<Notes>>) {
    let mut lines = BufReader::new(stream).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let number = line.split(' ').next().and_then(|word| word.parse().ok());
        let Some(number) = number else { continue };
        let mut notes = notes.lock().unwrap_or_else(PoisonError::into_inner);
        notes.entry(number).or_insert((Instant::now(), 0)).1 += 1;
    }
}
