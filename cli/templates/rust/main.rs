//! A program that serves HTTP on PORT is a function.

use std::{env, io};

use axum::Router;
use tokio::{
    net::TcpListener,
    signal::unix::{signal, SignalKind},
};

/// Answers every request, whatever its path.
async fn handle(name: String) -> String {
    let name = if name.is_empty() { "world" } else { &name };
    format!("Hello, {name}!\n")
}

#[tokio::main]
async fn main() -> io::Result<()> {
    let host = env::var("HOST").unwrap_or("0.0.0.0".to_owned());
    let port = env::var("PORT").unwrap_or("8080".to_owned());
    let port: u16 = port.parse().map_err(io::Error::other)?;
    let listener = TcpListener::bind((host.as_str(), port)).await?;
    // SIGTERM is the time to end: requests that run are finished.
    let mut terminate = signal(SignalKind::terminate())?;
    axum::serve(listener, Router::new().fallback(handle))
        .with_graceful_shutdown(async move {
            terminate.recv().await;
        })
        .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_caller_is_greeted() {
        assert_eq!(handle("you".to_owned()).await, "Hello, you!\n");
        assert_eq!(handle(String::new()).await, "Hello, world!\n");
    }
}
