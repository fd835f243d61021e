//! What goes into running pods and comes out of them, for which the server asks the node.

use std::sync::Arc;

use futures::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite};

/// The node's side of `exec`, `attach` and `portforward`. What cannot be done is told in a sentence.
pub trait StreamingRuntime: Send + Sync {
    /// Starts a command beside a container's own.
    ///
    /// # Errors
    ///
    /// When the container does not run, or the command cannot be started.
    fn exec(&self, request: &ExecRequest) -> Result<Execution, String>;

    /// Listens to a container from now on.
    ///
    /// # Errors
    ///
    /// When the container does not run, or its standard input is asked for and there is none.
    fn attach(&self, request: &AttachRequest) -> Result<Execution, String>;

    /// Opens the way to the ports of a pod, which is named by its uid.
    ///
    /// # Errors
    ///
    /// When the pod does not run.
    fn port_forward(&self, pod: &str) -> Result<Forwarding, String>;
}

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

/// A container to listen to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AttachRequest {
    /// The pod's uid.
    pub pod: String,
    /// The container's name.
    pub container: String,
    /// Whether somebody wants to write to its standard input.
    pub stdin: bool,
}

/// A command that runs, or a container that is listened to. Dropping it kills the command with everything in
/// its process group; a container goes on.
pub struct Execution {
    /// Its standard input, if it was asked for.
    pub stdin: Option<Box<dyn AsyncWrite + Send + Unpin>>,
    /// Its standard output, or all that comes from its terminal.
    pub stdout: Box<dyn AsyncRead + Send + Unpin>,
    /// Its standard error; none of a command with a terminal.
    pub stderr: Option<Box<dyn AsyncRead + Send + Unpin>>,
    /// Tells its terminal columns and rows.
    pub resize: Box<dyn Fn(u16, u16) + Send + Sync>,
    /// Its exit code, 128 plus the number of a deadly signal; 0 when a container has ended that was listened to.
    pub ended: BoxFuture<'static, i32>,
}

/// A connection to a port.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// How a port of a pod is connected to.
pub type Connect =
    Arc<dyn Fn(u16) -> BoxFuture<'static, Result<Box<dyn Duplex>, String>> + Send + Sync>;

/// The way to the ports of a pod.
pub struct Forwarding {
    /// Connects to a port of the pod. Cancel safe.
    pub connect: Connect,
    /// Ends when the pod has ended.
    pub ended: BoxFuture<'static, ()>,
}
