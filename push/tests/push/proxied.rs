//! Registries behind a proxy.

use std::{
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

use crate::{
    fake::Fake,
    world::{World, seed},
};

/// A proxy that connects to wherever it is told, or refuses.
struct Proxy {
    address: SocketAddr,
    /// The first lines of what it was asked.
    asked: Arc<Mutex<Vec<String>>>,
}

// === impl Proxy ===

impl Proxy {
    fn start(refuses: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let noted = asked.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let noted = noted.clone();
                // A connection that breaks is the client's affair.
                thread::spawn(move || drop(serve(stream, &noted, refuses)));
            }
        });
        Self { address, asked }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

fn serve(mut client: TcpStream, asked: &Mutex<Vec<String>>, refuses: bool) -> io::Result<()> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        client.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let line = head.lines().next().unwrap_or_default().to_owned();
    asked.lock().unwrap().push(line.clone());
    if refuses {
        return client.write_all(b"HTTP/1.1 403 Forbidden by policy\r\n\r\n");
    }
    let to = line.split(' ').nth(1).unwrap_or_default();
    let mut server = TcpStream::connect(to)?;
    client.write_all(b"HTTP/1.1 200 OK\r\nVia: test\r\n\r\n")?;
    let (mut back, mut forth) = (server.try_clone()?, client.try_clone()?);
    thread::spawn(move || io::copy(&mut back, &mut forth));
    io::copy(&mut client, &mut server)?;
    server.shutdown(std::net::Shutdown::Write)
}

/// A registry with TLS, and a push to it that knows of this proxy.
fn behind(proxy: &Proxy) -> (Fake, World) {
    let registry = Fake::with_tls();
    seed(&registry, "base layer");
    let mut world = World::new(&registry, &registry);
    world.set("PLAIN_HTTP", "false");
    world.credentials(&[], registry.authority.as_deref());
    let address = format!("http://{}", proxy.address);
    world.settings.insert("HTTPS_PROXY".to_owned(), address);
    (registry, world)
}

#[test]
fn a_registry_is_reached_through_the_proxy_of_the_environment() {
    let proxy = Proxy::start(false);
    let (registry, mut world) = behind(&proxy);
    world.push().digest();
    let asked = proxy.asked();
    let connect = format!("CONNECT {} HTTP/1.1", registry.address);
    assert!(
        !asked.is_empty() && asked.iter().all(|line| *line == connect),
        "{asked:?}"
    );

    // Not what is said to be near.
    let near = "example.com,127.0.0.0/8".to_owned();
    world.settings.insert("NO_PROXY".to_owned(), near);
    world.push().digest();
    assert_eq!(proxy.asked().len(), asked.len());
}

#[test]
fn a_proxy_that_refuses_is_named() {
    let proxy = Proxy::start(true);
    let (_registry, mut world) = behind(&proxy);
    let address = proxy.address.to_string();
    let ended = world.push();
    ended.failed(
        75,
        &[&address, "403 Forbidden by policy", "cannot be reached"],
    );
    let wrong = "http://me:s3cret@proxy:3128".to_owned();
    world.settings.insert("HTTPS_PROXY".to_owned(), wrong);
    let ended = world.push();
    ended.failed(65, &["HTTPS_PROXY", "http://HOST:PORT, without a user"]);
    assert!(!ended.said.contains("s3cret"), "{ended:?}");
}
