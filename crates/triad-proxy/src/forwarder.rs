//! Connections that a forwarder passes on: each begins with a PROXY header that says who the client is.
//!
//! Invariant: not a byte behind the header is taken out of the socket, for it belongs to TLS, or to HTTP.
//!
//! A forwarder is trusted: until its header is there, its connection counts for no client's limit, only among all that
//! a worker has open. Where two stand in a row, the nearest one's word counts, and a second header is a bad request.

use std::net::SocketAddr;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::counters::Counters;
use crate::proxy_protocol::{HEADER_BYTES_MAX, Header, read};

/// Time a forwarder has for its header. The protocol asks for three seconds at least, so that a segment can be lost.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);

/// Whose connection `stream` from the forwarder at `from` is; `None` if it ends here.
pub(crate) async fn client(counters: &Counters, stream: &mut TcpStream, from: SocketAddr) -> Option<SocketAddr> {
    let why = match timeout(HEADER_TIMEOUT, take_header(stream)).await {
        Ok(Ok(Some(header))) => return Some(header.ends.map_or(from, |ends| canonical(ends.source))),
        Ok(Ok(None)) => return None,
        Ok(Err(why)) => why,
        Err(_elapsed) => "not there in time".to_owned(),
    };
    counters.proxy_headers_refused.fetch_add(1, Relaxed);
    tracing::debug!(%from, why, "PROXY header refused");
    None
}

/// However a header writes an IPv4 address, it is the same client.
fn canonical(end: SocketAddr) -> SocketAddr {
    SocketAddr::new(end.ip().to_canonical(), end.port())
}

/// Takes the header out of `stream`; `None` if the connection ends before it begins: somebody looked whether the port
/// is open.
async fn take_header(stream: &mut TcpStream) -> Result<Option<Header>, String> {
    let mut bytes = vec![0; HEADER_BYTES_MAX];
    let mut taken = 0;
    loop {
        let seen = match stream.peek(&mut bytes[taken..]).await {
            Ok(0) | Err(_) if taken == 0 => return Ok(None),
            Ok(0) => return Err("the connection ended within it".to_owned()),
            Ok(length) => taken + length,
            Err(error) => return Err(error.to_string()),
        };
        let header = read(&bytes[..seen]).map_err(|refusal| refusal.0.to_owned())?;
        // While some of the header is missing, all that was seen is of it.
        let end = header.map_or(seen, |header| header.length);
        stream.read_exact(&mut bytes[taken..end]).await.map_err(|error| error.to_string())?;
        if header.is_some() {
            return Ok(header);
        }
        taken = end;
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::SocketAddr;
    use std::sync::atomic::Ordering::Relaxed;

    use tokio::net::{TcpListener, TcpStream};
    use tokio::time::Instant;

    use super::{HEADER_TIMEOUT, client};
    use crate::counters::Counters;

    const FROM: &str = "192.0.2.1:1";

    /// What the edge takes a connection for on which `bytes` arrived, whether it counted, and after how long.
    async fn outcome(bytes: &[u8]) -> (Option<SocketAddr>, u64, std::time::Duration) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let mut forwarder = std::net::TcpStream::connect(listener.local_addr().expect("bound")).expect("accepted");
        let mut stream: TcpStream = listener.accept().await.expect("a connection").0;
        forwarder.write_all(bytes).expect("sent");
        let counters = Counters::default();
        let began = Instant::now();
        let client = client(&counters, &mut stream, FROM.parse().expect("an address")).await;
        (client, counters.proxy_headers_refused.load(Relaxed), began.elapsed())
    }

    #[tokio::test]
    async fn a_mapped_address_is_the_one_in_it() {
        let (client, refused, _) = outcome(b"PROXY TCP6 ::ffff:192.0.2.7 ::1 5000 443\r\n").await;
        assert_eq!((client, refused), ("192.0.2.7:5000".parse().ok(), 0));
        let (client, refused, _) = outcome(b"PROXY UNKNOWN\r\n").await;
        assert_eq!((client, refused), (FROM.parse().ok(), 0));
    }

    /// The clock stands still but when all wait.
    #[tokio::test(start_paused = true)]
    async fn a_header_that_does_not_come_is_not_waited_for() {
        for bytes in [&b""[..], b"PROXY TCP4 192.0.2.7 ", b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c"] {
            assert_eq!(outcome(bytes).await, (None, 1, HEADER_TIMEOUT), "{bytes:?}");
        }
    }
}
