//! Connections to backends: how one is opened.

use std::net::SocketAddr;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use triad_model::ProxyProtocol;

use crate::plan::{BackendPlan, Target};
use crate::proxy_protocol::{Ends, v1, v2};
use crate::stream::Stream;

/// Time to connect to a backend, TLS handshake included.
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
    pub hop: ArcSwapOption<ClientConfig>,
}

impl Dialer {
    /// A new connection to `target`; the text says what stands in its way.
    pub async fn open(&self, target: &Target) -> Result<Stream, String> {
        match timeout(CONNECT_TIMEOUT, self.dial(target)).await {
            Ok(opened) => opened,
            Err(_elapsed) => Err(format!("no connection within {} ms", CONNECT_TIMEOUT.as_millis())),
        }
    }

    async fn dial(&self, target: &Target) -> Result<Stream, String> {
        match target {
            Target::ThisServer => Err("this server is no hop away".to_owned()),
            Target::Instance(address) | Target::Plain(address) => connect(*address).await.map(Stream::Plain),
            Target::MutualTls { address, server_name } => {
                let config = self.hop.load_full().ok_or("no identity for the encrypted hop")?;
                let name = ServerName::try_from(server_name.clone()).map_err(|error| error.to_string())?;
                let tcp = connect(*address).await?;
                let tls = TlsConnector::from(config).connect(name, tcp).await;
                tls.map(Stream::tls).map_err(|error| format!("TLS: {error}"))
            }
        }
    }
}

async fn connect(address: SocketAddr) -> Result<TcpStream, String> {
    let stream = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
    stream.set_nodelay(true).map_err(|error| error.to_string())?;
    Ok(stream)
}
