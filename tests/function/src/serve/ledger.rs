//! A ledger beyond the function, in which each request is noted that has a number: instances come and go,
//! and what they have counted goes with them.

use std::env;

use http::HeaderMap;
use tokio::{io::AsyncWriteExt as _, net::TcpStream, sync::Mutex};

/// The headers with the number: that of a request, and that of a message.
const NUMBERS: [&str; 2] = ["x-count", "ce-count"];

/// Where requests are noted: `LEDGER`, as HOST:PORT.
pub(super) struct Ledger {
    address: Option<String>,
    function: String,
    connection: Mutex<Option<TcpStream>>,
}

// === impl Ledger ===

impl Ledger {
    /// The ledger that the environment names, if it names one.
    pub(super) fn from_environment() -> Self {
        Self {
            address: env::var("LEDGER").ok(),
            function: env::var("K_SERVICE").unwrap_or_default(),
            connection: Mutex::default(),
        }
    }

    /// Notes a request that has a number, with how many the instance works on; false if that is not
    /// possible.
    pub(super) async fn note(&self, headers: &HeaderMap, at_once: usize) -> bool {
        let mut numbers = NUMBERS.iter().filter_map(|name| headers.get(*name));
        let number = numbers.next().and_then(|number| number.to_str().ok());
        let (Some(number), Some(address)) = (number, &self.address) else {
            return true;
        };
        let line = format!("{number} {at_once} {}\n", self.function);
        let mut connection = self.connection.lock().await;
        if connection.is_none() {
            *connection = TcpStream::connect(address).await.ok();
        }
        // What the system has taken arrives, even if the process dies.
        let noted = match connection.as_mut() {
            Some(stream) => stream.write_all(line.as_bytes()).await.is_ok(),
            None => false,
        };
        if !noted {
            *connection = None;
        }
        noted
    }
}
