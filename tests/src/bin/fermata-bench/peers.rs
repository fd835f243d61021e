//! nginx and haproxy, set up to do nothing but pass requests on: what the gateway is compared with.

use std::{net::SocketAddr, path::Path};

use fermata_tests::eventually;
use tokio::net::TcpStream;

use crate::process::Process;

const NGINX: &str = "127.0.0.1:18081";
const HAPROXY: &str = "127.0.0.1:18082";

/// Starts nginx, of one process, on one CPU, before an upstream.
pub(crate) async fn nginx(dir: &Path, cpu: u32, upstream: SocketAddr) -> (Process, SocketAddr) {
    let at = dir.display();
    let config = format!(
        "daemon off; master_process off; pid {at}/nginx.pid; error_log stderr;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  client_body_temp_path {at}; proxy_temp_path {at}; fastcgi_temp_path {at};
  uwsgi_temp_path {at}; scgi_temp_path {at};
  keepalive_requests 1000000000;
  upstream function {{ server {upstream}; keepalive 128; keepalive_requests 1000000000; }}
  server {{
    listen {NGINX};
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
    (process, listens(NGINX).await)
}

/// Starts haproxy, of one thread, on one CPU, before an upstream.
pub(crate) async fn haproxy(dir: &Path, cpu: u32, upstream: SocketAddr) -> (Process, SocketAddr) {
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
  bind {HAPROXY}
  default_backend function
backend function
  server one {upstream}
"
    );
    let file = dir.join("haproxy.cfg");
    std::fs::write(&file, config).expect("the file can be written");
    let process = Process::start(Some(cpu), Path::new("/usr/sbin/haproxy"), |haproxy| {
        haproxy.arg("-db").arg("-f").arg(&file);
    });
    (process, listens(HAPROXY).await)
}

async fn listens(address: &str) -> SocketAddr {
    eventually(&format!("somebody listens at {address}"), async || {
        let connected = TcpStream::connect(address).await;
        connected.map(drop).map_err(|error| error.to_string())
    })
    .await;
    address.parse().expect("it is an address")
}
