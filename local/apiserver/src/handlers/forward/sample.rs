//! A pod whose programs are the other ends of pipes.

use std::sync::Arc;

use futures::future::BoxFuture;
use tokio::{
    io::DuplexStream,
    sync::{Semaphore, mpsc},
};

use super::relay::Pod;
use crate::Duplex;

/// The pod, and the programs that its ports lead to, in the order they are connected to.
pub(super) fn pod(refuses: bool) -> (Pod, mpsc::Receiver<DuplexStream>) {
    let (connected, connections) = mpsc::channel(8);
    let connect = Arc::new(move |_| {
        let connected = connected.clone();
        Box::pin(async move {
            if refuses {
                return Err("nothing listens".to_owned());
            }
            let (near, far) = tokio::io::duplex(1024);
            connected.send(far).await.unwrap();
            Ok(Box::new(near) as Box<dyn Duplex>)
        }) as BoxFuture<'static, _>
    });
    let pod = Pod {
        name: "a".to_owned(),
        uid: "u".to_owned(),
        connect,
        seats: Arc::new(Semaphore::new(1 << 10)),
    };
    (pod, connections)
}
