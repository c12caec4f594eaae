//! Connections to backends: how one is opened, and how it comes back once its answer was read.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use triad_http::{Body, BodyError, Sender};

use crate::backend::Backend;
use crate::counters::Ongoing;
use crate::plan::Target;

/// Time to connect to a backend, TLS handshake included.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// Opens connections to backends.
#[derive(Debug, Default)]
pub(crate) struct Dialer {
    /// How the hop is encrypted; a reload with a renewed certificate replaces it.
    pub hop: ArcSwapOption<ClientConfig>,
}

impl Dialer {
    /// A new connection to `target`; the text says what stands in its way.
    pub async fn open(&self, target: &Target) -> Result<Sender, String> {
        match timeout(CONNECT_TIMEOUT, self.dial(target)).await {
            Ok(opened) => opened,
            Err(_elapsed) => Err(format!("no connection within {} ms", CONNECT_TIMEOUT.as_millis())),
        }
    }

    async fn dial(&self, target: &Target) -> Result<Sender, String> {
        match target {
            Target::ThisServer => Err("this server is no hop away".to_owned()),
            Target::Instance(address) | Target::Plain(address) => Sender::open(connect(*address).await?).await,
            Target::MutualTls { address, server_name } => {
                let config = self.hop.load_full().ok_or("no identity for the encrypted hop")?;
                let name = ServerName::try_from(server_name.clone()).map_err(|error| error.to_string())?;
                let tcp = connect(*address).await?;
                let tls = TlsConnector::from(config).connect(name, tcp).await;
                Sender::open(tls.map_err(|error| format!("TLS: {error}"))?).await
            }
        }
    }
}

async fn connect(address: std::net::SocketAddr) -> Result<TcpStream, String> {
    let stream = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
    stream.set_nodelay(true).map_err(|error| error.to_string())?;
    Ok(stream)
}

/// A connection while it carries an answer.
pub(crate) struct Lease {
    pub sender: Sender,
    pub backend: Arc<Backend>,
    pub worker: usize,
    /// The request counts as in flight at each backend it was balanced over.
    pub _in_flight: Vec<Ongoing<Arc<Backend>>>,
}

impl Lease {
    /// The body of the answer; once it was read to its end, the connection is free for the next request.
    pub fn carry(self, body: Body) -> Body {
        if body.is_end_stream() {
            self.give_back();
            return body;
        }
        triad_http::body::stream(Leased { body, lease: Some(self) })
    }

    fn give_back(self) {
        self.backend.check_in(self.worker, self.sender);
    }
}

struct Leased {
    body: Body,
    /// Until the end of the body; dropped before it, the connection closes.
    lease: Option<Lease>,
}

impl http_body::Body for Leased {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        if matches!(frame, Some(Err(_))) {
            self.lease = None;
        } else if (frame.is_none() || self.body.is_end_stream())
            && let Some(lease) = self.lease.take()
        {
            lease.give_back();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
