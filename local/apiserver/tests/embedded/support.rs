//! Servers for these tests.

use fermata_apiserver::{ApiServer, Options};
use kube::Client;

/// Options for a server of a test: any free port, nothing on disk, the definitions of Fermata.
pub(crate) fn options() -> Options {
    Options {
        listen: ([127, 0, 0, 1], 0).into(),
        crds: fermata_crds::crd::all(),
        ..Options::default()
    }
}

/// A server with those, and a client in its process.
pub(crate) async fn server() -> (ApiServer, Client) {
    let server = ApiServer::start(options()).await.expect("server");
    let client = server.client("default");
    (server, client)
}
