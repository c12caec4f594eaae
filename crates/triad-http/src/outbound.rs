//! HTTP/1.1 towards backends: one connection that carries one request at a time.

use http::{Request, Response};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::Body;

/// The sending end of a connection; the connection closes when it is dropped.
pub struct Sender(http1::SendRequest<Body>);

/// Why a request got no answer.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// Not one byte of the request was sent; here it is again.
    #[error("the connection was closed before the request was sent")]
    Unsent(Box<Request<Body>>),
    /// The connection broke before the answer's head was complete; the backend may have acted on the request.
    #[error("{0}")]
    Broken(String),
}

impl Sender {
    /// Speaks HTTP/1.1 over `io`, which a task of its own drives on the current runtime.
    pub async fn open<I>(io: I) -> Result<Self, String>
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (sender, connection) = http1::handshake(TokioIo::new(io)).await.map_err(|error| error.to_string())?;
        // An error of the connection is also the error of the request it carried; between requests it concerns nobody.
        tokio::spawn(connection.with_upgrades());
        Ok(Self(sender))
    }

    /// Whether it can take a request now: it is open, and the last answer was read to its end.
    pub fn is_ready(&self) -> bool {
        self.0.is_ready()
    }

    /// Sends a request and waits for the answer's head. Dropping the future closes the connection.
    pub async fn send(&mut self, request: Request<Body>) -> Result<Response<Body>, SendError> {
        match self.0.try_send_request(request).await {
            Ok(response) => Ok(response.map(Body::from)),
            Err(mut error) => Err(match error.take_message() {
                Some(request) => SendError::Unsent(Box::new(request)),
                None => SendError::Broken(error.into_error().to_string()),
            }),
        }
    }
}
