//! Commands in running containers, for which the server asks the node.

use std::sync::Arc;

use futures::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite};

/// A command to run beside a container's own.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ExecRequest {
    /// The pod's uid.
    pub pod: String,
    /// The container's name.
    pub container: String,
    /// The program and its arguments; not empty.
    pub command: Vec<String>,
    /// Whether somebody writes to its standard input, which is empty otherwise.
    pub stdin: bool,
    /// Whether it gets a terminal, which is standard input, output and error in one.
    pub tty: bool,
}

/// A command that runs. Dropping it kills the command with everything in its process group.
pub struct Execution {
    /// Its standard input, if it was asked for.
    pub stdin: Option<Box<dyn AsyncWrite + Send + Unpin>>,
    /// Its standard output, or all that comes from its terminal.
    pub stdout: Box<dyn AsyncRead + Send + Unpin>,
    /// Its standard error; none of a command with a terminal.
    pub stderr: Option<Box<dyn AsyncRead + Send + Unpin>>,
    /// Tells its terminal columns and rows.
    pub resize: Box<dyn Fn(u16, u16) + Send + Sync>,
    /// Its exit code, 128 plus the number of a deadly signal.
    pub ended: BoxFuture<'static, i32>,
}

/// Starts a command, or says in a sentence why it cannot be started.
pub type Exec = Arc<dyn Fn(&ExecRequest) -> Result<Execution, String> + Send + Sync>;
