//! Connections that stop speaking HTTP: WebSockets and whatever else 101 switches to.

use std::io;
use std::time::Duration;

use http::{Request, Response};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;

use crate::Body;
use crate::progress::{Progress, Watched};

/// Time after which a switched connection on which nothing moves is closed.
pub const SWITCHED_IDLE_TIMEOUT: Duration = Duration::from_secs(3600);

/// One end of a switch of protocols, before both heads are through.
pub struct Switch(OnUpgrade);

impl Switch {
    /// The client's end. Taken before the request is passed on.
    pub fn of_request(request: &mut Request<Body>) -> Self {
        Self(hyper::upgrade::on(request))
    }

    /// The backend's end. Taken from an answer with status 101.
    pub fn of_response(response: &mut Response<Body>) -> Self {
        Self(hyper::upgrade::on(response))
    }

    /// Copies between both ends until both directions have ended. No byte passes before both ends have switched.
    pub async fn join(self, other: Switch) -> io::Result<()> {
        let client = TokioIo::new(self.0.await.map_err(io::Error::other)?);
        let backend = TokioIo::new(other.0.await.map_err(io::Error::other)?);
        let progress = Progress::default();
        let mut client = Watched { io: client, progress: progress.clone() };
        let mut backend = Watched { io: backend, progress: progress.clone() };
        tokio::select! {
            copied = tokio::io::copy_bidirectional(&mut client, &mut backend) => copied.map(drop),
            () = progress.stalled(SWITCHED_IDLE_TIMEOUT) => Err(io::ErrorKind::TimedOut.into()),
        }
    }
}
