//! The entrance: the site on a loopback port of the host.
//!
//! Its listening socket was made in the host's network namespace and stays in it; the connections on to the site are
//! made in the client's. HTTP and HTTPS share the port: a TLS connection begins with a handshake record, byte 22
//! (RFC 8446 §5.1), and no method of HTTP does.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use triad_model::{HTTP, HTTPS};

use crate::directory::Directory;
use crate::files::public_addresses;
use crate::record::Record;

/// Connections that may be open at once; more wait in the listening socket's backlog.
const CONNECTIONS_MAX: usize = 256;
/// A client that says nothing for this long is dropped.
const FIRST_BYTE_TIMEOUT: Duration = Duration::from_secs(10);
/// A front server that does not answer within this is passed over.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Pause after a connection could not be accepted, so that a full table of files is not asked in a loop.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// The type of TLS's handshake records.
const TLS_HANDSHAKE: u8 = 22;

/// Passes connections on to the site of the lab in `directory` until it is killed.
///
/// Expects the listening socket as standard input. Must be called before any other thread or runtime starts.
///
/// # Errors
/// If standard input is no listening socket or the lab's record is missing.
pub fn entrance_main(directory: &Path) -> anyhow::Result<()> {
    let record = Record::read(&Directory::new(directory.to_path_buf()))?;
    let fronts = public_addresses(&record.design, &record.design.fronts());
    let socket = std::io::stdin().as_fd().try_clone_to_owned().context("no standard input")?;
    let socket = std::net::TcpListener::from(socket);
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        socket.set_nonblocking(true).context("standard input is no socket")?;
        serve(TcpListener::from_std(socket)?, Arc::from(fronts)).await
    })
}

async fn serve(listener: TcpListener, fronts: Arc<[IpAddr]>) -> anyhow::Result<()> {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let place = Arc::clone(&places).acquire_owned().await?;
        let connection = match listener.accept().await {
            Ok((connection, _)) => connection,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let fronts = Arc::clone(&fronts);
        tokio::spawn(async move {
            if let Err(error) = pass_on(connection, &fronts).await {
                tracing::info!(%error, "a connection was not passed on");
            }
            drop(place);
        });
    }
}

async fn pass_on(mut connection: TcpStream, fronts: &[IpAddr]) -> anyhow::Result<()> {
    let mut first = [0];
    let seen = timeout(FIRST_BYTE_TIMEOUT, connection.peek(&mut first)).await.context("the client said nothing")??;
    if seen == 0 {
        return Ok(());
    }
    let port = if first[0] == TLS_HANDSHAKE { HTTPS } else { HTTP };
    let mut server = connect(fronts, port).await?;
    copy_bidirectional(&mut connection, &mut server).await.context("a connection broke")?;
    Ok(())
}

/// A connection to the first front server that takes one: what a browser does with several addresses.
async fn connect(fronts: &[IpAddr], port: u16) -> anyhow::Result<TcpStream> {
    for front in fronts {
        match timeout(CONNECT_TIMEOUT, TcpStream::connect(SocketAddr::new(*front, port))).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => tracing::debug!(%front, %error, "passed over"),
            Err(_) => tracing::debug!(%front, "passed over: no answer"),
        }
    }
    bail!("no front server answers on port {port}")
}
