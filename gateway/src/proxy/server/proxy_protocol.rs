//! The PROXY protocol, version 2: how a load balancer that passes on connections, and not requests, says
//! whose they are (<https://www.haproxy.org/download/3.2/doc/proxy-protocol.txt>, section 2.2).

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
};

use tokio::io::{AsyncRead, AsyncReadExt};

/// What each header begins with.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// The part of a header that has always the same size.
const FIXED: usize = 16;

/// The largest rest of one: the addresses, and what else a load balancer tells, such as a certificate's
/// name. The specification asks for no more than 520.
const LARGEST: usize = 4096;

/// Why the beginning of a connection is no header.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(super) enum Malformed {
    /// It begins with something else.
    #[error("the connection does not begin with a PROXY header of version 2")]
    Signature,
    /// It is neither of a client's connection nor of the proxy's own.
    #[error("the PROXY header has an unknown version or command")]
    Command,
    /// It is of something else than TCP.
    #[error("the PROXY header is of another protocol than TCP")]
    Protocol,
    /// It is too large.
    #[error("the PROXY header is too large")]
    TooLarge,
    /// It has no room for its addresses.
    #[error("the PROXY header ends within its addresses")]
    TooShort,
}

/// What the fixed part of a header says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Fixed {
    kind: Kind,
    /// Bytes that follow.
    rest: usize,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    /// The proxy's own connection, such as a health check, or one whose client it does not name.
    Own,
    Tcp4,
    Tcp6,
}

/// Takes the header off; the client's address, if it names one.
///
/// # Errors
///
/// The system's, or `InvalidData` with what is [`Malformed`].
///
/// # Cancel safety
///
/// A part of the header may be lost: the connection is of no use then.
pub(super) async fn take(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<SocketAddr>> {
    let invalid = |malformed| io::Error::new(io::ErrorKind::InvalidData, malformed);
    let mut fixed = [0; FIXED];
    stream.read_exact(&mut fixed).await?;
    let fixed = read_fixed(&fixed).map_err(invalid)?;
    let mut rest = vec![0; fixed.rest];
    stream.read_exact(&mut rest).await?;
    read_client(fixed.kind, &rest).map_err(invalid)
}

fn read_fixed(header: &[u8; FIXED]) -> Result<Fixed, Malformed> {
    let (signature, rest) = header.split_at(SIGNATURE.len());
    if signature != SIGNATURE {
        return Err(Malformed::Signature);
    }
    let &[command, family, high, low] = rest else {
        return Err(Malformed::Signature);
    };
    let kind = match (command, family) {
        // Of the proxy's own connections nothing else is to be looked at.
        (0x20, _) | (0x21, 0x00) => Kind::Own,
        (0x21, 0x11) => Kind::Tcp4,
        (0x21, 0x21) => Kind::Tcp6,
        (0x21, _) => return Err(Malformed::Protocol),
        _ => return Err(Malformed::Command),
    };
    let rest = usize::from(u16::from_be_bytes([high, low]));
    if rest > LARGEST {
        return Err(Malformed::TooLarge);
    }
    Ok(Fixed { kind, rest })
}

/// The source address; destination and extensions follow, and are not looked at.
fn read_client(kind: Kind, rest: &[u8]) -> Result<Option<SocketAddr>, Malformed> {
    let port = |at: usize| -> Option<u16> {
        let bytes = rest.get(at..)?.first_chunk()?;
        Some(u16::from_be_bytes(*bytes))
    };
    let client = match kind {
        Kind::Own => return Ok(None),
        Kind::Tcp4 => rest
            .first_chunk::<4>()
            .zip(port(8))
            .filter(|_| rest.len() >= 12)
            .map(|(address, port)| SocketAddr::from((Ipv4Addr::from(*address), port))),
        Kind::Tcp6 => rest
            .first_chunk::<16>()
            .zip(port(32))
            .filter(|_| rest.len() >= 36)
            .map(|(address, port)| SocketAddr::from((Ipv6Addr::from(*address), port))),
    };
    client.map(Some).ok_or(Malformed::TooShort)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let mut header = SIGNATURE.to_vec();
        header.extend([command, family]);
        header.extend(u16::try_from(rest.len()).unwrap().to_be_bytes());
        header.extend(rest);
        header
    }

    async fn taken(bytes: &[u8]) -> Result<(Option<SocketAddr>, Vec<u8>), Option<Malformed>> {
        let mut stream = bytes;
        let outcome = take(&mut stream).await;
        let client = outcome.map_err(|error| {
            let malformed = error.get_ref();
            malformed.and_then(|malformed| malformed.downcast_ref().copied())
        })?;
        Ok((client, stream.to_vec()))
    }

    const V4: [u8; 12] = [203, 0, 113, 7, 10, 0, 0, 1, 0xab, 0xcd, 0, 80];

    #[tokio::test]
    async fn the_client_is_named_and_what_follows_is_left() {
        let mut v6 = [0; 36];
        v6[..16].copy_from_slice(&"2001:db8::7".parse::<Ipv6Addr>().unwrap().octets());
        v6[32..34].copy_from_slice(&[0, 99]);
        let mut with_more = V4.to_vec();
        with_more.extend([0x04, 0, 3, 1, 2, 3]);
        for (bytes, client) in [
            (header(0x21, 0x11, &V4), Some("203.0.113.7:43981")),
            (header(0x21, 0x11, &with_more), Some("203.0.113.7:43981")),
            (header(0x21, 0x21, &v6), Some("[2001:db8::7]:99")),
            (header(0x20, 0x00, &[]), None),
            (header(0x20, 0x11, &V4), None),
            (header(0x21, 0x00, &[1, 2, 3]), None),
        ] {
            let mut bytes = bytes;
            bytes.extend(b"GET /");
            let client = client.map(|client| client.parse().unwrap());
            assert_eq!(taken(&bytes).await, Ok((client, b"GET /".to_vec())));
        }
    }

    #[tokio::test]
    async fn what_is_no_header_is_refused() {
        let mut large = header(0x21, 0x11, &V4);
        large[14..16].copy_from_slice(&u16::MAX.to_be_bytes());
        for (bytes, malformed) in [
            (
                b"GET / HTTP/1.1\r\nhost: a\r\n\r\n".to_vec(),
                Some(Malformed::Signature),
            ),
            (
                b"PROXY TCP4 203.0.113.7 10.0.0.1 1 2\r\n".to_vec(),
                Some(Malformed::Signature),
            ),
            (header(0x11, 0x11, &V4), Some(Malformed::Command)),
            (header(0x22, 0x11, &V4), Some(Malformed::Command)),
            (header(0x21, 0x12, &V4), Some(Malformed::Protocol)),
            (header(0x21, 0x31, &[0; 216]), Some(Malformed::Protocol)),
            (header(0x21, 0x11, &V4[..11]), Some(Malformed::TooShort)),
            (header(0x21, 0x21, &[0; 35]), Some(Malformed::TooShort)),
            (large, Some(Malformed::TooLarge)),
            (header(0x21, 0x11, &V4)[..20].to_vec(), None),
            (Vec::new(), None),
        ] {
            assert_eq!(taken(&bytes).await, Err(malformed), "{bytes:?}");
        }
    }
}

#[cfg(test)]
mod fuzz;
