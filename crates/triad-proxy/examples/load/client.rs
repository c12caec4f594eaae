//! Connections to the proxy under load.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use anyhow::Context;
use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use socket2::{Domain, Socket, Type};

use crate::http;

/// Time a connection has to open, and an answer between two of its bytes.
const PATIENCE: Duration = Duration::from_secs(10);
/// Connections come from 127.0.0.2 and so many addresses after it in turn: one address alone runs out of ports.
const SOURCES: u32 = 200;
/// Bytes read at one time.
pub const BUFFER_BYTES: usize = 64 * 1024;
/// Time the proxy has to close idle connections that it does not want.
const SETTLE: Duration = Duration::from_secs(1);

/// Opens connections, all in the same way.
pub struct Client {
    address: SocketAddr,
    tls: Option<Arc<ClientConfig>>,
    next_source: AtomicU32,
    /// The request that keeps the connection open.
    pub request: Vec<u8>,
    /// The request that ends it.
    pub last_request: Vec<u8>,
}

impl Client {
    /// A client that asks `address` for `path`, over TLS if it is given the certificate to trust.
    pub fn new(address: SocketAddr, path: &str, certificate: Option<&Path>) -> anyhow::Result<Self> {
        Ok(Self {
            address,
            tls: certificate.map(tls).transpose()?,
            next_source: AtomicU32::new(0),
            request: http::request(address, path, false),
            last_request: http::request(address, path, true),
        })
    }

    /// A new connection. TLS shakes hands with the first request.
    pub fn connect(&self) -> anyhow::Result<Connection> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        let host = 2 + self.next_source.fetch_add(1, Relaxed) % SOURCES;
        let source = Ipv4Addr::from_bits(Ipv4Addr::new(127, 0, 0, 0).to_bits() + host);
        socket.bind(&SocketAddr::from((source, 0)).into()).with_context(|| format!("no port left on {source}"))?;
        socket.connect_timeout(&self.address.into(), PATIENCE).context("cannot connect")?;
        let stream = TcpStream::from(socket);
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(match &self.tls {
            None => Connection::Plain(stream),
            Some(config) => {
                let session = ClientConnection::new(config.clone(), ServerName::from(self.address.ip()))?;
                Connection::Tls(Box::new(StreamOwned::new(session, stream)))
            }
        })
    }

    /// Connections that had one request each.
    pub fn open_all(&self, count: usize) -> anyhow::Result<Vec<Connection>> {
        let mut buffer = vec![0; BUFFER_BYTES];
        (0..count).map(|_| self.open(&mut buffer)).collect()
    }

    /// The same, until the proxy takes no more; and then some time for what is unsettled.
    pub fn open_until_refused(&self, count: usize) -> anyhow::Result<Vec<Connection>> {
        let mut buffer = vec![0; BUFFER_BYTES];
        let mut open = vec![self.open(&mut buffer)?];
        while open.len() < count {
            match self.open(&mut buffer) {
                Ok(connection) => open.push(connection),
                Err(error) => {
                    eprintln!("no connection after {}: {error:#}", open.len());
                    break;
                }
            }
        }
        thread::sleep(SETTLE);
        Ok(open)
    }

    fn open(&self, buffer: &mut [u8]) -> anyhow::Result<Connection> {
        let mut connection = self.connect()?;
        http::exchange(&mut connection, &self.request, buffer)?;
        Ok(connection)
    }
}

/// TLS 1.3 alone, one suite and one key exchange (what most clients ask for first), and never a resumed session: so
/// every proxy does the same work.
fn tls(certificate: &Path) -> anyhow::Result<Arc<ClientConfig>> {
    let read = || format!("cannot read {}", certificate.display());
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(certificate).with_context(read)?)?;
    let provider = CryptoProvider {
        cipher_suites: vec![aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256],
        kx_groups: vec![aws_lc_rs::kx_group::X25519],
        ..aws_lc_rs::default_provider()
    };
    let mut config = ClientConfig::builder_with_provider(provider.into())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// An open connection.
pub enum Connection {
    /// Unencrypted.
    Plain(TcpStream),
    /// TLS.
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Connection {
    /// Whether the proxy has not closed it.
    pub fn is_open(&self) -> bool {
        let stream = match self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => &stream.sock,
        };
        let peeked = stream.set_nonblocking(true).and_then(|()| stream.peek(&mut [0]));
        match peeked {
            Ok(bytes) => bytes > 0,
            Err(error) => error.kind() == io::ErrorKind::WouldBlock,
        }
    }
}

impl Read for Connection {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Connection {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.flush(),
            Self::Tls(stream) => stream.flush(),
        }
    }
}
