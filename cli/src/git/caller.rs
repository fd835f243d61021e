//! Who is at the other end of a connection on this machine: the kernel's tables of sockets say whose each is
//! (<https://docs.kernel.org/networking/proc_net_tcp.html>).
//!
//! Whoever pushes has code run as the user of `fermata up`, so this must be that user. An address alone says
//! nothing, for all users of a machine have the same.

use std::{fs, io, net::IpAddr, net::SocketAddr};

/// The tables of the kernel, for sockets of IPv4 and of IPv6, which may speak IPv4 too.
const TABLES: [&str; 2] = ["/proc/net/tcp", "/proc/net/tcp6"];

/// The state of a connection that is open at both ends.
const ESTABLISHED: &str = "01";

/// Whether this system has the tables.
#[cfg(feature = "embedded")]
pub(super) fn can_be_told() -> bool {
    fs::metadata(TABLES[0]).is_ok()
}

/// Whether the socket at the client's end of a connection to `server` is one of this user.
///
/// # Errors
///
/// When the tables cannot be read.
pub(super) fn is_own(client: SocketAddr, server: SocketAddr) -> io::Result<bool> {
    let mut rows = String::new();
    for table in TABLES {
        match fs::read_to_string(table) {
            Ok(text) => rows.push_str(&text),
            // Without IPv6 there is none.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    let user = rustix::process::getuid().as_raw();
    Ok(are_own(&rows, client, server, user))
}

/// Whether there are sockets of the connection at the client's end, and each is the user's. A server that
/// listens everywhere may have been reached at any address, so that there may be several.
fn are_own(rows: &str, client: SocketAddr, server: SocketAddr, user: u32) -> bool {
    let (client, server) = (canonical(client), canonical(server));
    let mut found = false;
    for socket in rows.lines().filter_map(Socket::of) {
        let is_server = socket.remote.port() == server.port()
            && (server.ip().is_unspecified() || socket.remote.ip() == server.ip());
        if socket.local != client {
            continue;
        }
        // Sockets of several users may share an address as long as they lead elsewhere: then it says nothing.
        let is_others = socket.user != user && socket.is_held;
        // One that its process has closed is nobody's, which the table writes as root's.
        let is_own = socket.user == user && socket.is_held;
        if is_others || (is_server && !is_own) {
            return false;
        }
        found |= is_server;
    }
    found
}

/// A row of a table.
struct Socket {
    local: SocketAddr,
    remote: SocketAddr,
    user: u32,
    /// Whether it is open, and some process has it.
    is_held: bool,
}

// === impl Socket ===

impl Socket {
    /// `None` for the heading, and for what cannot be read.
    fn of(row: &str) -> Option<Self> {
        let mut fields = row.split_whitespace().skip(1);
        let (local, remote) = (address(fields.next()?)?, address(fields.next()?)?);
        let state = fields.next()?;
        // Queues, timer, retransmissions.
        let user = fields.nth(3)?.parse().ok()?;
        let inode = fields.nth(1)?;
        Some(Self {
            local,
            remote,
            user,
            is_held: state == ESTABLISHED && inode != "0",
        })
    }
}

/// An address as in the tables: words of 32 bits in the machine's own order, and a port, in hexadecimal.
fn address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let word = |at: usize| {
        let word = u32::from_str_radix(ip.get(at..at + 8)?, 16).ok()?;
        Some(word.to_ne_bytes())
    };
    let ip = match ip.len() {
        8 => IpAddr::from(word(0)?),
        32 => {
            let mut bytes = [0; 16];
            for (at, place) in bytes.chunks_exact_mut(4).enumerate() {
                place.copy_from_slice(&word(at * 8)?);
            }
            IpAddr::from(bytes)
        }
        _ => return None,
    };
    let port = u16::from_str_radix(port, 16).ok()?;
    Some(canonical(SocketAddr::new(ip, port)))
}

/// An address of IPv4 is the same if it is written as one of IPv6.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hexadecimal(address: &str) -> String {
        let address: SocketAddr = address.parse().unwrap();
        let bytes = match address.ip() {
            IpAddr::V4(ip) => ip.octets().to_vec(),
            IpAddr::V6(ip) => ip.octets().to_vec(),
        };
        let words = bytes.chunks_exact(4).map(|word| {
            let word = u32::from_ne_bytes(word.try_into().unwrap());
            format!("{word:08X}")
        });
        format!("{}:{:04X}", words.collect::<String>(), address.port())
    }

    /// A row as the kernel writes it.
    fn row(local: &str, remote: &str, state: &str, user: u32, inode: u32) -> String {
        format!(
            "   7: {} {} {state} 00000000:00000000 00:00000000 00000000 {user:5}        0 {inode} 1 0000000000000000 20 4 30 10 -1\n",
            hexadecimal(local),
            hexadecimal(remote)
        )
    }

    fn own(rows: &[String], server: &str) -> bool {
        let heading = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n";
        let rows = heading.to_owned() + &rows.concat();
        let client = "127.0.0.1:50000".parse().unwrap();
        are_own(&rows, client, server.parse().unwrap(), 1000)
    }

    const GATEWAY: &str = "127.0.0.1:8080";

    #[test]
    fn a_connection_is_its_users() {
        let client = |user| row("127.0.0.1:50000", GATEWAY, "01", user, 7);
        // The other end, and what else is open.
        let others = [
            row(GATEWAY, "127.0.0.1:50000", "01", 1, 8),
            row("127.0.0.2:50000", GATEWAY, "01", 1, 9),
            // What is left of a connection elsewhere.
            row("127.0.0.1:50000", "127.0.0.1:8081", "06", 0, 0),
            row(GATEWAY, "0.0.0.0:0", "0A", 1, 9),
        ];
        assert!(own(&[&others[..], &[client(1000)]].concat(), GATEWAY));
        assert!(!own(&[&others[..], &[client(1001)]].concat(), GATEWAY));
        assert!(!own(&[&others[..], &[client(0)]].concat(), GATEWAY));
        assert!(!own(&others, GATEWAY));
        assert!(!own(&["garbage\n".to_owned()], GATEWAY));
    }

    #[test]
    fn what_nobody_holds_any_more_is_nobodys() {
        for (state, inode) in [("01", 0), ("06", 7), ("05", 7), ("08", 7), ("0A", 7)] {
            let left = row("127.0.0.1:50000", GATEWAY, state, 1000, inode);
            assert!(!own(&[left], GATEWAY), "{state} {inode}");
        }
    }

    #[test]
    fn an_address_that_users_share_is_nobodys() {
        let own_one = row("127.0.0.1:50000", GATEWAY, "01", 1000, 7);
        let others = row("127.0.0.1:50000", "127.0.0.1:8081", "01", 1001, 8);
        let elsewhere = row("127.0.0.1:50000", "127.0.0.1:8081", "01", 1000, 8);
        assert!(!own(&[own_one.clone(), others], GATEWAY));
        assert!(own(&[own_one, elsewhere], GATEWAY));
    }

    #[test]
    fn where_several_could_be_meant_all_have_to_be_own() {
        let one = row("127.0.0.1:50000", GATEWAY, "01", 1000, 7);
        let other = row("127.0.0.1:50000", "127.0.0.9:8080", "01", 1001, 8);
        let rows = [one, other];
        assert!(!own(&rows, GATEWAY));
        assert!(!own(&rows, "0.0.0.0:8080"));
        assert!(!own(&rows, "[::]:8080"));
        assert!(own(&rows[..1], "[::]:8080"));
    }

    #[test]
    fn ipv4_in_ipv6_is_ipv4() {
        let mapped = row(
            "[::ffff:127.0.0.1]:50000",
            "[::ffff:127.0.0.1]:8080",
            "01",
            1000,
            7,
        );
        assert!(own(&[mapped], GATEWAY));
        let client = row("[::1]:50000", "[::1]:8080", "01", 1000, 7);
        let (from, to) = ("[::1]:50000", "[::1]:8080");
        assert!(are_own(
            &client,
            from.parse().unwrap(),
            to.parse().unwrap(),
            1000
        ));
    }

    #[tokio::test]
    async fn connections_of_this_process_are_own() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(listener) = tokio::net::TcpListener::bind(address).await else {
                continue;
            };
            let server = listener.local_addr().unwrap();
            let client = tokio::net::TcpStream::connect(server).await.unwrap();
            let from = client.local_addr().unwrap();
            assert!(is_own(from, server).unwrap(), "{address}");
            let other = SocketAddr::new(server.ip(), server.port() ^ 1);
            assert!(!is_own(from, other).unwrap(), "{address}");
            drop(client);
            // A process that another test just starts has the socket until it is another program.
            let closed = async {
                while is_own(from, server).unwrap() {
                    tokio::task::yield_now().await;
                }
            };
            let waited = tokio::time::timeout(std::time::Duration::from_secs(60), closed).await;
            waited.expect(address);
        }
    }
}
