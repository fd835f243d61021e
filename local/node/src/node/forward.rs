//! The way to a pod's ports: those that it declares, each a port of this machine, as long as the pod lasts.

use std::{
    collections::{BTreeMap, HashMap},
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
};

use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use rustix::io::Errno;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use super::Containers;
use crate::admission::PORTS;

/// The pods that run now, by their uid.
pub(super) type Sandboxes = Arc<Mutex<HashMap<String, Sandbox>>>;

/// What of a pod outlasts its containers.
pub(super) struct Sandbox {
    /// The ports of this machine, by those that the pod declares and by themselves.
    ports: Arc<BTreeMap<u16, u16>>,
    end: CancellationToken,
}

/// A pod is among those that run as long as this is there.
pub(super) struct Sandboxed {
    sandboxes: Sandboxes,
    uid: String,
    end: CancellationToken,
}

/// The way to the ports of a pod. Clones lead to the same.
#[derive(Clone)]
pub struct Forwarding {
    ports: Arc<BTreeMap<u16, u16>>,
    end: CancellationToken,
}

/// Why a port cannot be connected to.
#[derive(Debug, thiserror::Error)]
pub enum NotForwarded {
    /// The pod has ended, or has not begun.
    #[error("the pod is not running")]
    NotRunning,
    /// No container declares the port, so that it is somebody else's.
    #[error("the pod has no such port: the containerPorts of its containers are {declared}")]
    NotDeclared {
        /// The ports that there are.
        declared: String,
    },
    /// Nothing listens on it.
    #[error("nothing answers on 127.0.0.1:{port}, which is the port here: {source}")]
    Refused {
        /// The port of this machine.
        port: u16,
        /// What the system said.
        source: io::Error,
    },
    /// This process has as many files open as it may, which is not the pod's fault.
    #[error(
        "fermata up has too many files open for one more connection; start it with a higher limit, see: ulimit -Hn"
    )]
    Exhausted(#[source] io::Error),
}

// === impl Containers ===

impl Containers {
    /// Adds a pod that begins.
    pub(super) fn sandbox(&self, pod: &Pod) -> Sandboxed {
        let uid = pod.uid().unwrap_or_default();
        let end = CancellationToken::new();
        let sandbox = Sandbox {
            ports: Arc::new(ports(pod)),
            end: end.clone(),
        };
        lock(&self.sandboxes).insert(uid.clone(), sandbox);
        Sandboxed {
            sandboxes: Arc::clone(&self.sandboxes),
            uid,
            end,
        }
    }

    /// The way to the ports of the pod with this uid.
    ///
    /// # Errors
    ///
    /// When the pod does not run.
    pub fn forward(&self, pod: &str) -> Result<Forwarding, NotForwarded> {
        let sandboxes = lock(&self.sandboxes);
        let sandbox = sandboxes.get(pod).ok_or(NotForwarded::NotRunning)?;
        Ok(Forwarding {
            ports: Arc::clone(&sandbox.ports),
            end: sandbox.end.clone(),
        })
    }
}

/// What a pod declares, which admission has given ports of this machine.
fn ports(pod: &Pod) -> BTreeMap<u16, u16> {
    let containers = pod.spec.iter().flat_map(|spec| {
        let inits = spec.init_containers.iter().flatten();
        spec.containers.iter().chain(inits)
    });
    let own = containers
        .flat_map(|container| container.ports.iter().flatten())
        .filter_map(|port| u16::try_from(port.container_port).ok());
    let mut ports: BTreeMap<u16, u16> = own.map(|port| (port, port)).collect();
    let assigned = pod.annotations().get(PORTS);
    let assigned: BTreeMap<u16, u16> = assigned
        .and_then(|assigned| serde_json::from_str(assigned).ok())
        .unwrap_or_default();
    for (declared, port) in assigned {
        // Who can write annotations does not get to the ports of others.
        if ports.get(&port) == Some(&port) {
            ports.entry(declared).or_insert(port);
        }
    }
    ports
}

fn not_connected(port: u16, source: io::Error) -> NotForwarded {
    let exhausted = [Errno::MFILE, Errno::NFILE].map(|errno| Some(errno.raw_os_error()));
    if exhausted.contains(&source.raw_os_error()) {
        NotForwarded::Exhausted(source)
    } else {
        NotForwarded::Refused { port, source }
    }
}

fn lock(
    sandboxes: &Mutex<HashMap<String, Sandbox>>,
) -> std::sync::MutexGuard<'_, HashMap<String, Sandbox>> {
    sandboxes.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Sandboxed {
    fn drop(&mut self) {
        lock(&self.sandboxes).remove(&self.uid);
        self.end.cancel();
    }
}

// === impl Forwarding ===

impl Forwarding {
    /// Connects to a port that the pod declares: by the number in its manifest, or by the one it has here.
    ///
    /// Cancel safe.
    ///
    /// # Errors
    ///
    /// When no container declares the port, or nothing listens on it.
    pub async fn connect(&self, port: u16) -> Result<TcpStream, NotForwarded> {
        let Some(port) = self.ports.get(&port).copied() else {
            let declared: Vec<String> = self.ports.keys().map(ToString::to_string).collect();
            let declared = match declared.as_slice() {
                [] => "none".to_owned(),
                all => all.join(", "),
            };
            return Err(NotForwarded::NotDeclared { declared });
        };
        let addresses = [
            SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
            SocketAddr::from((Ipv6Addr::LOCALHOST, port)),
        ];
        // What is told is why the first one fails: a machine may have no IPv6.
        let mut refused = None;
        for address in addresses {
            match TcpStream::connect(address).await {
                Ok(stream) => return Ok(stream),
                Err(error) => _ = refused.get_or_insert(error),
            }
        }
        let source = refused.unwrap_or_else(|| io::ErrorKind::ConnectionRefused.into());
        Err(not_connected(port, source))
    }

    /// Ends when the pod has ended.
    pub fn ended(&self) -> BoxFuture<'static, ()> {
        Box::pin(self.end.clone().cancelled_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_many_open_files_are_not_the_pods_fault() {
        for errno in [Errno::MFILE, Errno::NFILE] {
            let why = not_connected(8080, errno.into()).to_string();
            assert!(why.contains("ulimit -Hn") && !why.contains("8080"), "{why}");
        }
        let why = not_connected(8080, Errno::CONNREFUSED.into()).to_string();
        assert!(why.contains("nothing answers on 127.0.0.1:8080"), "{why}");
    }
}
