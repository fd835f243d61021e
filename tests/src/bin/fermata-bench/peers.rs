//! nginx and haproxy, set up to do nothing but pass requests on: what the gateway is compared with.

use std::{net::SocketAddr, path::Path};

use fermata_tests::eventually;
use tokio::net::TcpStream;

use crate::process::Process;

/// Where nginx takes HTTP/1.1 and HTTP/2, and haproxy too; the last is before a function with HTTP/2.
const NGINX: [&str; 2] = ["127.0.0.1:18081", "127.0.0.1:18082"];
const HAPROXY: [&str; 3] = ["127.0.0.1:18083", "127.0.0.1:18084", "127.0.0.1:18085"];

/// Where a proxy takes calls.
pub(crate) struct Addresses {
    /// HTTP/1.1.
    pub(crate) http1: SocketAddr,
    /// HTTP/2, before a function with HTTP/1.1.
    pub(crate) http2: SocketAddr,
    /// HTTP/2, before a function with HTTP/2, if it can do that.
    pub(crate) modern: Option<SocketAddr>,
}

/// Starts nginx, of one process, on one CPU, before an upstream.
pub(crate) async fn nginx(dir: &Path, cpu: u32, upstream: SocketAddr) -> (Process, Addresses) {
    let at = dir.display();
    let [http1, http2] = NGINX;
    let config = format!(
        "daemon off; master_process off; pid {at}/nginx.pid; error_log stderr;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  client_body_temp_path {at}; proxy_temp_path {at}; fastcgi_temp_path {at};
  uwsgi_temp_path {at}; scgi_temp_path {at};
  keepalive_requests 1000000000;
  upstream function {{ server {upstream}; keepalive 1024; keepalive_requests 1000000000; }}
  server {{
    listen {http1};
    listen {http2} http2;
    location / {{
      proxy_pass http://function; proxy_http_version 1.1; proxy_set_header Connection \"\";
    }}
  }}
}}
"
    );
    let file = dir.join("nginx.conf");
    std::fs::write(&file, config).expect("the file can be written");
    let process = Process::start(Some(cpu), Path::new("/usr/sbin/nginx"), |nginx| {
        nginx.arg("-c").arg(&file).arg("-p").arg(dir);
    });
    let addresses = Addresses {
        http1: listens(http1).await,
        http2: listens(http2).await,
        modern: None,
    };
    (process, addresses)
}

/// Starts haproxy, of one thread, on one CPU, before upstreams with HTTP/1.1 and with HTTP/2.
pub(crate) async fn haproxy(
    dir: &Path,
    cpu: u32,
    upstream: SocketAddr,
    modern_upstream: SocketAddr,
) -> (Process, Addresses) {
    let [http1, http2, modern] = HAPROXY;
    let config = format!(
        "global
  nbthread 1
  maxconn 4096
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  option http-keep-alive
  http-reuse always
frontend front
  bind {http1}
  bind {http2} proto h2
  default_backend function
frontend modern
  bind {modern} proto h2
  default_backend modern
backend function
  server one {upstream}
backend modern
  server one {modern_upstream} proto h2
"
    );
    let file = dir.join("haproxy.cfg");
    std::fs::write(&file, config).expect("the file can be written");
    let process = Process::start(Some(cpu), Path::new("/usr/sbin/haproxy"), |haproxy| {
        haproxy.arg("-db").arg("-f").arg(&file);
    });
    let addresses = Addresses {
        http1: listens(http1).await,
        http2: listens(http2).await,
        modern: Some(listens(modern).await),
    };
    (process, addresses)
}

async fn listens(address: &str) -> SocketAddr {
    eventually(&format!("somebody listens at {address}"), async || {
        let connected = TcpStream::connect(address).await;
        connected.map(drop).map_err(|error| error.to_string())
    })
    .await;
    address.parse().expect("it is an address")
}
