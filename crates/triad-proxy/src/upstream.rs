//! Connections to backends: how one is opened.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use triad_http2::{Client, Connection, connect as speak_http2};
use triad_model::ProxyProtocol;

use crate::plan::{BackendPlan, Target};
use crate::proxy_protocol::{Ends, v1, v2};
use crate::stream::Stream;

/// Time to connect to a backend, TLS handshake and the agreement on HTTP/2 included.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// What a connection to `backend` begins with, before the first request: where that is wanted, the header that says it
/// is for `client`. A check is for nobody: v2 has a word for that, and v1 one that not every reader knows, so there it
/// is for this server itself, as the specification advises.
pub(crate) fn preface(backend: &BackendPlan, client: Option<SocketAddr>) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let (Some(version), Target::Instance(destination)) = (backend.proxy_protocol, &backend.target) {
        let ends = |source| Ends { source, destination: *destination };
        match version {
            ProxyProtocol::V1 => {
                // Instances listen on loopback, so that is where this server asks from.
                let source = client.unwrap_or(SocketAddr::new(destination.ip(), 0));
                v1::write(&mut bytes, Some(&ends(source)));
            }
            ProxyProtocol::V2 => v2::write(&mut bytes, client.map(ends).as_ref()),
        }
    }
    bytes
}

/// Opens connections to backends.
#[derive(Debug, Default)]
pub(crate) struct Dialer {
    /// How the hop is encrypted; a reload with a renewed certificate replaces it.
    pub hop: ArcSwapOption<HopClient>,
}

/// How the hop is encrypted.
#[derive(Debug)]
pub(crate) struct HopClient {
    /// For connections of HTTP/1.1.
    pub http1: Arc<ClientConfig>,
    /// For those that may be of HTTP/2, if the other edge agrees.
    pub http2: Arc<ClientConfig>,
}

/// What a connection turned out to be.
pub(crate) enum Dialed {
    Http1(Stream),
    /// To be worked for.
    Http2(Client, Box<Connection<Stream>>),
}

impl Dialer {
    /// A new connection of HTTP/1.1 to `target`; the text says what stands in its way.
    pub async fn open(&self, target: &Target) -> Result<Stream, String> {
        in_time(self.dial(target, false)).await
    }

    /// A new connection to `target`, of HTTP/2 if that speaks it: an instance that does is named in the design, an edge
    /// agrees to it.
    pub async fn open_http2(&self, target: &Target) -> Result<Dialed, String> {
        in_time(async {
            let stream = self.dial(target, true).await?;
            let agreed = stream.agreed_on_http2();
            if target.is_edge() && !agreed {
                return Ok(Dialed::Http1(stream));
            }
            let spoken = speak_http2(stream, agreed).await;
            let (client, connection) = spoken.map_err(|error| format!("HTTP/2: {error}"))?;
            Ok(Dialed::Http2(client, Box::new(connection)))
        })
        .await
    }

    /// A new connection for one request alone, the way others go.
    pub async fn open_alone(&self, plan: &BackendPlan) -> Result<Stream, String> {
        if !plan.http2 {
            return self.open(&plan.target).await;
        }
        match self.open_http2(&plan.target).await? {
            Dialed::Http1(stream) => Ok(stream),
            Dialed::Http2(mut client, connection) => {
                // It ends with its last stream.
                tokio::spawn(connection.run(None));
                let stream = client.stream().ok_or("HTTP/2: no room for a request")?;
                Ok(Stream::Http2Backend(Box::new(stream)))
            }
        }
    }

    async fn dial(&self, target: &Target, http2: bool) -> Result<Stream, String> {
        match target {
            Target::ThisServer => Err("this server is no hop away".to_owned()),
            Target::Instance(address) | Target::Origin(address) | Target::Plain(address) => {
                connect(*address).await.map(Stream::Plain)
            }
            Target::MutualTls { address, server_name } => {
                let hop = self.hop.load_full().ok_or("no identity for the encrypted hop")?;
                let config = if http2 { &hop.http2 } else { &hop.http1 }.clone();
                let name = ServerName::try_from(server_name.clone()).map_err(|error| error.to_string())?;
                let tcp = connect(*address).await?;
                let tls = TlsConnector::from(config).connect(name, tcp).await;
                tls.map(Stream::tls).map_err(|error| format!("TLS: {error}"))
            }
        }
    }
}

async fn in_time<T>(opening: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    match timeout(CONNECT_TIMEOUT, opening).await {
        Ok(opened) => opened,
        Err(_elapsed) => Err(format!("no connection within {} ms", CONNECT_TIMEOUT.as_millis())),
    }
}

async fn connect(address: SocketAddr) -> Result<TcpStream, String> {
    let stream = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
    stream.set_nodelay(true).map_err(|error| error.to_string())?;
    Ok(stream)
}
