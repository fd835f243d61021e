//! The server: what it does is in the path.
//!
//! | path | answer |
//! |---|---|
//! | `/status/CODE` | that status |
//! | `/sleep/MS` | after so many milliseconds |
//! | `/stream/N/MS` | N lines, so many milliseconds apart |
//! | `/bytes/N` | N bytes |
//! | `/crash` | half a body, then the process ends |
//! | `/request` | the request as JSON: method, uri, headers, body |
//! | `/env/NAME` | a variable |
//! | `/file?PATH` | a file, below `FERMATA_ROOT` where there is one |
//! | `/pid` | the process id |
//! | any other | the request's body |

use std::{collections::BTreeMap, convert::Infallible, env, time::Duration};

use bytes::Bytes;
use futures::stream;
use http::{Request, Response, StatusCode, header};
use http_body::Frame;
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::BoxBody};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::{conn::auto::Builder, graceful::GracefulShutdown},
};
use tokio::{net::TcpListener, time::sleep};

type Body = BoxBody<Bytes, std::io::Error>;

/// Serves HTTP/1.1 and HTTP/2 until the future ends, then finishes what is running.
pub(crate) async fn serve(listener: TcpListener, until: impl Future<Output = ()>) {
    let graceful = GracefulShutdown::new();
    let mut until = std::pin::pin!(until);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut until => break,
        };
        let Ok((stream, _)) = accepted else { continue };
        let _ = stream.set_nodelay(true);
        let builder = Builder::new(TokioExecutor::new());
        let connection = builder
            .serve_connection(TokioIo::new(stream), service_fn(answer))
            .into_owned();
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            let _ = connection.await;
        });
    }
    graceful.shutdown().await;
}

async fn answer(request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    let path = request.uri().path().to_owned();
    let mut parts = path.trim_start_matches('/').split('/');
    let word = parts.next().unwrap_or_default();
    let mut number = || {
        parts
            .next()
            .and_then(|part| part.parse::<u64>().ok())
            .unwrap_or(0)
    };
    let response = match word {
        "status" => {
            let code = u16::try_from(number())
                .ok()
                .and_then(|code| StatusCode::from_u16(code).ok())
                .unwrap_or(StatusCode::BAD_REQUEST);
            status(code, full("as asked\n"))
        }
        "sleep" => {
            sleep(Duration::from_millis(number())).await;
            status(StatusCode::OK, full("slept\n"))
        }
        "stream" => {
            let (count, pause) = (number(), number());
            status(StatusCode::OK, lines(count, Duration::from_millis(pause)))
        }
        "bytes" => {
            let size = usize::try_from(number()).unwrap_or(0);
            status(StatusCode::OK, full(vec![b'x'; size]))
        }
        "crash" => status(StatusCode::OK, crash()),
        "request" => describe(request).await,
        "env" => {
            let name = path.rsplit('/').next().unwrap_or_default();
            match env::var(name) {
                Ok(value) => status(StatusCode::OK, full(value)),
                Err(_) => status(StatusCode::NOT_FOUND, full("")),
            }
        }
        "file" => {
            let root = env::var("FERMATA_ROOT").unwrap_or_default();
            match std::fs::read(format!(
                "{root}{}",
                request.uri().query().unwrap_or_default()
            )) {
                Ok(content) => status(StatusCode::OK, full(content)),
                Err(error) => status(StatusCode::NOT_FOUND, full(error.to_string())),
            }
        }
        "pid" => status(StatusCode::OK, full(std::process::id().to_string())),
        _ => status(
            StatusCode::OK,
            request.into_body().map_err(std::io::Error::other).boxed(),
        ),
    };
    Ok(response)
}

fn status(status: StatusCode, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
}

fn full(content: impl Into<Bytes>) -> Body {
    Full::new(content.into())
        .map_err(|never| match never {})
        .boxed()
}

fn lines(count: u64, pause: Duration) -> Body {
    let lines = stream::unfold(0, move |line| async move {
        if line == count {
            return None;
        }
        sleep(pause).await;
        Some((
            Ok(Frame::data(Bytes::from(format!("line {line}\n")))),
            line + 1,
        ))
    });
    StreamBody::new(lines).boxed()
}

/// Promises more than it sends.
fn crash() -> Body {
    let parts = stream::unfold(0, |part| async move {
        if part == 1 {
            // The first half has time to leave.
            sleep(Duration::from_millis(50)).await;
            std::process::exit(1);
        }
        Some((
            Ok(Frame::data(Bytes::from_static(b"half a body"))),
            part + 1,
        ))
    });
    StreamBody::new(parts).boxed()
}

async fn describe(request: Request<Incoming>) -> Response<Body> {
    let (head, body) = request.into_parts();
    let body = body
        .collect()
        .await
        .map(http_body_util::Collected::to_bytes)
        .unwrap_or_default();
    let headers: BTreeMap<String, String> = head
        .headers
        .iter()
        .map(|(name, value)| {
            (
                name.to_string(),
                String::from_utf8_lossy(value.as_bytes()).into_owned(),
            )
        })
        .collect();
    let seen = serde_json::json!({
        "method": head.method.as_str(), "uri": head.uri.to_string(), "version": format!("{:?}", head.version),
        "headers": headers, "body": String::from_utf8_lossy(&body),
    });
    let mut response = status(StatusCode::OK, full(seen.to_string()));
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        header::HeaderValue::from_static("application/json"),
    );
    response
}
