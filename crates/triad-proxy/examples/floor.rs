//! A TCP relay that understands nothing: one connection to the origin for each of a client's, on one thread. What it
//! costs is the kernel's work and the runtime's, which no proxy on this runtime can do without. `cargo xtask bench edge`
//! measures it beside the edge.
//!
//! `floor LISTEN ORIGIN`, both addresses as `127.0.0.1:8080`.

use std::error::Error;
use std::net::SocketAddr;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [listen, origin] = arguments.as_slice() else {
        return Err("usage: floor LISTEN ORIGIN".into());
    };
    let (listen, origin): (SocketAddr, SocketAddr) = (listen.parse()?, origin.parse()?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind(listen).await?;
        loop {
            let (client, _) = listener.accept().await?;
            tokio::spawn(relay(client, origin));
        }
    })
}

async fn relay(mut client: TcpStream, origin: SocketAddr) -> std::io::Result<()> {
    let mut origin = TcpStream::connect(origin).await?;
    client.set_nodelay(true)?;
    origin.set_nodelay(true)?;
    copy_bidirectional(&mut client, &mut origin).await.map(drop)
}
