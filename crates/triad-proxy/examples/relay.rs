//! The floor of `cargo xtask bench edge`: bytes from one socket to another and back, nothing parsed, counted or
//! logged. What a proxy costs beyond this is its own.

use std::io;
use std::net::SocketAddr;

use clap::Parser;
use tokio::io::copy_bidirectional_with_sizes;
use tokio::net::{TcpListener, TcpStream};

/// Buffer of each direction of a connection: large bodies then take few calls.
const BUFFER_BYTES: usize = 64 * 1024;

/// Relays bytes between two addresses.
#[derive(Parser)]
struct Args {
    /// Where to listen.
    listen: SocketAddr,
    /// Where to connect to, once for each connection.
    origin: SocketAddr,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    let Args { listen, origin } = Args::parse();
    let listener = TcpListener::bind(listen).await?;
    loop {
        let (client, _) = listener.accept().await?;
        tokio::spawn(async move {
            if let Err(error) = relay(client, origin).await {
                eprintln!("relay: {error}");
            }
        });
    }
}

async fn relay(mut client: TcpStream, origin: SocketAddr) -> io::Result<()> {
    let mut server = TcpStream::connect(origin).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    copy_bidirectional_with_sizes(&mut client, &mut server, BUFFER_BYTES, BUFFER_BYTES).await?;
    Ok(())
}
