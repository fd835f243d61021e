//! Listening to a container: what it says from now on, line by line, until it ends.

use std::io;

use bytes::Bytes;
use tokio::{
    io::AsyncRead,
    sync::broadcast::{Receiver, error::RecvError},
};
use tokio_util::io::StreamReader;

use super::{Containers, Execution, NotExecuted, log::Line};

impl Containers {
    /// Listens to a container. Who listens too slowly misses lines; the container does not wait.
    ///
    /// # Errors
    ///
    /// When the container does not run, or standard input is asked for, which containers have none of.
    pub fn attach(
        &self,
        pod: &str,
        container: &str,
        stdin: bool,
    ) -> Result<Execution, NotExecuted> {
        let (log, end) = self.log(pod, container)?;
        if stdin {
            return Err(NotExecuted::NoInput(container.to_owned()));
        }
        Ok(Execution {
            stdin: None,
            stdout: Box::new(only("stdout", log.listen())),
            stderr: Some(Box::new(only("stderr", log.listen()))),
            resize: Box::new(|_, _| {}),
            ended: Box::pin(async move {
                end.cancelled().await;
                0
            }),
        })
    }
}

/// The lines of one stream.
fn only(stream: &'static str, lines: Receiver<Line>) -> impl AsyncRead + Send + Unpin {
    let lines = futures::stream::unfold(lines, move |mut lines| async move {
        loop {
            match lines.recv().await {
                Ok(line) if line.stream == stream => {
                    return Some((Ok::<Bytes, io::Error>(line.text), lines));
                }
                Ok(_) | Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return None,
            }
        }
    });
    StreamReader::new(Box::pin(lines))
}
