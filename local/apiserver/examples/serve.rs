//! Serves the API alone, without controllers and without a node, and writes a kubeconfig.
//!
//! ```text
//! cargo run -p fermata-apiserver --example serve -- 127.0.0.1:6440 DIRECTORY
//! ```

use std::path::PathBuf;

use fermata_apiserver::{ApiServer, Options};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let listen = arguments
        .next()
        .unwrap_or_else(|| "127.0.0.1:6440".to_owned());
    let dir = PathBuf::from(arguments.next().unwrap_or_else(|| ".fermata".to_owned()));
    let server = ApiServer::start(Options {
        listen: listen.parse()?,
        data_dir: Some(dir.clone()),
        logs_dir: dir.join("logs"),
        pki_dir: Some(dir.join("pki")),
        crds: fermata_crds::crd::all(),
        ..Options::default()
    })
    .await?;
    std::fs::write(dir.join("kubeconfig"), server.kubeconfig())?;
    tokio::signal::ctrl_c().await?;
    server.shutdown().await;
    Ok(())
}
