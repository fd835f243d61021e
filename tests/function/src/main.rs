//! A function for tests: a small HTTP server that does what it is asked to, and misbehaves in every
//! way a function can.
//!
//! `fermata-test-function [MODE]`, where MODE is one of
//! - `serve` (default): see [`serve`] for its paths;
//! - `slow-start MS`: serves after so many milliseconds;
//! - `never-listens`, `crashes`, `crashes-after-start`, `forks-away`, `ignores-sigterm`, `garbage`;
//! - `exists PATH`: a probe; succeeds if there is such a file.
//!
//! It uses no other program, for there is none in its image.

mod listen;
mod serve;

use std::{env, future, path::Path, process::Command, thread, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};

use crate::listen::Listening;

#[allow(
    clippy::zombie_processes,
    reason = "a process that is left behind is the point of it"
)]
#[tokio::main(flavor = "current_thread")]
async fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let mode = arguments.first().map_or("serve", String::as_str);
    match mode {
        "never-listens" => tokio::time::sleep(Duration::from_secs(3600)).await,
        "crashes" => {
            eprintln!("cannot open the database: no route to host");
            std::process::exit(3);
        }
        "crashes-after-start" => {
            let _listening = Listening::start().await;
            tokio::time::sleep(Duration::from_millis(50)).await;
            eprintln!("out of luck");
            std::process::exit(4);
        }
        "forks-away" => {
            let itself = env::current_exe().expect("a program has a path");
            Command::new(itself)
                .arg("never-listens")
                .spawn()
                .expect("a program can start itself");
        }
        "ignores-sigterm" => {
            // The handler takes the signal and does nothing with it.
            let mut ignored = signal(SignalKind::terminate()).expect("a signal can be handled");
            tokio::spawn(async move { while ignored.recv().await.is_some() {} });
            serve::serve(Listening::start().await, future::pending()).await;
        }
        "garbage" => garbage(Listening::start().await.listener).await,
        "slow-start" => {
            let milliseconds = arguments[1].parse().expect("a number of milliseconds");
            thread::sleep(Duration::from_millis(milliseconds));
            serve_until_terminated().await;
        }
        "exists" => std::process::exit(i32::from(!Path::new(&arguments[1]).exists())),
        _ => serve_until_terminated().await,
    }
}

async fn serve_until_terminated() {
    let mut terminate = signal(SignalKind::terminate()).expect("a signal can be handled");
    serve::serve(Listening::start().await, async move {
        terminate.recv().await;
    })
    .await;
}

async fn garbage(listener: TcpListener) {
    loop {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        tokio::spawn(async move {
            let mut request = [0; 1024];
            if stream.read(&mut request).await.is_ok_and(|read| read > 0) {
                let _ = stream.write_all(b"\x00\xff this is no HTTP \r\n\r\n").await;
            }
        });
    }
}
