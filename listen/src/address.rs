//! Addresses to listen at, as people write them.

use std::net::SocketAddr;

/// A text that is no address to listen at.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "write an IP address and a port, such as 127.0.0.1:8080 or [::1]:8080; port 0 takes a free one"
)]
pub struct NotAnAddress;

/// Reads an IP address and a port. Names of hosts are none: they may stand for several.
///
/// # Errors
///
/// Everything else, with the form to write.
pub fn address(text: &str) -> Result<SocketAddr, NotAnAddress> {
    text.parse().map_err(|_| NotAnAddress)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_an_ip_address_and_a_port() {
        for text in ["127.0.0.1:0", "[::]:8080"] {
            assert_eq!(address(text).map(|read| read.to_string()), Ok(text.into()));
        }
        for text in [
            "8080",
            ":8080",
            "localhost:8080",
            "127.0.0.1",
            "127.0.0.1:99999",
            "",
        ] {
            assert_eq!(address(text), Err(NotAnAddress), "{text}");
        }
    }
}
