//! Where the functions note what they run.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    net::{TcpListener, TcpStream},
};

use crate::{
    accounts::Accounts,
    error::SoakError,
    functions::{LIMIT, LIMITED},
};

/// A listener to which every instance keeps a connection. It ends with the program.
#[derive(Debug)]
pub(crate) struct Ledger(SocketAddr);

// === impl Ledger ===

impl Ledger {
    /// Listens on an address that instances reach.
    pub(crate) async fn open(at: IpAddr, accounts: Arc<Accounts>) -> Result<Self, SoakError> {
        let listener = TcpListener::bind((at, 0))
            .await
            .map_err(SoakError::Ledger)?;
        let address = listener.local_addr().map_err(SoakError::Ledger)?;
        tokio::spawn(async move {
            // When no more can be accepted, the functions answer that they cannot note.
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(read(stream, accounts.clone()));
            }
        });
        Ok(Self(address))
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.0
    }
}

/// Reads the lines of an instance: a number, how many it works on at once, and its function.
async fn read(stream: TcpStream, accounts: Arc<Accounts>) {
    let mut lines = BufReader::new(stream).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let mut words = line.split(' ');
        let mut number = || words.next().and_then(|word| word.parse().ok());
        let (Some(request), Some(at_once)) = (number(), number()) else {
            continue;
        };
        let limit = (words.next() == Some(LIMITED)).then_some(LIMIT);
        accounts.ran(request, at_once, limit);
    }
}
