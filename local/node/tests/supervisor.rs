//! The process between the node and a container's process.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    ffi::OsString,
    process::{Command, Stdio},
};

/// What the command prints under its supervisor, whose standard input stays open.
fn output(arguments: &[OsString]) -> String {
    let child = Command::new(env!("CARGO_BIN_EXE_fermata-container"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut child = child;
    let _open = child.stdin.take();
    let output = child.wait_with_output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_container_gets_the_limit_of_open_files_that_the_platform_was_started_with() {
    let shell = ["sh", "-c", "ulimit -Sn; ulimit -Hn"].map(OsString::from);
    let hard = output(&shell).lines().nth(1).unwrap().to_owned();
    let mut limited = vec![fermata_node::open_files_argument(200)];
    limited.extend(shell);
    assert_eq!(output(&limited), format!("200\n{hard}\n"));
}
