//! HTTP/1.1 towards clients: one connection, from accept to close.

use std::convert::Infallible;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::progress::{Progress, Watched};
use crate::{Body, BodyError};

/// Time in which a new connection must have sent a request's whole head.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Time in which a kept connection must have sent its next head; also the time, up to twice, after which a connection
/// on which nothing moves is closed, whether it sends a body or takes one.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// Bytes a request's head may have; longer ones are answered 431.
pub const HEAD_BYTES_MAX: usize = 32 * 1024;
/// Header fields a request may have, hyper's default, for which it allocates nothing; more are answered 431.
pub const HEADERS_MAX: usize = 100;

/// Serves one connection until it ends. Once `stop` is ready, the request under way is answered with
/// `Connection: close`; an idle connection is closed at once.
///
/// What goes wrong with a connection is the client's affair; the text is for a debug log.
pub async fn serve<I, H, F, B>(io: I, handler: H, stop: impl Future<Output = ()>) -> Result<(), String>
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    H: Fn(Request<Body>) -> F,
    F: Future<Output = Response<B>>,
    B: http_body::Body<Data = Bytes> + 'static,
    B::Error: Into<BodyError>,
{
    let progress = Progress::default();
    let first_head = Arc::new(AtomicBool::new(false));
    let seen = first_head.clone();
    let service = service_fn(move |request: Request<hyper::body::Incoming>| {
        seen.store(true, Relaxed);
        let answer = handler(request.map(Body::from));
        async move { Ok::<_, Infallible>(answer.await) }
    });
    let io = TokioIo::new(Watched { io, progress: progress.clone() });
    let mut connection = pin!(builder().serve_connection(io, service).with_upgrades());
    let mut watchdog = pin!(stuck(progress, first_head));
    let mut stop = pin!(stop);
    let mut stopping = false;
    loop {
        tokio::select! {
            biased;
            end = connection.as_mut() => return end.map_err(|error| error.to_string()),
            () = stop.as_mut(), if !stopping => {
                stopping = true;
                connection.as_mut().graceful_shutdown();
            }
            why = watchdog.as_mut() => return Err(why.to_owned()),
        }
    }
}

fn builder() -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(IDLE_TIMEOUT).max_header_size(HEAD_BYTES_MAX);
    builder
}

/// Ready when the connection should be cut, with the reason.
async fn stuck(progress: Progress, first_head: Arc<AtomicBool>) -> &'static str {
    tokio::time::sleep(HEAD_TIMEOUT).await;
    if !first_head.load(Relaxed) {
        return "no request's head in time";
    }
    progress.stalled(IDLE_TIMEOUT).await;
    "nothing moved in time"
}
